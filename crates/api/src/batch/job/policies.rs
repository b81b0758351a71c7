//! Rules for what makes a Job fail, and what makes it succeed before all its pods have.
//!
//! Counterpart in Kubernetes: `validatePodFailurePolicy` and `validateSuccessPolicy` of `pkg/apis/batch/validation`.

use std::collections::BTreeSet;

use apimachinery::field::{self, ErrorList, ErrorType, Path};
use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
};
use k8s_openapi::api::core::v1::Container;

use super::indexes;
use crate::report::{Report, list, text};

/// Rules of a failure policy.
const MAX_FAILURE_RULES: usize = 20;
/// Exit codes of a rule: all there are besides one.
const MAX_EXIT_CODES: usize = 255;
/// Conditions of a rule.
const MAX_CONDITIONS: usize = 20;
/// Rules of a success policy.
const MAX_SUCCESS_RULES: usize = 20;
/// Bytes of a text of indexes.
const MAX_INDEXES: usize = 64 * 1024;
const ACTIONS: &[&str] = &["Count", FAIL_INDEX, "FailJob", "Ignore"];
const FAIL_INDEX: &str = "FailIndex";
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];

pub(super) fn validate_failure(
    policy: &PodFailurePolicy,
    spec: &JobSpec,
    at: &Path,
    errors: &mut ErrorList,
) {
    let at = at.child("rules");
    if policy.rules.len() > MAX_FAILURE_RULES {
        errors.too_many(&at, policy.rules.len(), MAX_FAILURE_RULES);
    }
    let pod = spec.template.spec.clone().unwrap_or_default();
    let containers: Vec<Container> =
        pod.containers.into_iter().chain(pod.init_containers.into_iter().flatten()).collect();
    for (i, rule) in policy.rules.iter().enumerate() {
        validate_failure_rule(rule, spec, &containers, &at.index(i), errors);
    }
}

fn validate_failure_rule(
    rule: &PodFailurePolicyRule,
    spec: &JobSpec,
    containers: &[Container],
    at: &Path,
    errors: &mut ErrorList,
) {
    let at_action = at.child("action");
    if rule.action == FAIL_INDEX {
        if spec.backoff_limit_per_index.is_none() {
            let detail = "requires the backoffLimitPerIndex to be set";
            errors.invalid(&at_action, &rule.action, detail);
        }
    } else {
        one_of(&rule.action, ACTIONS, &at_action, errors);
    }
    if let Some(codes) = &rule.on_exit_codes {
        validate_exit_codes(codes, containers, &at.child("onExitCodes"), errors);
    }
    let conditions = list(&rule.on_pod_conditions);
    validate_conditions(conditions, &at.child("onPodConditions"), errors);
    match (rule.on_exit_codes.is_some(), !conditions.is_empty()) {
        (true, true) => errors.push(without_value(
            at,
            "specifying both OnExitCodes and OnPodConditions is not supported",
        )),
        (false, false) => errors.push(without_value(
            at,
            "specifying one of OnExitCodes and OnPodConditions is required",
        )),
        _ => {}
    }
}

/// An error that does not repeat the value.
pub(super) fn without_value(at: &Path, detail: impl Into<String>) -> field::Error {
    let mut error = field::forbidden(at, detail);
    error.error_type = ErrorType::Invalid;
    error
}

/// Like [`Report::one_of`], and tells the values when there is none.
fn one_of(value: &str, supported: &[&str], at: &Path, errors: &mut ErrorList) {
    if value.is_empty() {
        let quoted: Vec<_> = supported.iter().map(|value| format!("{value:?}")).collect();
        errors.required(at, &format!("valid values: [{}]", quoted.join(" ")));
    } else if !supported.contains(&value) {
        errors.not_supported(at, value, supported);
    }
}

fn validate_exit_codes(
    codes: &PodFailurePolicyOnExitCodesRequirement,
    containers: &[Container],
    at: &Path,
    errors: &mut ErrorList,
) {
    one_of(&codes.operator, OPERATORS, &at.child("operator"), errors);
    if let Some(name) = &codes.container_name
        && !containers.iter().any(|container| container.name == *name)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&at.child("containerName"), name, detail);
    }
    let at = at.child("values");
    if codes.values.is_empty() {
        errors.invalid(&at, &codes.values, "at least one value is required");
    } else if codes.values.len() > MAX_EXIT_CODES {
        errors.too_many(&at, codes.values.len(), MAX_EXIT_CODES);
    }
    let mut seen = BTreeSet::new();
    for (i, code) in codes.values.iter().enumerate() {
        if codes.operator == "In" && *code == 0 {
            errors.invalid(&at.index(i), code, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            errors.duplicate(&at.index(i), code);
        }
    }
    if !codes.values.is_sorted() {
        errors.invalid(&at, &codes.values, "must be ordered");
    }
}

fn validate_conditions(
    conditions: &[PodFailurePolicyOnPodConditionsPattern],
    at: &Path,
    errors: &mut ErrorList,
) {
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(at, conditions.len(), MAX_CONDITIONS);
    }
    for (i, pattern) in conditions.iter().enumerate() {
        let at = at.index(i);
        errors.qualified_name(&at.child("type"), &pattern.type_);
        one_of(text(&pattern.status), STATUSES, &at.child("status"), errors);
    }
}

pub(super) fn validate_success(
    policy: &SuccessPolicy,
    completions: i32,
    at: &Path,
    errors: &mut ErrorList,
) {
    let at = at.child("rules");
    if policy.rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.required(&at, detail);
    }
    if policy.rules.len() > MAX_SUCCESS_RULES {
        errors.too_many(&at, policy.rules.len(), MAX_SUCCESS_RULES);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        validate_success_rule(rule, completions, &at.index(i), errors);
    }
}

fn validate_success_rule(
    rule: &SuccessPolicyRule,
    completions: i32,
    at: &Path,
    errors: &mut ErrorList,
) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.required(at, detail);
    }
    let mut total = 0;
    if let Some(indexes) = &rule.succeeded_indexes {
        let at = at.child("succeededIndexes");
        if indexes.len() > MAX_INDEXES {
            errors.too_long(&at, MAX_INDEXES);
        }
        match indexes::count(indexes, completions) {
            Ok(count) => total = count,
            Err(problem) => {
                errors.invalid(&at, indexes, format!("error parsing succeededIndexes: {problem}"));
            }
        }
    }
    let Some(count) = rule.succeeded_count else { return };
    let at = at.child("succeededCount");
    errors.non_negative(&at, count.into());
    if count > completions {
        let detail = format!(
            "must be less than or equal to {completions} (the number of specified completions)"
        );
        errors.invalid(&at, count, detail);
    }
    if rule.succeeded_indexes.is_some() && count > total {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(&at, count, detail);
    }
}
