//! What may change in a pod: images, the deadline, tolerations that come in addition, and gates that open.
//!
//! Counterpart in Kubernetes: `ValidatePodUpdate` and `ValidatePodStatusUpdate` in `pkg/apis/core/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerStatus, NodeAffinity, NodeSelectorTerm, Pod, PodSchedulingGate,
    PodSpec, PodStatus, Toleration,
};

use super::validation::{APP_ARMOR, MAX_DEADLINE_SECONDS, MIRROR};
use super::{columns::is_sidecar, scheduling};
use crate::net;
use crate::report::{Report, list, text};

/// The sentence that tells people what they may change.
const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const ADDITIONS_ONLY: &str = "only additions are allowed (no mutations or deletions)";

/// Rules for a change of a pod's spec.
pub(super) fn validate(new: &Pod, old: &Pod, errors: &mut ErrorList) {
    validate_annotations(new, old, errors);
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    let at = Path::new("spec");
    if !validate_containers(&new.containers, &old.containers, &at.child("containers"), errors) {
        return;
    }
    let (new_init, old_init) = (list(&new.init_containers), list(&old.init_containers));
    if !validate_containers(new_init, old_init, &at.child("initContainers"), errors) {
        return;
    }
    let deadlines = (new.active_deadline_seconds, old.active_deadline_seconds);
    if !validate_deadline(deadlines.0, deadlines.1, &at.child("activeDeadlineSeconds"), errors) {
        return;
    }
    validate_tolerations(
        list(&new.tolerations),
        list(&old.tolerations),
        &at.child("tolerations"),
        errors,
    );
    validate_gates(
        list(&new.scheduling_gates),
        list(&old.scheduling_gates),
        &at.child("schedulingGates"),
        errors,
    );
    if new != old {
        validate_rest(new, old, &at, errors);
    }
}

/// Annotations that say how the pod was made cannot be taken back.
fn validate_annotations(new: &Pod, old: &Pod, errors: &mut ErrorList) {
    let at = Path::new("metadata").child("annotations");
    let empty = Default::default();
    let (new, old) = (
        new.metadata.annotations.as_ref().unwrap_or(&empty),
        old.metadata.annotations.as_ref().unwrap_or(&empty),
    );
    for key in old.keys().filter(|key| new.get(*key) != old.get(*key)) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&at.key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&at.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for key in new.keys().filter(|key| !old.contains_key(*key)) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&at.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&at.key(key), "may not add mirror pod annotation");
        }
    }
}

/// Containers stay; false when they do not, so that there is nothing more to compare.
fn validate_containers(
    new: &[Container],
    old: &[Container],
    at: &Path,
    errors: &mut ErrorList,
) -> bool {
    if new.len() != old.len() {
        errors.forbidden(at, "pod updates may not add or remove containers");
    }
    new.len() == old.len()
}

