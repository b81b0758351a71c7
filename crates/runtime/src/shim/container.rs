//! One running container as the shim sees it: process, output, log, end.

use super::log::{Limit, LogFile, Splitter, offer, timestamp};
use super::{Asker, Report, Shim, Source, Stream, init, now, read_report};
use crate::protocol::{Event, Exit, PidMode, Start};
use crate::sys::{self, Fork};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat, renameat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;

/// Most bytes taken from a pipe after the end of the container, in case something outside its pid namespace keeps writing.
const MAX_DRAIN: usize = 1024 * 1024;
/// Viewers attached to one container at once.
const MAX_ATTACHED: usize = 32;

/// Somebody who sees a container's output.
struct Viewer {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// A container that is starting or running.
pub struct Container {
    /// Pid of its first process in the shim's pid namespace.
    pub pid: i32,
    /// That process.
    pub pidfd: OwnedFd,
    /// Our side of its stdin, or none.
    pub stdin: Option<OwnedFd>,
    /// Installed filters, for exec.
    pub seccomp: Vec<OwnedFd>,
    /// Its directory in the unified hierarchy, for exec.
    pub unified: Option<OwnedFd>,
    /// Its `tasks` files in the others, for exec.
    pub cgroups: Vec<OwnedFd>,
    oom: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    splitters: [Splitter; 2],
    log: Option<LogFile>,
    viewers: Vec<Viewer>,
    directory: String,
    starting: Option<Starting>,
}

struct Starting {
    asker: Asker,
    report: OwnedFd,
    error: Option<String>,
}

/// The descriptors of a start request, by their meaning.
pub struct StartFds {
    /// The OCI spec.
    pub spec: OwnedFd,
    /// The root file system, a detached mount.
    pub root: OwnedFd,
    /// Filter programs.
    pub seccomp: Vec<OwnedFd>,
    /// Sources of bind mounts, detached.
    pub mounts: Vec<OwnedFd>,
    log: OwnedFd,
    oom: Option<OwnedFd>,
    unified: Option<OwnedFd>,
    /// `tasks` files.
    pub cgroups: Vec<OwnedFd>,
}

impl StartFds {
    fn sort(start: &Start, fds: Vec<OwnedFd>) -> io::Result<Self> {
        let mut fds = fds.into_iter();
        let mut next = || fds.next().ok_or_else(|| io::Error::other("a descriptor is missing"));
        let (spec, root, log) = (next()?, next()?, next()?);
        let seccomp = (0..start.seccomp).map(|_| next()).collect::<io::Result<_>>()?;
        let oom = if start.oom { Some(next()?) } else { None };
        let unified = if start.unified { Some(next()?) } else { None };
        let cgroups = (0..start.cgroups).map(|_| next()).collect::<io::Result<_>>()?;
        Ok(Self { spec, root, log, seccomp, oom, unified, cgroups, mounts: fds.collect() })
    }
}

/// The child's and our sides of the standard streams; none of them with a terminal.
#[derive(Default)]
struct Stdio {
    child: Vec<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Stdio {
    fn make(start: &Start) -> io::Result<Self> {
        if start.terminal {
            return Ok(Self::default());
        }
        let (stdin_child, stdin) = if start.stdin {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            (read, Some(write))
        } else {
            (rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?, None)
        };
        let (stdout, stdout_child) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, stderr_child) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&stdout, true)?;
        rustix::io::ioctl_fionbio(&stderr, true)?;
        Ok(Self {
            child: vec![stdin_child, stdout_child, stderr_child],
            stdin,
            stdout: Some(stdout),
            stderr: Some(stderr),
        })
    }
}

