//! Kinds of the group `policy`.

pub mod pod_disruption_budget;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::kinds::{ALL_VERBS, PART_VERBS, Resource, Subresource, names, row, sub};

const BUDGET_SUBRESOURCES: &[Subresource] = &[sub("status", "PodDisruptionBudget", PART_VERBS)];

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![row::<PodDisruptionBudget>(
        names("poddisruptionbudget", &["pdb"], &[]),
        ALL_VERBS,
        BUDGET_SUBRESOURCES,
        "io.k8s.api.policy.v1.PodDisruptionBudget",
    )]
}

#[cfg(test)]
mod tests;
