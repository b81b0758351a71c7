//! Further processes in a running container.

use super::container::{reap, report_pair};
use super::{Asker, Report, Shim, Source, init, read_report};
use crate::protocol::{Event, PidMode};
use crate::sys::{self, Fork};
use rustix::fd::{AsFd, OwnedFd};
use std::io;

/// Processes of exec at once in one pod; a kubelet's probes need a few, a fork bomb through the API must end somewhere.
const MAX_EXECS: usize = 256;

/// A process that is starting or running in a container.
pub struct Exec {
    pid: i32,
    pidfd: OwnedFd,
    starting: Option<(Asker, OwnedFd)>,
    terminal: Option<OwnedFd>,
    error: Option<String>,
}

impl Exec {
    /// Kills it.
    pub fn kill(&self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Shim {
    pub(super) fn exec(
        &mut self,
        asker: Asker,
        exec: u64,
        id: &str,
        terminal: bool,
        fds: Vec<OwnedFd>,
    ) -> io::Result<()> {
        if self.execs.len() >= MAX_EXECS || self.execs.contains_key(&exec) {
            return Err(io::Error::other("too many processes of exec in this pod"));
        }
        let mut fds = fds.into_iter();
        let process = fds.next().ok_or_else(|| io::Error::other("the process is missing"))?;
        let stdio: Vec<OwnedFd> = fds.collect();
        if !terminal && stdio.len() != 3 {
            return Err(io::Error::other("a standard stream is missing"));
        }
        let (report, childs_report) = report_pair()?;
        let unified = self.containers.get(id).and_then(|c| c.unified.as_ref()).map(AsFd::as_fd);
        let forked =
            self.in_pid_namespace(&PidMode::Target(id.to_owned()), |_| sys::fork(0, unified))?;
        let Fork::Parent { pid, pidfd } = forked else {
            match self.containers.get(id) {
                Some(container) => init::exec_child(container, &process, &stdio, &childs_report),
                None => sys::exit(1),
            }
        };
        self.poll.watch(report.as_fd(), Source::ExecReport(exec))?;
        self.execs.insert(
            exec,
            Exec { pid, pidfd, starting: Some((asker, report)), terminal: None, error: None },
        );
        Ok(())
    }

    pub(super) fn exec_reported(&mut self, token: u64, number: u64) {
        let Some(exec) = self.execs.get_mut(&number) else { return };
        let Some((asker, report)) = &exec.starting else { return };
        match read_report(report.as_fd()) {
            Report::Pending => {}
            Report::Terminal(terminal) => exec.terminal = Some(terminal),
            Report::Failed(error) => exec.error = Some(error),
            Report::Running => {
                let asker = *asker;
                self.poll.forget(token, Some(report.as_fd()));
                self.exec_started(asker, number);
            }
        }
    }

    fn exec_started(&mut self, asker: Asker, number: u64) {
        let Some(exec) = self.execs.get_mut(&number) else { return };
        exec.starting = None;
        if let Some(error) = exec.error.take() {
            reap(&exec.pidfd);
            self.execs.remove(&number);
            return self.answer_error(asker, error);
        }
        let (pid, terminal) = (exec.pid, exec.terminal.take());
        match self.poll.watch(exec.pidfd.as_fd(), Source::ExecPid(number)) {
            Ok(()) => self.answer_ok(asker, Some(pid), terminal.as_slice()),
            Err(error) => self.answer_error(asker, error.to_string()),
        }
    }

    pub(super) fn exec_exited(&mut self, token: u64, number: u64) {
        let Some(exec) = self.execs.remove(&number) else { return };
        self.poll.forget(token, Some(exec.pidfd.as_fd()));
        let (code, _) = reap(&exec.pidfd);
        self.tell(&Event::ExecExited { exec: number, code });
    }
}
