//! ComponentStatus: whether a part of the control plane is well. Nothing is stored; the server looks when it is asked.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/componentstatus`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ComponentStatus;
use serde_json::Value;

use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{list, text};
use crate::strategy::KindStrategy;

impl KindStrategy for ComponentStatus {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Status", "string", "Whether the component is well."),
        column("Message", "string", "What the component says."),
        column("Error", "string", "Why the component could not be asked."),
    ];

    fn row(&self, _now: Timestamp) -> Vec<Value> {
        let healthy = list(&self.conditions).iter().find(|c| c.type_ == "Healthy");
        let status = match healthy.map(|c| c.status.as_str()) {
            None => "Unknown",
            Some("True") => "Healthy",
            Some(_) => "Unhealthy",
        };
        vec![
            columns::name(&self.metadata),
            status.into(),
            healthy.map(|c| text(&c.message)).unwrap_or_default().into(),
            healthy.map(|c| text(&c.error)).unwrap_or_default().into(),
        ]
    }
}
