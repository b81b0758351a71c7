//! The v2 document in the protobuf form of gnostic's `openapi.v2.Document`, which `kubectl` reads.
//!
//! Counterpart in Kubernetes: `kube-openapi/pkg/handler` (`ToProtoBinary`). The messages below declare only the fields
//! this server writes, under the field numbers of gnostic's schema; extensions travel as YAML text, for which JSON is
//! good enough.

use prost::Message;
use serde_json::{Map, Value};

/// Encodes a v2 document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let paths = entries(&document["paths"])
        .map(|(name, item)| NamedPathItem { name, value: Some(path_item(item)) });
    let definitions = entries(&document["definitions"]).map(named_schema);
    let message = Document {
        swagger: text(&document["swagger"]),
        info: Some(Info {
            title: text(&document["info"]["title"]),
            version: text(&document["info"]["version"]),
        }),
        paths: Some(Paths { path: paths.collect() }),
        definitions: Some(NamedSchemas { additional_properties: definitions.collect() }),
        security_definitions: Some(security_definitions(&document["securityDefinitions"])),
    };
    message.encode_to_vec()
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

pub(super) fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}

pub(super) fn entries(value: &Value) -> impl Iterator<Item = (String, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value))
}

pub(super) fn any(value: &Value) -> Any {
    Any { yaml: value.to_string() }
}

pub(super) fn extensions(value: &Value) -> Vec<NamedAny> {
    let found = entries(value).filter(|(name, _)| name.starts_with("x-"));
    found.map(|(name, value)| NamedAny { name, value: Some(any(value)) }).collect()
}

fn named_schema((name, value): (String, &Value)) -> NamedSchema {
    NamedSchema { name, value: Some(schema(value)) }
}

fn schema(value: &Value) -> Schema {
    let present = |key: &str| value.get(key);
    Schema {
        r#ref: text(&value["$ref"]),
        format: text(&value["format"]),
        description: text(&value["description"]),
        default: present("default").map(any),
        required: texts(&value["required"]),
        additional_properties: present("additionalProperties").map(|v| Box::new(additional(v))),
        r#type: present("type").map(|kind| TypeItem { value: vec![text(kind)] }),
        items: present("items").map(|items| ItemsItem { schema: vec![schema(items)] }),
        properties: present("properties").map(|p| NamedSchemas {
            additional_properties: entries(p).map(named_schema).collect(),
        }),
        vendor_extension: extensions(value),
    }
}

fn additional(value: &Value) -> AdditionalPropertiesItem {
    match value {
        Value::Bool(allowed) => AdditionalPropertiesItem { schema: None, boolean: Some(*allowed) },
        value => AdditionalPropertiesItem { schema: Some(Box::new(schema(value))), boolean: None },
    }
}

fn path_item(value: &Value) -> PathItem {
    let operation = |method: &str| value.get(method).map(operation);
    PathItem {
        get: operation("get"),
        put: operation("put"),
        post: operation("post"),
        delete: operation("delete"),
        options: operation("options"),
        head: operation("head"),
        patch: operation("patch"),
        parameters: parameters(&value["parameters"]),
    }
}

fn operation(value: &Value) -> Operation {
    let response_code = entries(&value["responses"]).map(|(name, value)| NamedResponseValue {
        name,
        value: Some(ResponseValue { response: Some(response(value)) }),
    });
    Operation {
        tags: texts(&value["tags"]),
        description: text(&value["description"]),
        operation_id: text(&value["operationId"]),
        produces: texts(&value["produces"]),
        consumes: texts(&value["consumes"]),
        parameters: parameters(&value["parameters"]),
        responses: Some(Responses { response_code: response_code.collect() }),
        schemes: texts(&value["schemes"]),
        vendor_extension: extensions(value),
    }
}

fn response(value: &Value) -> Response {
    Response {
        description: text(&value["description"]),
        schema: value.get("schema").map(|s| SchemaItem { schema: Some(schema(s)) }),
    }
}

fn parameters(value: &Value) -> Vec<ParametersItem> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| ParametersItem { parameter: Some(parameter(p)) })
        .collect()
}

fn parameter(value: &Value) -> Parameter {
    let place = text(&value["in"]);
    if place == "body" {
        let body = BodyParameter {
            name: text(&value["name"]),
            r#in: place,
            required: flag(&value["required"]),
            schema: Some(schema(&value["schema"])),
        };
        return Parameter { body_parameter: Some(body), non_body_parameter: None };
    }
    let non_body = match place.as_str() {
        "path" => NonBodyParameter { path: Some(path_parameter(value)), query: None },
        _ => NonBodyParameter { path: None, query: Some(query_parameter(value)) },
    };
    Parameter { body_parameter: None, non_body_parameter: Some(non_body) }
}

