//! Requests of the API server to itself.
//!
//! Counterpart in Kubernetes: the loopback client. They go through the request path like everybody's, as the server's own
//! identity.

use std::sync::Arc;

use api::kinds;
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use http::{Method, Request};
use http_body_util::BodyExt;
use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

use crate::authn::{GROUP_MASTERS, UserInfo};
use crate::{ApiServer, Body};

/// The identity of the API server toward itself.
const API_SERVER_USER: &str = "system:apiserver";

/// Creates an object.
///
/// # Errors
/// The `Status` the request is answered with.
pub(crate) async fn create<K: KubeObject + Resource>(
    server: &Arc<ApiServer>,
    object: &K,
) -> Result<(), StatusError> {
    send(server, Method::POST, collection_path(object), object).await
}

/// Replaces an object.
///
/// # Errors
/// The `Status` the request is answered with.
pub(crate) async fn update<K: KubeObject + Resource>(
    server: &Arc<ApiServer>,
    object: &K,
) -> Result<(), StatusError> {
    let name = object.meta().name.as_deref().unwrap_or_default();
    send(server, Method::PUT, format!("{}/{name}", collection_path(object)), object).await
}

fn collection_path<K: KubeObject + Resource>(object: &K) -> String {
    let row = kinds::of::<K>();
    let (root, plural) = (row.root(), row.plural);
    match object.meta().namespace.as_deref().unwrap_or_default() {
        "" => format!("{root}/{plural}"),
        namespace => format!("{root}/namespaces/{namespace}/{plural}"),
    }
}

async fn send(
    server: &Arc<ApiServer>,
    method: Method,
    path: String,
    object: &dyn KubeObject,
) -> Result<(), StatusError> {
    let mut request = Request::new(Body::from(object.to_vec()));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(StatusError::internal)?;
    request.extensions_mut().insert(UserInfo::authenticated(API_SERVER_USER, [GROUP_MASTERS]));
    let response = server.handle(request).await;
    if response.status().is_success() {
        return Ok(());
    }
    let body = response.into_body().collect().await.map_err(StatusError::internal)?.to_bytes();
    let refusal: Status = serde_json::from_slice(&body).map_err(StatusError::internal)?;
    Err(StatusError(Box::new(refusal)))
}
