//! The processes of a local cluster: started detached, found by pid files, ended by id.
//!
//! Invariants:
//! - A pid alone is not trusted: the file also holds when the process started, so a reused pid is never signalled.
//! - A started process tells that it is ready, or why it cannot be, through a pipe; nobody polls for it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// The environment variable that names the pipe to say "ready" into.
const READY_FD: &str = "KNARR_READY_FD";
/// What a ready process writes there.
const READY: &str = "ready\n";

/// A process as its pid file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pid: i32,
    /// When it started, in clock ticks since boot (`/proc/PID/stat`, field 22).
    started: u64,
}

impl Process {
    /// The process with this id, if there is one.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: start_time(pid)? })
    }

    /// Its id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Reads a pid file; `None` when the process it speaks of no longer runs.
    pub fn read(path: &Path) -> Option<Self> {
        let process: Self = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        process.is_running().then_some(process)
    }

    /// Writes a pid file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        crate::pki::write_private(path, &serde_json::to_string(self)?)
    }

    fn is_running(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// A descriptor of this very process; `None` once it has ended.
    fn pidfd(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_running().then_some(fd)
    }

    /// Asks the process to end, waits, and kills it after `grace`.
    ///
    /// # Errors
    /// When it may not be signalled.
    pub fn stop(&self, grace: Duration) -> Result<()> {
        let Some(fd) = self.pidfd() else { return Ok(()) };
        for (signal, wait) in [(Signal::TERM, grace), (Signal::KILL, Duration::from_secs(10))] {
            match pidfd_send_signal(&fd, signal) {
                Err(rustix::io::Errno::SRCH) => return Ok(()),
                Err(error) => bail!("cannot end process {}: {error}", self.pid),
                Ok(()) => {}
            }
            if wait_readable(&fd, wait)? {
                return Ok(());
            }
        }
        bail!("process {} does not end", self.pid)
    }
}

/// When a process started; `None` for no process, or one that is dead and only waits to be reaped.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let dead = matches!(*fields.first()?, "Z" | "X");
    fields.get(19)?.parse().ok().filter(|_| !dead)
}

fn wait_readable(fd: &OwnedFd, wait: Duration) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout))? > 0)
}

/// What to start.
pub struct Start {
    /// Arguments of this binary.
    pub args: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
    /// Its pid file.
    pub pid_file: PathBuf,
    /// How long it may take to be ready.
    pub wait: Duration,
}

/// Starts this binary again, detached, and waits until it says that it is ready.
///
/// # Errors
/// With what the process itself says it failed of, when it ends before it is ready.
pub fn start(start: &Start) -> Result<Process> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::fcntl_setfd(&write, rustix::io::FdFlags::empty())?;
    let log = open_log(&start.log)?;
    let mut child = Command::new("/proc/self/exe")
        .arg0("knarr")
        .args(&start.args)
        .env(READY_FD, write.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot start knarr")?;
    drop(write);
    let process = Process::of(child.id() as i32);
    if let Some(process) = &process {
        process.write(&start.pid_file)?;
    }
    match (await_ready(&read, start.wait)?, process) {
        (Readiness::Ready, Some(process)) => {
            reap_in_background(child);
            Ok(process)
        }
        (Readiness::Waiting, _) => {
            bail!("not ready after {} s; its log is {}", start.wait.as_secs(), start.log.display())
        }
        (_, _) => {
            let _ = child.wait();
            let _ = std::fs::remove_file(&start.pid_file);
            bail!("{}", last_words(&start.log))
        }
    }
}

/// A started process outlives `up`; while `up` goes on, it must not become a zombie.
fn reap_in_background(mut child: std::process::Child) {
    std::thread::spawn(move || child.wait());
}

enum Readiness {
    Ready,
    Waiting,
    Ended,
}

fn await_ready(read: &OwnedFd, wait: Duration) -> Result<Readiness> {
    if !wait_readable(read, wait)? {
        return Ok(Readiness::Waiting);
    }
    let mut text = String::new();
    File::from(read.try_clone()?).take(READY.len() as u64).read_to_string(&mut text)?;
    Ok(if text == READY { Readiness::Ready } else { Readiness::Ended })
}

/// Says that this process is ready to whoever started it and waits for that; otherwise nothing.
pub fn say_ready() {
    let fd = std::env::var(READY_FD).ok().and_then(|text| text.parse::<RawFd>().ok());
    let Some(fd) = fd.filter(|fd| *fd > 2) else { return };
    // SAFETY: `start` left this descriptor open for us under this number and told nobody else of it.
    let pipe = unsafe { OwnedFd::from_raw_fd(fd) };
    let _ = rustix::io::write(&pipe, READY.as_bytes());
    // SAFETY: called once by each role before it serves; no other thread reads the environment at this moment.
    unsafe { std::env::remove_var(READY_FD) };
}

fn open_log(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut options = File::options();
    options.create(true).append(true).mode(0o600);
    options.open(path).with_context(|| format!("cannot write {}", path.display()))
}

/// The last line of a log that says what went wrong.
fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let words = text.lines().rev().find(|line| !line.trim().is_empty());
    let words = words.map(|line| line.strip_prefix("error: ").unwrap_or(line).to_owned());
    words.unwrap_or_else(|| format!("it ended without a word; its log is {}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_file_of_an_ended_or_another_process_means_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::of(child.id() as i32).unwrap();
        process.write(&path).unwrap();
        assert_eq!(Process::read(&path), Some(process));
        let reused = Process { started: process.started + 1, ..process };
        reused.write(&path).unwrap();
        assert_eq!(Process::read(&path), None);
        reused.stop(Duration::from_secs(1)).unwrap();
        assert!(process.is_running(), "a reused pid is not signalled");
        process.stop(Duration::from_secs(5)).unwrap();
        child.wait().unwrap();
        assert_eq!(Process::of(process.pid), None);
    }

    #[test]
    fn last_words_are_the_error_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, "starting\nerror: port 6443 is taken\n\n").unwrap();
        assert_eq!(last_words(&log), "port 6443 is taken");
    }
}
