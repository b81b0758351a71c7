//! What this server serves: `/api`, `/apis`, their groups and versions, `/`, `/version`.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/endpoints/discovery` and its `aggregated` form. Everything is derived
//! from the kind table, once; answers are bytes with an ETag. Invariants: both forms name the same resources; a path
//! that is not listed at `/` is not served here.

pub(crate) mod prepared;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use api::kinds::{Resource, Subresource};
use api::schema::protobuf;
use apimachinery::status::StatusError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Response, StatusCode};
use k8s_openapi::apimachinery::pkg::version::Info;
use ring::digest;
use serde_json::{Value, json};

use crate::{ApiServer, Body, health, metrics, openapi, service_account};
use prepared::{Prepared, built};

/// The order in which Kubernetes lists groups, most important first; groups not named follow by name.
const GROUP_ORDER: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "storagemigration.k8s.io",
];

/// The field of `/api` that tells clients where the server is.
const ADDRESSES: &str = "serverAddressByClientCIDRs";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = protobuf::MEDIA_TYPE;
/// The versions of the aggregated form, newest first, with their content types in JSON and in protobuf.
const AGGREGATED: [(&str, &str, &str); 2] = [
    (
        "v2",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    ),
    (
        "v2beta1",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    ),
];

/// The discovery documents of one set of rows.
pub struct Discovery {
    documents: BTreeMap<String, Document>,
}

/// One path's document in the forms it can be had in.
struct Document {
    value: Value,
    legacy: Forms,
    /// By version of the aggregated form; empty where there is none.
    aggregated: Vec<(&'static str, Forms)>,
}

/// A document in JSON, and in protobuf once somebody has asked for that.
struct Forms {
    json: Prepared,
    protobuf_type: &'static str,
    protobuf: OnceLock<Option<Prepared>>,
}

impl Forms {
    fn new(json_type: &'static str, protobuf_type: &'static str, value: &Value) -> Self {
        let json = Prepared::new(json_type, value.to_string().into_bytes());
        Self { json, protobuf_type, protobuf: OnceLock::new() }
    }

    fn legacy(value: &Value) -> Self {
        Self::new(JSON, PROTOBUF, value)
    }

    /// In protobuf, if it has such a form.
    fn protobuf(&self) -> &Prepared {
        let encode =
            || Some(Prepared::new(self.protobuf_type, protobuf::encode(self.json.bytes()).ok()?));
        self.protobuf.get_or_init(encode).as_ref().unwrap_or(&self.json)
    }
}

/// What a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Yaml,
    Protobuf,
    Aggregated(&'static str),
    AggregatedProtobuf(&'static str),
}

impl Discovery {
    /// Builds every document. `other_paths` are the server's further paths, for the list at `/`.
    pub fn new(rows: &'static [Resource], version: &Info, other_paths: &[String]) -> Self {
        let groups = Groups::of(rows);
        let mut documents = BTreeMap::new();
        let mut add = |path: String, value: Value| {
            documents.insert(path, Document::legacy(value));
        };
        for ((group, version), rows) in groups.versions() {
            add(version_path(group, version), resource_list(group, version, rows));
        }
        for group in groups.names().filter(|g| !g.is_empty()) {
            let mut value = groups.group(group);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            add(format!("/apis/{group}"), value);
        }
        add("/version".to_owned(), serde_json::to_value(version).unwrap_or_default());
        documents.insert("/api".to_owned(), groups.core_document());
        documents.insert("/apis".to_owned(), groups.apis_document());
        let mut paths: Vec<&str> = documents
            .keys()
            .map(String::as_str)
            .chain(other_paths.iter().map(String::as_str))
            .collect();
        paths.sort_unstable();
        paths.dedup();
        let index = json!({ "paths": paths });
        documents.insert("/".to_owned(), Document::legacy(index));
        Self { documents }
    }

    /// The answer to a request, or `None` when its path is no discovery path.
    pub fn respond(&self, parts: &Parts) -> Option<Response<Body>> {
        let document = self.documents.get(trimmed(parts.uri.path()))?;
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Some(method_not_allowed());
        }
        if !document.is_object() {
            return Some(document.legacy.json.respond(parts));
        }
        Some(match accepted(parts, &document.aggregated) {
            Some(form) => document.respond(parts, form),
            None => not_acceptable(document.aggregated.is_empty()),
        })
    }
}

impl Document {
    fn legacy(value: Value) -> Self {
        Self { legacy: Forms::legacy(&value), value, aggregated: Vec::new() }
    }

