//! What an author of a service should know although it is allowed.
//!
//! Counterpart in Kubernetes: `GetWarningsForService` in `pkg/api/service`.

use apimachinery::field::Path;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::validation::{TOPOLOGY_HINTS, TOPOLOGY_MODE};
use super::{CLUSTER_IP, EXTERNAL_NAME, NONE};
use crate::net;
use crate::report::{list, text};

/// Warnings on create and on update, in Kubernetes' words and order.
pub(super) fn warnings(service: &Service) -> Vec<String> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let mut warnings = Vec::new();
    if service.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(TOPOLOGY_HINTS)) {
        warnings.push(format!(
            "annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"
        ));
    }
    let at = Path::new("spec");
    let headless = text(&spec.type_) == CLUSTER_IP && text(&spec.cluster_ip) == NONE;
    if headless {
        ignored_when_headless(spec, &mut warnings);
    } else {
        of_ips(list(&spec.cluster_ips), &at.child("clusterIPs"), &mut warnings);
    }
    let external_ips = list(&spec.external_ips);
    of_ips(external_ips, &at.child("externalIPs"), &mut warnings);
    let external_name = text(&spec.type_) == EXTERNAL_NAME;
    if !external_ips.is_empty() && !headless && !external_name {
        warnings.push(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
                .to_owned(),
        );
    }
    if let Some(ip) = &spec.load_balancer_ip {
        warnings.extend(net::ip_warning(ip, &at.child("loadBalancerIP")));
    }
    for (i, range) in list(&spec.load_balancer_source_ranges).iter().enumerate() {
        warnings.extend(net::cidr_warning(range, &at.child("loadBalancerSourceRanges").index(i)));
    }
    if external_name && !external_ips.is_empty() {
        warnings.push(format!("spec.externalIPs is ignored when spec.type is \"{EXTERNAL_NAME}\""));
    }
    if !external_name && !text(&spec.external_name).is_empty() {
        warnings.push(format!(
            "spec.externalName is ignored when spec.type is not \"{EXTERNAL_NAME}\""
        ));
    }
    if text(&spec.traffic_distribution) == "PreferClose" {
        warnings.push(
            r#"spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone""#
                .to_owned(),
        );
    }
    warnings
}

fn ignored_when_headless(spec: &ServiceSpec, warnings: &mut Vec<String>) {
    for (field, set) in [
        ("loadBalancerIP", !text(&spec.load_balancer_ip).is_empty()),
        ("externalIPs", !list(&spec.external_ips).is_empty()),
        ("SessionAffinity", text(&spec.session_affinity) != "None"),
    ] {
        if set {
            warnings.push(format!("spec.{field} is ignored for headless services"));
        }
    }
}

fn of_ips(ips: &[String], at: &Path, warnings: &mut Vec<String>) {
    warnings.extend(ips.iter().enumerate().filter_map(|(i, ip)| net::ip_warning(ip, &at.index(i))));
}
