//! What was measured, against what was promised.

use std::fmt;
use std::time::Duration;

/// The lines of the table.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<(String, String, String, Option<bool>)>,
}

/// What a number must be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Nothing was promised.
    None,
}

impl Report {
    /// Adds a number with its unit.
    pub fn add(&mut self, what: &str, number: f64, unit: &str, target: Target) {
        let (promised, kept) = match target {
            Target::AtMost(limit) => (format!("≤ {}", show(limit, unit)), Some(number <= limit)),
            Target::AtLeast(limit) => (format!("≥ {}", show(limit, unit)), Some(number >= limit)),
            Target::None => (String::new(), None),
        };
        eprintln!("{what}: {}", show(number, unit));
        self.lines.push((what.to_owned(), show(number, unit), promised, kept));
    }

    /// Adds the median and the 99th percentile of times.
    pub fn times(&mut self, what: &str, times: &mut [Duration], p50: Target, p99: Target) {
        times.sort_unstable();
        for (name, part, target) in [("p50", 50, p50), ("p99", 99, p99)] {
            self.add(
                &format!("{what}, {name}"),
                milliseconds(percentile(times, part)),
                "ms",
                target,
            );
        }
    }
}

/// A time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The time that `part` of a hundred of the sorted times do not exceed.
pub fn percentile(sorted: &[Duration], part: usize) -> Duration {
    let rank = (sorted.len() * part).div_ceil(100).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn show(number: f64, unit: &str) -> String {
    match number {
        n if n >= 100.0 => format!("{} {unit}", thousands(n.round() as u64)),
        n if n >= 10.0 => format!("{n:.1} {unit}"),
        n => format!("{n:.2} {unit}"),
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| measured | result | must be | kept |")?;
        writeln!(f, "|---|---:|---:|---|")?;
        for (what, number, promised, kept) in &self.lines {
            let kept = kept.map_or("", |kept| if kept { "yes" } else { "**no**" });
            writeln!(f, "| {what} | {number} | {promised} | {kept} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn numbers_are_shown_with_three_digits_or_more() {
        assert_eq!(show(0.123, "s"), "0.12 s");
        assert_eq!(show(12.34, "ms"), "12.3 ms");
        assert_eq!(show(8123.4, "/s"), "8,123 /s");
        assert_eq!(show(1_234_567.0, "B"), "1,234,567 B");
    }
}
