//! `/openapi/v3` and `/openapi/v2`: every path and type of this server, in the forms clients read.
//!
//! Counterpart in Kubernetes: `kube-openapi` (builder, builder3, handler, handler3). Paths come from the kind table
//! (`operations`), types from [`api::schema`]; `render` writes them in either version and `gnostic` and `gnostic_v3` encode them in
//! protobuf, which older `kubectl`s read. Invariants: documents are built at their first use, never at start-up, and
//! kept as bytes; a URL with a hash always means the same bytes.

mod gnostic;
mod gnostic_v3;
mod operations;
mod parameters;
mod render;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use apimachinery::status::StatusError;
use http::header::{ACCEPT, CACHE_CONTROL, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::discovery::prepared::{Prepared, built};
use crate::discovery::{method_not_allowed, text};
use crate::{ApiServer, Body};

const JSON: &str = "application/json";
/// What old clients ask for; `@` is not allowed in a media type, so the answer is typed with a dot.
const PROTOBUF_ASKED: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];
const PROTOBUF_GIVEN: &str = PROTOBUF_ASKED[1];
/// The same for v3.
const PROTOBUF_V3_ASKED: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
];
const PROTOBUF_V3_GIVEN: &str = PROTOBUF_V3_ASKED[1];
const V2_PATH: &str = "/openapi/v2";
const V3_PATH: &str = "/openapi/v3";

/// The paths served here, for the list at `/`.
pub const PATHS: [&str; 2] = [V2_PATH, V3_PATH];

/// The OpenAPI documents of one server.
pub struct OpenApi {
    version: String,
    v2: OnceLock<V2>,
    v3: OnceLock<V3>,
}

struct V2 {
    json: Prepared,
    protobuf: Prepared,
}

struct V3 {
    index: Prepared,
    /// By path without the leading slash, e.g. `apis/apps/v1`.
    documents: BTreeMap<String, V3Document>,
}

struct V3Document {
    json: Prepared,
    /// Made when somebody asks for it, which hardly anybody does.
    protobuf: OnceLock<Prepared>,
}

impl V3Document {
    fn protobuf(&self) -> &Prepared {
        self.protobuf.get_or_init(|| {
            let document = serde_json::from_slice(self.json.bytes()).unwrap_or_default();
            Prepared::new(PROTOBUF_V3_GIVEN, gnostic_v3::encode(&document))
        })
    }
}

impl OpenApi {
    /// Documents that carry this server version; nothing is built yet.
    pub fn new(version: impl Into<String>) -> Self {
        Self { version: version.into(), v2: OnceLock::new(), v3: OnceLock::new() }
    }

    /// The answer to a request, or `None` when its path is no OpenAPI path. The first request takes tens of
    /// milliseconds; call [`OpenApi::warm`] from a blocking thread to spare it that.
    pub fn respond(&self, parts: &Parts) -> Option<Response<Body>> {
        let path = parts.uri.path().trim_end_matches('/');
        let answer = match path.strip_prefix(V3_PATH) {
            _ if path == V2_PATH => self.v2(parts),
            Some("") => self.documents().index.respond(parts),
            Some(rest) => self.v3(rest.strip_prefix('/')?, parts)?,
            None => return None,
        };
        Some(if matches!(parts.method, Method::GET | Method::HEAD) {
            answer
        } else {
            method_not_allowed()
        })
    }

    /// Builds every document now.
    pub fn warm(&self) {
        self.documents();
        self.swagger();
    }

    fn v2(&self, parts: &Parts) -> Response<Body> {
        let v2 = self.swagger();
        match wants_protobuf(parts, PROTOBUF_ASKED) {
            Some(true) => v2.protobuf.respond(parts),
            Some(false) => v2.json.respond(parts),
            None => text(
                StatusCode::NOT_ACCEPTABLE,
                format!("only {JSON} and {PROTOBUF_GIVEN} are available"),
            ),
        }
    }

    fn v3(&self, name: &str, parts: &Parts) -> Option<Response<Body>> {
        let document = self.documents().documents.get(name)?;
        let respond = || match wants_protobuf(parts, PROTOBUF_V3_ASKED) {
            Some(true) => document.protobuf().respond(parts),
            Some(false) => document.json.respond(parts),
            None => text(
                StatusCode::NOT_ACCEPTABLE,
                format!("only {JSON} and {PROTOBUF_V3_GIVEN} are available"),
            ),
        };
        let query = parts.uri.query().unwrap_or_default();
        let asked = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "hash");
        Some(match asked {
            Some((_, hash)) if hash == document.json.etag() => immutable(respond()),
            Some(_) => {
                let url = server_relative_url(name, &document.json);
                built(
                    Response::builder().status(StatusCode::MOVED_PERMANENTLY).header(LOCATION, url),
                    Body::empty(),
                )
            }
            None => respond(),
        })
    }

    fn swagger(&self) -> &V2 {
        self.v2.get_or_init(|| {
            let document = render::v2(&self.version);
            V2 {
                json: Prepared::new(JSON, document.to_string().into_bytes()),
                protobuf: Prepared::new(PROTOBUF_GIVEN, gnostic::encode(&document)),
            }
        })
    }

    fn documents(&self) -> &V3 {
        self.v3.get_or_init(|| {
            let documents: BTreeMap<String, V3Document> = render::v3(&self.version)
                .into_iter()
                .map(|(name, document)| {
                    let json = Prepared::new(JSON, document.to_string().into_bytes());
                    (name, V3Document { json, protobuf: OnceLock::new() })
                })
                .collect();
            let paths: BTreeMap<&str, Value> = documents
                .iter()
                .map(|(name, d)| {
                    (
                        name.as_str(),
                        json!({ "serverRelativeURL": server_relative_url(name, &d.json) }),
                    )
                })
                .collect();
            V3 {
                index: Prepared::new(JSON, json!({ "paths": paths }).to_string().into_bytes()),
                documents,
            }
        })
    }
}

/// The answer of `server`, or `None` when the path is no OpenAPI path.
pub(crate) fn handle(
    server: &Arc<ApiServer>,
    parts: &Parts,
) -> Option<Result<Response<Body>, StatusError>> {
    server.openapi.respond(parts).map(Ok)
}

fn server_relative_url(name: &str, document: &Prepared) -> String {
    format!("{V3_PATH}/{name}?hash={}", document.etag())
}

/// What is asked for by its hash never changes.
fn immutable(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    response
}

/// Whether a document is wanted as protobuf, which goes by these names; `None` when neither form is accepted.
fn wants_protobuf(parts: &Parts, names: [&str; 2]) -> Option<bool> {
    accepted(parts).iter().find_map(|media| match media.as_str() {
        media if names.contains(&media) => Some(true),
        JSON | "application/*" | "*/*" => Some(false),
        _ => None,
    })
}

/// The media types a client accepts, in the order it names them; anything when it names none.
fn accepted(parts: &Parts) -> Vec<String> {
    let values = parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<String> = values
        .flat_map(|value| value.split(','))
        .map(|clause| clause.split(';').next().unwrap_or_default().trim().to_owned())
        .filter(|media| !media.is_empty())
        .collect();
    if named.is_empty() { vec!["*/*".to_owned()] } else { named }
}

#[cfg(test)]
mod tests;
