//! Strategic merge patch: like a merge patch, but lists of objects merge by a key, lists of scalars merge as sets, and
//! directives say what a plain merge cannot. The counterpart of `k8s.io/apimachinery/pkg/util/strategicpatch`.
//!
//! Directives: `$patch: replace|delete` in an object or list item, `$retainKeys`, `$setElementOrder/FIELD` and
//! `$deleteFromPrimitiveList/FIELD`. Invariant: no directive is left in the result.

mod order;

use serde_json::{Map, Value};

use super::PatchError;
use crate::field::quote;
use crate::schema::{FieldSchema, PatchStrategy, SchemaSet, Shape};

/// Says what happens to the object or list item it stands in.
const DIRECTIVE: &str = "$patch";

/// Lists the keys an object keeps.
const RETAIN_KEYS: &str = "$retainKeys";

/// Lists the order of the items of the list it names.
const SET_ELEMENT_ORDER: &str = "$setElementOrder";

/// Lists the scalars to take out of the list it names.
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList";

type Object = Map<String, Value>;
type List = Vec<Value>;

/// Applies a strategic merge patch to an object of the type named `root` in `schemas`.
///
/// # Errors
/// If the patch is malformed, or does not fit the schema.
pub fn apply(
    original: &Value,
    patch: &Value,
    schemas: &SchemaSet,
    root: &str,
) -> Result<Value, PatchError> {
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else {
        return Err(PatchError::Malformed("invalid JSON document".to_owned()));
    };
    let merger = Merger { schemas };
    merger.map(original.clone(), patch.clone(), &Shape::Object(root.to_owned())).map(Value::Object)
}

fn bad_format(of: &str) -> PatchError {
    PatchError::Malformed(format!("invalid patch format of {of}"))
}

fn bad_type(wanted: &str, found: &Value) -> PatchError {
    PatchError::Schema(format!("expected a {wanted}, but received a {}", go_type(found)))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go's `%v` prints it.
fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", go_value(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    PatchError::Schema(format!(
        "map: {} does not contain declared merge key: {key}",
        go_value(item)
    ))
}

fn unknown_directive(directive: &Value, map: Object) -> PatchError {
    let (directive, map) = (go_value(directive), go_value(&Value::Object(map)));
    PatchError::Schema(format!("unknown patch type: {directive} in map: {map}"))
}

/// The field that a directive such as `$setElementOrder/containers` is about; `None` for another key.
fn directive_target<'k>(
    key: &'k str,
    prefix: &str,
    format: &str,
) -> Result<Option<&'k str>, PatchError> {
    match key.strip_prefix(prefix) {
        None => Ok(None),
        Some(rest) => rest.strip_prefix('/').map(Some).ok_or_else(|| bad_format(format)),
    }
}

fn is_directive(key: &str) -> bool {
    key == RETAIN_KEYS
        || key.starts_with(SET_ELEMENT_ORDER)
        || key.starts_with(DELETE_FROM_PRIMITIVE_LIST)
}

/// A value that is new to the document, without directives; `None` if it is itself marked by one.
fn without_directives(value: Value) -> Option<Value> {
    Some(match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => return None,
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, _)| !is_directive(key));
            Value::Object(
                kept.filter_map(|(key, value)| Some((key, without_directives(value)?))).collect(),
            )
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().filter_map(without_directives).collect())
        }
        scalar => scalar,
    })
}

/// Drops the keys of all objects inside that are `null`.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(discard_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// Clears the keys that the patch does not retain; whatever the patch sets must be retained.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let Some(list) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(list) = list else { return Err(bad_format("retainKeys")) };
    let retained = |key: &str| list.iter().any(|item| item.as_str() == Some(key));
    let sets =
        |(key, value): (&String, &Value)| !value.is_null() && !is_directive(key) && !retained(key);
    if patch.iter().any(sets) {
        return Err(bad_format("retainKeys"));
    }
    original.retain(|key, _| retained(key));
    Ok(())
}

/// What the items of a list are, when merged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Items {
    Scalars,
    Objects,
}

