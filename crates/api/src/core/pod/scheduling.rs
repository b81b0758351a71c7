//! Where a pod may run: node selectors, affinity, tolerations, spreading, gates.
//!
//! Counterpart in Kubernetes: the scheduling parts of `ValidatePodSpec` in `pkg/apis/core/validation`, and what
//! `pkg/registry/core/pod` makes of label keys when a pod is created.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::field::{ErrorList, Path};
use apimachinery::{labels, meta, names};
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PodAffinityTerm, PodSpec, Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::report::{Report, list, text};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
/// Effects of taints.
pub(crate) const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const SPREAD_ACTIONS: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];
const NODE_POLICIES: &[&str] = &["Honor", "Ignore"];
const WEIGHT: &str = "must be in the range 1-100";
const NO_SELECTOR: &str = "must not be specified when labelSelector is not set";
const OPERATOR: &str = "not a valid selector operator";

pub(super) fn validate_gates(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    for (i, gate) in list(&spec.readiness_gates).iter().enumerate() {
        errors.qualified_name(
            &at.child("readinessGates").index(i).child("conditionType"),
            &gate.condition_type,
        );
    }
    let mut seen = BTreeSet::new();
    for (i, gate) in list(&spec.scheduling_gates).iter().enumerate() {
        let at = at.child("schedulingGates").index(i);
        errors.qualified_name(&at, &gate.name);
        if !seen.insert(&gate.name) {
            errors.duplicate(&at, &gate.name);
        }
    }
}

pub(super) fn validate_affinity(affinity: &Affinity, at: &Path, errors: &mut ErrorList) {
    if let Some(node) = &affinity.node_affinity {
        validate_node_affinity(node, &at.child("nodeAffinity"), errors);
    }
    if let Some(pod) = &affinity.pod_affinity {
        let at = at.child("podAffinity");
        validate_terms(list(&pod.required_during_scheduling_ignored_during_execution), &at, errors);
        validate_weighted(
            list(&pod.preferred_during_scheduling_ignored_during_execution),
            &at,
            errors,
        );
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        let at = at.child("podAntiAffinity");
        validate_terms(list(&pod.required_during_scheduling_ignored_during_execution), &at, errors);
        validate_weighted(
            list(&pod.preferred_during_scheduling_ignored_during_execution),
            &at,
            errors,
        );
    }
}

fn validate_node_affinity(affinity: &NodeAffinity, at: &Path, errors: &mut ErrorList) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        validate_node_selector(required, &at.child(REQUIRED), errors);
    }
    for (i, term) in
        list(&affinity.preferred_during_scheduling_ignored_during_execution).iter().enumerate()
    {
        let at = at.child(PREFERRED).index(i);
        if !(1..=100).contains(&term.weight) {
            errors.invalid(&at.child("weight"), term.weight, WEIGHT);
        }
        validate_node_term(&term.preference, false, &at.child("preference"), errors);
    }
}

/// A selector of nodes has at least one term, and terms are well formed.
pub(crate) fn validate_node_selector(selector: &NodeSelector, at: &Path, errors: &mut ErrorList) {
    let at = at.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.required(&at, "must have at least one node selector term");
    }
    for (i, term) in selector.node_selector_terms.iter().enumerate() {
        validate_node_term(term, true, &at.index(i), errors);
    }
}

fn validate_node_term(
    term: &NodeSelectorTerm,
    check_values: bool,
    at: &Path,
    errors: &mut ErrorList,
) {
    for (i, requirement) in list(&term.match_expressions).iter().enumerate() {
        let at = at.child("matchExpressions").index(i);
        validate_node_requirement(requirement, &at, errors);
        for (j, value) in list(&requirement.values).iter().enumerate().filter(|_| check_values) {
            errors.invalid_all(&at.child("values").index(j), value, names::is_label_value(value));
        }
    }
    for (i, requirement) in list(&term.match_fields).iter().enumerate() {
        validate_node_field(requirement, &at.child("matchFields").index(i), errors);
    }
}

fn validate_node_requirement(
    requirement: &NodeSelectorRequirement,
    at: &Path,
    errors: &mut ErrorList,
) {
    let count = list(&requirement.values).len();
    let at_values = at.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if count == 0 => {
            errors.required(&at_values, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            errors.forbidden(
                &at_values,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            );
        }
        "Gt" | "Lt" if count != 1 => {
            errors.required(
                &at_values,
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            );
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&at.child("operator"), other, OPERATOR),
    }
    errors.extend(meta::validate_label_name(&requirement.key, &at.child("key")));
}

