//! Node: a machine that runs pods.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/node`. Unlike other kinds a node brings its status along when it is created.

mod columns;
mod validation;

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus};
use serde_json::Value;

use crate::kinds::{Column, Scope};
use crate::quantities::round_list;
use crate::report::{list, omit_empty, text};
use crate::strategy::KindStrategy;
use crate::{fields, net};

impl KindStrategy for Node {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = &["metadata.name", "spec.unschedulable"];
    const COLUMNS: &'static [Column] = columns::COLUMNS;

    fn default_fields(&mut self) {
        default_spec(self.spec.get_or_insert_default());
        default_status(self.status.get_or_insert_default());
    }

    /// The kubelet's configuration no longer comes through the API.
    fn on_create(&mut self) {
        self.spec.get_or_insert_default().config_source = None;
        self.status.get_or_insert_default().config = None;
    }

    fn on_update(&mut self, old: &Self) {
        if old.spec.as_ref().is_none_or(|s| s.config_source.is_none()) {
            self.spec.get_or_insert_default().config_source = None;
        }
    }

    fn on_status_update(&mut self, old: &Self) {
        if old.status.as_ref().is_none_or(|s| s.config.is_none()) {
            self.status.get_or_insert_default().config = None;
        }
    }

    fn validate(&self, errors: &mut ErrorList) {
        validation::validate(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        validation::validate_update(self, old, errors);
    }

    fn validate_status_update(&self, old: &Self, errors: &mut ErrorList) {
        validation::validate_status_update(self, old, errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let Some(spec) = &self.spec else { return Vec::new() };
        let external = !text(&spec.external_id).is_empty();
        let external = external.then(|| {
            "spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned()
        });
        let at = Path::new("spec").child("podCIDRs");
        let cidrs = list(&spec.pod_cidrs)
            .iter()
            .enumerate()
            .flat_map(|(i, c)| net::cidr_warning(c, &at.index(i)));
        external.into_iter().chain(cidrs).collect()
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut all = fields::metadata(&self.metadata, Scope::Cluster);
        all.push(("spec.unschedulable", columns::is_unschedulable(self).to_string()));
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

    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

/// `podCIDR` is the first of `podCIDRs`; who knows only the old field is understood.
fn default_spec(spec: &mut NodeSpec) {
    omit_empty!(spec; pod_cidrs, taints, pod_cidr, provider_id, external_id);
    spec.unschedulable = spec.unschedulable.filter(|set| *set);
    if let Some(cidr) = &spec.pod_cidr
        && list(&spec.pod_cidrs).first() != Some(cidr)
    {
        spec.pod_cidrs = Some(vec![cidr.clone()]);
    }
    spec.pod_cidr = list(&spec.pod_cidrs).first().cloned();
}

/// What is not told to be kept back can be used by pods.
fn default_status(status: &mut NodeStatus) {
    round_list(&mut status.capacity);
    round_list(&mut status.allocatable);
    if status.allocatable.is_none() {
        status.allocatable.clone_from(&status.capacity);
    }
    status.node_info.get_or_insert_default();
    status.daemon_endpoints.get_or_insert_default().kubelet_endpoint.get_or_insert_default();
    omit_empty!(status; addresses, conditions, images, volumes_attached, volumes_in_use);
}

#[cfg(test)]
mod tests;
