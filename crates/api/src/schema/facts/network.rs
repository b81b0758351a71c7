//! How the lists and maps of `discovery.k8s.io` and `networking.k8s.io` merge.
//!
//! Counterpart in Kubernetes: the merge marks on the Go types of those groups.

use super::Row;
use crate::schema::fact::{ATOMIC, SET, merged};

pub(super) const ROWS: &[Row] = &[
    ("discovery.v1.Endpoint", &[("addresses", SET)]),
    ("discovery.v1.EndpointHints", &[("forNodes", ATOMIC), ("forZones", ATOMIC)]),
    ("discovery.v1.EndpointSlice", &[("endpoints", ATOMIC), ("ports", ATOMIC)]),
    ("networking.v1.HTTPIngressRuleValue", &[("paths", ATOMIC)]),
    ("networking.v1.IPBlock", &[("except", ATOMIC)]),
    ("networking.v1.IngressLoadBalancerIngress", &[("ports", ATOMIC)]),
    ("networking.v1.IngressLoadBalancerStatus", &[("ingress", ATOMIC)]),
    ("networking.v1.IngressSpec", &[("rules", ATOMIC), ("tls", ATOMIC)]),
    ("networking.v1.IngressTLS", &[("hosts", ATOMIC)]),
    ("networking.v1.NetworkPolicyEgressRule", &[("ports", ATOMIC), ("to", ATOMIC)]),
    ("networking.v1.NetworkPolicyIngressRule", &[("from", ATOMIC), ("ports", ATOMIC)]),
    (
        "networking.v1.NetworkPolicySpec",
        &[("egress", ATOMIC), ("ingress", ATOMIC), ("policyTypes", ATOMIC)],
    ),
    ("networking.v1.ServiceCIDRSpec", &[("cidrs", ATOMIC)]),
    ("networking.v1.ServiceCIDRStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("networking.v1beta1.ServiceCIDRSpec", &[("cidrs", ATOMIC)]),
    ("networking.v1beta1.ServiceCIDRStatus", &[("conditions", merged("type").keyed(&["type"]))]),
];
