//! ResourceQuota: how much a namespace may use in all.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/resourcequota` and `ValidateResourceQuota` in `pkg/apis/core/validation`.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, ScopedResourceSelectorRequirement,
};
use serde_json::Value;

use crate::columns::{self, column};
use crate::kinds::Column;
use crate::quantities::{self, ResourceList, amount, round_list};
use crate::report::{IMMUTABLE, Report, list};
use crate::strategy::{KindStrategy, spec_and_status};

const BEST_EFFORT: &str = "BestEffort";
const NOT_BEST_EFFORT: &str = "NotBestEffort";
const TERMINATING: &str = "Terminating";
const NOT_TERMINATING: &str = "NotTerminating";
const PRIORITY_CLASS: &str = "PriorityClass";
const CROSS_NAMESPACE: &str = "CrossNamespacePodAffinity";
const VOLUME_CLASS: &str = "VolumeAttributesClass";
/// Scopes that are either there or not.
const PLAIN_SCOPES: [&str; 5] =
    [BEST_EFFORT, NOT_BEST_EFFORT, TERMINATING, NOT_TERMINATING, CROSS_NAMESPACE];
const COMPUTE: [&str; 6] =
    ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
/// Resources whose requests should not be above their limits.
const COMPARED: [&str; 4] = ["cpu", "memory", "storage", "ephemeral-storage"];

