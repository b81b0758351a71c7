//! What tests of kinds share: objects from JSON as the server would have them, and error lists as text.

use apimachinery::field::ErrorList;
use apimachinery::object::FieldValidation;
use serde_json::Value;

use crate::kinds;
use crate::strategy::KindStrategy;

/// The object, decoded and defaulted.
pub(crate) fn defaulted<K: KindStrategy>(value: Value) -> K {
    let codec = kinds::of::<K>().codec;
    let decoded =
        codec.from_value(value, FieldValidation::Strict).unwrap_or_else(|e| panic!("{e:?}"));
    let mut object = *decoded.object.into_any().downcast::<K>().expect("an object of the kind");
    object.default_fields();
    object
}

/// What the server says to the creation of the object, line by line.
pub(crate) fn create_errors<K: KindStrategy>(mut object: K) -> String {
    if K::SCOPE == kinds::Scope::Namespaced {
        object.metadata_mut().namespace.get_or_insert_with(|| "default".to_owned());
    }
    let strategy = kinds::of::<K>().strategy;
    strategy.prepare_create(&mut object);
    text(&strategy.validate(&object))
}

/// What the server says to an update, line by line, after it restored what updates may not touch.
pub(crate) fn update_errors<K: KindStrategy>(mut new: K, mut old: K) -> String {
    for object in [&mut new, &mut old] {
        object.metadata_mut().resource_version = Some("1".to_owned());
        if K::SCOPE == kinds::Scope::Namespaced {
            object.metadata_mut().namespace.get_or_insert_with(|| "default".to_owned());
        }
    }
    let strategy = kinds::of::<K>().strategy;
    strategy.prepare_update(&mut new, &old);
    text(&strategy.validate_update(&new, &old))
}

/// The errors, line by line.
pub(crate) fn text(errors: &ErrorList) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The cells of the object's row at the beginning of 2026.
pub(crate) fn cells<K: KindStrategy>(object: &K) -> String {
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let show = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    object.row(now).iter().map(show).collect::<Vec<_>>().join("|")
}

/// The rows as discovery of Kubernetes 1.36 tells them.
pub(crate) fn listing(rows: &[kinds::Resource]) -> String {
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(row: &kinds::Resource) -> String {
    let subresources = row.subresources.iter().map(|s| {
        let group = if s.group.is_empty() { String::new() } else { format!("{}/", s.group) };
        format!("\n  {} {group}{} {}", s.name, s.kind, s.verbs.join(","))
    });
    let short = row.short_names.join(",");
    let scope = if row.namespaced() { "namespaced" } else { "cluster" };
    let names = format!("{} {} {short} {}", row.plural, row.singular, row.api_version());
    let rest = format!("{} {} {}", row.kind, row.verbs.join(","), row.categories.join(","));
    format!("{names} {scope} {rest}{}", subresources.collect::<String>())
}
