//! A network namespace without an uplink, held by a process of its own.
//!
//! The holder is a shell that waits for the end of its standard input, so the namespace outlives this process by just
//! the time that `on_abandon`, a command that cleans up, takes. A test that is killed leaves nothing behind either.
//!
//! Invariants: nothing in the namespace can leave the machine; `ip netns` is not used, because it hides the cgroups.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the holder does: bring up loopback, say so, wait to be forgotten, clean up.
const HOLDER: &str = "ip link set lo up && echo ready && read -r _; eval \"$ON_ABANDON\"";

/// A network namespace with nothing but loopback.
#[derive(Debug)]
pub struct Netns {
    holder: Child,
}

impl Netns {
    /// Makes one. `on_abandon` is a shell command that the holder runs in it when this process dies before the value is
    /// dropped.
    ///
    /// # Panics
    /// When it cannot be made, which needs root, `unshare` and `ip`.
    pub fn new(on_abandon: &str) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "/bin/sh", "-c", HOLDER])
            .env("ON_ABANDON", on_abandon)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("unshare of util-linux");
        let mut ready = String::new();
        let stdout = holder.stdout.take().expect("it was piped");
        BufReader::new(stdout).read_line(&mut ready).expect("the holder answers");
        assert_eq!(ready, "ready\n", "a network namespace needs root, and `ip` of iproute2");
        Self { holder }
    }

    /// The process that holds it.
    pub fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// Where the kernel shows it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder()).into()
    }

    /// A command that will run in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs `work` on a thread that is in the namespace; so are the threads and sockets that it makes.
    ///
    /// # Panics
    /// When `work` does, or the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = std::fs::File::open(self.path()).expect("the holder runs");
        let entered = || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("the namespace can be entered");
            work()
        };
        let result = std::thread::scope(|scope| scope.spawn(entered).join());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Killed, not asked: whoever dropped this has cleaned up already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
