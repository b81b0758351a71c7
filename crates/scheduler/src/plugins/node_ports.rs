//! Keeps pods apart that want the same port of their node. Counterpart: `NodePorts`.

use super::{PodInfo, Refusal};
use crate::snapshot::{HostPort, NodeInfo};

/// The address that stands for all.
const ANY: &str = "0.0.0.0";

/// Refuses a node where one of the pod's host ports is taken.
pub fn filter(pod: PodInfo<'_>, node: &NodeInfo) -> Option<Refusal> {
    let taken = || node.pods.values().flat_map(|other| &other.ports);
    match pod.taken.ports.iter().any(|port| taken().any(|other| conflict(port, other))) {
        true => Some(Refusal {
            reasons: vec!["node(s) didn't have free ports for the requested pod ports".into()],
            resolvable: true,
        }),
        false => None,
    }
}

fn conflict(a: &HostPort, b: &HostPort) -> bool {
    (&a.1, a.2) == (&b.1, b.2) && (a.0 == b.0 || a.0 == ANY || b.0 == ANY)
}
