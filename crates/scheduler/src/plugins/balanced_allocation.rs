//! Prefers nodes whose resources are used evenly. Counterpart: `NodeResourcesBalancedAllocation`.

use super::node_resources_fit::{COMPARED, used_of};
use super::{MAX_SCORE, PodInfo};
use crate::snapshot::NodeInfo;

/// The more even the shares of what would be used, the better.
pub fn score(pod: PodInfo<'_>, node: &NodeInfo) -> i64 {
    let shares: Vec<f64> = COMPARED
        .iter()
        .filter_map(|name| used_of(name, &pod.taken.nonzero_requests, node))
        .map(|(used, all)| (used as f64 / all as f64).min(1.0))
        .collect();
    let [cpu, memory] = shares[..] else { return MAX_SCORE };
    ((1.0 - (cpu - memory).abs() / 2.0) * MAX_SCORE as f64) as i64
}
