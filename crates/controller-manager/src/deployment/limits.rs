//! The numbers a Deployment's strategy allows. Counterpart: `deployment_util.go`.
//!
//! Invariant: surge rounds up, unavailability rounds down, and never are both zero.

use apimachinery::int_or_string::{Rounding, scaled_value};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

fn spec(deployment: &Deployment) -> Option<&DeploymentSpec> {
    deployment.spec.as_ref()
}

/// The desired number of pods.
pub fn desired(deployment: &Deployment) -> i32 {
    spec(deployment).and_then(|spec| spec.replicas).unwrap_or(1)
}

/// The number of pods a ReplicaSet is to have.
pub fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// The number of available pods a ReplicaSet has.
pub fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// Whether old pods must be gone before new ones come.
pub fn is_recreate(deployment: &Deployment) -> bool {
    spec(deployment).and_then(|spec| spec.strategy.as_ref()?.type_.as_deref()) == Some("Recreate")
}

fn scaled(value: Option<&IntOrString>, total: i32, rounding: Rounding) -> i32 {
    // Validation refuses what cannot be scaled.
    let value =
        value.and_then(|value| scaled_value(value, total.into(), rounding).ok()).unwrap_or(0);
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Surge and unavailability in pods. Rounding may leave both at zero, with which nothing could ever move: then one pod
/// may be unavailable, on the theory that surge may not work because of a quota.
fn fence_posts(deployment: &Deployment) -> (i32, i32) {
    let rolling = spec(deployment).and_then(|spec| spec.strategy.as_ref()?.rolling_update.as_ref());
    let total = desired(deployment);
    let surge = scaled(rolling.and_then(|rolling| rolling.max_surge.as_ref()), total, Rounding::Up);
    let unavailable =
        scaled(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), total, Rounding::Down);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// How many pods there may be beyond the desired number.
pub fn max_surge(deployment: &Deployment) -> i32 {
    if is_recreate(deployment) { 0 } else { fence_posts(deployment).0 }
}

/// How many of the desired pods may be unavailable.
pub fn max_unavailable(deployment: &Deployment) -> i32 {
    if is_recreate(deployment) || desired(deployment) == 0 {
        0
    } else {
        fence_posts(deployment).1.min(desired(deployment))
    }
}

/// The seconds without progress after which a rollout counts as stuck; none when progress is not judged.
pub fn progress_deadline_seconds(deployment: &Deployment) -> Option<i32> {
    spec(deployment)?.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)
}

/// How many old ReplicaSets are kept; none when all are.
pub fn revision_history_limit(deployment: &Deployment) -> Option<usize> {
    spec(deployment)?
        .revision_history_limit
        .filter(|limit| *limit != i32::MAX)
        .map(|limit| usize::try_from(limit).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::tests::deployment;
    use super::*;

    #[test]
    fn fence_posts_round_surge_up_and_unavailability_down() {
        let table = [
            (10, "25%", "25%", (3, 2)),
            (4, "25%", "25%", (1, 1)),
            (3, "25%", "25%", (1, 0)),
            (2, "0%", "1%", (0, 1)),
            (1, "0", "1%", (0, 1)),
            (2, "1%", "25%", (1, 0)),
            (5, "2", "9", (2, 5)),
            (0, "25%", "25%", (0, 0)),
        ];
        for (replicas, surge, unavailable, expected) in table {
            let deployment = deployment(replicas, surge, unavailable);
            assert_eq!(
                (max_surge(&deployment), max_unavailable(&deployment)),
                expected,
                "{replicas} {surge} {unavailable}"
            );
        }
    }
}
