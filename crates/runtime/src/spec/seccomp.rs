//! The default system call filter, and how a profile becomes programs for the kernel.
//!
//! The counterpart of containerd's `contrib/seccomp` and of libseccomp. The default profile allows what programs need and refuses, with
//! EPERM, what reaches into the kernel or other containers; some calls come with a capability. Invariants: a call that is newer than our
//! table gets ENOSYS, so that libraries fall back; so does `clone3`, whose flags a filter cannot see, unless CAP_SYS_ADMIN is held; programs
//! of a foreign architecture (32-bit) are killed.

use super::syscalls;
use crate::capabilities;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

/// Calls every container may make.
#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    // files and directories
    "access", "chdir", "chmod", "chown", "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2",
    "fadvise64", "fallocate", "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr",
    "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstatfs", "fsync", "ftruncate", "futimesat", "getcwd", "getdents", "getdents64",
    "getxattr", "getxattrat", "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "lchown", "lgetxattr", "link", "linkat",
    "listmount", "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "mkdir", "mkdirat", "mknod", "mknodat",
    "name_to_handle_at", "newfstatat", "open", "openat", "openat2", "readahead", "readlink", "readlinkat", "removexattr", "removexattrat", "rename",
    "renameat", "renameat2", "rmdir", "setxattr", "setxattrat", "stat", "statfs", "statmount", "statx", "symlink", "symlinkat", "sync",
    "sync_file_range", "syncfs", "truncate", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimes", "cachestat",
    // input and output
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd",
    "eventfd2", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit", "ioctl", "ioprio_get", "ioprio_set", "pipe",
    "pipe2", "poll", "ppoll", "pread64", "preadv", "preadv2", "pselect6", "pwrite64", "pwritev", "pwritev2", "read", "readv", "select", "sendfile",
    "splice", "tee", "vmsplice", "write", "writev",
    // memory
    "brk", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret", "mincore", "mlock", "mlock2", "mlockall", "mmap", "mprotect",
    "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect", "process_mrelease",
    "remap_file_pages",
    // processes, threads, signals
    "arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork", "futex", "futex_requeue", "futex_wait", "futex_waitv",
    "futex_wake", "get_robust_list", "get_thread_area", "getcpu", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp", "getpid",
    "getppid", "getpriority", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid", "gettid", "getuid", "kill", "landlock_add_rule",
    "landlock_create_ruleset", "landlock_restrict_self", "modify_ldt", "pause", "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64",
    "process_vm_readv", "process_vm_writev", "ptrace", "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "set_robust_list", "set_thread_area",
    "set_tid_address", "setfsgid", "setfsuid", "setgid", "setgroups", "setpgid", "setpriority", "setregid", "setresgid", "setresuid", "setreuid",
    "setrlimit", "setsid", "setuid", "sigaltstack", "signalfd", "signalfd4", "tgkill", "tkill", "vfork", "wait4", "waitid",
    // sockets and other communication
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "mq_getsetattr", "mq_notify", "mq_open",
    "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "recvfrom", "recvmmsg", "recvmsg", "semctl", "semget",
    "semop", "semtimedop", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "socketpair",
    // time, system
    "adjtimex", "alarm", "clock_adjtime", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "getrandom", "gettimeofday", "nanosleep",
    "setitimer", "sysinfo", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime", "timerfd_create",
    "timerfd_gettime", "timerfd_settime", "times", "uname", "uretprobe",
];

