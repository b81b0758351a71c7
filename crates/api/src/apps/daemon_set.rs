//! DaemonSet: one pod on every node that suits.
//!
//! Counterpart in Kubernetes: `pkg/registry/apps/daemonset`. Kubernetes keeps the generation of the template in a field of its
//! own and shows it as an annotation; here it is the annotation, which clients cannot change.

use std::collections::BTreeMap;

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels::{self, Selector};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::template::{self, Limit};
use crate::columns::{self, column};
use crate::core::pod;
use crate::kinds::Column;
use crate::report::{Report, omit_empty, text};
use crate::shares;
use crate::strategy::{KindStrategy, spec_and_status};

const ON_DELETE: &str = "OnDelete";
const ROLLING_UPDATE: &str = "RollingUpdate";
/// Where clients read how often the template was changed.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

impl KindStrategy for DaemonSet {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Desired", "integer", "Nodes that should have a pod."),
        column("Current", "integer", "Nodes that have a pod and should."),
        column("Ready", "integer", "Nodes whose pod is ready."),
        column("Up-to-date", "integer", "Nodes whose pod is of the newest template."),
        column("Available", "integer", "Nodes whose pod has been ready for long enough."),
        column("Node Selector", "string", "Labels of the nodes that get a pod."),
        columns::AGE,
        columns::CONTAINERS,
        columns::IMAGES,
        columns::SELECTOR,
    ];
    const GENERATION: bool = true;

    spec_and_status!();

    fn default_fields(&mut self) {
        default_spec(self.spec.get_or_insert_default());
        let status = self.status.get_or_insert_default();
        omit_empty!(status; conditions);
    }

    fn on_create(&mut self) {
        let given = annotated(&self.metadata);
        if given.is_none_or(|text| text.parse::<i64>().is_ok_and(|n| n < 1)) {
            annotate(&mut self.metadata, "1".to_owned());
        }
    }

    fn on_update(&mut self, old: &Self) {
        let before = template_generation(old);
        let template = |set: &Self| set.spec.as_ref().map(|s| s.template.clone());
        let changed = template(self) != template(old);
        annotate(&mut self.metadata, (before + i64::from(changed)).to_string());
    }

    fn on_status_update(&mut self, old: &Self) {
        annotate(&mut self.metadata, template_generation(old).to_string());
    }

    fn validate(&self, errors: &mut ErrorList) {
        let Some(spec) = &self.spec else { return };
        let at = Path::new("spec");
        validate_pods(spec, &at, errors);
        errors
            .non_negative(&at.child("minReadySeconds"), spec.min_ready_seconds.unwrap_or(0).into());
        if let Some(strategy) = &spec.update_strategy {
            validate_strategy(strategy, &at.child("updateStrategy"), errors);
        }
        let limit = spec.revision_history_limit.unwrap_or(0);
        errors.non_negative(&at.child("revisionHistoryLimit"), limit.into());
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        let given = annotated(&self.metadata).unwrap_or_default();
        if given.parse::<i64>().is_err() {
            let at = Path::new("metadata").child("annotations").key(TEMPLATE_GENERATION);
            errors.invalid(&at, given, "must be an integer");
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let selector = |set: &Self| set.spec.as_ref().map(|s| s.selector.clone());
        errors.unchanged(&Path::new("spec").child("selector"), &selector(self), &selector(old));
    }

    fn validate_status_update(&self, old: &Self, errors: &mut ErrorList) {
        let Some(status) = &self.status else { return };
        let counter = |n: Option<i32>| n.map(i64::from);
        let counters = [
            ("currentNumberScheduled", Some(status.current_number_scheduled.into()), Limit::None),
            ("numberMisscheduled", Some(status.number_misscheduled.into()), Limit::None),
            ("desiredNumberScheduled", Some(status.desired_number_scheduled.into()), Limit::None),
            ("numberReady", Some(status.number_ready.into()), Limit::None),
            ("observedGeneration", status.observed_generation, Limit::None),
            ("updatedNumberScheduled", counter(status.updated_number_scheduled), Limit::None),
            ("numberAvailable", counter(status.number_available), Limit::None),
            ("numberUnavailable", counter(status.number_unavailable), Limit::None),
            ("collisionCount", counter(status.collision_count), Limit::None),
        ];
        template::validate_counters(&counters, i64::MAX, i64::MAX, errors);
        let before = old.status.as_ref().and_then(|s| s.collision_count);
        template::validate_collisions(status.collision_count, before, errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        if old.is_some_and(|old| template_generation(old) == template_generation(self)) {
            return Vec::new();
        }
        self.spec.as_ref().map(|s| pod::template_warnings(&s.template)).unwrap_or_default()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let (spec, status) =
            (self.spec.clone().unwrap_or_default(), self.status.clone().unwrap_or_default());
        let pod = spec.template.spec.unwrap_or_default();
        let [containers, images] = columns::containers(&pod.containers);
        vec![
            columns::name(&self.metadata),
            status.desired_number_scheduled.into(),
            status.current_number_scheduled.into(),
            status.number_ready.into(),
            status.updated_number_scheduled.unwrap_or(0).into(),
            status.number_available.unwrap_or(0).into(),
            columns::labels(&pod.node_selector.unwrap_or_default()).into(),
            columns::age(&self.metadata, now),
            containers,
            images,
            columns::selector(&spec.selector).into(),
        ]
    }
}

fn annotated(meta: &ObjectMeta) -> Option<&str> {
    meta.annotations.as_ref()?.get(TEMPLATE_GENERATION).map(String::as_str)
}

fn annotate(meta: &mut ObjectMeta, generation: String) {
    let annotations: &mut BTreeMap<_, _> = meta.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE_GENERATION.to_owned(), generation);
}

