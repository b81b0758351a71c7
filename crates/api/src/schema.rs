//! OpenAPI definitions of every type the API shows, and the merge schema of strategic patches.
//!
//! Counterpart in Kubernetes: `pkg/generated/openapi` and `kube-openapi`. The shapes and descriptions come from
//! `k8s-openapi` through schemars; how lists and maps merge comes from the one table in `facts`. Definitions are
//! in OpenAPI v2 form (`#/definitions/NAME`), which the API server also rewrites into v3.
//!
//! Invariants: every `$ref` resolves inside [`definitions`]; every kind of the kind table has its definition and that
//! of its list; building is pure, so nothing is kept that nobody uses.

mod fact;
mod facts;
mod merge;
pub mod protobuf;
mod roots;
mod structs;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::kinds::{self, Resource};

pub use fact::Fact;
pub use merge::{schema_set, typed_schema};

/// Where a `$ref` of these definitions points.
pub const REF_PREFIX: &str = "#/definitions/";
/// The OpenAPI extension that says which kinds a definition belongs to.
pub const EXTENSION_GVK: &str = "x-kubernetes-group-version-kind";
/// Definition of the metadata of lists.
pub const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
/// Definition of a string or a number.
pub const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
/// Definition of a quantity.
pub const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// Definitions of which no type is said, because more than one may stand there.
const UNTYPED: [&str; 4] = [
    "apiextensions.v1.JSON",
    "apiextensions.v1.JSONSchemaPropsOrArray",
    "apiextensions.v1.JSONSchemaPropsOrBool",
    "apiextensions.v1.JSONSchemaPropsOrStringArray",
];

/// A set of OpenAPI definitions by name.
pub type Definitions = BTreeMap<String, Value>;

/// Builds the definitions of every type reachable from the kind table. Takes milliseconds: keep what you make of it.
pub fn definitions() -> Definitions {
    let mut definitions = raw();
    for (name, definition) in &mut definitions {
        normalize(name, definition);
    }
    for resource in kinds::all() {
        if let Some(definition) = definitions.get_mut(resource.schema_name) {
            set_gvks(definition, [(resource.group, resource.version, resource.kind)]);
        }
        if !resource.list_kind.is_empty() {
            definitions.insert(list_name(resource), list_definition(resource));
        }
    }
    annotate_shared(&mut definitions);
    definitions
}

/// Name of the definition of a resource's list.
pub fn list_name(resource: &Resource) -> String {
    format!("{}List", resource.schema_name)
}

/// The definitions `names` need, with themselves.
pub fn closure<'a>(
    definitions: &'a Definitions,
    names: impl IntoIterator<Item = &'a str>,
) -> Vec<&'a str> {
    let mut pending: Vec<&str> = names.into_iter().collect();
    let mut found = BTreeSet::new();
    while let Some(name) = pending.pop() {
        if let Some((name, definition)) = definitions.get_key_value(name)
            && found.insert(name.as_str())
        {
            references(definition, &mut pending);
        }
    }
    found.into_iter().collect()
}

/// The fact about a field of a definition.
pub fn field_fact(definition: &str, field: &str) -> Option<&'static Fact> {
    static FACTS: LazyLock<HashMap<String, &[(&str, Fact)]>> = LazyLock::new(|| {
        facts::FAMILIES
            .iter()
            .copied()
            .flatten()
            .map(|(name, fields)| (long_name(name), *fields))
            .collect()
    });
    FACTS.get(definition)?.iter().find(|(name, _)| *name == field).map(|(_, fact)| fact)
}

/// What schemars knows of the types of every row, of the bodies of subresources and of the meta types.
fn raw() -> Definitions {
    let settings = SchemaSettings::draft07().with(|s| s.definitions_path = "/definitions".into());
    let mut generator = SchemaGenerator::new(settings);
    for root in roots::ROOTS {
        root(&mut generator);
    }
    generator.take_definitions(false).into_iter().collect()
}

/// Kinds whose definition is no row of the table but the body of some subresource.
const BODY_KINDS: &[(&str, (&str, &str, &str))] = &[
    ("io.k8s.api.core.v1.Binding", ("", "v1", "Binding")),
    ("io.k8s.api.autoscaling.v1.Scale", ("autoscaling", "v1", "Scale")),
    ("io.k8s.api.authentication.v1.TokenRequest", ("authentication.k8s.io", "v1", "TokenRequest")),
    ("io.k8s.api.policy.v1.Eviction", ("policy", "v1", "Eviction")),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup", ("", "v1", "APIGroup")),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList", ("", "v1", "APIGroupList")),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList", ("", "v1", "APIResourceList")),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions", ("", "v1", "APIVersions")),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Status", ("", "v1", "Status")),
];

/// Definitions that belong to every group and version of the table.
const SHARED_KINDS: &[(&str, &str)] = &[
    ("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", "DeleteOptions"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent", "WatchEvent"),
];

/// The definition of a kind that is no row but the body of a subresource.
pub fn body_definition(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    BODY_KINDS.iter().find(|(_, gvk)| *gvk == (group, version, kind)).map(|(name, _)| *name)
}

fn annotate_shared(definitions: &mut Definitions) {
    for (name, gvk) in BODY_KINDS {
        if let Some(definition) = definitions.get_mut(*name) {
            set_gvks(definition, [*gvk]);
        }
    }
    let versions: BTreeSet<_> = kinds::all().iter().map(|r| (r.group, r.version)).collect();
    for (name, kind) in SHARED_KINDS {
        if let Some(definition) = definitions.get_mut(*name) {
            set_gvks(definition, versions.iter().map(|(group, version)| (*group, *version, *kind)));
        }
    }
}

fn set_gvks<'a>(
    definition: &mut Value,
    gvks: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
) {
    let gvks: Vec<Value> =
        gvks.into_iter().map(|(group, version, kind)| gvk(group, version, kind)).collect();
    definition[EXTENSION_GVK] = gvks.into();
}

