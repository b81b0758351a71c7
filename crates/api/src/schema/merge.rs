//! The merge schema of strategic patches and server-side apply, read off the definitions and the fact table.
//!
//! Counterpart in Kubernetes: `strategicpatch.PatchMetaFromStruct` and the typed parser of managed fields.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apimachinery::apply::TypedSchema;
use apimachinery::schema::{FieldSchema, ScalarType, SchemaSet, Shape, TypeSchema};
use serde_json::{Value, json};

use super::structs::is_embedded;
use super::{Definitions, Fact, REF_PREFIX, definitions, facts, field_fact, long_name};

/// The definition of objects of unknown kinds.
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";

/// The fields of every type, as patches need them; built at the first use.
pub fn schema_set() -> &'static SchemaSet {
    static SET: LazyLock<SchemaSet> = LazyLock::new(|| build(&definitions()));
    &SET
}

/// The same, compiled for server-side apply; built at the first use.
pub fn typed_schema() -> &'static TypedSchema {
    static TYPED: LazyLock<TypedSchema> = LazyLock::new(|| TypedSchema::compile(schema_set()));
    &TYPED
}

fn build(definitions: &Definitions) -> SchemaSet {
    let types = definitions
        .iter()
        .filter_map(|(name, definition)| Some((name, definition.get("properties")?.as_object()?)))
        .map(|(name, properties)| {
            let fields = fields(definitions, name, properties);
            (name.clone(), TypeSchema { fields, atomic: is_atomic(name) })
        })
        .collect();
    SchemaSet { types }
}

fn fields(
    definitions: &Definitions,
    name: &str,
    properties: &serde_json::Map<String, Value>,
) -> BTreeMap<String, FieldSchema> {
    properties
        .iter()
        .map(|(field, property)| {
            let schema =
                apply(written(definitions, name, field, property), field_fact(name, field));
            (field.clone(), schema)
        })
        .collect()
}

fn is_atomic(name: &str) -> bool {
    facts::ATOMIC_TYPES.iter().any(|short| long_name(short) == name)
}

/// A field as it is written: its shape, its scalars, and what stands in for it.
fn written(definitions: &Definitions, name: &str, field: &str, property: &Value) -> FieldSchema {
    let shape = shape(definitions, property);
    let scalar = scalar(property);
    let required = definitions[name].get("required").and_then(Value::as_array);
    let required = required.is_some_and(|names| names.iter().any(|name| name == field));
    let zero = match (&shape, required) {
        (Shape::Object(_), _) if is_embedded(name, field) => Some(json!({})),
        (_, false) => None,
        (Shape::Scalar, true) => zero(scalar),
        (_, true) => Some(Value::Null),
    };
    let nameless = field == "name" && facts::NAMELESS_TYPES.iter().any(|t| long_name(t) == name);
    let default = property.get("default").cloned().or_else(|| match shape {
        Shape::Scalar if nameless => Some(json!("")),
        Shape::Scalar => zero.clone(),
        _ => None,
    });
    let atomic = property["$ref"].as_str().is_some_and(|r| r.ends_with(RAW_EXTENSION));
    FieldSchema { scalar, atomic, default, zero, ..FieldSchema::of(shape) }
}

/// Which scalars are at the bottom of a property.
fn scalar(property: &Value) -> ScalarType {
    let inner = property.get("items").or_else(|| property.get("additionalProperties"));
    if let Some(inner) = inner {
        return scalar(inner);
    }
    let format = property.get("format").and_then(Value::as_str).unwrap_or_default();
    match property.get("type").and_then(Value::as_str) {
        Some("string") if matches!(format, "" | "byte") => ScalarType::String,
        Some("integer" | "number") => ScalarType::Number,
        Some("boolean") => ScalarType::Boolean,
        _ => ScalarType::Any,
    }
}

/// What Kubernetes writes for a required scalar that is not set; times and the like are left out.
fn zero(scalar: ScalarType) -> Option<Value> {
    match scalar {
        ScalarType::String => Some(json!("")),
        ScalarType::Number => Some(json!(0)),
        ScalarType::Boolean => Some(json!(false)),
        ScalarType::Any => None,
    }
}

fn apply(schema: FieldSchema, fact: Option<&Fact>) -> FieldSchema {
    let Some(fact) = fact else { return schema };
    FieldSchema {
        patch_strategy: fact.patch,
        retain_keys: fact.retain_keys,
        patch_merge_key: fact.merge_key.map(str::to_owned),
        list_type: fact.list_type,
        atomic: schema.atomic || fact.atomic_map,
        list_map_keys: fact.map_keys.iter().map(|k| (*k).to_owned()).collect(),
        ..schema
    }
}

fn shape(definitions: &Definitions, property: &Value) -> Shape {
    if let Some(name) =
        property.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(REF_PREFIX))
    {
        return referenced(name, definitions.get(name));
    }
    match property.get("type").and_then(Value::as_str) {
        Some("array") => Shape::List(Box::new(shape(definitions, &property["items"]))),
        Some("object") => match property.get("additionalProperties") {
            Some(values) => Shape::Map(Box::new(shape(definitions, values))),
            None => Shape::Any,
        },
        Some(_) => Shape::Scalar,
        None => Shape::Any,
    }
}

/// A definition with properties is an object; one of a plain type is written as a scalar; the rest is free-form.
fn referenced(name: &str, definition: Option<&Value>) -> Shape {
    let has = |key: &str| definition.and_then(|d| d.get(key));
    match has("type").and_then(Value::as_str) {
        _ if has("properties").is_some() => Shape::Object(name.to_owned()),
        Some("object") | None => Shape::Any,
        Some(_) => Shape::Scalar,
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::schema::{ListType, PatchStrategy};

    use super::*;

    fn field(name: &str, field: &str) -> &'static FieldSchema {
        &schema_set().get(name).unwrap().fields[field]
    }

    #[test]
    fn schema_set_containers_merge_by_name() {
        let containers = field("io.k8s.api.core.v1.PodSpec", "containers");
        assert_eq!(
            containers.shape,
            Shape::List(Box::new(Shape::Object("io.k8s.api.core.v1.Container".to_owned())))
        );
        assert_eq!(containers.patch_strategy, PatchStrategy::Merge);
        assert_eq!(containers.patch_merge_key.as_deref(), Some("name"));
        assert_eq!(containers.list_type, Some(ListType::Map));
        assert_eq!(containers.list_map_keys, ["name"]);
    }

    #[test]
    fn schema_set_shapes_follow_the_types() {
        let labels = field("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "labels");
        assert_eq!(labels.shape, Shape::Map(Box::new(Shape::Scalar)));
        let limits = field("io.k8s.api.core.v1.ResourceRequirements", "limits");
        assert_eq!(limits.shape, Shape::Map(Box::new(Shape::Scalar)));
        let created = field("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "creationTimestamp");
        assert_eq!(created.shape, Shape::Scalar);
        let target = field("io.k8s.api.core.v1.ServicePort", "targetPort");
        assert_eq!(target.shape, Shape::Scalar);
        let managed = field("io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry", "fieldsV1");
        assert_eq!(managed.shape, Shape::Any);
        assert!(field("io.k8s.api.apps.v1.DeploymentSpec", "strategy").retain_keys);
    }
}
