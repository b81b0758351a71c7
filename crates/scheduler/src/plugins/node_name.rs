//! Honours `spec.nodeName` of a pod that asks for one. Counterpart: `NodeName`.

use super::{PodInfo, Refusal};
use crate::snapshot::NodeInfo;

/// Refuses every other node.
pub fn filter(pod: PodInfo<'_>, node: &NodeInfo) -> Option<Refusal> {
    let asked = pod.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let asked = asked.filter(|name| !name.is_empty())?;
    match node.node.metadata.name.as_deref() == Some(asked) {
        true => None,
        false => Refusal::fixed("node(s) didn't match the requested node name"),
    }
}
