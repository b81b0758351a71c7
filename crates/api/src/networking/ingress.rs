//! Ingress: how requests from outside find their way to services.
//!
//! Counterpart in Kubernetes: `pkg/registry/networking/ingress`.

mod validation;

use std::collections::BTreeSet;

use apimachinery::field::ErrorList;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{Ingress, IngressBackend, IngressRule, IngressStatus};
use serde_json::Value;

use crate::columns::{self, column};
use crate::kinds::Column;
use crate::report::{list, omit_empty, text};
use crate::strategy::KindStrategy;

/// The annotation that was there before `spec.ingressClassName`.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

impl KindStrategy for Ingress {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Class", "string", "Class whose controller carries the Ingress out."),
        column("Hosts", "string", "Hosts whose requests are taken."),
        column("Address", "string", "Addresses at which requests arrive."),
        column("Ports", "string", "Ports at which requests arrive."),
        columns::AGE,
    ];
    const GENERATION: bool = true;

    fn default_fields(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.default_backend.iter_mut().for_each(default_backend);
        for rule in spec.rules.iter_mut().flatten() {
            omit_empty!(rule; host);
            for path in rule.http.iter_mut().flat_map(|http| &mut http.paths) {
                omit_empty!(path; path);
                default_backend(&mut path.backend);
            }
        }
        for tls in spec.tls.iter_mut().flatten() {
            omit_empty!(tls; secret_name);
        }
        self.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        validation::validate_create(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        validation::validate_update(self, old, errors);
    }

    fn validate_status_update(&self, old: &Self, errors: &mut ErrorList) {
        validation::validate_status(self, old, errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let class = self.spec.as_ref().and_then(|s| s.ingress_class_name.as_ref());
        let told = old.is_none() && class.is_none() && validation::class_annotation(self).is_some();
        let warning = told.then(|| {
            format!(
                "annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"
            )
        });
        warning.into_iter().collect()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let spec = self.spec.clone().unwrap_or_default();
        let class = spec.ingress_class_name.unwrap_or_else(|| "<none>".to_owned());
        let ports = if list(&spec.tls).is_empty() { "80" } else { "80, 443" };
        vec![
            columns::name(&self.metadata),
            class.into(),
            hosts(list(&spec.rules)).into(),
            addresses(self).into(),
            ports.into(),
            columns::age(&self.metadata, now),
        ]
    }

    fn take_spec(&mut self, from: &Self) {
        self.spec.clone_from(&from.spec);
    }

    fn take_status(&mut self, from: &Self) {
        self.status.clone_from(&from.status);
    }

    fn clear_status(&mut self) {
        self.status = Some(IngressStatus { load_balancer: Some(Default::default()) });
    }

    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

fn default_backend(backend: &mut IngressBackend) {
    if let Some(service) = &mut backend.service {
        let port = service.port.get_or_insert_default();
        omit_empty!(port; name);
        port.number = port.number.filter(|number| *number != 0);
    }
}

/// The first three hosts; the rest is counted over all rules once three were found, as Kubernetes does.
fn hosts(rules: &[IngressRule]) -> String {
    const SHOWN: usize = 3;
    let mut shown: Vec<&str> = Vec::new();
    let mut more = false;
    for host in rules.iter().map(|rule| text(&rule.host)) {
        more |= shown.len() == SHOWN;
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, false) => shown.join(","),
        (false, true) => format!("{} + {} more...", shown.join(","), rules.len() - SHOWN),
    }
}

fn addresses(ingress: &Ingress) -> String {
    let balancer = ingress.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let points = balancer.map(|b| list(&b.ingress)).unwrap_or_default();
    let addresses: BTreeSet<_> = points
        .iter()
        .map(|point| {
            Some(text(&point.ip)).filter(|ip| !ip.is_empty()).unwrap_or(text(&point.hostname))
        })
        .filter(|address| !address.is_empty())
        .collect();
    addresses.into_iter().collect::<Vec<_>>().join(",")
}
