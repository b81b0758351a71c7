//! System calls that rustix does not wrap; the only module of the container half with `unsafe`.
//!
//! Invariant: everything here is a thin, total wrapper. What may be called only in a single-threaded process says so.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ffi::{CStr, CString};
use std::io;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Which side of a [`fork`] this is.
pub enum Fork {
    /// The new process.
    Child,
    /// The caller, with what it needs to follow the child.
    Parent {
        /// The child's pid in the caller's pid namespace.
        pid: i32,
        /// A descriptor that becomes readable when the child ends.
        pidfd: OwnedFd,
    },
}

/// Forks with `clone3`, the child in new namespaces of `namespaces` (`CLONE_NEW*`) and in the cgroup of the unified hierarchy whose directory
/// is `cgroup`.
///
/// To be called only in a single-threaded process: the child continues in Rust code.
pub fn fork(namespaces: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: i32 = -1;
    // SAFETY: clone_args is a plain struct of integers for which zero means "unset".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (libc::CLONE_PIDFD | namespaces) as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child gets a copy of this single-threaded process, so no lock can be held by a thread that is gone; the
    // kernel writes the descriptor into `pidfd`, which outlives the call.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    if check(pid)? == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Fork::Parent { pid: pid as i32, pidfd })
}

/// Ends the process at once, without running destructors.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Sleeps until a signal ends the process.
pub fn pause_forever() -> ! {
    loop {
        // SAFETY: pause only waits.
        unsafe { libc::pause() };
    }
}

/// Leaves the namespaces named by `flags` (`CLONE_NEW*`) for new ones. Single-threaded processes only.
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: none of the namespace flags affects memory or descriptors of this process.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Joins the namespaces named by `flags` of the process (or the namespace) behind `fd`. Single-threaded processes only.
pub fn setns(fd: BorrowedFd<'_>, flags: i32) -> io::Result<()> {
    // SAFETY: as for unshare; the descriptor is open.
    check(unsafe { libc::setns(fd.as_raw_fd(), flags) }.into()).map(drop)
}

/// A change of mount attributes; see `mount_setattr(2)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or 0 for no change.
    pub propagation: u64,
}

/// Changes the mount behind `mount`, and all below it when `recursive`.
pub fn mount_setattr(mount: BorrowedFd<'_>, attr: MountAttr, recursive: bool) -> io::Result<()> {
    let kernel = libc::mount_attr {
        attr_set: attr.set,
        attr_clr: attr.clear,
        propagation: attr.propagation,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel reads the struct of the given size and the empty path; both live through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const kernel,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}

/// Makes `new_root` (the current directory) the root of this mount namespace, the old root below it at the same place.
pub fn pivot_root_here() -> io::Result<()> {
    // SAFETY: both paths are constant C strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// Marks every descriptor from `first` on close-on-exec.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: setting the flag closes nothing now.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })
    .map(drop)
}

/// Closes every descriptor from 3 on that is not in `keep`. For a child that continues in Rust code and then only uses `keep`.
pub fn close_all_except(keep: &[i32]) -> io::Result<()> {
    let mut keep: Vec<u32> =
        keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if fd > first {
            let last = if fd == u32::MAX { fd } else { fd - 1 };
            // SAFETY: the caller is a forked child that never again touches a descriptor it does not keep, and never runs their destructors.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// Makes `fd` the descriptor number `number` (without close-on-exec).
pub fn dup_to(fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: clears the close-on-exec flag of an open descriptor.
        return check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }.into()).map(drop);
    }
    // SAFETY: the callers pass 0, 1 or 2, which nobody owns as an OwnedFd in the processes that call this.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into()).map(drop)
}

/// Replaces the process; returns only the error.
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with null and point to C strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Sets every signal to its default and unblocks all, so that a container starts with a clean slate.
///
/// By the system calls themselves, for the C library keeps two signals to itself.
pub fn reset_signals() {
    const SET_BYTES: usize = 8;
    // handler, flags, restorer, mask of `struct kernel_sigaction`: all zero is SIG_DFL.
    let default = [0u64; 4];
    let none = 0u64;
    // SAFETY: the kernel reads the two arrays; SIG_DFL installs no code of ours. SIGKILL and SIGSTOP answer an error, rightly.
    unsafe {
        for signal in 1..=64 {
            let nothing = std::ptr::null::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nothing, SET_BYTES);
        }
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null::<u64>(),
            SET_BYTES,
        );
    }
}

/// Ignores a signal in this process.
pub fn ignore_signal(signal: i32) {
    // SAFETY: SIG_IGN installs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

fn prctl(option: i32, a: u64, b: u64) -> io::Result<()> {
    // SAFETY: the options used here take integers only.
    check(unsafe { libc::prctl(option, a, b, 0u64, 0u64) }.into()).map(drop)
}

/// Forbids other processes to look into this one (`/proc/PID/exe`, `fd`, ptrace) without CAP_SYS_PTRACE over it.
pub fn set_undumpable() -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0)
}

/// Sets the name shown by `ps`.
pub fn set_process_name(name: &CStr) {
    // SAFETY: the kernel copies at most 16 bytes of a valid C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0u64, 0u64, 0u64) };
}

/// Sets `no_new_privs`.
pub fn set_no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// Keeps the permitted capabilities over the change of user ids.
pub fn keep_capabilities() -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)
}

