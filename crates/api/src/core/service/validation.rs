//! The rules of a service.
//!
//! Counterpart in Kubernetes: `validateService` and its callers in `pkg/apis/core/validation`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use apimachinery::field::{ErrorList, Path};
use apimachinery::{meta, names};
use k8s_openapi::api::core::v1::{
    LoadBalancerIngress, Service, ServicePort, ServiceSpec, SessionAffinityConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::super::pod::{PROTOCOLS, validate_port};
use super::{
    CLUSTER_IP, EXTERNAL_NAME, LOAD_BALANCER, LOCAL, NODE_PORT, cluster_ips,
    is_externally_accessible, is_headless, needs_health_check,
};
use crate::net;
use crate::report::{IMMUTABLE, Report, list, text};

pub(super) const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
pub(super) const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TYPES: &[&str] = &[CLUSTER_IP, EXTERNAL_NAME, LOAD_BALANCER, NODE_PORT];
const AFFINITIES: &[&str] = &["ClientIP", "None"];
const TRAFFIC_POLICIES: &[&str] = &["Cluster", LOCAL];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
const IP_MODES: &[&str] = &["Proxy", "VIP"];
/// A client stays with its pod for a day at most.
const MAX_AFFINITY_SECONDS: i32 = 86_400;
const BALANCERS_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

/// Rules for a service, on create and on update.
pub(super) fn validate(service: &Service, errors: &mut ErrorList) {
    let empty = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    let at = Path::new("spec");
    validate_annotations(&service.metadata, errors);
    let at_ports = at.child("ports");
    if list(&spec.ports).is_empty() && !is_headless(spec) && text(&spec.type_) != EXTERNAL_NAME {
        errors.required(&at_ports, "");
    }
    validate_by_type(spec, &at, errors);
    validate_ports(list(&spec.ports), &at_ports, errors);
    if let Some(selector) = &spec.selector {
        errors.extend(meta::validate_labels(selector, &at.child("selector")));
    }
    validate_affinity(spec, &at, errors);
    if text(&spec.type_) != EXTERNAL_NAME {
        cluster_ips::validate(spec, &at, errors);
    }
    validate_external_ips(list(&spec.external_ips), &at.child("externalIPs"), errors);
    errors.one_of(&at.child("type"), text(&spec.type_), TYPES);
    validate_repeated_ports(spec, &at_ports, errors);
    validate_source_ranges(spec, &service.metadata, &at, errors);
    validate_balancer_fields(spec, &at, errors);
    validate_traffic(spec, &at, errors);
}

/// Two annotations that mean the same must say the same.
fn validate_annotations(meta: &ObjectMeta, errors: &mut ErrorList) {
    let annotation = |name: &str| meta.annotations.as_ref().and_then(|a| a.get(name));
    if let (Some(mode), Some(hints)) = (annotation(TOPOLOGY_MODE), annotation(TOPOLOGY_HINTS))
        && mode != hints
    {
        let at = Path::new("metadata").child("annotations").key(TOPOLOGY_MODE);
        errors.invalid(
            &at,
            mode,
            format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified"),
        );
    }
}

fn validate_by_type(spec: &ServiceSpec, at: &Path, errors: &mut ErrorList) {
    let type_ = text(&spec.type_);
    if matches!(type_, LOAD_BALANCER | NODE_PORT) && is_headless(spec) {
        let at = at.child("clusterIPs").index(0);
        errors.invalid(&at, super::NONE, format!("may not be set to 'None' for {type_} services"));
    }
    if type_ != EXTERNAL_NAME {
        return;
    }
    for (name, set) in [
        ("clusterIPs", !list(&spec.cluster_ips).is_empty()),
        ("ipFamilies", !list(&spec.ip_families).is_empty()),
        ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
    ] {
        if set {
            errors.forbidden(&at.child(name), "may not be set for ExternalName services");
        }
    }
    let (at, name) = (at.child("externalName"), text(&spec.external_name));
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() { errors.required(&at, "") } else { errors.dns_subdomain(&at, name) }
}

/// Where there are several ports, they are told apart by name.
fn validate_ports(ports: &[ServicePort], at: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = at.index(i);
        let (at_name, name) = (at.child("name"), text(&port.name));
        if !name.is_empty() {
            errors.dns_label(&at_name, name);
            if !seen.insert(name) {
                errors.duplicate(&at_name, name);
            }
        } else if ports.len() > 1 {
            errors.required(&at_name, "");
        }
        errors.invalid_all(
            &at.child("port"),
            port.port,
            names::is_valid_port_number(port.port.into()),
        );
        errors.one_of(&at.child("protocol"), text(&port.protocol), PROTOCOLS);
        if let Some(target) = &port.target_port {
            validate_port(target, &at.child("targetPort"), errors);
        }
        if let Some(protocol) = &port.app_protocol {
            errors.qualified_name(&at.child("appProtocol"), protocol);
        }
    }
}