    fn with_aggregated(value: Value, items: &[Value]) -> Self {
        let aggregated = AGGREGATED.map(|(version, json_type, protobuf_type)| {
            let list = json!({
                "kind": "APIGroupDiscoveryList",
                "apiVersion": format!("apidiscovery.k8s.io/{version}"),
                "metadata": {},
                "items": items,
            });
            (version, Forms::new(json_type, protobuf_type, &list))
        });
        Self { aggregated: aggregated.into(), ..Self::legacy(value) }
    }

    /// `/version` and `/` are no API objects: they are JSON whatever a client accepts.
    fn is_object(&self) -> bool {
        self.value.get("kind").is_some()
    }

    fn respond(&self, parts: &Parts, form: Form) -> Response<Body> {
        let in_version = |version| {
            self.aggregated
                .iter()
                .find(|(v, _)| *v == version)
                .map_or(&self.legacy, |(_, forms)| forms)
        };
        match form {
            Form::Aggregated(version) => in_version(version).json.respond(parts),
            Form::AggregatedProtobuf(version) => in_version(version).protobuf().respond(parts),
            form => self.addressed(parts, form),
        }
    }

    /// The document, with the address by which this client reached the server where it names one.
    fn addressed(&self, parts: &Parts, form: Form) -> Response<Body> {
        if self.value.get(ADDRESSES).is_none() {
            return unaggregated(&self.value, &self.legacy, parts, form);
        }
        let host = parts.headers.get(HOST).and_then(|h| h.to_str().ok());
        let address = parts.uri.authority().map(Authority::as_str).or(host).unwrap_or_default();
        let mut value = self.value.clone();
        value[ADDRESSES] = json!([{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }]);
        unaggregated(&value, &Forms::legacy(&value), parts, form)
    }
}

fn unaggregated(value: &Value, forms: &Forms, parts: &Parts, form: Form) -> Response<Body> {
    match form {
        Form::Yaml => yaml(value),
        Form::Protobuf => forms.protobuf().respond(parts),
        _ => forms.json.respond(parts),
    }
}

fn version_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// `/apis/` is `/apis`; `/` stays.
fn trimmed(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(trimmed) => trimmed,
    }
}

/// The kind table by group and version, both in the order of importance.
struct Groups<'a> {
    versions: Vec<((&'a str, &'a str), Vec<&'static Resource>)>,
}

impl<'a> Groups<'a> {
    fn of(rows: &'static [Resource]) -> Self {
        let mut versions: BTreeMap<(&str, &str), Vec<&'static Resource>> = BTreeMap::new();
        for row in rows {
            versions.entry((row.group, row.version)).or_default().push(row);
        }
        let mut versions: Vec<_> = versions.into_iter().collect();
        for (_, rows) in &mut versions {
            rows.sort_by_key(|row| row.plural);
        }
        versions.sort_by_key(|((group, version), _)| {
            (group_rank(group), *group, Reverse(version_rank(version)))
        });
        Self { versions }
    }

    fn versions(&self) -> impl Iterator<Item = ((&'a str, &'a str), &[&'static Resource])> {
        self.versions.iter().map(|(gv, rows)| (*gv, rows.as_slice()))
    }

    fn names(&self) -> impl Iterator<Item = &'a str> {
        let mut last = None;
        self.versions
            .iter()
            .map(|((group, _), _)| *group)
            .filter(move |g| last.replace(*g) != Some(*g))
    }

