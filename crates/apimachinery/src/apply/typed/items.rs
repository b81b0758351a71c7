//! What identifies an item of an associative list.

use serde_json::Value;

use crate::apply::element::PathElement;
use crate::apply::schema::{ListAtom, ListKind};
use crate::field::quote;

/// The step to an item.
///
/// # Errors
/// Kubernetes' words for an item that cannot be identified.
pub(super) fn element(list: &ListAtom, item: &Value) -> Result<PathElement, String> {
    match &list.kind {
        ListKind::Atomic => Err("invalid indexing of non-associative list".to_owned()),
        ListKind::Set => set_element(item),
        ListKind::Keyed(keys) => keyed_element(keys, item),
    }
}

fn set_element(item: &Value) -> Result<PathElement, String> {
    let refused = match item {
        Value::Object(_) => "associative list without keys has an element that's a map type",
        Value::Array(_) => "not supported: associative list with lists as elements",
        Value::Null => "associative list without keys has an element that's an explicit null",
        scalar => return Ok(PathElement::Value(scalar.clone())),
    };
    Err(refused.to_owned())
}

fn keyed_element(keys: &[(Box<str>, Option<Value>)], item: &Value) -> Result<PathElement, String> {
    let map = match item {
        Value::Object(map) => map,
        Value::Null => {
            return Err("associative list with keys may not have a null element".to_owned());
        }
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let value = |key: &str, default: &Option<Value>| map.get(key).or(default.as_ref()).cloned();
    let found: Vec<(Box<str>, Value)> = keys
        .iter()
        .filter_map(|(key, default)| Some((key.clone(), value(key, default)?)))
        .collect();
    if found.is_empty() && !keys.is_empty() {
        let names: Vec<String> = keys.iter().map(|(key, _)| quote(key)).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            names.join(" ")
        ));
    }
    Ok(PathElement::key(found))
}

/// The items of a list that can be identified, in order, each with its step.
pub(in crate::apply) fn identified<'v>(
    list: &ListAtom,
    value: Option<&'v Value>,
) -> Vec<(PathElement, &'v Value)> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| Some((element(list, item).ok()?, item))).collect()
}
