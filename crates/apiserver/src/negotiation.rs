//! Which format a client sends and wants.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/endpoints/handlers/negotiation`.
//! JSON, YAML and protobuf are served and read; clients that prefer CBOR name one of them as well.

use api::schema::protobuf;
use apimachinery::status::StatusError;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};

/// How bytes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Compact JSON.
    #[default]
    Json,
    /// JSON with two spaces of indentation, for people with `curl`.
    PrettyJson,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf.
    Protobuf,
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::PrettyJson => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => protobuf::MEDIA_TYPE,
        }
    }

    /// The media type of a watch, which is no watch in YAML.
    pub fn watch_media_type(self) -> Option<&'static str> {
        match self {
            Self::Json | Self::PrettyJson => Some("application/json"),
            Self::Yaml => None,
            Self::Protobuf => Some(protobuf::WATCH_MEDIA_TYPE),
        }
    }
}

/// What an object is shown as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum As {
    /// As itself.
    #[default]
    Object,
    /// As rows of a `Table`.
    Table,
    /// Only its metadata, as `PartialObjectMetadata` (or a list of them).
    PartialObjectMetadata,
}

/// The version of `meta.k8s.io` that transformed objects carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetaVersion {
    /// `meta.k8s.io/v1`.
    #[default]
    V1,
    /// `meta.k8s.io/v1beta1`.
    V1beta1,
}

impl MetaVersion {
    /// The `apiVersion`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What a client accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How it wants bytes.
    pub format: Format,
    /// What it wants objects shown as.
    pub shown_as: As,
    /// In which version of `meta.k8s.io`.
    pub meta_version: MetaVersion,
}

/// Media types that are served, in the order error messages name them.
const SERVED: [(&str, Format); 3] = [
    ("application/json", Format::Json),
    ("application/yaml", Format::Yaml),
    (protobuf::MEDIA_TYPE, Format::Protobuf),
];

/// Whether the endpoint can show Tables and metadata only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transforms {
    /// It serves objects of the kind table.
    Allowed,
    /// It serves something else.
    Refused,
}

/// Finds what to answer with.
///
/// # Errors
/// `NotAcceptable` when nothing in `Accept` can be served.
pub fn accept(
    headers: &HeaderMap,
    query: &str,
    transforms: Transforms,
) -> Result<Accepted, StatusError> {
    let mut accepted = match joined(headers) {
        Some(header) => best(&header, transforms).ok_or_else(not_acceptable)?,
        None => Accepted::default(),
    };
    if accepted.format == Format::Json && wants_pretty(headers, query) {
        accepted.format = Format::PrettyJson;
    }
    Ok(accepted)
}

/// What an error is written in, whatever the client accepts: an error is never shown as anything else, and a client that
/// accepts no form of it gets indented JSON.
pub fn accept_for_error(headers: &HeaderMap, query: &str) -> Accepted {
    let fallback = || Accepted { format: Format::PrettyJson, ..Accepted::default() };
    accept(headers, query, Transforms::Refused).unwrap_or_else(|_| fallback())
}

fn joined(headers: &HeaderMap) -> Option<String> {
    let values: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    Some(values.join(",")).filter(|header| !header.trim().is_empty())
}

fn not_acceptable() -> StatusError {
    StatusError::not_acceptable(&SERVED.map(|(name, _)| name))
}

struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

fn best(header: &str, transforms: Transforms) -> Option<Accepted> {
    let mut clauses: Vec<Clause<'_>> =
        header.split(',').map(clause).filter(|c| c.quality > 0.0).collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality).then(exactness(b).cmp(&exactness(a))));
    clauses.iter().find_map(|clause| served(clause, transforms))
}

/// Full wildcards come after half ones, and those after exact types.
fn exactness(clause: &Clause<'_>) -> u8 {
    match clause.media_type {
        "*/*" | "*" => 0,
        half if half.ends_with("/*") => 1,
        _ => 2,
    }
}

fn clause(text: &str) -> Clause<'_> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let pairs = parts.filter_map(|part| part.split_once('='));
    let parameters: Vec<_> =
        pairs.map(|(key, value)| (key.trim(), value.trim().trim_matches('"'))).collect();
    let quality =
        parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, value)| value.parse().ok());
    Clause { media_type, parameters, quality: quality.unwrap_or(1.0) }
}

fn served(clause: &Clause<'_>, transforms: Transforms) -> Option<Accepted> {
    let format = match clause.media_type {
        "*/*" | "*" | "application/*" => Format::Json,
        exact => SERVED.iter().find(|(name, _)| exact.eq_ignore_ascii_case(name))?.1,
    };
    let parameter = |wanted: &str| {
        clause.parameters.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value)
    };
    let refused = |name: &str, served: &str| {
        parameter(name).is_some_and(|asked| !asked.is_empty() && asked != served)
    };
    if refused("stream", "watch") || refused("sv", "v1") {
        return None;
    }
    let pretty = parameter("pretty") == Some("1") && format == Format::Json;
    let format = if pretty { Format::PrettyJson } else { format };
    let (kind, group, version) = (parameter("as"), parameter("g"), parameter("v"));
    if kind.is_none() && group.is_none() && version.is_none() {
        return Some(Accepted { format, ..Accepted::default() });
    }
    let (shown_as, meta_version) = transformation(kind?, group?, version?, transforms)?;
    if shown_as == As::Table && format == Format::Protobuf {
        return None;
    }
    Some(Accepted { format, shown_as, meta_version })
}

