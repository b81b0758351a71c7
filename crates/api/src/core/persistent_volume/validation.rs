//! The rules of a volume, in an object of its own or inside of a VolumeAttachment.
//!
//! Counterpart in Kubernetes: `ValidatePersistentVolumeSpec` and its relatives in `pkg/apis/core/validation`.

use apimachinery::field::{self, ErrorList, Path};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, VolumeNodeAffinity};

use super::{MOUNT_OPTIONS_ANNOTATION, RECYCLE, sources};
use crate::core::persistent_volume_claim::{
    VOLUME_MODES, validate_basic, validate_modes, validate_positive,
};
use crate::core::pod;
use crate::report::{Report, list, text};

const POLICIES: &[&str] = &["Delete", RECYCLE, "Retain"];
/// Labels of nodes and what they are called now.
const RENAMED_LABELS: [(&str, &str); 5] = [
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];
const NOT_INLINE: &str = "may not be specified in the context of inline volumes";

/// Rules for a volume.
pub(super) fn validate(volume: &PersistentVolume, errors: &mut ErrorList) {
    let spec = volume.spec.clone().unwrap_or_default();
    let at = Path::new("spec");
    validate_access(&spec, &at, errors);
    validate_capacity(&spec, &at.child("capacity"), errors);
    let policy = text(&spec.persistent_volume_reclaim_policy);
    let at_policy = at.child("persistentVolumeReclaimPolicy");
    if !policy.is_empty() && !POLICIES.contains(&policy) {
        errors.not_supported(&at_policy, policy, POLICIES);
    }
    if let Some(affinity) = &spec.node_affinity {
        let at = at.child("nodeAffinity").child("required");
        match &affinity.required {
            None => errors.required(&at, "must specify required node constraints"),
            Some(selector) => pod::validate_node_selector(selector, &at, errors),
        }
    }
    sources::validate(&spec, text(&volume.metadata.name), &at, errors);
    let root = spec.host_path.as_ref().is_some_and(|h| is_root(&h.path));
    if root && policy == RECYCLE {
        errors.forbidden(&at_policy, "may not be 'recycle' for a hostPath mount of '/'");
    }
    if !text(&spec.storage_class_name).is_empty() {
        errors.dns_subdomain(&at.child("storageClassName"), text(&spec.storage_class_name));
    }
    if let Some(mode) = spec.volume_mode.as_deref().filter(|m| !VOLUME_MODES.contains(m)) {
        errors.not_supported(&at.child("volumeMode"), mode, VOLUME_MODES);
    }
    validate_attributes_class(&spec, &at, errors);
    validate_mount_options(volume, &spec, errors);
}

/// Whether a path is the root, after what `path.Clean` of Go makes of it.
fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."))
}

fn validate_access(spec: &PersistentVolumeSpec, at: &Path, errors: &mut ErrorList) {
    let at = at.child("accessModes");
    if list(&spec.access_modes).is_empty() {
        errors.required(&at, "");
    }
    validate_modes(list(&spec.access_modes), &at, errors);
}

fn validate_capacity(spec: &PersistentVolumeSpec, at: &Path, errors: &mut ErrorList) {
    let capacity = spec.capacity.clone().unwrap_or_default();
    if capacity.is_empty() {
        errors.required(at, "");
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        errors.push(field::not_supported(at, &spec.capacity, &["storage"]));
    }
    for (name, quantity) in &capacity {
        validate_basic(quantity, &at.key(name), errors);
        validate_positive(quantity, &at.key(name), errors);
    }
}

fn validate_attributes_class(spec: &PersistentVolumeSpec, at: &Path, errors: &mut ErrorList) {
    let Some(class) = &spec.volume_attributes_class_name else { return };
    let at_class = at.child("volumeAttributesClassName");
    if class.is_empty() {
        errors.required(&at_class, "an empty string is disallowed");
    } else {
        errors.dns_subdomain(&at_class, class);
    }
    if spec.csi.is_none() {
        let detail = "has to be specified when using volumeAttributesClassName";
        errors.required(&at.child("csi"), detail);
    }
}

