//! Merging an applied configuration into an object: what the configuration says wins, what it does not say stays.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Form, PathElement, forms, is_empty_list, items};
use crate::apply::schema::{ListAtom, ListKind, MapAtom, TypeId, TypedSchema};

/// The object with the configuration merged into it.
pub(in crate::apply) fn merge(
    schema: &TypedSchema,
    ty: TypeId,
    live: &Value,
    config: &Value,
) -> Value {
    merged(schema, ty, Some(live), Some(config)).unwrap_or(Value::Null)
}

fn merged(
    schema: &TypedSchema,
    ty: TypeId,
    live: Option<&Value>,
    config: Option<&Value>,
) -> Option<Value> {
    let atom = schema.atom(ty);
    // Where the two have different forms, that of the configuration decides.
    let (first, second) = forms(atom, live, config);
    match (second.unwrap_or(first), &atom.map, &atom.list) {
        (Form::Map, Some(map), _) if !is_leaf_map(map, live, config) => {
            merged_maps(schema, map, live, config)
        }
        (Form::List, _, Some(list)) if !is_leaf_list(list, live, config) => {
            merged_lists(schema, list, live, config)
        }
        _ => config.or(live).cloned(),
    }
}

fn is_leaf_map(map: &MapAtom, live: Option<&Value>, config: Option<&Value>) -> bool {
    let empty = |side: Option<&Value>| side.and_then(Value::as_object).is_none_or(Map::is_empty);
    map.atomic || (empty(live) && empty(config))
}

fn is_leaf_list(list: &ListAtom, live: Option<&Value>, config: Option<&Value>) -> bool {
    list.kind == ListKind::Atomic || (is_empty_list(live) && is_empty_list(config))
}

fn merged_maps(
    schema: &TypedSchema,
    map: &MapAtom,
    live: Option<&Value>,
    config: Option<&Value>,
) -> Option<Value> {
    let mut out = live.and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, value) in config.and_then(Value::as_object).into_iter().flatten() {
        let Some(ty) = map.field(name) else { continue };
        if let Some(value) = merged(schema, ty, out.get(name), Some(value)) {
            out.insert(name.clone(), value);
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn merged_lists(
    schema: &TypedSchema,
    list: &ListAtom,
    live: Option<&Value>,
    config: Option<&Value>,
) -> Option<Value> {
    let (live, config) = (items::identified(list, live), items::identified(list, config));
    let mut known: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (element, item) in &live {
        known.entry(element).and_modify(|twice| *twice = None).or_insert(Some(item));
    }
    let place = |(element, item): &(PathElement, &Value)| {
        // An item that is there twice is replaced, not merged.
        let live = known.get(element).copied().flatten();
        merged(schema, list.item, live, Some(item))
    };
    let out: Vec<Value> = order(&live, &config)
        .into_iter()
        .filter_map(|from| match from {
            From::Live(at) => Some(live[at].1.clone()),
            From::Config(at) => place(&config[at]),
        })
        .collect();
    (!out.is_empty()).then_some(Value::Array(out))
}

/// Where the next item of a merged list comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// From the object, which alone has it.
    Live(usize),
    /// From the configuration, merged into the object's item if there is one.
    Config(usize),
}

/// The order of a merged list: the items of the configuration in its order, and those that only the object has behind the
/// item they stood behind.
fn order(live: &[(PathElement, &Value)], config: &[(PathElement, &Value)]) -> Vec<From> {
    let applied: BTreeSet<&PathElement> = config.iter().map(|(element, _)| element).collect();
    let is_live: BTreeSet<&PathElement> = live.iter().map(|(element, _)| element).collect();
    let mut shared = config.iter().map(|(element, _)| element).filter(|e| is_live.contains(e));
    let mut next_shared = shared.next();
    let mut done: BTreeSet<&PathElement> = BTreeSet::new();
    let (mut out, mut l, mut c) = (Vec::new(), 0, 0);
    while l < live.len() || c < config.len() {
        let left = live.get(l).map(|(element, _)| element);
        let right = config.get(c).map(|(element, _)| element);
        if let (Some(left), Some(right)) = (left, right)
            && left != right
            && applied.contains(left)
            && next_shared.is_some_and(|next| next != left)
        {
            // Its turn comes when the configuration gets there.
            l += 1;
            continue;
        }
        match left {
            Some(left) if !applied.contains(left) => {
                out.push(From::Live(l));
                l += 1;
                continue;
            }
            Some(left) if right == Some(left) || done.contains(left) => l += 1,
            _ => {}
        }
        if let Some(right) = right {
            done.insert(right);
            out.push(From::Config(c));
            c += 1;
            if next_shared == Some(right) {
                next_shared = shared.next();
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged_order(live: &str, config: &str) -> String {
        let items =
            |text: &str| -> Vec<Value> { text.chars().map(|c| json!(c.to_string())).collect() };
        let (live, config) = (items(live), items(config));
        let elements = |items: &'static [Value]| -> Vec<(PathElement, &'static Value)> {
            items.iter().map(|item| (PathElement::Value(item.clone()), item)).collect()
        };
        let (live, config) = (elements(live.leak()), elements(config.leak()));
        let text = |from| match from {
            From::Live(at) => live[at].1.as_str().unwrap(),
            From::Config(at) => config[at].1.as_str().unwrap(),
        };
        order(&live, &config).into_iter().map(text).collect()
    }

    #[test]
    fn merged_list_keeps_the_order_of_the_configuration() {
        let table = [
            ("abc", "", "abc"),
            ("", "abc", "abc"),
            ("abc", "b", "abc"),
            ("abc", "cb", "acb"),
            ("abc", "ca", "bca"),
            ("abc", "d", "abcd"),
            ("abc", "dc", "abdc"),
            ("abc", "bdc", "abdc"),
            ("abcde", "eb", "acdeb"),
        ];
        for (live, config, want) in table {
            assert_eq!(merged_order(live, config), want, "{live} + {config}");
        }
    }
}
