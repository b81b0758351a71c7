//! Security contexts of pods and containers, in CRI's terms.
//!
//! Counterpart in Kubernetes: `kuberuntime/security_context*.go` and `pkg/securitycontext`. Invariants: pure; the container's
//! field wins over the pod's; nothing is granted that was not asked for.

use std::path::Path;

use k8s_cri::v1 as cri;
use k8s_openapi::api::core::v1::{
    Container, Pod, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

use crate::names;

/// Parts of `/proc` and `/sys` hidden from a container unless its `procMount` is `Unmasked`.
const MASKED_PATHS: [&str; 11] = [
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
/// Thermal throttling counters, which tell cores apart.
const MASKED_SYS: &str = "/sys/devices/virtual/powercap";
/// Parts of `/proc` a container may only read.
const READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The user an image wants to run as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageUser {
    /// A numeric user.
    pub uid: Option<i64>,
    /// A named user, with `uid` absent.
    pub username: String,
}

/// Namespaces of the pod's sandbox and containers.
pub fn namespaces(spec: &PodSpec) -> cri::NamespaceOption {
    let mode = |host: Option<bool>, otherwise: cri::NamespaceMode| {
        if host.unwrap_or_default() { cri::NamespaceMode::Node as i32 } else { otherwise as i32 }
    };
    let shared = spec.share_process_namespace.unwrap_or_default();
    let pid = if shared { cri::NamespaceMode::Pod } else { cri::NamespaceMode::Container };
    cri::NamespaceOption {
        network: mode(spec.host_network, cri::NamespaceMode::Pod),
        pid: mode(spec.host_pid, pid),
        ipc: mode(spec.host_ipc, cri::NamespaceMode::Pod),
        ..cri::NamespaceOption::default()
    }
}

/// The sandbox's own context.
///
/// # Errors
/// When a word in the pod's context is not one CRI knows.
pub fn sandbox_context(spec: &PodSpec) -> Result<cri::LinuxSandboxSecurityContext, String> {
    let pod = spec.security_context.as_ref();
    let privileged = |container: &Container| {
        container.security_context.as_ref().and_then(|it| it.privileged).unwrap_or_default()
    };
    Ok(cri::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(spec)),
        run_as_user: pod.and_then(|pod| pod.run_as_user).map(|value| cri::Int64Value { value }),
        run_as_group: pod.and_then(|pod| pod.run_as_group).map(|value| cri::Int64Value { value }),
        supplemental_groups: supplemental_groups(pod),
        supplemental_groups_policy: supplemental_groups_policy(pod)?,
        privileged: spec.containers.iter().any(privileged),
        seccomp: Some(profile(cri::security_profile::ProfileType::RuntimeDefault, String::new())),
        ..cri::LinuxSandboxSecurityContext::default()
    })
}

fn supplemental_groups(pod: Option<&PodSecurityContext>) -> Vec<i64> {
    let Some(pod) = pod else { return Vec::new() };
    pod.fs_group.into_iter().chain(pod.supplemental_groups.iter().flatten().copied()).collect()
}

fn supplemental_groups_policy(pod: Option<&PodSecurityContext>) -> Result<i32, String> {
    match pod.and_then(|pod| pod.supplemental_groups_policy.as_deref()) {
        None | Some("Merge") => Ok(cri::SupplementalGroupsPolicy::Merge as i32),
        Some("Strict") => Ok(cri::SupplementalGroupsPolicy::Strict as i32),
        Some(other) => Err(format!("unsupported supplementalGroupsPolicy: {other}")),
    }
}

fn profile(
    kind: cri::security_profile::ProfileType,
    localhost_ref: String,
) -> cri::SecurityProfile {
    cri::SecurityProfile { profile_type: kind as i32, localhost_ref }
}

/// A container's context. `seccomp_root` is where local seccomp profiles lie.
///
/// # Errors
/// When the container must not run as root and would, or cannot be shown not to; with the message of the event.
pub fn container_context(
    pod: &Pod,
    container: &Container,
    image_user: &ImageUser,
    seccomp_root: &Path,
) -> Result<cri::LinuxContainerSecurityContext, String> {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let (pod_context, own) = (spec.security_context.as_ref(), container.security_context.as_ref());
    verify_run_as_non_root(pod, container, image_user)?;
    let run_as_user =
        own.and_then(|own| own.run_as_user).or_else(|| pod_context.and_then(|pod| pod.run_as_user));
    let run_as_group = own
        .and_then(|own| own.run_as_group)
        .or_else(|| pod_context.and_then(|pod| pod.run_as_group));
    let unmasked = own.and_then(|own| own.proc_mount.as_deref()) == Some("Unmasked");
    let paths = |paths: &[&str]| {
        if unmasked { Vec::new() } else { paths.iter().map(|path| (*path).to_owned()).collect() }
    };
    let masked: Vec<_> = MASKED_PATHS.iter().copied().chain([MASKED_SYS]).collect();
    Ok(cri::LinuxContainerSecurityContext {
        capabilities: own.and_then(capabilities),
        privileged: own.and_then(|own| own.privileged).unwrap_or_default(),
        namespace_options: Some(namespaces(spec)),
        run_as_user: run_as_user.or(image_user.uid).map(|value| cri::Int64Value { value }),
        run_as_username: if run_as_user.is_none() {
            image_user.username.clone()
        } else {
            String::new()
        },
        run_as_group: run_as_group.map(|value| cri::Int64Value { value }),
        readonly_rootfs: own.and_then(|own| own.read_only_root_filesystem).unwrap_or_default(),
        supplemental_groups: supplemental_groups(pod_context),
        supplemental_groups_policy: supplemental_groups_policy(pod_context)?,
        no_new_privs: own.and_then(|own| own.allow_privilege_escalation) == Some(false),
        masked_paths: paths(&masked),
        readonly_paths: paths(&READONLY_PATHS),
        seccomp: Some(seccomp(own, pod_context, seccomp_root)?),
        ..cri::LinuxContainerSecurityContext::default()
    })
}