/// The old annotation is only understood for the sources that had mount options then.
fn validate_mount_options(
    volume: &PersistentVolume,
    s: &PersistentVolumeSpec,
    errors: &mut ErrorList,
) {
    let understood = s.gce_persistent_disk.is_some()
        || s.aws_elastic_block_store.is_some()
        || s.glusterfs.is_some()
        || s.nfs.is_some()
        || s.rbd.is_some()
        || s.quobyte.is_some()
        || s.iscsi.is_some()
        || s.cinder.is_some()
        || s.cephfs.is_some()
        || s.azure_file.is_some()
        || s.vsphere_volume.is_some()
        || s.azure_disk.is_some()
        || s.photon_persistent_disk.is_some();
    let annotations = volume.metadata.annotations.as_ref();
    if !understood && annotations.is_some_and(|a| a.contains_key(MOUNT_OPTIONS_ANNOTATION)) {
        let at = Path::new("metadata").child("annotations").child(MOUNT_OPTIONS_ANNOTATION);
        errors.forbidden(&at, "may not specify mount options for this volume type");
    }
}

/// A copy of a spec without anything but its source.
fn source_of(spec: &PersistentVolumeSpec) -> PersistentVolumeSpec {
    PersistentVolumeSpec {
        access_modes: None,
        capacity: None,
        claim_ref: None,
        mount_options: None,
        node_affinity: None,
        persistent_volume_reclaim_policy: None,
        storage_class_name: None,
        volume_attributes_class_name: None,
        volume_mode: None,
        ..spec.clone()
    }
}

/// Rules for a change: where the data lives stays.
pub(super) fn validate_update(
    new: &PersistentVolume,
    old: &PersistentVolume,
    errors: &mut ErrorList,
) {
    let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    let (mut source, was) = (source_of(&new), source_of(&old));
    if let (Some(csi), Some(before)) = (&mut source.csi, &was.csi)
        && before.controller_expand_secret_ref.is_none()
    {
        csi.controller_expand_secret_ref = None;
    }
    if source != was {
        let at = Path::new("spec").child("persistentvolumesource");
        errors.forbidden(&at, "spec.persistentvolumesource is immutable after creation");
    }
    errors.unchanged(&Path::new("volumeMode"), &new.volume_mode, &old.volume_mode);
    if let Some(before) = &old.node_affinity
        && !only_renames_labels(new.node_affinity.as_ref(), before)
    {
        let detail = "field is immutable, except for updating from beta label to GA";
        errors.invalid(&Path::new("nodeAffinity"), &new.node_affinity, detail);
    }
    if old.volume_attributes_class_name.is_some() && new.volume_attributes_class_name.is_none() {
        let at = Path::new("spec").child("volumeAttributesClassName");
        errors.forbidden(&at, "update from non-nil value to nil is forbidden");
    }
}

/// Whether an affinity is the same but for labels of nodes that have newer names.
fn only_renames_labels(new: Option<&VolumeNodeAffinity>, old: &VolumeNodeAffinity) -> bool {
    let Some(mut new) = new.cloned() else { return false };
    let mut old = old.clone();
    for affinity in [&mut new, &mut old] {
        let terms = affinity.required.iter_mut().flat_map(|r| &mut r.node_selector_terms);
        for requirement in terms.flat_map(|term| term.match_expressions.iter_mut().flatten()) {
            let newer = RENAMED_LABELS.iter().find(|(old, _)| *old == requirement.key);
            if let Some((_, newer)) = newer {
                (*newer).clone_into(&mut requirement.key);
            }
        }
    }
    new == old
}

/// Rules for the volume inside of a VolumeAttachment: of a driver, and without what belongs to a claim.
pub(crate) fn validate_inline(spec: &PersistentVolumeSpec, at: &Path, errors: &mut ErrorList) {
    if spec.claim_ref.is_some() {
        errors.forbidden(&at.child("claimRef"), NOT_INLINE);
    }
    if spec.capacity.as_ref().is_some_and(|c| !c.is_empty()) {
        errors.forbidden(&at.child("capacity"), NOT_INLINE);
    }
    if spec.csi.is_none() {
        errors.required(&at.child("csi"), "has to be specified in the context of inline volumes");
    }
    validate_access(spec, at, errors);
    if !matches!(text(&spec.persistent_volume_reclaim_policy), "" | "Retain") {
        let detail = "may only be Retain in the context of inline volumes";
        errors.forbidden(&at.child("persistentVolumeReclaimPolicy"), detail);
    }
    if spec.node_affinity.is_some() {
        errors.forbidden(&at.child("nodeAffinity"), NOT_INLINE);
    }
    sources::validate(spec, "", at, errors);
    if !text(&spec.storage_class_name).is_empty() {
        errors.forbidden(&at.child("storageClassName"), NOT_INLINE);
    }
    if spec.volume_mode.as_deref().is_some_and(|mode| mode != "Filesystem") {
        let detail =
            "may not specify volumeMode other than Filesystem in the context of inline volumes";
        errors.forbidden(&at.child("volumeMode"), detail);
    }
}
