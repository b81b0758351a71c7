//! Service: one stable address for the pods that a selector finds.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/service`. Addresses are allocated by the API server; here stands what a
//! service may say. `clusterIP` is the first of `clusterIPs`, and validation holds the two together.

mod cluster_ips;
mod columns;
mod defaults;
mod validation;
mod warnings;

use apimachinery::field::{ErrorList, Path};
use apimachinery::meta::{self, NameRule};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LoadBalancerStatus, Service, ServiceSpec, ServiceStatus};
use serde_json::Value;

use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{list, text};
use crate::strategy::KindStrategy;

const CLUSTER_IP: &str = "ClusterIP";
const NODE_PORT: &str = "NodePort";
const LOAD_BALANCER: &str = "LoadBalancer";
const EXTERNAL_NAME: &str = "ExternalName";
/// The cluster address of a service that wants none.
const NONE: &str = "None";
const LOCAL: &str = "Local";

impl KindStrategy for Service {
    const RETURNS_DELETED_OBJECT: bool = true;
    const ALLOW_CREATE_ON_UPDATE: bool = true;
    const SELECTABLE: &'static [&'static str] =
        &["metadata.name", "metadata.namespace", "spec.clusterIP", "spec.type"];
    const COLUMNS: &'static [Column] = columns::COLUMNS;
    const NAME: NameRule = meta::name_is_dns_label;

    fn default_fields(&mut self) {
        defaults::service(self);
    }

    fn on_create(&mut self) {
        cluster_ips::complete(self.spec.get_or_insert_default());
    }

    fn on_update(&mut self, old: &Self) {
        let (Some(spec), Some(before)) = (&mut self.spec, &old.spec) else { return };
        cluster_ips::follow(spec, before);
        defaults::drop_unfit(spec, before);
        if text(&spec.type_) != LOAD_BALANCER {
            self.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus::default());
        }
    }

    fn validate(&self, errors: &mut ErrorList) {
        validation::validate(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        validation::validate_update(self, old, errors);
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut ErrorList) {
        validation::validate_status(self, errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        warnings::warnings(self)
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let of = |field: fn(&ServiceSpec) -> &Option<String>| {
            self.spec.as_ref().map(|s| text(field(s))).unwrap_or_default().to_owned()
        };
        let mut all = fields::metadata(&self.metadata, Scope::Namespaced);
        all.extend([("spec.clusterIP", of(|s| &s.cluster_ip)), ("spec.type", of(|s| &s.type_))]);
        all
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        columns::row(self, now)
    }

    fn take_spec(&mut self, from: &Self) {
        self.spec.clone_from(&from.spec);
    }

    fn take_status(&mut self, from: &Self) {
        self.status.clone_from(&from.status);
    }

    fn clear_status(&mut self) {
        let load_balancer = Some(LoadBalancerStatus::default());
        self.status = Some(ServiceStatus { load_balancer, ..ServiceStatus::default() });
    }

    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

/// Holds `clusterIP` and `clusterIPs` of a new service together, and says what is wrong with them, before an address is
/// allocated.
pub fn settle_addresses(spec: &mut ServiceSpec) -> ErrorList {
    let mut errors = ErrorList::new();
    if text(&spec.type_) != EXTERNAL_NAME {
        cluster_ips::complete(spec);
        cluster_ips::validate(spec, &Path::new("spec"), &mut errors);
    }
    errors
}

/// Whether clients resolve the service to its pods instead of an address.
fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(list(&spec.cluster_ips), [only] if only == NONE)
}

/// Whether anybody outside of the cluster can reach the service.
fn is_externally_accessible(spec: &ServiceSpec) -> bool {
    match text(&spec.type_) {
        LOAD_BALANCER | NODE_PORT => true,
        CLUSTER_IP => !list(&spec.external_ips).is_empty(),
        _ => false,
    }
}

/// Whether load balancers ask the nodes which of them have pods of the service.
pub fn needs_health_check(spec: &ServiceSpec) -> bool {
    text(&spec.type_) == LOAD_BALANCER && text(&spec.external_traffic_policy) == LOCAL
}

#[cfg(test)]
mod tests;
