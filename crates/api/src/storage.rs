//! Kinds of the group `storage.k8s.io`.

pub mod csi_driver;
pub mod csi_node;
pub mod csi_storage_capacity;
pub mod storage_class;
pub mod volume_attachment;
pub mod volume_attributes_class;

use std::collections::BTreeMap;

use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass,
};

use crate::kinds::{ALL_VERBS, PART_VERBS, Resource, Subresource, names, row, sub};
use crate::report::Report;

const ATTACHMENT_SUBRESOURCES: &[Subresource] = &[sub("status", "VolumeAttachment", PART_VERBS)];

/// Parameters a class may have.
const MAX_PARAMETERS: usize = 512;
/// Bytes of all parameters of a class together.
const MAX_PARAMETER_BYTES: usize = 256 * 1024;

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        row::<CSIDriver>(
            names("csidriver", &[], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.storage.v1.CSIDriver",
        ),
        row::<CSINode>(names("csinode", &[], &[]), ALL_VERBS, &[], "io.k8s.api.storage.v1.CSINode"),
        row::<CSIStorageCapacity>(
            names("csistoragecapacity", &[], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.storage.v1.CSIStorageCapacity",
        ),
        row::<StorageClass>(
            names("storageclass", &["sc"], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.storage.v1.StorageClass",
        ),
        row::<VolumeAttachment>(
            names("volumeattachment", &[], &[]),
            ALL_VERBS,
            ATTACHMENT_SUBRESOURCES,
            "io.k8s.api.storage.v1.VolumeAttachment",
        ),
        row::<VolumeAttributesClass>(
            names("volumeattributesclass", &["vac"], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.storage.v1.VolumeAttributesClass",
        ),
    ]
}

/// The driver of a class, in whatever case.
fn validate_driver(name: &str, at: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.required(at, "");
    } else {
        errors.qualified_name(at, &name.to_lowercase());
    }
}

fn validate_parameters(parameters: &BTreeMap<String, String>, at: &Path, errors: &mut ErrorList) {
    if parameters.len() > MAX_PARAMETERS {
        return errors.too_long(at, MAX_PARAMETERS);
    }
    if parameters.contains_key("") {
        errors.invalid(at, "", "field can not be empty.");
    }
    if bytes(parameters) > MAX_PARAMETER_BYTES {
        errors.too_long(at, MAX_PARAMETER_BYTES);
    }
}

fn bytes(map: &BTreeMap<String, String>) -> usize {
    map.iter().map(|(key, value)| key.len() + value.len()).sum()
}

#[cfg(test)]
mod tests;
