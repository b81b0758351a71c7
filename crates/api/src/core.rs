//! Kinds of the core group.

pub mod component_status;
pub mod config_map;
pub mod endpoints;
pub mod event;
pub mod limit_range;
pub mod namespace;
pub mod node;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
pub mod pod_template;
pub mod replication_controller;
pub mod resource_quota;
pub mod secret;
pub mod service;
pub mod service_account;

use k8s_openapi::api::core::v1::{
    ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume,
    PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service,
    ServiceAccount,
};

use crate::kinds::{
    ALL, ALL_VERBS, NAMESPACE_VERBS, PART_VERBS, PROXY_VERBS, Resource, SCALE, STREAM_VERBS,
    Subresource, foreign, names, row, sub,
};

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    [first(), rest()].into_iter().flatten().collect()
}

/// Endpoints, bounds, volumes, and what the server says about itself.
fn rest() -> Vec<Resource> {
    vec![
        row::<Endpoints>(
            names("endpoints", &["ep"], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.core.v1.Endpoints",
        ),
        row::<LimitRange>(
            names("limitrange", &["limits"], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.core.v1.LimitRange",
        ),
        row::<PersistentVolumeClaim>(
            names("persistentvolumeclaim", &["pvc"], &[]),
            ALL_VERBS,
            CLAIM_SUBRESOURCES,
            "io.k8s.api.core.v1.PersistentVolumeClaim",
        ),
        row::<PersistentVolume>(
            names("persistentvolume", &["pv"], &[]),
            ALL_VERBS,
            VOLUME_SUBRESOURCES,
            "io.k8s.api.core.v1.PersistentVolume",
        ),
        row::<ResourceQuota>(
            names("resourcequota", &["quota"], &[]),
            ALL_VERBS,
            QUOTA_SUBRESOURCES,
            "io.k8s.api.core.v1.ResourceQuota",
        ),
        row::<PodTemplate>(
            names("podtemplate", &[], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.core.v1.PodTemplate",
        ),
        row::<ReplicationController>(
            names("replicationcontroller", &["rc"], ALL),
            ALL_VERBS,
            REPLICATION_CONTROLLER_SUBRESOURCES,
            "io.k8s.api.core.v1.ReplicationController",
        ),
        row::<ComponentStatus>(
            names("componentstatus", &["cs"], &[]),
            &["get", "list"],
            &[],
            "io.k8s.api.core.v1.ComponentStatus",
        ),
    ]
}

/// The kinds a cluster cannot do without.
fn first() -> Vec<Resource> {
    vec![
        row::<Namespace>(
            names("namespace", &["ns"], &[]),
            NAMESPACE_VERBS,
            NAMESPACE_SUBRESOURCES,
            "io.k8s.api.core.v1.Namespace",
        ),
        row::<Node>(
            names("node", &["no"], &[]),
            ALL_VERBS,
            NODE_SUBRESOURCES,
            "io.k8s.api.core.v1.Node",
        ),
        row::<Pod>(
            names("pod", &["po"], ALL),
            ALL_VERBS,
            POD_SUBRESOURCES,
            "io.k8s.api.core.v1.Pod",
        ),
        row::<Service>(
            names("service", &["svc"], ALL),
            ALL_VERBS,
            SERVICE_SUBRESOURCES,
            "io.k8s.api.core.v1.Service",
        ),
        row::<ConfigMap>(
            names("configmap", &["cm"], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.core.v1.ConfigMap",
        ),
        row::<Secret>(names("secret", &[], &[]), ALL_VERBS, &[], "io.k8s.api.core.v1.Secret"),
        row::<ServiceAccount>(
            names("serviceaccount", &["sa"], &[]),
            ALL_VERBS,
            SERVICE_ACCOUNT_SUBRESOURCES,
            "io.k8s.api.core.v1.ServiceAccount",
        ),
        row::<Event>(names("event", &["ev"], &[]), ALL_VERBS, &[], "io.k8s.api.core.v1.Event"),
    ]
}

const REPLICATION_CONTROLLER_SUBRESOURCES: &[Subresource] =
    &[SCALE, sub("status", "ReplicationController", PART_VERBS)];
const CLAIM_SUBRESOURCES: &[Subresource] = &[sub("status", "PersistentVolumeClaim", PART_VERBS)];
const VOLUME_SUBRESOURCES: &[Subresource] = &[sub("status", "PersistentVolume", PART_VERBS)];
const QUOTA_SUBRESOURCES: &[Subresource] = &[sub("status", "ResourceQuota", PART_VERBS)];
const NAMESPACE_SUBRESOURCES: &[Subresource] =
    &[sub("finalize", "Namespace", &["update"]), sub("status", "Namespace", PART_VERBS)];
const NODE_SUBRESOURCES: &[Subresource] =
    &[sub("proxy", "NodeProxyOptions", PROXY_VERBS), sub("status", "Node", PART_VERBS)];
const SERVICE_SUBRESOURCES: &[Subresource] =
    &[sub("proxy", "ServiceProxyOptions", PROXY_VERBS), sub("status", "Service", PART_VERBS)];
const SERVICE_ACCOUNT_SUBRESOURCES: &[Subresource] =
    &[foreign("token", "authentication.k8s.io", "TokenRequest", &["create"])];
const POD_SUBRESOURCES: &[Subresource] = &[
    sub("attach", "PodAttachOptions", STREAM_VERBS),
    sub("binding", "Binding", &["create"]),
    sub("ephemeralcontainers", "Pod", PART_VERBS),
    foreign("eviction", "policy", "Eviction", &["create"]),
    sub("exec", "PodExecOptions", STREAM_VERBS),
    sub("log", "Pod", &["get"]),
    sub("portforward", "PodPortForwardOptions", STREAM_VERBS),
    sub("proxy", "PodProxyOptions", PROXY_VERBS),
    sub("resize", "Pod", PART_VERBS),
    sub("status", "Pod", PART_VERBS),
];

#[cfg(test)]
mod tests;
