//! The status of a pod as the API shows it, from its spec and what the runtime says.
//!
//! Counterpart in Kubernetes: `generateAPIPodStatus` of `kubelet_pods.go` and `status/generate.go`. Invariants: pure; a pod
//! never leaves phase Succeeded or Failed; conditions of others are left alone; a condition's transition time moves only with
//! its status.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::pod_actions::restarts_after;
use crate::resources::qos_class;
use crate::runtime_status::PodRuntimeStatus;

mod conditions;
mod containers;

pub use conditions::KUBELET_CONDITIONS;

/// Why a container does not run, beyond what the runtime knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingReason {
    /// `ErrImagePull`, `CrashLoopBackOff`, …
    pub reason: String,
    /// The text for people.
    pub message: String,
}

/// Why the kubelet itself ended a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason in the pod's status.
    pub reason: String,
    /// The text for people.
    pub message: String,
}

/// What a status is made from.
pub struct StatusInput<'a> {
    /// The pod, with the status the API has.
    pub pod: &'a Pod,
    /// What the runtime says.
    pub runtime: &'a PodRuntimeStatus,
    /// The last status this kubelet made; the API's when it has made none.
    pub old: &'a PodStatus,
    /// Why containers do not start, by container.
    pub waiting: &'a BTreeMap<String, WaitingReason>,
    /// All containers have ended and none will be started again.
    pub terminal: bool,
    /// Set when the kubelet refuses to run the pod.
    pub rejection: Option<&'a Rejection>,
    /// The node's addresses.
    pub node_ips: &'a [IpAddr],
    /// The scheme of container ids, such as `knarr`.
    pub runtime_name: &'a str,
    /// The time of day.
    pub now: Timestamp,
}

/// Makes the status.
pub fn generate_pod_status(input: &StatusInput<'_>) -> PodStatus {
    let Some(spec) = &input.pod.spec else { return input.old.clone() };
    let containers = containers::statuses(input, spec);
    let (phase, reason, message) = phase_and_reason(input, spec, &containers);
    let pod_ips = pod_ips(input, spec);
    let api = input.pod.status.clone().unwrap_or_default();
    let mut status = PodStatus {
        phase: Some(phase),
        reason,
        message,
        pod_ip: pod_ips.first().cloned(),
        pod_ips: (!pod_ips.is_empty())
            .then(|| pod_ips.into_iter().map(|ip| PodIP { ip }).collect()),
        host_ip: input.node_ips.first().map(ToString::to_string),
        host_ips: Some(input.node_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        start_time: input
            .old
            .start_time
            .clone()
            .or(api.start_time.clone())
            .or(Some(Time(input.now))),
        qos_class: api.qos_class.clone().or_else(|| Some(qos_class(spec).as_str().to_owned())),
        observed_generation: input.pod.metadata.generation,
        container_statuses: Some(containers),
        ..api
    };
    status.conditions = Some(conditions::conditions(input, spec, &status));
    status
}

fn pod_ips(input: &StatusInput<'_>, spec: &PodSpec) -> Vec<String> {
    if spec.host_network.unwrap_or_default() {
        return input.node_ips.iter().map(ToString::to_string).collect();
    }
    let current = input.runtime.ips();
    if !current.is_empty() {
        return current.to_vec();
    }
    // A pod that has ended keeps the address it had, as people look for it afterwards.
    let ended = input.terminal || is_terminal(input.old.phase.as_deref());
    input.old.pod_ips.iter().flatten().filter(|_| ended).map(|ip| ip.ip.clone()).collect()
}

/// Whether a phase is final.
pub fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

type PhaseAndReason = (String, Option<String>, Option<String>);

fn phase_and_reason(
    input: &StatusInput<'_>,
    spec: &PodSpec,
    containers: &[ContainerStatus],
) -> PhaseAndReason {
    if let Some(rejection) = input.rejection {
        return ("Failed".into(), Some(rejection.reason.clone()), Some(rejection.message.clone()));
    }
    let api = input.pod.status.as_ref();
    let api_phase = api.and_then(|status| status.phase.as_deref());
    let fixed = [api_phase, input.old.phase.as_deref()]
        .into_iter()
        .find(|phase| is_terminal(*phase))
        .flatten();
    let phase = fixed.unwrap_or_else(|| phase(spec, containers, input.terminal));
    let keep = input.old.phase.as_deref() == Some(phase);
    let kept = |old: &Option<String>, api: Option<&String>| {
        old.clone().or_else(|| api.cloned()).filter(|_| keep)
    };
    let reason = kept(&input.old.reason, api.and_then(|status| status.reason.as_ref()));
    let message = kept(&input.old.message, api.and_then(|status| status.message.as_ref()));
    (phase.to_owned(), reason, message)
}

/// The phase that follows from the states of the containers.
pub fn phase(spec: &PodSpec, statuses: &[ContainerStatus], terminal: bool) -> &'static str {
    let mut count = Count::default();
    for container in &spec.containers {
        count.add(spec, statuses.iter().find(|status| status.name == container.name));
    }
    match count {
        Count { waiting: 1.., .. } => "Pending",
        Count { running: 1.., unknown: 0, .. } => "Running",
        Count { running: 0, stopped: 1.., unknown: 0, .. }
            if !terminal && count.restartable > 0 =>
        {
            "Running"
        }
        Count { running: 0, stopped: 1.., unknown: 0, .. } if count.stopped == count.succeeded => {
            "Succeeded"
        }
        Count { running: 0, stopped: 1.., unknown: 0, .. } => "Failed",
        _ => "Pending",
    }
}

#[derive(Default)]
struct Count {
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    restartable: usize,
    succeeded: usize,
}

impl Count {
    fn add(&mut self, spec: &PodSpec, status: Option<&ContainerStatus>) {
        let state = status.and_then(|status| status.state.as_ref());
        let last = status
            .and_then(|status| status.last_state.as_ref())
            .and_then(|state| state.terminated.as_ref());
        match state {
            Some(state) if state.running.is_some() => self.running += 1,
            Some(state) if state.terminated.is_some() => {
                let exit_code =
                    state.terminated.as_ref().map_or(0, |terminated| terminated.exit_code);
                self.stop(spec, exit_code);
                self.succeeded += usize::from(exit_code == 0);
            }
            Some(state) if state.waiting.is_some() => match last {
                Some(last) => self.stop(spec, last.exit_code),
                None => self.waiting += 1,
            },
            _ => self.unknown += 1,
        }
    }

    fn stop(&mut self, spec: &PodSpec, exit_code: i32) {
        self.stopped += 1;
        self.restartable += usize::from(restarts_after(spec, exit_code));
    }
}

/// The condition of a type, if the status has it.
pub fn condition<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests;