/// A group, version and kind as OpenAPI extensions write it.
pub fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "kind": kind, "version": version })
}

/// A `$ref` to a definition.
pub fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{REF_PREFIX}{name}") })
}

fn list_definition(resource: &Resource) -> Value {
    let Resource { group, version, kind, list_kind, schema_name, .. } = resource;
    let mut metadata = reference(LIST_META);
    metadata["description"] =
        "Metadata of the list: its resource version and what is left of it.".into();
    json!({
        "description": format!("{list_kind} is a list of {kind} objects."),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string", "description": "Group and version of this representation of the list." },
            "kind": { "type": "string", "description": "Kind of the list, in CamelCase." },
            "metadata": metadata,
            "items": {
                "type": "array",
                "items": reference(schema_name),
                "description": format!("The {kind} objects of the list."),
            },
        },
        EXTENSION_GVK: [gvk(group, version, list_kind)],
    })
}

/// Turns what schemars gives into OpenAPI v2 and adds the facts.
fn normalize(name: &str, definition: &mut Value) {
    match name {
        INT_OR_STRING => return scalar(definition, Some("int-or-string")),
        QUANTITY => return scalar(definition, None),
        _ if UNTYPED.iter().any(|short| long_name(short) == name) => return untyped(definition),
        _ => {}
    }
    if facts::ATOMIC_TYPES.iter().any(|short| long_name(short) == name) {
        definition["x-kubernetes-map-type"] = "atomic".into();
    }
    annotate_union(name, definition);
    settle_required(name, definition);
    let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (field, property) in
        properties.iter_mut().filter_map(|(f, p)| Some((f, p.as_object_mut()?)))
    {
        if let Some(fact) = field_fact(name, field) {
            fact.annotate(property);
        }
        if let Some(default) = default_of(name, field) {
            property.insert("default".into(), default);
        }
    }
}

/// Says which fields exclude each other.
fn annotate_union(name: &str, definition: &mut Value) {
    let Some((_, discriminator, fields)) =
        facts::UNIONS.iter().find(|(t, ..)| long_name(t) == name)
    else {
        return;
    };
    let fields: Map<String, Value> =
        fields.iter().map(|(f, called)| ((*f).to_owned(), (*called).into())).collect();
    let mut union = json!({ "fields-to-discriminateBy": fields });
    if let Some(discriminator) = discriminator {
        union["discriminator"] = (*discriminator).into();
    }
    definition["x-kubernetes-unions"] = json!([union]);
}

/// Drops the fields that the Rust types always have but that a body may leave out, and adds those it may not.
fn settle_required(name: &str, definition: &mut Value) {
    let nameless = facts::NAMELESS_TYPES.iter().any(|short| long_name(short) == name);
    let added = facts::REQUIRED
        .iter()
        .filter(|(short, _)| long_name(short) == name)
        .map(|(_, field)| *field);
    let mut required: BTreeSet<&str> =
        definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    required.retain(|field| *field != "metadata" && !(nameless && *field == "name"));
    required.extend(added);
    let required: Value = required.into_iter().collect();
    let Some(definition) = definition.as_object_mut() else { return };
    match required.as_array().is_some_and(Vec::is_empty) {
        true => definition.remove("required"),
        false => definition.insert("required".to_owned(), required),
    };
}

fn untyped(definition: &mut Value) {
    if let Some(definition) = definition.as_object_mut() {
        definition.retain(|key, _| key == "description");
    }
}

fn scalar(definition: &mut Value, format: Option<&str>) {
    let mut plain = Map::new();
    plain.insert("type".into(), "string".into());
    plain.extend(format.map(|f| ("format".to_owned(), f.into())));
    plain.extend(definition.get("description").map(|d| ("description".to_owned(), d.clone())));
    *definition = Value::Object(plain);
}

fn default_of(name: &str, field: &str) -> Option<Value> {
    let is = |t: &str, f: &str| f == field && long_name(t) == name;
    let text =
        facts::DEFAULTS.iter().find(|(t, f, _)| is(t, f)).map(|(_, _, value)| (*value).into());
    text.or_else(|| {
        facts::NUMBER_DEFAULTS
            .iter()
            .find(|(t, f, _)| is(t, f))
            .map(|(_, _, value)| (*value).into())
    })
}

/// The full name of a type the fact table names in short.
fn long_name(short: &str) -> String {
    let package = match short.split_once('.').map_or(short, |(group, _)| group) {
        "meta" => "io.k8s.apimachinery.pkg.apis",
        "apiextensions" => "io.k8s.apiextensions-apiserver.pkg.apis",
        "apiregistration" => "io.k8s.kube-aggregator.pkg.apis",
        _ => "io.k8s.api",
    };
    format!("{package}.{short}")
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(
                map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(REF_PREFIX)),
            );
            map.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
