//! Keeps pods off cordoned nodes. Counterpart: `NodeUnschedulable`.

use k8s_openapi::api::core::v1::Taint;

use super::taint_toleration::tolerates;
use super::{PodInfo, Refusal};
use crate::snapshot::NodeInfo;

/// The taint that stands for `spec.unschedulable`.
const TAINT: &str = "node.kubernetes.io/unschedulable";

/// Refuses a cordoned node unless the pod tolerates that.
pub fn filter(pod: PodInfo<'_>, node: &NodeInfo) -> Option<Refusal> {
    let cordoned = node.node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let effect = "NoSchedule".to_owned();
    let taint = Taint { key: TAINT.into(), effect, ..Taint::default() };
    match cordoned && !tolerates(pod.pod, &taint) {
        true => Refusal::fixed("node(s) were unschedulable"),
        false => None,
    }
}