impl Container {
    /// Signals its first process.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let signal = rustix::process::Signal::from_named_raw(signal)
            .ok_or_else(|| io::Error::other("no such signal"))?;
        Ok(rustix::process::pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Opens its log anew.
    pub fn reopen_log(&mut self) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), LogFile::reopen)
    }

    fn reader(&self, stream: Stream) -> Option<&OwnedFd> {
        match stream {
            Stream::Stdout => self.terminal.as_ref().or(self.stdout.as_ref()),
            Stream::Stderr => self.stderr.as_ref(),
        }
    }

    fn close_reader(&mut self, stream: Stream) {
        match stream {
            Stream::Stdout => self.stdout = None,
            Stream::Stderr => self.stderr = None,
        }
    }

    /// Takes one chunk of output; `None` at the end of the stream, `Some(0)` when there is nothing now.
    fn take_output(&mut self, stream: Stream, buffer: &mut [u8]) -> Option<usize> {
        let read = match rustix::io::read(self.reader(stream)?, &mut *buffer) {
            Ok(0) | Err(Errno::IO) => return None,
            Ok(read) => read,
            Err(Errno::AGAIN | Errno::INTR) => return Some(0),
            Err(_) => return None,
        };
        self.show(stream, &buffer[..read]);
        Some(read)
    }

    fn show(&mut self, stream: Stream, data: &[u8]) {
        let now = now();
        if let Some(log) = &mut self.log {
            let mut records = Vec::with_capacity(data.len() + 128);
            self.splitters[stream as usize].feed(data, &head(now, stream), &mut records);
            if !records.is_empty() {
                log.write(&records, now);
            }
        }
        for viewer in &mut self.viewers {
            let pipe = match stream {
                Stream::Stdout => &mut viewer.stdout,
                Stream::Stderr => &mut viewer.stderr,
            };
            if pipe.as_ref().is_some_and(|pipe| !offer(pipe.as_fd(), data)) {
                *pipe = None;
            }
        }
        self.viewers.retain(|v| v.stdout.is_some() || v.stderr.is_some());
    }

    fn drain(&mut self, buffer: &mut [u8]) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut total = 0;
            while let Some(read) = self.take_output(stream, buffer) {
                total += read;
                if read == 0 || total > MAX_DRAIN {
                    break;
                }
            }
            let (now, mut records) = (now(), Vec::new());
            self.splitters[stream as usize].finish(&head(now, stream), &mut records);
            if let Some(log) = &mut self.log
                && !records.is_empty()
            {
                log.write(&records, now);
            }
        }
    }
}

fn head(now: i64, stream: Stream) -> String {
    let name = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    format!("{} {name} ", timestamp(now))
}

/// Waits for the process behind `pidfd` (which has ended or has been killed) and answers its code and signal.
pub fn reap(pidfd: &OwnedFd) -> (i32, Option<i32>) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                return match status.terminating_signal() {
                    Some(signal) => (128 + signal, Some(signal)),
                    None => (status.exit_status().unwrap_or(0), None),
                };
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => return (255, None),
        }
    }
}

/// A socket pair over which a child reports; both ends close on exec.
pub fn report_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, childs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, childs))
}

/// The kernel's count of OOM kills in `memory.oom_control` (v1) or `memory.events` (v2).
fn oom_kills(counter: &OwnedFd) -> u64 {
    let text = sys::read_all(counter.as_fd(), 4096).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill ").and_then(|n| n.trim().parse().ok()))
        .unwrap_or(0)
}