impl KindStrategy for ResourceQuota {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Request", "string", "What is used and may be used, but for limits."),
        column("Limit", "string", "What is used and may be used of limits."),
        columns::AGE,
    ];

    spec_and_status!();

    fn default_fields(&mut self) {
        round_list(&mut self.spec.get_or_insert_default().hard);
        let status = self.status.get_or_insert_default();
        round_list(&mut status.hard);
        round_list(&mut status.used);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let Some(spec) = &self.spec else { return };
        let at = Path::new("spec");
        validate_amounts(&spec.hard, &at.child("hard"), errors);
        validate_scopes(spec, &at.child("scopes"), errors);
        if spec.scope_selector.is_some() {
            validate_selector(spec, &at.child("scopeSelector").child("matchExpressions"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let scopes = |quota: &Self| -> BTreeSet<String> {
            quota.spec.iter().flat_map(|s| list(&s.scopes)).cloned().collect()
        };
        if scopes(self) != scopes(old) {
            let new = self.spec.as_ref().and_then(|s| s.scopes.as_ref());
            errors.invalid(&Path::new("spec").child("scopes"), new, IMMUTABLE);
        }
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut ErrorList) {
        let Some(ResourceQuotaStatus { hard, used }) = &self.status else { return };
        let at = Path::new("status");
        validate_amounts(hard, &at.child("hard"), errors);
        validate_amounts(used, &at.child("used"), errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let hard = self.spec.as_ref().and_then(|s| s.hard.as_ref()).filter(|_| old.is_none());
        hard.map(|hard| COMPARED.iter().filter_map(|name| above_limit(hard, name)).collect())
            .unwrap_or_default()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let status = self.status.clone().unwrap_or_default();
        let used = status.used.unwrap_or_default();
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in status.hard.unwrap_or_default() {
            let used = used.get(&name).map_or("0", |quantity| quantity.0.as_str());
            let shown = if name.starts_with("limits.") { &mut limits } else { &mut requests };
            shown.push(format!("{name}: {used}/{}", hard.0));
        }
        vec![
            columns::name(&self.metadata),
            requests.join(", ").into(),
            limits.join(", ").into(),
            columns::age(&self.metadata, now),
        ]
    }
}

fn above_limit(hard: &ResourceList, name: &str) -> Option<String> {
    let mut request_name = format!("requests.{name}");
    let mut request = hard.get(&request_name);
    if request.is_none() && ["cpu", "memory"].contains(&name) {
        name.clone_into(&mut request_name);
        request = hard.get(name);
    }
    let limit_name = format!("limits.{name}");
    let (request, limit) = (request?, hard.get(&limit_name)?);
    (amount(request) > amount(limit)).then(|| {
        format!(
            "ResourceQuota {request_name} ({}) should be less than {limit_name} ({})",
            request.0, limit.0
        )
    })
}

fn validate_amounts(amounts: &Option<ResourceList>, at: &Path, errors: &mut ErrorList) {
    for (name, quantity) in amounts.iter().flatten() {
        let at = at.key(name);
        quantities::validate_quota_resource(name, &at, errors);
        quantities::validate_value(name, quantity, &at, errors);
    }
}

fn is_scope(scope: &str) -> bool {
    PLAIN_SCOPES.contains(&scope) || [PRIORITY_CLASS, VOLUME_CLASS].contains(&scope)
}

/// Whether the scope can select what the resource counts.
fn applies(scope: &str, resource: &str) -> bool {
    let pods = resource == "pods";
    match scope {
        TERMINATING | NOT_TERMINATING | NOT_BEST_EFFORT | PRIORITY_CLASS | CROSS_NAMESPACE => {
            pods || COMPUTE.contains(&resource)
        }
        BEST_EFFORT => pods,
        VOLUME_CLASS => ["persistentvolumeclaims", "requests.storage"].contains(&resource),
        _ => true,
    }
}

/// How many of the limited resources the scope cannot select.
fn misapplied(scope: &str, spec: &ResourceQuotaSpec) -> usize {
    let names = spec.hard.iter().flatten().map(|(name, _)| name.as_str());
    names.filter(|name| quantities::is_standard_for_quota(name) && !applies(scope, name)).count()
}

fn conflicts(scopes: &BTreeSet<&str>) -> usize {
    let pairs = [[BEST_EFFORT, NOT_BEST_EFFORT], [TERMINATING, NOT_TERMINATING]];
    pairs.iter().filter(|pair| pair.iter().all(|scope| scopes.contains(scope))).count()
}

fn validate_scopes(spec: &ResourceQuotaSpec, at: &Path, errors: &mut ErrorList) {
    let scopes = list(&spec.scopes);
    for scope in scopes {
        if !is_scope(scope) {
            errors.invalid(at, scopes, "unsupported scope");
        }
        for _ in 0..misapplied(scope, spec) {
            errors.invalid(at, scopes, "unsupported scope applied to resource");
        }
    }
    for _ in 0..conflicts(&scopes.iter().map(String::as_str).collect()) {
        errors.invalid(at, scopes, "conflicting scopes");
    }
}

fn validate_selector(spec: &ResourceQuotaSpec, at: &Path, errors: &mut ErrorList) {
    let selector = spec.scope_selector.clone().unwrap_or_default();
    let requirements = list(&selector.match_expressions);
    for requirement in requirements {
        let scope = requirement.scope_name.as_str();
        if !is_scope(scope) {
            errors.invalid(&at.child("scopeName"), scope, "unsupported scope");
        }
        for _ in 0..misapplied(scope, spec) {
            errors.invalid(at, &selector, "unsupported scope applied to resource");
        }
        validate_requirement(requirement, at, errors);
    }
    for _ in 0..conflicts(&requirements.iter().map(|r| r.scope_name.as_str()).collect()) {
        errors.invalid(at, &spec.scopes, "conflicting scopes");
    }
}

fn validate_requirement(
    requirement: &ScopedResourceSelectorRequirement,
    at: &Path,
    errors: &mut ErrorList,
) {
    let operator = requirement.operator.as_str();
    if PLAIN_SCOPES.contains(&requirement.scope_name.as_str()) && operator != "Exists" {
        let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.invalid(&at.child("operator"), operator, detail);
    }
    let values = list(&requirement.values);
    match operator {
        "In" | "NotIn" if values.is_empty() => errors.required(
            &at.child("values"),
            "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
        ),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.invalid(
            &at.child("values"),
            values,
            "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
    }
}
