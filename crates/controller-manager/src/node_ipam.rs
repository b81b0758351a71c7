//! Gives each node its range of pod addresses. Counterpart: `pkg/controller/nodeipam` with the range allocator.
//!
//! Invariants:
//! * There is one key for all nodes: a range is chosen with the ranges of all other nodes in view, and the next choice
//!   waits until the cache shows the last one. So no range is given twice, and nothing has to be remembered.
//! * A range that a node has is never changed.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use client::controller::{IfAbsent, Patch, PatchBody};
use client::{Action, Caches, Controller, EventType, Kind, ObjectKey, Plan, Watches};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use serde_json::json;

/// Why a cluster CIDR cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not an IPv4 range in CIDR form.
    #[error("{0}: not an IPv4 range like 10.42.0.0/16")]
    Malformed(String),
    /// A node's range must be inside the cluster's.
    #[error("{cidr}: a node range of /{node_prefix} does not fit in")]
    TooSmall {
        /// The cluster's range.
        cidr: String,
        /// Prefix length of a node's range.
        node_prefix: u8,
    },
}

/// An IPv4 range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    first: u32,
    prefix: u8,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix) = (
            address.parse::<Ipv4Addr>().ok()?,
            prefix.parse::<u8>().ok().filter(|prefix| *prefix <= 32)?,
        );
        Some(Self { first: u32::from(address) & mask(prefix), prefix })
    }

    fn last(self) -> u32 {
        self.first | !mask(self.prefix)
    }

    fn overlaps(self, other: Self) -> bool {
        self.first <= other.last() && other.first <= self.last()
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The allocator of node ranges.
#[derive(Debug)]
pub struct NodeIpam {
    cluster: Range,
    node_prefix: u8,
}

impl NodeIpam {
    /// An allocator of ranges of `/node_prefix` out of `cluster_cidr`.
    ///
    /// # Errors
    /// When the cluster's range is not one, or is smaller than a node's.
    pub fn new(cluster_cidr: &str, node_prefix: u8) -> Result<Self, CidrError> {
        let cluster = Range::parse(cluster_cidr)
            .ok_or_else(|| CidrError::Malformed(cluster_cidr.to_owned()))?;
        if node_prefix < cluster.prefix || node_prefix > 32 {
            return Err(CidrError::TooSmall { cidr: cluster_cidr.to_owned(), node_prefix });
        }
        Ok(Self { cluster, node_prefix })
    }

    /// The first range that overlaps none of `taken`.
    fn next_free(&self, taken: &BTreeSet<Range>) -> Option<Range> {
        let size = u64::from(!mask(self.node_prefix)) + 1;
        let mut first = u64::from(self.cluster.first);
        while first <= u64::from(self.cluster.last()) {
            let candidate = Range { first: u32::try_from(first).ok()?, prefix: self.node_prefix };
            match taken.iter().find(|taken| taken.overlaps(candidate)) {
                None => return Some(candidate),
                Some(_) => first += size,
            }
        }
        None
    }
}

fn pod_cidr(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|cidr| !cidr.is_empty())
}

fn assign(node: &Node, range: Range) -> Action {
    let cidr = range.to_string();
    Action::Patch(Patch {
        resource: Node::resource_type(),
        key: ObjectKey::of(&node.metadata),
        subresource: None,
        body: PatchBody::Strategic(
            json!({"metadata": {"uid": node.metadata.uid}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}),
        ),
        if_absent: IfAbsent::Ignore,
    })
}

fn exhausted(node: &Node) -> Action {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let regarding = ObjectReference {
        api_version: Some(Node::resource_type().api_version()),
        kind: Some(Node::resource_type().kind.into_owned()),
        name: node.metadata.name.clone(),
        uid: node.metadata.uid.clone(),
        ..ObjectReference::default()
    };
    Action::event(
        &regarding,
        EventType::Normal,
        "CIDRNotAvailable",
        format!("Node {name} status is now: CIDRNotAvailable"),
    )
}

