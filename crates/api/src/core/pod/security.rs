//! Security contexts of pods and containers.
//!
//! Counterpart in Kubernetes: `ValidateSecurityContext` and `validatePodSpecSecurityContext` in `pkg/apis/core/validation`.
//! Privileged containers are allowed; who may make them is a matter of admission.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext, Sysctl,
    WindowsSecurityContextOptions,
};

use super::volumes::local_descending;
use crate::report::{Report, list};

const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const FS_GROUP_POLICIES: &[&str] = &["Always", "OnRootMismatch"];
const GROUPS_POLICIES: &[&str] = &["Merge", "Strict"];
const SE_LINUX_POLICIES: &[&str] = &["MountOption", "Recursive"];
const PROC_MOUNTS: &[&str] = &["Default", "Unmasked"];
/// Bytes in the path of an AppArmor profile: what a path can have.
const PROFILE_LIMIT: usize = 4095;
/// Bytes in the name of a sysctl.
const SYSCTL_LIMIT: usize = 253;
const SYSCTL_PATTERN: &str =
    r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
/// Sysctls of the IPC namespace that are not told by a prefix.
const IPC_SYSCTLS: &[&str] = &[
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.shm",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg",
];

fn id(id: Option<i64>, at: &Path, errors: &mut ErrorList) {
    if let Some(id) = id {
        errors.invalid_all(at, id, names::is_valid_user_or_group_id(id));
    }
}

fn known(value: &Option<String>, known: &[&str], at: &Path, errors: &mut ErrorList) {
    if let Some(value) = value.as_deref().filter(|v| !known.contains(v)) {
        errors.not_supported(at, value, known);
    }
}

/// The security context of a pod.
pub(super) fn validate_pod(
    context: &PodSecurityContext,
    spec: &PodSpec,
    at: &Path,
    errors: &mut ErrorList,
) {
    id(context.fs_group, &at.child("fsGroup"), errors);
    id(context.run_as_user, &at.child("runAsUser"), errors);
    id(context.run_as_group, &at.child("runAsGroup"), errors);
    for (i, group) in list(&context.supplemental_groups).iter().enumerate() {
        id(Some(*group), &at.child("supplementalGroups").index(i), errors);
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&at.child("shareProcessNamespace"), true, detail);
    }
    validate_sysctls(list(&context.sysctls), spec, &at.child("sysctls"), errors);
    known(
        &context.fs_group_change_policy,
        FS_GROUP_POLICIES,
        &at.child("fsGroupChangePolicy"),
        errors,
    );
    validate_seccomp(context.seccomp_profile.as_ref(), &at.child("seccompProfile"), errors);
    validate_windows(context.windows_options.as_ref(), &at.child("windowsOptions"), errors);
    validate_app_armor(context.app_armor_profile.as_ref(), &at.child("appArmorProfile"), errors);
    known(
        &context.supplemental_groups_policy,
        GROUPS_POLICIES,
        &at.child("supplementalGroupsPolicy"),
        errors,
    );
    known(
        &context.se_linux_change_policy,
        SE_LINUX_POLICIES,
        &at.child("seLinuxChangePolicy"),
        errors,
    );
}

/// The security context of a container.
pub(super) fn validate_container(
    context: &SecurityContext,
    host_users: bool,
    at: &Path,
    errors: &mut ErrorList,
) {
    id(context.run_as_user, &at.child("runAsUser"), errors);
    id(context.run_as_group, &at.child("runAsGroup"), errors);
    known(&context.proc_mount, PROC_MOUNTS, &at.child("procMount"), errors);
    if host_users && context.proc_mount.as_deref() == Some("Unmasked") {
        errors.invalid(
            &at.child("procMount"),
            "Unmasked",
            "`hostUsers` must be false to use `Unmasked`",
        );
    }
    validate_seccomp(context.seccomp_profile.as_ref(), &at.child("seccompProfile"), errors);
    validate_escalation(context, at, errors);
    validate_windows(context.windows_options.as_ref(), &at.child("windowsOptions"), errors);
    validate_app_armor(context.app_armor_profile.as_ref(), &at.child("appArmorProfile"), errors);
}

/// Who is all-powerful from the start cannot be kept from becoming so.
fn validate_escalation(context: &SecurityContext, at: &Path, errors: &mut ErrorList) {
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    if context.privileged == Some(true) {
        errors.invalid(
            at,
            context,
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        );
    }
    let added = context.capabilities.as_ref().map(|c| list(&c.add)).unwrap_or_default();
    for _ in added.iter().filter(|c| *c == "CAP_SYS_ADMIN") {
        let detail =
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.invalid(at, context, detail);
    }
}

fn validate_seccomp(profile: Option<&SeccompProfile>, at: &Path, errors: &mut ErrorList) {
    let Some(profile) = profile else { return };
    match profile.type_.as_str() {
        "" => errors.required(&at.child("type"), "type is required when seccompProfile is set"),
        known if PROFILE_TYPES.contains(&known) => {}
        other => errors.not_supported(&at.child("type"), other, PROFILE_TYPES),
    }
    let at = at.child("localhostProfile");
    match (profile.type_ == "Localhost", &profile.localhost_profile) {
        (true, None) => errors.required(&at, "must be set when seccomp type is Localhost"),
        (true, Some(path)) => local_descending(path, &at, errors),
        (false, Some(_)) => {
            errors.invalid(&at, profile, "can only be set when seccomp type is Localhost")
        }
        (false, None) => {}
    }
}

