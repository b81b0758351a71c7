//! PersistentVolume: a piece of storage that the whole cluster knows.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/persistentvolume` and `pkg/api/persistentvolume`.

mod sources;
mod validation;

use apimachinery::field::ErrorList;
use apimachinery::time;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, PersistentVolumeStatus};
use serde_json::Value;

use super::pod;
use crate::columns::{self, column, wide};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::quantities::round_list;
use crate::report::{list, omit_empty, text};
use crate::strategy::KindStrategy;

pub(crate) use validation::validate_inline;

/// The annotation that was there before the field `storageClassName`.
pub(crate) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const MOUNT_OPTIONS_ANNOTATION: &str = "volume.beta.kubernetes.io/mount-options";
const PENDING: &str = "Pending";
const RECYCLE: &str = "Recycle";

impl KindStrategy for PersistentVolume {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Capacity", "string", "Size of the volume."),
        column("Access Modes", "string", "Ways in which the volume can be mounted."),
        column("Reclaim Policy", "string", "What becomes of the volume without its claim."),
        column("Status", "string", "Whether the volume is bound to a claim."),
        column("Claim", "string", "Claim that has the volume."),
        column("StorageClass", "string", "Class of the storage."),
        column("VolumeAttributesClass", "string", "Class of the attributes of the storage."),
        column("Reason", "string", "Why the volume failed."),
        columns::AGE,
        wide("VolumeMode", "string", "Whether the volume holds files or blocks."),
    ];

    fn default_fields(&mut self) {
        let spec = self.spec.get_or_insert_default();
        omit_empty!(spec; persistent_volume_reclaim_policy, storage_class_name);
        spec.persistent_volume_reclaim_policy.get_or_insert_with(|| "Retain".to_owned());
        spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
        default_sources(spec);
        let status = self.status.get_or_insert_default();
        omit_empty!(status; phase, message, reason);
        status.phase.get_or_insert_with(|| PENDING.to_owned());
    }

    fn validate(&self, errors: &mut ErrorList) {
        validation::validate(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        validation::validate_update(self, old, errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        warnings(self)
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let (spec, status) =
            (self.spec.clone().unwrap_or_default(), self.status.clone().unwrap_or_default());
        let going = self.metadata.deletion_timestamp.is_some();
        let size = spec.capacity.as_ref().and_then(|c| c.get("storage"));
        let claim = spec.claim_ref.as_ref();
        let claim = claim.map(|c| format!("{}/{}", text(&c.namespace), text(&c.name)));
        let annotated = self.metadata.annotations.as_ref().and_then(|a| a.get(CLASS_ANNOTATION));
        let unset = |value: Option<String>| value.unwrap_or_else(|| "<unset>".to_owned());
        vec![
            columns::name(&self.metadata),
            size.map_or("0", |quantity| quantity.0.as_str()).into(),
            access_modes(&spec.access_modes).into(),
            text(&spec.persistent_volume_reclaim_policy).into(),
            if going { "Terminating" } else { text(&status.phase) }.into(),
            claim.unwrap_or_default().into(),
            annotated.cloned().or(spec.storage_class_name).unwrap_or_default().into(),
            unset(spec.volume_attributes_class_name).into(),
            text(&status.reason).into(),
            columns::age(&self.metadata, now),
            unset(spec.volume_mode).into(),
        ]
    }

    fn take_spec(&mut self, from: &Self) {
        self.spec.clone_from(&from.spec);
    }

    fn take_status(&mut self, from: &Self) {
        self.status.clone_from(&from.status);
    }

    fn clear_status(&mut self) {
        let phase = Some(PENDING.to_owned());
        self.status = Some(PersistentVolumeStatus { phase, ..Default::default() });
    }

    /// When the phase last changed.
    fn stamp(&mut self, old: Option<&Self>, now: Timestamp) {
        let status = self.status.get_or_insert_default();
        let before = old.and_then(|old| old.status.clone()).unwrap_or_default();
        let known = status.last_phase_transition_time.is_some();
        let same_time = status.last_phase_transition_time == before.last_phase_transition_time;
        if status.phase != before.phase && (!known || same_time) {
            status.last_phase_transition_time = Some(time::time(now));
        } else if !known {
            status.last_phase_transition_time = before.last_phase_transition_time;
        }
    }
}

/// What the sources of a volume leave out.
pub(crate) fn default_sources(spec: &mut PersistentVolumeSpec) {
    round_list(&mut spec.capacity);
    sources::default(spec);
}

/// The short forms of access modes, in a fixed order.
pub(crate) fn access_modes(modes: &Option<Vec<String>>) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |mode: &str| list(modes).iter().any(|m| m == mode);
    let shown = SHORT.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short);
    shown.collect::<Vec<_>>().join(",")
}

fn warnings(volume: &PersistentVolume) -> Vec<String> {
    let Some(spec) = &volume.spec else { return Vec::new() };
    let annotated =
        |key: &str| volume.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(key));
    let annotations = [
        (CLASS_ANNOTATION, "deprecated since v1.8; use \"storageClassName\" attribute instead"),
        (
            MOUNT_OPTIONS_ANNOTATION,
            "deprecated since v1.31; use \"mountOptions\" attribute instead",
        ),
    ]
    .into_iter()
    .filter(|(key, _)| annotated(key))
    .map(|(key, message)| format!("metadata.annotations[{key}]: {message}"));
    let recycled = text(&spec.persistent_volume_reclaim_policy) == RECYCLE;
    let recycled = recycled.then(|| "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_owned());
    annotations.chain(recycled).chain(old_labels(spec)).chain(sources::warnings(spec)).collect()
}

fn old_labels(spec: &PersistentVolumeSpec) -> Vec<String> {
    let required = spec.node_affinity.as_ref().and_then(|a| a.required.as_ref());
    let terms = required.map(|r| r.node_selector_terms.as_slice()).unwrap_or_default();
    let told = terms.iter().enumerate().flat_map(|(i, term)| {
        list(&term.match_expressions).iter().enumerate().filter_map(move |(j, expression)| {
            let message = pod::old_label(&expression.key)?;
            Some(format!(
                "spec.nodeAffinity.required.nodeSelectorTerms[{i}].matchExpressions[{j}].key: {} is {message}",
                expression.key
            ))
        })
    });
    told.collect()
}