/// Of a node's fields only the name can be asked for.
fn validate_node_field(requirement: &NodeSelectorRequirement, at: &Path, errors: &mut ErrorList) {
    let values = list(&requirement.values);
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => errors.required(
            &at.child("values"),
            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
        "In" | "NotIn" => {}
        other => errors.invalid(&at.child("operator"), other, OPERATOR),
    }
    if requirement.key != "metadata.name" {
        return errors.invalid(
            &at.child("key"),
            &requirement.key,
            "not a valid field selector key",
        );
    }
    for (i, value) in values.iter().enumerate() {
        errors.dns_subdomain(&at.child("values").index(i), value);
    }
}

fn validate_terms(terms: &[PodAffinityTerm], at: &Path, errors: &mut ErrorList) {
    for (i, term) in terms.iter().enumerate() {
        validate_term(term, &at.child(REQUIRED).index(i), errors);
    }
}

fn validate_weighted(terms: &[WeightedPodAffinityTerm], at: &Path, errors: &mut ErrorList) {
    for (i, term) in terms.iter().enumerate() {
        let at = at.child(PREFERRED).index(i);
        if !(1..=100).contains(&term.weight) {
            errors.invalid(&at.child("weight"), term.weight, WEIGHT);
        }
        validate_term(&term.pod_affinity_term, &at.child("podAffinityTerm"), errors);
    }
}

fn validate_term(term: &PodAffinityTerm, at: &Path, errors: &mut ErrorList) {
    for (name, selector) in
        [("labelSelector", &term.label_selector), ("namespaceSelector", &term.namespace_selector)]
    {
        if let Some(selector) = selector {
            errors.extend(labels::validate_label_selector(selector, &at.child(name)));
        }
    }
    for namespace in list(&term.namespaces) {
        errors.dns_label(&at.child("namespace"), namespace);
    }
    let (keys, mismatch) = (list(&term.match_label_keys), list(&term.mismatch_label_keys));
    validate_label_keys(keys, mismatch, term.label_selector.as_ref(), at, errors);
    if term.topology_key.is_empty() {
        errors.required(&at.child("topologyKey"), "can not be empty");
    }
    errors.extend(meta::validate_label_name(&term.topology_key, &at.child("topologyKey")));
}

