//! Documents that are built once and served as bytes: discovery and OpenAPI.
//!
//! Counterpart in Kubernetes: `aggregated.ServeHTTPWithETag` and `kube-openapi/pkg/handler`. Invariant: the ETag is a
//! function of the bytes of the document, so equal tags mean equal documents.

use std::io::Write;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::request::Parts;
use http::{Response, StatusCode};
use ring::digest;

use crate::Body;

/// Below this many bytes compressing costs more than it saves; Kubernetes' own threshold is 128 KiB for lists, but these
/// documents are compressed only once.
const GZIP_FROM_BYTES: usize = 4096;

/// A document ready to send.
#[derive(Debug)]
pub struct Prepared {
    content_type: &'static str,
    etag: String,
    bytes: Bytes,
    compressed: OnceLock<Bytes>,
}

impl Prepared {
    /// A document of these bytes; its ETag is their hash.
    pub fn new(content_type: &'static str, bytes: Vec<u8>) -> Self {
        let etag = hash(&bytes);
        Self { content_type, etag, bytes: bytes.into(), compressed: OnceLock::new() }
    }

    /// The document.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash that names this version of the document, without quotes.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Answers a request: 304 when the client has this version, compressed when it asks for that.
    pub fn respond(&self, parts: &Parts) -> Response<Body> {
        let quoted = format!("\"{}\"", self.etag);
        let response = Response::builder()
            .header(ETAG, &quoted)
            .header(VARY, "Accept, Accept-Encoding")
            .header(CACHE_CONTROL, "public");
        if has_version(parts, &quoted) {
            return built(response.status(StatusCode::NOT_MODIFIED), Body::empty());
        }
        let response = response.header(CONTENT_TYPE, self.content_type);
        if self.bytes.len() < GZIP_FROM_BYTES || !accepts_gzip(parts) {
            return built(response, self.bytes.clone().into());
        }
        let compressed = self.compressed.get_or_init(|| gzip(&self.bytes)).clone();
        built(response.header(CONTENT_ENCODING, "gzip"), compressed.into())
    }
}

/// Finishes a response whose headers are all well-formed by construction.
pub(crate) fn built(response: http::response::Builder, body: Body) -> Response<Body> {
    response.body(body).expect("status and headers are well-formed")
}

fn has_version(parts: &Parts, quoted: &str) -> bool {
    let tags = parts.headers.get_all(IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    tags.flat_map(|v| v.split(',')).any(|tag| tag.trim().trim_start_matches("W/") == quoted)
}

fn accepts_gzip(parts: &Parts) -> bool {
    let offers = parts.headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    offers.flat_map(|v| v.split(',')).any(|offer| {
        let (coding, parameters) = offer.split_once(';').unwrap_or((offer, ""));
        let refused = matches!(parameters.trim(), "q=0" | "q=0.0");
        matches!(coding.trim(), "gzip" | "*") && !refused
    })
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(4));
    encoder.write_all(bytes).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail").into()
}

fn hash(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA512, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http_body_util::BodyExt;

    fn parts(headers: &[(&'static str, &str)]) -> Parts {
        let request = headers.iter().fold(Request::builder(), |r, (k, v)| r.header(*k, *v));
        request.body(()).unwrap().into_parts().0
    }

    fn document() -> Prepared {
        Prepared::new("application/json", vec![b'x'; GZIP_FROM_BYTES])
    }

    #[test]
    fn prepared_known_version_is_not_modified() {
        let tag = format!("\"{}\"", document().etag());
        for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}")] {
            let response = document().respond(&parts(&[("if-none-match", &known)]));
            assert_eq!(response.status(), 304);
            assert_eq!(response.headers()[ETAG], tag);
        }
        assert_eq!(document().respond(&parts(&[("if-none-match", "\"other\"")])).status(), 200);
    }

    #[tokio::test]
    async fn prepared_is_compressed_for_those_who_ask() {
        let plain = document().respond(&parts(&[("accept-encoding", "br, gzip;q=0")]));
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        let response = document().respond(&parts(&[("accept-encoding", "br, gzip;q=0.8")]));
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        let compressed = response.into_body().collect().await.unwrap().to_bytes();
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&compressed[..]), &mut plain)
            .unwrap();
        assert_eq!(plain, document().bytes.to_vec());
    }
}
