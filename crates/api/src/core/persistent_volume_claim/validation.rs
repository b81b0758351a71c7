//! The rules of a claim.
//!
//! Counterpart in Kubernetes: `ValidatePersistentVolumeClaim` and its relatives in `pkg/apis/core/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{CLAIM, align_sources};
use crate::core::persistent_volume::CLASS_ANNOTATION;
use crate::quantities::{self, amount, is_native};
use crate::report::{Report, list, text};

/// Ways in which a volume can be mounted.
pub(crate) const ACCESS_MODES: &[&str] =
    &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", ONE_POD];
const ONE_POD: &str = "ReadWriteOncePod";
/// What a volume holds.
pub(crate) const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
const RESIZE_STATUSES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];
const BOUND: &str = "Bound";
const SPEC_IMMUTABLE: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

/// Access modes of a claim or a volume; the one for a single pod stands alone.
pub(crate) fn validate_modes(modes: &[String], at: &Path, errors: &mut ErrorList) {
    for mode in modes.iter().filter(|m| !ACCESS_MODES.contains(&m.as_str())) {
        errors.not_supported(at, mode, ACCESS_MODES);
    }
    let shared = |mode: &String| mode != ONE_POD && ACCESS_MODES.contains(&mode.as_str());
    if modes.iter().any(|m| m == ONE_POD) && modes.iter().any(shared) {
        errors.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

/// What a claim, or the template of one, asks for.
pub(crate) fn validate_claim_spec(
    spec: &PersistentVolumeClaimSpec,
    at: &Path,
    errors: &mut ErrorList,
) {
    let modes = list(&spec.access_modes);
    if modes.is_empty() {
        errors.required(&at.child("accessModes"), "at least 1 access mode is required");
    }
    if let Some(selector) = &spec.selector {
        errors.extend(labels::validate_label_selector(selector, &at.child("selector")));
    }
    validate_modes(modes, &at.child("accessModes"), errors);
    validate_storage(spec, &at.child("resources").key("storage"), errors);
    for (name, class) in [
        ("storageClassName", text(&spec.storage_class_name)),
        ("volumeAttributesClassName", text(&spec.volume_attributes_class_name)),
    ] {
        if !class.is_empty() {
            errors.dns_subdomain(&at.child(name), class);
        }
    }
    if let Some(mode) = spec.volume_mode.as_deref().filter(|m| !VOLUME_MODES.contains(m)) {
        errors.not_supported(&at.child("volumeMode"), mode, VOLUME_MODES);
    }
    validate_sources(spec, at, errors);
}

fn validate_storage(spec: &PersistentVolumeClaimSpec, at: &Path, errors: &mut ErrorList) {
    let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    match requests.and_then(|r| r.get("storage")) {
        None => errors.required(at, ""),
        Some(storage) => validate_positive(storage, at, errors),
    }
}

/// More than nothing.
pub(crate) fn validate_positive(quantity: &Quantity, at: &Path, errors: &mut ErrorList) {
    if !amount(quantity).is_some_and(|amount| quantities::is_positive(&amount)) {
        errors.invalid(at, &quantity.0, "must be greater than zero");
    }
}

fn validate_sources(spec: &PersistentVolumeClaimSpec, at: &Path, errors: &mut ErrorList) {
    let at_source = at.child("dataSource");
    if let Some(source) = &spec.data_source {
        let group = text(&source.api_group);
        validate_source(group, &source.kind, &source.name, &at_source, errors);
    }
    let Some(source) = &spec.data_source_ref else { return };
    let at_ref = at.child("dataSourceRef");
    validate_source(text(&source.api_group), &source.kind, &source.name, &at_ref, errors);
    let namespace = text(&source.namespace);
    if !namespace.is_empty() {
        errors.dns_label(&at_ref.child("namespace"), namespace);
    }
    let Some(old) = &spec.data_source else { return };
    let told = at_source.to_string();
    if !namespace.is_empty() {
        errors.invalid(at, told, "may not be specified when dataSourceRef.namespace is specified");
    } else if (&old.api_group, &old.kind, &old.name)
        != (&source.api_group, &source.kind, &source.name)
    {
        errors.invalid(at, told, "must match dataSourceRef");
    }
}

fn validate_source(group: &str, kind: &str, name: &str, at: &Path, errors: &mut ErrorList) {
    errors.non_empty(&at.child("name"), name);
    errors.non_empty(&at.child("kind"), kind);
    if !group.is_empty() {
        errors.dns_subdomain(&at.child("apiGroup"), group);
    } else if kind != CLAIM {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.invalid(at, kind, detail);
    }
}

fn annotation(claim: &PersistentVolumeClaim) -> Option<&String> {
    claim.metadata.annotations.as_ref().and_then(|a| a.get(CLASS_ANNOTATION))
}

fn storage(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")
}

/// Rules for a change: of a bound claim the size and the class of attributes.
pub(super) fn validate_update(
    new: &PersistentVolumeClaim,
    old: &PersistentVolumeClaim,
    errors: &mut ErrorList,
) {
    let mut spec = new.spec.clone().unwrap_or_default();
    let mut was = old.spec.clone().unwrap_or_default();
    align_sources(&mut was);
    keep_allowed(new, old, &mut spec, &mut was, errors);
    if spec != was {
        errors.forbidden(&Path::new("spec"), SPEC_IMMUTABLE);
    }
    validate_size(new, old, errors);
    let mode = |claim: &PersistentVolumeClaim| claim.spec.as_ref()?.volume_mode.clone();
    errors.unchanged(&Path::new("volumeMode"), &mode(new), &mode(old));
    validate_attributes_class(new, old, errors);
}

/// Brings what may change to the same value on both sides.
fn keep_allowed(
    new: &PersistentVolumeClaim,
    old: &PersistentVolumeClaim,
    spec: &mut PersistentVolumeClaimSpec,
    was: &mut PersistentVolumeClaimSpec,
    errors: &mut ErrorList,
) {
    if text(&was.volume_name).is_empty() {
        was.volume_name.clone_from(&spec.volume_name);
    }
    let (class, noted, noted_now) =
        (spec.storage_class_name.clone(), annotation(old), annotation(new));
    let may_name_it = was.storage_class_name.is_none() && class.is_some();
    let upgrades = may_name_it
        && noted.is_some()
        && class.as_ref() == noted
        && noted_now.is_none_or(|now| Some(now) == noted);
    if upgrades {
        spec.storage_class_name = None;
    } else {
        let at = Path::new("metadata").child("annotations").child(CLASS_ANNOTATION);
        let value = |noted: Option<&String>| noted.cloned().unwrap_or_default();
        errors.unchanged(&at, &value(noted_now), &value(noted));
        if may_name_it && (noted.is_none() || class.as_ref() == noted) {
            spec.storage_class_name.clone_from(&was.storage_class_name);
        }
    }
    if new.status.as_ref().is_some_and(|s| text(&s.phase) == BOUND) {
        let requests = spec.resources.as_mut().and_then(|r| r.requests.as_mut());
        if let (Some(requests), Some(size)) = (requests, storage(old)) {
            requests.insert("storage".to_owned(), size.clone());
        }
        spec.volume_attributes_class_name.clone_from(&was.volume_attributes_class_name);
    }
}

/// A smaller wish is allowed down to what is there.
fn validate_size(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim, errors: &mut ErrorList) {
    let number = |quantity: Option<&Quantity>| quantity.and_then(amount).unwrap_or_default();
    let there =
        old.status.as_ref().and_then(|s| s.capacity.as_ref()).and_then(|c| c.get("storage"));
    let wished = number(storage(new));
    if wished < number(storage(old)) && wished <= number(there) {
        let at = Path::new("spec").child("resources").child("requests").child("storage");
        errors.forbidden(&at, "field can not be less than status.capacity");
    }
}

fn validate_attributes_class(
    new: &PersistentVolumeClaim,
    old: &PersistentVolumeClaim,
    errors: &mut ErrorList,
) {
    let class = |claim: &PersistentVolumeClaim| {
        claim.spec.as_ref().and_then(|s| s.volume_attributes_class_name.clone())
    };
    let has = old.status.as_ref().is_some_and(|s| s.current_volume_attributes_class_name.is_some());
    if !has || class(new) == class(old) {
        return;
    }
    let to = match class(new).as_deref() {
        None => "nil",
        Some("") => "empty string",
        Some(_) => return,
    };
    let detail = format!(
        "update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil"
    );
    errors.forbidden(&Path::new("spec").child("volumeAttributesClassName"), detail);
}

/// Rules for a change of the status.
pub(super) fn validate_status(claim: &PersistentVolumeClaim, errors: &mut ErrorList) {
    if claim.spec.as_ref().is_none_or(|s| list(&s.access_modes).is_empty()) {
        errors.required(&Path::new("Spec").child("accessModes"), "");
    }
    let Some(status) = &claim.status else { return };
    let at = Path::new("status");
    for (name, quantity) in status.capacity.iter().flatten() {
        validate_basic(quantity, &at.child("capacity").key(name), errors);
    }
    for (name, state) in status.allocated_resource_statuses.iter().flatten() {
        let at = at.child("allocatedResourceStatuses");
        validate_key(name, &at, errors);
        if !RESIZE_STATUSES.contains(&state.as_str()) {
            errors.not_supported(&at, name, RESIZE_STATUSES);
        }
    }
    for (name, quantity) in status.allocated_resources.iter().flatten() {
        let at = at.child("allocatedResources");
        if validate_key(name, &at, errors) {
            validate_basic(quantity, &at.key(name), errors);
        }
    }
}

/// Not below nothing.
pub(crate) fn validate_basic(quantity: &Quantity, at: &Path, errors: &mut ErrorList) {
    let value = amount(quantity).map(|a| a.value()).unwrap_or_default();
    if value < 0 {
        errors.invalid(at, value, "must be a valid resource quantity");
    }
}

fn validate_key(name: &str, at: &Path, errors: &mut ErrorList) -> bool {
    let before = errors.len();
    errors.qualified_name(at, name);
    if errors.len() == before && is_native(name) && name != "storage" {
        errors.not_supported(at, name, &["storage"]);
    }
    errors.len() == before
}
