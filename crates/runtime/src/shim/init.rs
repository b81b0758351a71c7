//! What a forked child of the shim does until it has become the container's program.
//!
//! The counterpart of `runc init`, without a second program: the shim is single-threaded, so its fork may run ordinary code. Invariants: the
//! child first closes every descriptor it does not need, before it can be seen from inside the container; it is undumpable until the exec; it
//! never returns into the shim's loop.

use super::container::{Container, StartFds};
use super::process::{become_process, join_cgroups, set_oom_score_adj};
use super::rootfs::{Rootfs, open_pseudo_terminal};
use super::setup::Sandbox;
use crate::sys;
use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Result<T> = std::result::Result<T, String>;

/// Largest spec; the kubelet's own limit for what becomes one is far below.
const MAX_SPEC: usize = 16 * 1024 * 1024;

fn said<T>(what: &str, result: io::Result<T>) -> Result<T> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// Becomes the container, or reports why not.
pub fn child(fds: &StartFds, stdio: &[OwnedFd], report: &OwnedFd, _sandbox: &Sandbox) -> ! {
    finish(report, || run(fds, stdio, report))
}

/// Becomes another process of `container`, or reports why not.
pub fn exec_child(
    container: &Container,
    process: &OwnedFd,
    stdio: &[OwnedFd],
    report: &OwnedFd,
) -> ! {
    finish(report, || run_exec(container, process, stdio, report))
}

fn finish(report: &OwnedFd, run: impl FnOnce() -> Result<Infallible>) -> ! {
    let error = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) => error,
        Err(_) => "starting the container panicked; see shim.log".to_owned(),
    };
    // Nobody is left to tell if this fails; the exit code remains.
    let text: String = error.chars().take(1000).collect();
    let _sent = rustix::io::write(report, text.as_bytes());
    sys::exit(128)
}

fn raw(fds: &[OwnedFd]) -> impl Iterator<Item = i32> {
    fds.iter().map(AsRawFd::as_raw_fd)
}

fn run(fds: &StartFds, stdio: &[OwnedFd], report: &OwnedFd) -> Result<Infallible> {
    let kept: Vec<i32> = [&fds.spec, &fds.root, report]
        .map(AsRawFd::as_raw_fd)
        .into_iter()
        .chain(raw(stdio))
        .chain(raw(&fds.seccomp))
        .chain(raw(&fds.mounts))
        .chain(raw(&fds.cgroups))
        .collect();
    said("closing descriptors", sys::close_all_except(&kept))?;
    let spec: Spec = read_json(&fds.spec)?;
    let process = spec.process().as_ref().ok_or("the spec has no process")?;
    said("joining the cgroups", join_cgroups(&fds.cgroups))?;
    said("adjusting the OOM score", set_oom_score_adj(process))?;
    said("making a session", rustix::process::setsid().map_err(Into::into))?;
    said("making namespaces", sys::unshare(own_namespaces(&spec)))?;
    let dup = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    let root = said("keeping the root", dup(&fds.root).map_err(Into::into))?;
    let binds = said(
        "keeping mounts",
        fds.mounts.iter().map(|fd| Ok(dup(fd)?)).collect::<io::Result<Vec<_>>>(),
    )?;
    let rootfs = Rootfs::build(&spec, root, binds)?;
    if process.terminal().unwrap_or(false) {
        let (controller, terminal) = said("making the terminal", rootfs.terminal())?;
        said("taking the terminal", take_terminal(process, &controller, &terminal, report))?;
    } else {
        said("taking the standard streams", take_streams(stdio))?;
    }
    said("entering the root", rootfs.enter())?;
    become_process(process, &fds.seccomp)
}

fn run_exec(
    container: &Container,
    process: &OwnedFd,
    stdio: &[OwnedFd],
    report: &OwnedFd,
) -> Result<Infallible> {
    let kept: Vec<i32> = [process, &container.pidfd, report]
        .map(AsRawFd::as_raw_fd)
        .into_iter()
        .chain(raw(stdio))
        .chain(raw(&container.seccomp))
        .chain(raw(&container.cgroups))
        .collect();
    said("closing descriptors", sys::close_all_except(&kept))?;
    let process: Process = read_json(process)?;
    said("joining the cgroups", join_cgroups(&container.cgroups))?;
    said("adjusting the OOM score", set_oom_score_adj(&process))?;
    said("making a session", rustix::process::setsid().map_err(Into::into))?;
    said(
        "joining the container",
        sys::setns(container.pidfd.as_fd(), libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP),
    )?;
    if process.terminal().unwrap_or(false) {
        let pts = rustix::fs::open(
            "/dev/pts",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let (controller, terminal) = said(
            "making the terminal",
            pts.map_err(Into::into).and_then(|pts| open_pseudo_terminal(pts.as_fd())),
        )?;
        said("taking the terminal", take_terminal(&process, &controller, &terminal, report))?;
    } else {
        said("taking the standard streams", take_streams(stdio))?;
    }
    become_process(&process, &container.seccomp)
}

fn read_json<T: serde::de::DeserializeOwned>(file: &OwnedFd) -> Result<T> {
    let content = said("reading the spec", sys::read_all(file.as_fd(), MAX_SPEC))?;
    serde_json::from_slice(&content).map_err(|error| format!("reading the spec: {error}"))
}

/// The namespaces the child makes itself. Those of the pod it has from the shim; its pid namespace came with the fork.
fn own_namespaces(spec: &Spec) -> i32 {
    let wanted = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let cgroup = wanted
        .into_iter()
        .flatten()
        .any(|n| n.typ() == LinuxNamespaceType::Cgroup && n.path().is_none());
    libc::CLONE_NEWNS | if cgroup { libc::CLONE_NEWCGROUP } else { 0 }
}

fn take_streams(stdio: &[OwnedFd]) -> io::Result<()> {
    stdio.iter().enumerate().try_for_each(|(number, fd)| sys::dup_to(fd.as_fd(), number as i32))
}

fn take_terminal(
    process: &Process,
    controller: &OwnedFd,
    terminal: &OwnedFd,
    report: &OwnedFd,
) -> io::Result<()> {
    if let Some(size) = process.console_size() {
        let size = rustix::termios::Winsize {
            ws_row: size.height() as u16,
            ws_col: size.width() as u16,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(terminal, size)?;
    }
    for number in 0..3 {
        sys::dup_to(terminal.as_fd(), number)?;
    }
    sys::set_controlling_terminal(terminal.as_fd())?;
    let fds = [controller.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(report, &[IoSlice::new(b"terminal")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
