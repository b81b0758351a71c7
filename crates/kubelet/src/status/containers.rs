//! The status of each container.
//!
//! Counterpart in Kubernetes: `convertToAPIContainerStatuses` of `kubelet_pods.go`. Invariant: `state` is the newest attempt,
//! `lastState` the one before it, and a container that is about to be started again shows why it is not.

use k8s_openapi::api::core::v1::{
    Container, ContainerState as State, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, PodSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::StatusInput;
use crate::pod_actions::should_be_restarted;
use crate::runtime_status::{ContainerRecord, ContainerState};

/// The exit code reported for a container that ran and then could not be found.
const LOST_EXIT_CODE: i32 = 137;

/// One status per container of the spec, sorted by name.
pub(super) fn statuses(input: &StatusInput<'_>, spec: &PodSpec) -> Vec<ContainerStatus> {
    let mut statuses: Vec<_> =
        spec.containers.iter().map(|container| status(input, spec, container)).collect();
    statuses.sort_by(|a, b| a.name.cmp(&b.name));
    statuses
}

fn status(input: &StatusInput<'_>, spec: &PodSpec, container: &Container) -> ContainerStatus {
    let old = input.old.container_statuses.iter().flatten().find(|old| old.name == container.name);
    let mut attempts =
        input.runtime.containers.iter().filter(|record| record.name == container.name);
    let newest = attempts.next();
    let mut status = match newest {
        Some(record) => from_record(input, record, old),
        None => without_record(input, container, old),
    };
    if let Some(previous) = attempts.next() {
        status.last_state = Some(state(input, previous, None));
    }
    let restarting = input.pod.metadata.deletion_timestamp.is_none()
        && !input.terminal
        && should_be_restarted(spec, newest);
    if let Some(why) =
        input.waiting.get(&container.name).filter(|_| restarting && input.rejection.is_none())
    {
        show_waiting(&mut status, why.reason.clone(), why.message.clone());
    }
    let running = status.state.as_ref().is_some_and(|state| state.running.is_some());
    status.ready = running;
    status.started = Some(running);
    status.resources = container.resources.clone().or_else(|| running.then(Default::default));
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.clone());
    status.allocated_resources = requests.filter(|requests| !requests.is_empty());
    status
}

fn show_waiting(status: &mut ContainerStatus, reason: String, message: String) {
    let waiting = ContainerStateWaiting {
        reason: Some(reason),
        message: Some(message).filter(|text| !text.is_empty()),
    };
    let before = status.state.replace(State { waiting: Some(waiting), ..State::default() });
    if let Some(before) = before.filter(|state| state.terminated.is_some()) {
        status.last_state = Some(before);
    }
}

fn from_record(
    input: &StatusInput<'_>,
    record: &ContainerRecord,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    ContainerStatus {
        name: record.name.clone(),
        image: record.image.clone(),
        image_id: record.image_ref.clone(),
        container_id: Some(container_id(input, record)),
        restart_count: i32::try_from(record.restart_count).unwrap_or(i32::MAX),
        state: Some(state(input, record, old)),
        last_state: old.and_then(|old| last_state(input, record, old)),
        ..ContainerStatus::default()
    }
}

/// What the attempt before was, in case the runtime has already forgotten it.
fn last_state(
    input: &StatusInput<'_>,
    record: &ContainerRecord,
    old: &ContainerStatus,
) -> Option<State> {
    let ended = old.state.clone().filter(|state| state.terminated.is_some());
    let replaced = old.container_id.as_deref() != Some(container_id(input, record).as_str());
    ended.filter(|_| replaced).or_else(|| old.last_state.clone())
}

fn container_id(input: &StatusInput<'_>, record: &ContainerRecord) -> String {
    format!("{}://{}", input.runtime_name, record.id)
}

fn state(
    input: &StatusInput<'_>,
    record: &ContainerRecord,
    old: Option<&ContainerStatus>,
) -> State {
    let was_running =
        old.and_then(|old| old.state.as_ref()).is_some_and(|state| state.running.is_some());
    match record.state {
        ContainerState::Running => State {
            running: Some(ContainerStateRunning { started_at: record.started_at.map(Time) }),
            ..State::default()
        },
        ContainerState::Exited => State {
            terminated: Some(ContainerStateTerminated {
                container_id: Some(container_id(input, record)),
                exit_code: record.exit_code,
                reason: Some(record.reason.clone()).filter(|text| !text.is_empty()),
                message: Some(record.message.clone()).filter(|text| !text.is_empty()),
                // A container that never started has the epoch here, which is what Kubernetes shows too.
                started_at: Some(Time(record.started_at.unwrap_or_default())),
                finished_at: Some(Time(record.finished_at.unwrap_or_default())),
                signal: None,
            }),
            ..State::default()
        },
        ContainerState::Unknown if was_running => {
            lost("The container could not be located when the pod was terminated")
        }
        ContainerState::Created | ContainerState::Unknown => {
            State { waiting: Some(ContainerStateWaiting::default()), ..State::default() }
        }
    }
}

fn lost(message: &str) -> State {
    let terminated = ContainerStateTerminated {
        exit_code: LOST_EXIT_CODE,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some(message.to_owned()),
        ..ContainerStateTerminated::default()
    };
    State { terminated: Some(terminated), ..State::default() }
}

fn without_record(
    input: &StatusInput<'_>,
    container: &Container,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    let creating =
        ContainerStateWaiting { reason: Some("ContainerCreating".into()), message: None };
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state: Some(State { waiting: Some(creating), ..State::default() }),
        ..ContainerStatus::default()
    };
    let Some(old) = old else { return status };
    if old.state.as_ref().is_some_and(|state| state.terminated.is_some()) {
        return old.clone();
    }
    status.restart_count = old.restart_count;
    status.last_state.clone_from(&old.last_state);
    let was_running = old.state.as_ref().is_some_and(|state| state.running.is_some());
    let ending = input.pod.metadata.deletion_timestamp.is_some() || input.terminal;
    if was_running && ending {
        status.state = Some(lost(
            "The container could not be located when the pod was deleted.  The container used to be Running",
        ));
    }
    status
}
