//! Field numbers of `storage.k8s.io` and `storagemigration.k8s.io`.
//!
//! Counterpart in Kubernetes: the `protobuf` tags on the Go types of those groups.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("storage.v1.CSIDriver", "1 metadata 2 spec"),
    (
        "storage.v1.CSIDriverSpec",
        "1 attachRequired? 2 podInfoOnMount? 3 volumeLifecycleModes 4 storageCapacity? 5 fsGroupPolicy? 6 tokenRequests 7 requiresRepublish? 8 seLinuxMount? 9 nodeAllocatableUpdatePeriodSeconds? 10 serviceAccountTokenInSecrets? 11 preventPodSchedulingIfMissing?",
    ),
    ("storage.v1.CSINode", "1 metadata 2 spec"),
    ("storage.v1.CSINodeDriver", "1 name 2 nodeID 3 topologyKeys 4 allocatable?"),
    ("storage.v1.CSINodeSpec", "1 drivers"),
    (
        "storage.v1.CSIStorageCapacity",
        "1 metadata 2 nodeTopology? 3 storageClassName 4 capacity? 5 maximumVolumeSize?",
    ),
    (
        "storage.v1.StorageClass",
        "1 metadata 2 provisioner 3 parameters 4 reclaimPolicy? 5 mountOptions 6 allowVolumeExpansion? 7 volumeBindingMode? 8 allowedTopologies",
    ),
    ("storage.v1.TokenRequest", "1 audience 2 expirationSeconds?"),
    ("storage.v1.VolumeAttachment", "1 metadata 2 spec 3 status"),
    ("storage.v1.VolumeAttachmentSource", "1 persistentVolumeName? 2 inlineVolumeSpec?"),
    ("storage.v1.VolumeAttachmentSpec", "1 attacher 2 source 3 nodeName"),
    (
        "storage.v1.VolumeAttachmentStatus",
        "1 attached 2 attachmentMetadata 3 attachError? 4 detachError?",
    ),
    ("storage.v1.VolumeAttributesClass", "1 metadata 2 driverName 3 parameters"),
    ("storage.v1.VolumeError", "1 time 2 message 3 errorCode?"),
    ("storage.v1.VolumeNodeResources", "1 count?"),
    ("storage.v1beta1.VolumeAttributesClass", "1 metadata 2 driverName 3 parameters"),
    ("storagemigration.v1beta1.StorageVersionMigration", "1 metadata 2 spec 3 status"),
    ("storagemigration.v1beta1.StorageVersionMigrationSpec", "1 resource"),
    ("storagemigration.v1beta1.StorageVersionMigrationStatus", "1 conditions 2 resourceVersion"),
];
