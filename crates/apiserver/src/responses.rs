//! From answers to HTTP responses.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/endpoints/handlers/responsewriters`.
//! Answers are made as JSON, and written in protobuf or YAML for those who ask. Invariant: [`error`] is the only place that turns an error into a response.

mod list_body;
mod pretty;
mod protobuf_list;

use api::schema::protobuf::{self, ProtobufError};
use apimachinery::status::StatusError;
use apimachinery::yaml;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER,
    VARY, WARNING,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::Serialize;
use std::io::Write;

use crate::Body;
use crate::negotiation::{Accepted, Format};

pub(crate) use list_body::ListBody;
pub(crate) use protobuf_list::{Items, ProtobufList};

/// Responses from this size on are compressed for clients that accept it (Kubernetes: 128 KiB).
const GZIP_FROM_BYTES: u64 = 128 * 1024;
/// All warnings of one response together; further ones are dropped (Kubernetes: 4 KiB of text).
const MAX_WARNING_BYTES: usize = 4096;

/// A response with compact JSON, shown in the format that the client accepts.
pub fn json(status: StatusCode, json: Bytes, format: Format) -> Response<Body> {
    let content = match format {
        Format::Json => json,
        Format::PrettyJson => pretty::indent(&json).into(),
        Format::Yaml => to_yaml(&json),
        Format::Protobuf => return protobuf(status, protobuf::encode(&json)),
    };
    with_body(status, format.media_type(), content.into())
}

/// A response in protobuf, or the error that there is none of what was asked for.
pub(crate) fn protobuf(
    status: StatusCode,
    content: Result<Vec<u8>, ProtobufError>,
) -> Response<Body> {
    match content {
        Ok(content) => with_body(status, protobuf::MEDIA_TYPE, content.into()),
        Err(error) => unencodable_response(&unencodable(&error)),
    }
}

/// `NotAcceptable` for kinds that have no protobuf form, such as `Table`.
pub(crate) fn unencodable(error: &ProtobufError) -> StatusError {
    match error {
        ProtobufError::Kind { kind, api_version } => {
            let version = api_version.rsplit('/').next().unwrap_or_default();
            StatusError::not_encodable(&format!("*{version}.{kind}"))
        }
        other => StatusError::internal(other),
    }
}

/// The error itself is in protobuf, as the client wants it.
fn unencodable_response(status: &StatusError) -> Response<Body> {
    let code = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = serde_json::to_vec(&*status.0).unwrap_or_default();
    match protobuf::encode(&json) {
        Ok(content) => with_body(code, protobuf::MEDIA_TYPE, content.into()),
        Err(_) => with_body(code, Format::Json.media_type(), json.into()),
    }
}

fn to_yaml(json: &[u8]) -> Bytes {
    let value = serde_json::from_slice(json).unwrap_or_default();
    yaml::to_string(&value).into()
}

/// A response with a value of ours, such as a `Status` or a `Scale`.
pub fn value(status: StatusCode, value: &impl Serialize, format: Format) -> Response<Body> {
    json(status, serde_json::to_vec(value).unwrap_or_default().into(), format)
}

/// A response with a body of this media type.
pub fn with_body(status: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The response to a request that failed.
pub fn error(error: &StatusError, accepted: &Accepted) -> Response<Body> {
    let status = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = value(status, &*error.0, accepted.format);
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The plain text that paths outside of every API are answered with.
pub fn page_not_found() -> Response<Body> {
    with_body(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".into())
}

/// Adds warnings for the client, each as `Warning: 299 - "…"`; repeated ones once.
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let mut seen: Vec<&String> = Vec::new();
    let mut bytes = 0;
    for warning in warnings {
        bytes += warning.len();
        if seen.contains(&warning) || bytes > MAX_WARNING_BYTES {
            continue;
        }
        seen.push(warning);
        if let Ok(header) = HeaderValue::from_bytes(warning_header(warning).as_bytes()) {
            response.headers_mut().append(WARNING, header);
        }
    }
}

fn warning_header(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 12);
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push(' '),
            plain => quoted.push(plain),
        }
    }
    format!("299 - \"{quoted}\"")
}

/// What every response carries.
pub fn finish(response: &mut Response<Body>, audit_id: &str) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(audit_id) {
        headers.insert("audit-id", id);
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
}

/// Compresses large answers for clients that accept it.
pub fn compress(request: &HeaderMap, response: Response<Body>) -> Response<Body> {
    let large = response.body().size_hint().exact().is_some_and(|size| size >= GZIP_FROM_BYTES);
    if !large || !accepts_gzip(request) || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, gzip(body))
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && parts.next().is_none_or(|q| q != "q=0")
    })
}

fn gzip(body: Body) -> Body {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let stream = futures::stream::unfold(Some((body, encoder)), |state| async move {
        let (mut body, mut encoder) = state?;
        let frame = loop {
            match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => break data,
                    Err(_) => continue,
                },
                Some(Err(error)) => return Some((Err(error), None)),
                None => return Some((encoder.finish().map(Bytes::from).map_err(Into::into), None)),
            }
        };
        let written =
            encoder.write_all(&frame).map(|()| Bytes::from(std::mem::take(encoder.get_mut())));
        Some((written.map_err(Into::into), Some((body, encoder))))
    });
    Body::from_stream(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_header_quotes_and_flattens() {
        assert_eq!(warning_header("unknown field \"a\"\nb"), "299 - \"unknown field \\\"a\\\" b\"");
    }

    #[test]
    fn accept_encoding_gzip_is_found() {
        for (value, expected) in
            [("gzip, deflate", true), ("br", false), ("gzip;q=0", false), ("br,gzip;q=0.5", true)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value.parse().expect("a header"));
            assert_eq!(accepts_gzip(&headers), expected, "{value}");
        }
    }
}
