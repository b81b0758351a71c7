//! Pod: containers that live and die together on one node.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/pod`. What a pod is made of stands in the modules below; this one is its
//! strategy. A pod's spec hardly changes: what may, and how, stands in `update`.

pub mod binding;
mod columns;
mod containers;
mod defaults;
mod env;
mod images;
mod probes;
pub mod qos;
mod resources;
mod scheduling;
mod security;
mod update;
mod validation;
mod volumes;
mod warnings;

use apimachinery::field::ErrorList;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
use serde_json::Value;

use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{list, text};
use crate::strategy::{KindStrategy, spec_and_status};

pub use columns::{Summary, summarize};
pub(crate) use defaults::{network_volume as default_network_volume, template as default_template};
pub(crate) use probes::validate_port;
pub(crate) use resources::validate_limits;
pub(crate) use scheduling::{EFFECTS, validate_node_selector, validate_tolerations};
pub(crate) use validation::PROTOCOLS;
pub(crate) use validation::validate_template;
pub(crate) use volumes::{is_iscsi_name, no_backsteps, validate_csi_driver_name, validate_shared};
pub(crate) use warnings::{old_label, template_warnings, template_warnings_at};

impl KindStrategy for Pod {
    const RETURNS_DELETED_OBJECT: bool = true;
    const SELECTABLE: &'static [&'static str] = &[
        "metadata.name",
        "metadata.namespace",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ];
    const COLUMNS: &'static [Column] = columns::COLUMNS;
    const GENERATION: bool = true;

    spec_and_status!();

    fn default_fields(&mut self) {
        defaults::pod(self);
    }

    fn on_create(&mut self) {
        let spec = self.spec.get_or_insert_default();
        let status = PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: Some(qos::class(spec).to_owned()),
            conditions: gated_condition(spec).map(|c| vec![c]),
            ..PodStatus::default()
        };
        self.status = Some(status);
        let labels = self.metadata.labels.clone().unwrap_or_default();
        scheduling::merge_label_keys(self.spec.get_or_insert_default(), &labels);
    }

    fn on_status_update(&mut self, old: &Self) {
        update::prepare_status(self, old);
    }

    fn validate(&self, errors: &mut ErrorList) {
        validation::validate(self, errors);
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        validation::validate_create(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        update::validate(self, old, errors);
    }

    fn validate_status_update(&self, old: &Self, errors: &mut ErrorList) {
        update::validate_status(self, old, errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        if old.is_some() { Vec::new() } else { warnings::pod_warnings(self) }
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let (spec, status) = (self.spec.as_ref(), self.status.as_ref());
        let of_spec = |field: fn(&PodSpec) -> &Option<String>| {
            spec.map(|s| text(field(s))).unwrap_or_default().to_owned()
        };
        let of_status = |field: fn(&PodStatus) -> &Option<String>| {
            status.map(|s| text(field(s))).unwrap_or_default().to_owned()
        };
        let ips = status.map(|s| list(&s.pod_ips)).unwrap_or_default();
        let mut all = fields::metadata(&self.metadata, Scope::Namespaced);
        all.extend([
            ("spec.nodeName", of_spec(|s| &s.node_name)),
            ("spec.restartPolicy", of_spec(|s| &s.restart_policy)),
            ("spec.schedulerName", of_spec(|s| &s.scheduler_name)),
            ("spec.serviceAccountName", of_spec(|s| &s.service_account_name)),
            ("spec.hostNetwork", spec.and_then(|s| s.host_network).unwrap_or(false).to_string()),
            ("status.phase", of_status(|s| &s.phase)),
            ("status.podIP", ips.first().map(|ip| ip.ip.clone()).unwrap_or_default()),
            ("status.podIPs", ips.iter().map(|ip| ip.ip.as_str()).collect::<Vec<_>>().join(",")),
            ("status.nominatedNodeName", of_status(|s| &s.nominated_node_name)),
        ]);
        all
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        columns::row(self, now)
    }

    fn completed(&self) -> Option<(&'static str, &'static str)> {
        match self.status.as_ref().map(|s| text(&s.phase))? {
            "Succeeded" => Some(("Succeeded", "The pod has completed successfully.")),
            "Failed" => Some(("Failed", "The pod failed.")),
            _ => None,
        }
    }

    /// Who is not on a node, or has come to its end, needs no grace. Kubernetes makes one second of a negative grace.
    fn grace(&self, requested: Option<i64>) -> Option<i64> {
        let spec = self.spec.as_ref();
        let running = spec.is_some_and(|s| !text(&s.node_name).is_empty())
            && self.status.as_ref().is_none_or(|s| !is_terminal(s));
        let wished = requested
            .or_else(|| spec.and_then(|s| s.termination_grace_period_seconds))
            .unwrap_or(0);
        match wished {
            _ if !running => Some(0),
            ..0 => Some(1),
            seconds => Some(seconds),
        }
    }
}

/// Whether the pod has come to its end.
pub(crate) fn is_terminal(status: &PodStatus) -> bool {
    matches!(text(&status.phase), "Succeeded" | "Failed")
}

/// A gated pod says from the start why it is not scheduled.
fn gated_condition(spec: &PodSpec) -> Option<PodCondition> {
    let gated = !list(&spec.scheduling_gates).is_empty();
    gated.then(|| PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        ..PodCondition::default()
    })
}

#[cfg(test)]
mod tests;
