//! Rules for what a Job wishes.
//!
//! Counterpart in Kubernetes: `validateJobSpec` and `ValidateJobSpecUpdate` of `pkg/apis/batch/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels::{self, Selector};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Affinity, Container, PodSpec, PodTemplateSpec};

use super::{FAILED, INDEXED, NON_INDEXED, TERMINATING_OR_FAILED, has, policies};
use crate::core::pod;
use crate::networking::validate_domain_prefixed_path;
use crate::report::{Report, text};

/// More pods at once, or more failed indexes, make the texts of indexes too long.
const MAX_PARALLELISM: i32 = 100_000;
const MAX_FAILED_INDEXES: i32 = 100_000;
/// Above this many completions the bounds are narrower.
const MANY_COMPLETIONS: i32 = 100_000;
const MAX_PARALLELISM_OF_MANY: i32 = 10_000;
const MAX_FAILED_INDEXES_OF_MANY: i32 = 10_000;
/// Bytes of `managedBy`.
const MAX_MANAGED_BY: usize = 63;
const NEVER: &str = "Never";
const ON_FAILURE: &str = "OnFailure";
const TOO_MANY_TO_TRACK: &str = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";

/// Rules for a Job and for the template of one.
pub(in crate::batch) fn validate(spec: &JobSpec, at: &Path, errors: &mut ErrorList) {
    validate_numbers(spec, at, errors);
    if let Some(manager) = &spec.managed_by {
        let at = at.child("managedBy");
        validate_domain_prefixed_path(manager, &at, errors);
        if manager.len() > MAX_MANAGED_BY {
            errors.too_long(&at, MAX_MANAGED_BY);
        }
    }
    validate_mode(spec, at, errors);
    if let Some(policy) = &spec.pod_failure_policy {
        policies::validate_failure(policy, spec, &at.child("podFailurePolicy"), errors);
    }
    if let Some(policy) = &spec.success_policy {
        let at = at.child("successPolicy");
        if text(&spec.completion_mode) == INDEXED {
            // Without completions the mode is refused already.
            if let Some(completions) = spec.completions {
                policies::validate_success(policy, completions, &at, errors);
            }
        } else {
            errors.invalid(&at, policy, "requires indexed completion mode");
        }
    }
    validate_replacement(spec, &at.child("podReplacementPolicy"), errors);
    let at = at.child("template");
    pod::validate_template(&spec.template, &at, errors);
    validate_restarts(spec, &at.child("spec").child("restartPolicy"), errors);
}

