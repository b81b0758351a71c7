//! Pods that name their operating system: Linux pods have no Windows options, Windows pods nothing of Linux.
//!
//! Counterpart in Kubernetes: `validateOS`, `validateLinux`, `validateWindows` and `validateWindowsHostProcessPod` in
//! `pkg/apis/core/validation`.

use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, SecurityContext};

use super::super::containers as walk;
use crate::report::{Report, list};

const NOT_ON_WINDOWS: &str = "cannot be set for a windows pod";
const NOT_ON_LINUX: &str = "windows options cannot be set for a linux pod";

pub(super) fn validate_os(spec: &PodSpec, known: &[&str], at: &Path, errors: &mut ErrorList) {
    let Some(os) = &spec.os else { return };
    let at_os = at.child("os");
    match os.name.as_str() {
        "" => errors.required(&at_os.child("name"), ""),
        "linux" => validate_linux(spec, at, errors),
        "windows" => validate_windows(spec, at, errors),
        other => errors.not_supported(&at_os, other, known),
    }
}

fn validate_linux(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    if spec.security_context.as_ref().is_some_and(|s| s.windows_options.is_some()) {
        errors.forbidden(&at.child("securityContext").child("windowsOptions"), NOT_ON_LINUX);
    }
    for (container, at) in walk::all(spec, at) {
        if container.security_context.as_ref().is_some_and(|s| s.windows_options.is_some()) {
            errors.forbidden(&at.child("securityContext").child("windowsOptions"), NOT_ON_LINUX);
        }
    }
}

fn validate_windows(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    let of_spec = [
        ("hostUsers", spec.host_users.is_some()),
        ("hostPID", spec.host_pid == Some(true)),
        ("hostIPC", spec.host_ipc == Some(true)),
        ("shareProcessNamespace", spec.share_process_namespace.is_some()),
    ];
    forbid(&of_spec, at, errors);
    if let Some(pod) = &spec.security_context {
        forbid(&of_pod(pod), &at.child("securityContext"), errors);
    }
    for (container, at) in walk::all(spec, at) {
        if let Some(security) = &container.security_context {
            forbid(&of_container(security), &at.child("securityContext"), errors);
        }
    }
}

fn forbid(fields: &[(&str, bool)], at: &Path, errors: &mut ErrorList) {
    for (name, _) in fields.iter().filter(|(_, set)| *set) {
        errors.forbidden(&at.child(name), NOT_ON_WINDOWS);
    }
}

fn of_pod(s: &PodSecurityContext) -> [(&'static str, bool); 11] {
    [
        ("appArmorProfile", s.app_armor_profile.is_some()),
        ("seLinuxOptions", s.se_linux_options.is_some()),
        ("seccompProfile", s.seccomp_profile.is_some()),
        ("fsGroup", s.fs_group.is_some()),
        ("fsGroupChangePolicy", s.fs_group_change_policy.is_some()),
        ("sysctls", !list(&s.sysctls).is_empty()),
        ("runAsUser", s.run_as_user.is_some()),
        ("runAsGroup", s.run_as_group.is_some()),
        ("supplementalGroups", s.supplemental_groups.is_some()),
        ("supplementalGroupsPolicy", s.supplemental_groups_policy.is_some()),
        ("seLinuxChangePolicy", s.se_linux_change_policy.is_some()),
    ]
}

fn of_container(s: &SecurityContext) -> [(&'static str, bool); 10] {
    [
        ("appArmorProfile", s.app_armor_profile.is_some()),
        ("seLinuxOptions", s.se_linux_options.is_some()),
        ("seccompProfile", s.seccomp_profile.is_some()),
        ("capabilities", s.capabilities.is_some()),
        ("readOnlyRootFilesystem", s.read_only_root_filesystem.is_some()),
        ("privileged", s.privileged.is_some()),
        ("allowPrivilegeEscalation", s.allow_privilege_escalation.is_some()),
        ("procMount", s.proc_mount.is_some()),
        ("runAsUser", s.run_as_user.is_some()),
        ("runAsGroup", s.run_as_group.is_some()),
    ]
}

/// Either all containers are processes of the host, or none.
pub(super) fn validate_host_process(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    let options = spec.security_context.as_ref().and_then(|s| s.windows_options.as_ref());
    let of_pod = options.and_then(|o| o.host_process);
    let (mut all, mut host) = (0, 0);
    for (container, at) in walk::all(spec, at) {
        let options = container.security_context.as_ref().and_then(|s| s.windows_options.as_ref());
        let own = options.and_then(|o| o.host_process);
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let at = at.child("securityContext").child("windowsOptions").child("hostProcess");
            let detail =
                format!("pod hostProcess value must be identical if both are specified, was {pod}");
            errors.invalid(&at, own, detail);
        }
        all += 1;
        host += usize::from(own.or(of_pod) == Some(true));
    }
    if host == 0 {
        return;
    }
    if host != all {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(at, "", detail);
    }
    if spec.host_network != Some(true) {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&at.child("hostNetwork"), false, detail);
    }
}