/// How often the template was changed, from one on.
fn template_generation(set: &DaemonSet) -> i64 {
    annotated(&set.metadata).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn default_spec(spec: &mut DaemonSetSpec) {
    spec.revision_history_limit.get_or_insert(10);
    spec.min_ready_seconds = spec.min_ready_seconds.filter(|seconds| *seconds != 0);
    template::default_selector(&mut spec.selector);
    pod::default_template(&mut spec.template);
    let strategy = spec.update_strategy.get_or_insert_default();
    if text(&strategy.type_).is_empty() {
        strategy.type_ = Some(ROLLING_UPDATE.to_owned());
    }
    if text(&strategy.type_) == ROLLING_UPDATE {
        let rolling = strategy.rolling_update.get_or_insert_default();
        rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
        rolling.max_surge.get_or_insert(IntOrString::Int(0));
    }
}

/// The selector must select the template's pods. An absent selector and an empty one are the same in these types; both are told
/// as absent, which matches nothing.
fn validate_pods(spec: &DaemonSetSpec, at: &Path, errors: &mut ErrorList) {
    errors.extend(labels::validate_label_selector(&spec.selector, &at.child("selector")));
    let at_template = at.child("template");
    if let Ok(selector) = Selector::from_label_selector(Some(&spec.selector)) {
        let empty = Default::default();
        let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.as_ref());
        if template::is_empty(&spec.selector) || !selector.matches(labels.unwrap_or(&empty)) {
            let at = at_template.child("metadata").child("labels");
            errors.invalid(&at, labels, "`selector` does not match template `labels`");
        }
    }
    pod::validate_template(&spec.template, &at_template, errors);
    template::validate_lasting(&spec.template, "DaemonSet", &at_template, errors);
}

fn validate_strategy(strategy: &DaemonSetUpdateStrategy, at: &Path, errors: &mut ErrorList) {
    match (text(&strategy.type_), &strategy.rolling_update) {
        (ON_DELETE, _) => {}
        (ROLLING_UPDATE, Some(rolling)) => {
            validate_rolling(rolling, &at.child("rollingUpdate"), errors);
        }
        (ROLLING_UPDATE, None) => errors.required(&at.child("rollingUpdate"), ""),
        _ => errors.push(apimachinery::field::not_supported(
            at,
            strategy,
            &[ROLLING_UPDATE, ON_DELETE],
        )),
    }
}

fn validate_rolling(rolling: &RollingUpdateDaemonSet, at: &Path, errors: &mut ErrorList) {
    let zero = IntOrString::Int(0);
    let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
    let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
    let (at_unavailable, at_surge) = (at.child("maxUnavailable"), at.child("maxSurge"));
    shares::validate(unavailable, &at_unavailable, errors);
    shares::validate(surge, &at_surge, errors);
    shares::validate_not_above_all(unavailable, &at_unavailable, errors);
    shares::validate_not_above_all(surge, &at_surge, errors);
    match (shares::is_nothing(unavailable), shares::is_nothing(surge)) {
        (false, false) => {
            errors.invalid(&at_surge, surge, "may not be set when maxUnavailable is non-zero");
        }
        (true, true) => errors.required(&at_unavailable, "cannot be 0 when maxSurge is 0"),
        _ => {}
    }
}
