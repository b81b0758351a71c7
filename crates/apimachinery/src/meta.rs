//! `ObjectMeta`: its validation, owner references, finalizers and generated names; the counterpart of
//! `k8s.io/apimachinery/pkg/api/validation/objectmeta.go` and of the owner helpers in `apis/meta/v1`.
//!
//! Invariant: validation is pure and reports every error, in Kubernetes' words.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ManagedFieldsEntry, ObjectMeta, OwnerReference,
};
use serde::Serialize;

use crate::field::{self, ErrorList, Path};
use crate::gvk::GroupVersion;
use crate::names;
use crate::object::KubeObject;

/// The greatest total size of all annotations, keys and values: 256 KiB, so that an object fits the store.
pub const TOTAL_ANNOTATION_SIZE_LIMIT_BYTES: usize = 256 * 1024;

/// Said of a field that differs from the stored one and must not.
pub const FIELD_IMMUTABLE: &str = "field is immutable";

/// Keeps the dependents of a deleted object.
pub const FINALIZER_ORPHAN_DEPENDENTS: &str = "orphan";

/// Deletes the dependents before the object itself.
pub const FINALIZER_DELETE_DEPENDENTS: &str = "foregroundDeletion";

/// The greatest length of a field manager's name.
const FIELD_MANAGER_MAX_LENGTH: usize = 128;

/// The greatest length of a subresource's name in managed fields.
const SUBRESOURCE_MAX_LENGTH: usize = 256;

/// The greatest length of a generated name: a DNS label.
const GENERATED_NAME_MAX_LENGTH: usize = 63;

/// How many random characters a generated name ends with.
const RANDOM_SUFFIX_LENGTH: usize = 5;

/// Characters of generated names and hashes: no vowels, so that no words appear.
const SAFE_CHARACTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Whether the name being checked will get a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameUse {
    /// The name itself.
    Whole,
    /// A `generateName`, to which random characters are added.
    Prefix,
}

/// A rule for names: returns one message per broken rule.
pub type NameRule = fn(&str, NameUse) -> Vec<String>;

/// Whether objects of a kind live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespaced {
    /// A namespace is required.
    Yes,
    /// A namespace is forbidden.
    No,
}

/// Names that are DNS subdomains, as of most kinds.
pub fn name_is_dns_subdomain(name: &str, usage: NameUse) -> Vec<String> {
    names::is_dns1123_subdomain(&masked(name, usage))
}

/// Names that are DNS labels of RFC 1123, as of Namespaces.
pub fn name_is_dns_label(name: &str, usage: NameUse) -> Vec<String> {
    names::is_dns1123_label(&masked(name, usage))
}

/// Names that are DNS labels of RFC 1035, as of Services.
pub fn name_is_dns1035_label(name: &str, usage: NameUse) -> Vec<String> {
    names::is_dns1035_label(&masked(name, usage))
}

/// Names that can stand in a URL path, as of roles.
pub fn name_is_path_segment(name: &str, usage: NameUse) -> Vec<String> {
    match usage {
        NameUse::Whole => names::is_path_segment_name(name),
        NameUse::Prefix => names::is_path_segment_name(name)
            .into_iter()
            .filter(|e| !e.starts_with("may not be"))
            .collect(),
    }
}

/// A prefix may end with a dash, because more follows.
fn masked(name: &str, usage: NameUse) -> String {
    match (usage, name.strip_suffix('-')) {
        (NameUse::Prefix, Some(rest)) if !rest.is_empty() => {
            let shorter: String = rest.chars().take(rest.chars().count() - 1).collect();
            shorter + "a"
        }
        _ => name.to_owned(),
    }
}

/// Validates the metadata of a new object whose name was already generated.
pub fn validate_object_meta(
    meta: &ObjectMeta,
    namespaced: Namespaced,
    rule: NameRule,
    path: &Path,
) -> ErrorList {
    let mut errors = validate_names(meta, rule, path);
    errors.extend(validate_namespace(meta, namespaced, path));
    if let Some(generation) = meta.generation {
        errors.extend(validate_nonnegative(generation, &path.child("generation")));
    }
    errors.extend(validate_sets(meta, path));
    errors.extend(validate_finalizers(finalizers(meta), &path.child("finalizers")));
    errors.extend(validate_managed_fields(meta, path));
    errors
}

