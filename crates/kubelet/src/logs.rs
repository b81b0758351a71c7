//! Reading and following container logs.
//!
//! Counterpart in Kubernetes: `kuberuntime/logs` (`cri-client/pkg/logs`). Invariants: following never polls, it waits for inotify or
//! for the container to change; a rotated file is read to its end before the new one; memory is bounded by one line and one chunk.

pub mod line;
pub mod watch;

use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{broadcast, mpsc};

use crate::cri::Cri;
use line::{LogLine, Stream, parse};
use watch::DirectoryWatcher;

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// A longer line is given up as garbage: the runtime splits lines at 16 KiB.
const MAX_LINE_BYTES: usize = 1 << 20;

/// What of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Only this many lines from the end.
    pub tail_lines: Option<usize>,
    /// Only lines not older than this.
    pub since: Option<Timestamp>,
    /// Stop after so many bytes.
    pub limit_bytes: Option<usize>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Go on while the container runs.
    pub follow: bool,
    /// Only this stream.
    pub stream: Option<Stream>,
}

/// Turns stored lines into what the client gets.
struct Formatter {
    options: LogOptions,
    left: Option<usize>,
    at_line_start: bool,
}

impl Formatter {
    fn new(options: &LogOptions) -> Self {
        Self { options: options.clone(), left: options.limit_bytes, at_line_start: true }
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    fn add(&mut self, stored: &[u8], output: &mut Vec<u8>) {
        let Ok(line) = parse(stored) else {
            tracing::debug!("log line that is none of ours is skipped");
            return;
        };
        let wanted = self.options.stream.is_none_or(|stream| stream == line.stream);
        if !wanted || self.options.since.is_some_and(|since| line.time < since) {
            return;
        }
        let start = output.len();
        if self.options.timestamps && self.at_line_start {
            output.extend_from_slice(
                line.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string().as_bytes(),
            );
        }
        output.extend(LogLine::output(&line));
        self.at_line_start = !line.partial;
        if let Some(left) = &mut self.left {
            output.truncate(start + (output.len() - start).min(*left));
            *left -= output.len() - start;
        }
    }
}

/// An open log file and what was read of an unfinished line.
struct Source {
    path: PathBuf,
    file: File,
    inode: u64,
    pending: Vec<u8>,
}

impl Source {
    async fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path).await?;
        let inode = file.metadata().await?.ino();
        Ok(Self { path: path.to_owned(), file, inode, pending: Vec::new() })
    }

    /// Reads once; answers complete lines, and whether the end was reached.
    async fn read(&mut self, formatter: &mut Formatter) -> io::Result<(Vec<u8>, bool)> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = self.file.read(&mut chunk).await?;
        self.pending.extend_from_slice(&chunk[..read]);
        let complete = self.pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut output = Vec::new();
        for line in self.pending[..complete].split_inclusive(|byte| *byte == b'\n') {
            if formatter.is_full() {
                break;
            }
            formatter.add(line, &mut output);
        }
        self.pending.drain(..complete);
        if self.pending.len() > MAX_LINE_BYTES {
            self.pending.clear();
        }
        Ok((output, read == 0))
    }

    /// The file that has taken this one's name, if one has.
    async fn successor(&self) -> Option<Self> {
        let next = Self::open(&self.path).await.ok()?;
        (next.inode != self.inode).then_some(next)
    }
}

/// Moves to the start of the last `lines` lines.
async fn seek_to_tail(file: &mut File, lines: usize) -> io::Result<()> {
    let mut end = file.seek(SeekFrom::End(0)).await?;
    let mut newlines = 0;
    let mut first = true;
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES as u64);
        file.seek(SeekFrom::Start(start)).await?;
        let mut chunk = vec![0; usize::try_from(end - start).unwrap_or(CHUNK_BYTES)];
        file.read_exact(&mut chunk).await?;
        // The newline that ends the file ends its last line, it begins none.
        let skip_last = first && chunk.last() == Some(&b'\n');
        first = false;
        let searched = if skip_last { &chunk[..chunk.len() - 1] } else { &chunk[..] };
        for (at, _) in searched.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            newlines += 1;
            if newlines == lines {
                file.seek(SeekFrom::Start(start + at as u64 + 1)).await?;
                return Ok(());
            }
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0)).await?;
    Ok(())
}

/// How a follower learns that its container has ended.
pub struct Liveness {
    /// The runtime.
    pub cri: Cri,
    /// The container's id.
    pub container_id: String,
    /// Ids of containers something happened to.
    pub changed: broadcast::Receiver<String>,
}

impl Liveness {
    async fn is_running(&self) -> bool {
        let status = self.cri.container_status(&self.container_id).await;
        status.is_ok_and(|status| {
            status.state == k8s_cri::v1::ContainerState::ContainerRunning as i32
        })
    }

    /// Waits until something happened to the container.
    async fn change(&mut self) {
        loop {
            match self.changed.recv().await {
                Ok(id) if id != self.container_id => {}
                // Missed events may have been ours.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Sends a log to `output` until its end, the limit, or the client's disappearance.
///
/// # Errors
/// When the file cannot be read.
pub async fn stream(
    path: PathBuf,
    options: LogOptions,
    mut liveness: Liveness,
    watcher: &DirectoryWatcher,
    output: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut source = Source::open(&path).await?;
    match options.tail_lines {
        Some(0) => _ = source.file.seek(SeekFrom::End(0)).await?,
        Some(lines) => seek_to_tail(&mut source.file, lines).await?,
        None => {}
    }
    let mut formatter = Formatter::new(&options);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut changes = if options.follow { Some(watcher.watch(directory)?) } else { None };
    let mut running = options.follow && liveness.is_running().await;
    loop {
        let (bytes, end) = source.read(&mut formatter).await?;
        if !bytes.is_empty() && output.send(bytes.into()).await.is_err() {
            return Ok(());
        }
        if formatter.is_full() {
            return Ok(());
        }
        if !end {
            continue;
        }
        if let Some(next) = source.successor().await {
            drain(&mut source, &mut formatter, &output).await?;
            source = next;
            continue;
        }
        let Some(changes) = changes.as_mut().filter(|_| running) else { return Ok(()) };
        tokio::select! {
            () = changes.changed() => {}
            () = liveness.change() => running = liveness.is_running().await,
            () = output.closed() => return Ok(()),
        }
    }
}

/// The renamed file may have grown between its end and the renaming.
async fn drain(
    source: &mut Source,
    formatter: &mut Formatter,
    output: &mpsc::Sender<Bytes>,
) -> io::Result<()> {
    loop {
        let (bytes, end) = source.read(formatter).await?;
        if !bytes.is_empty() && output.send(bytes.into()).await.is_err() {
            return Ok(());
        }
        if end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
