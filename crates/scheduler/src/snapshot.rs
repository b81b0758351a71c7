//! What the scheduler knows of the cluster: nodes, and what the pods on them take.
//!
//! Counterpart in Kubernetes: the scheduler's cache and snapshot.
//!
//! Invariants: a pod counts on one node at most; placing it again moves it; pods on nodes that are not known yet are
//! remembered and count as soon as the node is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use crate::resources::{self, Amounts};

/// A host port in use: address, protocol, number.
pub type HostPort = (String, String, i32);

/// What a pod takes of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What it reserves.
    pub requests: Amounts,
    /// What it counts as when nodes are compared.
    pub nonzero_requests: Amounts,
    /// The host ports it uses.
    pub ports: BTreeSet<HostPort>,
    /// Its priority.
    pub priority: i32,
}

impl Taken {
    /// What a pod of this specification takes.
    pub fn by(spec: &PodSpec) -> Self {
        Self {
            requests: resources::requests(spec),
            nonzero_requests: resources::nonzero_requests(spec),
            ports: host_ports(spec),
            priority: spec.priority.unwrap_or(0),
        }
    }
}

fn host_ports(spec: &PodSpec) -> BTreeSet<HostPort> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let address = port.host_ip.clone().filter(|ip| !ip.is_empty());
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            Some((address.unwrap_or_else(|| "0.0.0.0".into()), protocol, number))
        })
        .collect()
}

/// A node with what is taken of it.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// The object.
    pub node: Arc<Node>,
    /// What its pods may take in all.
    pub allocatable: Amounts,
    /// What they reserve.
    pub requested: Amounts,
    /// What they count as when nodes are compared.
    pub nonzero_requested: Amounts,
    /// The pods, by uid.
    pub pods: BTreeMap<String, Taken>,
}

impl NodeInfo {
    fn add(&mut self, uid: String, taken: Taken) {
        resources::add(&mut self.requested, &taken.requests);
        resources::add(&mut self.nonzero_requested, &taken.nonzero_requests);
        self.pods.insert(uid, taken);
    }

    fn remove(&mut self, uid: &str) -> Option<Taken> {
        let taken = self.pods.remove(uid)?;
        resources::subtract(&mut self.requested, &taken.requests);
        resources::subtract(&mut self.nonzero_requested, &taken.nonzero_requests);
        Some(taken)
    }

    fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        self.allocatable = resources::amounts(status.and_then(|s| s.allocatable.as_ref()));
        self.node = node;
    }

    /// The node's labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.node.metadata.labels.as_ref().unwrap_or(&NONE)
    }
}

/// The cluster as the scheduler sees it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    nodes: BTreeMap<String, NodeInfo>,
    /// Pods on nodes that are not known, by node.
    homeless: BTreeMap<String, BTreeMap<String, Taken>>,
    /// Where each pod is.
    places: BTreeMap<String, String>,
}

impl Snapshot {
    /// The nodes, by name.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (&str, &NodeInfo)> {
        self.nodes.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// A node was added or changed.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let info = self.nodes.entry(name.clone()).or_default();
        info.set_node(node);
        for (uid, taken) in self.homeless.remove(&name).unwrap_or_default() {
            info.add(uid, taken);
        }
    }

    /// A node is gone; its pods are remembered in case it comes back.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.remove(name)
            && !info.pods.is_empty()
        {
            self.homeless.insert(name.to_owned(), info.pods);
        }
    }

    /// A pod is on a node.
    pub fn place(&mut self, uid: &str, node: &str, taken: Taken) {
        self.remove_pod(uid);
        self.places.insert(uid.to_owned(), node.to_owned());
        match self.nodes.get_mut(node) {
            Some(info) => info.add(uid.to_owned(), taken),
            None => {
                self.homeless.entry(node.to_owned()).or_default().insert(uid.to_owned(), taken);
            }
        }
    }

    /// A pod takes nothing any more. Whether it did.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(node) = self.places.remove(uid) else { return false };
        if let Some(info) = self.nodes.get_mut(&node) {
            info.remove(uid);
        } else if let Some(pods) = self.homeless.get_mut(&node) {
            pods.remove(uid);
            if pods.is_empty() {
                self.homeless.remove(&node);
            }
        }
        true
    }
}

/// Whether a pod has ended and takes nothing of its node.
pub fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Arc<Node> {
        let json = serde_json::json!({
            "metadata": {"name": name}, "status": {"allocatable": {"cpu": "2", "pods": "110"}},
        });
        Arc::new(serde_json::from_value(json).unwrap())
    }

    fn taken(cpu: i64) -> Taken {
        Taken { requests: [("cpu".to_owned(), cpu)].into(), ..Taken::default() }
    }

    fn requested(snapshot: &Snapshot, node: &str) -> i64 {
        let info = &snapshot.nodes[node];
        info.requested.get("cpu").copied().unwrap_or(0)
    }

    #[test]
    fn pod_counts_once_wherever_it_is_placed_last() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("a"));
        snapshot.set_node(node("b"));
        snapshot.place("u", "a", taken(500));
        snapshot.place("u", "a", taken(700));
        assert_eq!(requested(&snapshot, "a"), 700);
        snapshot.place("u", "b", taken(100));
        assert_eq!((requested(&snapshot, "a"), requested(&snapshot, "b")), (0, 100));
        assert!(snapshot.remove_pod("u"));
        assert!(!snapshot.remove_pod("u"));
        assert_eq!(requested(&snapshot, "b"), 0);
    }

    #[test]
    fn pods_of_an_unknown_node_count_once_it_is_known() {
        let mut snapshot = Snapshot::default();
        snapshot.place("u", "a", taken(500));
        snapshot.place("v", "a", taken(100));
        snapshot.remove_pod("v");
        snapshot.set_node(node("a"));
        assert_eq!(requested(&snapshot, "a"), 500);
        snapshot.remove_node("a");
        snapshot.set_node(node("a"));
        assert_eq!(requested(&snapshot, "a"), 500);
        assert_eq!(snapshot.nodes["a"].allocatable["cpu"], 2000);
    }
}
