//! The agent's side of a shim's control socket.
//!
//! Invariants: requests may overlap, each is answered or fails when the connection ends; events come in the order in which they happened;
//! after the last event the receiver ends, which says that the shim is gone.

use crate::protocol::{self, Answer, Event, Message, Op, Request};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

/// How long a shim may take to answer; it never waits for anything itself, but a container's start includes the kernel's mounts.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Events of one shim that wait to be handled; a full queue only makes the shim's socket wait.
const EVENT_QUEUE: usize = 64;

/// Why a shim did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// It answered with an error, in words for the user.
    #[error("{0}")]
    Refused(String),
    /// It is gone.
    #[error("the shim of the sandbox is gone")]
    Gone,
    /// It did not answer in time.
    #[error("the shim of the sandbox does not answer")]
    Timeout,
    /// Talking to it failed.
    #[error("talking to the shim of the sandbox: {0}")]
    Io(#[from] io::Error),
}

type Answered = (Answer, Vec<OwnedFd>);
type Pending = Mutex<Option<BTreeMap<u64, oneshot::Sender<Answered>>>>;

struct Shared {
    socket: AsyncFd<OwnedFd>,
    /// `None` once the connection has ended.
    pending: Pending,
    next: AtomicU64,
}

/// A connection to a shim. Clones share it.
#[derive(Clone)]
pub struct ShimClient {
    shared: Arc<Shared>,
    _reader: Arc<ReaderGuard>,
}

struct ReaderGuard(tokio::task::AbortHandle);

impl Drop for ReaderGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ShimClient {
    /// Talks over a connected socket.
    pub fn new(socket: OwnedFd) -> io::Result<(Self, mpsc::Receiver<Event>)> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let shared = Arc::new(Shared {
            socket: crate::sys::async_fd(socket)?,
            pending: Mutex::new(Some(BTreeMap::new())),
            next: AtomicU64::new(1),
        });
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let reader = tokio::spawn(read(shared.clone(), sender));
        Ok((Self { shared, _reader: Arc::new(ReaderGuard(reader.abort_handle())) }, events))
    }

    /// Connects to the shim of the sandbox directory.
    pub fn connect(directory: &Path) -> io::Result<(Self, mpsc::Receiver<Event>)> {
        Self::new(dial(directory)?)
    }

    /// Asks and waits for the answer.
    pub async fn call(&self, op: Op, fds: &[BorrowedFd<'_>]) -> Result<Answered, ShimError> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        match lock(&self.shared.pending).as_mut() {
            Some(pending) => pending.insert(id, sender),
            None => return Err(ShimError::Gone),
        };
        let sent = self.send(&Request { id, op }, fds).await;
        if let Err(error) = sent {
            lock(&self.shared.pending).as_mut().map(|pending| pending.remove(&id));
            return Err(error.into());
        }
        match tokio::time::timeout(ANSWER_TIMEOUT, receiver).await {
            Ok(Ok((Answer { error: Some(error), .. }, _))) => Err(ShimError::Refused(error)),
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(_)) => Err(ShimError::Gone),
            Err(_) => Err(ShimError::Timeout),
        }
    }

    async fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            let mut ready = self.shared.socket.writable().await?;
            match ready.try_io(|socket| protocol::send(socket.get_ref().as_fd(), request, fds)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }
}

/// Connects to the control socket in `directory`, whose path may be longer than a socket address.
fn dial(directory: &Path) -> io::Result<OwnedFd> {
    let directory = rustix::fs::open(
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let path = format!("/proc/self/fd/{}/shim.sock", rustix::fd::AsRawFd::as_raw_fd(&directory));
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// The process that listens on the control socket in `directory`, if one does.
pub fn peer(directory: &Path) -> io::Result<OwnedFd> {
    let socket = dial(directory)?;
    let peer = rustix::net::sockopt::socket_peercred(&socket)?;
    Ok(rustix::process::pidfd_open(peer.pid, rustix::process::PidfdFlags::empty())?)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(shared: Arc<Shared>, events: mpsc::Sender<Event>) {
    let mut buffer = vec![0u8; protocol::MAX_PACKET];
    while let Ok((length, fds)) = receive(&shared.socket, &mut buffer).await {
        if length == 0 {
            break;
        }
        match serde_json::from_slice(&buffer[..length]) {
            Ok(Message::Answer(answer)) => {
                let waiting =
                    lock(&shared.pending).as_mut().and_then(|pending| pending.remove(&answer.id));
                if let Some(waiting) = waiting {
                    // Whoever asked may have given up waiting.
                    let _given_up = waiting.send((answer, fds));
                }
            }
            Ok(Message::Event(event)) => {
                if events.send(event).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                tracing::error!(%error, "a shim talks nonsense");
                break;
            }
        }
    }
    *lock(&shared.pending) = None;
}

async fn receive(
    socket: &AsyncFd<OwnedFd>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    loop {
        let mut ready = socket.readable().await?;
        match ready.try_io(|socket| protocol::receive(socket.get_ref().as_fd(), buffer)) {
            Ok(result) => return result,
            Err(_would_block) => {}
        }
    }
}
