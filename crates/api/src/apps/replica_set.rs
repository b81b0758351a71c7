//! ReplicaSet: a number of like pods.
//!
//! Counterpart in Kubernetes: `pkg/registry/apps/replicaset`.

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::Value;

use super::template::{self, Limit};
use crate::columns::{self, column};
use crate::core::pod;
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, omit_empty};
use crate::scale::{self, Scale};
use crate::strategy::{KindStrategy, spec_and_status};

impl KindStrategy for ReplicaSet {
    const SELECTABLE: &'static [&'static str] =
        &["metadata.name", "metadata.namespace", "status.replicas"];
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Desired", "integer", "Pods wished."),
        column("Current", "integer", "Pods there are."),
        column("Ready", "integer", "Pods that are ready."),
        columns::AGE,
        columns::CONTAINERS,
        columns::IMAGES,
        columns::SELECTOR,
    ];
    const GENERATION: bool = true;

    spec_and_status!();

    fn default_fields(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        template::default_selector(&mut spec.selector);
        pod::default_template(spec.template.get_or_insert_default());
        let status = self.status.get_or_insert_default();
        omit_empty!(status; conditions);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let Some(spec) = &self.spec else { return };
        let at = Path::new("spec");
        errors.non_negative(&at.child("replicas"), spec.replicas.unwrap_or(0).into());
        errors
            .non_negative(&at.child("minReadySeconds"), spec.min_ready_seconds.unwrap_or(0).into());
        template::validate(
            &spec.selector,
            spec.template.as_ref().unwrap_or(&Default::default()),
            errors,
        );
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let selector = |rs: &Self| rs.spec.as_ref().map(|s| s.selector.clone());
        errors.unchanged(&Path::new("spec").child("selector"), &selector(self), &selector(old));
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut ErrorList) {
        let Some(status) = &self.status else { return };
        let counter = |n: Option<i32>| n.map(i64::from);
        let counters = [
            ("replicas", Some(status.replicas.into()), Limit::None),
            ("fullyLabeledReplicas", counter(status.fully_labeled_replicas), Limit::Replicas),
            ("readyReplicas", counter(status.ready_replicas), Limit::Replicas),
            ("availableReplicas", counter(status.available_replicas), Limit::Replicas),
            ("observedGeneration", status.observed_generation, Limit::None),
            ("terminatingReplicas", counter(status.terminating_replicas), Limit::None),
        ];
        let ready = status.ready_replicas.unwrap_or(0);
        template::validate_counters(&counters, status.replicas.into(), ready.into(), errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        if old.is_some_and(|old| old.metadata.generation == self.metadata.generation) {
            return Vec::new();
        }
        let name =
            old.is_none().then(|| template::name_warning(self.metadata.name.as_deref())).flatten();
        let template = self.spec.as_ref().and_then(|s| s.template.as_ref());
        name.into_iter().chain(template.map(pod::template_warnings).unwrap_or_default()).collect()
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut all = fields::metadata(&self.metadata, Scope::Namespaced);
        all.push(("status.replicas", observed(self).to_string()));
        all
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let (spec, status) =
            (self.spec.clone().unwrap_or_default(), self.status.clone().unwrap_or_default());
        let pod = spec.template.and_then(|t| t.spec).unwrap_or_default();
        let [containers, images] = columns::containers(&pod.containers);
        vec![
            columns::name(&self.metadata),
            spec.replicas.unwrap_or(0).into(),
            status.replicas.into(),
            status.ready_replicas.unwrap_or(0).into(),
            columns::age(&self.metadata, now),
            containers,
            images,
            columns::selector(&spec.selector).into(),
        ]
    }

    fn scale(&self) -> Option<Scale> {
        let spec = self.spec.as_ref()?;
        Some(scale::scale(&self.metadata, spec.replicas, observed(self), &spec.selector))
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.spec.get_or_insert_default().replicas = Some(replicas);
    }
}

fn observed(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |s| s.replicas)
}
