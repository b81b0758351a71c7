//! Fits pods into what is left of a node. Counterpart: `NodeResourcesFit` with the strategy `LeastAllocated`.

use super::{MAX_SCORE, PodInfo, Refusal};
use crate::resources::Amounts;
use crate::snapshot::NodeInfo;

/// What nodes are compared by.
pub const COMPARED: [&str; 2] = ["cpu", "memory"];

/// Refuses a node that has too little left, with every resource that is short.
pub fn filter(pod: PodInfo<'_>, node: &NodeInfo) -> Option<Refusal> {
    let mut reasons = Vec::new();
    let most = node.allocatable.get("pods").copied().unwrap_or(0);
    if node.pods.len() as i64 + 1 > most {
        reasons.push("Too many pods".to_owned());
    }
    let mut resolvable = true;
    for (name, wanted) in pod.taken.requests.iter().filter(|(_, wanted)| **wanted > 0) {
        let all = node.allocatable.get(name).copied().unwrap_or(0);
        if *wanted > all - node.requested.get(name).copied().unwrap_or(0) {
            reasons.push(format!("Insufficient {name}"));
            resolvable &= *wanted <= all;
        }
    }
    (!reasons.is_empty()).then_some(Refusal { reasons, resolvable })
}

/// The share of the node that would be left.
pub fn score(pod: PodInfo<'_>, node: &NodeInfo) -> i64 {
    let shares = COMPARED.iter().filter_map(|name| {
        let (used, all) = used_of(name, &pod.taken.nonzero_requests, node)?;
        Some(if used > all { 0 } else { (all - used) * MAX_SCORE / all })
    });
    let shares: Vec<i64> = shares.collect();
    shares.iter().sum::<i64>() / (shares.len() as i64).max(1)
}

/// What would be used of a resource, and how much there is; `None` if the node has none.
pub fn used_of(name: &str, wanted: &Amounts, node: &NodeInfo) -> Option<(i64, i64)> {
    let all = node.allocatable.get(name).copied().filter(|all| *all > 0)?;
    let used = node.nonzero_requested.get(name).copied().unwrap_or(0);
    Some((used + wanted.get(name).copied().unwrap_or(0), all))
}
