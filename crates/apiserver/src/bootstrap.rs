//! The objects every cluster has from its first second.
//!
//! Counterpart in Kubernetes: the `systemnamespaces` controller. They are created through the request path, as the API server's
//! own identity, and left alone when they exist.

use std::sync::Arc;

use api::kinds;
use apimachinery::status::StatusError;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status};

use crate::authn::{GROUP_MASTERS, UserInfo};
use crate::{ApiServer, Body};

/// The identity of the API server toward itself.
const API_SERVER_USER: &str = "system:apiserver";

/// Namespaces that always exist and cannot be deleted.
pub(crate) const SYSTEM_NAMESPACES: [&str; 4] =
    ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Creates what is missing.
pub(crate) async fn run(server: &Arc<ApiServer>) -> Result<(), StatusError> {
    for name in SYSTEM_NAMESPACES {
        ensure_namespace(server, name).await?;
    }
    Ok(())
}

async fn ensure_namespace(server: &Arc<ApiServer>, name: &str) -> Result<(), StatusError> {
    let row = kinds::of::<Namespace>();
    if server.get_json(row, "", name).await.is_ok() {
        return Ok(());
    }
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let mut request = Request::new(Body::from(serde_json::to_vec(&namespace).unwrap_or_default()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() =
        format!("/api/{}/{}", row.version, row.plural).parse().map_err(StatusError::internal)?;
    request.extensions_mut().insert(UserInfo::authenticated(API_SERVER_USER, [GROUP_MASTERS]));
    let response = server.handle(request).await;
    let status = response.status();
    if status.is_success() || status == StatusCode::CONFLICT {
        return Ok(());
    }
    let body = response.into_body().collect().await.map_err(StatusError::internal)?.to_bytes();
    let refusal: Status = serde_json::from_slice(&body).map_err(StatusError::internal)?;
    Err(StatusError(Box::new(refusal)))
}