/// A deadline can come nearer, and never goes away.
fn validate_deadline(
    new: Option<i64>,
    old: Option<i64>,
    at: &Path,
    errors: &mut ErrorList,
) -> bool {
    match (new, old) {
        (Some(new), _) if !(0..=MAX_DEADLINE_SECONDS).contains(&new) => {
            errors.invalid(at, new, names::range_error(0, MAX_DEADLINE_SECONDS));
            false
        }
        (Some(new), Some(old)) if old < new => {
            errors.invalid(at, new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(at, (), "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

/// Old tolerations stay, but for their seconds.
fn validate_tolerations(new: &[Toleration], old: &[Toleration], at: &Path, errors: &mut ErrorList) {
    let kept = |old: &Toleration| {
        new.iter().any(|new| {
            Toleration { toleration_seconds: new.toleration_seconds, ..old.clone() } == *new
        })
    };
    if !old.iter().all(kept) {
        return errors
            .forbidden(at, "existing toleration can not be modified except its tolerationSeconds");
    }
    scheduling::validate_tolerations(new, at, errors);
}

fn validate_gates(
    new: &[PodSchedulingGate],
    old: &[PodSchedulingGate],
    at: &Path,
    errors: &mut ErrorList,
) {
    for (i, gate) in new.iter().enumerate().filter(|(_, gate)| !old.contains(gate)) {
        let detail =
            format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
        errors.forbidden(&at.index(i).child("name"), detail);
    }
}

/// Everything that may not change at all: what remains different once the allowed changes are undone.
fn validate_rest(new: &PodSpec, old: &PodSpec, at: &Path, errors: &mut ErrorList) {
    let mut undone = new.clone();
    undo_images(&mut undone.containers, &old.containers);
    undo_images(
        undone.init_containers.as_deref_mut().unwrap_or_default(),
        list(&old.init_containers),
    );
    undone.active_deadline_seconds = old.active_deadline_seconds;
    undone.scheduling_gates.clone_from(&old.scheduling_gates);
    undone.tolerations.clone_from(&old.tolerations);
    let grace = (new.termination_grace_period_seconds, old.termination_grace_period_seconds);
    if let (Some(1), Some(..0)) = grace {
        undone.termination_grace_period_seconds = grace.1;
    }
    if !list(&old.scheduling_gates).is_empty() {
        undo_placement(&mut undone, old, at, errors);
    }
    if undone != *old {
        errors.forbidden(at, format!("{MAY_CHANGE}\n{}", difference(old, &undone)));
    }
}

fn undo_images(new: &mut [Container], old: &[Container]) {
    for (new, old) in new.iter_mut().zip(old) {
        new.image.clone_from(&old.image);
    }
}

/// As long as a pod is gated, the places where it may run can be narrowed.
fn undo_placement(undone: &mut PodSpec, old: &PodSpec, at: &Path, errors: &mut ErrorList) {
    if undone.node_selector != old.node_selector {
        let new = undone.node_selector.clone().unwrap_or_default();
        let kept =
            old.node_selector.iter().flatten().all(|(key, value)| new.get(key) == Some(value));
        if !kept {
            let detail =
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.invalid(&at.child("nodeSelector"), new, detail);
        }
        undone.node_selector.clone_from(&old.node_selector);
    }
    let node_affinity =
        |spec: &PodSpec| spec.affinity.as_ref().and_then(|a| a.node_affinity.clone());
    let (new_affinity, old_affinity) = (node_affinity(undone), node_affinity(old));
    if new_affinity != old_affinity {
        let at = at.child("affinity").child("nodeAffinity");
        validate_node_affinity(new_affinity.as_ref(), old_affinity.as_ref(), &at, errors);
        let affinity = undone.affinity.get_or_insert_default();
        affinity.node_affinity = old_affinity;
        if old.affinity.is_none() && *affinity == Affinity::default() {
            undone.affinity = None;
        }
    }
}

fn validate_node_affinity(
    new: Option<&NodeAffinity>,
    old: Option<&NodeAffinity>,
    at: &Path,
    errors: &mut ErrorList,
) {
    let terms = |affinity: Option<&NodeAffinity>| {
        let required =
            affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.clone());
        required.map(|r| r.node_selector_terms)
    };
    let Some(old) = terms(old).filter(|old| !old.is_empty()) else { return };
    let new = terms(new).unwrap_or_default();
    let at = at.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
    if old.len() != new.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.invalid(&at, new, detail);
    }
    for (i, (new, old)) in new.iter().zip(&old).enumerate() {
        if !only_adds(new, old) {
            errors.invalid(&at.index(i), new, ADDITIONS_ONLY);
        }
    }
}

/// Whether a term only says more than before. An empty term selects nothing; adding to it would make it select something.
fn only_adds(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let starts = |new: &Option<Vec<_>>, old: &Option<Vec<_>>| list(new).starts_with(list(old));
    let empty = |term: &NodeSelectorTerm| {
        list(&term.match_expressions).is_empty() && list(&term.match_fields).is_empty()
    };
    (!empty(old) || empty(new))
        && starts(&new.match_expressions, &old.match_expressions)
        && starts(&new.match_fields, &old.match_fields)
}

/// The fields that differ, for people: JSON before and after.
fn difference(old: &PodSpec, new: &PodSpec) -> String {
    let tree = |spec: &PodSpec| serde_json::to_value(spec).unwrap_or_default();
    let (old, new) = (tree(old), tree(new));
    let keys: std::collections::BTreeSet<_> =
        [&old, &new].into_iter().filter_map(|v| v.as_object()).flat_map(|o| o.keys()).collect();
    let mut lines = String::new();
    for key in keys.into_iter().filter(|key| old.get(key.as_str()) != new.get(key.as_str())) {
        for (sign, value) in [('-', old.get(key.as_str())), ('+', new.get(key.as_str()))] {
            if let Some(value) = value {
                lines += &format!("{sign} {key}: {value}\n");
            }
        }
    }
    lines
}

/// What a status update keeps of the pod besides its spec.
pub(super) fn prepare_status(new: &mut Pod, old: &Pod) {
    new.metadata.deletion_timestamp.clone_from(&old.metadata.deletion_timestamp);
    new.metadata.deletion_grace_period_seconds = old.metadata.deletion_grace_period_seconds;
    new.metadata.owner_references.clone_from(&old.metadata.owner_references);
    let empty = PodStatus::default();
    let before = old.status.as_ref().unwrap_or(&empty);
    let status = new.status.get_or_insert_default();
    if text(&status.qos_class).is_empty() {
        status.qos_class.clone_from(&before.qos_class);
    }
    keep_generations(status, before);
}

/// Who does not tell which generation a status is about has not looked; the last word stands.
fn keep_generations(status: &mut PodStatus, before: &PodStatus) {
    let known = |generation: Option<i64>| generation.filter(|g| *g != 0);
    status.observed_generation = known(status.observed_generation).or(before.observed_generation);
    let mut old: Vec<_> = list(&before.conditions).iter().collect();
    for condition in status.conditions.iter_mut().flatten() {
        let position = old.iter().position(|o| o.type_ == condition.type_);
        let before = position.and_then(|i| old.remove(i).observed_generation);
        condition.observed_generation = known(condition.observed_generation).or(before);
    }
}

/// Rules for a change of a pod's status.
pub(super) fn validate_status(new: &Pod, old: &Pod, errors: &mut ErrorList) {
    validate_annotations(new, old, errors);
    let (empty, empty_spec) = (PodStatus::default(), PodSpec::default());
    let (status, before) =
        (new.status.as_ref().unwrap_or(&empty), old.status.as_ref().unwrap_or(&empty));
    let spec = old.spec.as_ref().unwrap_or(&empty_spec);
    let at = Path::new("status");
    validate_conditions(status, &at.child("conditions"), errors);
    validate_nomination(status, before, spec, &at.child("nominatedNodeName"), errors);
    if let Some(generation) = status.observed_generation.filter(|g| *g < 0) {
        errors.invalid(
            &at.child("observedGeneration"),
            generation,
            "must be a non-negative integer",
        );
    }
    errors.unchanged(&at.child("qosClass"), &status.qos_class, &before.qos_class);
    validate_states(status, before, spec, &at, errors);
    validate_ips(status, before, &at, errors);
}

fn validate_conditions(status: &PodStatus, at: &Path, errors: &mut ErrorList) {
    for (i, condition) in list(&status.conditions).iter().enumerate() {
        let at = at.index(i);
        if let Some(generation) = condition.observed_generation.filter(|g| *g < 0) {
            errors.invalid(
                &at.child("observedGeneration"),
                generation,
                "must be a non-negative integer",
            );
        }
        if !matches!(condition.type_.as_str(), "PodScheduled" | "Ready" | "Initialized") {
            errors.qualified_name(&at.child("Type"), &condition.type_);
        }
    }
}

fn validate_nomination(
    status: &PodStatus,
    before: &PodStatus,
    spec: &PodSpec,
    at: &Path,
    errors: &mut ErrorList,
) {
    let nominated = text(&status.nominated_node_name);
    if nominated.is_empty() || nominated == text(&before.nominated_node_name) {
        return;
    }
    errors.dns_subdomain(at, nominated);
    if !text(&spec.node_name).is_empty() {
        errors.forbidden(at, "may not be set on pods that are already bound to a node");
    }
}

/// A container that has ended and will not be restarted stays ended.
fn validate_states(
    status: &PodStatus,
    before: &PodStatus,
    spec: &PodSpec,
    at: &Path,
    errors: &mut ErrorList,
) {
    let rules = spec
        .containers
        .iter()
        .chain(list(&spec.init_containers))
        .flat_map(|c| list(&c.restart_policy_rules));
    if !rules.into_iter().any(|rule| rule.action == "RestartAllContainers") {
        let regular = |name: &str, code| {
            spec.containers.iter().find(|c| c.name == name).is_some_and(|c| restarts(c, spec, code))
        };
        let init = |name: &str, code| {
            list(&spec.init_containers)
                .iter()
                .find(|c| c.name == name)
                .is_some_and(|c| restarts(c, spec, code))
        };
        let (new, old) = (list(&status.container_statuses), list(&before.container_statuses));
        validate_ended(new, old, regular, &at.child("containerStatuses"), errors);
        let (new, old) =
            (list(&status.init_container_statuses), list(&before.init_container_statuses));
        validate_ended(new, old, init, &at.child("initContainerStatuses"), errors);
    }
    let (new, old) =
        (list(&status.ephemeral_container_statuses), list(&before.ephemeral_container_statuses));
    validate_ended(new, old, |_, _| false, &at.child("ephemeralContainerStatuses"), errors);
}

fn validate_ended(
    new: &[ContainerStatus],
    old: &[ContainerStatus],
    restarts: impl Fn(&str, i32) -> bool,
    at: &Path,
    errors: &mut ErrorList,
) {
    let ended = |status: &ContainerStatus| {
        status.state.as_ref().and_then(|s| s.terminated.as_ref()).map(|t| t.exit_code)
    };
    for (i, before) in old.iter().enumerate() {
        let Some(code) = ended(before) else { continue };
        let again = new.iter().any(|now| now.name == before.name && ended(now).is_none());
        if again && !restarts(&before.name, code) {
            errors.forbidden(
                &at.index(i).child("state"),
                "may not be transitioned to non-terminated state",
            );
        }
    }
}

/// Whether a container is started again after it ended with the code: its rules, its own policy, the pod's policy.
fn restarts(container: &Container, spec: &PodSpec, code: i32) -> bool {
    let by_policy = |policy: &str| match policy {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    };
    let Some(own) = &container.restart_policy else { return by_policy(text(&spec.restart_policy)) };
    let rule = list(&container.restart_policy_rules).iter().any(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = list(&codes.values).contains(&code);
            if codes.operator == "NotIn" { !listed } else { listed }
        })
    });
    rule || is_sidecar(container) || by_policy(own)
}