fn validate_app_armor(profile: Option<&AppArmorProfile>, at: &Path, errors: &mut ErrorList) {
    let Some(profile) = profile else { return };
    let at_path = at.child("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => {
            errors.required(&at_path, "must be set when AppArmor type is Localhost");
        }
        ("Localhost", Some(path)) => validate_profile_path(path, &at_path, errors),
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("RuntimeDefault" | "Unconfined", Some(path)) => {
            errors.invalid(&at_path, path, "can only be set when AppArmor type is Localhost");
        }
        ("", _) => {
            errors.required(&at.child("type"), "type is required when appArmorProfile is set")
        }
        (other, _) => errors.not_supported(&at.child("type"), other, PROFILE_TYPES),
    }
}

fn validate_profile_path(path: &str, at: &Path, errors: &mut ErrorList) {
    if path.trim() != path {
        errors.invalid(at, path, "must not be padded with whitespace");
    }
    if path.len() > PROFILE_LIMIT {
        errors.too_long(at, PROFILE_LIMIT);
    }
}

fn validate_sysctls(sysctls: &[Sysctl], spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (i, sysctl) in sysctls.iter().enumerate() {
        let at = at.index(i).child("name");
        let new = seen.insert(&sysctl.name);
        if sysctl.name.is_empty() {
            errors.required(&at, "");
        } else if !is_sysctl(&sysctl.name) {
            let detail = format!(
                "must have at most {SYSCTL_LIMIT} characters and match regex {SYSCTL_PATTERN}"
            );
            errors.invalid(&at, &sysctl.name, detail);
        } else if !new {
            errors.duplicate(&at, &sysctl.name);
        }
        let name = sysctl.name.replace('/', ".");
        if spec.host_network == Some(true) && name.starts_with("net.") {
            errors.invalid(&at, &sysctl.name, "may not be specified when 'hostNetwork' is true");
        }
        let ipc = IPC_SYSCTLS.contains(&name.as_str()) || name.starts_with("fs.mqueue.");
        if spec.host_ipc == Some(true) && ipc {
            errors.invalid(&at, &sysctl.name, "may not be specified when 'hostIPC' is true");
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let segment = |s: &str| {
        let bytes = s.as_bytes();
        matches!((bytes.first(), bytes.last()), (Some(first), Some(last)) if word(*first) && word(*last))
            && bytes.iter().all(|b| word(*b) || *b == b'-' || *b == b'_')
    };
    name.len() <= SYSCTL_LIMIT && name.split(['.', '/']).all(segment)
}

/// Bytes in the specification of a group-managed account.
const GMSA_LIMIT: usize = 64 * 1024;
/// Bytes in the domain and in the user of a Windows account.
const WINDOWS_DOMAIN_LIMIT: usize = 256;
const WINDOWS_USER_LIMIT: usize = 104;

fn validate_windows(
    options: Option<&WindowsSecurityContextOptions>,
    at: &Path,
    errors: &mut ErrorList,
) {
    let Some(options) = options else { return };
    if let Some(name) = &options.gmsa_credential_spec_name {
        errors.dns_subdomain(&at.child("gmsaCredentialSpecName"), name);
    }
    let at_spec = at.child("gmsaCredentialSpec");
    match options.gmsa_credential_spec.as_ref() {
        Some(spec) if spec.is_empty() => {
            errors.invalid(&at_spec, spec, "gmsaCredentialSpec cannot be an empty string");
        }
        Some(spec) if spec.len() > GMSA_LIMIT => {
            errors.invalid(&at_spec, spec, "gmsaCredentialSpec size must be under 64 KiB");
        }
        _ => {}
    }
    if let Some(name) = &options.run_as_user_name {
        for problem in windows_user_problems(name) {
            errors.invalid(&at.child("runAsUserName"), name, problem);
        }
    }
}

/// What is wrong with `DOMAIN\user`.
fn windows_user_problems(name: &str) -> Vec<String> {
    let problem = |text: &str| vec![format!("runAsUserName{text}")];
    if name.is_empty() {
        return problem(" cannot be an empty string");
    }
    if name.chars().any(char::is_control) {
        return problem(" cannot contain control characters");
    }
    let (domain, user) = match name.split('\\').collect::<Vec<_>>()[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return problem(" cannot contain more than one backslash"),
    };
    let long_domain = domain.is_some_and(|d| d.len() >= WINDOWS_DOMAIN_LIMIT);
    let bad_domain = domain.is_some_and(|d| !is_net_bios(d) && !is_dns_domain(d));
    let checks = [
        (long_domain, format!("'s Domain length must be under {WINDOWS_DOMAIN_LIMIT} characters")),
        (bad_domain, "'s Domain doesn't match the NetBios nor the DNS format".to_owned()),
        (user.is_empty(), "'s User cannot be empty".to_owned()),
        (
            user.len() > WINDOWS_USER_LIMIT,
            format!("'s User length must not be longer than {WINDOWS_USER_LIMIT} characters"),
        ),
        (
            !user.is_empty() && user.chars().all(|c| c == '.' || c == ' '),
            "'s User cannot contain only periods or spaces".to_owned(),
        ),
        (
            user.contains([
                '"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']',
            ]),
            r#"'s User cannot contain the following characters: "/\:;|=,+*?<>@[]"#.to_owned(),
        ),
    ];
    checks
        .into_iter()
        .filter(|(wrong, _)| *wrong)
        .map(|(_, text)| format!("runAsUserName{text}"))
        .collect()
}

fn is_net_bios(domain: &str) -> bool {
    let bad = ['\\', '/', ':', '*', '?', '"', '<', '>', '|'];
    (1..=15).contains(&domain.chars().count()) && !domain.starts_with('.') && !domain.contains(bad)
}

fn is_dns_domain(domain: &str) -> bool {
    domain.split('.').all(|label| names::is_dns1123_label(&label.to_ascii_lowercase()).is_empty())
}
