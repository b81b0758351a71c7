//! What every workload of the group shares: a selector, and a template of the pods it makes.
//!
//! Counterpart in Kubernetes: `ValidatePodTemplateSpecForReplicaSet` and its callers in `pkg/apis/apps/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels::{self, Selector};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::core::pod;
use crate::report::Report;

/// The name is part of the names of pods, which are host names.
const NAME_WARNING: &str = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: ";

/// The selector must select something, and the template's pods above all. An absent selector and an empty one are the same in
/// these types; both are told as absent, which is what people do.
pub(crate) fn validate(
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    errors: &mut ErrorList,
) {
    let at = Path::new("spec");
    if is_empty(selector) {
        errors.required(&at.child("selector"), "");
    } else {
        errors.extend(labels::validate_label_selector(selector, &at.child("selector")));
    }
    let at_template = at.child("template");
    match Selector::from_label_selector(Some(selector)) {
        Ok(parsed) => {
            let empty = Default::default();
            let labels = template.metadata.as_ref().and_then(|m| m.labels.as_ref());
            if is_empty(selector) || !parsed.matches(labels.unwrap_or(&empty)) {
                errors.invalid(
                    &at_template.child("metadata").child("labels"),
                    labels,
                    "`selector` does not match template `labels`",
                );
            }
            validate_template(template, &at_template, errors);
        }
        Err(_) => errors.invalid(&at.child("selector"), selector, "invalid label selector"),
    }
}

/// Whether the selector says nothing, or is absent.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(|l| l.is_empty())
        && selector.match_expressions.as_ref().is_none_or(|e| e.is_empty())
}

fn validate_template(template: &PodTemplateSpec, at: &Path, errors: &mut ErrorList) {
    pod::validate_template(template, at, errors);
    validate_lasting(template, "ReplicaSet", at, errors);
}

/// Pods of a workload of this kind run until they are deleted.
pub(crate) fn validate_lasting(
    template: &PodTemplateSpec,
    kind: &str,
    at: &Path,
    errors: &mut ErrorList,
) {
    let Some(spec) = &template.spec else { return };
    let policy = spec.restart_policy.as_deref().unwrap_or_default();
    if policy != "Always" {
        errors.not_supported(&at.child("spec").child("restartPolicy"), policy, &["Always"]);
    }
    if spec.active_deadline_seconds.is_some() {
        errors.forbidden(
            &at.child("spec").child("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
}

/// A selector, absent lists and maps instead of empty ones.
pub(crate) fn default_selector(selector: &mut LabelSelector) {
    crate::report::omit_empty!(selector; match_labels, match_expressions);
}

/// Warns when the workload's name is no DNS label.
pub(crate) fn name_warning(name: Option<&str>) -> Option<String> {
    let messages = apimachinery::names::is_dns1123_label(name.unwrap_or_default());
    (!messages.is_empty()).then(|| format!("{NAME_WARNING}[{}]", messages.join(" ")))
}

/// Checks counters of a status: none below zero, none above the number of replicas.
pub(crate) fn validate_counters(
    counters: &[(&str, Option<i64>, Limit)],
    replicas: i64,
    ready: i64,
    errors: &mut ErrorList,
) {
    let at = Path::new("status");
    for (name, value, _) in counters {
        errors.non_negative(&at.child(name), value.unwrap_or(0));
    }
    for (name, value, limit) in counters {
        let value = value.unwrap_or(0);
        if *limit == Limit::Replicas && value > replicas {
            errors.invalid(&at.child(name), value, "cannot be greater than status.replicas");
        }
    }
    for (name, value, _) in counters.iter().filter(|(name, ..)| *name == "availableReplicas") {
        if value.unwrap_or(0) > ready {
            errors.invalid(&at.child(name), value, "cannot be greater than readyReplicas");
        }
    }
}

/// The number of name collisions must not fall.
pub(crate) fn validate_collisions(now: Option<i32>, before: Option<i32>, errors: &mut ErrorList) {
    if before.is_some_and(|before| now.is_none_or(|now| now < before)) {
        let at = Path::new("status").child("collisionCount");
        errors.invalid(&at, now.unwrap_or(0), "cannot be decremented");
    }
}

/// Above what a counter of a status must not be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Nothing.
    None,
    /// The number of replicas.
    Replicas,
}
