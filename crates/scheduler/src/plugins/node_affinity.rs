//! Matches node selectors and node affinity with nodes. Counterpart: `NodeAffinity`.
//!
//! Terms of a node selector are alternatives, the requirements of a term must all hold; a term without any matches
//! nothing.

use std::collections::BTreeMap;

use apimachinery::field::Path;
use apimachinery::labels::{Operator, Requirement};
use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm};

use super::{PodInfo, Refusal};
use crate::snapshot::NodeInfo;

/// Refuses nodes that `spec.nodeSelector` or the required node affinity do not choose.
pub fn filter(pod: PodInfo<'_>, node: &NodeInfo) -> Option<Refusal> {
    match selected(pod, node) && required(pod, node) {
        true => None,
        false => Refusal::fixed("node(s) didn't match Pod's node affinity/selector"),
    }
}

/// The weights of the preferred terms that choose the node.
pub fn score(pod: PodInfo<'_>, node: &NodeInfo) -> i64 {
    let preferred = affinity(pod).and_then(|affinity| {
        affinity.preferred_during_scheduling_ignored_during_execution.as_ref()
    });
    let chosen = preferred.into_iter().flatten().filter(|term| matches(&term.preference, node));
    chosen.map(|term| i64::from(term.weight)).sum()
}

fn selected(pod: PodInfo<'_>, node: &NodeInfo) -> bool {
    let selector = pod.pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    selector.into_iter().flatten().all(|(key, value)| node.labels().get(key) == Some(value))
}

fn required(pod: PodInfo<'_>, node: &NodeInfo) -> bool {
    let required = affinity(pod)
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required
        .is_none_or(|selector| selector.node_selector_terms.iter().any(|term| matches(term, node)))
}

fn affinity(pod: PodInfo<'_>) -> Option<&NodeAffinity> {
    pod.pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}

fn matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if labels.is_empty() && fields.is_empty() {
        return false;
    }
    let name = node.node.metadata.name.clone().unwrap_or_default();
    let own_fields = BTreeMap::from([("metadata.name".to_owned(), name)]);
    labels.iter().all(|wanted| holds(wanted, node.labels()))
        && fields.iter().all(|wanted| holds(wanted, &own_fields))
}

fn holds(wanted: &NodeSelectorRequirement, values: &BTreeMap<String, String>) -> bool {
    let operator = match wanted.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return false,
    };
    let wanted_values = wanted.values.clone().unwrap_or_default();
    let requirement = Requirement::new(&wanted.key, operator, wanted_values, &Path::nil());
    requirement.is_ok_and(|requirement| requirement.matches(values))
}
