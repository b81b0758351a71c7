//! Kinds of the group `scheduling.k8s.io`.

pub mod priority_class;

use k8s_openapi::api::scheduling::v1::PriorityClass;

use crate::kinds::{ALL_VERBS, Resource, names, row};

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![row::<PriorityClass>(
        names("priorityclass", &["pc"], &[]),
        ALL_VERBS,
        &[],
        "io.k8s.api.scheduling.v1.PriorityClass",
    )]
}

#[cfg(test)]
mod tests;