impl Controller for NodeIpam {
    const NAME: &'static str = "node-ipam-controller";
    const EVENT_SOURCE: &'static str = "cidrAllocator";
    const WORKERS: usize = 1;
    type Key = ();
    type Observed = Vec<Arc<Node>>;

    fn watches(&self) -> Watches<()> {
        Watches::new().map::<Node>(|_, change| {
            let lacks = change.new.as_ref().is_some_and(|node| pod_cidr(node).is_none());
            // A node that goes sets a range free that another may be waiting for.
            if lacks || change.new.is_none() { vec![()] } else { Vec::new() }
        })
    }

    fn observe(&self, caches: &Caches, (): &()) -> Option<Vec<Arc<Node>>> {
        Some(caches.of::<Node>().list())
    }

    fn reconcile(&self, nodes: &Vec<Arc<Node>>, _now: Timestamp) -> Plan {
        let mut taken: BTreeSet<Range> =
            nodes.iter().filter_map(|node| Range::parse(pod_cidr(node)?)).collect();
        let mut actions = Vec::new();
        for node in nodes
            .iter()
            .filter(|node| pod_cidr(node).is_none() && node.metadata.deletion_timestamp.is_none())
        {
            match self.next_free(&taken) {
                Some(range) => {
                    taken.insert(range);
                    actions.push(assign(node, range));
                }
                None => actions.push(exhausted(node)),
            }
        }
        actions.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, meta};
    use k8s_openapi::api::core::v1::NodeSpec;

    fn node(name: &str, cidr: Option<&str>) -> Arc<Node> {
        let mut metadata = meta(name);
        metadata.namespace = None;
        let spec = NodeSpec { pod_cidr: cidr.map(str::to_owned), ..NodeSpec::default() };
        Arc::new(Node { metadata, spec: Some(spec), status: None })
    }

    fn assigned(cluster: &str, prefix: u8, nodes: Vec<Arc<Node>>) -> Vec<String> {
        let plan = NodeIpam::new(cluster, prefix).unwrap().reconcile(&nodes, at(0));
        let line = |action: &Action| match action {
            Action::Patch(Patch { key, body: PatchBody::Strategic(body), .. }) => {
                format!("{key} {}", body["spec"]["podCIDR"].as_str().unwrap())
            }
            Action::Event { reason, .. } => (*reason).to_owned(),
            other => panic!("unexpected {other:?}"),
        };
        plan.actions.iter().map(line).collect()
    }

    #[test]
    fn each_node_gets_its_own_range_and_keeps_it() {
        let nodes = vec![node("a", Some("10.42.1.0/24")), node("b", None), node("c", None)];
        assert_eq!(assigned("10.42.0.0/16", 24, nodes), ["b 10.42.0.0/24", "c 10.42.2.0/24"]);
        assert!(assigned("10.42.0.0/16", 24, vec![node("a", Some("10.42.0.0/24"))]).is_empty());
    }

    #[test]
    fn larger_and_foreign_ranges_are_stepped_around() {
        let nodes = vec![
            node("a", Some("10.42.0.0/23")),
            node("b", Some("192.168.0.0/24")),
            node("c", None),
        ];
        assert_eq!(assigned("10.42.0.0/16", 24, nodes), ["c 10.42.2.0/24"]);
    }

    #[test]
    fn exhaustion_is_told() {
        let nodes = vec![node("a", None), node("b", None), node("c", None)];
        assert_eq!(
            assigned("10.0.0.0/23", 24, nodes),
            ["a 10.0.0.0/24", "b 10.0.1.0/24", "CIDRNotAvailable"]
        );
    }

    #[test]
    fn unusable_ranges_are_refused() {
        assert_eq!(
            NodeIpam::new("10.0.0.0", 24).unwrap_err(),
            CidrError::Malformed("10.0.0.0".into())
        );
        assert!(matches!(NodeIpam::new("10.0.0.0/25", 24), Err(CidrError::TooSmall { .. })));
        assert!(NodeIpam::new("0.0.0.0/0", 32).is_ok());
    }
}
