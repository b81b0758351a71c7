//! Further processes in a container, attaching to one, and sockets into a pod.

use super::error::EngineError;
use super::{Container, Engine, Result, Runtime, State, lock};
use crate::protocol::Op;
use crate::shim_client::ShimClient;
use crate::spec::exec_process;
use crate::sys;
use rustix::fd::{AsFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// Output kept of a synchronous exec, both streams together: the CRI's limit of 16 MB for the whole answer (CVE-2022-1708), less its frame.
const MAX_OUTPUT: usize = 16 * 1024 * 1024 - 64 * 1024;
/// How long output is still read after the process has ended, in case a grandchild keeps the pipe.
const DRAIN: Duration = Duration::from_secs(2);
/// Capacity of the pipes of those who watch a container: what they may be behind.
const VIEWER_PIPE: usize = 1024 * 1024;

/// What a synchronous exec gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output, cut at the limit.
    pub stdout: Vec<u8>,
    /// Standard error, cut at the limit.
    pub stderr: Vec<u8>,
    /// Exit code.
    pub exit_code: i32,
}

/// Our sides of a process's streams.
#[derive(Default)]
pub struct ExecStreams {
    /// Where to write its input.
    pub stdin: Option<OwnedFd>,
    /// Where to read its output.
    pub stdout: Option<OwnedFd>,
    /// Where to read its errors.
    pub stderr: Option<OwnedFd>,
    /// The controlling side of its terminal, instead of all three.
    pub terminal: Option<OwnedFd>,
}

/// A process that runs in a container.
pub struct Exec {
    /// Its streams.
    pub streams: ExecStreams,
    /// Its exit code, when it has ended.
    pub exit: oneshot::Receiver<i32>,
    id: u64,
    shim: ShimClient,
}

impl Exec {
    /// Kills it.
    pub async fn kill(&self) {
        if let Err(error) = self.shim.call(Op::KillExec { exec: self.id }, &[]).await {
            tracing::debug!(%error, "killing a process of exec");
        }
    }
}

/// Which streams somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Input.
    pub stdin: bool,
    /// Output.
    pub stdout: bool,
    /// Errors.
    pub stderr: bool,
    /// A terminal.
    pub terminal: bool,
}

fn null() -> std::io::Result<OwnedFd> {
    Ok(std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?.into())
}

/// A pair (ours, the process's) when wanted, else nothing and the null device.
fn stream(wanted: bool, input: bool) -> std::io::Result<(Option<OwnedFd>, OwnedFd)> {
    if !wanted {
        return Ok((None, null()?));
    }
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok(if input { (Some(write), read) } else { (Some(read), write) })
}

impl Runtime {
    /// A container that runs.
    pub(crate) fn running(&self, id: &str) -> Result<Arc<Container>> {
        let container = self.engine.container(id)?;
        match container.state() {
            State::Running { .. } => Ok(container),
            _ => Err(EngineError::FailedPrecondition(format!("container {id} is not running"))),
        }
    }

    /// Starts a process in a running container.
    pub(crate) async fn exec(
        &self,
        id: &str,
        command: Vec<String>,
        wanted: Wanted,
    ) -> Result<Exec> {
        let container = self.running(id)?;
        if command.is_empty() {
            return Err(EngineError::Invalid("cmd: is required".into()));
        }
        let shim = self.engine.sandbox(&container.record().sandbox)?.shim()?;
        let spec = container.spec()?;
        let process = spec
            .process()
            .as_ref()
            .ok_or_else(|| EngineError::Invalid("the container has no process".into()))?;
        let process = exec_process(process, command, wanted.terminal);
        let process = sys::sealed_file(
            c"process",
            &serde_json::to_vec(&process).map_err(std::io::Error::from)?,
        )?;
        let (mut streams, mut fds) = (ExecStreams::default(), vec![process]);
        if !wanted.terminal {
            for (wanted, input, ours) in [
                (wanted.stdin, true, &mut streams.stdin),
                (wanted.stdout, false, &mut streams.stdout),
                (wanted.stderr, false, &mut streams.stderr),
            ] {
                let (own, theirs) = stream(wanted, input)?;
                *ours = own;
                fds.push(theirs);
            }
        }
        let number = self.engine.next_exec.fetch_add(1, Ordering::Relaxed);
        let (sender, exit) = oneshot::channel();
        lock(&self.engine.execs).insert(number, sender);
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let op =
            Op::Exec { exec: number, container: container.id.clone(), terminal: wanted.terminal };
        match shim.call(op, &borrowed).await {
            Ok((_, mut received)) => {
                streams.terminal = received.pop();
                Ok(Exec { streams, exit, id: number, shim })
            }
            Err(error) => {
                lock(&self.engine.execs).remove(&number);
                Err(error.into())
            }
        }
    }

