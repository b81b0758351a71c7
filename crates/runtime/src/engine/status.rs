//! Sandboxes and containers in the CRI's words.

use super::{Container, Engine, Sandbox, State, lock, sandboxes};
use k8s_cri::v1;

impl Engine {
    /// The status of a sandbox.
    pub(crate) fn sandbox_status(&self, sandbox: &Sandbox) -> v1::PodSandboxStatus {
        let record = sandbox.record();
        let mut ips = record.ips.iter();
        let network = ips.next().map(|ip| v1::PodSandboxNetworkStatus {
            ip: ip.clone(),
            additional_ips: ips.map(|ip| v1::PodIp { ip: ip.clone() }).collect(),
        });
        let options = sandboxes::namespaces(&sandbox.config);
        v1::PodSandboxStatus {
            id: sandbox.id.clone(),
            metadata: sandbox.config.metadata.clone(),
            state: sandbox_state(sandbox) as i32,
            created_at: record.created_at,
            network: Some(network.unwrap_or_default()),
            linux: Some(v1::LinuxPodSandboxStatus {
                namespaces: Some(v1::Namespace { options: Some(options) }),
            }),
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
            runtime_handler: record.runtime_handler,
        }
    }

    /// A sandbox in a list.
    pub(crate) fn sandbox_item(&self, sandbox: &Sandbox) -> v1::PodSandbox {
        let record = sandbox.record();
        v1::PodSandbox {
            id: sandbox.id.clone(),
            metadata: sandbox.config.metadata.clone(),
            state: sandbox_state(sandbox) as i32,
            created_at: record.created_at,
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
            runtime_handler: record.runtime_handler,
        }
    }

    /// The status of a container.
    pub(crate) fn container_status(&self, container: &Container) -> v1::ContainerStatus {
        let (record, state) = (container.record(), container.state());
        let exit = match &state {
            State::Exited(exit) => Some(exit.clone()),
            State::Created | State::Running { .. } => None,
        };
        let started_at = if state == State::Created { 0 } else { record.started_at.unwrap_or(0) };
        let resources = container.config.linux.as_ref().and_then(|l| l.resources.clone());
        let (uid, gid, groups) = record.user;
        v1::ContainerStatus {
            id: container.id.clone(),
            metadata: container.config.metadata.clone(),
            state: container_state(&state) as i32,
            created_at: record.created_at,
            started_at,
            finished_at: exit.as_ref().map_or(0, |e| e.finished_at),
            exit_code: exit.as_ref().map_or(0, |e| e.code),
            image: container.config.image.clone(),
            image_ref: record.image_ref,
            image_id: record.image_id,
            reason: exit.as_ref().map_or_else(String::new, |e| e.reason().to_owned()),
            message: exit.and_then(|e| e.message).unwrap_or_default(),
            labels: container.config.labels.clone(),
            annotations: container.config.annotations.clone(),
            mounts: container.config.mounts.clone(),
            log_path: record
                .log_path
                .map_or_else(String::new, |p| p.to_string_lossy().into_owned()),
            resources: resources
                .map(|linux| v1::ContainerResources { linux: Some(linux), windows: None }),
            user: Some(v1::ContainerUser {
                linux: Some(v1::LinuxContainerUser {
                    uid: uid.into(),
                    gid: gid.into(),
                    supplemental_groups: groups.into_iter().map(Into::into).collect(),
                }),
            }),
        }
    }

    /// A container in a list.
    pub(crate) fn container_item(&self, container: &Container) -> v1::Container {
        let record = container.record();
        v1::Container {
            id: container.id.clone(),
            pod_sandbox_id: record.sandbox,
            metadata: container.config.metadata.clone(),
            image: container.config.image.clone(),
            image_ref: record.image_ref,
            image_id: record.image_id,
            state: container_state(&container.state()) as i32,
            created_at: record.created_at,
            labels: container.config.labels.clone(),
            annotations: container.config.annotations.clone(),
        }
    }

    /// The sandboxes that `filter` lets through, by id.
    pub(crate) fn list_sandboxes(
        &self,
        filter: Option<&v1::PodSandboxFilter>,
    ) -> Vec<v1::PodSandbox> {
        let sandboxes: Vec<_> = lock(&self.known).sandboxes.values().cloned().collect();
        let items = sandboxes.iter().map(|s| self.sandbox_item(s));
        items.filter(|item| filter.is_none_or(|f| sandbox_matches(item, f))).collect()
    }

    /// The containers that `filter` lets through, by id.
    pub(crate) fn list_containers(
        &self,
        filter: Option<&v1::ContainerFilter>,
    ) -> Vec<v1::Container> {
        let containers: Vec<_> = lock(&self.known).containers.values().cloned().collect();
        let items = containers.iter().map(|c| self.container_item(c));
        items.filter(|item| filter.is_none_or(|f| container_matches(item, f))).collect()
    }
}

fn sandbox_state(sandbox: &Sandbox) -> v1::PodSandboxState {
    if sandbox.is_ready() {
        v1::PodSandboxState::SandboxReady
    } else {
        v1::PodSandboxState::SandboxNotready
    }
}

fn container_state(state: &State) -> v1::ContainerState {
    match state {
        State::Created => v1::ContainerState::ContainerCreated,
        State::Running { .. } => v1::ContainerState::ContainerRunning,
        State::Exited(_) => v1::ContainerState::ContainerExited,
    }
}

type Labels = std::collections::HashMap<String, String>;

/// Whether all of `selector` is in `labels`.
pub(super) fn labels_match(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn sandbox_matches(item: &v1::PodSandbox, filter: &v1::PodSandboxFilter) -> bool {
    item.id.starts_with(&filter.id)
        && filter.state.as_ref().is_none_or(|state| state.state == item.state)
        && labels_match(&filter.label_selector, &item.labels)
}

fn container_matches(item: &v1::Container, filter: &v1::ContainerFilter) -> bool {
    item.id.starts_with(&filter.id)
        && item.pod_sandbox_id.starts_with(&filter.pod_sandbox_id)
        && filter.state.as_ref().is_none_or(|state| state.state == item.state)
        && labels_match(&filter.label_selector, &item.labels)
}
