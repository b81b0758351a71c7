//! The plugins of the default profile, and the list they stand in.
//!
//! Counterpart in Kubernetes: `pkg/scheduler/framework/plugins`. One file per plugin; each is a pure function of a pod
//! and a node.

mod balanced_allocation;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_fit;
mod node_unschedulable;
mod taint_toleration;
pub mod unsupported;

use k8s_openapi::api::core::v1::Pod;

use crate::snapshot::{NodeInfo, Taken};

/// The best score a plugin gives.
pub const MAX_SCORE: i64 = 100;

/// A pod to be placed, with what it would take.
#[derive(Clone, Copy, Debug)]
pub struct PodInfo<'a> {
    /// The object.
    pub pod: &'a Pod,
    /// What it would take.
    pub taken: &'a Taken,
}

/// Why a node is not for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Every reason, in Kubernetes' words.
    pub reasons: Vec<String>,
    /// Whether the pod would fit if other pods left.
    pub resolvable: bool,
}

impl Refusal {
    /// A reason that no leaving pod would change.
    pub fn fixed(reason: &str) -> Option<Self> {
        Some(Self { reasons: vec![reason.to_owned()], resolvable: false })
    }
}

/// Says no to a node.
pub type Filter = fn(PodInfo<'_>, &NodeInfo) -> Option<Refusal>;

/// Grades a node from 0 to [`MAX_SCORE`].
pub type Score = fn(PodInfo<'_>, &NodeInfo) -> i64;

/// The filters, in order; the first refusal counts.
pub const FILTERS: &[Filter] = &[
    node_unschedulable::filter,
    node_name::filter,
    taint_toleration::filter,
    node_affinity::filter,
    node_ports::filter,
    node_resources_fit::filter,
];

/// How a plugin's grades become comparable with those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// They already are.
    No,
    /// The best node of all gets [`MAX_SCORE`].
    Best,
    /// The same, and the lowest number is the best.
    Reverse,
}

/// The scores, with their weights.
pub const SCORES: &[(Score, i64, Normalize)] = &[
    (taint_toleration::score, 3, Normalize::Reverse),
    (node_affinity::score, 2, Normalize::Best),
    (node_resources_fit::score, 1, Normalize::No),
    (balanced_allocation::score, 1, Normalize::No),
];
