//! What `kubectl get nodes` shows.
//!
//! Counterpart in Kubernetes: `printNode` in `pkg/printers/internalversion`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeStatus, NodeSystemInfo};
use serde_json::Value;

use crate::columns::{self, column, or_none, wide};
use crate::kinds::Column;
use crate::report::list;

/// Labels `node-role.kubernetes.io/ROLE`.
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
/// The older label, whose value is the role.
const ROLE_LABEL: &str = "kubernetes.io/role";

pub(super) const COLUMNS: &[Column] = &[
    columns::NAME,
    column("Status", "string", "Whether the node is ready, and whether it takes new pods."),
    column("Roles", "string", "Roles of the node, from its labels."),
    columns::AGE,
    column("Version", "string", "Version of the kubelet."),
    wide("Internal-IP", "string", "Address of the node inside the cluster."),
    wide("External-IP", "string", "Address of the node for everybody else."),
    wide("OS-Image", "string", "Operating system."),
    wide("Kernel-Version", "string", "Kernel."),
    wide("Container-Runtime", "string", "Container runtime and its version."),
];

/// Cells for [`COLUMNS`].
pub(super) fn row(node: &Node, now: Timestamp) -> Vec<Value> {
    let empty = NodeStatus::default();
    let status = node.status.as_ref().unwrap_or(&empty);
    let info = status.node_info.clone().unwrap_or_default();
    vec![
        columns::name(&node.metadata),
        word(node, status).into(),
        or_none(Some(&roles(node))),
        columns::age(&node.metadata, now),
        info.kubelet_version.as_str().into(),
        or_none(address(status, "InternalIP")),
        or_none(address(status, "ExternalIP")),
        or_unknown(&info.os_image).into(),
        kernel(&info).into(),
        or_unknown(&info.container_runtime_version).into(),
    ]
}

/// Whether the node takes no new pods.
pub(super) fn is_unschedulable(node: &Node) -> bool {
    node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false)
}

fn word(node: &Node, status: &NodeStatus) -> String {
    let ready = list(&status.conditions).iter().rfind(|c| c.type_ == "Ready");
    let ready = match ready.map(|c| c.status == "True") {
        None => "Unknown",
        Some(true) => "Ready",
        Some(false) => "NotReady",
    };
    if is_unschedulable(node) { format!("{ready},SchedulingDisabled") } else { ready.to_owned() }
}

fn roles(node: &Node) -> String {
    let role = |(key, value): (&str, &str)| match key.strip_prefix(ROLE_PREFIX) {
        Some(role) => role.to_owned(),
        None if key == ROLE_LABEL => value.to_owned(),
        None => String::new(),
    };
    let labels =
        node.metadata.labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let roles: BTreeSet<String> = labels.map(role).filter(|role| !role.is_empty()).collect();
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn address<'a>(status: &'a NodeStatus, type_: &str) -> Option<&'a str> {
    list(&status.addresses).iter().find(|a| a.type_ == type_).map(|a| a.address.as_str())
}

fn kernel(info: &NodeSystemInfo) -> String {
    let version = or_unknown(&info.kernel_version);
    if info.architecture.is_empty() {
        version
    } else {
        format!("{version} ({})", info.architecture)
    }
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "<unknown>".to_owned() } else { text.to_owned() }
}
