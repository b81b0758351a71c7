//! RuntimeClass: a way to run containers, what it costs, and which nodes know it.
//!
//! Counterpart in Kubernetes: `pkg/registry/node/runtimeclass` and `pkg/apis/node/validation`.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use apimachinery::meta;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};
use serde_json::Value;

use crate::columns::{self, column};
use crate::core::pod;
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::quantities::round_list;
use crate::report::{Report, list, text};
use crate::strategy::KindStrategy;

impl KindStrategy for RuntimeClass {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Handler", "string", "Name by which the runtime knows the class."),
        columns::AGE,
    ];
    const ALLOW_CREATE_ON_UPDATE: bool = true;
    const ALLOW_UNCONDITIONAL_UPDATE: bool = false;

    fn default_fields(&mut self) {
        if let Some(overhead) = &mut self.overhead {
            round_list(&mut overhead.pod_fixed);
        }
    }

    fn validate(&self, errors: &mut ErrorList) {
        let at = Path::new("handler");
        if self.handler.is_empty() {
            errors.required(&at, "");
        } else {
            errors.dns_label(&at, &self.handler);
        }
        if let Some(fixed) = self.overhead.as_ref().and_then(|o| o.pod_fixed.as_ref()) {
            pod::validate_limits(fixed, &Path::new("overhead"), errors);
        }
        if let Some(scheduling) = &self.scheduling {
            validate_scheduling(scheduling, &Path::new("scheduling"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        errors.unchanged(&Path::new("handler"), &self.handler, &old.handler);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let selector = self.scheduling.as_ref().and_then(|s| s.node_selector.as_ref());
        let told = selector.into_iter().flatten().filter_map(|(key, _)| {
            let message = pod::old_label(key)?;
            Some(format!("scheduling.nodeSelector: {message}"))
        });
        told.collect()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        vec![
            columns::name(&self.metadata),
            self.handler.clone().into(),
            columns::age(&self.metadata, now),
        ]
    }
}

fn validate_scheduling(scheduling: &Scheduling, at: &Path, errors: &mut ErrorList) {
    if let Some(labels) = &scheduling.node_selector {
        errors.extend(meta::validate_labels(labels, &at.child("nodeSelector")));
    }
    let tolerations = list(&scheduling.tolerations);
    pod::validate_tolerations(tolerations, &at.child("tolerations"), errors);
    let mut seen = BTreeSet::new();
    for (i, toleration) in tolerations.iter().enumerate() {
        if !seen.insert(key(toleration)) {
            errors.duplicate(&at.child("tolerations").index(i), toleration);
        }
    }
}

/// What tells one toleration from another.
fn key(toleration: &Toleration) -> [&str; 4] {
    [&toleration.key, &toleration.operator, &toleration.value, &toleration.effect].map(text)
}
