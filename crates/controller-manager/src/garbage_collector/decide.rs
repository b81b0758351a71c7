//! What becomes of one object. Counterpart: `attemptToDeleteItem`, `processDeletingDependentsItem`, `orphanDependents`.
//!
//! Invariants:
//! * Pure: all looking up is done before.
//! * An object with an owner that exists is never deleted.

use std::time::Duration;

use client::controller::{Delete, IfAbsent, Patch, PatchBody, Propagation};
use client::{Action, Plan};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use super::graph::{FOREGROUND, Node, ORPHAN};

/// The next look at an owner with dependents that the graph has yet to hear of.
const UNKNOWN_DEPENDENT_CHECK: Duration = Duration::from_secs(1);

/// What is known of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerState {
    /// Not in the graph, or there with other coordinates: to be asked for.
    Unverified,
    /// It exists.
    Solid,
    /// It exists and is being deleted, its dependents first.
    WaitsForDependents,
    /// It does not exist.
    Absent,
    /// Its kind is not served; it may be later.
    UnknownKind,
    /// A cluster-scoped object cannot have an owner in a namespace.
    Invalid,
}

/// An object that names the node as an owner.
#[derive(Clone, Debug)]
pub struct Dependent {
    /// The object.
    pub node: Node,
    /// Whether the owner has to wait for its deletion.
    pub blocks: bool,
}

impl Dependent {
    /// An object as a dependent of the owner with `owner_uid`.
    pub fn of(owner_uid: &str, node: Node) -> Self {
        let blocks = node
            .owners
            .iter()
            .any(|owner| owner.uid == owner_uid && owner.block_owner_deletion == Some(true));
        Self { node, blocks }
    }
}

/// An object with its neighbours in the graph.
#[derive(Debug)]
pub struct Observed {
    /// The object.
    pub node: Node,
    /// Its owners.
    pub owners: Vec<(OwnerReference, OwnerState)>,
    /// Its dependents.
    pub dependents: Vec<Dependent>,
    /// Whether the dependents are by the API server's word, and so may be more than the graph knows.
    pub all_dependents: bool,
    /// Its metadata by the API server's word; only asked for when [`Observed::needs_latest`].
    pub latest: Option<ObjectMeta>,
}

impl Observed {
    fn uids(&self, states: &[OwnerState]) -> Vec<&str> {
        let found = self.owners.iter().filter(|(_, state)| states.contains(state));
        found.map(|(reference, _)| reference.uid.as_str()).collect()
    }

    fn is_blocked(&self) -> bool {
        self.dependents.iter().any(|dependent| dependent.blocks)
    }

    /// Whether it is about to lose a finalizer that is a promise to its dependents.
    pub fn needs_all_dependents(&self) -> bool {
        self.node.is_orphaning() || (self.node.is_foreground() && !self.is_blocked())
    }

    /// Adds dependents by the API server's word, which is newer than the graph's.
    pub fn add_dependents(&mut self, nodes: Vec<Node>) {
        self.all_dependents = true;
        self.dependents.retain(|known| nodes.iter().all(|node| node.uid != known.node.uid));
        let owner = &self.node.uid;
        self.dependents.extend(nodes.into_iter().map(|node| Dependent::of(owner, node)));
    }

    /// Whether its owners ask for a change of the object itself.
    pub fn needs_latest(&self) -> bool {
        let waits = self.node.is_foreground() || self.node.is_orphaning();
        let lost = !self.uids(&[OwnerState::Absent, OwnerState::WaitsForDependents]).is_empty();
        !waits && lost && self.uids(&[OwnerState::UnknownKind, OwnerState::Invalid]).is_empty()
    }
}

fn merge_patch(node: &Node, metadata: Value) -> Action {
    Action::Patch(Patch {
        resource: (*node.resource).clone(),
        key: node.key.clone(),
        subresource: None,
        body: PatchBody::Merge(json!({ "metadata": metadata })),
        if_absent: IfAbsent::Ignore,
    })
}

/// Leaves out the owners with the given uids.
fn without_owners(
    node: &Node,
    resource_version: Option<&String>,
    owners: &[OwnerReference],
    uids: &[&str],
) -> Action {
    let kept: Vec<&OwnerReference> =
        owners.iter().filter(|owner| !uids.contains(&owner.uid.as_str())).collect();
    let owners = if kept.is_empty() { Value::Null } else { json!(kept) };
    merge_patch(
        node,
        json!({"uid": node.uid, "resourceVersion": resource_version, "ownerReferences": owners}),
    )
}

