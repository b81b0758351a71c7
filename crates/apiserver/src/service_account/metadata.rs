//! What relying parties read to verify tokens: the issuer's configuration and its public keys.
//!
//! Counterpart in Kubernetes: `pkg/routes/openidmetadata.go`.

use std::sync::Arc;

use apimachinery::status::StatusError;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::{SigningKey, TokenIssuer};
use crate::discovery::method_not_allowed;
use crate::{ApiServer, Body, responses};

const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
const JWKS_PATH: &str = "/openid/v1/jwks";
/// Both paths.
pub(crate) const PATHS: [&str; 2] = [CONFIGURATION_PATH, JWKS_PATH];
/// The key changes only with the data directory, so an hour is as good as any (Kubernetes: 3600).
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// The answer to a request, or `None` when its path is none of these.
pub(crate) fn handle(
    server: &Arc<ApiServer>,
    parts: &Parts,
) -> Option<Result<Response<Body>, StatusError>> {
    let issuer = server.config().token_issuer.as_ref()?;
    let path = parts.uri.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let (media_type, document): (_, fn(&TokenIssuer, &SigningKey) -> Value) = match path {
        CONFIGURATION_PATH => ("application/json", |issuer, _| configuration(issuer)),
        JWKS_PATH => ("application/jwk-set+json", |_, key| json!({ "keys": [key.jwk()] })),
        _ => return None,
    };
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Some(Ok(method_not_allowed()));
    }
    let Some(key) = issuer.key_now() else {
        return Some(Err(StatusError::service_unavailable("the key is still being made")));
    };
    let body = document(issuer, &key).to_string().into();
    let mut response = responses::with_body(StatusCode::OK, media_type, body);
    response.headers_mut().insert(CACHE_CONTROL, CACHE);
    Some(Ok(response))
}

fn configuration(issuer: &TokenIssuer) -> Value {
    json!({
        "issuer": issuer.issuer,
        "jwks_uri": issuer.jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}
