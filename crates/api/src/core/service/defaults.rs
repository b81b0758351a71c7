//! What a service gets that its author left out, and what it loses when its type changes.
//!
//! Counterpart in Kubernetes: `SetDefaults_Service` and `dropTypeDependentFields`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    ClientIPConfig, Service, ServicePort, ServiceSpec, ServiceStatus, SessionAffinityConfig,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    EXTERNAL_NAME, LOAD_BALANCER, NODE_PORT, is_externally_accessible, needs_health_check,
};
use crate::report::{list, omit_empty, text};

/// Seconds a client stays with its pod: three hours.
const AFFINITY_SECONDS: i32 = 10_800;

/// Defaults of a service.
pub(super) fn service(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    omit_empty(spec);
    spec.type_.get_or_insert_with(|| super::CLUSTER_IP.to_owned());
    session_affinity(spec);
    spec.ports.iter_mut().flatten().for_each(port);
    let type_ = spec.type_.clone().unwrap_or_default();
    if is_externally_accessible(spec) {
        spec.external_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
    }
    if matches!(type_.as_str(), super::CLUSTER_IP | NODE_PORT | LOAD_BALANCER) {
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
    }
    if type_ == LOAD_BALANCER {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
    status(service.status.get_or_insert_default(), &type_);
}

fn omit_empty(spec: &mut ServiceSpec) {
    omit_empty!(spec; cluster_ip, cluster_ips, external_ips, external_name, external_traffic_policy, ip_families,
        load_balancer_ip, load_balancer_source_ranges, ports, selector, session_affinity, type_);
    spec.health_check_node_port = spec.health_check_node_port.filter(|port| *port != 0);
    spec.publish_not_ready_addresses = spec.publish_not_ready_addresses.filter(|set| *set);
}

fn session_affinity(spec: &mut ServiceSpec) {
    let affinity = spec.session_affinity.get_or_insert_with(|| "None".to_owned());
    let seconds =
        spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref()?.timeout_seconds);
    match affinity.as_str() {
        "None" => spec.session_affinity_config = None,
        "ClientIP" => {
            let timeout_seconds = Some(seconds.unwrap_or(AFFINITY_SECONDS));
            let client_ip = Some(ClientIPConfig { timeout_seconds });
            spec.session_affinity_config = Some(SessionAffinityConfig { client_ip });
        }
        _ => {}
    }
}

fn port(port: &mut ServicePort) {
    omit_empty!(port; name, protocol);
    port.protocol.get_or_insert_with(|| "TCP".to_owned());
    port.node_port = port.node_port.filter(|port| *port != 0);
    let unset = match &port.target_port {
        None | Some(IntOrString::Int(0)) => true,
        Some(IntOrString::String(name)) => name.is_empty(),
        Some(IntOrString::Int(_)) => false,
    };
    if unset {
        port.target_port = Some(IntOrString::Int(port.port));
    }
}

fn status(status: &mut ServiceStatus, type_: &str) {
    let balancer = status.load_balancer.get_or_insert_default();
    omit_empty!(balancer; ingress);
    if type_ == LOAD_BALANCER {
        for ingress in balancer.ingress.iter_mut().flatten().filter(|i| !text(&i.ip).is_empty()) {
            ingress.ip_mode.get_or_insert_with(|| "VIP".to_owned());
        }
    }
}

/// Drops what the new type has no use for, if the old one had and the client did not touch it.
pub(super) fn drop_unfit(spec: &mut ServiceSpec, before: &ServiceSpec) {
    let has_address = |s: &ServiceSpec| text(&s.type_) != EXTERNAL_NAME;
    if has_address(before) && !has_address(spec) {
        drop_addresses(spec, before);
    }
    let has_node_ports = |s: &ServiceSpec| matches!(text(&s.type_), NODE_PORT | LOAD_BALANCER);
    if has_node_ports(before)
        && !has_node_ports(spec)
        && node_ports(before).is_superset(&node_ports(spec))
    {
        spec.ports.iter_mut().flatten().for_each(|port| port.node_port = None);
    }
    if needs_health_check(before)
        && !needs_health_check(spec)
        && spec.health_check_node_port == before.health_check_node_port
    {
        spec.health_check_node_port = None;
    }
    if text(&before.type_) == LOAD_BALANCER && text(&spec.type_) != LOAD_BALANCER {
        drop_same(
            &mut spec.allocate_load_balancer_node_ports,
            &before.allocate_load_balancer_node_ports,
        );
        drop_same(&mut spec.load_balancer_class, &before.load_balancer_class);
    }
    if is_externally_accessible(before) && !is_externally_accessible(spec) {
        drop_same(&mut spec.external_traffic_policy, &before.external_traffic_policy);
    }
}

fn drop_addresses(spec: &mut ServiceSpec, before: &ServiceSpec) {
    let same_ips = list(&spec.cluster_ips) == list(&before.cluster_ips);
    if text(&spec.cluster_ip) == text(&before.cluster_ip) && same_ips {
        (spec.cluster_ip, spec.cluster_ips) = (None, None);
    }
    drop_same(&mut spec.ip_families, &before.ip_families);
    drop_same(&mut spec.ip_family_policy, &before.ip_family_policy);
}

fn drop_same<T: PartialEq>(field: &mut Option<T>, before: &Option<T>) {
    if field == before {
        *field = None;
    }
}

fn node_ports(spec: &ServiceSpec) -> BTreeSet<i32> {
    list(&spec.ports).iter().filter_map(|port| port.node_port).collect()
}
