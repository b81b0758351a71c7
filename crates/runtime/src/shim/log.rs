//! Container logs in the CRI's format: `2026-01-01T00:00:00.000000000Z stdout F line`.
//!
//! The counterpart of containerd's CRI logger and of the kubelet's `ContainerLogManager` (rotation by the shim is optional). Invariants: a
//! record is one line, written by one `write`, whole; a line longer than [`MAX_LINE`] becomes several `P` records and an `F`; what a container
//! wrote before it ended is in the file before its end is told.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, statat, unlinkat};
use std::io;

/// Longest content of one record, as containerd's default.
pub const MAX_LINE: usize = 16 * 1024;

/// Formats `nanoseconds` since 1970 as RFC 3339 in UTC with nine digits.
pub fn timestamp(nanoseconds: i64) -> String {
    let (year, month, day, hour, minute, second) = civil(nanoseconds.div_euclid(1_000_000_000));
    let fraction = nanoseconds.rem_euclid(1_000_000_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

/// The suffix of a rotated log, as the kubelet writes it.
fn rotation_suffix(nanoseconds: i64) -> String {
    let (year, month, day, hour, minute, second) = civil(nanoseconds.div_euclid(1_000_000_000));
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// Year, month, day, hour, minute, second of a Unix time, by the algorithm of Howard Hinnant's "chrono-compatible low-level date algorithms".
fn civil(seconds: i64) -> (i64, i64, i64, i64, i64, i64) {
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day, time / 3600, time / 60 % 60, time % 60)
}

/// Splits one output stream into records.
#[derive(Debug, Default)]
pub struct Splitter {
    pending: Vec<u8>,
}

impl Splitter {
    /// Appends to `records` what `data` completes; `head` is `<timestamp> <stream> `.
    pub fn feed(&mut self, mut data: &[u8], head: &str, records: &mut Vec<u8>) {
        while !data.is_empty() {
            let room = MAX_LINE - self.pending.len();
            let newline = data.iter().take(room + 1).position(|b| *b == b'\n');
            let (taken, rest, tag) = match newline {
                Some(at) => (&data[..at], &data[at + 1..], 'F'),
                None if data.len() >= room => (&data[..room], &data[room..], 'P'),
                None => {
                    self.pending.extend_from_slice(data);
                    return;
                }
            };
            self.record(taken, head, tag, records);
            data = rest;
        }
    }

    /// The end of the stream: what is left becomes a partial record, for it had no newline.
    pub fn finish(&mut self, head: &str, records: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.record(&[], head, 'P', records);
        }
    }

    fn record(&mut self, tail: &[u8], head: &str, tag: char, records: &mut Vec<u8>) {
        records.extend_from_slice(head.as_bytes());
        records.extend_from_slice(&[tag as u8, b' ']);
        records.extend_from_slice(&self.pending);
        records.extend_from_slice(tail);
        records.push(b'\n');
        self.pending = Vec::new();
    }
}

/// When and how far a log is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Largest file in bytes.
    pub max_size_bytes: u64,
    /// Files kept, the current one included.
    pub max_files: u32,
}

/// The log file of one container.
pub struct LogFile {
    directory: OwnedFd,
    name: String,
    file: Option<OwnedFd>,
    size: u64,
    limit: Option<Limit>,
}

impl LogFile {
    /// Opens or creates `name` in `directory`.
    pub fn open(directory: OwnedFd, name: String, limit: Option<Limit>) -> io::Result<Self> {
        let mut log = Self { directory, name, file: None, size: 0, limit };
        log.reopen()?;
        Ok(log)
    }

    /// Opens the file of that name anew.
    pub fn reopen(&mut self) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, &self.name, flags, Mode::from_raw_mode(0o640))?;
        self.size = rustix::fs::fstat(&file)?.st_size as u64;
        self.file = Some(file);
        Ok(())
    }

    /// Writes whole records. A full disk loses them; the container must not stop for that.
    pub fn write(&mut self, records: &[u8], now: i64) {
        if self.limit.is_some_and(|limit| {
            self.size > 0 && self.size + records.len() as u64 > limit.max_size_bytes
        }) {
            self.rotate(now);
        }
        let Some(file) = &self.file else { return };
        let mut rest = records;
        while !rest.is_empty() {
            match rustix::io::write(file, rest) {
                Ok(written) => rest = &rest[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
        self.size += records.len() as u64;
    }

    fn rotate(&mut self, now: i64) {
        let rotated = (0..1000)
            .map(|n| {
                format!(
                    "{}.{}{}",
                    self.name,
                    rotation_suffix(now),
                    if n == 0 { String::new() } else { format!("-{n}") }
                )
            })
            .find(|name| statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).is_err());
        let Some(rotated) = rotated else { return };
        if renameat(&self.directory, &self.name, &self.directory, &rotated).is_ok()
            && self.reopen().is_ok()
        {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&self) {
        let Some(limit) = self.limit else { return };
        let prefix = format!("{}.", self.name);
        let Ok(entries) = rustix::fs::Dir::read_from(&self.directory) else { return };
        let mut rotated: Vec<String> = entries
            .flatten()
            .filter_map(|e| e.file_name().to_str().ok().map(str::to_owned))
            .filter(|n| n.starts_with(&prefix))
            .collect();
        rotated.sort_unstable();
        let keep = limit.max_files.max(2) as usize - 1;
        for name in rotated.iter().take(rotated.len().saturating_sub(keep)) {
            if let Err(error) = unlinkat(&self.directory, name, AtFlags::empty()) {
                eprintln!("removing the rotated log {name}: {error}");
            }
        }
    }
}

/// Writes `data` to a pipe without waiting; whether the pipe can still be used.
pub fn offer(pipe: BorrowedFd<'_>, data: &[u8]) -> bool {
    matches!(rustix::io::write(pipe.as_fd(), data), Ok(written) if written == data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_known_times_are_rfc3339() {
        for (nanoseconds, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (1_767_225_600_000_000_001, "2026-01-01T00:00:00.000000001Z"),
            (951_782_400_123_456_789, "2000-02-29T00:00:00.123456789Z"),
            (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999999999Z"),
        ] {
            assert_eq!(timestamp(nanoseconds), text);
        }
    }

    fn split(chunks: &[&[u8]]) -> String {
        let (mut splitter, mut records) = (Splitter::default(), Vec::new());
        for chunk in chunks {
            splitter.feed(chunk, "T stdout ", &mut records);
        }
        splitter.finish("T stdout ", &mut records);
        String::from_utf8(records).expect("test data is text")
    }

    #[test]
    fn splitter_lines_over_chunks_become_full_records() {
        assert_eq!(split(&[b"a\nb", b"c\n", b"\n"]), "T stdout F a\nT stdout F bc\nT stdout F \n");
    }

    #[test]
    fn splitter_text_without_newline_is_partial_at_the_end() {
        assert_eq!(split(&[b"a"]), "T stdout P a\n");
    }

    #[test]
    fn splitter_long_line_is_cut_into_partials() {
        let long = "x".repeat(MAX_LINE);
        let line = format!("{long}yz\n");
        assert_eq!(split(&[line.as_bytes()]), format!("T stdout P {long}\nT stdout F yz\n"));
        let exact = format!("{long}\n");
        assert_eq!(split(&[exact.as_bytes()]), format!("T stdout F {long}\n"));
    }
}