fn validate_numbers(spec: &JobSpec, at: &Path, errors: &mut ErrorList) {
    let number = |n: Option<i32>| n.map_or(0, i64::from);
    for (name, value) in [
        ("parallelism", number(spec.parallelism)),
        ("completions", number(spec.completions)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds.unwrap_or(0)),
        ("backoffLimit", number(spec.backoff_limit)),
        ("ttlSecondsAfterFinished", number(spec.ttl_seconds_after_finished)),
        ("backoffLimitPerIndex", number(spec.backoff_limit_per_index)),
        ("maxFailedIndexes", number(spec.max_failed_indexes)),
    ] {
        errors.non_negative(&at.child(name), value);
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required(&at.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
}

fn validate_mode(spec: &JobSpec, at: &Path, errors: &mut ErrorList) {
    match spec.completion_mode.as_deref() {
        None | Some(NON_INDEXED) => {
            let detail = "requires indexed completion mode";
            for (name, value) in [
                ("backoffLimitPerIndex", spec.backoff_limit_per_index),
                ("maxFailedIndexes", spec.max_failed_indexes),
            ] {
                if let Some(value) = value {
                    errors.invalid(&at.child(name), value, detail);
                }
            }
        }
        Some(INDEXED) => validate_indexed(spec, at, errors),
        Some(other) => {
            errors.not_supported(&at.child("completionMode"), other, &[NON_INDEXED, INDEXED]);
        }
    }
}

fn validate_indexed(spec: &JobSpec, at: &Path, errors: &mut ErrorList) {
    let (at_parallelism, at_failed) = (at.child("parallelism"), at.child("maxFailedIndexes"));
    let (parallelism, failed) =
        (spec.parallelism.unwrap_or(0), spec.max_failed_indexes.unwrap_or(0));
    if spec.completions.is_none() {
        let detail = format!("when completion mode is {INDEXED}");
        errors.required(&at.child("completions"), &detail);
    }
    if parallelism > MAX_PARALLELISM {
        let detail = format!(
            "must be less than or equal to {MAX_PARALLELISM} when completion mode is {INDEXED}"
        );
        errors.invalid(&at_parallelism, parallelism, detail);
    }
    if spec.completions.is_some_and(|completions| failed > completions) {
        errors.invalid(&at_failed, failed, "must be less than or equal to completions");
    }
    if failed > MAX_FAILED_INDEXES {
        let detail = format!("must be less than or equal to {MAX_FAILED_INDEXES}");
        errors.invalid(&at_failed, failed, detail);
    }
    let many = spec.completions.is_some_and(|n| n > MANY_COMPLETIONS);
    if !many || spec.backoff_limit_per_index.is_none() {
        return;
    }
    if spec.max_failed_indexes.is_none() {
        let detail = format!("must be specified when completions is above {MANY_COMPLETIONS}");
        errors.required(&at_failed, &detail);
    }
    for (at, value, max) in [
        (at_parallelism, parallelism, MAX_PARALLELISM_OF_MANY),
        (at_failed, failed, MAX_FAILED_INDEXES_OF_MANY),
    ] {
        if value > max {
            let detail = format!(
                "must be less than or equal to {max} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"
            );
            errors.invalid(&at, value, detail);
        }
    }
}

fn validate_replacement(spec: &JobSpec, at: &Path, errors: &mut ErrorList) {
    let Some(policy) = &spec.pod_replacement_policy else { return };
    let supported: &[_] = if spec.pod_failure_policy.is_some() {
        &[FAILED]
    } else {
        &[FAILED, TERMINATING_OR_FAILED]
    };
    if !supported.contains(&policy.as_str()) {
        errors.not_supported(at, policy, supported);
    }
}

fn validate_restarts(spec: &JobSpec, at: &Path, errors: &mut ErrorList) {
    let policy = spec.template.spec.as_ref().map_or("", |pod| text(&pod.restart_policy));
    match policy {
        "" | "Always" => {
            errors.required(at, &format!("valid values: \"{ON_FAILURE}\", \"{NEVER}\""));
        }
        ON_FAILURE if spec.pod_failure_policy.is_some() => {
            let detail =
                format!("only \"{NEVER}\" is supported when podFailurePolicy is specified");
            errors.invalid(at, policy, detail);
        }
        ON_FAILURE | NEVER => {}
        _ => errors.not_supported(at, policy, &[ON_FAILURE, NEVER]),
    }
}

/// The selector must select the template's pods.
pub(super) fn validate_selector(spec: &JobSpec, at: &Path, errors: &mut ErrorList) {
    let at_selector = at.child("selector");
    match &spec.selector {
        None => errors.required(&at_selector, ""),
        Some(selector) => errors.extend(labels::validate_label_selector(selector, &at_selector)),
    }
    let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    let empty = Default::default();
    let parsed = Selector::from_label_selector(spec.selector.as_ref());
    if parsed.is_ok_and(|selector| !selector.matches(labels.unwrap_or(&empty))) {
        let at = at.child("template").child("metadata").child("labels");
        errors.invalid(&at, labels, "`selector` does not match template `labels`");
    }
}

/// Further rules for a change.
pub(super) fn validate_update(new: &Job, old: &Job, errors: &mut ErrorList) {
    let at = Path::new("spec");
    let (job, before) = (new, old);
    let (new, old) =
        (job.spec.clone().unwrap_or_default(), before.spec.clone().unwrap_or_default());
    validate_completions(&new, &old, &at.child("completions"), errors);
    errors.unchanged(&at.child("selector"), &new.selector, &old.selector);
    validate_template_update(&new.template, before, &at, errors);
    errors.unchanged(&at.child("completionMode"), &new.completion_mode, &old.completion_mode);
    let (policy, policy_before) = (&new.pod_failure_policy, &old.pod_failure_policy);
    errors.unchanged(&at.child("podFailurePolicy"), policy, policy_before);
    let (limit, limit_before) = (&new.backoff_limit_per_index, &old.backoff_limit_per_index);
    errors.unchanged(&at.child("backoffLimitPerIndex"), limit, limit_before);
    errors.unchanged(&at.child("managedBy"), &new.managed_by, &old.managed_by);
    errors.unchanged(&at.child("successPolicy"), &new.success_policy, &old.success_policy);
}

/// Only indexed Jobs may grow and shrink, and only together with their parallelism.
fn validate_completions(new: &JobSpec, old: &JobSpec, at: &Path, errors: &mut ErrorList) {
    if text(&new.completion_mode) != INDEXED {
        errors.unchanged(at, &new.completions, &old.completions);
    } else if new.completions != old.completions
        && let Some(completions) = new.completions
        && new.parallelism != Some(completions)
    {
        errors.invalid(at, completions, "can only be modified in tandem with spec.parallelism");
    }
}

/// Only of a suspended Job without pods may the template change, and only in where the pods go and what they get.
fn validate_template_update(new: &PodTemplateSpec, old: &Job, at: &Path, errors: &mut ErrorList) {
    let spec = old.spec.clone().unwrap_or_default();
    let status = old.status.clone().unwrap_or_default();
    let stopped = status.start_time.is_none() || has(&status, "Suspended", "True");
    let mut before = spec.template;
    if spec.suspend != Some(true) || !stopped || status.active.unwrap_or(0) != 0 {
        errors.unchanged(&at.child("template"), new, &before);
        return;
    }
    take_placement(&mut before, new);
    let (mut before, new) = (before.spec.unwrap_or_default(), new.spec.clone().unwrap_or_default());
    take_resources(&mut before, &new);
    errors.unchanged(&at.child("template.spec"), &new, &before);
}

fn take_placement(to: &mut PodTemplateSpec, from: &PodTemplateSpec) {
    let (to, from) = (to.spec.get_or_insert_default(), from.spec.clone().unwrap_or_default());
    let wanted = from.affinity.as_ref().map(|affinity| affinity.node_affinity.clone());
    match (wanted, &mut to.affinity) {
        (Some(node_affinity), affinity) => {
            affinity.get_or_insert_default().node_affinity = node_affinity;
        }
        (None, Some(affinity)) => {
            affinity.node_affinity = None;
            if *affinity == Affinity::default() {
                to.affinity = None;
            }
        }
        (None, None) => {}
    }
    to.node_selector = from.node_selector;
    to.tolerations = from.tolerations;
    to.scheduling_gates = from.scheduling_gates;
}

fn take_resources(to: &mut PodSpec, from: &PodSpec) {
    let take = |to: &mut [Container], from: &[Container]| {
        for (to, from) in to.iter_mut().zip(from).filter(|(to, from)| to.name == from.name) {
            to.resources.clone_from(&from.resources);
        }
    };
    take(&mut to.containers, &from.containers);
    if let (Some(to), Some(from)) = (&mut to.init_containers, &from.init_containers) {
        take(to, from);
    }
}

/// Warnings about a Job or the template of one.
pub(in crate::batch) fn warnings(spec: &JobSpec, at: &Path) -> Vec<String> {
    let many = text(&spec.completion_mode) == INDEXED
        && spec.completions.is_some_and(|n| n > MANY_COMPLETIONS)
        && spec.parallelism.is_some_and(|n| n > MAX_PARALLELISM_OF_MANY);
    let many = many.then(|| format!("{at}: {TOO_MANY_TO_TRACK}"));
    let template = pod::template_warnings_at(&spec.template, &at.child("template"));
    many.into_iter().chain(template).collect()
}
