//! What the types themselves do not say: how lists and maps merge, and which values stand in for absent ones.
//!
//! Counterpart in Kubernetes: the `patchStrategy`, `patchMergeKey`, `+listType`, `+listMapKey`, `+mapType`,
//! `+structType` and `+default` marks on the Go types. One row per type, one entry per field; a test checks that
//! every row names a type and a field that exist. Rows stand in one file per
//! family of groups.

use super::fact::Fact;

mod auth;
mod core;
mod meta;
mod network;
mod resource;
mod server;
mod storage;
mod workloads;

/// A type, then its fields with their facts.
pub(super) type Row = (&'static str, &'static [(&'static str, Fact)]);

/// The rows of every family of groups.
pub(super) const FAMILIES: &[&[Row]] = &[
    auth::ROWS,
    core::ROWS,
    meta::ROWS,
    network::ROWS,
    resource::ROWS,
    server::ROWS,
    storage::ROWS,
    workloads::ROWS,
];

/// Types whose values are replaced as a whole by server-side apply.
pub(super) const ATOMIC_TYPES: &[&str] = &[
    "admissionregistration.v1.MatchResources",
    "admissionregistration.v1.NamedRuleWithOperations",
    "admissionregistration.v1.ParamKind",
    "admissionregistration.v1.ParamRef",
    "admissionregistration.v1.Variable",
    "admissionregistration.v1alpha1.MatchResources",
    "admissionregistration.v1alpha1.NamedRuleWithOperations",
    "admissionregistration.v1alpha1.ParamKind",
    "admissionregistration.v1alpha1.ParamRef",
    "admissionregistration.v1beta1.MatchResources",
    "admissionregistration.v1beta1.NamedRuleWithOperations",
    "admissionregistration.v1beta1.ParamKind",
    "admissionregistration.v1beta1.ParamRef",
    "admissionregistration.v1beta1.Variable",
    "autoscaling.v1.CrossVersionObjectReference",
    "core.v1.ConfigMapKeySelector",
    "core.v1.EndpointAddress",
    "core.v1.EndpointPort",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector",
    "core.v1.ScopeSelector",
    "core.v1.SecretKeySelector",
    "core.v1.SecretReference",
    "core.v1.TopologySelectorTerm",
    "core.v1.TypedLocalObjectReference",
    "discovery.v1.EndpointPort",
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
    "networking.v1.ServiceBackendPort",
    "rbac.v1.RoleRef",
    "rbac.v1.Subject",
];

/// Types whose `name` may be left out.
pub(super) const NAMELESS_TYPES: &[&str] = &[
    "core.v1.ConfigMapEnvSource",
    "core.v1.ConfigMapKeySelector",
    "core.v1.ConfigMapProjection",
    "core.v1.ConfigMapVolumeSource",
    "core.v1.LocalObjectReference",
    "core.v1.SecretEnvSource",
    "core.v1.SecretKeySelector",
    "core.v1.SecretProjection",
];

/// Fields that must be there although the Rust types do not say so.
pub(super) const REQUIRED: &[(&str, &str)] = &[
    ("apiserverinternal.v1alpha1.StorageVersion", "metadata"),
    ("core.v1.Event", "metadata"),
    ("events.v1.Event", "eventTime"),
    ("resource.v1alpha3.ResourcePoolStatusRequest", "metadata"),
];

/// A type of which one field is set: the field that says which, if there is one, and what each field is called there.
type Union = (&'static str, Option<&'static str>, &'static [(&'static str, &'static str)]);

/// The types of which one field is set.
pub(super) const UNIONS: &[Union] = &[
    ("core.v1.AppArmorProfile", Some("type"), &[("localhostProfile", "LocalhostProfile")]),
    ("core.v1.PodSchedulingGroup", None, &[("podGroupName", "PodGroupName")]),
    ("core.v1.SeccompProfile", Some("type"), &[("localhostProfile", "LocalhostProfile")]),
    ("flowcontrol.v1.LimitResponse", Some("type"), &[("queuing", "Queuing")]),
    (
        "flowcontrol.v1.PriorityLevelConfigurationSpec",
        Some("type"),
        &[("exempt", "Exempt"), ("limited", "Limited")],
    ),
    (
        "flowcontrol.v1.Subject",
        Some("kind"),
        &[("group", "Group"), ("serviceAccount", "ServiceAccount"), ("user", "User")],
    ),
    ("scheduling.v1alpha2.PodGroupSchedulingPolicy", None, &[("basic", "Basic"), ("gang", "Gang")]),
    ("scheduling.v1alpha2.PodGroupTemplateReference", None, &[("workload", "Workload")]),
];

/// Type, field, and the text that stands in for an absent one, where it is not empty.
pub(super) const DEFAULTS: &[(&str, &str, &str)] = &[
    ("core.v1.AzureDiskVolumeSource", "cachingMode", "ReadWrite"),
    ("core.v1.AzureDiskVolumeSource", "fsType", "ext4"),
    ("core.v1.AzureDiskVolumeSource", "kind", "Shared"),
    ("core.v1.ContainerPort", "protocol", "TCP"),
    ("core.v1.ISCSIPersistentVolumeSource", "iscsiInterface", "default"),
    ("core.v1.ISCSIVolumeSource", "iscsiInterface", "default"),
    ("core.v1.RBDPersistentVolumeSource", "keyring", "/etc/ceph/keyring"),
    ("core.v1.RBDPersistentVolumeSource", "pool", "rbd"),
    ("core.v1.RBDPersistentVolumeSource", "user", "admin"),
    ("core.v1.RBDVolumeSource", "keyring", "/etc/ceph/keyring"),
    ("core.v1.RBDVolumeSource", "pool", "rbd"),
    ("core.v1.RBDVolumeSource", "user", "admin"),
    ("core.v1.ScaleIOPersistentVolumeSource", "fsType", "xfs"),
    ("core.v1.ScaleIOPersistentVolumeSource", "storageMode", "ThinProvisioned"),
    ("core.v1.ScaleIOVolumeSource", "fsType", "xfs"),
    ("core.v1.ScaleIOVolumeSource", "storageMode", "ThinProvisioned"),
    ("core.v1.ServicePort", "protocol", "TCP"),
    ("resource.v1.DeviceToleration", "operator", "Equal"),
    ("resource.v1beta1.DeviceToleration", "operator", "Equal"),
    ("resource.v1beta2.DeviceToleration", "operator", "Equal"),
    ("scheduling.v1alpha2.PodGroupSpec", "disruptionMode", "Pod"),
];

/// Type, field, and the number that stands in for an absent one, where it is not zero.
pub(super) const NUMBER_DEFAULTS: &[(&str, &str, i64)] = &[
    ("certificates.v1beta1.PodCertificateRequestSpec", "maxExpirationSeconds", 86400),
    ("core.v1.ReplicationControllerSpec", "replicas", 1),
    ("resource.v1alpha3.ResourcePoolStatusRequestSpec", "limit", 100),
];
