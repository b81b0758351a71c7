//! Kinds of the group `discovery.k8s.io`.

pub mod endpoint_slice;

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::kinds::{ALL_VERBS, Resource, names, row};

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![row::<EndpointSlice>(
        names("endpointslice", &[], &[]),
        ALL_VERBS,
        &[],
        "io.k8s.api.discovery.v1.EndpointSlice",
    )]
}

#[cfg(test)]
mod tests;
