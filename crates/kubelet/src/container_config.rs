//! CRI's configurations of sandboxes and containers, made from a pod.
//!
//! Counterpart in Kubernetes: `generatePodSandboxConfig` and `generateContainerConfig`. Invariant: pure; the same pod gives the
//! same configuration, and all of it can be read back from the runtime by a kubelet that starts anew.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_cri::v1 as cri;
use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod, PodSpec};

use crate::names::{self, Paths};
use crate::security::{ImageUser, container_context, sandbox_context};
use crate::{env, network_files, resources};

/// What the node adds to every pod.
#[derive(Clone, Debug)]
pub struct NodeContext {
    /// Where the pods' files lie.
    pub paths: Paths,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// The node's memory, for out-of-memory scores.
    pub memory_capacity_bytes: i64,
}

/// The sandbox of the given attempt.
///
/// # Errors
/// When the pod asks for something CRI has no word for.
pub fn sandbox_config(
    pod: &Pod,
    attempt: u32,
    dns: cri::DnsConfig,
    node: &NodeContext,
) -> Result<cri::PodSandboxConfig, String> {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let (ns, name, uid) = (names::namespace(pod), names::name(pod), names::uid(pod));
    let host_network = spec.host_network.unwrap_or_default();
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let own = [(names::POD_NAME, name), (names::POD_NAMESPACE, ns), (names::POD_UID, uid)];
    let sysctls = spec.security_context.as_ref().and_then(|context| context.sysctls.as_ref());
    let mut annotations = pod.metadata.annotations.clone().unwrap_or_default();
    if let Some(grace) = spec.termination_grace_period_seconds {
        annotations.insert(names::POD_GRACE.into(), grace.to_string());
    }
    Ok(cri::PodSandboxConfig {
        metadata: Some(cri::PodSandboxMetadata {
            name: name.into(),
            uid: uid.into(),
            namespace: ns.into(),
            attempt,
        }),
        hostname: if host_network {
            String::new()
        } else {
            network_files::kernel_hostname(pod, &node.cluster_domain)
        },
        log_directory: node.paths.pod_logs(ns, name, uid).to_string_lossy().into_owned(),
        dns_config: Some(dns),
        port_mappings: spec
            .containers
            .iter()
            .flat_map(|container| container.ports.iter().flatten())
            .map(port_mapping)
            .collect(),
        labels: labels
            .into_iter()
            .chain(own.map(|(key, value)| (key.to_owned(), value.to_owned())))
            .collect(),
        annotations: annotations.into_iter().collect(),
        linux: Some(cri::LinuxPodSandboxConfig {
            cgroup_parent: String::new(),
            security_context: Some(sandbox_context(spec)?),
            sysctls: sysctls
                .into_iter()
                .flatten()
                .map(|it| (it.name.clone(), it.value.clone()))
                .collect(),
            ..cri::LinuxPodSandboxConfig::default()
        }),
        windows: None,
    })
}

fn port_mapping(port: &ContainerPort) -> cri::PortMapping {
    let protocol = match port.protocol.as_deref() {
        Some("UDP") => cri::Protocol::Udp,
        Some("SCTP") => cri::Protocol::Sctp,
        _ => cri::Protocol::Tcp,
    };
    cri::PortMapping {
        protocol: protocol as i32,
        container_port: port.container_port,
        host_port: port.host_port.unwrap_or(0),
        host_ip: port.host_ip.clone().unwrap_or_default(),
    }
}

/// What a container's configuration needs beside the pod.
#[derive(Clone, Debug)]
pub struct ContainerInput<'a> {
    /// The container.
    pub container: &'a Container,
    /// Restarts before this attempt.
    pub restart_count: u32,
    /// The image by the name the runtime resolved it to.
    pub image_ref: String,
    /// Its user.
    pub image_user: ImageUser,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
}

/// The configuration of one attempt of a container.
///
/// # Errors
/// With the message of a `CreateContainerConfigError`.
pub fn container_config(
    pod: &Pod,
    input: &ContainerInput<'_>,
    node: &NodeContext,
) -> Result<cri::ContainerConfig, String> {
    let container = input.container;
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let lookup = |name: &str| input.environment.get(name).cloned();
    let expand = |words: &Option<Vec<String>>| {
        words.iter().flatten().map(|word| env::expand(word, lookup)).collect()
    };
    let seccomp_root = node.paths.root().join("seccomp");
    let image = container.image.clone().unwrap_or_default();
    Ok(cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata {
            name: container.name.clone(),
            attempt: input.restart_count,
        }),
        image: Some(cri::ImageSpec {
            image: input.image_ref.clone(),
            user_specified_image: image,
            ..cri::ImageSpec::default()
        }),
        command: expand(&container.command),
        args: expand(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: input
            .environment
            .iter()
            .map(|(key, value)| cri::KeyValue { key: key.clone(), value: value.clone() })
            .collect(),
        mounts: mounts(pod, container, input.restart_count, node),
        labels: container_labels(pod, container),
        annotations: container_annotations(pod, container, input.restart_count),
        log_path: names::log_path(&container.name, input.restart_count),
        stdin: container.stdin.unwrap_or_default(),
        stdin_once: container.stdin_once.unwrap_or_default(),
        tty: container.tty.unwrap_or_default(),
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(resources::linux_resources(
                spec,
                container,
                node.memory_capacity_bytes,
            )),
            security_context: Some(container_context(
                pod,
                container,
                &input.image_user,
                &seccomp_root,
            )?),
        }),
        ..cri::ContainerConfig::default()
    })
}