/// Tells what the items of both lists are.
///
/// # Errors
/// If they are lists, or differ.
fn items_of(lists: [&List; 2]) -> Result<Items, PatchError> {
    let mut items = lists.into_iter().flatten();
    let Some(first) = items.next() else { return Ok(Items::Scalars) };
    if first.is_array() {
        return Err(PatchError::NotApplicable("lists of lists are not supported".to_owned()));
    }
    if items.any(|item| go_type(item) != go_type(first)) {
        let shown: Vec<String> =
            lists.iter().map(|list| go_value(&Value::Array((*list).clone()))).collect();
        return Err(PatchError::Schema(format!(
            "list element types are not identical: [{}]",
            shown.join(" ")
        )));
    }
    Ok(if first.is_object() { Items::Objects } else { Items::Scalars })
}

struct Merger<'s> {
    schemas: &'s SchemaSet,
}

impl Merger<'_> {
    /// What is known of a field of an object of that shape.
    fn lookup(&self, shape: &Shape, key: &str) -> Result<FieldSchema, PatchError> {
        let name = match shape {
            Shape::Object(name) => name,
            Shape::Map(item) => return Ok(FieldSchema::of((**item).clone())),
            Shape::Any | Shape::Scalar | Shape::List(_) => return Ok(FieldSchema::of(Shape::Any)),
        };
        let field = self.schemas.get(name).and_then(|schema| schema.fields.get(key)).cloned();
        field.ok_or_else(|| {
            let short = name.rsplit('.').next().unwrap_or(name);
            let key = quote(key);
            PatchError::Schema(format!(
                "unable to find api field in struct {short} for the json field {key}"
            ))
        })
    }

    fn map(
        &self,
        mut original: Object,
        mut patch: Object,
        shape: &Shape,
    ) -> Result<Object, PatchError> {
        match patch.remove(DIRECTIVE) {
            None => {}
            Some(Value::String(text)) if text == "replace" => return Ok(patch),
            Some(Value::String(text)) if text == "delete" => return Ok(Object::new()),
            Some(other) => return Err(unknown_directive(&other, patch)),
        }
        retain_keys(&mut original, &mut patch)?;
        self.ordered_lists(&mut original, &mut patch, shape)?;
        for (key, value) in patch {
            match directive_target(&key, DELETE_FROM_PRIMITIVE_LIST, "primitive list")? {
                Some(target) => delete_from_list(&mut original, target, value),
                None => self.field(&mut original, key, value, shape)?,
            }
        }
        Ok(original)
    }

    /// Merges one field of a patch into the object.
    fn field(
        &self,
        original: &mut Object,
        key: String,
        patch: Value,
        shape: &Shape,
    ) -> Result<(), PatchError> {
        let merged = match (original.remove(&key), patch) {
            (_, Value::Null) => return Ok(()),
            (Some(Value::Object(old)), Value::Object(patch)) => {
                let field = self.lookup(shape, &key)?;
                Some(Value::Object(match field.patch_strategy {
                    PatchStrategy::Replace => patch,
                    PatchStrategy::Default | PatchStrategy::Merge => {
                        self.map(old, patch, &field.shape)?
                    }
                }))
            }
            (Some(Value::Array(old)), Value::Array(patch)) => {
                let field = self.lookup(shape, &key)?;
                Some(Value::Array(self.list(old, patch, &field)?))
            }
            (_, mut patch) => {
                discard_nulls(&mut patch);
                without_directives(patch)
            }
        };
        if let Some(merged) = merged {
            original.insert(key, merged);
        }
        Ok(())
    }

    /// Merges or replaces a list, as its field says.
    fn list(&self, original: List, patch: List, field: &FieldSchema) -> Result<List, PatchError> {
        if field.patch_strategy != PatchStrategy::Merge {
            return Ok(patch);
        }
        match items_of([&original, &patch])? {
            Items::Scalars => Ok(merge_scalars(original, patch)),
            Items::Objects => self.objects(original, patch, field),
        }
    }

    /// Merges lists of objects by their key.
    fn objects(
        &self,
        original: List,
        patch: List,
        field: &FieldSchema,
    ) -> Result<List, PatchError> {
        let key = field.patch_merge_key.as_deref().filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| {
            PatchError::Schema("cannot merge lists without merge key for struct".to_owned())
        })?;
        let item_shape = match &field.shape {
            Shape::List(item) => item,
            _ => &Shape::Any,
        };
        let (original, patch) = apply_item_directives(original, patch, key)?;
        let mut merged = original.clone();
        for item in &patch {
            let value = item.get(key).ok_or_else(|| no_merge_key(item, key))?;
            match merged.iter_mut().find(|old| old.get(key) == Some(value)) {
                Some(old) => *old = self.item(old.take(), item.clone(), item_shape)?,
                None => merged.extend(without_directives(item.clone())),
            }
        }
        order::arrange(merged, &patch, &original, Some(key))
    }

    fn item(&self, original: Value, patch: Value, shape: &Shape) -> Result<Value, PatchError> {
        match (original, patch) {
            (Value::Object(original), Value::Object(patch)) => {
                self.map(original, patch, shape).map(Value::Object)
            }
            (_, patch) => Ok(patch),
        }
    }

    /// Merges the lists whose order the patch sets, and takes them out of the patch.
    fn ordered_lists(
        &self,
        original: &mut Object,
        patch: &mut Object,
        shape: &Shape,
    ) -> Result<(), PatchError> {
        let directives: Vec<String> =
            patch.keys().filter(|key| key.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
        for directive in directives {
            let wanted = patch.remove(&directive).unwrap_or_default();
            let Value::Array(wanted) = wanted else {
                return Err(bad_type("[]interface {}", &wanted));
            };
            let Some(key) =
                directive_target(&directive, SET_ELEMENT_ORDER, "setElementOrder list")?
            else {
                continue;
            };
            self.ordered_list(original, patch, key, &wanted, shape)?;
        }
        Ok(())
    }

    fn ordered_list(
        &self,
        original: &mut Object,
        patch: &mut Object,
        key: &str,
        wanted: &List,
        shape: &Shape,
    ) -> Result<(), PatchError> {
        let field = self.lookup(shape, key)?;
        let merge_key = field.patch_merge_key.as_deref();
        let old = take_list(original, key)?;
        let new = take_list(patch, key)?;
        order::check(new.as_deref().unwrap_or_default(), wanted, merge_key)?;
        let server_order = old.clone().unwrap_or_default();
        let merged = match (old, new) {
            (None, None) => return Ok(()),
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(old), Some(new)) => self.list(old, new, &field)?,
        };
        original.insert(
            key.to_owned(),
            Value::Array(order::arrange(merged, wanted, &server_order, merge_key)?),
        );
        Ok(())
    }
}

