//! EndpointSlice: a part of the addresses that are behind a service.
//!
//! Counterpart in Kubernetes: `pkg/registry/discovery/endpointslice` and `pkg/apis/discovery/validation`.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use apimachinery::{meta, names};
use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, EndpointPort, EndpointSlice};
use serde_json::Value;

use crate::columns::{self, column};
use crate::core::pod::PROTOCOLS;
use crate::kinds::Column;
use crate::net;
use crate::report::{Report, list, text};
use crate::strategy::KindStrategy;

const IPV4: &str = "IPv4";
const IPV6: &str = "IPv6";
const FQDN: &str = "FQDN";
const ADDRESS_TYPES: &[&str] = &[FQDN, IPV4, IPV6];

const MAX_TOPOLOGY_LABELS: usize = 16;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_ENDPOINTS: usize = 1000;
const MAX_HINTS: usize = 8;

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Controllers whose slices follow other objects, for which the author was already told.
const MANAGERS: [&str; 2] =
    ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

impl KindStrategy for EndpointSlice {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("AddressType", "string", "Whether addresses are IPv4, IPv6 or names."),
        column("Ports", "string", "Ports of all endpoints."),
        column("Endpoints", "string", "Addresses of the endpoints."),
        columns::AGE,
    ];
    const GENERATION: bool = true;

    fn default_fields(&mut self) {
        for port in self.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
        for endpoint in self.endpoints.iter_mut().flatten() {
            endpoint.conditions.get_or_insert_default();
        }
    }

    fn on_create(&mut self) {
        drop_topology(self);
    }

    fn on_update(&mut self, old: &Self) {
        if self.endpoints != old.endpoints {
            drop_topology(self);
        }
    }

    fn validate(&self, errors: &mut ErrorList) {
        errors.one_of(&Path::new("addressType"), &self.address_type, ADDRESS_TYPES);
        validate_ports(list(&self.ports), &Path::new("ports"), errors);
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        validate_endpoints(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        if self.endpoints != old.endpoints {
            validate_endpoints(self, errors);
        }
        errors.unchanged(&Path::new("addressType"), &self.address_type, &old.address_type);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let names = self.address_type == FQDN && old.is_none();
        let names = names.then(|| "spec.addressType: FQDN endpoints are deprecated".to_owned());
        let managed = self.metadata.labels.as_ref().and_then(|l| l.get(MANAGED_BY));
        if managed.is_some_and(|by| MANAGERS.contains(&by.as_str())) {
            return names.into_iter().collect();
        }
        let endpoints = list(&self.endpoints).iter().enumerate();
        let addresses = endpoints.flat_map(|(i, endpoint)| {
            let at = Path::new("endpoints").index(i).child("addresses");
            endpoint
                .addresses
                .iter()
                .enumerate()
                .filter_map(move |(j, ip)| net::ip_warning(ip, &at.index(j)))
        });
        names.into_iter().chain(addresses).collect()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let ports = list(&self.ports).iter().map(|port| match (port.port, &port.name) {
            (Some(number), _) => number.to_string(),
            (None, Some(name)) => name.clone(),
            (None, None) => "*".to_owned(),
        });
        let addresses = list(&self.endpoints).iter().flat_map(|e| e.addresses.clone());
        vec![
            columns::name(&self.metadata),
            self.address_type.clone().into(),
            columns::first_few(ports, "<unset>").into(),
            columns::first_few(addresses, "<unset>").into(),
            columns::age(&self.metadata, now),
        ]
    }

    fn same_spec(&self, other: &Self) -> bool {
        (&self.address_type, &self.endpoints, &self.ports, &self.metadata.labels)
            == (&other.address_type, &other.endpoints, &other.ports, &other.metadata.labels)
    }
}

/// The old map of topology labels is no field of this version.
fn drop_topology(slice: &mut EndpointSlice) {
    for endpoint in slice.endpoints.iter_mut().flatten() {
        endpoint.deprecated_topology = None;
    }
}

