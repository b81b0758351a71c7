//! What `kubectl get services` shows.
//!
//! Counterpart in Kubernetes: `printService` in `pkg/printers/internalversion`.

use std::collections::BTreeSet;

use apimachinery::labels::Selector;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use serde_json::Value;

use super::{CLUSTER_IP, EXTERNAL_NAME, LOAD_BALANCER, NODE_PORT};
use crate::columns::{self, column, or_none};
use crate::kinds::Column;
use crate::report::{list, text};

pub(super) const COLUMNS: &[Column] = &[
    columns::NAME,
    column("Type", "string", "How the service is reached."),
    column("Cluster-IP", "string", "Address of the service inside the cluster."),
    column("External-IP", "string", "Addresses or name of the service outside of the cluster."),
    column("Port(s)", "string", "Ports of the service."),
    columns::AGE,
    columns::SELECTOR,
];

/// Cells for [`COLUMNS`].
pub(super) fn row(service: &Service, now: Timestamp) -> Vec<Value> {
    let spec = service.spec.clone().unwrap_or_default();
    let ports: Vec<_> = list(&spec.ports).iter().map(port).collect();
    let selector = spec.selector.as_ref().map(|labels| Selector::from_set(labels).to_string());
    vec![
        columns::name(&service.metadata),
        text(&spec.type_).into(),
        or_none(list(&spec.cluster_ips).first().map(String::as_str)),
        external(service, &spec).into(),
        or_none(Some(&ports.join(","))),
        columns::age(&service.metadata, now),
        or_none(selector.as_deref()),
    ]
}

fn port(port: &ServicePort) -> String {
    let protocol = text(&port.protocol);
    match port.node_port {
        Some(node_port @ 1..) => format!("{}:{node_port}/{protocol}", port.port),
        _ => format!("{}/{protocol}", port.port),
    }
}

fn external(service: &Service, spec: &ServiceSpec) -> String {
    let ips = list(&spec.external_ips);
    match text(&spec.type_) {
        CLUSTER_IP | NODE_PORT if ips.is_empty() => "<none>".to_owned(),
        CLUSTER_IP | NODE_PORT => ips.join(","),
        LOAD_BALANCER => {
            let all: Vec<_> =
                ingress(service).into_iter().chain(ips.iter().map(String::as_str)).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        EXTERNAL_NAME => text(&spec.external_name).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// Addresses, or else names, of the load balancer.
fn ingress(service: &Service) -> BTreeSet<&str> {
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.map(|b| list(&b.ingress)).unwrap_or_default().iter();
    let shown =
        ingress.map(|i| if text(&i.ip).is_empty() { text(&i.hostname) } else { text(&i.ip) });
    shown.filter(|shown| !shown.is_empty()).collect()
}
