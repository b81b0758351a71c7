//! The two time forms of the API: `Time` in whole seconds, `MicroTime` in microseconds; the counterpart of
//! `metav1.Time` and `metav1.MicroTime`.
//!
//! Invariant: a value made here equals itself after it went over the wire, because it is truncated to what the wire carries.

use jiff::fmt::temporal::DateTimeParser;
use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// How `Time` looks on the wire, in Go's notation; quoted in messages.
const RFC3339: &str = "2006-01-02T15:04:05Z07:00";

/// How `MicroTime` looks on the wire, in Go's notation; quoted in messages.
const RFC3339_MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";

/// The present moment, truncated to seconds.
pub fn now() -> Time {
    time(Timestamp::now())
}

/// The present moment, truncated to microseconds.
pub fn now_micro() -> MicroTime {
    micro_time(Timestamp::now())
}

/// A moment as `Time`, truncated to seconds.
pub fn time(at: Timestamp) -> Time {
    Time(truncated(at, Unit::Second))
}

/// A moment as `MicroTime`, truncated to microseconds.
pub fn micro_time(at: Timestamp) -> MicroTime {
    MicroTime(truncated(at, Unit::Microsecond))
}

/// Drops what is smaller than `unit`, towards the past; a moment at the very end of the range stays as it is.
fn truncated(at: Timestamp, unit: Unit) -> Timestamp {
    let round = jiff::TimestampRound::new().smallest(unit).mode(jiff::RoundMode::Floor);
    at.round(round).unwrap_or(at)
}

/// A moment as `Time` is written on the wire: `2026-01-02T03:04:05Z`.
pub fn format(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A moment as `MicroTime` is written on the wire: `2026-01-02T03:04:05.000006Z`.
pub fn format_micro(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Parses a `Time` from the wire.
///
/// # Errors
/// Kubernetes' message when `text` is not RFC 3339.
pub fn parse(text: &str) -> Result<Time, String> {
    parse_rfc3339(text, RFC3339).map(time)
}

/// Parses a `MicroTime` from the wire.
///
/// # Errors
/// Kubernetes' message when `text` is not RFC 3339.
pub fn parse_micro(text: &str) -> Result<MicroTime, String> {
    parse_rfc3339(text, RFC3339_MICRO).map(micro_time)
}

/// RFC 3339 only: jiff's own parser also takes spaces, lower case, missing seconds and short offsets, which Go refuses.
fn parse_rfc3339(text: &str, layout: &str) -> Result<Timestamp, String> {
    let refused = || {
        format!(
            "parsing time {} as {}: cannot parse {} as {}",
            q(text),
            q(layout),
            q(text),
            q("2006")
        )
    };
    match is_rfc3339_shaped(text.as_bytes()) {
        true => DateTimeParser::new().parse_timestamp(text).map_err(|_| refused()),
        false => Err(refused()),
    }
}

/// `dddd-dd-ddTdd:dd:dd`, maybe a fraction, and `Z` or `+dd:dd`.
fn is_rfc3339_shaped(text: &[u8]) -> bool {
    let Some((head, tail)) = text.split_at_checked(19) else { return false };
    let offset = match tail.strip_prefix(b".") {
        None => tail,
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            &fraction[digits..]
        }
    };
    is_like(head, b"0000-00-00T00:00:00") && (offset == b"Z" || is_like(offset, b"+00:00"))
}

/// True if `text` has digits where the pattern has `0`, a sign where it has `+`, and the same bytes elsewhere.
fn is_like(text: &[u8], pattern: &[u8]) -> bool {
    let same = |(byte, wanted): (&u8, &u8)| match wanted {
        b'0' => byte.is_ascii_digit(),
        b'+' => matches!(byte, b'+' | b'-'),
        _ => byte == wanted,
    };
    text.len() == pattern.len() && text.iter().zip(pattern).all(same)
}

fn q(text: &str) -> String {
    crate::field::quote(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_truncated_to_what_the_wire_carries() {
        let at: Timestamp = "2026-01-02T03:04:05.9876543Z".parse().unwrap();
        assert_eq!(format(time(at).0), "2026-01-02T03:04:05Z");
        assert_eq!(time(at), parse("2026-01-02T03:04:05Z").unwrap());
        assert_eq!(format_micro(micro_time(at).0), "2026-01-02T03:04:05.987654Z");
        assert_eq!(micro_time(at), parse_micro("2026-01-02T03:04:05.987654Z").unwrap());
    }

    #[test]
    fn time_parsed_only_from_rfc3339() {
        assert_eq!(format(parse("2026-01-02T03:04:05+01:00").unwrap().0), "2026-01-02T02:04:05Z");
        for bad in [
            "",
            "yesterday",
            "2026-01-02",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04Z",
            "2026-13-02T03:04:05Z",
            "2026-01-02T03:04:05+0100",
            "2026-01-02T03:04:05",
            "2026-01-02t03:04:05z",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse("x").unwrap_err(),
            "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""
        );
    }
}
