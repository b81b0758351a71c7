//! A v3 document in the protobuf form of gnostic's `openapi.v3.Document`.
//!
//! Counterpart in Kubernetes: `kube-openapi/pkg/handler3` (`ToV3ProtoBinary`). The messages below declare only the fields this
//! server writes, under the field numbers of gnostic's schema; extensions travel as YAML text, for which JSON is good enough.

use prost::Message;
use serde_json::Value;

use super::gnostic::{NamedAny, entries, extensions, flag, text, texts};

/// Encodes a v3 document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let paths = entries(&document["paths"])
        .map(|(name, item)| NamedPathItem { name, value: Some(path_item(item)) });
    let components = &document["components"];
    let schemes = entries(&components["securitySchemes"]).map(security_scheme);
    let message = Document {
        openapi: text(&document["openapi"]),
        info: Some(Info {
            title: text(&document["info"]["title"]),
            version: text(&document["info"]["version"]),
        }),
        paths: Some(Paths { path: paths.collect() }),
        components: Some(Components {
            schemas: Some(named_schemas(&components["schemas"])),
            security_schemes: Some(SecuritySchemes { additional_properties: schemes.collect() }),
        }),
    };
    message.encode_to_vec()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
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
        parameters: items(&value["parameters"]).map(parameter).collect(),
    }
}

fn operation(value: &Value) -> Operation {
    let responses = entries(&value["responses"]).map(|(name, response)| NamedResponse {
        name,
        value: Some(ResponseItem {
            response: Some(Response {
                description: text(&response["description"]),
                content: response.get("content").map(media_types),
            }),
        }),
    });
    Operation {
        tags: texts(&value["tags"]),
        description: text(&value["description"]),
        operation_id: text(&value["operationId"]),
        parameters: items(&value["parameters"]).map(parameter).collect(),
        request_body: value.get("requestBody").map(request_body),
        responses: Some(Responses { response_or_reference: responses.collect() }),
        specification_extension: extensions(value),
    }
}

fn request_body(value: &Value) -> RequestBodyItem {
    let body = RequestBody {
        content: value.get("content").map(media_types),
        required: flag(&value["required"]),
    };
    RequestBodyItem { request_body: Some(body) }
}

fn media_types(value: &Value) -> MediaTypes {
    let named = entries(value).map(|(name, media)| NamedMediaType {
        name,
        value: Some(MediaType { schema: media.get("schema").map(schema) }),
    });
    MediaTypes { additional_properties: named.collect() }
}

fn parameter(value: &Value) -> ParameterItem {
    ParameterItem {
        parameter: Some(Parameter {
            name: text(&value["name"]),
            r#in: text(&value["in"]),
            description: text(&value["description"]),
            required: flag(&value["required"]),
            schema: value.get("schema").map(schema),
        }),
    }
}

fn named_schemas(value: &Value) -> NamedSchemas {
    let named =
        entries(value).map(|(name, value)| NamedSchema { name, value: Some(schema(value)) });
    NamedSchemas { additional_properties: named.collect() }
}

