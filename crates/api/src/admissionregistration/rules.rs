//! Which requests are meant: operations on resources.
//!
//! Counterpart in Kubernetes: `validateRuleWithOperations` in `pkg/apis/admissionregistration/validation`.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::admissionregistration::v1::RuleWithOperations;

use crate::report::{Report, list, text};

const ALL: &str = "*";
const OPERATIONS: &[&str] = &[ALL, "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &[ALL, "Cluster", "Namespaced"];

/// What rules leave out.
pub(super) fn default(rules: &mut Option<Vec<RuleWithOperations>>) {
    for rule in rules.iter_mut().flatten() {
        rule.scope.get_or_insert_with(|| ALL.to_owned());
    }
}

pub(super) fn validate(rule: &RuleWithOperations, at: &Path, errors: &mut ErrorList) {
    let (operations, at_operations) = (list(&rule.operations), at.child("operations"));
    if operations.is_empty() {
        errors.required(&at_operations, "");
    }
    alone(operations, "operations", &at_operations, errors);
    for (i, operation) in operations.iter().enumerate() {
        if !OPERATIONS.contains(&operation.as_str()) {
            errors.not_supported(&at_operations.index(i), operation, OPERATIONS);
        }
    }
    for (field, items, what) in [
        ("apiGroups", &rule.api_groups, "API groups"),
        ("apiVersions", &rule.api_versions, "API versions"),
    ] {
        let at = at.child(field);
        if list(items).is_empty() {
            errors.required(&at, "");
        }
        alone(list(items), what, &at, errors);
    }
    for (i, _) in list(&rule.api_versions).iter().enumerate().filter(|(_, v)| v.is_empty()) {
        errors.required(&at.child("apiVersions").index(i), "");
    }
    validate_resources(list(&rule.resources), &at.child("resources"), errors);
    let scope = text(&rule.scope);
    if rule.scope.is_some() && !SCOPES.contains(&scope) {
        errors.not_supported(&at.child("scope"), scope, SCOPES);
    }
}

fn alone(items: &[String], what: &str, at: &Path, errors: &mut ErrorList) {
    if items.len() > 1 && items.iter().any(|item| item == ALL) {
        errors.invalid(at, items, format!("if '*' is present, must not specify other {what}"));
    }
}

/// `*` takes the place of resources, of subresources, or of both; what it covers is not named again after it.
fn validate_resources(resources: &[String], at: &Path, errors: &mut ErrorList) {
    if resources.is_empty() {
        errors.required(at, "");
    }
    let (mut whole, mut subs) = (BTreeSet::new(), BTreeSet::new());
    // As in Kubernetes, the last resource without a subresource decides.
    let mut plain = false;
    for (i, named) in resources.iter().enumerate() {
        let at = at.index(i);
        let Some((resource, sub)) = named.split_once('/') else {
            match named.as_str() {
                "" => errors.required(&at, ""),
                other => plain = other != ALL,
            }
            continue;
        };
        let covered = |by: String| format!("if '{by}' is present, must not specify {named}");
        if whole.contains(resource) {
            errors.invalid(&at, named, covered(format!("{resource}/*")));
        }
        if subs.contains(sub) {
            errors.invalid(&at, named, covered(format!("*/{sub}")));
        }
        if sub == ALL {
            whole.insert(resource);
        }
        if resource == ALL {
            subs.insert(sub);
        }
    }
    let has = |name: &str| resources.iter().any(|resource| resource == name);
    if resources.len() > 1 && has("*/*") {
        errors.invalid(at, resources, "if '*/*' is present, must not specify other resources");
    }
    if has(ALL) && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(at, resources, detail);
    }
}