/// Calls that come with a capability.
#[rustfmt::skip]
const BY_CAPABILITY: &[(&str, &[&str])] = &[
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("SYS_ADMIN", &["bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr",
        "move_mount", "open_tree", "open_tree_attr", "perf_event_open", "pivot_root", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns",
        "syslog", "umount2", "unshare"]),
    ("SYS_BOOT", &["reboot"]),
    ("SYS_CHROOT", &["chroot"]),
    ("SYS_MODULE", &["delete_module", "init_module", "finit_module"]),
    ("SYS_PACCT", &["acct"]),
    ("SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("SYS_RAWIO", &["iopl", "ioperm"]),
    ("SYS_TIME", &["settimeofday", "clock_settime"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
    ("SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("SYSLOG", &["syslog"]),
    ("BPF", &["bpf"]),
    ("PERFMON", &["perf_event_open"]),
];

/// The personalities a program may take: Linux, 32-bit addresses, `uname26`, both, and asking.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x20000, 0x20008, 0xffff_ffff];
/// All `CLONE_NEW*` flags but that for time, which shares a bit with the exit signal.
const CLONE_NAMESPACES: u64 = 0x7E02_0000;
const AF_VSOCK: u64 = 40;

fn syscalls_of(names: &[&str], action: Action, args: Vec<LinuxSeccompArg>) -> LinuxSyscall {
    let mut syscall = LinuxSyscall::default();
    syscall.set_names(names.iter().map(|n| (*n).to_owned()).collect());
    syscall.set_action(action);
    syscall.set_args((!args.is_empty()).then_some(args));
    syscall
}

fn arg(index: usize, op: Operator, value: u64, value_two: Option<u64>) -> LinuxSeccompArg {
    let builder = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    let builder = match value_two {
        Some(two) => builder.value_two(two),
        None => builder,
    };
    // The builder has a default for every field, so it cannot fail.
    builder.build().unwrap_or_default()
}

/// The profile `RuntimeDefault` for a container with these capability bits.
pub fn default_profile(capability_bits: u64) -> LinuxSeccomp {
    let holds = |name: &str| capabilities::bit(name).is_some_and(|bit| capability_bits & bit != 0);
    let mut rules = vec![
        syscalls_of(ALLOWED, Action::ScmpActAllow, Vec::new()),
        syscalls_of(
            &["socket"],
            Action::ScmpActAllow,
            vec![arg(0, Operator::ScmpCmpNe, AF_VSOCK, None)],
        ),
    ];
    rules.extend(PERSONALITIES.map(|value| {
        syscalls_of(
            &["personality"],
            Action::ScmpActAllow,
            vec![arg(0, Operator::ScmpCmpEq, value, None)],
        )
    }));
    rules.extend(
        BY_CAPABILITY
            .iter()
            .filter(|(name, _)| holds(name))
            .map(|(_, calls)| syscalls_of(calls, Action::ScmpActAllow, Vec::new())),
    );
    if !holds("SYS_ADMIN") {
        let no_namespaces = arg(0, Operator::ScmpCmpMaskedEq, CLONE_NAMESPACES, Some(0));
        rules.push(syscalls_of(&["clone"], Action::ScmpActAllow, vec![no_namespaces]));
        let mut clone3 = syscalls_of(&["clone3"], Action::ScmpActErrno, Vec::new());
        clone3.set_errno_ret(Some(libc::ENOSYS as u32));
        rules.push(clone3);
    }
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActErrno);
    profile.set_default_errno_ret(Some(libc::EPERM as u32));
    profile.set_architectures(Some(vec![if cfg!(target_arch = "aarch64") {
        Arch::ScmpArchAarch64
    } else {
        Arch::ScmpArchX86_64
    }]));
    profile.set_syscalls(Some(rules));
    profile
}

/// Why a profile cannot be installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// An action that needs somebody to listen.
    #[error("action {0} is not supported")]
    Action(String),
    /// The compiler refused.
    #[error("{0}")]
    Compile(String),
}

fn action(action: Action, errno: Option<u32>) -> Result<SeccompAction, ProfileError> {
    Ok(match action {
        Action::ScmpActAllow => SeccompAction::Allow,
        Action::ScmpActErrno => SeccompAction::Errno(errno.unwrap_or(libc::EPERM as u32)),
        Action::ScmpActKill | Action::ScmpActKillThread => SeccompAction::KillThread,
        Action::ScmpActKillProcess => SeccompAction::KillProcess,
        Action::ScmpActLog => SeccompAction::Log,
        Action::ScmpActTrap => SeccompAction::Trap,
        Action::ScmpActTrace => SeccompAction::Trace(errno.unwrap_or(0)),
        Action::ScmpActNotify => return Err(ProfileError::Action(action.to_string())),
    })
}

fn compile_error(error: &impl ToString) -> ProfileError {
    ProfileError::Compile(error.to_string())
}

fn condition(arg: &LinuxSeccompArg) -> Result<SeccompCondition, ProfileError> {
    let index = u8::try_from(arg.index()).map_err(|e| compile_error(&e))?;
    let (operator, value) = match arg.op() {
        Operator::ScmpCmpNe => (SeccompCmpOp::Ne, arg.value()),
        Operator::ScmpCmpLt => (SeccompCmpOp::Lt, arg.value()),
        Operator::ScmpCmpLe => (SeccompCmpOp::Le, arg.value()),
        Operator::ScmpCmpEq => (SeccompCmpOp::Eq, arg.value()),
        Operator::ScmpCmpGe => (SeccompCmpOp::Ge, arg.value()),
        Operator::ScmpCmpGt => (SeccompCmpOp::Gt, arg.value()),
        // In OCI `value` is the mask and `valueTwo` what is compared with.
        Operator::ScmpCmpMaskedEq => {
            (SeccompCmpOp::MaskedEq(arg.value()), arg.value_two().unwrap_or(0))
        }
    };
    SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, value)
        .map_err(|e| compile_error(&e))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Adds the rules of `syscall` to `rules`; a call with no conditions once is unconditional for good.
fn add(rules: &mut Rules, syscall: &LinuxSyscall) -> Result<(), ProfileError> {
    let args = syscall.args().as_deref().unwrap_or_default();
    for number in syscall.names().iter().filter_map(|name| syscalls::number(name)) {
        if args.is_empty() {
            rules.insert(number, Vec::new());
        } else if rules.get(&number).is_none_or(|existing| !existing.is_empty()) {
            let rule = SeccompRule::new(args.iter().map(condition).collect::<Result<_, _>>()?)
                .map_err(|e| compile_error(&e))?;
            rules.entry(number).or_default().push(rule);
        }
    }
    Ok(())
}

fn program(
    rules: Rules,
    mismatch: SeccompAction,
    matching: SeccompAction,
) -> Result<Vec<u8>, ProfileError> {
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|e: seccompiler::BackendError| compile_error(&e))?;
    let filter =
        SeccompFilter::new(rules, mismatch, matching, arch).map_err(|e| compile_error(&e))?;
    let program: BpfProgram =
        filter.try_into().map_err(|e: seccompiler::BackendError| compile_error(&e))?;
    Ok(program
        .iter()
        .flat_map(|i| {
            let (code, k) = (i.code.to_ne_bytes(), i.k.to_ne_bytes());
            [code[0], code[1], i.jt, i.jf, k[0], k[1], k[2], k[3]]
        })
        .collect())
}

/// A program that answers ENOSYS to calls above the highest we know, in classic BPF by hand: load, compare, two answers.
fn unknown_calls() -> Vec<u8> {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_GREATER: u16 = 0x25;
    const RETURN: u16 = 0x06;
    let instruction = |code: u16, jt: u8, jf: u8, k: u32| {
        let (code, k) = (code.to_ne_bytes(), k.to_ne_bytes());
        [code[0], code[1], jt, jf, k[0], k[1], k[2], k[3]]
    };
    [
        instruction(LOAD_WORD, 0, 0, 0),
        instruction(JUMP_IF_GREATER, 0, 1, syscalls::HIGHEST as u32),
        instruction(RETURN, 0, 0, SeccompAction::Errno(libc::ENOSYS as u32).into()),
        instruction(RETURN, 0, 0, SeccompAction::Allow.into()),
    ]
    .concat()
}

/// The programs that together are the profile, in the order in which they have to be installed.
///
/// A program has one answer for matches, so there is one program that tells the default answer from all others, and one more for each answer
/// other than "allow". The kernel takes the strictest answer, the newest program's among equals.
///
/// # Errors
/// Actions and conditions the kernel cannot do.
pub fn programs(profile: &LinuxSeccomp) -> Result<Vec<Vec<u8>>, ProfileError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let (mut passed, mut answers) = (Rules::new(), Vec::<(SeccompAction, Rules)>::new());
    for syscall in profile.syscalls().iter().flatten() {
        let answer = action(syscall.action(), syscall.errno_ret())?;
        if answer == default {
            continue;
        }
        add(&mut passed, syscall)?;
        if answer != SeccompAction::Allow {
            match answers.iter_mut().find(|(known, _)| *known == answer) {
                Some((_, rules)) => add(rules, syscall)?,
                None => {
                    let mut rules = Rules::new();
                    add(&mut rules, syscall)?;
                    answers.push((answer, rules));
                }
            }
        }
    }
    let mut programs = Vec::new();
    if default != SeccompAction::Allow {
        programs.push(program(passed, default, SeccompAction::Allow)?);
        programs.push(unknown_calls());
    }
    for (answer, rules) in answers.into_iter().filter(|(_, rules)| !rules.is_empty()) {
        programs.push(program(rules, SeccompAction::Allow, answer)?);
    }
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_profile_names_are_known_calls() {
        let known = |name: &str| {
            // A few exist on one architecture only.
            syscalls::number(name).is_some() || cfg!(not(target_arch = "x86_64"))
        };
        for name in ALLOWED.iter().chain(BY_CAPABILITY.iter().flat_map(|(_, calls)| calls.iter())) {
            assert!(known(name), "{name}");
        }
    }

    #[test]
    fn default_profile_capabilities_bring_their_calls() {
        let has = |bits, call: &str| {
            default_profile(bits).syscalls().iter().flatten().any(|s| {
                s.action() == Action::ScmpActAllow
                    && s.args().is_none()
                    && s.names().iter().any(|n| n == call)
            })
        };
        assert!(!has(0, "mount"));
        assert!(has(1 << 21, "mount"));
        assert!(!has(0, "clone"));
        assert!(has(1 << 18, "chroot"));
    }

    #[test]
    fn programs_of_the_default_profile_are_whole_instructions() {
        let programs = programs(&default_profile(0)).expect("compiles");
        assert_eq!(programs.len(), 3);
        for program in programs {
            assert_eq!(program.len() % 8, 0);
            assert!(program.len() / 8 <= 4096, "the kernel takes no longer programs");
        }
    }

    #[test]
    fn programs_notify_is_refused() {
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(Action::ScmpActNotify);
        assert!(matches!(programs(&profile), Err(ProfileError::Action(_))));
    }
}