fn transformation(
    kind: &str,
    group: &str,
    version: &str,
    transforms: Transforms,
) -> Option<(As, MetaVersion)> {
    let version = match version {
        "v1" => MetaVersion::V1,
        "v1beta1" => MetaVersion::V1beta1,
        _ => return None,
    };
    let shown_as = match kind {
        "Table" => As::Table,
        "PartialObjectMetadata" | "PartialObjectMetadataList" => As::PartialObjectMetadata,
        _ => return None,
    };
    (group == "meta.k8s.io" && transforms == Transforms::Allowed).then_some((shown_as, version))
}

fn wants_pretty(headers: &HeaderMap, query: &str) -> bool {
    let asked = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "pretty");
    if let Some((_, value)) = asked.filter(|(_, value)| !value.is_empty()) {
        return matches!(value.as_ref(), "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|human| agent.starts_with(human))
}

/// How the body of a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf, which Go clients send.
    Protobuf,
}

const READ: [(&str, BodyFormat); 3] = [
    ("application/json", BodyFormat::Json),
    ("application/yaml", BodyFormat::Yaml),
    (protobuf::MEDIA_TYPE, BodyFormat::Protobuf),
];

/// The format of a body that is an object.
///
/// # Errors
/// `UnsupportedMediaType` for anything but JSON, YAML and protobuf.
pub fn content_type(headers: &HeaderMap) -> Result<BodyFormat, StatusError> {
    let media_type = media_type(headers);
    if media_type.is_empty() {
        return Ok(BodyFormat::Json);
    }
    let known = READ.iter().find(|(name, _)| *name == media_type).map(|(_, format)| *format);
    known.ok_or_else(|| StatusError::unsupported_media_type(&READ.map(|(name, _)| name)))
}

/// The media type of a body without its parameters, in lower case; empty if none is given.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(header: &str) -> Option<Accepted> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, header.parse().expect("a header"));
        accept(&headers, "", Transforms::Allowed).ok()
    }

    #[test]
    fn accept_clauses_choose_by_quality_then_order() {
        let json = Accepted::default();
        let yaml = Accepted { format: Format::Yaml, ..json };
        let protobuf = Accepted { format: Format::Protobuf, ..json };
        let table = Accepted { shown_as: As::Table, ..json };
        let beta = Accepted { meta_version: MetaVersion::V1beta1, ..table };
        let partial = Accepted { shown_as: As::PartialObjectMetadata, ..json };
        let rows = [
            ("application/json", Some(json)),
            ("*/*", Some(json)),
            ("application/yaml", Some(yaml)),
            ("application/json;q=0.5,application/yaml", Some(yaml)),
            ("*/*, application/yaml", Some(yaml)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(protobuf)),
            ("application/vnd.kubernetes.protobuf", Some(protobuf)),
            ("application/vnd.kubernetes.protobuf;stream=watch", Some(protobuf)),
            ("application/vnd.kubernetes.protobuf;q=0.1,application/json", Some(json)),
            ("application/cbor", None),
            ("text/plain", None),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(table)),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Some(beta)),
            ("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", Some(json)),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(partial)),
            ("application/json;as=Other;g=meta.k8s.io;v=v1", None),
            ("application/json;stream=watch", Some(json)),
            ("application/json;stream=other", None),
            ("application/json;sv=v2, application/yaml;sv=v1", Some(yaml)),
            (
                "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json",
                Some(json),
            ),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
                Some(Accepted { format: Format::Protobuf, ..partial }),
            ),
        ];
        for (header, expected) in rows {
            assert_eq!(accepted(header), expected, "{header}");
        }
    }

    #[test]
    fn accept_for_error_never_transforms() {
        let format = |header: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, header.parse().expect("a header"));
            accept_for_error(&headers, "").format
        };
        let metadata =
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        assert_eq!(format("application/vnd.kubernetes.protobuf"), Format::Protobuf);
        assert_eq!(format(&format!("{metadata},application/json")), Format::Json);
        assert_eq!(format(metadata), Format::PrettyJson);
        assert_eq!(format("text/html"), Format::PrettyJson);
    }

    #[test]
    fn accept_curl_gets_pretty_json() {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, "curl/8".parse().expect("a header"));
        let format = |query| accept(&headers, query, Transforms::Allowed).expect("accepted").format;
        assert_eq!(format(""), Format::PrettyJson);
        assert_eq!(format("pretty=false"), Format::Json);
    }
}