fn query_parameter(value: &Value) -> QueryParameterSubSchema {
    QueryParameterSubSchema {
        required: flag(&value["required"]),
        r#in: text(&value["in"]),
        description: text(&value["description"]),
        name: text(&value["name"]),
        r#type: text(&value["type"]),
        unique_items: flag(&value["uniqueItems"]),
    }
}

fn path_parameter(value: &Value) -> PathParameterSubSchema {
    PathParameterSubSchema {
        required: flag(&value["required"]),
        r#in: text(&value["in"]),
        description: text(&value["description"]),
        name: text(&value["name"]),
        r#type: text(&value["type"]),
        unique_items: flag(&value["uniqueItems"]),
    }
}

fn security_definitions(value: &Value) -> SecurityDefinitions {
    let item = |definition: &Value| SecurityDefinitionsItem {
        api_key_security: Some(ApiKeySecurity {
            r#type: text(&definition["type"]),
            name: text(&definition["name"]),
            r#in: text(&definition["in"]),
            description: text(&definition["description"]),
        }),
    };
    let none = Map::new();
    let definitions = value.as_object().unwrap_or(&none).iter();
    let named = definitions.map(|(name, definition)| NamedSecurityDefinitionsItem {
        name: name.clone(),
        value: Some(item(definition)),
    });
    SecurityDefinitions { additional_properties: named.collect() }
}

#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<NamedSchemas>,
    #[prost(message, optional, tag = "13")]
    security_definitions: Option<SecurityDefinitions>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    path: Vec<NamedPathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedPathItem {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<PathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct PathItem {
    #[prost(message, optional, tag = "2")]
    get: Option<Operation>,
    #[prost(message, optional, tag = "3")]
    put: Option<Operation>,
    #[prost(message, optional, tag = "4")]
    post: Option<Operation>,
    #[prost(message, optional, tag = "5")]
    delete: Option<Operation>,
    #[prost(message, optional, tag = "6")]
    options: Option<Operation>,
    #[prost(message, optional, tag = "7")]
    head: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    patch: Option<Operation>,
    #[prost(message, repeated, tag = "9")]
    parameters: Vec<ParametersItem>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, repeated, tag = "1")]
    tags: Vec<String>,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "5")]
    operation_id: String,
    #[prost(string, repeated, tag = "6")]
    produces: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    consumes: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<ParametersItem>,
    #[prost(message, optional, tag = "9")]
    responses: Option<Responses>,
    #[prost(string, repeated, tag = "10")]
    schemes: Vec<String>,
    #[prost(message, repeated, tag = "13")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

/// One of the two, as gnostic's `oneof`; on the wire the same.
#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(message, optional, tag = "1")]
    body_parameter: Option<BodyParameter>,
    #[prost(message, optional, tag = "2")]
    non_body_parameter: Option<NonBodyParameter>,
}

#[derive(Clone, PartialEq, Message)]
struct BodyParameter {
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    r#in: String,
    #[prost(bool, tag = "4")]
    required: bool,
    #[prost(message, optional, tag = "5")]
    schema: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct NonBodyParameter {
    #[prost(message, optional, tag = "3")]
    query: Option<QueryParameterSubSchema>,
    #[prost(message, optional, tag = "4")]
    path: Option<PathParameterSubSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryParameterSubSchema {
    #[prost(bool, tag = "1")]
    required: bool,
    #[prost(string, tag = "2")]
    r#in: String,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "6")]
    r#type: String,
    #[prost(bool, tag = "20")]
    unique_items: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PathParameterSubSchema {
    #[prost(bool, tag = "1")]
    required: bool,
    #[prost(string, tag = "2")]
    r#in: String,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "5")]
    r#type: String,
    #[prost(bool, tag = "19")]
    unique_items: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Responses {
    #[prost(message, repeated, tag = "1")]
    response_code: Vec<NamedResponseValue>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedResponseValue {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ResponseValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseValue {
    #[prost(message, optional, tag = "1")]
    response: Option<Response>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(string, tag = "1")]
    description: String,
    #[prost(message, optional, tag = "2")]
    schema: Option<SchemaItem>,
}

#[derive(Clone, PartialEq, Message)]
struct SchemaItem {
    #[prost(message, optional, tag = "1")]
    schema: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "1")]
    r#ref: String,
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(message, optional, tag = "5")]
    default: Option<Any>,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, optional, boxed, tag = "21")]
    additional_properties: Option<Box<AdditionalPropertiesItem>>,
    #[prost(message, optional, tag = "22")]
    r#type: Option<TypeItem>,
    #[prost(message, optional, tag = "23")]
    items: Option<ItemsItem>,
    #[prost(message, optional, tag = "25")]
    properties: Option<NamedSchemas>,
    #[prost(message, repeated, tag = "31")]
    vendor_extension: Vec<NamedAny>,
}

