//! What has to be done so that a pod's containers become what its spec says.
//!
//! Counterpart in Kubernetes: `computePodActions` and `doBackOff` of `kuberuntime_manager.go`. Invariants: pure; the same
//! observation gives the same actions; once they are done and nothing else happens, the next answer is empty.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use crate::backoff::{Backoff, go_duration};
use crate::names;
use crate::runtime_status::{ContainerRecord, ContainerState, PodRuntimeStatus};

/// Waits of one pod that outlive a single look at it.
#[derive(Clone, Debug, Default)]
pub struct Backoffs {
    /// Crashes, by [`crash_key`].
    pub crashes: Backoff,
    /// Failed pulls, by image.
    pub pulls: Backoff,
}

/// What to do, in this order: kill, make the sandbox, start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodActions {
    /// Stop every container and every sandbox the pod has.
    pub kill_pod: bool,
    /// Make a new sandbox.
    pub create_sandbox: bool,
    /// The sandbox to use, or the one that is being replaced.
    pub sandbox_id: Option<String>,
    /// The attempt the new sandbox gets.
    pub attempt: u32,
    /// Single containers to stop.
    pub kill: Vec<KillContainer>,
    /// Containers to start, by index into `spec.containers`.
    pub start: Vec<StartContainer>,
    /// Containers that will be started later.
    pub wait: Vec<WaitContainer>,
}

/// A container to stop.
#[derive(Clone, Debug, PartialEq)]
pub struct KillContainer {
    /// The runtime's identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The event's text.
    pub message: String,
}

/// A container to start.
#[derive(Clone, Debug, PartialEq)]
pub struct StartContainer {
    /// Index into `spec.containers`.
    pub index: usize,
    /// Restarts before this start; also the attempt.
    pub restart_count: u32,
    /// When the previous attempt crashed, if it did: counts toward the back-off.
    pub crashed_at: Option<Timestamp>,
}

/// A container that crashed too recently.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitContainer {
    /// Index into `spec.containers`.
    pub index: usize,
    /// The message of the waiting state.
    pub message: String,
    /// The text of the event.
    pub event: String,
    /// When it may start.
    pub until: Timestamp,
}

impl PodActions {
    /// Whether there is nothing to do now.
    pub fn is_empty(&self) -> bool {
        !self.kill_pod && !self.create_sandbox && self.kill.is_empty() && self.start.is_empty()
    }

    /// When to look again even if nothing happens.
    pub fn requeue_at(&self) -> Option<Timestamp> {
        self.wait.iter().map(|wait| wait.until).min()
    }
}

/// The key of a container's crashes; a new image starts over.
pub fn crash_key(container: &Container) -> String {
    format!("{}/{}", container.name, container.image.as_deref().unwrap_or_default())
}

/// Decides what to do for `pod`, whose parts in the runtime are `status`.
pub fn compute_pod_actions(
    pod: &Pod,
    status: &PodRuntimeStatus,
    backoffs: &Backoffs,
    now: Timestamp,
) -> PodActions {
    let Some(spec) = &pod.spec else { return PodActions::default() };
    let sandbox = sandbox_decision(spec, status);
    let mut actions = PodActions {
        attempt: sandbox.attempt,
        sandbox_id: sandbox.id,
        kill_pod: sandbox.replace,
        ..PodActions::default()
    };
    if sandbox.replace {
        let candidates = startable_in_new_sandbox(spec, status);
        actions.create_sandbox = !candidates.is_empty();
        schedule_starts(&mut actions, pod, spec, status, backoffs, now, candidates);
        return actions;
    }
    let (keep, candidates) = inspect_containers(&mut actions, spec, status);
    schedule_starts(&mut actions, pod, spec, status, backoffs, now, candidates);
    actions.kill_pod = keep == 0 && actions.start.is_empty() && actions.wait.is_empty();
    actions
}

struct SandboxDecision {
    replace: bool,
    attempt: u32,
    id: Option<String>,
}

fn sandbox_decision(spec: &PodSpec, status: &PodRuntimeStatus) -> SandboxDecision {
    let Some(newest) = status.sandbox() else {
        return SandboxDecision { replace: true, attempt: 0, id: None };
    };
    let host_network = spec.host_network.unwrap_or_default();
    let several = status.sandboxes.iter().filter(|sandbox| sandbox.ready).count() > 1;
    let unusable = !newest.ready
        || newest.host_network != host_network
        || (!host_network && newest.ips.is_empty());
    let replace = several || unusable;
    SandboxDecision {
        replace,
        attempt: newest.attempt + u32::from(replace),
        id: Some(newest.id.clone()),
    }
}

