//! StatefulSet: pods with names that stay, each with storage of its own.
//!
//! Counterpart in Kubernetes: `pkg/registry/apps/statefulset`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels::{self, Selector};
use apimachinery::meta::{self, NameRule};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::template::{self, Limit};
use crate::columns::{self, column};
use crate::core::persistent_volume_claim as claims;
use crate::core::pod;
use crate::kinds::Column;
use crate::report::{Report, list, omit_empty, text};
use crate::scale::{self, Scale};
use crate::shares;
use crate::strategy::{KindStrategy, spec_and_status};

const ON_DELETE: &str = "OnDelete";
const ROLLING_UPDATE: &str = "RollingUpdate";
const ORDERED: &str = "OrderedReady";
const PARALLEL: &str = "Parallel";
const RETAIN: &str = "Retain";
const RETENTION: &[&str] = &[RETAIN, "Delete"];
const UPDATABLE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
const ENDLESS_HISTORY: &str = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";

impl KindStrategy for StatefulSet {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Ready", "string", "Ready pods of those wished."),
        columns::AGE,
        columns::CONTAINERS,
        columns::IMAGES,
    ];
    const GENERATION: bool = true;
    const NAME: NameRule = meta::name_is_dns_label;

    spec_and_status!();

    fn default_fields(&mut self) {
        default_spec(self.spec.get_or_insert_default());
        let status = self.status.get_or_insert_default();
        status.available_replicas.get_or_insert(0);
        omit_empty!(status; conditions, current_revision, update_revision);
    }

    fn on_create(&mut self) {
        self.status.get_or_insert_default().available_replicas = Some(0);
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        let Some(spec) = &self.spec else { return };
        let at = Path::new("spec");
        validate_spec(spec, &at, errors);
        for (i, claim) in list(&spec.volume_claim_templates).iter().enumerate() {
            let wish = claim.spec.clone().unwrap_or_default();
            let at = at.child("volumeClaimTemplates").index(i).child("spec");
            claims::validate_claim_spec(&wish, &at, errors);
        }
        if !text(&spec.service_name).is_empty() {
            errors.dns_label(&at.child("serviceName"), text(&spec.service_name));
        }
        validate_pods(spec, &at, errors);
    }

    /// A template that was wrong before may stay so.
    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let at = Path::new("spec");
        let (new, old) =
            (self.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        validate_spec(&new, &at, errors);
        let mut before = ErrorList::new();
        validate_spec(&old, &at, &mut before);
        validate_pods(&old, &at, &mut before);
        if before.is_empty() {
            validate_pods(&new, &at, errors);
        } else {
            validate_selector(&new, &at, errors);
            template::validate_lasting(&new.template, "StatefulSet", &at.child("template"), errors);
        }
        if rest(&new, &old) != old {
            errors.forbidden(&at, UPDATABLE);
        }
    }

    fn validate_status_update(&self, old: &Self, errors: &mut ErrorList) {
        let Some(status) = &self.status else { return };
        let counter = |n: Option<i32>| n.map(i64::from);
        let counters = [
            ("replicas", Some(status.replicas.into()), Limit::None),
            ("readyReplicas", counter(status.ready_replicas), Limit::Replicas),
            ("currentReplicas", counter(status.current_replicas), Limit::Replicas),
            ("updatedReplicas", counter(status.updated_replicas), Limit::Replicas),
            ("availableReplicas", counter(status.available_replicas), Limit::Replicas),
            ("observedGeneration", status.observed_generation, Limit::None),
            ("collisionCount", counter(status.collision_count), Limit::None),
        ];
        template::validate_counters(&counters, status.replicas.into(), i64::MAX, errors);
        let available = status.available_replicas.unwrap_or(0);
        if available > status.ready_replicas.unwrap_or(0) {
            let at = Path::new("status").child("availableReplicas");
            errors.invalid(&at, available, "cannot be greater than status.readyReplicas");
        }
        let before = old.status.as_ref().and_then(|s| s.collision_count);
        template::validate_collisions(status.collision_count, before, errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let Some(spec) = &self.spec else { return Vec::new() };
        let same = old.is_some_and(|old| old.metadata.generation == self.metadata.generation);
        let template = if same { Vec::new() } else { pod::template_warnings(&spec.template) };
        let at = Path::new("spec").child("volumeClaimTemplates");
        let templates = list(&spec.volume_claim_templates).iter().enumerate();
        let claims = templates.flat_map(|(i, claim)| {
            let at = at.index(i);
            // Kubernetes names the place differently when the set is changed.
            let at = if old.is_some() { at.child("Spec") } else { at };
            claims::fraction_warnings(claim, &at)
        });
        let endless = spec.revision_history_limit.is_some_and(|limit| limit < 0);
        let endless = endless.then(|| ENDLESS_HISTORY.to_owned());
        template.into_iter().chain(claims).chain(endless).collect()
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
            columns::age(&self.metadata, now),
            containers,
            images,
        ]
    }

    fn scale(&self) -> Option<Scale> {
        let spec = self.spec.as_ref()?;
        let observed = self.status.as_ref().map_or(0, |s| s.replicas);
        Some(scale::scale(&self.metadata, spec.replicas, observed, &spec.selector))
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.spec.get_or_insert_default().replicas = Some(replicas);
    }
}