fn validate_names(meta: &ObjectMeta, rule: NameRule, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let prefix = meta.generate_name.as_deref().unwrap_or_default();
    if !prefix.is_empty() {
        let messages = rule(prefix, NameUse::Prefix).into_iter();
        errors.extend(
            messages.map(|message| field::invalid(&path.child("generateName"), prefix, message)),
        );
    }
    let name = meta.name.as_deref().unwrap_or_default();
    let name_path = path.child("name");
    match name.is_empty() {
        true => errors.push(field::required(&name_path, "name or generateName is required")),
        false => {
            let messages = rule(name, NameUse::Whole).into_iter();
            errors.extend(messages.map(|message| field::invalid(&name_path, name, message)));
        }
    }
    errors
}

fn validate_namespace(meta: &ObjectMeta, namespaced: Namespaced, path: &Path) -> ErrorList {
    let path = path.child("namespace");
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    match (namespaced, namespace.is_empty()) {
        (Namespaced::No, true) => vec![],
        (Namespaced::No, false) => vec![field::forbidden(&path, "not allowed on this type")],
        (Namespaced::Yes, true) => vec![field::required(&path, "")],
        (Namespaced::Yes, false) => {
            let messages = name_is_dns_label(namespace, NameUse::Whole).into_iter();
            messages.map(|message| field::invalid(&path, namespace, message)).collect()
        }
    }
}

/// Labels, annotations and owner references, which are checked on create and on update.
fn validate_sets(meta: &ObjectMeta, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(labels) = &meta.labels {
        errors.extend(validate_labels(labels, &path.child("labels")));
    }
    if let Some(annotations) = &meta.annotations {
        errors.extend(validate_annotations(annotations, &path.child("annotations")));
    }
    if let Some(owners) = &meta.owner_references {
        errors.extend(validate_owner_references(owners, &path.child("ownerReferences")));
    }
    errors
}

/// Validates changed metadata against the stored one.
pub fn validate_object_meta_update(new: &ObjectMeta, old: &ObjectMeta, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if old.deletion_timestamp.is_some() {
        errors.extend(validate_no_new_finalizers(
            finalizers(new),
            finalizers(old),
            &path.child("finalizers"),
        ));
    }
    if new.resource_version.as_deref().unwrap_or_default().is_empty() {
        errors.push(field::invalid(
            &path.child("resourceVersion"),
            "",
            "must be specified for an update",
        ));
    }
    let (new_generation, old_generation) =
        (new.generation.unwrap_or(0), old.generation.unwrap_or(0));
    if new_generation < old_generation {
        errors.push(field::invalid(
            &path.child("generation"),
            new_generation,
            "must not be decremented",
        ));
    }
    errors.extend(validate_identity(new, old, path));
    errors.extend(validate_sets(new, path));
    errors.extend(validate_managed_fields(new, path));
    errors
}

/// The fields of metadata that no update may change.
fn validate_identity(new: &ObjectMeta, old: &ObjectMeta, path: &Path) -> ErrorList {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let checks = [
        validate_immutable(&text(&new.name), &text(&old.name), &path.child("name")),
        validate_immutable(&text(&new.namespace), &text(&old.namespace), &path.child("namespace")),
        validate_immutable(&text(&new.uid), &text(&old.uid), &path.child("uid")),
        validate_immutable(
            &new.creation_timestamp,
            &old.creation_timestamp,
            &path.child("creationTimestamp"),
        ),
        validate_immutable(
            &new.deletion_timestamp,
            &old.deletion_timestamp,
            &path.child("deletionTimestamp"),
        ),
        validate_immutable(
            &new.deletion_grace_period_seconds,
            &old.deletion_grace_period_seconds,
            &path.child("deletionGracePeriodSeconds"),
        ),
    ];
    checks.into_iter().flatten().collect()
}

