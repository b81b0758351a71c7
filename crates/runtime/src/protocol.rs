//! What the agent and a shim say to each other: JSON packets over a `SOCK_SEQPACKET` unix socket, descriptors beside them.
//!
//! The counterpart of containerd's ttrpc shim API. Invariants: one packet is one message; a request is answered exactly once, with its id;
//! descriptors always come in the order that the message's type documents; a packet that does not parse ends the connection.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// Changes whenever a shim of one side could not be spoken to by the other; an agent refuses shims of another version.
pub const VERSION: u32 = 1;
/// Longest packet; everything long (specs, filters) travels as a file.
pub const MAX_PACKET: usize = 64 * 1024;
/// Most descriptors in one packet (the kernel's `SCM_MAX_FD`).
pub const MAX_FDS: usize = 253;

/// A message to the shim.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the sender, repeated in the answer.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub op: Op,
}

/// What a shim can be asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase")]
pub enum Op {
    /// First of all, once: make the sandbox. Descriptors: the sandbox directory.
    Init(Init),
    /// What runs here.
    Hello,
    /// Run a container. Descriptors: see [`Start`].
    Start(Start),
    /// Run another process in a container. Descriptors: process (OCI JSON), then with `terminal` none, else stdin, stdout, stderr.
    /// The answer carries the controlling side of the terminal if there is one, as soon as the process runs.
    Exec {
        /// Names the process in [`Event::ExecExited`].
        exec: u64,
        /// In which container.
        container: String,
        /// Whether to make a pseudo terminal.
        terminal: bool,
    },
    /// Send a signal to the first process of a container.
    Signal {
        /// Which.
        container: String,
        /// Signal number.
        signal: i32,
    },
    /// Kill a process of [`Op::Exec`].
    KillExec {
        /// Which.
        exec: u64,
    },
    /// Copy the output of a container also to the given pipes, as flagged. The answer carries its stdin (or the controlling side of its
    /// terminal, for which `stdin` and resizing are one) if asked for and present.
    Attach {
        /// Which.
        container: String,
        /// Whether stdin is wanted.
        stdin: bool,
        /// Whether the first descriptor takes stdout.
        stdout: bool,
        /// Whether the last descriptor takes stderr.
        stderr: bool,
    },
    /// Close the container's stdin for good.
    CloseStdin {
        /// Which.
        container: String,
    },
    /// Open the log file anew (after someone renamed it).
    ReopenLog {
        /// Which.
        container: String,
    },
    /// A TCP socket in the pod's network namespace that is connecting to a loopback port.
    Connect {
        /// The port.
        port: u16,
        /// `::1` instead of `127.0.0.1`.
        ipv6: bool,
    },
    /// Kill what still runs, then end.
    Shutdown,
}

/// How the sandbox is made.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Init {
    /// Own network namespace.
    pub network: bool,
    /// Own IPC namespace, and a `/dev/shm` shared by the containers.
    pub ipc: bool,
    /// Own UTS namespace with this hostname.
    pub hostname: Option<String>,
    /// One pid namespace for all containers.
    pub shared_pid: bool,
    /// Kernel parameters, in dotted form.
    pub sysctls: std::collections::BTreeMap<String, String>,
    /// Size of `/dev/shm`.
    pub shm_bytes: u64,
}

/// How a container is run. Descriptors, in order: OCI spec, root mount, log directory, then `seccomp` filter programs, then the cgroup's
/// OOM counter if `oom`, then its directory in the unified hierarchy if `unified`, then `cgroups` open `tasks` files, then one mount per entry of type `bind` in the spec's mounts whose source
/// is not [`SHM_SOURCE`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// Its id.
    pub container: String,
    /// Name of its directory below the sandbox directory, where `exit.json` goes.
    pub directory: String,
    /// File name of its log in the log directory; `None` throws output away.
    pub log: Option<String>,
    /// Rotation by the shim.
    pub log_limit: Option<(u64, u32)>,
    /// Which pid namespace.
    pub pid: PidMode,
    /// Whether it gets a pseudo terminal.
    pub terminal: bool,
    /// Whether its stdin is open.
    pub stdin: bool,
    /// Number of filter programs.
    pub seccomp: usize,
    /// Whether an OOM counter comes with it.
    pub oom: bool,
    /// Whether a directory of the unified hierarchy comes with it.
    pub unified: bool,
    /// Number of cgroup files.
    pub cgroups: usize,
}

/// The source of `/dev/shm` in a spec: the pod's own tmpfs, which only the shim's mount namespace has.
pub const SHM_SOURCE: &str = "/shm";

/// Which pid namespace a container lives in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PidMode {
    /// Its own.
    Container,
    /// The one of the sandbox.
    Pod,
    /// The node's.
    Node,
    /// Another container's.
    Target(String),
}

/// A message from the shim.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// The answer to a request.
    Answer(Answer),
    /// Something happened.
    Event(Event),
}

/// The answer to a request.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The request's id.
    pub id: u64,
    /// What went wrong, in words for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Pid of the process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Answer to [`Op::Hello`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello: Option<Hello>,
}

/// What runs in a shim.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the shim.
    pub version: u32,
    /// Pid of the shim.
    pub pid: i32,
    /// Containers that are starting or running, and their pids.
    pub running: std::collections::BTreeMap<String, i32>,
}

/// Something that happened in a shim.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum Event {
    /// A container has ended; its `exit.json` is on disk.
    Exited {
        /// Which.
        container: String,
        /// How.
        exit: Exit,
    },
    /// A process of [`Op::Exec`] has ended.
    ExecExited {
        /// Which.
        exec: u64,
        /// Its exit code; 128 + n for signal n.
        code: i32,
    },
}

/// How a container ended, as written to `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// Exit code; 128 + n for signal n.
    pub code: i32,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Whether the kernel killed something in it for lack of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// Nanoseconds since 1970.
    pub finished_at: i64,
    /// A CamelCase word, when it is not `Completed`, `Error` or `OOMKilled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Words for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Exit {
    /// The CRI's reason.
    pub fn reason(&self) -> &str {
        match &self.reason {
            Some(reason) => reason,
            None if self.oom_killed => "OOMKilled",
            None if self.code == 0 => "Completed",
            None => "Error",
        }
    }
}

/// Sends one message with its descriptors.
///
/// # Errors
/// Also when the message is longer than [`MAX_PACKET`], and `WouldBlock` on a full non-blocking socket.
pub fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let packet = serde_json::to_vec(message)?;
    if packet.len() > MAX_PACKET || fds.len() > MAX_FDS {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let mut space = vec![MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(fds).size().max(1)];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(socket, &[IoSlice::new(&packet)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet into `buffer`; the length is 0 when the peer has gone. Descriptors are close-on-exec.
///
/// # Errors
/// `WouldBlock` on an empty non-blocking socket; `InvalidData` when something was cut off.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let result =
        recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    use rustix::net::ReturnFlags;
    if result.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok((result.bytes, fds))
}

/// Borrows each of `fds`.
pub fn borrow_all(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}
