//! The annotation in which client-side apply remembers what it applied last.
//!
//! Counterpart: `lastappliedmanager.go` and `lastappliedupdater.go`: `kubectl apply --server-side` takes over from
//! `kubectl apply` without conflicts, and keeps the annotation up to date for the way back.

use serde_json::{Value, json};

use super::field_set::FieldSet;
use super::schema::{TypeId, TypedSchema};
use super::typed::{self, Duplicates, Reading};
use crate::field::go_json;

/// The annotation.
pub(super) const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How large all annotations of an object may be (Kubernetes: 256 KiB).
const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;

/// The fields that the object still has as they were applied last by client-side apply; `None` if that is not known.
pub(super) fn unchanged_since(
    schema: &TypedSchema,
    ty: TypeId,
    api_version: &str,
    live: &Value,
) -> Option<FieldSet> {
    let text = annotation(live)?;
    let last: Value = serde_json::from_str(text).ok()?;
    let kind = last.get("kind").and_then(Value::as_str).unwrap_or_default();
    if last.get("apiVersion")?.as_str()? != api_version || kind.is_empty() {
        return None;
    }
    typed::validate(schema, ty, &last, Duplicates::Refused).ok()?;
    typed::validate(schema, ty, live, Duplicates::Refused).ok()?;
    let difference = typed::compare(schema, ty, &last, live, Reading::Plain);
    let set = typed::field_set(schema, ty, &last)
        .difference(&difference.modified)
        .difference(&difference.added)
        .difference(&difference.removed);
    Some(set)
}

/// The text of the annotation, if it is there and not empty.
fn annotation(object: &Value) -> Option<&str> {
    let text = object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()?;
    Some(text).filter(|text| !text.is_empty())
}

/// Writes the configuration into the annotation, if the object has it.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) =
        config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(ANNOTATION);
    }
    let text = go_json(&config) + "\n";
    let Some(annotations) =
        object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    else {
        return;
    };
    annotations.insert(ANNOTATION.to_owned(), json!(text));
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if annotations.iter().map(size).sum::<usize>() > MAX_ANNOTATIONS_BYTES {
        annotations.remove(ANNOTATION);
    }
}
