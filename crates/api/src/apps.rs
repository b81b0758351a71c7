//! Kinds of the group `apps`.

pub mod deployment;
pub mod replica_set;
pub(crate) mod template;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use crate::kinds::{ALL, ALL_VERBS, PART_VERBS, Resource, SCALE, Subresource, names, row, sub};

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        row::<Deployment>(
            names("deployment", &["deploy"], ALL),
            ALL_VERBS,
            DEPLOYMENT_SUBRESOURCES,
            "io.k8s.api.apps.v1.Deployment",
        ),
        row::<ReplicaSet>(
            names("replicaset", &["rs"], ALL),
            ALL_VERBS,
            REPLICA_SET_SUBRESOURCES,
            "io.k8s.api.apps.v1.ReplicaSet",
        ),
    ]
}

const DEPLOYMENT_SUBRESOURCES: &[Subresource] = &[SCALE, sub("status", "Deployment", PART_VERBS)];
const REPLICA_SET_SUBRESOURCES: &[Subresource] = &[SCALE, sub("status", "ReplicaSet", PART_VERBS)];

#[cfg(test)]
mod tests;