    fn of_group(
        &self,
        group: &'a str,
    ) -> impl Iterator<Item = ((&'a str, &'a str), &[&'static Resource])> {
        self.versions().filter(move |((g, _), _)| *g == group)
    }

    /// The `APIGroup` of a group, without kind and version.
    fn group(&self, group: &'a str) -> Value {
        let version = |v: &str| json!({ "groupVersion": format!("{group}/{v}"), "version": v });
        let versions: Vec<Value> = self.of_group(group).map(|((_, v), _)| version(v)).collect();
        json!({ "name": group, "versions": versions, "preferredVersion": versions[0] })
    }

    fn core_document(&self) -> Document {
        let versions: Vec<&str> = self.of_group("").map(|((_, version), _)| version).collect();
        let value = json!({ "kind": "APIVersions", "versions": versions, ADDRESSES: [] });
        Document::with_aggregated(value, &[self.aggregated_group("")])
    }

    fn apis_document(&self) -> Document {
        let named = || self.names().filter(|g| !g.is_empty());
        let groups: Vec<Value> = named().map(|g| self.group(g)).collect();
        let items: Vec<Value> = named().map(|g| self.aggregated_group(g)).collect();
        let value = json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups });
        Document::with_aggregated(value, &items)
    }

    /// The `APIGroupDiscovery` of a group.
    fn aggregated_group(&self, group: &'a str) -> Value {
        let versions: Vec<Value> = self
            .of_group(group)
            .map(|((_, version), rows)| {
                let resources: Vec<Value> =
                    rows.iter().map(|row| aggregated_resource(row)).collect();
                json!({ "version": version, "freshness": "Current", "resources": resources })
            })
            .collect();
        let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
        json!({ "metadata": metadata, "versions": versions })
    }
}

fn group_rank(group: &str) -> usize {
    GROUP_ORDER.iter().position(|known| *known == group).unwrap_or(GROUP_ORDER.len())
}

/// Kubernetes' order of versions: stable before beta before alpha, then the higher number; others last.
fn version_rank(version: &str) -> (u8, u32, u32) {
    let parse = || -> Option<(u8, u32, u32)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        match &rest[digits..] {
            "" => Some((3, major, 0)),
            minor => match (minor.strip_prefix("beta"), minor.strip_prefix("alpha")) {
                (Some(n), _) => Some((2, major, n.parse().ok()?)),
                (_, Some(n)) => Some((1, major, n.parse().ok()?)),
                _ => None,
            },
        }
    };
    parse().unwrap_or_default()
}

/// The `APIResourceList` of a group and version.
fn resource_list(group: &str, version: &str, rows: &[&'static Resource]) -> Value {
    let resources: Vec<Value> = rows
        .iter()
        .flat_map(|row| {
            std::iter::once(api_resource(row))
                .chain(subresources(row).map(|s| api_subresource(row, s)))
        })
        .collect();
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list =
        json!({ "kind": "APIResourceList", "groupVersion": group_version, "resources": resources });
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    list
}

fn subresources(row: &Resource) -> impl Iterator<Item = &'static Subresource> + use<> {
    let mut subresources: Vec<_> = row.subresources.iter().collect();
    subresources.sort_by_key(|s| s.name);
    subresources.into_iter()
}

fn api_resource(row: &'static Resource) -> Value {
    let mut value = json!({
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced(),
        "kind": row.kind,
        "verbs": row.verbs,
        "storageVersionHash": storage_version_hash(row.stored()),
    });
    add_names(&mut value, row);
    value
}