impl Shim {
    /// Starts a container; the answer comes when its program runs or could not be run.
    pub(super) fn start(
        &mut self,
        asker: Asker,
        start: Start,
        fds: Vec<OwnedFd>,
    ) -> io::Result<()> {
        if self.containers.contains_key(&start.container) {
            return Err(io::Error::other(format!(
                "container {} is running already",
                start.container
            )));
        }
        let fds = StartFds::sort(&start, fds)?;
        let stdio = Stdio::make(&start)?;
        let (report, childs_report) = report_pair()?;
        let forked = self.in_pid_namespace(&start.pid, |new| {
            sys::fork(
                if new { libc::CLONE_NEWPID } else { 0 },
                fds.unified.as_ref().map(AsFd::as_fd),
            )
        })?;
        let Fork::Parent { pid, pidfd } = forked else {
            init::child(&fds, &stdio.child, &childs_report, &self.sandbox)
        };
        drop(childs_report);
        let log = match start.log {
            Some(name) => {
                let limit = start
                    .log_limit
                    .map(|(max_size_bytes, max_files)| Limit { max_size_bytes, max_files });
                Some(LogFile::open(fds.log, name, limit))
            }
            None => None,
        };
        self.poll.watch(report.as_fd(), Source::ContainerReport(start.container.clone()))?;
        let (log, error) = match log {
            Some(Err(error)) => (None, Some(format!("opening the log: {error}"))),
            Some(Ok(log)) => (Some(log), None),
            None => (None, None),
        };
        if error.is_some() {
            rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL)?;
        }
        let container = Container {
            pid,
            pidfd,
            stdin: stdio.stdin,
            seccomp: fds.seccomp,
            unified: fds.unified,
            cgroups: fds.cgroups,
            oom: fds.oom,
            terminal: None,
            stdout: stdio.stdout,
            stderr: stdio.stderr,
            splitters: Default::default(),
            log,
            viewers: Vec::new(),
            directory: start.directory,
            starting: Some(Starting { asker, report, error }),
        };
        self.containers.insert(start.container, container);
        Ok(())
    }

    /// Runs `fork` so that its child gets the pid namespace of `mode`; the argument says whether it has to make a new one.
    pub(super) fn in_pid_namespace(
        &self,
        mode: &PidMode,
        fork: impl FnOnce(bool) -> io::Result<Fork>,
    ) -> io::Result<Fork> {
        let joined = match mode {
            PidMode::Container => return fork(true),
            PidMode::Node => return fork(false),
            PidMode::Pod => self
                .sandbox
                .pause
                .as_ref()
                .ok_or_else(|| io::Error::other("the pod has no pid namespace"))?,
            PidMode::Target(id) => {
                &self
                    .containers
                    .get(id)
                    .ok_or_else(|| {
                        io::Error::other(format!("target container {id} is not running"))
                    })?
                    .pidfd
            }
        };
        sys::setns(joined.as_fd(), libc::CLONE_NEWPID)?;
        let forked = fork(false);
        if !matches!(forked, Ok(Fork::Child)) {
            sys::setns(self.sandbox.own_pid_namespace.as_fd(), libc::CLONE_NEWPID)?;
        }
        forked
    }

    pub(super) fn container_reported(&mut self, token: u64, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(starting) = &mut container.starting else { return };
        match read_report(starting.report.as_fd()) {
            Report::Pending => {}
            Report::Terminal(terminal) => match rustix::io::ioctl_fionbio(&terminal, true) {
                Ok(()) => container.terminal = Some(terminal),
                Err(error) => starting.error = Some(error.to_string()),
            },
            Report::Failed(error) => {
                starting.error.get_or_insert(error);
            }
            Report::Running => {
                self.poll.forget(token, Some(starting.report.as_fd()));
                self.container_started(id);
            }
        }
    }

    fn container_started(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(Starting { asker, error, report }) = container.starting.take() else { return };
        drop(report);
        if let Some(error) = error {
            self.container_failed(id, &error);
            return self.answer_error(asker, error);
        }
        let pid = container.pid;
        match self.watch_container(id) {
            Ok(()) => self.answer_ok(asker, Some(pid), &[]),
            Err(error) => self.answer_error(asker, error.to_string()),
        }
    }

    /// A container that could not run has ended, with the code and reason containerd gives; the agent that asked may be gone by now.
    fn container_failed(&mut self, id: &str, error: &str) {
        let Some(container) = self.containers.remove(id) else { return };
        reap(&container.pidfd);
        let exit = Exit {
            code: 128,
            signal: None,
            oom_killed: false,
            finished_at: now(),
            reason: Some("StartError".into()),
            message: Some(error.to_owned()),
        };
        self.record_exit(id, &container.directory, exit);
    }

    fn record_exit(&mut self, id: &str, directory: &str, exit: Exit) {
        if let Err(error) = write_exit(&self.sandbox.directory, directory, &exit) {
            eprintln!("{} writing the exit of {id}: {error}", timestamp(now()));
        }
        self.tell(&Event::Exited { container: id.to_owned(), exit });
    }

    fn watch_container(&mut self, id: &str) -> io::Result<()> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(fd) = container.reader(stream) {
                self.poll.watch(fd.as_fd(), Source::Output(id.to_owned(), stream))?;
            }
        }
        self.poll.watch(container.pidfd.as_fd(), Source::ContainerPid(id.to_owned()))
    }

    pub(super) fn output(&mut self, token: u64, id: &str, stream: Stream, buffer: &mut [u8]) {
        let Some(container) = self.containers.get_mut(id) else {
            return self.poll.forget(token, None);
        };
        if container.take_output(stream, buffer).is_none() {
            self.poll.forget(token, container.reader(stream).map(AsFd::as_fd));
            container.close_reader(stream);
        }
    }

    /// The first process has ended (or has been killed): log the rest, write the exit down, tell.
    pub(super) fn container_exited(&mut self, token: Option<u64>, id: &str, buffer: &mut [u8]) {
        let Some(mut container) = self.containers.remove(id) else { return };
        if let Some(token) = token {
            self.poll.forget(token, Some(container.pidfd.as_fd()));
        }
        let (code, signal) = reap(&container.pidfd);
        container.drain(buffer);
        let oom_killed =
            code != 0 && container.oom.as_ref().is_some_and(|counter| oom_kills(counter) > 0);
        let exit =
            Exit { code, signal, oom_killed, finished_at: now(), reason: None, message: None };
        self.record_exit(id, &container.directory, exit);
    }

    pub(super) fn attach(
        &mut self,
        id: &str,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        fds: Vec<OwnedFd>,
    ) -> io::Result<Vec<OwnedFd>> {
        let container = self.container(id)?;
        if container.viewers.len() >= MAX_ATTACHED {
            return Err(io::Error::other("too many attached already"));
        }
        let mut fds = fds.into_iter();
        let viewer = Viewer { stdout: fds.next_if(stdout), stderr: fds.next_if(stderr) };
        for pipe in [&viewer.stdout, &viewer.stderr].into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        if viewer.stdout.is_some() || viewer.stderr.is_some() {
            container.viewers.push(viewer);
        }
        let input = container.terminal.as_ref().or(container.stdin.as_ref().filter(|_| stdin));
        Ok(input
            .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3))
            .transpose()?
            .into_iter()
            .collect())
    }
}

/// Takes the next item only if it is wanted.
trait NextIf {
    fn next_if(&mut self, wanted: bool) -> Option<OwnedFd>;
}

impl<I: Iterator<Item = OwnedFd>> NextIf for I {
    fn next_if(&mut self, wanted: bool) -> Option<OwnedFd> {
        if wanted { self.next() } else { None }
    }
}

/// Writes `exit.json` so that it is either absent or complete, and on disk.
fn write_exit(sandbox: &OwnedFd, directory: &str, exit: &Exit) -> io::Result<()> {
    let directory = openat(
        sandbox,
        directory,
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = openat(&directory, "exit.json.new", flags, Mode::from_raw_mode(0o600))?;
    let content = serde_json::to_vec(exit)?;
    let mut rest = &content[..];
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = &rest[written..];
    }
    rustix::fs::fsync(&file)?;
    renameat(&directory, "exit.json.new", &directory, "exit.json")?;
    rustix::fs::fsync(&directory)?;
    Ok(())
}
