//! How long to wait before trying again.
//!
//! Counterpart in Kubernetes: `client-go/util/flowcontrol.Backoff` as the kubelet uses it for crashes and image pulls.
//! Invariant: pure; time comes in as an argument, so tables and simulations can drive it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// The wait after the first failure that waits at all.
pub const INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest wait.
pub const MAXIMUM: SignedDuration = SignedDuration::from_secs(300);
/// A run (or a quiet time) of this length makes the next failure a first one again: twice [`MAXIMUM`], as in Kubernetes.
pub const RESET_AFTER: SignedDuration = SignedDuration::from_secs(600);
/// The wait before a failed step that has no back-off of its own is tried again.
pub const RETRY: SignedDuration = SignedDuration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

/// Waits by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    entries: BTreeMap<String, Entry>,
}

/// A wait that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The whole length of the wait.
    pub delay: SignedDuration,
    /// When it is over.
    pub until: Timestamp,
}

impl Backoff {
    /// The wait of `key` that began with `event`, if it is not over at `now`.
    pub fn waiting(&self, key: &str, event: Timestamp, now: Timestamp) -> Option<Waiting> {
        let entry = self.entries.get(key).filter(|entry| !expired(entry, event))?;
        let until = event + entry.delay;
        (now < until).then_some(Waiting { delay: entry.delay, until })
    }

    /// The wait of `key` counted from the last failure.
    pub fn waiting_since_update(&self, key: &str, now: Timestamp) -> Option<Waiting> {
        let updated = self.entries.get(key)?.updated;
        self.waiting(key, updated, now)
    }

    /// Counts one more failure of `key`, which happened at `event`.
    pub fn next(&mut self, key: &str, event: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if !expired(entry, event) => (entry.delay * 2).min(MAXIMUM),
            _ => INITIAL,
        };
        self.entries.insert(key.to_owned(), Entry { delay, updated: now });
    }

    /// Forgets `key`.
    pub fn reset(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

fn expired(entry: &Entry, event: Timestamp) -> bool {
    event.duration_since(entry.updated) > RESET_AFTER
}

/// A duration as Go prints it: `10s`, `1m20s`, `1.234s`, `350ms`.
pub fn go_duration(duration: SignedDuration) -> String {
    let nanos = duration.as_nanos().max(0);
    if nanos == 0 {
        return "0s".into();
    }
    if nanos < 1_000_000_000 {
        let (unit, name) = [(1_000_000, "ms"), (1_000, "µs"), (1, "ns")]
            [usize::from(nanos < 1_000_000) + usize::from(nanos < 1_000)];
        return format!("{}{name}", decimal(nanos, unit));
    }
    let seconds = nanos / 1_000_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

fn decimal(value: i128, unit: i128) -> String {
    let (whole, part) = (value / unit, value % unit);
    if part == 0 {
        return whole.to_string();
    }
    let width = unit.to_string().len() - 1;
    format!("{whole}.{}", format!("{part:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    /// TERM-03: at once, then 10, 20, 40, 80, 160 and 300 seconds.
    #[test]
    fn term_03_waits_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let (mut now, mut seen) = (1_000, Vec::new());
        for _ in 0..8 {
            let wait =
                backoff.waiting("c", at(now), at(now)).map_or(0, |wait| wait.delay.as_secs());
            seen.push(wait);
            backoff.next("c", at(now), at(now + wait));
            now += wait + 1;
        }
        assert_eq!(seen, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    /// TERM-03: ten healthy minutes reset the wait.
    #[test]
    fn term_03_long_run_resets() {
        let mut backoff = Backoff::default();
        backoff.next("c", at(0), at(0));
        backoff.next("c", at(1), at(11));
        assert_eq!(backoff.waiting("c", at(12), at(12)).map(|wait| wait.delay.as_secs()), Some(20));
        let late = at(11 + 601);
        assert_eq!(backoff.waiting("c", late, late), None);
        backoff.next("c", late, late);
        assert_eq!(backoff.waiting("c", late, late).map(|wait| wait.delay.as_secs()), Some(10));
    }

    #[test]
    fn go_duration_prints_like_go() {
        let cases = [
            (0, "0s"),
            (10_000, "10s"),
            (80_000, "1m20s"),
            (300_000, "5m0s"),
            (1_234, "1.234s"),
            (350, "350ms"),
            (3_600_000, "1h0m0s"),
            (61_500, "1m1.5s"),
        ];
        for (millis, text) in cases {
            assert_eq!(go_duration(SignedDuration::from_millis(millis)), text);
        }
    }
}
