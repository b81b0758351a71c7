//! Kinds of the group `apps`.

pub mod controller_revision;
pub mod daemon_set;
pub mod deployment;
pub mod replica_set;
pub mod stateful_set;
pub(crate) mod template;

use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};

use crate::kinds::{ALL, ALL_VERBS, PART_VERBS, Resource, SCALE, Subresource, names, row, sub};

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        row::<ControllerRevision>(
            names("controllerrevision", &[], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.apps.v1.ControllerRevision",
        ),
        row::<DaemonSet>(
            names("daemonset", &["ds"], ALL),
            ALL_VERBS,
            DAEMON_SET_SUBRESOURCES,
            "io.k8s.api.apps.v1.DaemonSet",
        ),
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
        row::<StatefulSet>(
            names("statefulset", &["sts"], ALL),
            ALL_VERBS,
            STATEFUL_SET_SUBRESOURCES,
            "io.k8s.api.apps.v1.StatefulSet",
        ),
    ]
}

const DAEMON_SET_SUBRESOURCES: &[Subresource] = &[sub("status", "DaemonSet", PART_VERBS)];
const DEPLOYMENT_SUBRESOURCES: &[Subresource] = &[SCALE, sub("status", "Deployment", PART_VERBS)];
const REPLICA_SET_SUBRESOURCES: &[Subresource] = &[SCALE, sub("status", "ReplicaSet", PART_VERBS)];
const STATEFUL_SET_SUBRESOURCES: &[Subresource] =
    &[SCALE, sub("status", "StatefulSet", PART_VERBS)];

#[cfg(test)]
mod tests;