fn add_names(value: &mut Value, row: &Resource) {
    if !row.short_names.is_empty() {
        value["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        value["categories"] = json!(row.categories);
    }
}

fn api_subresource(row: &Resource, subresource: &Subresource) -> Value {
    let mut value = json!({
        "name": format!("{}/{}", row.plural, subresource.name),
        "singularName": "",
        "namespaced": row.namespaced(),
        "kind": subresource.kind,
        "verbs": subresource.verbs,
    });
    if !subresource.version.is_empty() {
        value["group"] = subresource.group.into();
        value["version"] = subresource.version.into();
    }
    value
}

fn aggregated_resource(row: &Resource) -> Value {
    let mut value = json!({
        "resource": row.plural,
        "responseKind": api::schema::gvk("", "", row.kind),
        "scope": if row.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": row.verbs,
    });
    add_names(&mut value, row);
    let subresources: Vec<Value> = subresources(row)
        .map(|s| {
            json!({
                "subresource": s.name,
                "responseKind": api::schema::gvk(s.group, s.version, s.kind),
                "verbs": s.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        value["subresources"] = subresources.into();
    }
    value
}

/// The opaque hash by which clients tell that the stored version of a resource changed: the first eight bytes of
/// the SHA-256 of `group/version/kind`.
fn storage_version_hash(stored: &Resource) -> String {
    let Resource { group, version, kind, .. } = stored;
    let digest = digest::digest(&digest::SHA256, format!("{group}/{version}/{kind}").as_bytes());
    BASE64.encode(&digest.as_ref()[..8])
}

/// The first form of the Accept header that the document can be had in, by descending quality.
fn accepted(parts: &Parts, aggregated: &[(&'static str, Forms)]) -> Option<Form> {
    let header = parts
        .headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect::<Vec<_>>()
        .join(",");
    if header.trim().is_empty() {
        return Some(Form::Json);
    }
    let mut clauses: Vec<(f32, Form)> = header
        .split(',')
        .filter_map(|clause| {
            let (quality, form) = clause_form(clause, aggregated)?;
            (quality > 0.0).then_some((quality, form))
        })
        .collect();
    clauses.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    clauses.first().map(|(_, form)| *form)
}

fn clause_form(clause: &str, aggregated: &[(&'static str, Forms)]) -> Option<(f32, Form)> {
    let mut pieces = clause.split(';').map(str::trim);
    let media = pieces.next()?;
    let parameters: BTreeMap<&str, &str> = pieces.filter_map(|p| p.split_once('=')).collect();
    let quality = parameters.get("q").and_then(|q| q.parse().ok()).unwrap_or(1.0);
    let form = match (media, parameters.get("as")) {
        (JSON | "application/*" | "*/*", None) => Form::Json,
        (YAML, None) => Form::Yaml,
        (PROTOBUF, None) => Form::Protobuf,
        (JSON | PROTOBUF, Some(&"APIGroupDiscoveryList"))
            if parameters.get("g") == Some(&"apidiscovery.k8s.io") =>
        {
            let version = aggregated.iter().find(|(v, _)| parameters.get("v") == Some(v))?.0;
            match media {
                PROTOBUF => Form::AggregatedProtobuf(version),
                _ => Form::Aggregated(version),
            }
        }
        _ => return None,
    };
    Some((quality, form))
}

fn yaml(value: &Value) -> Response<Body> {
    built(
        Response::builder().header(CONTENT_TYPE, YAML),
        apimachinery::yaml::to_string(value).into(),
    )
}

fn not_acceptable(legacy_only: bool) -> Response<Body> {
    let aggregated = if legacy_only {
        ""
    } else {
        ", application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    };
    let message = format!(
        "only the following media types are accepted: {JSON}, {YAML}, {PROTOBUF}{aggregated}"
    );
    text(StatusCode::NOT_ACCEPTABLE, message)
}

/// The answer of `server`, or `None` when the path is no discovery path.
pub(crate) fn handle(
    server: &Arc<ApiServer>,
    parts: &Parts,
) -> Option<Result<Response<Body>, StatusError>> {
    server.discovery.respond(parts).map(Ok)
}

/// Every path outside of discovery, for the list at `/`; those of the keys only when there is an issuer of tokens.
pub(crate) fn other_paths(issues_tokens: bool) -> Vec<String> {
    let fixed = openapi::PATHS.iter().copied().chain([metrics::PATH]);
    let keys = service_account::PATHS.into_iter().filter(|_| issues_tokens);
    let fixed = fixed.chain(keys).map(str::to_owned);
    fixed.chain(health::Health::new().paths()).collect()
}

/// The plain-text 405 of a path that is not a resource.
pub(crate) fn method_not_allowed() -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed".to_owned());
    response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
    response
}

/// A plain-text answer.
pub(crate) fn text(status: StatusCode, message: String) -> Response<Body> {
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header("X-Content-Type-Options", "nosniff");
    built(response, message.into())
}

#[cfg(test)]
mod tests;
