//! The last steps of a container process: limits, identity, capabilities, filters, program.
//!
//! The counterpart of runc's `finalizeNamespace`. Invariants: the inheritable set is always empty (CVE-2022-29162) unless ambient
//! capabilities are asked for; without `no_new_privs` the filters are installed while that is still allowed, with it they come last; every descriptor but
//! 0, 1 and 2 is closed by the exec; the working directory lies inside the root (CVE-2024-21626).

use crate::capabilities;
use crate::sys;
use oci_spec::runtime::{Capabilities, PosixRlimitType, Process};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, FileType};
use rustix::io::Errno;
use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

type Result<T> = std::result::Result<T, String>;

fn said<T>(what: &str, result: io::Result<T>) -> Result<T> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// Becomes `process`; returns only an error.
pub fn become_process(process: &Process, seccomp: &[OwnedFd]) -> Result<Infallible> {
    set_limits(process)?;
    enter_working_directory(process)?;
    let no_new_privs = process.no_new_privileges().unwrap_or(false);
    let filters = read_filters(seccomp)?;
    if no_new_privs {
        said("setting no_new_privs", sys::set_no_new_privs())?;
    } else {
        install(&filters)?;
    }
    take_identity(process)?;
    let args = process.args().as_deref().unwrap_or_default();
    let name = args.first().ok_or("no command specified")?;
    let program = find_program(name, process)?;
    let c_strings = |strings: &[String]| -> Result<Vec<CString>> {
        strings
            .iter()
            .map(|s| {
                CString::new(s.as_bytes())
                    .map_err(|_| "an argument or variable contains a NUL".to_owned())
            })
            .collect()
    };
    let (argv, env) = (c_strings(args)?, c_strings(process.env().as_deref().unwrap_or_default())?);
    let path = CString::new(program.as_os_str().as_bytes())
        .map_err(|_| "the program's name contains a NUL".to_owned())?;
    sys::reset_signals();
    said("closing descriptors", sys::close_on_exec_from(3))?;
    if no_new_privs {
        install(&filters)?;
    }
    let error = sys::execve(&path, &argv, &env);
    Err(format!("exec {}: {}", program.display(), plain(&error)))
}

/// The system's words without Rust's error number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

fn read_filters(seccomp: &[OwnedFd]) -> Result<Vec<Vec<u8>>> {
    const LARGEST: usize = 8 * 65_535;
    seccomp.iter().map(|fd| said("reading a filter", sys::read_all(fd.as_fd(), LARGEST))).collect()
}

fn install(filters: &[Vec<u8>]) -> Result<()> {
    filters
        .iter()
        .try_for_each(|filter| said("installing a seccomp filter", sys::install_seccomp(filter)))
}

/// Sets the OOM score adjustment of this process, through the shim's own `/proc`.
pub fn set_oom_score_adj(process: &Process) -> io::Result<()> {
    let Some(value) = process.oom_score_adj() else { return Ok(()) };
    let file = super::setup::proc_file("self/oom_score_adj")?;
    rustix::io::write(&file, value.to_string().as_bytes())?;
    Ok(())
}

/// Moves this process into the cgroups behind `files`.
pub fn join_cgroups(files: &[OwnedFd]) -> io::Result<()> {
    files.iter().try_for_each(|file| rustix::io::write(file, b"0").map(drop)).map_err(Into::into)
}

fn set_limits(process: &Process) -> Result<()> {
    for limit in process.rlimits().iter().flatten() {
        let resource = resource_number(limit.typ());
        let hard = limit.hard().min(said("reading a limit", sys::hard_limit(resource))?);
        let soft = limit.soft().min(hard);
        said(&format!("setting {}", limit.typ()), sys::set_rlimit(resource, soft, hard))?;
    }
    Ok(())
}

fn resource_number(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}

fn enter_working_directory(process: &Process) -> Result<()> {
    said(
        &format!("entering the working directory {}", process.cwd().display()),
        rustix::process::chdir(process.cwd()).map_err(Into::into),
    )?;
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) if path.as_bytes().starts_with(b"/") => Ok(()),
        Ok(_) | Err(Errno::NOENT) => {
            Err("the working directory is outside of the container's root".into())
        }
        Err(error) => Err(format!("reading the working directory: {error}")),
    }
}

fn bits(set: Option<&Capabilities>) -> Result<u64> {
    let mut bits = 0;
    for capability in set.into_iter().flatten() {
        let name = capability.to_string();
        bits |= capabilities::bit(&name).ok_or_else(|| format!("unknown capability {name}"))?;
    }
    Ok(bits)
}

fn take_identity(process: &Process) -> Result<()> {
    let user = process.user();
    let (bounding, effective, permitted, inheritable, ambient) = match process.capabilities() {
        Some(c) => (
            bits(c.bounding().as_ref())?,
            bits(c.effective().as_ref())?,
            bits(c.permitted().as_ref())?,
            bits(c.inheritable().as_ref())?,
            bits(c.ambient().as_ref())?,
        ),
        None => (0, 0, 0, 0, 0),
    };
    said("owning the standard streams", own_streams(user.uid()))?;
    said("limiting the bounding set", sys::limit_bounding_set(bounding))?;
    said("keeping capabilities", sys::keep_capabilities())?;
    let groups: Vec<u32> = user.additional_gids().clone().unwrap_or_default();
    said("setting user and groups", sys::set_ids(user.uid(), user.gid(), &groups))?;
    sys::set_umask(user.umask().unwrap_or(0o022));
    said("setting capabilities", sys::capset(effective, permitted, inheritable | ambient))?;
    said("setting ambient capabilities", sys::set_ambient(ambient))?;
    // Changing ids made the process dumpable as far as the kernel's setting goes; exec decides it anew for the program.
    said("staying undumpable", sys::set_undumpable())
}

/// Lets the user open `/dev/stdout` and its like again: pipes and terminals become his.
fn own_streams(uid: u32) -> io::Result<()> {
    if uid == 0 {
        return Ok(());
    }
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        let stat = rustix::fs::fstat(stream)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let null = kind == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3);
        if kind == FileType::Fifo || (kind == FileType::CharacterDevice && !null) {
            rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(uid)), None)?;
        }
    }
    Ok(())
}

/// Finds the program as a shell would, in the words of runc when it is not there.
fn find_program(name: &str, process: &Process) -> Result<PathBuf> {
    if name.contains('/') {
        return match check_program(name.as_ref()) {
            Ok(()) => Ok(name.into()),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                Err(format!("exec: {name:?}: stat {name}: no such file or directory"))
            }
            Err(Errno::ISDIR) => Err(format!("exec: {name:?}: is a directory")),
            Err(_) => Err(format!("exec: {name:?}: permission denied")),
        };
    }
    let path = process
        .env()
        .iter()
        .flatten()
        .rev()
        .find_map(|v| v.strip_prefix("PATH="))
        .unwrap_or_default();
    let mut denied = false;
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = PathBuf::from(directory).join(name);
        match check_program(candidate.as_os_str()) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => denied = true,
            Err(_) => {}
        }
    }
    let reason = if denied { "permission denied" } else { "executable file not found in $PATH" };
    Err(format!("exec: {name:?}: {reason}"))
}

fn check_program(path: &OsStr) -> std::result::Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}
