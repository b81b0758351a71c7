//! A node writes about itself and its own pods, and nothing else.
//!
//! Counterpart in Kubernetes: `plugin/pkg/admission/noderestriction`, for the kinds there are. Mirror pods are refused: no kubelet
//! here makes them.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::{Creation, Deletion, Plugin, Replacement};
use crate::authz::{NAMESPACE_NODE_LEASE, node_name};

const MIRROR_POD: &str = "kubernetes.io/config.mirror";
/// Labels that administrators keep from nodes.
const RESTRICTED_LABELS: &str = "node-restriction.kubernetes.io";
/// Labels under Kubernetes' own domains that a node may set on itself.
const NODE_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];
/// Prefixes under which a node may set any label on itself.
const NODE_LABEL_NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

type Labels = Option<BTreeMap<String, String>>;

pub(super) struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    async fn create(&self, creation: &mut Creation<'_>) -> Result<(), StatusError> {
        let Some(node) = node_name(creation.user) else {
            return Ok(());
        };
        refusal_of_creation(node, creation.namespace, creation.object)
            .map_or(Ok(()), |reason| Err(creation.forbidden(reason)))
    }

    fn update(&self, replacement: &mut Replacement<'_>) -> Result<(), StatusError> {
        let Some(node) = node_name(replacement.user) else {
            return Ok(());
        };
        let Replacement { subresource, new, old, .. } = replacement;
        refusal_of_update(node, subresource, &**new, *old)
            .map_or(Ok(()), |reason| Err(replacement.forbidden(reason)))
    }

    fn delete(&self, deletion: &Deletion<'_>) -> Result<(), StatusError> {
        let Some(node) = node_name(deletion.user) else {
            return Ok(());
        };
        refusal_of_deletion(node, deletion.object)
            .map_or(Ok(()), |reason| Err(deletion.forbidden(reason)))
    }
}

