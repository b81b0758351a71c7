//! What `kubectl get pods` shows: the one word for a pod's state, ready containers, restarts.
//!
//! Counterpart in Kubernetes: `printPod` in `pkg/printers/internalversion`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus,
};
use serde_json::Value;

use crate::columns::{self, column, human_since, or_none, wide};
use crate::kinds::Column;
use crate::report::{list, text};

pub(super) const COLUMNS: &[Column] = &[
    columns::NAME,
    column("Ready", "string", "Ready containers of all containers."),
    column("Status", "string", "State of the pod in a word."),
    column("Restarts", "string", "Restarts of the containers, and when the last one was."),
    columns::AGE,
    wide("IP", "string", "Address of the pod."),
    wide("Node", "string", "Node the pod is bound to."),
    wide("Nominated Node", "string", "Node on which room is being made for the pod."),
    wide("Readiness Gates", "string", "True conditions of those the pod waits for."),
];

/// Cells for [`COLUMNS`].
pub(super) fn row(pod: &Pod, now: Timestamp) -> Vec<Value> {
    let (spec, status) =
        (pod.spec.clone().unwrap_or_default(), pod.status.clone().unwrap_or_default());
    let summary = summarize(pod);
    let ip = list(&status.pod_ips).first().map(|ip| ip.ip.as_str());
    vec![
        columns::name(&pod.metadata),
        format!("{}/{}", summary.ready, summary.containers).into(),
        summary.status.into(),
        restarts(summary.restarts, summary.last_restart, now).into(),
        columns::age(&pod.metadata, now),
        or_none(ip),
        or_none(spec.node_name.as_deref()),
        or_none(status.nominated_node_name.as_deref()),
        readiness_gates(pod).into(),
    ]
}

/// A pod in numbers and a word.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    /// The word, e.g. `Running`, `Init:0/1`, `CrashLoopBackOff`, `Terminating`.
    pub status: String,
    /// Containers that are ready.
    pub ready: usize,
    /// Containers that are to run as long as the pod.
    pub containers: usize,
    /// Restarts of the containers that count at this stage of the pod's life.
    pub restarts: i32,
    /// When the last container ended that was restarted.
    pub last_restart: Option<Timestamp>,
}

/// The state of a pod as people read it.
pub fn summarize(pod: &Pod) -> Summary {
    let empty = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&empty);
    let init = pod.spec.as_ref().map(|s| list(&s.init_containers)).unwrap_or_default();
    let regular = pod.spec.as_ref().map_or(0, |s| s.containers.len());
    let sidecars = init.iter().filter(|c| is_sidecar(c)).count();
    let mut summary = Summary {
        status: phase_word(status),
        ready: 0,
        containers: regular + sidecars,
        restarts: 0,
        last_restart: None,
    };
    let initializing = summarize_init(status, init, &mut summary);
    if !initializing || has_condition(status, "Initialized") {
        keep_sidecar_restarts(status, init, &mut summary);
        summarize_containers(status, &mut summary);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        deleted_word(status, &mut summary);
    }
    summary
}

/// A sidecar is an init container that never ends.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn phase_word(status: &PodStatus) -> String {
    let gated = list(&status.conditions)
        .iter()
        .any(|c| c.type_ == "PodScheduled" && c.reason.as_deref() == Some("SchedulingGated"));
    let reason = text(&status.reason);
    let word = if reason.is_empty() { text(&status.phase) } else { reason };
    if gated { "SchedulingGated".to_owned() } else { word.to_owned() }
}

/// Goes through the init containers up to the first that has not done its work; true when there is one.
fn summarize_init(status: &PodStatus, init: &[Container], summary: &mut Summary) -> bool {
    for (i, container) in list(&status.init_container_statuses).iter().enumerate() {
        count_restarts(container, summary);
        let state = container.state.as_ref();
        let terminated = state.and_then(|s| s.terminated.as_ref());
        if terminated.is_some_and(|t| t.exit_code == 0) {
            continue;
        }
        if sidecar_status(container, init) && container.started == Some(true) {
            summary.ready += usize::from(container.ready);
            continue;
        }
        summary.status = init_word(state, i, init.len());
        return true;
    }
    false
}

