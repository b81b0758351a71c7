//! Endpoints: the addresses behind a service, all in one object. EndpointSlices replace them.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/endpoint`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};
use serde_json::Value;

use super::pod::PROTOCOLS;
use crate::columns::{self, column};
use crate::kinds::Column;
use crate::net;
use crate::report::{Report, list, omit_empty, text};
use crate::strategy::KindStrategy;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// The controller that follows services, whose authors were already told.
const MANAGER: &str = "endpoint-controller";

impl KindStrategy for Endpoints {
    const COLUMNS: &'static [Column] =
        &[columns::NAME, column("Endpoints", "string", "Addresses and ports."), columns::AGE];
    const ALLOW_CREATE_ON_UPDATE: bool = true;

    fn default_fields(&mut self) {
        for subset in self.subsets.iter_mut().flatten() {
            for port in subset.ports.iter_mut().flatten() {
                omit_empty!(port; name, protocol);
                port.protocol.get_or_insert_with(|| "TCP".to_owned());
            }
            let ready = subset.addresses.iter_mut().flatten();
            for address in ready.chain(subset.not_ready_addresses.iter_mut().flatten()) {
                omit_empty!(address; hostname);
            }
        }
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        validate_subsets(list(&self.subsets), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        if self.subsets != old.subsets {
            validate_subsets(list(&self.subsets), errors);
        }
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let by = self.metadata.labels.as_ref().and_then(|l| l.get(MANAGED_BY));
        if by.is_some_and(|by| by == MANAGER) {
            return Vec::new();
        }
        let subsets = list(&self.subsets).iter().enumerate();
        subsets.flat_map(|(i, subset)| address_warnings(subset, i)).collect()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let shown = list(&self.subsets).iter().flat_map(addresses);
        vec![
            columns::name(&self.metadata),
            columns::first_few(shown, "<none>").into(),
            columns::age(&self.metadata, now),
        ]
    }
}

/// Every ready address with every port, or alone when there are no ports.
fn addresses(subset: &EndpointSubset) -> Vec<String> {
    let ips = || list(&subset.addresses).iter().map(|address| address.ip.as_str());
    let ports = list(&subset.ports);
    if ports.is_empty() {
        return ips().map(str::to_owned).collect();
    }
    let joined = |ip: &str, port: &EndpointPort| match ip.contains(':') {
        true => format!("[{ip}]:{}", port.port),
        false => format!("{ip}:{}", port.port),
    };
    ports.iter().flat_map(|port| ips().map(move |ip| joined(ip, port))).collect()
}

fn address_warnings(subset: &EndpointSubset, i: usize) -> Vec<String> {
    let at = Path::new("subsets").index(i);
    let of = |name: &str, addresses: &[EndpointAddress]| -> Vec<String> {
        let at = at.child(name);
        let addresses = addresses.iter().enumerate();
        addresses.filter_map(|(j, a)| net::ip_warning(&a.ip, &at.index(j).child("ip"))).collect()
    };
    let ready = of("addresses", list(&subset.addresses));
    [ready, of("notReadyAddresses", list(&subset.not_ready_addresses))].concat()
}

fn validate_subsets(subsets: &[EndpointSubset], errors: &mut ErrorList) {
    for (i, subset) in subsets.iter().enumerate() {
        let at = Path::new("subsets").index(i);
        let (ready, not_ready) = (list(&subset.addresses), list(&subset.not_ready_addresses));
        if ready.is_empty() && not_ready.is_empty() {
            errors.required(&at, "must specify `addresses` or `notReadyAddresses`");
        }
        for (name, addresses) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
            for (j, address) in addresses.iter().enumerate() {
                validate_address(address, &at.child(name).index(j), errors);
            }
        }
        let ports = list(&subset.ports);
        for (j, port) in ports.iter().enumerate() {
            validate_port(port, ports.len() > 1, &at.child("ports").index(j), errors);
        }
    }
}

fn validate_address(address: &EndpointAddress, at: &Path, errors: &mut ErrorList) {
    net::validate_ip(&address.ip, &[], &at.child("ip"), errors);
    if !text(&address.hostname).is_empty() {
        errors.dns_label(&at.child("hostname"), text(&address.hostname));
    }
    if let Some(node) = &address.node_name {
        errors.dns_subdomain(&at.child("nodeName"), node);
    }
    net::validate_endpoint_ip(&address.ip, &at.child("ip"), errors);
}

fn validate_port(port: &EndpointPort, needs_name: bool, at: &Path, errors: &mut ErrorList) {
    let name = text(&port.name);
    if !name.is_empty() {
        errors.dns_label(&at.child("name"), name);
    } else if needs_name {
        errors.required(&at.child("name"), "");
    }
    let number = names::is_valid_port_number(port.port.into());
    errors.invalid_all(&at.child("port"), port.port, number);
    errors.one_of(&at.child("protocol"), text(&port.protocol), PROTOCOLS);
    if let Some(protocol) = &port.app_protocol {
        errors.qualified_name(&at.child("appProtocol"), protocol);
    }
}
