//! Operations and definitions written as OpenAPI v2 or v3.
//!
//! Counterpart in Kubernetes: `kube-openapi/pkg/builder` and `builder3`. What all operations of a path have in common
//! stands at the path, as Kubernetes' builder hoists it.

use std::collections::BTreeMap;

use api::schema::protobuf::{MEDIA_TYPE as PROTOBUF, WATCH_MEDIA_TYPE};
use api::schema::{self, Definitions, INT_OR_STRING, QUANTITY, REF_PREFIX};
use serde_json::{Map, Value, json};

use super::operations::{self, Media, Operation};
use super::parameters;

const V3_REF_PREFIX: &str = "#/components/schemas/";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PATCH_TYPES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const TITLE: &str = "Kubernetes";

/// The whole server as one v2 document.
pub(super) fn v2(version: &str) -> Value {
    let definitions = schema::definitions();
    let operations: Vec<Operation> = operations::documents().into_values().flatten().collect();
    let paths = paths(&operations, operation_v2, parameters::v2);
    let names = schema::closure(&definitions, roots(&operations));
    let kept: Map<String, Value> =
        names.iter().map(|n| ((*n).to_owned(), definitions[*n].clone())).collect();
    json!({
        "swagger": "2.0",
        "info": { "title": TITLE, "version": version },
        "paths": paths,
        "definitions": kept,
        "securityDefinitions": { "BearerToken": bearer_token() },
        "security": [{ "BearerToken": [] }],
    })
}

/// Each group version as a v3 document of its own, by name.
pub(super) fn v3(version: &str) -> BTreeMap<String, Value> {
    let definitions = schema::definitions();
    let document = |name: &str, operations: Vec<Operation>| {
        json!({
            "openapi": "3.0.0",
            "info": { "title": TITLE, "version": version },
            "paths": paths(&operations, operation_v3, parameters::v3),
            "components": {
                "schemas": schemas_v3(&definitions, &operations, name),
                "securitySchemes": { "BearerToken": bearer_token() },
            },
        })
    };
    operations::documents()
        .into_iter()
        .map(|(name, operations)| {
            let document = document(&name, operations);
            (name, document)
        })
        .collect()
}

fn bearer_token() -> Value {
    json!({ "type": "apiKey", "in": "header", "name": "authorization", "description": "A bearer token." })
}

/// The definitions that operations name.
fn roots(operations: &[Operation]) -> impl Iterator<Item = &str> {
    operations.iter().flat_map(|o| {
        o.body.as_ref().map(|b| b.definition.as_str()).into_iter().chain(o.answer.as_deref())
    })
}

fn schemas_v3(
    definitions: &Definitions,
    operations: &[Operation],
    document: &str,
) -> Map<String, Value> {
    let group =
        document.strip_prefix("apis/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let names = schema::closure(definitions, roots(operations));
    names
        .into_iter()
        .map(|name| {
            let mut definition = definitions[name].clone();
            definition_v3(name, &mut definition);
            keep_group(&mut definition, group);
            (name.to_owned(), definition)
        })
        .collect()
}

/// A definition that many groups share names, in the document of one, only that group and the core group.
fn keep_group(definition: &mut Value, group: &str) {
    if let Some(Value::Array(gvks)) = definition.get_mut(schema::EXTENSION_GVK)
        && gvks.len() > 1
    {
        gvks.retain(|gvk| gvk["group"] == "" || gvk["group"] == group);
    }
}

fn definition_v3(name: &str, definition: &mut Value) {
    let kinds: &[&str] = match name {
        INT_OR_STRING => &["integer", "string"],
        QUANTITY => &["string", "number"],
        _ => return references_v3(definition),
    };
    if let Some(map) = definition.as_object_mut() {
        map.remove("type");
        map.insert("oneOf".to_owned(), kinds.iter().map(|kind| json!({ "type": kind })).collect());
    }
}

/// A `$ref` stands alone in v3: what stood beside it moves outside an `allOf`.
fn references_v3(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(references_v3);
            let Some(reference) = map.get("$ref").and_then(Value::as_str).map(reference_v3) else {
                return;
            };
            if map.len() == 1 {
                map.insert("$ref".to_owned(), reference.into());
            } else {
                map.remove("$ref");
                map.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(references_v3),
        _ => {}
    }
}

fn reference_v3(reference: &str) -> String {
    format!("{V3_REF_PREFIX}{}", reference.strip_prefix(REF_PREFIX).unwrap_or(reference))
}

/// The path items, with common parameters hoisted.
fn paths(
    operations: &[Operation],
    write: fn(&Operation, Vec<Value>) -> Value,
    parameter: fn(&str, &str) -> Value,
) -> Map<String, Value> {
    let mut by_path: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        by_path.entry(&operation.path).or_default().push(operation);
    }
    let item = |(path, operations): (&str, Vec<&Operation>)| {
        let is_common = |name: &&str| operations.iter().all(|o| o.parameters.contains(name));
        let common: Vec<&str> =
            operations[0].parameters.iter().copied().filter(|n| is_common(n)).collect();
        let mut item = Map::new();
        for operation in &operations {
            let own = operation.parameters.iter().filter(|name| !common.contains(name));
            let mut own: Vec<&str> = own.copied().collect();
            own.sort_unstable();
            let own = own.into_iter().map(|name| parameter(name, "query")).collect();
            item.insert(operation.method.to_owned(), write(operation, own));
        }
        let shared = path_level(path, common, parameter);
        if !shared.is_empty() {
            item.insert("parameters".to_owned(), shared.into());
        }
        (path.to_owned(), Value::Object(item))
    };
    by_path.into_iter().map(item).collect()
}

