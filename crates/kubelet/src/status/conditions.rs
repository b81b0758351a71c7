//! The conditions of a pod that the kubelet owns.
//!
//! Counterpart in Kubernetes: `status/generate.go`. Invariant: conditions of other owners are kept as they are, before ours.

use k8s_openapi::api::core::v1::{PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{StatusInput, condition};

/// The types this kubelet writes, in the order it writes them.
pub const KUBELET_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

struct Verdict {
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self { status: true, reason: None, message: None }
    }

    fn no(reason: &'static str, message: Option<String>) -> Self {
        Self { status: false, reason: Some(reason), message }
    }
}

/// All conditions of the new status; `status` has everything else already.
pub(super) fn conditions(
    input: &StatusInput<'_>,
    spec: &PodSpec,
    status: &PodStatus,
) -> Vec<PodCondition> {
    let foreign =
        |condition: &&PodCondition| !KUBELET_CONDITIONS.contains(&condition.type_.as_str());
    let api = input.pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut conditions: Vec<_> = api.filter(foreign).cloned().collect();
    let containers_ready = containers_ready(spec, status);
    let ready = ready(spec, &conditions, &containers_ready);
    let verdicts =
        [sandbox_ready(input), initialized(status), ready, containers_ready, Verdict::yes()];
    conditions.extend(
        KUBELET_CONDITIONS.iter().zip(verdicts).map(|(type_, verdict)| make(input, type_, verdict)),
    );
    conditions
}

fn make(input: &StatusInput<'_>, type_: &str, verdict: Verdict) -> PodCondition {
    let status = if verdict.status { "True" } else { "False" };
    let api = input.pod.status.as_ref().and_then(|api| condition(api, type_));
    let before = condition(input.old, type_).or(api).filter(|old| old.status == status);
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        observed_generation: input.pod.metadata.generation,
        last_probe_time: None,
        last_transition_time: before
            .and_then(|old| old.last_transition_time.clone())
            .or(Some(Time(input.now))),
    }
}

fn sandbox_ready(input: &StatusInput<'_>) -> Verdict {
    let host_network =
        input.pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
    let ready = input
        .runtime
        .sandbox()
        .is_some_and(|sandbox| sandbox.ready && (host_network || !sandbox.ips.is_empty()));
    Verdict { status: ready, reason: None, message: None }
}

fn initialized(status: &PodStatus) -> Verdict {
    let completed = status.phase.as_deref() == Some("Succeeded");
    Verdict { reason: completed.then_some("PodCompleted"), ..Verdict::yes() }
}

fn containers_ready(spec: &PodSpec, status: &PodStatus) -> Verdict {
    match status.phase.as_deref() {
        Some("Succeeded") => return Verdict::no("PodCompleted", None),
        Some("Failed") => return Verdict::no("PodFailed", None),
        _ => {}
    }
    let find =
        |name: &str| status.container_statuses.iter().flatten().find(|status| status.name == name);
    let names = || spec.containers.iter().map(|container| container.name.as_str());
    let unknown: Vec<_> = names().filter(|name| find(name).is_none()).collect();
    let unready: Vec<_> =
        names().filter(|name| find(name).is_some_and(|status| !status.ready)).collect();
    let part = |label: &str, names: &[&str]| {
        (!names.is_empty())
            .then(|| format!("containers with {label} status: [{}]", names.join(" ")))
    };
    let message = [part("unknown", &unknown), part("unready", &unready)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    if message.is_empty() {
        Verdict::yes()
    } else {
        Verdict::no("ContainersNotReady", Some(message))
    }
}

fn ready(spec: &PodSpec, foreign: &[PodCondition], containers: &Verdict) -> Verdict {
    if !containers.status {
        return Verdict {
            status: false,
            reason: containers.reason,
            message: containers.message.clone(),
        };
    }
    let gates = spec.readiness_gates.iter().flatten().map(|gate| gate.condition_type.as_str());
    let closed =
        gates.filter_map(|gate| match foreign.iter().find(|condition| condition.type_ == gate) {
            None => Some(format!(
                "corresponding condition of pod readiness gate {gate:?} does not exist."
            )),
            Some(condition) if condition.status != "True" => Some(format!(
                "the status of pod readiness gate {gate:?} is not \"True\", but {}",
                condition.status
            )),
            Some(_) => None,
        });
    let message = closed.collect::<Vec<_>>().join(", ");
    if message.is_empty() {
        Verdict::yes()
    } else {
        Verdict::no("ReadinessGatesNotReady", Some(message))
    }
}