fn container_labels(pod: &Pod, container: &Container) -> std::collections::HashMap<String, String> {
    let labels = [
        (names::POD_NAME, names::name(pod)),
        (names::POD_NAMESPACE, names::namespace(pod)),
        (names::POD_UID, names::uid(pod)),
        (names::CONTAINER_NAME, container.name.as_str()),
    ];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn container_annotations(
    pod: &Pod,
    container: &Container,
    restart_count: u32,
) -> std::collections::HashMap<String, String> {
    let policy = container.termination_message_policy.clone().unwrap_or_else(|| "File".into());
    let annotations = [
        (names::CONTAINER_HASH, names::container_hash(container)),
        (names::RESTART_COUNT, restart_count.to_string()),
        (names::TERMINATION_PATH, termination_path(container).unwrap_or_default().to_owned()),
        (names::TERMINATION_POLICY, policy),
    ];
    let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let grace = grace.map(|seconds| (names::POD_GRACE, seconds.to_string()));
    let ports = container
        .ports
        .as_ref()
        .filter(|ports| !ports.is_empty())
        .and_then(|ports| serde_json::to_string(ports).ok());
    let ports = ports.map(|json| (names::CONTAINER_PORTS, json));
    annotations
        .into_iter()
        .chain(grace)
        .chain(ports)
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// Where the container may leave its last words; the API's default when the field is absent.
pub fn termination_path(container: &Container) -> Option<&str> {
    Some(container.termination_message_path.as_deref().unwrap_or("/dev/termination-log"))
        .filter(|path| !path.is_empty())
}

/// Whether the container gets the managed `/etc/hosts`; no volume can be in its way yet.
fn mounts(
    pod: &Pod,
    container: &Container,
    restart_count: u32,
    node: &NodeContext,
) -> Vec<cri::Mount> {
    let mount = |container_path: &str, host_path: PathBuf, readonly: bool| cri::Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.to_string_lossy().into_owned(),
        readonly,
        ..cri::Mount::default()
    };
    let uid = names::uid(pod);
    let readonly = container
        .security_context
        .as_ref()
        .and_then(|context| context.read_only_root_filesystem)
        .unwrap_or_default();
    let hosts = mount("/etc/hosts", node.paths.etc_hosts(uid), readonly);
    let message = termination_path(container).map(|path| {
        mount(path, node.paths.termination_log(uid, &container.name, restart_count), false)
    });
    std::iter::once(hosts).chain(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::pod;

    fn node() -> NodeContext {
        NodeContext {
            paths: Paths::new("/root", "/var/log"),
            cluster_domain: "cluster.local".into(),
            memory_capacity_bytes: 1 << 32,
        }
    }

    #[test]
    fn sandbox_config_carries_names_ports_and_logs() {
        let mut pod = pod(&["a"]);
        pod.spec.as_mut().expect("spec").containers[0].ports = Some(vec![ContainerPort {
            container_port: 53,
            protocol: Some("UDP".into()),
            host_port: Some(5353),
            ..ContainerPort::default()
        }]);
        let made = sandbox_config(&pod, 3, cri::DnsConfig::default(), &node()).expect("made");
        assert_eq!(made.hostname, "web");
        assert_eq!(made.log_directory, "/var/log/pods/default_web_u1");
        assert_eq!(made.metadata.as_ref().map(|metadata| metadata.attempt), Some(3));
        assert_eq!(made.labels[names::POD_UID], "u1");
        let port = &made.port_mappings[0];
        assert_eq!(
            (port.protocol, port.container_port, port.host_port),
            (cri::Protocol::Udp as i32, 53, 5353)
        );
    }

    #[test]
    fn ctr_01_command_and_args_are_expanded_and_passed() {
        let mut pod = pod(&["a"]);
        let container = &mut pod.spec.as_mut().expect("spec").containers[0];
        container.args = Some(vec!["-c".into(), "echo $(WHO) $$(WHO) $(NONE)".into()]);
        let container = container.clone();
        let input = ContainerInput {
            container: &container,
            restart_count: 2,
            image_ref: "sha256:1".into(),
            image_user: ImageUser::default(),
            environment: [("WHO".to_owned(), "me".to_owned())].into(),
        };
        let made = container_config(&pod, &input, &node()).expect("made");
        assert!(made.command.is_empty());
        assert_eq!(made.args, ["-c", "echo me $(WHO) $(NONE)"]);
        assert_eq!(made.log_path, "a/2.log");
        assert_eq!(made.annotations[names::RESTART_COUNT], "2");
        let paths: Vec<_> = made.mounts.iter().map(|mount| mount.container_path.as_str()).collect();
        assert_eq!(paths, ["/etc/hosts", "/dev/termination-log"]);
        assert_eq!(made.mounts[1].host_path, "/root/pods/u1/containers/a/termination-2");
    }
}