fn default_spec(spec: &mut StatefulSetSpec) {
    spec.replicas.get_or_insert(1);
    spec.revision_history_limit.get_or_insert(10);
    spec.service_name.get_or_insert_default();
    spec.min_ready_seconds = spec.min_ready_seconds.filter(|seconds| *seconds != 0);
    omit_empty!(spec; pod_management_policy, volume_claim_templates);
    spec.pod_management_policy.get_or_insert_with(|| ORDERED.to_owned());
    let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
    omit_empty!(retention; when_deleted, when_scaled);
    retention.when_deleted.get_or_insert_with(|| RETAIN.to_owned());
    retention.when_scaled.get_or_insert_with(|| RETAIN.to_owned());
    if let Some(ordinals) = &mut spec.ordinals {
        ordinals.start.get_or_insert(0);
    }
    default_strategy(spec.update_strategy.get_or_insert_default());
    template::default_selector(&mut spec.selector);
    pod::default_template(&mut spec.template);
    for claim in spec.volume_claim_templates.iter_mut().flatten() {
        let meta = &mut claim.metadata;
        omit_empty!(meta; labels, annotations, finalizers, owner_references);
        claim.default_fields();
    }
}

fn default_strategy(strategy: &mut StatefulSetUpdateStrategy) {
    if text(&strategy.type_).is_empty() {
        strategy.type_ = Some(ROLLING_UPDATE.to_owned());
        strategy.rolling_update.get_or_insert_default();
    }
    if text(&strategy.type_) == ROLLING_UPDATE
        && let Some(rolling) = &mut strategy.rolling_update
    {
        rolling.partition.get_or_insert(0);
        rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
    }
}

/// The spec without what it says about pods and claims.
fn validate_spec(spec: &StatefulSetSpec, at: &Path, errors: &mut ErrorList) {
    let policy = text(&spec.pod_management_policy);
    if ![ORDERED, PARALLEL].contains(&policy) {
        let detail = format!("must be '{ORDERED}' or '{PARALLEL}'");
        errors.invalid(&at.child("podManagementPolicy"), policy, detail);
    }
    if let Some(strategy) = &spec.update_strategy {
        validate_strategy(strategy, &at.child("updateStrategy"), errors);
    }
    let retention = spec.persistent_volume_claim_retention_policy.clone().unwrap_or_default();
    let at_retention = at.child("persistentVolumeClaimRetentionPolicy");
    for (name, policy) in
        [("whenDeleted", &retention.when_deleted), ("whenScaled", &retention.when_scaled)]
    {
        if !RETENTION.contains(&text(policy)) {
            errors.not_supported(&at_retention.child(name), text(policy), RETENTION);
        }
    }
    errors.non_negative(&at.child("replicas"), spec.replicas.unwrap_or(0).into());
    errors.non_negative(&at.child("minReadySeconds"), spec.min_ready_seconds.unwrap_or(0).into());
    let start = spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
    errors.non_negative(&at.child("ordinals.start"), start.into());
}

