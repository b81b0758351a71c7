//! Durations as text, such as `1m30s`: the counterpart of Go's `time.ParseDuration`, with its messages.
//!
//! Invariant: what Go refuses is refused, in the same words; what it accepts has the same value, cut to whole nanoseconds.

use jiff::SignedDuration;

use crate::field::quote;

/// The units and their lengths in nanoseconds. Longer names come before those that begin them.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses a duration.
///
/// # Errors
/// Go's message: an invalid number, a missing or unknown unit, or more than 2^63 ns.
pub fn parse(text: &str) -> Result<SignedDuration, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after, |c| !c.is_ascii_digit() && c != '.');
        let nanoseconds = one(number, unit, text)?.ok_or_else(invalid)?;
        total = total.checked_add(nanoseconds).ok_or_else(invalid)?;
        rest = after;
    }
    Ok(SignedDuration::from_nanos(if negative { -total } else { total }))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// One number with its unit; `None` if the number is none or too large.
fn one(number: &str, unit: &str, whole: &str) -> Result<Option<i64>, String> {
    let (digits, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (digits.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Ok(None);
    }
    if unit.is_empty() {
        return Err(format!("time: missing unit in duration {}", quote(whole)));
    }
    let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(whole)));
    };
    let count: Option<i64> = if digits.is_empty() { Some(0) } else { digits.parse().ok() };
    let mut part = 0;
    let mut place = *length;
    for digit in fraction.bytes() {
        // Exact to the nanosecond for every unit: lengths are multiples of powers of ten down to one.
        part += i64::from(digit - b'0') * place / 10;
        place /= 10;
    }
    Ok(count.and_then(|count| count.checked_mul(*length)?.checked_add(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let table = [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("-10ms", -10_000_000),
            ("+3\u{b5}s", 3_000),
            ("10s0.25ms", 10_000_250_000),
        ];
        for (text, nanoseconds) in table {
            assert_eq!(parse(text), Ok(SignedDuration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn malformed_durations_are_refused_in_gos_words() {
        let table = [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("s", "time: invalid duration \"s\""),
            (".s", "time: invalid duration \".s\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
            ("1s 2s", "time: unknown unit \"s \" in duration \"1s 2s\""),
        ];
        for (text, message) in table {
            assert_eq!(parse(text), Err(message.to_owned()), "{text}");
        }
    }
}