fn validate_affinity(spec: &ServiceSpec, at: &Path, errors: &mut ErrorList) {
    let affinity = text(&spec.session_affinity);
    errors.one_of(&at.child("sessionAffinity"), affinity, AFFINITIES);
    if affinity == "ClientIP" {
        validate_client_ip(
            spec.session_affinity_config.as_ref(),
            &at.child("sessionAffinityConfig"),
            errors,
        );
    }
}

fn validate_client_ip(config: Option<&SessionAffinityConfig>, at: &Path, errors: &mut ErrorList) {
    let Some(seconds) = config.and_then(|c| c.client_ip.as_ref()?.timeout_seconds) else {
        return errors.required(at, "when session affinity type is ClientIP");
    };
    if !(1..=MAX_AFFINITY_SECONDS).contains(&seconds) {
        let at = at.child("clientIP").child("timeoutSeconds");
        errors.invalid(
            &at,
            seconds,
            format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}"),
        );
    }
}

/// Addresses by which packets reach the cluster: none that stands for the machine itself or for its link.
fn validate_external_ips(ips: &[String], at: &Path, errors: &mut ErrorList) {
    for (i, value) in ips.iter().enumerate() {
        let at = at.index(i);
        if !net::validate_ip(value, &[], &at, errors) {
            continue;
        }
        let Ok(ip) = value.parse::<IpAddr>() else { continue };
        let (link_local, link_multicast) = match ip {
            IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
            IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
        };
        if ip.is_unspecified() {
            errors.invalid(&at, value, format!("may not be unspecified ({value})"));
        }
        if ip.is_loopback() {
            errors.invalid(&at, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
        }
        if link_local {
            errors.invalid(
                &at,
                value,
                "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            );
        }
        if link_multicast {
            errors.invalid(
                &at,
                value,
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            );
        }
    }
}

fn validate_repeated_ports(spec: &ServiceSpec, at: &Path, errors: &mut ErrorList) {
    let ports = list(&spec.ports);
    let node_port = |port: &ServicePort| port.node_port.filter(|number| *number != 0);
    if text(&spec.type_) == CLUSTER_IP {
        for (i, _) in ports.iter().enumerate().filter(|(_, port)| node_port(port).is_some()) {
            errors.forbidden(
                &at.index(i).child("nodePort"),
                "may not be used when `type` is 'ClusterIP'",
            );
        }
    }
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        if let Some(number) = node_port(port)
            && !seen.insert((text(&port.protocol), number))
        {
            errors.duplicate(&at.index(i).child("nodePort"), number);
        }
    }
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let protocol = text(&port.protocol);
        if !seen.insert((protocol, port.port)) {
            let shown = json!({"Name": "", "Protocol": protocol, "AppProtocol": null, "Port": port.port, "TargetPort": 0, "NodePort": 0});
            errors.duplicate(&at.index(i), shown);
        }
    }
}

/// Who may use the load balancer, by the field or else by the annotation before it. The field's path is capital, as there.
fn validate_source_ranges(
    spec: &ServiceSpec,
    meta: &ObjectMeta,
    at: &Path,
    errors: &mut ErrorList,
) {
    let ranges = list(&spec.load_balancer_source_ranges);
    let annotation = meta.annotations.as_ref().and_then(|a| a.get(SOURCE_RANGES));
    let at = match annotation {
        _ if !ranges.is_empty() => at.child("LoadBalancerSourceRanges"),
        Some(_) => Path::new("metadata").child("annotations").key(SOURCE_RANGES),
        None => return,
    };
    if text(&spec.type_) != LOAD_BALANCER {
        errors.forbidden(&at, BALANCERS_ONLY);
    }
    for (i, range) in ranges.iter().enumerate() {
        net::validate_cidr(range.trim(), &[], &at.index(i), errors);
    }
    if let Some(value) = annotation.filter(|value| ranges.is_empty() && !value.trim().is_empty()) {
        for range in value.split(',') {
            net::validate_cidr(range.trim(), &[], &at, errors);
        }
    }
}

