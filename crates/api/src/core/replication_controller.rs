//! ReplicationController: a number of like pods, chosen by plain labels. ReplicaSets replace it.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/replicationcontroller`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels::Selector;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PodTemplateSpec, ReplicationController, ReplicationControllerSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use super::pod;
use crate::apps::template::{self, Limit};
use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, omit_empty};
use crate::scale::{self, Scale};
use crate::strategy::{KindStrategy, spec_and_status};

impl KindStrategy for ReplicationController {
    const ORPHANS_DEPENDENTS: bool = true;
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
        omit_empty!(spec; selector);
        if let Some(template) = &mut spec.template {
            pod::default_template(template);
            let labels = template.metadata.as_ref().and_then(|m| m.labels.clone());
            if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
                spec.selector.get_or_insert_with(|| labels.clone());
                let own = self.metadata.labels.take().filter(|own| !own.is_empty());
                self.metadata.labels = own.or(Some(labels));
            }
        }
        let status = self.status.get_or_insert_default();
        omit_empty!(status; conditions);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let empty = ReplicationControllerSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&empty);
        let at = Path::new("spec");
        errors
            .non_negative(&at.child("minReadySeconds"), spec.min_ready_seconds.unwrap_or(0).into());
        if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
            errors.required(&at.child("selector"), "");
        }
        errors.non_negative(&at.child("replicas"), spec.replicas.unwrap_or(0).into());
        match &spec.template {
            Some(template) => validate_template(spec, template, &at.child("template"), errors),
            None => errors.required(&at.child("template"), ""),
        }
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
            columns::labels(&spec.selector.unwrap_or_default()).into(),
        ]
    }

    fn scale(&self) -> Option<Scale> {
        let spec = self.spec.as_ref()?;
        let selector =
            LabelSelector { match_labels: spec.selector.clone(), ..LabelSelector::default() };
        Some(scale::scale(&self.metadata, spec.replicas, observed(self), &selector))
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.spec.get_or_insert_default().replicas = Some(replicas);
    }
}

fn observed(controller: &ReplicationController) -> i32 {
    controller.status.as_ref().map_or(0, |s| s.replicas)
}

fn validate_template(
    spec: &ReplicationControllerSpec,
    template: &PodTemplateSpec,
    at: &Path,
    errors: &mut ErrorList,
) {
    let empty = Default::default();
    let labels = template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty());
    if selector.is_some_and(|s| !Selector::from_set(s).matches(labels.unwrap_or(&empty))) {
        errors.invalid(
            &at.child("metadata").child("labels"),
            labels,
            "`selector` does not match template `labels`",
        );
    }
    pod::validate_template(template, at, errors);
    let Some(pod) = &template.spec else { return };
    let policy = pod.restart_policy.as_deref().unwrap_or_default();
    if policy != "Always" {
        errors.not_supported(&at.child("spec").child("restartPolicy"), policy, &["Always"]);
    }
    if pod.active_deadline_seconds.is_some() {
        errors.forbidden(
            &at.child("spec").child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicationController is not Supported",
        );
    }
}