fn without_finalizer(node: &Node, finalizer: &str) -> Action {
    let kept: Vec<&String> = node.finalizers.iter().filter(|kept| *kept != finalizer).collect();
    let finalizers = if kept.is_empty() { Value::Null } else { json!(kept) };
    merge_patch(
        node,
        json!({"uid": node.uid, "resourceVersion": node.resource_version, "finalizers": finalizers}),
    )
}

/// Decides what becomes of an object.
pub fn decide(observed: &Observed) -> Plan {
    let node = &observed.node;
    if node.is_orphaning() {
        return orphan_dependents(observed);
    }
    if node.is_foreground() {
        return wait_for_dependents(observed);
    }
    match &observed.latest {
        Some(latest) if latest.deletion_timestamp.is_none() => collect(observed, latest),
        _ => Plan::nothing(),
    }
}

/// The end of a dependent that the graph knows wakes its owner; of one that it does not know, a later look has to tell.
fn wait_for_dependents(observed: &Observed) -> Plan {
    match (observed.is_blocked(), observed.all_dependents) {
        (false, _) => without_finalizer(&observed.node, FOREGROUND).into(),
        (true, false) => Plan::nothing(),
        (true, true) => Plan { requeue_after: Some(UNKNOWN_DEPENDENT_CHECK), ..Plan::default() },
    }
}

fn orphan_dependents(observed: &Observed) -> Plan {
    let owner = observed.node.uid.as_str();
    let release = |dependent: &Dependent| {
        let node = &dependent.node;
        without_owners(node, node.resource_version.as_ref(), &node.owners, &[owner])
    };
    let mut actions: Vec<Action> = observed.dependents.iter().map(release).collect();
    actions.push(without_finalizer(&observed.node, ORPHAN));
    actions.into()
}

/// The owners of `latest` may be newer than those that were looked up: an owner nobody looked up counts as existing.
fn has_unknown_owner(observed: &Observed, latest: &ObjectMeta) -> bool {
    let known =
        |owner: &OwnerReference| observed.owners.iter().any(|(reference, _)| reference == owner);
    !latest.owner_references.iter().flatten().all(known)
}

fn collect(observed: &Observed, latest: &ObjectMeta) -> Plan {
    let solid = observed.uids(&[OwnerState::Solid]);
    let waiting = observed.uids(&[OwnerState::WaitsForDependents]);
    let lost = observed.uids(&[OwnerState::Absent, OwnerState::WaitsForDependents]);
    let owners = latest.owner_references.as_deref().unwrap_or_default();
    if owners.is_empty() || has_unknown_owner(observed, latest) {
        return Plan::nothing();
    }
    if !solid.is_empty() {
        return without_owners(&observed.node, latest.resource_version.as_ref(), owners, &lost)
            .into();
    }
    if !waiting.is_empty() && !observed.dependents.is_empty() {
        return delete_in_foreground(observed, latest, owners);
    }
    delete(&observed.node, latest.resource_version.clone(), propagation(latest)).into()
}

/// An owner waits for it and it has dependents: it goes after them in turn. If one of them waits already there may be a
/// circle in which everyone waits for everyone; then it stops blocking its owners first.
fn delete_in_foreground(
    observed: &Observed,
    latest: &ObjectMeta,
    owners: &[OwnerReference],
) -> Plan {
    let node = &observed.node;
    if !observed.dependents.iter().any(|dependent| dependent.node.is_foreground()) {
        return delete(node, latest.resource_version.clone(), Propagation::Foreground).into();
    }
    let unblocked: Vec<OwnerReference> = owners
        .iter()
        .map(|owner| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() })
        .collect();
    let unblock = merge_patch(
        node,
        json!({"uid": node.uid, "resourceVersion": latest.resource_version, "ownerReferences": unblocked}),
    );
    vec![unblock, delete(node, None, Propagation::Foreground)].into()
}

/// The object's own finalizers say how its dependents are to be treated.
fn propagation(latest: &ObjectMeta) -> Propagation {
    let has = |finalizer: &str| latest.finalizers.iter().flatten().any(|found| found == finalizer);
    match (has(ORPHAN), has(FOREGROUND)) {
        (true, _) => Propagation::Orphan,
        (false, true) => Propagation::Foreground,
        (false, false) => Propagation::Background,
    }
}

fn delete(node: &Node, resource_version: Option<String>, propagation: Propagation) -> Action {
    Action::Delete(Delete {
        resource: (*node.resource).clone(),
        key: node.key.clone(),
        uid: Some(node.uid.clone()),
        resource_version,
        propagation: Some(propagation),
        grace_period_seconds: None,
        report: None,
    })
}

#[cfg(test)]
mod tests;
