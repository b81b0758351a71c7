//! Who owns whom. Counterpart: `graph.go` and `graph_builder.go`.
//!
//! Invariants:
//! * A node is in the graph exactly while its object was last seen to exist; there are no nodes for objects that were
//!   only referred to.
//! * Every change returns the uids whose fate it may decide.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use client::{ObjectKey, ResourceType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::decide::{Dependent, Observed, OwnerState};

/// Finalizer of an object whose dependents go first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object whose dependents stay.
pub const ORPHAN: &str = "orphan";
/// Objects that were seen to go and are remembered, so that each of their dependents need not ask; as in Kubernetes.
const MAX_REMEMBERED_ABSENT: usize = 500;

/// What the collector keeps of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its resource.
    pub resource: Arc<ResourceType>,
    /// Its name.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// The revision all this is from.
    pub resource_version: Option<String>,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// Whether an object is being deleted and waits for its dependents to go first.
pub fn is_foreground(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
        && meta.finalizers.iter().flatten().any(|finalizer| finalizer == FOREGROUND)
}

impl Node {
    /// The node of an object; none when it has no uid.
    pub fn new(resource: Arc<ResourceType>, meta: ObjectMeta) -> Option<Self> {
        Some(Self {
            resource,
            key: ObjectKey::of(&meta),
            uid: meta.uid?,
            resource_version: meta.resource_version,
            owners: meta.owner_references.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        })
    }

    /// Being deleted, dependents first.
    pub fn is_foreground(&self) -> bool {
        self.deleting && self.finalizers.iter().any(|finalizer| finalizer == FOREGROUND)
    }

    /// Being deleted, dependents stay.
    pub fn is_orphaning(&self) -> bool {
        self.deleting && self.finalizers.iter().any(|finalizer| finalizer == ORPHAN)
    }

    /// Whether the reference means this node: same group, kind and name, and a namespace it can be seen from.
    fn is_meant_by(&self, reference: &OwnerReference, from_namespace: &str) -> bool {
        super::group_of(&reference.api_version) == self.resource.group
            && reference.kind == self.resource.kind
            && reference.name == self.key.name
            && (self.key.namespace.is_empty() || self.key.namespace == from_namespace)
    }
}

/// The graph of all objects.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<String, Node>,
    /// Uids of objects by the uid of an owner, whether that exists or not.
    dependents: BTreeMap<String, BTreeSet<String>>,
    by_resource: BTreeMap<ResourceType, BTreeSet<String>>,
    absent: VecDeque<String>,
}

impl Graph {
    fn link(&mut self, node: &Node) {
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(node.uid.clone());
        }
        self.by_resource.entry((*node.resource).clone()).or_default().insert(node.uid.clone());
    }

    fn unlink(&mut self, node: &Node) {
        for owner in &node.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(&node.uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        if let Some(uids) = self.by_resource.get_mut(&*node.resource) {
            uids.remove(&node.uid);
        }
    }

    fn foreground_owners<'g>(&'g self, node: &'g Node) -> impl Iterator<Item = String> + 'g {
        let owners = node.owners.iter().filter_map(|owner| self.nodes.get(&owner.uid));
        owners.filter(|owner| owner.is_foreground()).map(|owner| owner.uid.clone())
    }

    fn dependents_of(&self, uid: &str) -> impl Iterator<Item = &String> {
        self.dependents.get(uid).into_iter().flatten()
    }

    /// An object exists, in this state.
    pub fn observe(&mut self, node: Node) -> BTreeSet<String> {
        let mut affected = BTreeSet::new();
        if let Some(old) = self.nodes.remove(&node.uid) {
            // An owner that waits for its dependents may have waited for a reference that is gone or blocks no more.
            if old.owners != node.owners {
                affected.extend(self.foreground_owners(&old));
            }
            self.unlink(&old);
        }
        self.link(&node);
        if node.is_foreground() {
            affected.extend(self.dependents_of(&node.uid).cloned());
        }
        if !node.owners.is_empty() || node.deleting {
            affected.insert(node.uid.clone());
        }
        self.nodes.insert(node.uid.clone(), node);
        affected
    }

    /// An object is gone.
    pub fn remove(&mut self, uid: &str) -> BTreeSet<String> {
        let Some(node) = self.nodes.remove(uid) else { return BTreeSet::new() };
        self.unlink(&node);
        let mut affected: BTreeSet<String> = self.dependents_of(uid).cloned().collect();
        if !affected.is_empty() {
            self.absent.push_back(uid.to_owned());
            if self.absent.len() > MAX_REMEMBERED_ABSENT {
                self.absent.pop_front();
            }
        }
        affected.extend(self.foreground_owners(&node));
        affected
    }

    /// All objects of a resource.
    pub fn replace(
        &mut self,
        resource: &ResourceType,
        nodes: impl Iterator<Item = Node>,
    ) -> BTreeSet<String> {
        let mut gone = self.by_resource.get(resource).cloned().unwrap_or_default();
        let mut affected = BTreeSet::new();
        for node in nodes {
            gone.remove(&node.uid);
            affected.append(&mut self.observe(node));
        }
        for uid in gone {
            affected.append(&mut self.remove(&uid));
        }
        affected
    }

    fn owner_state(&self, node: &Node, reference: &OwnerReference) -> OwnerState {
        match self.nodes.get(&reference.uid) {
            Some(owner) if !owner.is_meant_by(reference, &node.key.namespace) => {
                OwnerState::Unverified
            }
            Some(owner) if owner.is_foreground() => OwnerState::WaitsForDependents,
            Some(_) => OwnerState::Solid,
            None if self.absent.contains(&reference.uid) => OwnerState::Absent,
            None => OwnerState::Unverified,
        }
    }

    /// A node, its owners and its dependents; none when it is gone or nothing can be decided about it.
    pub fn neighbourhood(&self, uid: &str) -> Option<Observed> {
        let node = self.nodes.get(uid)?;
        let waits = node.is_foreground() || node.is_orphaning();
        if node.deleting && !waits {
            return None;
        }
        let owners = node
            .owners
            .iter()
            .map(|reference| (reference.clone(), self.owner_state(node, reference)));
        let dependents = self.dependents_of(uid).filter_map(|uid| self.nodes.get(uid));
        let dependents = dependents.map(|dependent| Dependent::of(uid, dependent.clone()));
        Some(Observed {
            owners: owners.collect(),
            dependents: dependents.collect(),
            node: node.clone(),
            all_dependents: false,
            latest: None,
        })
    }
}