/// Keys whose values the pod's own labels give, added to the selector ([`merge_label_keys`]).
fn validate_label_keys(
    keys: &[String],
    mismatch: &[String],
    selector: Option<&LabelSelector>,
    at: &Path,
    errors: &mut ErrorList,
) {
    for (name, keys) in [("matchLabelKeys", keys), ("mismatchLabelKeys", mismatch)] {
        let at = at.child(name);
        if !keys.is_empty() && selector.is_none() {
            errors.forbidden(&at, NO_SELECTOR);
            continue;
        }
        for (i, key) in keys.iter().enumerate() {
            errors.extend(meta::validate_label_name(key, &at.index(i)));
        }
    }
    if let Some(selector) = selector {
        forbid_repeated_keys(keys, selector, at, errors);
    }
    for (i, key) in keys.iter().enumerate().filter(|(_, key)| mismatch.contains(key)) {
        let at = at.child("matchLabelKeys").index(i);
        errors.invalid(&at, key, "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}

/// A key comes into the selector by its key alone or by hand, not both; one occurrence is the merged one.
fn forbid_repeated_keys(
    keys: &[String],
    selector: &LabelSelector,
    at: &Path,
    errors: &mut ErrorList,
) {
    let mut seen: BTreeSet<_> =
        selector.match_labels.iter().flatten().map(|(key, _)| key).collect();
    for expression in list(&selector.match_expressions) {
        let position = keys.iter().position(|key| *key == expression.key);
        if let Some(i) = position.filter(|_| seen.contains(&expression.key)) {
            errors.invalid(
                &at.index(i),
                &expression.key,
                "exists in both matchLabelKeys and labelSelector",
            );
        }
        seen.insert(&expression.key);
    }
}

/// Adds to selectors the values that the pod's labels have for the wished keys.
pub(super) fn merge_label_keys(spec: &mut PodSpec, labels: &BTreeMap<String, String>) {
    if let Some(affinity) = &mut spec.affinity {
        let pod = affinity.pod_affinity.iter_mut().flat_map(|a| {
            let required =
                a.required_during_scheduling_ignored_during_execution.iter_mut().flatten();
            let preferred =
                a.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
            preferred.map(|t| &mut t.pod_affinity_term).chain(required)
        });
        let anti = affinity.pod_anti_affinity.iter_mut().flat_map(|a| {
            let required =
                a.required_during_scheduling_ignored_during_execution.iter_mut().flatten();
            let preferred =
                a.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
            preferred.map(|t| &mut t.pod_affinity_term).chain(required)
        });
        for term in pod.chain(anti) {
            let Some(selector) = &mut term.label_selector else { continue };
            add_keys(selector, list(&term.match_label_keys), "In", labels);
            add_keys(selector, list(&term.mismatch_label_keys), "NotIn", labels);
        }
    }
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        if let Some(selector) = &mut constraint.label_selector {
            add_keys(selector, list(&constraint.match_label_keys), "In", labels);
        }
    }
}

/// Adds what is not there yet, so that doing it again changes nothing.
fn add_keys(
    selector: &mut LabelSelector,
    keys: &[String],
    operator: &str,
    labels: &BTreeMap<String, String>,
) {
    for (key, value) in keys.iter().filter_map(|key| labels.get_key_value(key)) {
        let requirement = LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.to_owned(),
            values: Some(vec![value.clone()]),
        };
        let requirements = selector.match_expressions.get_or_insert_default();
        if !requirements.contains(&requirement) {
            requirements.push(requirement);
        }
    }
}

/// Every toleration is one.
pub(crate) fn validate_tolerations(tolerations: &[Toleration], at: &Path, errors: &mut ErrorList) {
    for (i, toleration) in tolerations.iter().enumerate() {
        validate_toleration(toleration, &at.index(i), errors);
    }
}

fn validate_toleration(toleration: &Toleration, at: &Path, errors: &mut ErrorList) {
    let (key, operator) = (text(&toleration.key), text(&toleration.operator));
    let (value, effect) = (text(&toleration.value), text(&toleration.effect));
    if !key.is_empty() {
        errors.extend(meta::validate_label_name(key, &at.child("key")));
    } else if operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.invalid(&at.child("operator"), operator, detail);
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.invalid(&at.child("effect"), effect, detail);
    }
    match operator {
        "" | "Equal" => {
            let problems = names::is_label_value(value);
            if !problems.is_empty() {
                errors.invalid(&at.child("operator"), value, problems.join(";"));
            }
        }
        "Exists" if !value.is_empty() => {
            errors.invalid(
                &at.child("operator"),
                value,
                "value must be empty when `operator` is 'Exists'",
            );
        }
        "Exists" => {}
        "Lt" | "Gt" => {
            errors.not_supported(&at.child("operator"), operator, &["Equal", "Exists", "Lt", "Gt"])
        }
        other => errors.not_supported(&at.child("operator"), other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.not_supported(&at.child("effect"), effect, EFFECTS);
    }
}

pub(super) fn validate_spread(
    constraints: &[TopologySpreadConstraint],
    at: &Path,
    errors: &mut ErrorList,
) {
    for (i, constraint) in constraints.iter().enumerate() {
        let at = at.index(i);
        let (key, action) = (&constraint.topology_key, &constraint.when_unsatisfiable);
        if constraint.max_skew <= 0 {
            errors.invalid(&at.child("maxSkew"), constraint.max_skew, "must be greater than zero");
        }
        if key.is_empty() {
            errors.required(&at.child("topologyKey"), "can not be empty");
        }
        if !SPREAD_ACTIONS.contains(&action.as_str()) {
            errors.not_supported(&at.child("whenUnsatisfiable"), action, SPREAD_ACTIONS);
        }
        if constraints[i + 1..]
            .iter()
            .any(|o| o.topology_key == *key && o.when_unsatisfiable == *action)
        {
            errors.duplicate(
                &at.child("{topologyKey, whenUnsatisfiable}"),
                format!("{{{key}, {action}}}"),
            );
        }
        validate_spread_options(constraint, &at, errors);
    }
}

fn validate_spread_options(
    constraint: &TopologySpreadConstraint,
    at: &Path,
    errors: &mut ErrorList,
) {
    if let Some(domains) = constraint.min_domains {
        let at = at.child("minDomains");
        if domains <= 0 {
            errors.invalid(&at, domains, "must be greater than zero");
        }
        let action = &constraint.when_unsatisfiable;
        if action != "DoNotSchedule" {
            let detail =
                format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
            errors.invalid(&at, domains, detail);
        }
    }
    for (name, policy) in [
        ("nodeAffinityPolicy", &constraint.node_affinity_policy),
        ("nodeTaintsPolicy", &constraint.node_taints_policy),
    ] {
        if let Some(policy) = policy.as_deref().filter(|p| !NODE_POLICIES.contains(p)) {
            errors.not_supported(&at.child(name), policy, NODE_POLICIES);
        }
    }
    let selector = constraint.label_selector.as_ref();
    validate_label_keys(list(&constraint.match_label_keys), &[], selector, at, errors);
    if let Some(selector) = selector {
        errors.extend(labels::validate_label_selector(selector, &at.child("labelSelector")));
    }
}
