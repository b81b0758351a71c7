//! The shim: one single-threaded process per pod that owns its namespaces, starts its containers and outlives the agent.
//!
//! The counterpart of containerd-shim and of the pause container. Invariants: it never waits for anything but its epoll set; it holds
//! descriptors, not paths, to whatever a container could move; its own mount namespace is an almost empty tmpfs, so it pins no volume of the
//! node; what must be known after its death (`exit.json`) is on disk before it tells anyone.

mod container;
mod exec;
mod init;
mod log;
mod process;
mod rootfs;
mod setup;

pub use log::timestamp;

use crate::protocol::{self, Answer, Event, Hello, Message, Op, Request};
use container::Container;
use exec::Exec;
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;

/// Agents connected at once: one, and its successor while it goes; anything more is a mistake and is refused.
const MAX_AGENTS: usize = 8;

/// What an epoll token stands for.
enum Source {
    Listener,
    Agent(OwnedFd),
    /// The start-up report of a container or exec.
    ContainerReport(String),
    ExecReport(u64),
    ContainerPid(String),
    ExecPid(u64),
    Output(String, Stream),
}

/// Which output of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, and everything of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Who asked: token of the agent's connection and id of the request.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    agent: u64,
    request: u64,
}

/// What the child says while it sets itself up, over a socket that `execve` closes.
pub enum Report {
    /// The controlling side of its terminal.
    Terminal(OwnedFd),
    /// Why it could not run.
    Failed(String),
    /// It runs.
    Running,
    /// Nothing yet.
    Pending,
}

/// Reads the next report.
pub fn read_report(socket: BorrowedFd<'_>) -> Report {
    let mut buffer = [0u8; 4096];
    match protocol::receive(socket, &mut buffer) {
        Ok((0, _)) => Report::Running,
        Ok((length, mut fds)) => match fds.pop() {
            Some(terminal) => Report::Terminal(terminal),
            None => Report::Failed(String::from_utf8_lossy(&buffer[..length]).into_owned()),
        },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Report::Pending,
        Err(error) => Report::Failed(format!("reading the start-up report: {error}")),
    }
}

/// Nanoseconds since 1970.
pub fn now() -> i64 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// What is waited for. A source is forgotten by [`Poll::forget`], which also stops the kernel from telling about it.
struct Poll {
    epoll: OwnedFd,
    sources: BTreeMap<u64, Source>,
    next_token: u64,
}

impl Poll {
    fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            sources: BTreeMap::new(),
            next_token: 1,
        })
    }

    fn watch(&mut self, fd: BorrowedFd<'_>, source: Source) -> io::Result<()> {
        let token = self.next_token;
        self.next_token += 1;
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        self.sources.insert(token, source);
        Ok(())
    }

    /// Stops waiting for `fd`, which a child may hold open a little longer than we do.
    fn forget(&mut self, token: u64, fd: Option<BorrowedFd<'_>>) {
        if let Some(fd) = fd
            && let Err(error) = epoll::delete(&self.epoll, fd)
        {
            eprintln!("{} forgetting a descriptor: {error}", timestamp(now()));
        }
        self.sources.remove(&token);
    }

    fn add_agent(&mut self, agent: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&agent, true)?;
        let token = self.next_token;
        self.next_token += 1;
        epoll::add(&self.epoll, &agent, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        self.sources.insert(token, Source::Agent(agent));
        Ok(())
    }

    fn drop_agent(&mut self, token: u64) {
        if let Some(Source::Agent(agent)) = self.sources.remove(&token)
            && let Err(error) = epoll::delete(&self.epoll, &agent)
        {
            eprintln!("{} dropping an agent: {error}", timestamp(now()));
        }
    }
}

struct Shim {
    poll: Poll,
    sandbox: setup::Sandbox,
    containers: BTreeMap<String, Container>,
    execs: BTreeMap<u64, Exec>,
}

/// Runs the shim: the first agent is at descriptor 0.
pub fn main() -> ! {
    let code = match run() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{} shim: {error}", timestamp(now()));
            1
        }
    };
    crate::sys::exit(code)
}