    /// Runs a process to its end; `timeout_seconds` of 0 waits for ever.
    pub(crate) async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout_seconds: i64,
    ) -> Result<Output> {
        let mut exec = self
            .exec(id, command, Wanted { stdin: false, stdout: true, stderr: true, terminal: false })
            .await?;
        let room = Arc::new(AtomicUsize::new(MAX_OUTPUT));
        let stdout = Collector::start(exec.streams.stdout.take(), room.clone())?;
        let stderr = Collector::start(exec.streams.stderr.take(), room)?;
        let seconds = u64::try_from(timeout_seconds).unwrap_or(0);
        let exit_code = if seconds == 0 {
            (&mut exec.exit).await.ok()
        } else {
            match tokio::time::timeout(Duration::from_secs(seconds), &mut exec.exit).await {
                Ok(code) => code.ok(),
                Err(_) => {
                    exec.kill().await;
                    return Err(EngineError::DeadlineExceeded(format!(
                        "failed to exec in container: timeout {seconds}s exceeded: context deadline exceeded"
                    )));
                }
            }
        };
        let exit_code = exit_code.ok_or_else(|| {
            EngineError::FailedPrecondition("the sandbox ended during the exec".into())
        })?;
        Ok(Output { stdout: stdout.finish().await, stderr: stderr.finish().await, exit_code })
    }

    /// Watches a container's output and, if wanted, gives its input: pipes for reading, and stdin or the terminal.
    pub(crate) async fn attach(
        &self,
        id: &str,
        wanted: Wanted,
    ) -> Result<(Arc<Container>, ExecStreams)> {
        let container = self.running(id)?;
        let shim = self.engine.sandbox(&container.record().sandbox)?.shim()?;
        let (mut streams, mut theirs) = (ExecStreams::default(), Vec::new());
        for (wanted, ours) in [
            (wanted.stdout, &mut streams.stdout),
            (wanted.stderr && !container.config.tty, &mut streams.stderr),
        ] {
            if wanted {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
                rustix::pipe::fcntl_setpipe_size(&write, VIEWER_PIPE)
                    .map_err(std::io::Error::from)?;
                *ours = Some(read);
                theirs.push(write);
            }
        }
        let op = Op::Attach {
            container: container.id.clone(),
            stdin: wanted.stdin,
            stdout: streams.stdout.is_some(),
            stderr: streams.stderr.is_some(),
        };
        let borrowed: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
        let (_, mut received) = shim.call(op, &borrowed).await?;
        let input = received.pop();
        if container.config.tty {
            streams.terminal = input;
        } else {
            streams.stdin = input;
        }
        Ok((container, streams))
    }

    /// Closes the stdin of a container for good.
    pub(crate) async fn close_stdin(&self, container: &Container) -> Result<()> {
        let shim = self.engine.sandbox(&container.record().sandbox)?.shim()?;
        shim.call(Op::CloseStdin { container: container.id.clone() }, &[]).await?;
        Ok(())
    }

    /// Connects to a port on the pod's loopback, IPv4 first.
    pub(crate) async fn connect(&self, sandbox: &str, port: u16) -> Result<tokio::net::TcpStream> {
        let shim = self.engine.sandbox(sandbox)?.shim()?;
        let mut last = None;
        for ipv6 in [false, true] {
            let connected = match shim.call(Op::Connect { port, ipv6 }, &[]).await {
                Ok((_, mut fds)) => match fds.pop() {
                    Some(fd) => finish_connect(fd).await,
                    None => Err(std::io::ErrorKind::NotConnected.into()),
                },
                Err(error) => Err(std::io::Error::other(error)),
            };
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => last = last.or(Some(error)),
            }
        }
        let error = last.unwrap_or_else(|| std::io::ErrorKind::NotConnected.into());
        Err(EngineError::Doing {
            action: format!("connecting to port {port} inside the pod"),
            source: error,
        })
    }
}

async fn finish_connect(socket: OwnedFd) -> std::io::Result<tokio::net::TcpStream> {
    let stream = tokio::net::TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

impl Engine {
    pub(super) fn exec_exited(&self, exec: u64, code: i32) {
        if let Some(waiting) = lock(&self.execs).remove(&exec) {
            // Whoever waited may have gone.
            let _gone = waiting.send(code);
        }
    }
}

/// Reads a pipe to its end, keeping what there is room for.
struct Collector {
    output: Arc<std::sync::Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Collector {
    fn start(pipe: Option<OwnedFd>, room: Arc<AtomicUsize>) -> Result<Self> {
        let output = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut pipe = match pipe {
            Some(fd) => Some(receiver(fd)?),
            None => None,
        };
        let kept = output.clone();
        let task = tokio::spawn(async move {
            let Some(pipe) = &mut pipe else { return };
            let mut buffer = vec![0u8; 64 * 1024];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                let take = |room: usize| Some(room - room.min(read));
                let had =
                    room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
                lock(&kept).extend_from_slice(&buffer[..read.min(had)]);
            }
        });
        Ok(Self { output, task })
    }

    async fn finish(mut self) -> Vec<u8> {
        if tokio::time::timeout(DRAIN, &mut self.task).await.is_err() {
            self.task.abort();
        }
        std::mem::take(&mut lock(&self.output))
    }
}

/// An asynchronous reader of a pipe.
pub(crate) fn receiver(fd: OwnedFd) -> std::io::Result<pipe::Receiver> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    pipe::Receiver::from_owned_fd(fd)
}

/// An asynchronous writer of a pipe.
pub(crate) fn sender(fd: OwnedFd) -> std::io::Result<pipe::Sender> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    pipe::Sender::from_owned_fd(fd)
}