/// Containers a new sandbox would get. None of them means that there is no reason for a new sandbox.
fn startable_in_new_sandbox(spec: &PodSpec, status: &PodRuntimeStatus) -> Vec<usize> {
    let never = restart_policy(spec) == RestartPolicy::Never;
    if never && !status.sandboxes.is_empty() && !status.containers.is_empty() {
        return Vec::new();
    }
    let on_failure = restart_policy(spec) == RestartPolicy::OnFailure;
    let done =
        |container: &Container| on_failure && status.latest(&container.name).is_some_and(succeeded);
    spec.containers
        .iter()
        .enumerate()
        .filter(|(_, container)| !done(container))
        .map(|(index, _)| index)
        .collect()
}

fn succeeded(record: &ContainerRecord) -> bool {
    record.state == ContainerState::Exited && record.exit_code == 0
}

/// Sorts the containers into those to keep (counted), to kill (into `actions`) and to start (returned).
fn inspect_containers(
    actions: &mut PodActions,
    spec: &PodSpec,
    status: &PodRuntimeStatus,
) -> (usize, Vec<usize>) {
    let (mut keep, mut candidates) = (0, Vec::new());
    for (index, container) in spec.containers.iter().enumerate() {
        let record = status.latest(&container.name);
        let running = record.filter(|record| record.state == ContainerState::Running);
        match running {
            Some(record) if record.hash == names::container_hash(container) => keep += 1,
            Some(record) => {
                let message =
                    format!("Container {} definition changed, will be restarted", container.name);
                actions.kill.push(KillContainer {
                    id: record.id.clone(),
                    name: container.name.clone(),
                    message,
                });
                candidates.push(index);
            }
            None if should_be_restarted(spec, record) => {
                actions.kill.extend(
                    record
                        .filter(|record| record.state == ContainerState::Unknown)
                        .map(kill_unknown),
                );
                candidates.push(index);
            }
            None => {}
        }
    }
    (keep, candidates)
}

fn kill_unknown(record: &ContainerRecord) -> KillContainer {
    let message = "Container is in \"unknown\" state, try killing it before restart".to_owned();
    KillContainer { id: record.id.clone(), name: record.name.clone(), message }
}

/// `spec.restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Restart whatever the exit code.
    Always,
    /// Restart when the exit code is not zero.
    OnFailure,
    /// Do not restart.
    Never,
}

/// The pod's restart policy; absent means `Always`.
pub fn restart_policy(spec: &PodSpec) -> RestartPolicy {
    match spec.restart_policy.as_deref() {
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some("Never") => RestartPolicy::Never,
        _ => RestartPolicy::Always,
    }
}

/// Whether a container that ended with `exit_code` is started again.
pub fn restarts_after(spec: &PodSpec, exit_code: i32) -> bool {
    match restart_policy(spec) {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit_code != 0,
        RestartPolicy::Never => false,
    }
}

/// Whether a container that does not run has to be started; `record` is its newest attempt.
pub fn should_be_restarted(spec: &PodSpec, record: Option<&ContainerRecord>) -> bool {
    match record {
        None => true,
        Some(record) => match record.state {
            ContainerState::Running => false,
            ContainerState::Created | ContainerState::Unknown => true,
            ContainerState::Exited => restarts_after(spec, record.exit_code),
        },
    }
}

fn schedule_starts(
    actions: &mut PodActions,
    pod: &Pod,
    spec: &PodSpec,
    status: &PodRuntimeStatus,
    backoffs: &Backoffs,
    now: Timestamp,
    candidates: Vec<usize>,
) {
    for index in candidates {
        let container = &spec.containers[index];
        let crashed = status
            .containers
            .iter()
            .find(|it| it.name == container.name && it.state == ContainerState::Exited);
        let crashed_at = crashed.map(|record| record.finished_at.unwrap_or(record.created_at));
        let wait =
            crashed_at.and_then(|at| backoffs.crashes.waiting(&crash_key(container), at, now));
        match wait {
            Some(wait) => actions.wait.push(WaitContainer {
                index,
                message: format!(
                    "back-off {} restarting failed container={} pod={}",
                    go_duration(wait.delay),
                    container.name,
                    names::display(pod)
                ),
                event: format!(
                    "Back-off restarting failed container {} in pod {}",
                    container.name,
                    names::display(pod)
                ),
                until: wait.until,
            }),
            None => {
                let restart_count =
                    status.latest(&container.name).map_or(0, |record| record.restart_count + 1);
                actions.start.push(StartContainer { index, restart_count, crashed_at });
            }
        }
    }
}

#[cfg(test)]
mod tests;
