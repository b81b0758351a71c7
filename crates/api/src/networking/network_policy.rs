//! NetworkPolicy: who may speak to whom.
//!
//! Counterpart in Kubernetes: `pkg/registry/networking/networkpolicy` and `pkg/apis/networking/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::columns::{self, column};
use crate::core::pod;
use crate::kinds::Column;
use crate::net;
use crate::report::{Report, list};
use crate::strategy::KindStrategy;

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];
const INGRESS: &str = "Ingress";
const EGRESS: &str = "Egress";

impl KindStrategy for NetworkPolicy {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Pod-Selector", "string", "Labels of the pods the policy is about."),
        columns::AGE,
    ];
    const GENERATION: bool = true;

    fn default_fields(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.pod_selector.get_or_insert_default();
        if list(&spec.policy_types).is_empty() {
            let egress = !list(&spec.egress).is_empty();
            let types = [Some(INGRESS), egress.then_some(EGRESS)];
            spec.policy_types = Some(types.into_iter().flatten().map(str::to_owned).collect());
        }
        let ingress = spec.ingress.iter_mut().flatten().flat_map(|rule| &mut rule.ports);
        let egress = spec.egress.iter_mut().flatten().flat_map(|rule| &mut rule.ports);
        for port in ingress.chain(egress).flatten() {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        validate(self, &[], errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let spec = old.spec.clone().unwrap_or_default();
        let known: Vec<_> = peers(&spec)
            .filter_map(|(_, peer)| peer.ip_block.clone())
            .flat_map(|block| [vec![block.cidr], block.except.unwrap_or_default()].concat())
            .collect();
        validate(self, &known, errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let spec = self.spec.clone().unwrap_or_default();
        let blocks = peers(&spec).filter_map(|(at, peer)| Some((at, peer.ip_block.as_ref()?)));
        let told = blocks.flat_map(|(at, block)| {
            let at = at.child("ipBlock");
            let except = list(&block.except).iter().enumerate();
            let except = except.map(|(i, range)| (at.child("except").index(i), range));
            let ranges = std::iter::once((at.child("cidr"), &block.cidr)).chain(except);
            ranges.filter_map(|(at, range)| net::cidr_warning(range, &at)).collect::<Vec<_>>()
        });
        told.collect()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let selector = self.spec.as_ref().and_then(|s| s.pod_selector.as_ref());
        vec![
            columns::name(&self.metadata),
            labels::format_label_selector(selector).into(),
            columns::age(&self.metadata, now),
        ]
    }

    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

/// Every peer with its path, ingress first.
fn peers(spec: &NetworkPolicySpec) -> impl Iterator<Item = (Path, &NetworkPolicyPeer)> {
    let ingress = list(&spec.ingress).iter().map(|rule| (INGRESS, list(&rule.from))).enumerate();
    let egress = list(&spec.egress).iter().map(|rule| (EGRESS, list(&rule.to))).enumerate();
    ingress.chain(egress).flat_map(|(i, (direction, peers))| {
        let (direction, side) =
            if direction == INGRESS { ("ingress", "from") } else { ("egress", "to") };
        let at = Path::new("spec").child(direction).index(i).child(side);
        peers.iter().enumerate().map(move |(j, peer)| (at.index(j), peer))
    })
}

fn validate(policy: &NetworkPolicy, known: &[String], errors: &mut ErrorList) {
    let spec = policy.spec.clone().unwrap_or_default();
    let at = Path::new("spec");
    validate_selector(spec.pod_selector.as_ref(), &at.child("podSelector"), errors);
    for (i, rule) in list(&spec.ingress).iter().enumerate() {
        let at = at.child("ingress").index(i);
        validate_ports(list(&rule.ports), &at.child("ports"), errors);
        validate_peers(list(&rule.from), known, &at.child("from"), errors);
    }
    for (i, rule) in list(&spec.egress).iter().enumerate() {
        let at = at.child("egress").index(i);
        validate_ports(list(&rule.ports), &at.child("ports"), errors);
        validate_peers(list(&rule.to), known, &at.child("to"), errors);
    }
    let (types, at) = (list(&spec.policy_types), at.child("policyTypes"));
    if types.len() > 2 {
        return errors.invalid(&at, types, "may not specify more than two policyTypes");
    }
    for (i, type_) in types.iter().enumerate() {
        errors_unless_known(type_, &at.index(i), errors);
    }
}

fn errors_unless_known(type_: &str, at: &Path, errors: &mut ErrorList) {
    if ![INGRESS, EGRESS].contains(&type_) {
        errors.not_supported(at, type_, &[INGRESS, EGRESS]);
    }
}

fn validate_selector(selector: Option<&LabelSelector>, at: &Path, errors: &mut ErrorList) {
    if let Some(selector) = selector {
        errors.extend(labels::validate_label_selector(selector, at));
    }
}

fn validate_ports(ports: &[NetworkPolicyPort], at: &Path, errors: &mut ErrorList) {
    for (i, port) in ports.iter().enumerate() {
        validate_port(port, &at.index(i), errors);
    }
}

fn validate_port(port: &NetworkPolicyPort, at: &Path, errors: &mut ErrorList) {
    if let Some(protocol) = port.protocol.as_deref().filter(|p| !PROTOCOLS.contains(p)) {
        errors.not_supported(&at.child("protocol"), protocol, PROTOCOLS);
    }
    let at_end = at.child("endPort");
    match (&port.port, port.end_port) {
        (None, None) => {}
        (None, Some(end)) => {
            errors.invalid(&at_end, end, "may not be specified when `port` is not specified");
        }
        (Some(number @ IntOrString::Int(start)), end) => {
            pod::validate_port(number, &at.child("port"), errors);
            let Some(end) = end else { return };
            if end < *start {
                errors.invalid(&at_end, start, "must be greater than or equal to `port`");
            }
            pod::validate_port(&IntOrString::Int(end), &at_end, errors);
        }
        (Some(name), end) => {
            if let Some(end) = end {
                errors.invalid(&at_end, end, "may not be specified when `port` is non-numeric");
            }
            pod::validate_port(name, &at.child("port"), errors);
        }
    }
}

fn validate_peers(
    peers: &[NetworkPolicyPeer],
    known: &[String],
    at: &Path,
    errors: &mut ErrorList,
) {
    for (i, peer) in peers.iter().enumerate() {
        let at = at.index(i);
        let (pods, namespaces) = (peer.pod_selector.as_ref(), peer.namespace_selector.as_ref());
        validate_selector(pods, &at.child("podSelector"), errors);
        validate_selector(namespaces, &at.child("namespaceSelector"), errors);
        if let Some(block) = &peer.ip_block {
            validate_block(block, known, &at.child("ipBlock"), errors);
        }
        let selects = pods.is_some() || namespaces.is_some();
        match (selects, peer.ip_block.is_some()) {
            (false, false) => errors.required(&at, "must specify a peer"),
            (true, true) => {
                errors.forbidden(&at, "may not specify both ipBlock and another peer");
            }
            _ => {}
        }
    }
}

fn validate_block(block: &IPBlock, known: &[String], at: &Path, errors: &mut ErrorList) {
    if block.cidr.is_empty() {
        return errors.required(&at.child("cidr"), "");
    }
    net::validate_cidr(&block.cidr, known, &at.child("cidr"), errors);
    if !net::is_cidr(&block.cidr) {
        return;
    }
    for (i, except) in list(&block.except).iter().enumerate() {
        let at = at.child("except").index(i);
        net::validate_cidr(except, known, &at, errors);
        if net::is_strict_subset(except, &block.cidr) == Some(false) {
            errors.invalid(&at, except, "must be a strict subset of `cidr`");
        }
    }
}