/// Takes a list out of an object; a `null` stays where it is.
fn take_list(map: &mut Object, key: &str) -> Result<Option<List>, PatchError> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(_)) => Ok(map.remove(key).and_then(|value| match value {
            Value::Array(items) => Some(items),
            _ => None,
        })),
        Some(other) => Err(bad_type("[]interface {}", other)),
    }
}

/// Takes scalars out of a list, if the object has such a list.
fn delete_from_list(original: &mut Object, key: &str, patch: Value) {
    match (original.get_mut(key), patch) {
        (_, Value::Null) => drop(original.remove(key)),
        (Some(Value::Array(items)), Value::Array(deleted)) => {
            items.retain(|item| !deleted.contains(item))
        }
        _ => {}
    }
}

/// Both lists of scalars as one set, the patch's order first.
fn merge_scalars(original: List, patch: List) -> List {
    let mut merged: List = Vec::with_capacity(original.len() + patch.len());
    for item in original.iter().chain(&patch) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    order::arrange_scalars(merged, &patch, &original)
}

/// Carries out the directives among the items of a patch, and returns what is left of both lists.
fn apply_item_directives(
    original: List,
    patch: List,
    key: &str,
) -> Result<(List, List), PatchError> {
    let mut original = original;
    let mut plain = List::new();
    let mut replace = false;
    for item in patch {
        match item.get(DIRECTIVE).and_then(Value::as_str) {
            None if item.get(DIRECTIVE).is_none() => plain.push(item),
            Some("delete") => {
                let value = item.get(key).ok_or_else(|| no_merge_key(&item, key))?;
                original.retain(|old| old.get(key) != Some(value));
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(PatchError::Schema(
                    "merging lists cannot yet be specified in the patch".to_owned(),
                ));
            }
            _ => {
                let directive = item.get(DIRECTIVE).cloned().unwrap_or_default();
                return Err(unknown_directive(
                    &directive,
                    item.as_object().cloned().unwrap_or_default(),
                ));
            }
        }
    }
    match replace {
        true => Ok((plain, List::new())),
        false => Ok((original, plain)),
    }
}

#[cfg(test)]
mod tests;