/// A schema, or a reference to one.
fn schema(value: &Value) -> SchemaItem {
    if let Some(reference) = value.get("$ref") {
        let reference = Reference { r#ref: text(reference) };
        return SchemaItem { schema: None, reference: Some(reference) };
    }
    let schemas = |key: &str| items(&value[key]).map(schema).collect();
    let schema = Schema {
        unique_items: flag(&value["uniqueItems"]),
        required: texts(&value["required"]),
        r#type: text(&value["type"]),
        all_of: schemas("allOf"),
        one_of: schemas("oneOf"),
        items: value.get("items").map(|items| Items { schema_or_reference: vec![schema(items)] }),
        properties: value.get("properties").map(named_schemas),
        additional_properties: value.get("additionalProperties").map(additional),
        default: value.get("default").and_then(default_value),
        description: text(&value["description"]),
        format: text(&value["format"]),
        specification_extension: extensions(value),
    };
    SchemaItem { schema: Some(Box::new(schema)), reference: None }
}

fn additional(value: &Value) -> Additional {
    match value {
        Value::Bool(allowed) => Additional { schema_or_reference: None, boolean: Some(*allowed) },
        value => Additional { schema_or_reference: Some(schema(value)), boolean: None },
    }
}

/// Only scalars can be defaults here.
fn default_value(value: &Value) -> Option<DefaultValue> {
    let none = DefaultValue::default();
    match value {
        Value::Bool(flag) => Some(DefaultValue { boolean: Some(*flag), ..none }),
        Value::Number(number) => Some(DefaultValue { number: number.as_f64(), ..none }),
        Value::String(text) => Some(DefaultValue { string: Some(text.clone()), ..none }),
        _ => None,
    }
}

fn security_scheme((name, value): (String, &Value)) -> NamedSecurityScheme {
    let scheme = SecurityScheme {
        r#type: text(&value["type"]),
        description: text(&value["description"]),
        name: text(&value["name"]),
        r#in: text(&value["in"]),
    };
    NamedSecurityScheme { name, value: Some(SecuritySchemeItem { security_scheme: Some(scheme) }) }
}

#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(string, tag = "1")]
    openapi: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "4")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "5")]
    components: Option<Components>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "6")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "1")]
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
    #[prost(message, optional, tag = "4")]
    get: Option<Operation>,
    #[prost(message, optional, tag = "5")]
    put: Option<Operation>,
    #[prost(message, optional, tag = "6")]
    post: Option<Operation>,
    #[prost(message, optional, tag = "7")]
    delete: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    options: Option<Operation>,
    #[prost(message, optional, tag = "9")]
    head: Option<Operation>,
    #[prost(message, optional, tag = "10")]
    patch: Option<Operation>,
    #[prost(message, repeated, tag = "13")]
    parameters: Vec<ParameterItem>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, repeated, tag = "1")]
    tags: Vec<String>,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "5")]
    operation_id: String,
    #[prost(message, repeated, tag = "6")]
    parameters: Vec<ParameterItem>,
    #[prost(message, optional, tag = "7")]
    request_body: Option<RequestBodyItem>,
    #[prost(message, optional, tag = "8")]
    responses: Option<Responses>,
    #[prost(message, repeated, tag = "13")]
    specification_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct ParameterItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    r#in: String,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(bool, tag = "4")]
    required: bool,
    #[prost(message, optional, tag = "10")]
    schema: Option<SchemaItem>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestBodyItem {
    #[prost(message, optional, tag = "1")]
    request_body: Option<RequestBody>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestBody {
    #[prost(message, optional, tag = "2")]
    content: Option<MediaTypes>,
    #[prost(bool, tag = "3")]
    required: bool,
}

#[derive(Clone, PartialEq, Message)]
struct MediaTypes {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedMediaType>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedMediaType {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<MediaType>,
}

#[derive(Clone, PartialEq, Message)]
struct MediaType {
    #[prost(message, optional, tag = "1")]
    schema: Option<SchemaItem>,
}

#[derive(Clone, PartialEq, Message)]
struct Responses {
    #[prost(message, repeated, tag = "2")]
    response_or_reference: Vec<NamedResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedResponse {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ResponseItem>,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseItem {
    #[prost(message, optional, tag = "1")]
    response: Option<Response>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(string, tag = "1")]
    description: String,
    #[prost(message, optional, tag = "3")]
    content: Option<MediaTypes>,
}

#[derive(Clone, PartialEq, Message)]
struct Components {
    #[prost(message, optional, tag = "1")]
    schemas: Option<NamedSchemas>,
    #[prost(message, optional, tag = "7")]
    security_schemes: Option<SecuritySchemes>,
}

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
    value: Option<SchemaItem>,
}

/// One of the two, as gnostic's `oneof`; on the wire the same.
#[derive(Clone, PartialEq, Message)]
struct SchemaItem {
    #[prost(message, optional, boxed, tag = "1")]
    schema: Option<Box<Schema>>,
    #[prost(message, optional, tag = "2")]
    reference: Option<Reference>,
}

#[derive(Clone, PartialEq, Message)]
struct Reference {
    #[prost(string, tag = "1")]
    r#ref: String,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(bool, tag = "20")]
    unique_items: bool,
    #[prost(string, repeated, tag = "23")]
    required: Vec<String>,
    #[prost(string, tag = "25")]
    r#type: String,
    #[prost(message, repeated, tag = "26")]
    all_of: Vec<SchemaItem>,
    #[prost(message, repeated, tag = "27")]
    one_of: Vec<SchemaItem>,
    #[prost(message, optional, tag = "30")]
    items: Option<Items>,
    #[prost(message, optional, tag = "31")]
    properties: Option<NamedSchemas>,
    #[prost(message, optional, tag = "32")]
    additional_properties: Option<Additional>,
    #[prost(message, optional, tag = "33")]
    default: Option<DefaultValue>,
    #[prost(string, tag = "34")]
    description: String,
    #[prost(string, tag = "35")]
    format: String,
    #[prost(message, repeated, tag = "36")]
    specification_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct Items {
    #[prost(message, repeated, tag = "1")]
    schema_or_reference: Vec<SchemaItem>,
}

/// One of the two.
#[derive(Clone, PartialEq, Message)]
struct Additional {
    #[prost(message, optional, tag = "1")]
    schema_or_reference: Option<SchemaItem>,
    #[prost(bool, optional, tag = "2")]
    boolean: Option<bool>,
}

/// One of the three.
#[derive(Clone, PartialEq, Message)]
struct DefaultValue {
    #[prost(double, optional, tag = "1")]
    number: Option<f64>,
    #[prost(bool, optional, tag = "2")]
    boolean: Option<bool>,
    #[prost(string, optional, tag = "3")]
    string: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SecuritySchemes {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSecurityScheme>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSecurityScheme {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<SecuritySchemeItem>,
}

#[derive(Clone, PartialEq, Message)]
struct SecuritySchemeItem {
    #[prost(message, optional, tag = "1")]
    security_scheme: Option<SecurityScheme>,
}

#[derive(Clone, PartialEq, Message)]
struct SecurityScheme {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    r#in: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::gnostic::any;
    use super::*;

    #[test]
    fn encode_keeps_paths_schemas_and_references() {
        let document = json!({
            "openapi": "3.0.0",
            "info": { "title": "Kubernetes", "version": "v1" },
            "paths": { "/x": { "get": {
                "operationId": "readX",
                "x-kubernetes-action": "get",
                "requestBody": { "required": true, "content": { "*/*": { "schema": { "$ref": "#/s" } } } },
                "responses": { "200": { "description": "OK", "content": { "application/json": { "schema": { "type": "string" } } } } },
            } } },
            "components": { "schemas": { "A": {
                "type": "object",
                "required": ["b"],
                "properties": { "b": { "allOf": [{ "$ref": "#/s" }], "default": 5 } },
                "additionalProperties": true,
            } } },
        });
        let read = Document::decode(&encode(&document)[..]).unwrap();
        let path = &read.paths.unwrap().path[0];
        let get = path.value.as_ref().unwrap().get.as_ref().unwrap();
        assert_eq!((path.name.as_str(), get.operation_id.as_str()), ("/x", "readX"));
        assert_eq!(
            get.specification_extension[0],
            NamedAny { name: "x-kubernetes-action".to_owned(), value: Some(any(&json!("get"))) }
        );
        let body = get.request_body.as_ref().unwrap().request_body.as_ref().unwrap();
        assert!(body.required);
        let schema = &read.components.unwrap().schemas.unwrap().additional_properties[0];
        let schema = schema.value.as_ref().unwrap().schema.as_ref().unwrap();
        assert_eq!(schema.required, ["b"]);
        assert_eq!(schema.additional_properties.as_ref().unwrap().boolean, Some(true));
        let property =
            schema.properties.as_ref().unwrap().additional_properties[0].value.as_ref().unwrap();
        let property = property.schema.as_ref().unwrap();
        assert_eq!(property.all_of[0].reference.as_ref().unwrap().r#ref, "#/s");
        assert_eq!(property.default.as_ref().unwrap().number, Some(5.0));
    }
}
