//! Commands as a person types them, with what they said.
//!
//! Invariant: every command ends: `timeout` of coreutils ends it after [`LIMIT_SECONDS`], so that a test that waits for
//! what never happens fails instead of hanging.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

/// How long one command may take: longer than any `kubectl wait` in the tests.
pub const LIMIT_SECONDS: u32 = 180;

/// What a command said.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
}

impl Output {
    /// Its standard output, when it succeeded.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }

    /// Its standard error, when it failed.
    ///
    /// # Panics
    /// When it succeeded.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_ne!(self.code, Some(0), "should have failed: {self}");
        self.stderr
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, stdout, stderr, code } = self;
        write!(f, "$ {command}\nexit code {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Runs a command with `input` as its standard input.
///
/// # Panics
/// When it cannot be started.
#[track_caller]
pub fn run(mut command: Command, shown: &str, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let mut stdin = child.stdin.take().expect("it was piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A command that ends without reading its input is no error of ours.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("a child can be waited for");
    writer.join().expect("the writer does not panic");
    Output {
        command: shown.to_owned(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}

/// A command that goes on while the test does.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    chunks: Receiver<Vec<u8>>,
    said: String,
}

impl Running {
    /// Starts it; standard output and standard error are read together.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(mut command: Command, shown: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        let (sender, chunks) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("it was piped")),
            Box::new(child.stderr.take().expect("it was piped")),
        ];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                while let Ok(chunk) = stream.fill_buf() {
                    let (chunk, read) = (chunk.to_owned(), chunk.len());
                    stream.consume(read);
                    if read == 0 || sender.send(chunk).is_err() {
                        break;
                    }
                }
            });
        }
        Self { child, shown: shown.to_owned(), chunks, said: String::new() }
    }

    /// Everything it has said so far.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Types something into it.
    ///
    /// # Panics
    /// When it no longer reads.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("it was piped");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("it reads");
    }

    /// Asks it to end, as an operator's Ctrl-C or `systemctl stop` does.
    pub fn terminate(&mut self) {
        // `timeout`, which runs the command, passes the signal on.
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        self.child.stdin.take();
    }

    /// Waits until it has said something that `wanted` accepts.
    ///
    /// # Panics
    /// When it ends without, or takes more than a minute.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !wanted(&self.said) {
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.said.push_str(&String::from_utf8_lossy(&chunk)),
                Err(RecvTimeoutError::Timeout) => {
                    panic!(
                        "$ {}\ndid not say {what} within a minute, but:\n{}",
                        self.shown, self.said
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("$ {}\nended without {what}, having said:\n{}", self.shown, self.said)
                }
            }
        }
    }

    /// Waits until it has said `text`.
    ///
    /// # Panics
    /// When it ends without, or takes more than a minute.
    #[track_caller]
    pub fn wait_for_text(&mut self, text: &str) {
        self.wait_for(&format!("{text:?}"), |said| said.contains(text));
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within a minute.
    #[track_caller]
    pub fn wait(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.said.push_str(&String::from_utf8_lossy(&chunk)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("$ {}\ndid not end, having said:\n{}", self.shown, self.said)
                }
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        (status, std::mem::take(&mut self.said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked, not killed: `timeout` then ends the command that it runs.
        self.terminate();
        let _ = self.child.wait();
    }
}
