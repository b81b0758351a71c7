//! A container's last words.
//!
//! Counterpart in Kubernetes: `getTerminationMessage` and `readLastStringFromContainerLogs`. Invariant: never more than
//! [`MAX_MESSAGE_BYTES`], and from logs never more than [`MAX_LOG_BYTES`].

use std::io::SeekFrom;
use std::path::Path;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::logs::line::{LogLine, parse};
use crate::names;
use crate::runtime_status::{ContainerRecord, ContainerState, PodRuntimeStatus};

/// Kubernetes' limit of a message written by the container.
const MAX_MESSAGE_BYTES: u64 = 4096;
/// Kubernetes' limits of a message taken from the log.
const MAX_LOG_BYTES: usize = 2048;
const MAX_LOG_LINES: usize = 80;
/// How much of a log file is read to find those lines.
const LOG_TAIL_BYTES: u64 = 64 << 10;

/// Adds the last words to every ended container of `status`.
pub async fn add_messages(status: &mut PodRuntimeStatus) {
    for record in
        status.containers.iter_mut().filter(|record| record.state == ContainerState::Exited)
    {
        let words = last_words(record).await;
        if !words.is_empty() {
            record.message = if record.message.is_empty() {
                words
            } else {
                format!("{}: {words}", record.message)
            };
        }
    }
}

async fn last_words(record: &ContainerRecord) -> String {
    let annotation =
        |key: &str| record.annotations.get(key).map(String::as_str).unwrap_or_default();
    let path = annotation(names::TERMINATION_PATH);
    let host_path =
        record.mounts.iter().find(|(container, _)| container == path).map(|(_, host)| host);
    let written = match host_path {
        Some(host) => read_tail(Path::new(host), MAX_MESSAGE_BYTES).await,
        None => Ok(Vec::new()),
    };
    let written = match written {
        Ok(written) => String::from_utf8_lossy(&written).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return format!(
                "Error on reading termination log {}: {error}",
                host_path.map_or("", |path| path)
            );
        }
    };
    let fallback = annotation(names::TERMINATION_POLICY) == "FallbackToLogsOnError";
    if written.is_empty()
        && fallback
        && record.exit_code != 0
        && record.reason != "ContainerCannotRun"
    {
        return from_log(record).await;
    }
    written
}

async fn from_log(record: &ContainerRecord) -> String {
    let Ok(tail) = read_tail(Path::new(&record.log_path), LOG_TAIL_BYTES).await else {
        return String::new();
    };
    let lines: Vec<LogLine> =
        tail.split_inclusive(|byte| *byte == b'\n').filter_map(|line| parse(line).ok()).collect();
    let text: Vec<u8> = lines
        .iter()
        .skip(lines.len().saturating_sub(MAX_LOG_LINES))
        .flat_map(LogLine::output)
        .collect();
    String::from_utf8_lossy(&text[text.len().saturating_sub(MAX_LOG_BYTES)..]).into_owned()
}

async fn read_tail(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path).await?;
    let length = file.metadata().await?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit))).await?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{container, observed};

    async fn message(written: &str, policy: &str, exit_code: i32) -> String {
        let directory = tempfile::tempdir().expect("directory");
        let (host, log) = (directory.path().join("message"), directory.path().join("0.log"));
        std::fs::write(&host, written).expect("written");
        let lines = "2026-01-01T00:00:00.5Z stdout F one\n2026-01-01T00:00:01Z stderr P tw\n2026-01-01T00:00:01Z stderr F o\n";
        std::fs::write(&log, lines).expect("written");
        let mut record = container("a", 0, ContainerState::Exited, exit_code);
        record.mounts = vec![("/dev/termination-log".into(), host.to_string_lossy().into_owned())];
        record.log_path = log.to_string_lossy().into_owned();
        record.annotations.insert(names::TERMINATION_PATH.into(), "/dev/termination-log".into());
        record.annotations.insert(names::TERMINATION_POLICY.into(), policy.into());
        let mut status = observed(vec![record]);
        add_messages(&mut status).await;
        status.containers[0].message.clone()
    }

    #[tokio::test]
    async fn last_words_come_from_file_or_log() {
        assert_eq!(message("bye", "File", 0).await, "bye");
        assert_eq!(message("bye", "FallbackToLogsOnError", 1).await, "bye");
        assert_eq!(message("", "FallbackToLogsOnError", 1).await, "one\ntwo\n");
        assert_eq!(message("", "FallbackToLogsOnError", 0).await, "");
        assert_eq!(message("", "File", 1).await, "");
        let long = "x".repeat(5000);
        assert_eq!(message(&long, "File", 0).await.len(), 4096);
    }
}
