//! The rules of a node.
//!
//! Counterpart in Kubernetes: `ValidateNode` and `ValidateNodeUpdate` in `pkg/apis/core/validation`, with the paths they give
//! (taints and swap are told below `metadata`, as there).

use std::collections::BTreeSet;

use apimachinery::field::{self, ErrorList, Path};
use apimachinery::{meta, names};
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use serde_json::json;

use super::super::pod::EFFECTS;
use crate::net;
use crate::quantities::{self, ResourceList};
use crate::report::{Report, list, text};

/// Bytes in the name of a feature.
const FEATURE_NAME_LIMIT: usize = 253;

/// Rules for a node, on create and on update.
pub(super) fn validate(node: &Node, errors: &mut ErrorList) {
    let (spec, status) =
        (node.spec.clone().unwrap_or_default(), node.status.clone().unwrap_or_default());
    let at_meta = Path::new("metadata");
    validate_taints(list(&spec.taints), &at_meta.child("taints"), errors);
    validate_resources(&status, errors);
    let swap = status
        .node_info
        .as_ref()
        .and_then(|info| info.swap.as_ref())
        .and_then(|swap| swap.capacity);
    if let Some(capacity) = swap.filter(|capacity| *capacity <= 0) {
        errors.invalid(
            &at_meta.child("nodeSwapStatus").child("capacity"),
            capacity,
            "must be greater than zero",
        );
    }
    validate_features(list(&status.declared_features), errors);
    validate_pod_cidrs(list(&spec.pod_cidrs), errors);
}

/// Further rules for a change.
pub(super) fn validate_update(new: &Node, old: &Node, errors: &mut ErrorList) {
    let status = new.status.clone().unwrap_or_default();
    validate_addresses(&status, errors);
    let (empty, at) = (NodeSpec::default(), Path::new("spec"));
    let (new, old) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    let (cidrs, before) = (list(&new.pod_cidrs), list(&old.pod_cidrs));
    if !before.is_empty() && cidrs != before {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(&at.child("podCIDRs"), detail);
    }
    if !text(&old.provider_id).is_empty() && text(&new.provider_id) != text(&old.provider_id) {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&at.child("providerID"), detail);
    }
    if text(&new.external_id) != text(&old.external_id) {
        errors.forbidden(&at.child("externalID"), "may not be updated");
    }
}

/// Rules for a change of the status.
pub(super) fn validate_status_update(new: &Node, old: &Node, errors: &mut ErrorList) {
    let status = new.status.clone().unwrap_or_default();
    validate_resources(&status, errors);
    validate_features(list(&status.declared_features), errors);
    validate_update(new, old, errors);
}

/// Taints repel pods; of one key there is one for each effect.
fn validate_taints(taints: &[Taint], at: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (i, taint) in taints.iter().enumerate() {
        let at = at.index(i);
        let value = text(&taint.value);
        errors.extend(meta::validate_label_name(&taint.key, &at.child("key")));
        let problems = names::is_label_value(value);
        if !problems.is_empty() {
            errors.invalid(&at.child("value"), value, problems.join(";"));
        }
        errors.one_of(&at.child("effect"), &taint.effect, EFFECTS);
        if !seen.insert((&taint.effect, &taint.key)) {
            let shown = json!({"Key": taint.key, "Value": value, "Effect": taint.effect, "TimeAdded": taint.time_added});
            let mut error = field::duplicate(&at, shown);
            "taints must be unique by key and effect pair".clone_into(&mut error.detail);
            errors.push(error);
        }
    }
}

fn validate_resources(status: &NodeStatus, errors: &mut ErrorList) {
    let at = Path::new("status");
    validate_amounts(status.capacity.as_ref(), &at.child("capacity"), errors);
    validate_amounts(status.allocatable.as_ref(), &at.child("allocatable"), errors);
}

fn validate_amounts(amounts: Option<&ResourceList>, at: &Path, errors: &mut ErrorList) {
    for (name, quantity) in amounts.into_iter().flatten() {
        quantities::validate_value(name, quantity, &at.child(name), errors);
    }
}

/// Features are told in order, each once.
fn validate_features(features: &[String], errors: &mut ErrorList) {
    let at = Path::new("status").child("declaredFeatures");
    for (i, feature) in features.iter().enumerate() {
        if let Some(problem) = feature_problem(feature) {
            errors.invalid(&at.index(i), feature, problem);
        }
        let Some(next) = features.get(i + 1) else { continue };
        if feature == next {
            errors.duplicate(&at.index(i + 1), next);
        } else if feature > next {
            errors.invalid(&at.index(i + 1), next, "list must be sorted alphabetically");
        }
    }
}

fn feature_problem(name: &str) -> Option<String> {
    let quoted = field::quote(name);
    if name.len() > FEATURE_NAME_LIMIT {
        return Some(format!(
            "invalid feature name {quoted}: must be no more than {FEATURE_NAME_LIMIT} characters"
        ));
    }
    let segment = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let fine = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.split('/').all(segment);
    (!fine).then(|| {
        format!(
            "invalid feature name {quoted}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
        )
    })
}

fn validate_pod_cidrs(cidrs: &[String], errors: &mut ErrorList) {
    let at = Path::new("spec").child("podCIDRs");
    for (i, cidr) in cidrs.iter().enumerate() {
        net::validate_cidr(cidr, &[], &at.index(i), errors);
    }
    if cidrs.len() > 2 || cidrs.len() == 2 && !net::is_dual_stack(cidrs.iter().map(String::as_str))
    {
        errors.invalid(&at, cidrs, "may specify no more than one CIDR for each IP family");
    }
}

fn validate_addresses(status: &NodeStatus, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    let at = Path::new("status").child("addresses");
    for (i, address) in list(&status.addresses).iter().enumerate() {
        if !seen.insert((&address.type_, &address.address)) {
            errors.duplicate(
                &at.index(i),
                json!({"Type": address.type_, "Address": address.address}),
            );
        }
    }
}
