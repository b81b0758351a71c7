//! Questions about pods that several controllers ask. Counterpart: `pkg/api/v1/pod` and `controller_utils.go`.
//!
//! Invariant: pure; the same pods and the same time give the same answer.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};

/// The annotation with which users steer which pods go first; lower goes first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The pod's phase; empty when the API server has not set it.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// All containers have ended and will not be started again.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Counts toward the desired number: neither ended nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Being deleted, with containers that may still run.
pub fn is_terminating(pod: &Pod) -> bool {
    !is_terminal(pod) && pod.metadata.deletion_timestamp.is_some()
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The Ready condition is True.
pub fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some()
}

/// Since when the pod has been ready.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|time| time.0)
}

/// Ready for at least `min_ready_seconds`.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    is_ready(pod)
        && (min_ready_seconds == 0
            || time_to_available(pod, min_ready_seconds, now).is_some_and(|left| left.is_zero()))
}

/// How long until a ready pod is available; none when that is not known or the pod is not ready.
fn time_to_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let available_at =
        ready_since(pod)?.checked_add(SignedDuration::from_secs(min_ready_seconds.into())).ok()?;
    Some(Duration::try_from(available_at.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// When the next of `pods` becomes available.
pub fn next_availability(
    pods: &[Arc<Pod>],
    min_ready_seconds: i32,
    now: Timestamp,
) -> Option<Duration> {
    let left = pods.iter().filter_map(|pod| time_to_available(pod, min_ready_seconds, now));
    left.filter(|left| !left.is_zero()).min()
}

fn phase_ordinal(pod: &Pod) -> u8 {
    match phase(pod) {
        "Unknown" => 1,
        "Running" => 2,
        _ => 0,
    }
}

fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(DELETION_COST))
        .and_then(|cost| cost.parse().ok())
        .unwrap_or(0)
}

/// The largest restart counts of the containers that restart on their own, and of the others.
fn max_restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers =
        status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    containers.map(|container| container.restart_count).max().unwrap_or(0)
}

/// Age in powers of two: pods of about the same age count as equally old. An unknown time is younger than any.
fn age_rank(time: Option<Timestamp>, now: Timestamp) -> i32 {
    let Some(time) = time else { return i32::MIN };
    let age = now.duration_since(time).as_nanos();
    u128::try_from(age)
        .ok()
        .and_then(u128::checked_ilog2)
        .map_or(-1, |rank| i32::try_from(rank).unwrap_or(i32::MAX))
}

/// How many active pods of the related controllers each node runs.
pub fn pods_per_node(related: &[Arc<Pod>]) -> BTreeMap<String, usize> {
    let mut per_node = BTreeMap::new();
    for pod in related.iter().filter(|pod| is_active(pod)) {
        *per_node.entry(node_name(pod).to_owned()).or_default() += 1;
    }
    per_node
}

/// Puts first the pods that should be deleted first: not assigned, pending, not ready, cheap to delete, crowded on their
/// node, ready for a short time, often restarted, young. Times count in powers of two, so that among pods of about the
/// same age the uid decides, which is as good as chance. Unlike Kubernetes' comparison this is a total order: with equal
/// ranks of readiness the restarts and the age are still looked at.
pub fn sort_for_deletion(
    pods: &mut [Arc<Pod>],
    per_node: &BTreeMap<String, usize>,
    now: Timestamp,
) {
    let rank = |pod: &Pod| per_node.get(node_name(pod)).copied().unwrap_or(0);
    pods.sort_by(|a, b| deletion_order(a, b, rank(a), rank(b), now));
}

fn deletion_order(a: &Pod, b: &Pod, rank_a: usize, rank_b: usize, now: Timestamp) -> Ordering {
    let assigned = |pod: &Pod| !node_name(pod).is_empty();
    let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase_ordinal(a).cmp(&phase_ordinal(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| rank_b.cmp(&rank_a))
        .then_with(|| age_rank(ready_since(a), now).cmp(&age_rank(ready_since(b), now)))
        .then_with(|| max_restarts(b).cmp(&max_restarts(a)))
        .then_with(|| age_rank(created(a), now).cmp(&age_rank(created(b), now)))
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, pod};

    #[test]
    fn pods_go_in_kubernetes_order() {
        let now = at(100_000);
        let expected: Vec<Arc<Pod>> = vec![
            pod("unassigned").build(),
            pod("pending").node("n").build(),
            pod("not-ready").node("n").phase("Running").build(),
            pod("cheap").node("n").ready_at(0).cost("-5").build(),
            pod("crowded").node("full").ready_at(0).build(),
            pod("just-ready").node("n").ready_at(99_990).build(),
            pod("restarted").node("n").ready_at(0).restarts(3).created_at(0).build(),
            pod("young").node("n").ready_at(0).created_at(99_000).build(),
            pod("old").node("n").ready_at(0).created_at(0).build(),
        ];
        let per_node = BTreeMap::from([("full".to_owned(), 3), ("n".to_owned(), 1)]);
        let mut pods: Vec<Arc<Pod>> = expected.iter().rev().cloned().collect();
        sort_for_deletion(&mut pods, &per_node, now);
        let names = |pods: &[Arc<Pod>]| {
            pods.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(&pods), names(&expected));
    }

    #[test]
    fn availability_needs_min_ready_seconds() {
        let ready = pod("a").ready_at(100).build();
        let table = [(0, 100, true), (10, 109, false), (10, 110, true), (10, 111, true)];
        for (min_ready, now, available) in table {
            assert_eq!(
                is_available(&ready, min_ready, at(now)),
                available,
                "{min_ready} s at {now}"
            );
        }
        let pods = [ready, pod("b").ready_at(105).build(), pod("c").build()];
        assert_eq!(next_availability(&pods, 10, at(107)), Some(Duration::from_secs(3)));
        assert_eq!(next_availability(&pods, 10, at(112)), Some(Duration::from_secs(3)));
        assert_eq!(next_availability(&pods, 10, at(115)), None);
    }
}
