//! The fields that a value says something about: its leaves, and the items of its maps and lists.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Form, form, items};
use crate::apply::field_set::FieldSet;
use crate::apply::schema::{ListAtom, ListKind, MapAtom, TypeId, TypedSchema};

/// The fields of a value, as an applier owns them who applies it.
pub fn field_set(schema: &TypedSchema, ty: TypeId, value: &Value) -> FieldSet {
    fields(schema, ty, value).1
}

/// Whether the value itself is a leaf, and the fields below it.
fn fields(schema: &TypedSchema, ty: TypeId, value: &Value) -> (bool, FieldSet) {
    let atom = schema.atom(ty);
    match (form(atom, Some(value)), &atom.map, &atom.list) {
        (Form::Map, Some(map), _) if !map.atomic => (false, map_fields(schema, map, value)),
        (Form::List, _, Some(list)) if list.kind != ListKind::Atomic => {
            (false, list_fields(schema, list, value))
        }
        _ => (true, FieldSet::default()),
    }
}

fn map_fields(schema: &TypedSchema, map: &MapAtom, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    for (name, value) in value.as_object().into_iter().flatten() {
        let Some(ty) = map.field(name) else { continue };
        let (leaf, below) = fields(schema, ty, value);
        let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        let declared = map.fields.contains_key(name.as_str());
        set.push(super::PathElement::field(name.as_str()), leaf || empty || !declared, below);
    }
    set
}

/// Items that are there twice are owned as a whole.
fn list_fields(schema: &TypedSchema, list: &ListAtom, value: &Value) -> FieldSet {
    let mut found: BTreeMap<super::PathElement, Option<&Value>> = BTreeMap::new();
    for (element, item) in items::identified(list, Some(value)) {
        found.entry(element).and_modify(|twice| *twice = None).or_insert(Some(item));
    }
    let mut set = FieldSet::default();
    for (element, item) in found {
        let below = item.map(|item| fields(schema, list.item, item).1);
        set.push(element, true, below.unwrap_or_default());
    }
    set
}
