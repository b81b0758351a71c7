//! What the runtime says about one pod, in the shape decisions are made from.
//!
//! Counterpart in Kubernetes: `kubecontainer.PodStatus`. Invariants: sandboxes and containers are ordered newest first; a
//! container's restart count comes from the annotation it was made with, so it survives a restart of the kubelet.

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use k8s_cri::v1 as cri;

use crate::names;

/// One pod as the runtime knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodRuntimeStatus {
    /// Sandboxes, newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Containers of all sandboxes and attempts, newest first.
    pub containers: Vec<ContainerRecord>,
}

/// A pod sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Sandbox {
    /// The runtime's identifier.
    pub id: String,
    /// Counts the sandboxes of one pod.
    pub attempt: u32,
    /// Whether it can hold containers.
    pub ready: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it uses the node's network.
    pub host_network: bool,
    /// Its addresses, the primary one first.
    pub ips: Vec<String>,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Running.
    Running,
    /// Ended.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// One attempt of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRecord {
    /// The runtime's identifier.
    pub id: String,
    /// The container's name in the pod.
    pub name: String,
    /// What it is doing.
    pub state: ContainerState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its exit code, meaningful once ended.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …
    pub reason: String,
    /// The runtime's message, with the container's own last words behind it.
    pub message: String,
    /// The image as the pod names it.
    pub image: String,
    /// The image by digest.
    pub image_ref: String,
    /// Attempts before this one.
    pub restart_count: u32,
    /// [`names::container_hash`] of its definition.
    pub hash: String,
    /// Its log file.
    pub log_path: String,
    /// Annotations it was made with.
    pub annotations: HashMap<String, String>,
    /// Its mounts, to find the termination message.
    pub mounts: Vec<(String, String)>,
}

impl PodRuntimeStatus {
    /// The newest attempt of a container.
    pub fn latest(&self, name: &str) -> Option<&ContainerRecord> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The sandbox that holds, or held last, the pod's containers.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first()
    }

    /// Addresses of the newest sandbox, as long as it is ready.
    pub fn ips(&self) -> &[String] {
        self.sandbox().filter(|sandbox| sandbox.ready).map_or(&[], |sandbox| &sandbox.ips)
    }

    /// Whether any container runs.
    pub fn any_running(&self) -> bool {
        self.containers.iter().any(|container| container.state == ContainerState::Running)
    }

    /// Dead attempts nobody needs any more: all but the newest two of each name, and never one that runs.
    ///
    /// The newest is the state, the one before is `lastState`.
    pub fn superseded(&self) -> Vec<&ContainerRecord> {
        let rank = |index: usize, name: &str| {
            self.containers[..index].iter().filter(|other| other.name == name).count()
        };
        let old = |(index, container): &(usize, &ContainerRecord)| {
            container.state != ContainerState::Running && rank(*index, &container.name) >= 2
        };
        self.containers.iter().enumerate().filter(old).map(|(_, container)| container).collect()
    }

    /// Builds the status from CRI's answers.
    pub fn from_cri(
        sandboxes: Vec<cri::PodSandboxStatus>,
        containers: Vec<cri::ContainerStatus>,
    ) -> Self {
        let mut sandboxes: Vec<_> = sandboxes.into_iter().map(Sandbox::from).collect();
        let mut containers: Vec<_> = containers.into_iter().map(ContainerRecord::from).collect();
        sandboxes.sort_by_key(|it| Reverse((it.created_at, it.attempt)));
        containers.sort_by_key(|it| Reverse((it.restart_count, it.created_at)));
        Self { sandboxes, containers }
    }
}

fn timestamp(nanos: i64) -> Option<Timestamp> {
    (nanos > 0).then(|| Timestamp::from_nanosecond(i128::from(nanos)).ok()).flatten()
}

impl From<cri::PodSandboxStatus> for Sandbox {
    fn from(status: cri::PodSandboxStatus) -> Self {
        let network = status.network.unwrap_or_default();
        let primary = Some(network.ip).filter(|ip| !ip.is_empty());
        let options = status
            .linux
            .and_then(|linux| linux.namespaces)
            .and_then(|namespaces| namespaces.options);
        Self {
            id: status.id,
            attempt: status.metadata.map_or(0, |metadata| metadata.attempt),
            ready: status.state == cri::PodSandboxState::SandboxReady as i32,
            created_at: timestamp(status.created_at).unwrap_or_default(),
            host_network: options
                .is_some_and(|options| options.network == cri::NamespaceMode::Node as i32),
            ips: primary
                .into_iter()
                .chain(network.additional_ips.into_iter().map(|ip| ip.ip))
                .collect(),
        }
    }
}

impl From<cri::ContainerStatus> for ContainerRecord {
    fn from(status: cri::ContainerStatus) -> Self {
        let metadata = status.metadata.unwrap_or_default();
        let annotated =
            status.annotations.get(names::RESTART_COUNT).and_then(|count| count.parse().ok());
        let state = match cri::ContainerState::try_from(status.state) {
            Ok(cri::ContainerState::ContainerCreated) => ContainerState::Created,
            Ok(cri::ContainerState::ContainerRunning) => ContainerState::Running,
            Ok(cri::ContainerState::ContainerExited) => ContainerState::Exited,
            _ => ContainerState::Unknown,
        };
        Self {
            id: status.id,
            name: status.labels.get(names::CONTAINER_NAME).cloned().unwrap_or(metadata.name),
            state,
            created_at: timestamp(status.created_at).unwrap_or_default(),
            started_at: timestamp(status.started_at),
            finished_at: timestamp(status.finished_at),
            exit_code: status.exit_code,
            reason: status.reason,
            message: status.message,
            image: status.image.map(image_name).unwrap_or_default(),
            image_ref: status.image_ref,
            restart_count: annotated.unwrap_or(metadata.attempt),
            hash: status.annotations.get(names::CONTAINER_HASH).cloned().unwrap_or_default(),
            log_path: status.log_path,
            annotations: status.annotations,
            mounts: status
                .mounts
                .into_iter()
                .map(|mount| (mount.container_path, mount.host_path))
                .collect(),
        }
    }
}

fn image_name(spec: cri::ImageSpec) -> String {
    if spec.user_specified_image.is_empty() { spec.image } else { spec.user_specified_image }
}
