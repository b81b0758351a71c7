//! Kinds of the group `networking.k8s.io`.

pub mod ingress;
pub mod ingress_class;
pub mod ip_address;
pub mod network_policy;
mod references;
pub mod service_cidr;

use k8s_openapi::api::networking::v1::{
    IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR,
};

use crate::kinds::{ALL_VERBS, PART_VERBS, Resource, Subresource, names, row, sub};

pub(crate) use references::validate_domain_prefixed_path;
use references::{validate_reference, validate_segment};

const INGRESS_SUBRESOURCES: &[Subresource] = &[sub("status", "Ingress", PART_VERBS)];
const SERVICE_CIDR_SUBRESOURCES: &[Subresource] = &[sub("status", "ServiceCIDR", PART_VERBS)];

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        row::<IngressClass>(
            names("ingressclass", &[], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.networking.v1.IngressClass",
        ),
        row::<Ingress>(
            names("ingress", &["ing"], &[]),
            ALL_VERBS,
            INGRESS_SUBRESOURCES,
            "io.k8s.api.networking.v1.Ingress",
        ),
        row::<IPAddress>(
            names("ipaddress", &["ip"], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.networking.v1.IPAddress",
        ),
        row::<NetworkPolicy>(
            names("networkpolicy", &["netpol"], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.networking.v1.NetworkPolicy",
        ),
        row::<ServiceCIDR>(
            names("servicecidr", &[], &[]),
            ALL_VERBS,
            SERVICE_CIDR_SUBRESOURCES,
            "io.k8s.api.networking.v1.ServiceCIDR",
        ),
    ]
}

#[cfg(test)]
mod tests;