fn init_word(state: Option<&ContainerState>, index: usize, total: usize) -> String {
    if let Some(terminated) = state.and_then(|s| s.terminated.as_ref()) {
        return format!("Init:{}", terminated_word(terminated));
    }
    match state.and_then(|s| s.waiting.as_ref()).map(|w| text(&w.reason)) {
        Some(reason) if !reason.is_empty() && reason != "PodInitializing" => {
            format!("Init:{reason}")
        }
        _ => format!("Init:{index}/{total}"),
    }
}

fn terminated_word(terminated: &ContainerStateTerminated) -> String {
    match (text(&terminated.reason), terminated.signal.unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", terminated.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// Once the pod is initialized, of the init containers only the sidecars' restarts count.
fn keep_sidecar_restarts(status: &PodStatus, init: &[Container], summary: &mut Summary) {
    (summary.restarts, summary.last_restart) = (0, None);
    for container in
        list(&status.init_container_statuses).iter().filter(|c| sidecar_status(c, init))
    {
        count_restarts(container, summary);
    }
}

/// The last container that has something to tell wins, looked at from the back.
fn summarize_containers(status: &PodStatus, summary: &mut Summary) {
    let (mut running, mut error) = (false, None);
    for container in list(&status.container_statuses).iter().rev() {
        count_restarts(container, summary);
        let Some(state) = &container.state else { continue };
        let waiting = state.waiting.as_ref().map(|w| text(&w.reason)).unwrap_or_default();
        if !waiting.is_empty() {
            summary.status = waiting.to_owned();
        } else if let Some(terminated) = &state.terminated {
            summary.status = terminated_word(terminated);
            if terminated.exit_code != 0 {
                error = Some(summary.status.clone());
            }
        } else if container.ready && state.running.is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.status == "Completed" {
        summary.status = completed_word(running, has_condition(status, "Ready"), error);
    }
}

/// One container has ended well; what the others do decides.
fn completed_word(running: bool, ready: bool, error: Option<String>) -> String {
    match error {
        _ if running && ready => "Running".to_owned(),
        Some(error) => error,
        None if running => "NotReady".to_owned(),
        None => "Completed".to_owned(),
    }
}

fn deleted_word(status: &PodStatus, summary: &mut Summary) {
    if status.reason.as_deref() == Some("NodeLost") {
        summary.status = "Unknown".to_owned();
    } else if !super::is_terminal(status) {
        summary.status = "Terminating".to_owned();
    }
}

fn count_restarts(container: &ContainerStatus, summary: &mut Summary) {
    summary.restarts += container.restart_count;
    let ended = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    summary.last_restart =
        summary.last_restart.max(ended.and_then(|t| t.finished_at.as_ref()).map(|t| t.0));
}

fn sidecar_status(status: &ContainerStatus, init: &[Container]) -> bool {
    init.iter().any(|c| c.name == status.name && is_sidecar(c))
}

fn has_condition(status: &PodStatus, type_: &str) -> bool {
    list(&status.conditions).iter().any(|c| c.type_ == type_ && c.status == "True")
}

fn restarts(count: i32, last: Option<Timestamp>, now: Timestamp) -> String {
    match last {
        Some(last) if count != 0 => format!("{count} ({} ago)", human_since(last, now)),
        _ => count.to_string(),
    }
}

fn readiness_gates(pod: &Pod) -> String {
    let gates = pod.spec.as_ref().map(|s| list(&s.readiness_gates)).unwrap_or_default();
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let conditions = pod.status.as_ref().map(|s| list(&s.conditions)).unwrap_or_default();
    let met = |gate: &str| {
        conditions.iter().find(|c| c.type_ == gate).is_some_and(|c| c.status == "True")
    };
    let count = gates.iter().filter(|g| met(&g.condition_type)).count();
    format!("{count}/{}", gates.len())
}

#[cfg(test)]
mod tests;
