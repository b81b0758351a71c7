//! Capabilities, device rules, hidden paths and the choice of the filter.

use super::{SeccompChoice, SpecError, invalid, seccomp as profile};
use crate::capabilities as caps;
use k8s_cri::v1::LinuxContainerSecurityContext;
use oci_spec::runtime::{
    Capabilities, Capability, LinuxCapabilities, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType,
    LinuxSeccomp,
};

/// Paths hidden from a container unless it says otherwise; the kubelet's defaults for `procMount: Default`.
pub const DEFAULT_MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
/// Paths a container cannot change unless it says otherwise.
pub const DEFAULT_READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Masked and read-only paths. When the client sends neither list the defaults hold: `procMount: Unmasked` needs a user namespace, which is
/// refused, so an empty list can only be an omission.
pub fn hidden_paths(security: &LinuxContainerSecurityContext) -> (Vec<String>, Vec<String>) {
    if security.privileged {
        return (Vec::new(), Vec::new());
    }
    if security.masked_paths.is_empty() && security.readonly_paths.is_empty() {
        let owned = |paths: &[&str]| paths.iter().map(|p| (*p).to_owned()).collect();
        return (owned(&DEFAULT_MASKED), owned(&DEFAULT_READ_ONLY));
    }
    (security.masked_paths.clone(), security.readonly_paths.clone())
}

/// The bits of the capabilities the container gets, never more than `bounding`.
pub fn capability_bits(
    security: &LinuxContainerSecurityContext,
    bounding: u64,
) -> Result<u64, SpecError> {
    if security.privileged {
        return Ok(bounding);
    }
    let default =
        caps::DEFAULT.iter().filter_map(|name| caps::bit(name)).fold(0, |set, bit| set | bit);
    let (add, drop) = security
        .capabilities
        .as_ref()
        .map(|c| (c.add_capabilities.clone(), c.drop_capabilities.clone()))
        .unwrap_or_default();
    let bits = caps::apply(default, &add, &drop)
        .map_err(|name| invalid("capabilities", format!("unknown capability {name:?}")))?;
    Ok(bits & bounding)
}

fn set(bits: u64) -> Capabilities {
    caps::names(bits)
        .filter_map(|name| {
            serde_json::from_value::<Capability>(serde_json::Value::String(format!("CAP_{name}")))
                .ok()
        })
        .collect()
}

/// The OCI capability sets: inheritable only what is to be ambient.
pub fn capabilities(
    bits: u64,
    security: &LinuxContainerSecurityContext,
) -> Result<LinuxCapabilities, SpecError> {
    let ambient = security
        .capabilities
        .as_ref()
        .map(|c| c.add_ambient_capabilities.clone())
        .unwrap_or_default();
    let ambient = caps::apply(0, &ambient, &[])
        .map_err(|name| invalid("capabilities", format!("unknown capability {name:?}")))?
        & bits;
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(set(bits)));
    sets.set_effective(Some(set(bits)));
    sets.set_permitted(Some(set(bits)));
    sets.set_inheritable(Some(set(ambient)));
    sets.set_ambient(Some(set(ambient)));
    Ok(sets)
}

/// The filter, or none for privileged and unconfined containers.
pub fn seccomp(
    security: &LinuxContainerSecurityContext,
    choice: &SeccompChoice,
    capabilities: u64,
) -> Option<LinuxSeccomp> {
    match choice {
        _ if security.privileged => None,
        SeccompChoice::Unconfined => None,
        SeccompChoice::RuntimeDefault => Some(profile::default_profile(capabilities)),
        SeccompChoice::Localhost(profile) => Some((**profile).clone()),
    }
}

/// Device access: everything for the privileged; else nodes may be made (`m`), and only the standard and the given ones opened.
pub fn device_rules(privileged: bool, devices: &[LinuxDevice]) -> Vec<LinuxDeviceCgroup> {
    if privileged {
        return vec![rule(true, LinuxDeviceType::A, None, None, "rwm")];
    }
    let c = LinuxDeviceType::C;
    let mut rules = vec![
        rule(false, LinuxDeviceType::A, None, None, "rwm"),
        rule(true, c, None, None, "m"),
        rule(true, LinuxDeviceType::B, None, None, "m"),
    ];
    let standard = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];
    rules.extend(standard.map(|(major, minor)| rule(true, c, Some(major), Some(minor), "rwm")));
    rules.push(rule(true, c, Some(136), None, "rwm"));
    rules.extend(
        devices.iter().map(|d| rule(true, d.typ(), Some(d.major()), Some(d.minor()), "rwm")),
    );
    rules
}

fn rule(
    allow: bool,
    typ: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow);
    rule.set_typ(Some(typ));
    rule.set_major(major);
    rule.set_minor(minor);
    rule.set_access(Some(access.to_owned()));
    rule
}