fn run() -> io::Result<()> {
    setup::harden()?;
    let agent = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?;
    setup::null_stdin()?;
    let mut buffer = vec![0u8; protocol::MAX_PACKET];
    let (length, fds) = protocol::receive(agent.as_fd(), &mut buffer)?;
    let request: Request = serde_json::from_slice(&buffer[..length])?;
    let Op::Init(init) = request.op else {
        return Err(io::Error::other("the first request was not init"));
    };
    let made = setup::Sandbox::make(&init, fds);
    let error = made.as_ref().err().map(ToString::to_string);
    let answer =
        Answer { id: request.id, error, pid: Some(std::process::id() as i32), hello: None };
    protocol::send(agent.as_fd(), &Message::Answer(answer), &[])?;
    Shim::new(made?, agent)?.serve(&mut buffer)
}

impl Shim {
    fn new(sandbox: setup::Sandbox, agent: OwnedFd) -> io::Result<Self> {
        let mut shim = Self {
            poll: Poll::new()?,
            sandbox,
            containers: BTreeMap::new(),
            execs: BTreeMap::new(),
        };
        shim.poll.watch(shim.sandbox.listener.as_fd(), Source::Listener)?;
        shim.poll.add_agent(agent)?;
        Ok(shim)
    }

    fn serve(mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut events = Vec::with_capacity(16);
        loop {
            match epoll::wait(&self.poll.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                let token = event.data.u64();
                if !self.dispatch(token, buffer) {
                    return Ok(());
                }
            }
        }
    }

    /// Handles one ready source; false ends the shim.
    fn dispatch(&mut self, token: u64, buffer: &mut [u8]) -> bool {
        match self.poll.sources.get(&token) {
            None => {}
            Some(Source::Listener) => self.accept(),
            Some(Source::Agent(_)) => return self.read_agent(token, buffer),
            Some(Source::ContainerReport(id)) => {
                let id = id.clone();
                self.container_reported(token, &id);
            }
            Some(Source::ExecReport(exec)) => {
                let exec = *exec;
                self.exec_reported(token, exec);
            }
            Some(Source::ContainerPid(id)) => {
                let id = id.clone();
                self.container_exited(Some(token), &id, buffer);
            }
            Some(Source::ExecPid(exec)) => {
                let exec = *exec;
                self.exec_exited(token, exec);
            }
            Some(Source::Output(id, stream)) => {
                let (id, stream) = (id.clone(), *stream);
                self.output(token, &id, stream, buffer);
            }
        }
        true
    }

    fn accept(&mut self) {
        let Ok(agent) =
            rustix::net::accept_with(&self.sandbox.listener, rustix::net::SocketFlags::CLOEXEC)
        else {
            return;
        };
        let ours =
            rustix::net::sockopt::socket_peercred(&agent).is_ok_and(|peer| peer.uid.is_root());
        let agents = self.poll.sources.values().filter(|s| matches!(s, Source::Agent(_))).count();
        if ours
            && agents < MAX_AGENTS
            && let Err(error) = self.poll.add_agent(agent)
        {
            eprintln!("accepting an agent: {error}");
        }
    }

    fn read_agent(&mut self, token: u64, buffer: &mut [u8]) -> bool {
        let Some(Source::Agent(agent)) = self.poll.sources.get(&token) else { return true };
        let (length, fds) = match protocol::receive(agent.as_fd(), buffer) {
            Ok((0, _)) | Err(_) => {
                self.poll.drop_agent(token);
                return true;
            }
            Ok(received) => received,
        };
        match serde_json::from_slice::<Request>(&buffer[..length]) {
            Ok(request) => {
                self.handle(Asker { agent: token, request: request.id }, request.op, fds)
            }
            Err(error) => {
                eprintln!("dropping an agent: {error}");
                self.poll.drop_agent(token);
                true
            }
        }
    }

