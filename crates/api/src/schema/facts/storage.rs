//! How the lists and maps of `storage.k8s.io` and `storagemigration.k8s.io` merge.
//!
//! Counterpart in Kubernetes: the merge marks on the Go types of those groups.

use super::Row;
use crate::schema::fact::{ATOMIC, SET, merged};

pub(super) const ROWS: &[Row] = &[
    ("storage.v1.CSIDriverSpec", &[("tokenRequests", ATOMIC), ("volumeLifecycleModes", SET)]),
    ("storage.v1.CSINodeDriver", &[("topologyKeys", ATOMIC)]),
    ("storage.v1.CSINodeSpec", &[("drivers", merged("name").keyed(&["name"]))]),
    ("storage.v1.StorageClass", &[("allowedTopologies", ATOMIC), ("mountOptions", ATOMIC)]),
    (
        "storagemigration.v1beta1.StorageVersionMigrationStatus",
        &[("conditions", merged("type").keyed(&["type"]))],
    ),
];