/// Refuses a value that differs from the stored one.
pub fn validate_immutable<T: PartialEq + Serialize>(
    new: &T,
    old: &T,
    path: &Path,
) -> Option<field::Error> {
    (new != old).then(|| field::invalid(path, new, FIELD_IMMUTABLE))
}

/// Refuses a negative number.
pub fn validate_nonnegative(value: i64, path: &Path) -> Option<field::Error> {
    (value < 0).then(|| field::invalid(path, value, "must be greater than or equal to 0"))
}

/// Validates the key of a label.
pub fn validate_label_name(name: &str, path: &Path) -> ErrorList {
    names::is_qualified_name(name)
        .into_iter()
        .map(|message| field::invalid(path, name, message))
        .collect()
}

/// Validates a set of labels.
pub fn validate_labels(labels: &BTreeMap<String, String>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (key, value) in labels {
        errors.extend(validate_label_name(key, path));
        errors.extend(
            names::is_label_value(value)
                .into_iter()
                .map(|message| field::invalid(path, value, message)),
        );
    }
    errors
}

/// Validates a set of annotations, including their total size.
pub fn validate_annotations(annotations: &BTreeMap<String, String>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for key in annotations.keys() {
        let messages = names::is_qualified_name(&key.to_lowercase()).into_iter();
        errors.extend(messages.map(|message| field::invalid(path, key, message)));
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > TOTAL_ANNOTATION_SIZE_LIMIT_BYTES {
        errors.push(field::too_long(path, TOTAL_ANNOTATION_SIZE_LIMIT_BYTES));
    }
    errors
}

/// Validates owner references: each complete, none an Event, at most one controller.
pub fn validate_owner_references(owners: &[OwnerReference], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut first_controller: Option<String> = None;
    for owner in owners {
        errors.extend(validate_owner_reference(owner, path));
        if owner.controller != Some(true) {
            continue;
        }
        let name = format!("{}/{}", owner.kind, owner.name);
        match &first_controller {
            None => first_controller = Some(name),
            Some(first) => {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                errors.push(field::invalid(path, owners, detail));
            }
        }
    }
    errors
}

fn validate_owner_reference(owner: &OwnerReference, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let group_version = GroupVersion::parse(&owner.api_version).unwrap_or_default();
    if group_version.version.is_empty() {
        errors.push(field::invalid(
            &path.child("apiVersion"),
            &owner.api_version,
            "version must not be empty",
        ));
    }
    for (name, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
        if value.is_empty() {
            errors.push(field::invalid(&path.child(name), value, "must not be empty"));
        }
    }
    if owner.api_version == "v1" && owner.kind == "Event" {
        errors.push(field::invalid(
            path,
            owner,
            "/v1, Kind=Event is disallowed from being an owner",
        ));
    }
    errors
}

/// The finalizers of an object.
fn finalizers(meta: &ObjectMeta) -> &[String] {
    meta.finalizers.as_deref().unwrap_or_default()
}

/// Validates finalizers: qualified names, and not both ways of treating dependents.
pub fn validate_finalizers(finalizers: &[String], path: &Path) -> ErrorList {
    let mut errors: ErrorList =
        finalizers.iter().flat_map(|name| validate_finalizer_name(name, path)).collect();
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    if has(FINALIZER_ORPHAN_DEPENDENTS) && has(FINALIZER_DELETE_DEPENDENTS) {
        let detail = format!(
            "finalizer {FINALIZER_ORPHAN_DEPENDENTS} and {FINALIZER_DELETE_DEPENDENTS} cannot be both set"
        );
        errors.push(field::invalid(path, finalizers, detail));
    }
    errors
}

/// Validates the name of a finalizer.
pub fn validate_finalizer_name(name: &str, path: &Path) -> ErrorList {
    names::is_qualified_name(name)
        .into_iter()
        .map(|message| field::invalid(path, name, message))
        .collect()
}

/// An object that is being deleted may lose finalizers, but not gain them.
fn validate_no_new_finalizers(new: &[String], old: &[String], path: &Path) -> Option<field::Error> {
    let mut extra: Vec<&String> = new.iter().filter(|name| !old.contains(name)).collect();
    extra.sort();
    extra.dedup();
    if extra.is_empty() {
        return None;
    }
    let list: Vec<String> = extra.into_iter().map(|name| field::quote(name)).collect();
    let list = list.join(", ");
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
    );
    Some(field::forbidden(path, detail))
}