    /// Does what was asked; false ends the shim.
    fn handle(&mut self, asker: Asker, op: Op, fds: Vec<OwnedFd>) -> bool {
        let done = match op {
            Op::Init(_) => Err(io::Error::other("the sandbox is made already")),
            Op::Hello => {
                self.answer(
                    asker,
                    Answer { id: asker.request, error: None, pid: None, hello: Some(self.hello()) },
                    &[],
                );
                return true;
            }
            Op::Start(start) => match self.start(asker, start, fds) {
                Ok(()) => return true,
                Err(error) => Err(error),
            },
            Op::Exec { exec, container, terminal } => {
                match self.exec(asker, exec, &container, terminal, fds) {
                    Ok(()) => return true,
                    Err(error) => Err(error),
                }
            }
            Op::Signal { container, signal } => {
                self.container(&container).and_then(|c| c.signal(signal))
            }
            Op::KillExec { exec } => self.execs.get(&exec).map_or(Ok(()), Exec::kill),
            Op::Attach { container, stdin, stdout, stderr } => {
                match self.attach(&container, stdin, stdout, stderr, fds) {
                    Ok(fd) => {
                        self.answer_ok(asker, None, fd.as_slice());
                        return true;
                    }
                    Err(error) => Err(error),
                }
            }
            Op::CloseStdin { container } => self.container(&container).map(|c| c.stdin = None),
            Op::ReopenLog { container } => {
                self.container(&container).and_then(Container::reopen_log)
            }
            Op::Connect { port, ipv6 } => match setup::connect(port, ipv6) {
                Ok(socket) => {
                    self.answer_ok(asker, None, &[socket]);
                    return true;
                }
                Err(error) => Err(error),
            },
            Op::Shutdown => {
                self.shutdown();
                self.answer_ok(asker, None, &[]);
                return false;
            }
        };
        match done {
            Ok(()) => self.answer_ok(asker, None, &[]),
            Err(error) => self.answer_error(asker, error.to_string()),
        }
        true
    }

    fn hello(&self) -> Hello {
        let running = self.containers.iter().map(|(id, c)| (id.clone(), c.pid)).collect();
        Hello { version: protocol::VERSION, pid: std::process::id() as i32, running }
    }

    fn container(&mut self, id: &str) -> io::Result<&mut Container> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| io::Error::other(format!("container {id} is not running")))
    }

    fn answer_ok(&mut self, asker: Asker, pid: Option<i32>, fds: &[OwnedFd]) {
        self.answer(
            asker,
            Answer { id: asker.request, error: None, pid, hello: None },
            &protocol::borrow_all(fds),
        );
    }

    fn answer_error(&mut self, asker: Asker, error: String) {
        self.answer(
            asker,
            Answer { id: asker.request, error: Some(error), pid: None, hello: None },
            &[],
        );
    }

    fn answer(&mut self, asker: Asker, answer: Answer, fds: &[BorrowedFd<'_>]) {
        let Some(Source::Agent(agent)) = self.poll.sources.get(&asker.agent) else { return };
        if protocol::send(agent.as_fd(), &Message::Answer(answer), fds).is_err() {
            self.poll.drop_agent(asker.agent);
        }
    }

    /// Tells every agent. One that does not read is dropped: it will find what it missed on disk when it comes back.
    fn tell(&mut self, event: &Event) {
        let mut gone = Vec::new();
        for (token, source) in &self.poll.sources {
            if let Source::Agent(agent) = source
                && protocol::send(agent.as_fd(), event, &[]).is_err()
            {
                gone.push(*token);
            }
        }
        for token in gone {
            self.poll.drop_agent(token);
        }
    }

    /// Kills all that runs here and waits for its end; the exits are written as always.
    fn shutdown(&mut self) {
        let mut buffer = vec![0u8; protocol::MAX_PACKET];
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in &ids {
            if let Some(container) = self.containers.get(id)
                && container.signal(libc::SIGKILL).is_err()
            {
                eprintln!("container {id} had ended already");
            }
        }
        for id in &ids {
            self.container_exited(None, id, &mut buffer);
        }
        self.sandbox.end();
    }
}
