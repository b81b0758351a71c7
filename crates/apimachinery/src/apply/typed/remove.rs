//! Taking fields out of a value.

use serde_json::Value;

use super::{Form, form, items};
use crate::apply::element::PathElement;
use crate::apply::field_set::FieldSet;
use crate::apply::schema::{ListKind, TypeId, TypedSchema};

/// Takes the fields and items of a set out of a value, with everything below them. What becomes empty stays, unless it is in
/// the set itself.
pub(in crate::apply) fn remove(
    schema: &TypedSchema,
    ty: TypeId,
    value: &mut Value,
    set: &FieldSet,
) {
    if set.is_empty() {
        return;
    }
    let atom = schema.atom(ty);
    match (form(atom, Some(value)), &atom.map, &atom.list, value) {
        (Form::Map, Some(map), _, Value::Object(fields)) => {
            if map.atomic {
                return fields.clear();
            }
            for node in &set.nodes {
                let Some(name) = node.element.name() else { continue };
                if node.owned {
                    fields.remove(name);
                } else if let (Some(ty), Some(value)) = (map.field(name), fields.get_mut(name)) {
                    remove(schema, ty, value, &node.below);
                }
            }
        }
        (Form::List, _, Some(list), Value::Array(found)) => {
            if list.kind == ListKind::Atomic {
                return found.clear();
            }
            let node = |item: &Value| {
                let element: PathElement = items::element(list, item).ok()?;
                set.node(&element)
            };
            found.retain_mut(|item| match node(item) {
                None => true,
                Some(node) if node.owned => false,
                Some(node) => {
                    remove(schema, list.item, item, &node.below);
                    true
                }
            });
        }
        _ => {}
    }
}
