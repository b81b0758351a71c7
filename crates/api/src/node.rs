//! Kinds of the group `node.k8s.io`.

pub mod runtime_class;

use k8s_openapi::api::node::v1::RuntimeClass;

use crate::kinds::{ALL_VERBS, Resource, names, row};

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![row::<RuntimeClass>(
        names("runtimeclass", &[], &[]),
        ALL_VERBS,
        &[],
        "io.k8s.api.node.v1.RuntimeClass",
    )]
}

#[cfg(test)]
mod tests;