fn capabilities(own: &SecurityContext) -> Option<cri::Capability> {
    own.capabilities.as_ref().map(|capabilities| cri::Capability {
        add_capabilities: capabilities.add.clone().unwrap_or_default(),
        drop_capabilities: capabilities.drop.clone().unwrap_or_default(),
        add_ambient_capabilities: Vec::new(),
    })
}

/// Without a field the profile is Unconfined, as in a kubelet without `seccompDefault`.
fn seccomp(
    own: Option<&SecurityContext>,
    pod: Option<&PodSecurityContext>,
    root: &Path,
) -> Result<cri::SecurityProfile, String> {
    use cri::security_profile::ProfileType;
    let own = own.and_then(|own| own.seccomp_profile.as_ref());
    let field: Option<&SeccompProfile> =
        own.or_else(|| pod.and_then(|pod| pod.seccomp_profile.as_ref()));
    Ok(match field.map(|field| (field.type_.as_str(), field.localhost_profile.as_deref())) {
        Some(("RuntimeDefault", _)) => profile(ProfileType::RuntimeDefault, String::new()),
        Some(("Localhost", Some(name))) if !name.is_empty() => {
            profile(ProfileType::Localhost, root.join(name).to_string_lossy().into_owned())
        }
        Some(("Localhost", _)) => {
            return Err("localhostProfile must be set if seccompProfile type is Localhost.".into());
        }
        _ => profile(ProfileType::Unconfined, String::new()),
    })
}

fn verify_run_as_non_root(
    pod: &Pod,
    container: &Container,
    image: &ImageUser,
) -> Result<(), String> {
    let pod_context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let required = own
        .and_then(|own| own.run_as_non_root)
        .or_else(|| pod_context.and_then(|pod| pod.run_as_non_root));
    if required != Some(true) {
        return Ok(());
    }
    let asked =
        own.and_then(|own| own.run_as_user).or_else(|| pod_context.and_then(|pod| pod.run_as_user));
    let suffix = format!("(pod: \"{}\", container: {})", names::display(pod), container.name);
    match (asked, image.uid, image.username.as_str()) {
        (Some(0), _, _) => Err(format!("container's runAsUser breaks non-root policy {suffix}")),
        (Some(_), _, _) => Ok(()),
        (None, None, "") | (None, Some(0), _) => {
            Err(format!("container has runAsNonRoot and image will run as root {suffix}"))
        }
        (None, None, name) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {suffix}"
        )),
        (None, Some(_), _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::pod;
    use k8s_openapi::api::core::v1::Capabilities;

    fn context(
        own: SecurityContext,
        of_pod: PodSecurityContext,
        image: ImageUser,
    ) -> Result<cri::LinuxContainerSecurityContext, String> {
        let mut pod = pod(&["a"]);
        let spec = pod.spec.as_mut().expect("spec");
        spec.security_context = Some(of_pod);
        spec.containers[0].security_context = Some(own);
        let container = spec.containers[0].clone();
        container_context(&pod, &container, &image, Path::new("/seccomp"))
    }

    #[test]
    fn container_fields_win_over_pod_fields() {
        let own = SecurityContext {
            run_as_user: Some(5),
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: Some(vec!["NET_ADMIN".into()]),
                drop: Some(vec!["ALL".into()]),
            }),
            ..SecurityContext::default()
        };
        let of_pod = PodSecurityContext {
            run_as_user: Some(9),
            run_as_group: Some(7),
            fs_group: Some(20),
            supplemental_groups: Some(vec![30]),
            ..PodSecurityContext::default()
        };
        let made = context(own, of_pod, ImageUser { uid: Some(1), username: String::new() })
            .expect("made");
        assert_eq!(made.run_as_user.map(|it| it.value), Some(5));
        assert_eq!(made.run_as_group.map(|it| it.value), Some(7));
        assert_eq!(made.supplemental_groups, [20, 30]);
        assert!(made.no_new_privs && !made.privileged);
        assert_eq!(made.capabilities.expect("capabilities").drop_capabilities, ["ALL"]);
        assert_eq!(
            made.seccomp.expect("seccomp").profile_type,
            cri::security_profile::ProfileType::Unconfined as i32
        );
    }

    #[test]
    fn run_as_non_root_is_verified() {
        let non_root = |user| SecurityContext {
            run_as_non_root: Some(true),
            run_as_user: user,
            ..SecurityContext::default()
        };
        let image = |uid, name: &str| ImageUser { uid, username: name.into() };
        let of =
            |user, image| context(non_root(user), PodSecurityContext::default(), image).map(|_| ());
        assert_eq!(of(Some(1), image(Some(0), "")), Ok(()));
        assert_eq!(of(None, image(Some(1000), "")), Ok(()));
        let error = |user, image| of(user, image).expect_err("refused");
        assert_eq!(
            error(Some(0), image(Some(1), "")),
            "container's runAsUser breaks non-root policy (pod: \"web_default(u1)\", container: a)"
        );
        assert!(
            error(None, image(Some(0), ""))
                .starts_with("container has runAsNonRoot and image will run as root")
        );
        assert!(error(None, image(None, "nginx")).contains("non-numeric user (nginx)"));
    }
}
