//! One line of a CRI log: `TIME STREAM TAGS CONTENT`.
//!
//! Counterpart in Kubernetes: `parseCRILog`. Invariant: pure.

use jiff::Timestamp;

/// Which of the container's outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A parsed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// When it was written.
    pub time: Timestamp,
    /// To what.
    pub stream: Stream,
    /// Whether the container's line goes on in the next one.
    pub partial: bool,
    /// What was written, without the newline.
    pub content: &'a [u8],
}

/// Why a line is not a CRI log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CRI log line")]
pub struct NotALogLine;

/// Parses a line, with or without its newline.
///
/// # Errors
/// When it has another form.
pub fn parse(line: &[u8]) -> Result<LogLine<'_>, NotALogLine> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let mut next = || parts.next().ok_or(NotALogLine);
    let (time, stream, tags) = (next()?, next()?, next()?);
    let content = next().unwrap_or_default();
    let time =
        std::str::from_utf8(time).ok().and_then(|time| time.parse().ok()).ok_or(NotALogLine)?;
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return Err(NotALogLine),
    };
    let partial = match tags.split(|byte| *byte == b':').next() {
        Some(b"P") => true,
        Some(b"F") => false,
        _ => return Err(NotALogLine),
    };
    Ok(LogLine { time, stream, partial, content })
}

impl LogLine<'_> {
    /// What the container wrote: the content, and a newline unless the line goes on.
    pub fn output<'a>(line: &LogLine<'a>) -> impl Iterator<Item = u8> + use<'a> {
        let newline = (!line.partial).then_some(b'\n');
        line.content.iter().copied().chain(newline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_or_refused() {
        let line = parse(b"2026-01-02T03:04:05.000000006Z stderr P a b\n").expect("line");
        assert_eq!((line.stream, line.partial, line.content), (Stream::Stderr, true, &b"a b"[..]));
        assert_eq!(parse(b"2026-01-02T03:04:05Z stdout F ").expect("line").content, b"");
        assert_eq!(
            parse(b"2026-01-02T03:04:05+01:00 stdout F x").expect("offset").time.to_string(),
            "2026-01-02T02:04:05Z"
        );
        for bad in [
            &b""[..],
            b"x",
            b"2026-01-02T03:04:05Z stdin F x",
            b"2026-01-02T03:04:05Z stdout X x",
            b"now stdout F x",
        ] {
            assert_eq!(parse(bad), Err(NotALogLine));
        }
    }
}
