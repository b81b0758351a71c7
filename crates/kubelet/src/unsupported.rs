//! The fields of a Pod this kubelet does not implement yet.
//!
//! No counterpart in Kubernetes: there they are implemented. Invariant: a field that asks for something is either acted upon or
//! named here; it is never accepted and ignored. Every later issue that implements one removes its line.
//!
//! ServiceAccount token volumes are not injected by the API server yet, so pods arrive here without volumes.

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodSpec, SecurityContext};

/// The reason of a pod that was failed because of such a field, in its status and its event.
pub const REASON: &str = "UnsupportedField";

/// Paths of all fields in `spec` that ask for something that is not implemented, in the order of the API's documentation.
pub fn unsupported(spec: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |asked: bool, path: &str| {
        if asked {
            found.push(format!("spec.{path}"));
        }
    };
    check(spec.active_deadline_seconds.is_some(), "activeDeadlineSeconds");
    check(some(&spec.ephemeral_containers), "ephemeralContainers");
    check(spec.host_users == Some(false), "hostUsers");
    check(some(&spec.image_pull_secrets), "imagePullSecrets");
    check(some(&spec.init_containers), "initContainers");
    check(spec.os.as_ref().is_some_and(|os| os.name != "linux"), "os.name");
    check(spec.overhead.as_ref().is_some_and(|overhead| !overhead.is_empty()), "overhead");
    check(some(&spec.resource_claims), "resourceClaims");
    check(spec.resources.is_some(), "resources");
    check(
        spec.runtime_class_name.as_ref().is_some_and(|name| !name.is_empty()),
        "runtimeClassName",
    );
    check(some(&spec.volumes), "volumes");
    if let Some(context) = &spec.security_context {
        pod_security(context, &mut check);
    }
    // On the node's network the port is the node's anyway; to lead it into a pod is what is missing.
    let own_network = !spec.host_network.unwrap_or_default();
    for (index, container) in spec.containers.iter().enumerate() {
        let mut check = |asked: bool, path: &str| {
            if asked {
                found.push(format!("spec.containers[{index}].{path}"));
            }
        };
        container_fields(container, own_network, &mut check);
    }
    found
}

fn some<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn pod_security(context: &PodSecurityContext, check: &mut impl FnMut(bool, &str)) {
    check(
        context.app_armor_profile.as_ref().is_some_and(|it| it.type_ != "Unconfined"),
        "securityContext.appArmorProfile",
    );
    check(context.se_linux_options.is_some(), "securityContext.seLinuxOptions");
    check(context.windows_options.is_some(), "securityContext.windowsOptions");
}

fn container_fields(container: &Container, own_network: bool, check: &mut impl FnMut(bool, &str)) {
    let host_port =
        container.ports.iter().flatten().any(|port| port.host_port.is_some_and(|port| port != 0));
    let file_key = |env: &k8s_openapi::api::core::v1::EnvVar| {
        env.value_from.as_ref().is_some_and(|from| from.file_key_ref.is_some())
    };
    check(container.env.iter().flatten().any(file_key), "env[].valueFrom.fileKeyRef");
    check(container.lifecycle.is_some(), "lifecycle");
    check(container.liveness_probe.is_some(), "livenessProbe");
    check(own_network && host_port, "ports[].hostPort");
    check(container.readiness_probe.is_some(), "readinessProbe");
    check(container.resources.as_ref().is_some_and(|it| some(&it.claims)), "resources.claims");
    check(container.restart_policy.is_some(), "restartPolicy");
    check(some(&container.restart_policy_rules), "restartPolicyRules");
    if let Some(context) = &container.security_context {
        container_security(context, check);
    }
    check(container.startup_probe.is_some(), "startupProbe");
    check(some(&container.volume_devices), "volumeDevices");
    check(some(&container.volume_mounts), "volumeMounts");
}

fn container_security(context: &SecurityContext, check: &mut impl FnMut(bool, &str)) {
    check(
        context.app_armor_profile.as_ref().is_some_and(|it| it.type_ != "Unconfined"),
        "securityContext.appArmorProfile",
    );
    check(context.se_linux_options.is_some(), "securityContext.seLinuxOptions");
    check(context.windows_options.is_some(), "securityContext.windowsOptions");
}

/// The message that goes with [`REASON`].
pub fn message(fields: &[String]) -> String {
    format!("Pod was rejected: this version of Knarr does not implement {}", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ContainerPort, Lifecycle, Probe, Volume, VolumeMount};

    fn spec(container: Container) -> PodSpec {
        PodSpec { containers: vec![container], ..PodSpec::default() }
    }

    #[test]
    fn plain_pod_is_supported() {
        assert!(
            unsupported(&spec(Container { name: "a".into(), ..Container::default() })).is_empty()
        );
    }

    #[test]
    fn unimplemented_fields_are_named_by_path() {
        let mut pod = spec(Container {
            liveness_probe: Some(Probe::default()),
            lifecycle: Some(Lifecycle::default()),
            ports: Some(vec![ContainerPort {
                container_port: 80,
                host_port: Some(8080),
                ..ContainerPort::default()
            }]),
            volume_mounts: Some(vec![VolumeMount::default()]),
            ..Container::default()
        });
        pod.init_containers = Some(vec![Container::default()]);
        pod.volumes = Some(vec![Volume::default()]);
        let expected = [
            "spec.initContainers",
            "spec.volumes",
            "spec.containers[0].lifecycle",
            "spec.containers[0].livenessProbe",
            "spec.containers[0].ports[].hostPort",
            "spec.containers[0].volumeMounts",
        ];
        assert_eq!(unsupported(&pod), expected);
        assert!(message(&unsupported(&pod)).ends_with("spec.containers[0].volumeMounts"));
    }
}
