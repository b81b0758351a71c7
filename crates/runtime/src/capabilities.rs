//! Capabilities by name and by bit.

/// Names in the order of their numbers, without `CAP_`.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container gets unless it asks otherwise; containerd's default set.
pub const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The bit of a capability named with or without `CAP_`, in any case.
pub fn bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| *known == plain).map(|number| 1 << number)
}

/// The names of the bits in `set`, without `CAP_`.
pub fn names(set: u64) -> impl Iterator<Item = &'static str> {
    NAMES
        .iter()
        .enumerate()
        .filter(move |(number, _)| set & (1 << number) != 0)
        .map(|(_, name)| *name)
}

/// The default set with `add` and `drop` applied as Kubernetes does: `ALL` first, then single names, dropping last.
///
/// # Errors
/// The name that is not a capability.
pub fn apply(default: u64, add: &[String], drop: &[String]) -> Result<u64, String> {
    let all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    let bits = |names: &[String]| -> Result<u64, String> {
        names
            .iter()
            .filter(|name| !name.eq_ignore_ascii_case("ALL"))
            .try_fold(0, |set, name| bit(name).map(|b| set | b).ok_or_else(|| name.clone()))
    };
    let mut set = default;
    if all(add) {
        set = (1 << NAMES.len()) - 1;
    }
    if all(drop) {
        set = 0;
    }
    Ok((set | bits(add)?) & !bits(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apply_add_and_drop_follow_containerd() {
        let s = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let default = 0b111;
        assert_eq!(apply(default, &s(&["NET_ADMIN"]), &s(&[])), Ok(default | 1 << 12));
        assert_eq!(apply(default, &s(&[]), &s(&["CAP_CHOWN"])), Ok(0b110));
        assert_eq!(apply(default, &s(&["KILL"]), &s(&["ALL"])), Ok(1 << 5));
        assert_eq!(apply(default, &s(&["all"]), &s(&["chown"])), Ok(((1 << 41) - 1) & !1));
        assert_eq!(apply(default, &s(&["NOPE"]), &s(&[])), Err("NOPE".into()));
    }
}