fn validate_managed_fields(meta: &ObjectMeta, path: &Path) -> ErrorList {
    let path = path.child("managedFields");
    let entries = meta.managed_fields.as_deref().unwrap_or_default().iter().enumerate();
    entries
        .flat_map(|(index, entry)| validate_managed_fields_entry(entry, &path.index(index)))
        .collect()
}

fn validate_managed_fields_entry(entry: &ManagedFieldsEntry, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let operation = entry.operation.as_deref().unwrap_or_default();
    if !matches!(operation, "Apply" | "Update") {
        errors.push(field::invalid(
            &path.child("operation"),
            operation,
            "must be `Apply` or `Update`",
        ));
    }
    let fields_type = entry.fields_type.as_deref().unwrap_or_default();
    if !matches!(fields_type, "" | "FieldsV1") {
        errors.push(field::invalid(&path.child("fieldsType"), fields_type, "must be `FieldsV1`"));
    }
    let manager = entry.manager.as_deref().unwrap_or_default();
    errors.extend(validate_field_manager(manager, &path.child("manager")));
    if entry.subresource.as_deref().unwrap_or_default().len() > SUBRESOURCE_MAX_LENGTH {
        errors.push(field::too_long(&path.child("subresource"), SUBRESOURCE_MAX_LENGTH));
    }
    errors
}

/// Validates the name of a field manager: short and printable; empty is fine.
pub fn validate_field_manager(manager: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if manager.len() > FIELD_MANAGER_MAX_LENGTH {
        errors.push(field::too_long(path, FIELD_MANAGER_MAX_LENGTH));
    }
    let unprintable = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    for (position, c) in manager.char_indices().filter(|(_, c)| unprintable(*c)) {
        let detail = format!("invalid character U+{:04X} (at position {position})", c as u32);
        errors.push(field::invalid(path, manager, detail));
    }
    errors
}

/// The owner reference that is marked as the controller, if there is one.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

/// True if the object with that uid is the controller.
pub fn controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid)
}

/// True if any owner reference carries that uid.
pub fn owned_by(meta: &ObjectMeta, uid: &str) -> bool {
    meta.owner_references.as_ref().is_some_and(|owners| owners.iter().any(|owner| owner.uid == uid))
}

/// A reference to `owner` as the controller, which blocks the owner's foreground deletion.
pub fn new_controller_ref(owner: &dyn KubeObject) -> OwnerReference {
    OwnerReference { controller: Some(true), block_owner_deletion: Some(true), ..owner_ref(owner) }
}

/// A plain reference to `owner`.
pub fn owner_ref(owner: &dyn KubeObject) -> OwnerReference {
    OwnerReference {
        api_version: owner.api_version().to_owned(),
        kind: owner.kind().to_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }
}

/// A name from a `generateName`: the prefix, cut to 58 characters, and five random characters.
pub fn generate_name(prefix: &str) -> String {
    let keep = prefix.floor_char_boundary(GENERATED_NAME_MAX_LENGTH - RANDOM_SUFFIX_LENGTH);
    format!("{}{}", &prefix[..keep], random_suffix(RANDOM_SUFFIX_LENGTH))
}

/// Random characters of Kubernetes' safe alphabet. Good for names, not for secrets.
pub fn random_suffix(length: usize) -> String {
    let pick = |index: usize| SAFE_CHARACTERS[(RandomState::new().hash_one(index) % 27) as usize];
    (0..length).map(|index| char::from(pick(index))).collect()
}

/// Maps every character of `text`, such as a hash in decimal, to Kubernetes' safe alphabet.
pub fn safe_encode_string(text: &str) -> String {
    text.chars().map(|c| char::from(SAFE_CHARACTERS[c as usize % SAFE_CHARACTERS.len()])).collect()
}

#[cfg(test)]
mod tests;