/// The parameters in the path and those that every operation has, by name.
fn path_level(path: &str, common: Vec<&str>, parameter: fn(&str, &str) -> Value) -> Vec<Value> {
    let in_path =
        path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut named: Vec<(&str, &str)> = in_path
        .map(|name| (name, "path"))
        .chain(common.into_iter().map(|name| (name, "query")))
        .collect();
    named.sort_unstable();
    named.into_iter().map(|(name, place)| parameter(name, place)).collect()
}

/// What both versions say alike.
fn operation_head(operation: &Operation, parameters: &[Value]) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("operationId".to_owned(), operation.id.as_str().into());
    head.insert("description".to_owned(), operation.description.as_str().into());
    head.insert("tags".to_owned(), json!([operation.tag]));
    if !parameters.is_empty() {
        head.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(action) = operation.action {
        head.insert("x-kubernetes-action".to_owned(), action.into());
    }
    if let Some((group, version, kind)) = operation.gvk {
        head.insert(schema::EXTENSION_GVK.to_owned(), schema::gvk(group, version, kind));
    }
    head
}

fn produced(media: Media) -> &'static [&'static str] {
    match media {
        Media::Object => &[JSON, YAML, PROTOBUF],
        Media::Stream => &[JSON, YAML, PROTOBUF, "application/json;stream=watch", WATCH_MEDIA_TYPE],
        Media::Log => &["text/plain", JSON, YAML, PROTOBUF],
        Media::Any => &["*/*"],
        Media::Json => &[JSON],
    }
}

fn phrase(code: u16) -> &'static str {
    match code {
        201 => "Created",
        202 => "Accepted",
        401 => "Unauthorized",
        _ => "OK",
    }
}

fn operation_v2(operation: &Operation, mut parameters: Vec<Value>) -> Value {
    let mut consumes: &[&str] =
        if operation.gvk.is_some() { &["*/*"] } else { &[JSON, YAML, PROTOBUF] };
    if let Some(body) = &operation.body {
        let mut parameter =
            json!({ "name": "body", "in": "body", "schema": schema::reference(&body.definition) });
        if body.required {
            parameter["required"] = true.into();
        }
        parameters.insert(0, parameter);
        consumes = if body.patch { &PATCH_TYPES } else { consumes };
    }
    let answer = match &operation.answer {
        Some(definition) => schema::reference(definition),
        None => json!({ "type": "string" }),
    };
    let mut responses = Map::new();
    for code in operation.codes {
        responses
            .insert(code.to_string(), json!({ "description": phrase(*code), "schema": answer }));
    }
    responses.insert("401".to_owned(), json!({ "description": phrase(401) }));
    let mut value = operation_head(operation, &parameters);
    value.insert("consumes".to_owned(), json!(consumes));
    value.insert("produces".to_owned(), json!(produced(operation.media)));
    value.insert("schemes".to_owned(), json!(["https"]));
    value.insert("responses".to_owned(), responses.into());
    value.into()
}

fn operation_v3(operation: &Operation, parameters: Vec<Value>) -> Value {
    let mut value = operation_head(operation, &parameters);
    if let Some(body) = &operation.body {
        let types: &[&str] = if body.patch { &PATCH_TYPES } else { &["*/*"] };
        let mut request = json!({ "content": content(types, Some(&body.definition)) });
        if body.required {
            request["required"] = true.into();
        }
        value.insert("requestBody".to_owned(), request);
    }
    let mut responses = Map::new();
    for code in operation.codes {
        let content = content(produced(operation.media), operation.answer.as_deref());
        responses
            .insert(code.to_string(), json!({ "description": phrase(*code), "content": content }));
    }
    responses.insert("401".to_owned(), json!({ "description": phrase(401) }));
    value.insert("responses".to_owned(), responses.into());
    value.into()
}

fn content(types: &[&str], definition: Option<&str>) -> Map<String, Value> {
    let schema = match definition {
        Some(name) => json!({ "$ref": format!("{V3_REF_PREFIX}{name}") }),
        None => json!({ "type": "string" }),
    };
    types.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect()
}
