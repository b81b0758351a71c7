//! What a role allows: rules over resources, or over paths that are no resources.
//!
//! Counterpart in Kubernetes: `ValidatePolicyRule` in `pkg/apis/rbac/validation`.

use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::kinds::Scope;
use crate::report::{Report, list};

/// The rules of a role; only those of the whole cluster may name paths.
pub(super) fn validate(rules: &[PolicyRule], scope: Scope, errors: &mut ErrorList) {
    for (i, rule) in rules.iter().enumerate() {
        validate_rule(rule, scope, &Path::new("rules").index(i), errors);
    }
}

fn validate_rule(rule: &PolicyRule, scope: Scope, at: &Path, errors: &mut ErrorList) {
    if rule.verbs.is_empty() {
        errors.required(&at.child("verbs"), "verbs must contain at least one value");
    }
    let (groups, resources) = (list(&rule.api_groups), list(&rule.resources));
    let urls = list(&rule.non_resource_urls);
    if !urls.is_empty() {
        let at = at.child("nonResourceURLs");
        if scope == Scope::Namespaced {
            errors.invalid(&at, urls, "namespaced rules cannot apply to non-resource URLs");
        }
        let names = list(&rule.resource_names);
        if ![groups, resources, names].into_iter().all(<[String]>::is_empty) {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            errors.invalid(&at, urls, detail);
        }
        return;
    }
    if groups.is_empty() {
        let detail = "resource rules must supply at least one api group";
        errors.required(&at.child("apiGroups"), detail);
    }
    if resources.is_empty() {
        let detail = "resource rules must supply at least one resource";
        errors.required(&at.child("resources"), detail);
    }
}
