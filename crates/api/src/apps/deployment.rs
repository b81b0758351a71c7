//! Deployment: a number of like pods, and how to exchange them for new ones.
//!
//! Counterpart in Kubernetes: `pkg/registry/apps/deployment`.

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::template::{self, Limit};
use crate::columns::{self, column};
use crate::core::pod;
use crate::kinds::Column;
use crate::report::{Report, omit_empty};
use crate::scale::{self, Scale};
use crate::shares;
use crate::strategy::{KindStrategy, spec_and_status};

const RECREATE: &str = "Recreate";
const ROLLING_UPDATE: &str = "RollingUpdate";

impl KindStrategy for Deployment {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Ready", "string", "Ready pods of those wished."),
        column("Up-to-date", "string", "Pods of the newest template."),
        column("Available", "string", "Pods that have been ready for long enough."),
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

    /// Annotations count too: the deployment controller hands them on to its ReplicaSets.
    fn on_update(&mut self, old: &Self) {
        if !self.same_spec(old) || self.metadata.annotations != old.metadata.annotations {
            self.metadata.generation = Some(old.metadata.generation.unwrap_or(0) + 1);
        }
    }

    fn on_status_update(&mut self, old: &Self) {
        self.metadata.labels.clone_from(&old.metadata.labels);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let Some(spec) = &self.spec else { return };
        let at = Path::new("spec");
        errors.non_negative(&at.child("replicas"), spec.replicas.unwrap_or(0).into());
        template::validate(&spec.selector, &spec.template, errors);
        if let Some(strategy) = &spec.strategy {
            validate_strategy(strategy, &at.child("strategy"), errors);
        }
        validate_times(spec, &at, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let selector = |d: &Self| d.spec.as_ref().map(|s| s.selector.clone());
        errors.unchanged(&Path::new("spec").child("selector"), &selector(self), &selector(old));
    }

    fn validate_status_update(&self, old: &Self, errors: &mut ErrorList) {
        let Some(status) = &self.status else { return };
        let counter = |n: Option<i32>| n.map(i64::from);
        let counters = [
            ("observedGeneration", status.observed_generation, Limit::None),
            ("replicas", counter(status.replicas), Limit::None),
            ("updatedReplicas", counter(status.updated_replicas), Limit::Replicas),
            ("readyReplicas", counter(status.ready_replicas), Limit::Replicas),
            ("availableReplicas", counter(status.available_replicas), Limit::Replicas),
            ("unavailableReplicas", counter(status.unavailable_replicas), Limit::None),
            ("terminatingReplicas", counter(status.terminating_replicas), Limit::None),
            ("collisionCount", counter(status.collision_count), Limit::None),
        ];
        let (replicas, ready) = (status.replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0));
        template::validate_counters(&counters, replicas.into(), ready.into(), errors);
        let before = old.status.as_ref().and_then(|s| s.collision_count);
        template::validate_collisions(status.collision_count, before, errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        if old.is_some_and(|old| old.metadata.generation == self.metadata.generation) {
            return Vec::new();
        }
        let name =
            old.is_none().then(|| template::name_warning(self.metadata.name.as_deref())).flatten();
        let template =
            self.spec.as_ref().map(|s| pod::template_warnings(&s.template)).unwrap_or_default();
        name.into_iter().chain(template).collect()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let (spec, status) =
            (self.spec.clone().unwrap_or_default(), self.status.clone().unwrap_or_default());
        let ready =
            format!("{}/{}", status.ready_replicas.unwrap_or(0), spec.replicas.unwrap_or(0));
        let pod = spec.template.spec.unwrap_or_default();
        let [containers, images] = columns::containers(&pod.containers);
        vec![
            columns::name(&self.metadata),
            ready.into(),
            status.updated_replicas.unwrap_or(0).into(),
            status.available_replicas.unwrap_or(0).into(),
            columns::age(&self.metadata, now),
            containers,
            images,
            columns::selector(&spec.selector).into(),
        ]
    }

    fn scale(&self) -> Option<Scale> {
        let spec = self.spec.as_ref()?;
        let observed = self.status.as_ref().and_then(|s| s.replicas).unwrap_or(0);
        Some(scale::scale(&self.metadata, spec.replicas, observed, &spec.selector))
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.spec.get_or_insert_default().replicas = Some(replicas);
    }
}

fn default_spec(spec: &mut DeploymentSpec) {
    spec.replicas.get_or_insert(1);
    spec.revision_history_limit.get_or_insert(10);
    spec.progress_deadline_seconds.get_or_insert(600);
    template::default_selector(&mut spec.selector);
    pod::default_template(&mut spec.template);
    let strategy = spec.strategy.get_or_insert_default();
    if strategy.type_.as_deref().is_none_or(str::is_empty) {
        strategy.type_ = Some(ROLLING_UPDATE.to_owned());
    }
    if strategy.type_.as_deref() == Some(ROLLING_UPDATE) {
        let quarter = || IntOrString::String("25%".to_owned());
        let rolling = strategy.rolling_update.get_or_insert_default();
        rolling.max_unavailable.get_or_insert_with(quarter);
        rolling.max_surge.get_or_insert_with(quarter);
    }
}

fn validate_strategy(strategy: &DeploymentStrategy, at: &Path, errors: &mut ErrorList) {
    let at_rolling = at.child("rollingUpdate");
    match (strategy.type_.as_deref(), &strategy.rolling_update) {
        (Some(RECREATE), None) => {}
        (Some(RECREATE), Some(_)) => {
            errors.forbidden(
                &at_rolling,
                format!("may not be specified when strategy `type` is '{RECREATE}'"),
            );
        }
        (Some(ROLLING_UPDATE), None) => {
            errors.required(&at_rolling, "this should be defaulted and never be nil")
        }
        (Some(ROLLING_UPDATE), Some(rolling)) => validate_rolling(rolling, &at_rolling, errors),
        _ => errors.push(apimachinery::field::not_supported(
            at,
            strategy,
            &[RECREATE, ROLLING_UPDATE],
        )),
    }
}

fn validate_rolling(rolling: &RollingUpdateDeployment, at: &Path, errors: &mut ErrorList) {
    let zero = IntOrString::Int(0);
    let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
    let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
    let at_unavailable = at.child("maxUnavailable");
    shares::validate(unavailable, &at_unavailable, errors);
    shares::validate(surge, &at.child("maxSurge"), errors);
    if shares::is_nothing(unavailable) && shares::is_nothing(surge) {
        errors.invalid(&at_unavailable, unavailable, "may not be 0 when `maxSurge` is 0");
    }
    shares::validate_not_above_all(unavailable, &at_unavailable, errors);
}

fn validate_times(spec: &DeploymentSpec, at: &Path, errors: &mut ErrorList) {
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    errors.non_negative(&at.child("minReadySeconds"), min_ready.into());
    errors.non_negative(
        &at.child("revisionHistoryLimit"),
        spec.revision_history_limit.unwrap_or(0).into(),
    );
    if let Some(deadline) = spec.progress_deadline_seconds {
        let at = at.child("progressDeadlineSeconds");
        errors.non_negative(&at, deadline.into());
        if deadline <= min_ready {
            errors.invalid(&at, deadline, "must be greater than minReadySeconds");
        }
    }
}