fn validate_ips(status: &PodStatus, before: &PodStatus, at: &Path, errors: &mut ErrorList) {
    let pod_ips: Vec<_> = list(&status.pod_ips).iter().map(|ip| ip.ip.clone()).collect();
    let old: Vec<_> = list(&before.pod_ips).iter().map(|ip| ip.ip.clone()).collect();
    validate_family(&pod_ips, &old, &at.child("podIPs"), errors);
    let host_ips: Vec<_> = list(&status.host_ips).iter().map(|ip| ip.ip.clone()).collect();
    let old: Vec<_> = list(&before.host_ips).iter().map(|ip| ip.ip.clone()).collect();
    let at = at.child("hostIPs");
    if let Some(first) = host_ips.first().filter(|first| *first != text(&status.host_ip)) {
        errors.invalid(&at.index(0).child("ip"), first, "must be equal to `hostIP`");
    }
    validate_family(&host_ips, &old, &at, errors);
}

/// At most one address of each family.
fn validate_family(ips: &[String], old: &[String], at: &Path, errors: &mut ErrorList) {
    for (i, ip) in ips.iter().enumerate() {
        net::validate_ip(ip, old, &at.index(i), errors);
    }
    if ips.len() > 2 || ips.len() == 2 && !net::is_dual_stack(ips.iter().map(String::as_str)) {
        errors.invalid(at, ips, "may specify no more than one IP for each IP family");
    }
}