fn refusal_of_creation(node: &str, namespace: &str, object: &dyn KubeObject) -> Option<String> {
    if object.downcast_ref::<Pod>().is_some() {
        return Some(format!(
            "pod does not have {MIRROR_POD:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    if let Some(created) = object.downcast_ref::<Node>() {
        let labels = forbidden_labels(&created.metadata.labels, &None);
        let refused =
            || format!("node {node:?} is not allowed to set the following labels: {labels}");
        return other_node(node, object.name()).or_else(|| (!labels.is_empty()).then(refused));
    }
    let lease = object.downcast_ref::<Lease>().is_some();
    lease.then(|| foreign_lease(node, namespace, object.name())).flatten()
}

fn refusal_of_update(
    node: &str,
    subresource: &str,
    new: &dyn KubeObject,
    old: &dyn KubeObject,
) -> Option<String> {
    if let Some(pod) = old.downcast_ref::<Pod>() {
        return refusal_of_pod_update(node, subresource, new, pod);
    }
    if let (Some(new), Some(before)) = (new.downcast_ref::<Node>(), old.downcast_ref::<Node>()) {
        return other_node(node, old.name()).or_else(|| refusal_of_node_update(node, new, before));
    }
    let lease = old.downcast_ref::<Lease>().is_some();
    lease.then(|| foreign_lease(node, old.namespace(), old.name())).flatten()
}

fn refusal_of_pod_update(
    node: &str,
    subresource: &str,
    new: &dyn KubeObject,
    old: &Pod,
) -> Option<String> {
    if subresource != "status" {
        return Some(format!(
            "unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"
        ));
    }
    if bound_to(old) != Some(node) {
        return Some(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    let relabelled = new.meta().labels != old.metadata.labels;
    relabelled.then(|| format!("node {node:?} cannot update labels through pod status"))
}

fn refusal_of_node_update(node: &str, new: &Node, old: &Node) -> Option<String> {
    let taints =
        |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    if taints(new) != taints(old) {
        return Some(format!("node {node:?} is not allowed to modify taints"));
    }
    if new.metadata.owner_references != old.metadata.owner_references {
        return Some(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    let labels = forbidden_labels(&new.metadata.labels, &old.metadata.labels);
    (!labels.is_empty()).then(|| format!("is not allowed to modify labels: {labels}"))
}

fn refusal_of_deletion(node: &str, object: &dyn KubeObject) -> Option<String> {
    if let Some(pod) = object.downcast_ref::<Pod>() {
        let refused =
            || format!("node {node:?} can only delete pods with spec.nodeName set to itself");
        return (bound_to(pod) != Some(node)).then(refused);
    }
    if object.downcast_ref::<Node>().is_some() {
        return other_node(node, object.name());
    }
    let lease = object.downcast_ref::<Lease>().is_some();
    lease.then(|| foreign_lease(node, object.namespace(), object.name())).flatten()
}

fn bound_to(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn other_node(node: &str, name: &str) -> Option<String> {
    (node != name).then(|| format!("node {node:?} is not allowed to modify node {name:?}"))
}

fn foreign_lease(node: &str, namespace: &str, name: &str) -> Option<String> {
    if namespace != NAMESPACE_NODE_LEASE {
        return Some(format!(
            "can only access leases in the {NAMESPACE_NODE_LEASE:?} system namespace"
        ));
    }
    let refusal = "can only access node lease with the same name as the requesting node";
    (node != name).then(|| refusal.to_owned())
}

/// The changed labels that a node may not set on itself, joined by commas.
fn forbidden_labels(new: &Labels, old: &Labels) -> String {
    let none = BTreeMap::new();
    let (new, old) = (new.as_ref().unwrap_or(&none), old.as_ref().unwrap_or(&none));
    let names: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    let forbidden =
        names.into_iter().filter(|name| new.get(*name) != old.get(*name) && !allowed(name));
    forbidden.cloned().collect::<Vec<_>>().join(", ")
}

fn allowed(label: &str) -> bool {
    let Some((namespace, _)) = label.split_once('/') else {
        return true;
    };
    let below = |domain: &str| {
        namespace.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if below(RESTRICTED_LABELS) {
        return false;
    }
    let own = NODE_LABEL_NAMESPACES.iter().any(|domain| below(domain));
    !(below("kubernetes.io") || below("k8s.io")) || own || NODE_LABELS.contains(&label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(node: &str) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p"}, "spec": {"nodeName": node, "containers": []}}),
        )
        .expect("a pod")
    }

    fn node(name: &str, labels: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))
            .expect("a node")
    }

    fn lease(namespace: &str, name: &str) -> Lease {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace}}))
            .expect("a lease")
    }

    #[test]
    fn node_writes_only_about_itself() {
        let refused = |refusal: Option<String>| refusal.is_some();
        assert!(!refused(refusal_of_creation("n", "", &node("n", json!({})))));
        assert!(refused(refusal_of_creation("n", "", &node("m", json!({})))));
        assert!(refused(refusal_of_creation("n", "default", &pod("n"))));
        assert!(!refused(refusal_of_creation("n", NAMESPACE_NODE_LEASE, &lease("", "n"))));
        assert!(refused(refusal_of_creation("n", NAMESPACE_NODE_LEASE, &lease("", "m"))));
        assert!(refused(refusal_of_creation("n", "default", &lease("", "n"))));
        assert!(!refused(refusal_of_update("n", "status", &pod("n"), &pod("n"))));
        assert!(refused(refusal_of_update("n", "status", &pod("m"), &pod("m"))));
        assert!(refused(refusal_of_update("n", "", &pod("n"), &pod("n"))));
        assert!(!refused(refusal_of_deletion("n", &pod("n"))));
        assert!(refused(refusal_of_deletion("n", &pod("m"))));
    }

    #[test]
    fn node_labels_of_others_are_forbidden() {
        let before = node("n", json!({"a": "b"}));
        let table = [
            (json!({"a": "c", "kubernetes.io/hostname": "n", "example.com/x": "y"}), None),
            (
                json!({"node-role.kubernetes.io/control-plane": ""}),
                Some("node-role.kubernetes.io/control-plane"),
            ),
            (
                json!({"x.node-restriction.kubernetes.io/a": ""}),
                Some("x.node-restriction.kubernetes.io/a"),
            ),
            (json!({"kubelet.kubernetes.io/a": "", "mykubernetes.io/x": ""}), None),
        ];
        for (labels, forbidden) in table {
            let refusal = refusal_of_node_update("n", &node("n", labels.clone()), &before);
            let expected =
                forbidden.map(|label| format!("is not allowed to modify labels: {label}"));
            assert_eq!(refusal, expected, "{labels}");
        }
    }
}