fn validate_strategy(strategy: &StatefulSetUpdateStrategy, at: &Path, errors: &mut ErrorList) {
    let at_rolling = at.child("rollingUpdate");
    match (text(&strategy.type_), &strategy.rolling_update) {
        (ON_DELETE, Some(rolling)) => {
            let detail = format!("only allowed for updateStrategy '{ROLLING_UPDATE}'");
            errors.invalid(&at_rolling, rolling, detail);
        }
        (ROLLING_UPDATE, Some(rolling)) => validate_rolling(rolling, &at_rolling, errors),
        (ON_DELETE | ROLLING_UPDATE, None) => {}
        _ => {
            let detail = format!("must be '{ROLLING_UPDATE}' or '{ON_DELETE}'");
            errors.invalid(at, strategy, detail);
        }
    }
}

fn validate_rolling(rolling: &RollingUpdateStatefulSetStrategy, at: &Path, errors: &mut ErrorList) {
    errors.non_negative(&at.child("partition"), rolling.partition.unwrap_or(0).into());
    if let Some(unavailable) = &rolling.max_unavailable {
        let at = at.child("maxUnavailable");
        shares::validate(unavailable, &at, errors);
        if shares::is_nothing(unavailable) {
            errors.invalid(&at, unavailable, "cannot be 0");
        }
        shares::validate_not_above_all(unavailable, &at, errors);
    }
}

/// The selector, and whether it selects the template's pods.
fn validate_selector(spec: &StatefulSetSpec, at: &Path, errors: &mut ErrorList) {
    let at_selector = at.child("selector");
    if template::is_empty(&spec.selector) {
        errors.required(&at_selector, "");
    } else {
        errors.extend(labels::validate_label_selector(&spec.selector, &at_selector));
    }
    let Ok(selector) = Selector::from_label_selector(Some(&spec.selector)) else {
        errors.invalid(&at_selector, &spec.selector, "");
        return;
    };
    let empty = Default::default();
    let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    if template::is_empty(&spec.selector) || !selector.matches(labels.unwrap_or(&empty)) {
        let at = at.child("template").child("metadata").child("labels");
        errors.invalid(&at, labels, "`selector` does not match template `labels`");
    }
}

fn validate_pods(spec: &StatefulSetSpec, at: &Path, errors: &mut ErrorList) {
    validate_selector(spec, at, errors);
    let at = at.child("template");
    pod::validate_template(&as_controller_makes_it(spec), &at, errors);
    template::validate_lasting(&spec.template, "StatefulSet", &at, errors);
}

/// The template without what the controller overwrites, and with the volumes of its claims.
fn as_controller_makes_it(spec: &StatefulSetSpec) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    let pod = template.spec.get_or_insert_default();
    (pod.subdomain, pod.hostname) = (None, None);
    let claims = list(&spec.volume_claim_templates);
    if claims.is_empty() {
        return template;
    }
    let mut volumes: Vec<Volume> = Vec::new();
    for claim in claims {
        let name = text(&claim.metadata.name).to_owned();
        if !volumes.iter().any(|v| v.name == name) {
            let source =
                PersistentVolumeClaimVolumeSource { claim_name: name.clone(), read_only: None };
            let persistent_volume_claim = Some(source);
            volumes.push(Volume { name, persistent_volume_claim, ..Volume::default() });
        }
    }
    let of_claims = volumes.len();
    for volume in pod.volumes.take().unwrap_or_default() {
        if !volumes[..of_claims].iter().any(|v| v.name == volume.name) {
            volumes.push(volume);
        }
    }
    pod.volumes = Some(volumes);
    template
}

/// The new spec with everything that may change as it was.
fn rest(new: &StatefulSetSpec, old: &StatefulSetSpec) -> StatefulSetSpec {
    StatefulSetSpec {
        replicas: old.replicas,
        template: old.template.clone(),
        update_strategy: old.update_strategy.clone(),
        min_ready_seconds: old.min_ready_seconds,
        ordinals: old.ordinals.clone(),
        revision_history_limit: old.revision_history_limit,
        persistent_volume_claim_retention_policy: old
            .persistent_volume_claim_retention_policy
            .clone(),
        ..new.clone()
    }
}