/// One of the two, as gnostic's `oneof`; on the wire the same.
#[derive(Clone, PartialEq, Message)]
struct AdditionalPropertiesItem {
    #[prost(message, optional, boxed, tag = "1")]
    schema: Option<Box<Schema>>,
    #[prost(bool, optional, tag = "2")]
    boolean: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeItem {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ItemsItem {
    #[prost(message, repeated, tag = "1")]
    schema: Vec<Schema>,
}

/// `Definitions` and `Properties`, which look alike.
#[derive(Clone, PartialEq, Message)]
struct NamedSchemas {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedAny {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

#[derive(Clone, PartialEq, Message)]
struct SecurityDefinitions {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSecurityDefinitionsItem>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSecurityDefinitionsItem {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<SecurityDefinitionsItem>,
}

#[derive(Clone, PartialEq, Message)]
struct SecurityDefinitionsItem {
    #[prost(message, optional, tag = "2")]
    api_key_security: Option<ApiKeySecurity>,
}

#[derive(Clone, PartialEq, Message)]
struct ApiKeySecurity {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    r#in: String,
    #[prost(string, tag = "4")]
    description: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn encode_keeps_what_kubectl_reads() {
        let document = json!({
            "swagger": "2.0",
            "info": { "title": "T", "version": "v" },
            "paths": { "/p": {
                "parameters": [{ "name": "name", "in": "path", "required": true, "type": "string", "uniqueItems": true }],
                "patch": {
                    "operationId": "patchP", "consumes": ["application/json-patch+json"],
                    "x-kubernetes-group-version-kind": { "group": "", "version": "v1", "kind": "P" },
                    "parameters": [
                        { "name": "body", "in": "body", "required": true, "schema": { "$ref": "#/definitions/P" } },
                        { "name": "dryRun", "in": "query", "type": "string", "uniqueItems": true },
                    ],
                    "responses": { "200": { "description": "OK", "schema": { "$ref": "#/definitions/P" } } },
                },
            } },
            "definitions": { "P": {
                "type": "object", "required": ["a"], "x-kubernetes-group-version-kind": [{ "kind": "P" }],
                "properties": {
                    "a": { "type": "array", "items": { "type": "string" } },
                    "m": { "type": "object", "additionalProperties": { "type": "integer", "format": "int32" } },
                },
            } },
        });
        let decoded = Document::decode(encode(&document).as_slice()).unwrap();
        let path = decoded.paths.unwrap().path.remove(0);
        let item = path.value.unwrap();
        let patch = item.patch.unwrap();
        assert_eq!((path.name.as_str(), patch.operation_id.as_str()), ("/p", "patchP"));
        let gvk: Value =
            serde_json::from_str(&patch.vendor_extension[0].value.as_ref().unwrap().yaml).unwrap();
        assert_eq!(gvk["kind"], "P");
        let query = patch.parameters[1]
            .parameter
            .clone()
            .unwrap()
            .non_body_parameter
            .unwrap()
            .query
            .unwrap();
        assert_eq!((query.name.as_str(), query.unique_items), ("dryRun", true));
        let definition = decoded.definitions.unwrap().additional_properties.remove(0);
        let schema = definition.value.unwrap();
        assert_eq!(
            (definition.name.as_str(), schema.required.as_slice()),
            ("P", &["a".to_owned()][..])
        );
        let properties = schema.properties.unwrap().additional_properties;
        let items = properties[0].value.clone().unwrap().items.unwrap().schema;
        assert_eq!(items[0].r#type.clone().unwrap().value, ["string"]);
        let values =
            properties[1].value.clone().unwrap().additional_properties.unwrap().schema.unwrap();
        assert_eq!(values.format, "int32");
    }

    /// The wire form of one schema by hand, from gnostic's field numbers.
    #[test]
    fn encode_uses_gnostics_field_numbers() {
        let bytes = schema(&json!({ "$ref": "#/d", "format": "f", "type": "string", "x-a": 1 }))
            .encode_to_vec();
        let mut expected = vec![0x0a, 3];
        expected.extend(b"#/d");
        expected.extend([0x12, 1, b'f']);
        // Field 22, length-delimited: a TypeItem with one string.
        expected.extend([0xb2, 0x01, 8, 0x0a, 6]);
        expected.extend(b"string");
        // Field 31, length-delimited: a NamedAny whose Any has field 2.
        expected.extend([0xfa, 0x01, 10, 0x0a, 3]);
        expected.extend(b"x-a");
        expected.extend([0x12, 3, 0x12, 1, b'1']);
        assert_eq!(bytes, expected);
    }
}
