//! PersistentVolumeClaim: a wish for storage, and the volume it was given.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/persistentvolumeclaim` and `pkg/api/persistentvolumeclaim`.

mod validation;

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus,
    TypedLocalObjectReference, TypedObjectReference,
};
use serde_json::Value;

use super::persistent_volume::{CLASS_ANNOTATION, access_modes};
use crate::columns::{self, column, wide};
use crate::kinds::Column;
use crate::quantities::{ResourceList, amount, round_list};
use crate::report::{omit_empty, text};
use crate::strategy::KindStrategy;

pub(crate) use validation::{
    VOLUME_MODES, validate_basic, validate_claim_spec, validate_modes, validate_positive,
};

const PENDING: &str = "Pending";
const CLAIM: &str = "PersistentVolumeClaim";

impl KindStrategy for PersistentVolumeClaim {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Status", "string", "Whether the claim has its volume."),
        column("Volume", "string", "Volume the claim was given."),
        column("Capacity", "string", "Size of the volume."),
        column("Access Modes", "string", "Ways in which the volume can be mounted."),
        column("StorageClass", "string", "Class of the storage."),
        column("VolumeAttributesClass", "string", "Class of the attributes of the storage."),
        columns::AGE,
        wide("VolumeMode", "string", "Whether the volume holds files or blocks."),
    ];

    fn default_fields(&mut self) {
        default_claim_spec(self.spec.get_or_insert_default());
        let status = self.status.get_or_insert_default();
        round_list(&mut status.capacity);
        round_list(&mut status.allocated_resources);
        omit_empty!(status; phase);
        status.phase.get_or_insert_with(|| PENDING.to_owned());
    }

    fn on_create(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if spec.data_source_ref.is_none() && !is_known_source(spec.data_source.as_ref()) {
            spec.data_source = None;
        }
        drop_other_namespaces(spec);
        align_sources(spec);
    }

    fn on_update(&mut self, old: &Self) {
        let before = old.spec.clone().unwrap_or_default();
        let spec = self.spec.get_or_insert_default();
        let had_source = before.data_source.is_some() || before.data_source_ref.is_some();
        let unknown = !is_known_source(spec.data_source.as_ref());
        if !had_source && spec.data_source_ref.is_none() && unknown {
            spec.data_source = None;
        }
        if before.data_source_ref.is_none() {
            drop_other_namespaces(spec);
        }
        align_sources(spec);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let spec = self.spec.clone().unwrap_or_default();
        validate_claim_spec(&spec, &Path::new("spec"), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        validation::validate_update(self, old, errors);
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut ErrorList) {
        validation::validate_status(self, errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let annotated =
            self.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(CLASS_ANNOTATION));
        let annotated = annotated.then(|| {
            format!("metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use \"storageClassName\" attribute instead")
        });
        let fractions = fraction_warnings(self, &Path::new("spec"));
        annotated.into_iter().chain(fractions).collect()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let (spec, status) =
            (self.spec.clone().unwrap_or_default(), self.status.clone().unwrap_or_default());
        let going = self.metadata.deletion_timestamp.is_some();
        let bound = !text(&spec.volume_name).is_empty();
        let size = status.capacity.as_ref().and_then(|c| c.get("storage"));
        let size = size.map_or("0", |quantity| quantity.0.as_str());
        let modes = access_modes(&status.access_modes);
        let annotated = self.metadata.annotations.as_ref().and_then(|a| a.get(CLASS_ANNOTATION));
        let unset = |value: Option<String>| value.unwrap_or_else(|| "<unset>".to_owned());
        vec![
            columns::name(&self.metadata),
            if going { "Terminating" } else { text(&status.phase) }.into(),
            text(&spec.volume_name).into(),
            if bound { size } else { "" }.into(),
            if bound { modes } else { String::new() }.into(),
            annotated.cloned().or(spec.storage_class_name).unwrap_or_default().into(),
            unset(spec.volume_attributes_class_name).into(),
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
        self.status = Some(PersistentVolumeClaimStatus { phase, ..Default::default() });
    }
}

/// What a claim, or the template of one, leaves out.
pub(crate) fn default_claim_spec(spec: &mut PersistentVolumeClaimSpec) {
    omit_empty!(spec; volume_name);
    spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
    let resources = spec.resources.get_or_insert_default();
    round_list(&mut resources.limits);
    round_list(&mut resources.requests);
}

/// Sources that the old field may name.
fn is_known_source(source: Option<&TypedLocalObjectReference>) -> bool {
    source.is_some_and(|source| {
        matches!(
            (source.kind.as_str(), text(&source.api_group)),
            (CLAIM, "") | ("VolumeSnapshot", "snapshot.storage.k8s.io")
        )
    })
}

/// Sources in other namespaces are behind a switch that is off.
fn drop_other_namespaces(spec: &mut PersistentVolumeClaimSpec) {
    let elsewhere = |source: &TypedObjectReference| !text(&source.namespace).is_empty();
    if spec.data_source_ref.as_ref().is_some_and(elsewhere) {
        spec.data_source_ref = None;
    }
}

/// Both fields say the same, whichever was given.
pub(super) fn align_sources(spec: &mut PersistentVolumeClaimSpec) {
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(source), None) => {
            let TypedLocalObjectReference { api_group, kind, name } = source.clone();
            let source = TypedObjectReference { api_group, kind, name, namespace: None };
            spec.data_source_ref = Some(source);
        }
        (None, Some(source)) if text(&source.namespace).is_empty() => {
            let TypedObjectReference { api_group, kind, name, .. } = source.clone();
            spec.data_source = Some(TypedLocalObjectReference { api_group, kind, name });
        }
        _ => {}
    }
}

/// Warnings about a claim that wishes fractions of bytes.
pub(crate) fn fraction_warnings(claim: &PersistentVolumeClaim, at: &Path) -> Vec<String> {
    let resources = claim.spec.as_ref().and_then(|s| s.resources.clone()).unwrap_or_default();
    let at = at.child("resources");
    let sides = [("requests", resources.requests), ("limits", resources.limits)];
    let fractions =
        sides.into_iter().filter_map(|(side, amounts)| fraction(&at.child(side), &amounts?));
    fractions.collect()
}

fn fraction(at: &Path, amounts: &ResourceList) -> Option<String> {
    let quantity = amounts.get("storage")?;
    (amount(quantity)?.milli_value() % 1000 != 0).then(|| {
        format!(
            "{at}[storage]: fractional byte value \"{}\" is invalid, must be an integer",
            quantity.0
        )
    })
}