fn validate_ports(ports: &[EndpointPort], at: &Path, errors: &mut ErrorList) {
    if ports.len() > MAX_PORTS {
        return errors.too_many(at, ports.len(), MAX_PORTS);
    }
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = at.index(i);
        let name = text(&port.name);
        if !name.is_empty() {
            errors.dns_label(&at.child("name"), name);
        }
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        let protocol = text(&port.protocol);
        if !PROTOCOLS.contains(&protocol) {
            errors.not_supported(&at.child("protocol"), protocol, PROTOCOLS);
        }
        if let Some(protocol) = &port.app_protocol {
            errors.qualified_name(&at.child("appProtocol"), protocol);
        }
    }
}

fn validate_endpoints(slice: &EndpointSlice, errors: &mut ErrorList) {
    let (endpoints, at) = (list(&slice.endpoints), Path::new("endpoints"));
    if endpoints.len() > MAX_ENDPOINTS {
        return errors.too_many(&at, endpoints.len(), MAX_ENDPOINTS);
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        validate_endpoint(endpoint, &slice.address_type, &at.index(i), errors);
    }
}

fn validate_endpoint(endpoint: &Endpoint, type_: &str, at: &Path, errors: &mut ErrorList) {
    let at_addresses = at.child("addresses");
    let count = endpoint.addresses.len();
    if count == 0 {
        errors.required(&at_addresses, "must contain at least 1 address");
    } else if count > MAX_ADDRESSES {
        errors.too_many(&at_addresses, count, MAX_ADDRESSES);
    }
    for (i, address) in endpoint.addresses.iter().enumerate() {
        validate_address(address, type_, &at_addresses, i, errors);
    }
    if let Some(node) = &endpoint.node_name {
        errors.dns_subdomain(&at.child("nodeName"), node);
    }
    if let Some(topology) = &endpoint.deprecated_topology {
        let at = at.child("deprecatedTopology");
        if topology.len() > MAX_TOPOLOGY_LABELS {
            errors.too_many(&at, topology.len(), MAX_TOPOLOGY_LABELS);
        }
        errors.extend(meta::validate_labels(topology, &at));
    }
    if let Some(hostname) = &endpoint.hostname {
        errors.dns_label(&at.child("hostname"), hostname);
    }
    if let Some(hints) = &endpoint.hints {
        validate_hints(hints, &at.child("hints"), errors);
    }
}

/// Addresses of the wrong family are told at the list, as Kubernetes does.
fn validate_address(address: &str, type_: &str, at: &Path, i: usize, errors: &mut ErrorList) {
    let at_item = at.index(i);
    match type_ {
        IPV4 if net::validate_ip(address, &[], &at_item, errors) => {
            if net::is_ipv6(address) {
                errors.invalid(at, address, "must be an IPv4 address");
            }
            net::validate_endpoint_ip(address, &at_item, errors);
        }
        IPV6 if net::validate_canonical_ip(address, &at_item, errors) => {
            if !net::is_ipv6(address) {
                errors.invalid(at, address, "must be an IPv6 address");
            }
            net::validate_endpoint_ip(address, &at_item, errors);
        }
        FQDN => net::validate_fqdn(address, &at_item, errors),
        _ => {}
    }
}

fn validate_hints(hints: &EndpointHints, at: &Path, errors: &mut ErrorList) {
    let (zones, at_zones) = (list(&hints.for_zones), at.child("forZones"));
    if zones.len() > MAX_HINTS {
        return errors.too_many(&at_zones, zones.len(), MAX_HINTS);
    }
    let mut seen = BTreeSet::new();
    for (i, zone) in zones.iter().enumerate() {
        let at = at_zones.index(i).child("name");
        if !seen.insert(&zone.name) {
            errors.duplicate(&at, &zone.name);
        }
        errors.invalid_all(&at, &zone.name, names::is_label_value(&zone.name));
    }
    let (nodes, at_nodes) = (list(&hints.for_nodes), at.child("forNodes"));
    if nodes.len() > MAX_HINTS {
        return errors.too_many(&at_nodes, nodes.len(), MAX_HINTS);
    }
    let mut seen = BTreeSet::new();
    for (i, node) in nodes.iter().enumerate() {
        let at = at_nodes.index(i).child("name");
        if !seen.insert(&node.name) {
            errors.duplicate(&at, &node.name);
        }
        errors.dns_subdomain(&at, &node.name);
    }
}