fn validate_balancer_fields(spec: &ServiceSpec, at: &Path, errors: &mut ErrorList) {
    let balanced = text(&spec.type_) == LOAD_BALANCER;
    if spec.allocate_load_balancer_node_ports.is_some() && !balanced {
        errors.forbidden(&at.child("allocateLoadBalancerNodePorts"), BALANCERS_ONLY);
    }
    match &spec.load_balancer_class {
        Some(class) if balanced => errors.qualified_name(&at.child("loadBalancerClass"), class),
        Some(_) => errors.forbidden(&at.child("loadBalancerClass"), BALANCERS_ONLY),
        None => {}
    }
}

fn validate_traffic(spec: &ServiceSpec, at: &Path, errors: &mut ErrorList) {
    let (at_external, external) =
        (at.child("externalTrafficPolicy"), text(&spec.external_traffic_policy));
    if is_externally_accessible(spec) {
        errors.one_of(&at_external, external, TRAFFIC_POLICIES);
    } else if !external.is_empty() {
        errors.invalid(
            &at_external,
            external,
            "may only be set for externally-accessible services",
        );
    }
    let (at_check, check) =
        (at.child("healthCheckNodePort"), spec.health_check_node_port.unwrap_or(0));
    match (needs_health_check(spec), check) {
        (true, 0) => errors.required(&at_check, ""),
        (true, port) => {
            errors.invalid_all(&at_check, port, names::is_valid_port_number(port.into()))
        }
        (false, 0) => {}
        (false, port) => {
            let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid(&at_check, port, detail);
        }
    }
    if let Some(internal) = &spec.internal_traffic_policy
        && !TRAFFIC_POLICIES.contains(&internal.as_str())
    {
        errors.not_supported(&at.child("internalTrafficPolicy"), internal, TRAFFIC_POLICIES);
    }
    if let Some(distribution) = &spec.traffic_distribution
        && !DISTRIBUTIONS.contains(&distribution.as_str())
    {
        errors.not_supported(&at.child("trafficDistribution"), distribution, DISTRIBUTIONS);
    }
}

/// Further rules for a change.
pub(super) fn validate_update(new: &Service, old: &Service, errors: &mut ErrorList) {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    let at = Path::new("spec");
    cluster_ips::validate_update(new, old, errors);
    let balanced = |spec: &ServiceSpec| text(&spec.type_) == LOAD_BALANCER;
    if balanced(new) && balanced(old) && new.load_balancer_class != old.load_balancer_class {
        errors.invalid(
            &at.child("loadBalancerClass"),
            &new.load_balancer_class,
            "may not change once set",
        );
    }
    let checked = needs_health_check(new) && needs_health_check(old);
    if checked && new.health_check_node_port != old.health_check_node_port {
        errors.forbidden(&at.child("healthCheckNodePort"), IMMUTABLE);
    }
}

/// Rules for a change of the status.
pub(super) fn validate_status(service: &Service, errors: &mut ErrorList) {
    let type_ = service.spec.as_ref().map(|s| text(&s.type_)).unwrap_or_default();
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.map(|b| list(&b.ingress)).unwrap_or_default();
    let at = Path::new("status").child("loadBalancer").child("ingress");
    if type_ != LOAD_BALANCER && !ingress.is_empty() {
        return errors.forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for (i, ingress) in ingress.iter().enumerate() {
        validate_ingress(ingress, &at.index(i), errors);
    }
}

fn validate_ingress(ingress: &LoadBalancerIngress, at: &Path, errors: &mut ErrorList) {
    let (ip, at_mode) = (text(&ingress.ip), at.child("ipMode"));
    if !ip.is_empty() {
        net::validate_ip(ip, &[], &at.child("ip"), errors);
    }
    match &ingress.ip_mode {
        None if !ip.is_empty() => errors.required(&at_mode, "must be specified when `ip` is set"),
        Some(_) if ip.is_empty() => {
            errors.forbidden(&at_mode, "may not be specified when `ip` is not set")
        }
        Some(mode) if !IP_MODES.contains(&mode.as_str()) => {
            errors.not_supported(&at_mode, mode, IP_MODES)
        }
        _ => {}
    }
    let (host, at_host) = (text(&ingress.hostname), at.child("hostname"));
    if !host.is_empty() {
        errors.dns_subdomain(&at_host, host);
        if host.parse::<IpAddr>().is_ok() {
            errors.invalid(&at_host, host, "must be a DNS name, not an IP address");
        }
    }
}