/// Removes from the bounding set all that is not in `keep`.
pub fn limit_bounding_set(keep: u64) -> io::Result<()> {
    for capability in 0..64u32 {
        let held = prctl_value(libc::PR_CAPBSET_READ, capability);
        if held == 1 && keep & (1 << capability) == 0 {
            prctl(libc::PR_CAPBSET_DROP, capability.into(), 0)?;
        }
    }
    Ok(())
}

/// The bounding set of this process, as bits.
pub fn bounding_set() -> u64 {
    (0..64u32)
        .filter(|c| prctl_value(libc::PR_CAPBSET_READ, *c) == 1)
        .fold(0, |set, c| set | 1 << c)
}

fn prctl_value(option: i32, argument: u32) -> i32 {
    // SAFETY: PR_CAPBSET_READ takes an integer and answers 0, 1 or an error.
    unsafe { libc::prctl(option, u64::from(argument), 0u64, 0u64, 0u64) }
}

/// Raises the ambient capabilities in `set`, clearing all others.
pub fn set_ambient(set: u64) -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
    for capability in (0..64u64).filter(|c| set & (1 << c) != 0) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability)?;
    }
    Ok(())
}

/// Sets the capability sets of this (only) thread.
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |set: u64, high: bool| if high { (set >> 32) as u32 } else { set as u32 };
    let mut data = [0u32; 6];
    for (index, high) in [false, true].into_iter().enumerate() {
        data[index * 3] = half(effective, high);
        data[index * 3 + 1] = half(permitted, high);
        data[index * 3 + 2] = half(inheritable, high);
    }
    // SAFETY: version 3 reads two triples of u32, which `data` is.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// Sets all user and group ids of this (only) thread, groups first.
pub fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: raw calls affect this thread only, and the process has one; the kernel reads `groups.len()` ids.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid)).map(drop)
    }
}

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    // SAFETY: cannot fail and touches no memory.
    unsafe { libc::umask(mask) };
}

/// Sets a resource limit by its number.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one rlimit.
    check(unsafe { libc::setrlimit(resource, &raw const limit) }.into()).map(drop)
}

/// The hard limit of a resource.
pub fn hard_limit(resource: u32) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) }.into())?;
    Ok(limit.rlim_max)
}

/// Installs one seccomp program on this (only) thread; each program is an array of `struct sock_filter`, eight bytes an instruction.
pub fn install_seccomp(program: &[u8]) -> io::Result<()> {
    const INSTRUCTION: usize = size_of::<libc::sock_filter>();
    let mut filter: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION)
        .map(|b| libc::sock_filter {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect();
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: the program points to `len` instructions; the kernel copies and verifies them.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    })
    .map(drop)
}

/// The terminal side of the pseudo terminal behind `controller`, opened without any path.
pub fn open_terminal(controller: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int; TIOCGPTPEER takes open flags and answers a new descriptor, which is then ours.
    unsafe {
        check(libc::ioctl(controller.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock).into())?;
        let fd = check(
            libc::ioctl(
                controller.as_raw_fd(),
                libc::TIOCGPTPEER,
                libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
            )
            .into(),
        )?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Makes the terminal the controlling one of this session leader.
pub fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    // SAFETY: ifreq is plain data for which zero is valid; both ioctls read the name and read or write the flags in it.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request).into())?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request).into())
            .map(drop)
    }
}

/// A descriptor whose readiness tokio waits for.
pub fn async_fd(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd always answers the same descriptor, and it is open until AsyncFd, which owns it, is dropped.
    unsafe { tokio::io::unix::AsyncFd::register(fd) }.map_err(Into::into)
}

/// An anonymous file with `content` that nobody can change any more.
pub fn sealed_file(name: &CStr, content: &[u8]) -> io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&fd, rest)?;
        rest = &rest[written..];
    }
    fcntl_add_seals(&fd, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(fd)
}

/// Fills `buffer` with random bytes.
pub fn random(buffer: &mut [u8]) -> io::Result<()> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes; up to 256 come whole.
    let got = check(
        unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), buffer.len(), 0) } as libc::c_long
    )?;
    if got as usize == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The whole content of a file opened for reading, whatever its offset.
pub fn read_all(fd: BorrowedFd<'_>, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut chunk = [0u8; 8192];
    loop {
        let read = rustix::io::pread(fd, &mut chunk, content.len() as u64)?;
        if read == 0 {
            return Ok(content);
        }
        content.extend_from_slice(&chunk[..read]);
        if content.len() > limit {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
    }
}

/// Loads a `BPF_PROG_TYPE_CGROUP_DEVICE` program and attaches it to the cgroup directory, alone.
pub fn attach_device_filter(cgroup: BorrowedFd<'_>, program: &[u64]) -> io::Result<()> {
    const BPF_PROG_LOAD: i32 = 5;
    const BPF_PROG_ATTACH: i32 = 8;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    const BPF_CGROUP_DEVICE: u32 = 6;
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Attach {
        target_fd: u32,
        attach_bpf_fd: u32,
        attach_type: u32,
        attach_flags: u32,
    }
    let load = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: both structs are prefixes of union bpf_attr of the given sizes; the program and the licence live through the load; the answered
    // descriptor is ours.
    unsafe {
        let fd =
            check(libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()))?;
        let fd = OwnedFd::from_raw_fd(fd as i32);
        let attach = Attach {
            target_fd: cgroup.as_raw_fd() as u32,
            attach_bpf_fd: fd.as_fd().as_raw_fd() as u32,
            attach_type: BPF_CGROUP_DEVICE,
            attach_flags: 0,
        };
        check(libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attach, size_of::<Attach>()))
            .map(drop)
    }
}
