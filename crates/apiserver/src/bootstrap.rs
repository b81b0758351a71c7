//! The objects every cluster has from its first second.
//!
//! Counterpart in Kubernetes: the `systemnamespaces` controller and `scheduling/bootstrap-system-priority-classes`. They are
//! created through the request path, as the API server's own identity, and left alone when they exist.

use std::sync::Arc;

use api::kinds;
use api::scheduling::priority_class::SYSTEM_CLASSES;
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::scheduling::v1::PriorityClass;
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
        let namespace = Namespace { metadata: named(name), ..Namespace::default() };
        ensure(server, &namespace).await?;
    }
    for (name, value) in SYSTEM_CLASSES {
        let (metadata, value) = (named(name), Some(value));
        let class = PriorityClass { metadata, value, ..PriorityClass::default() };
        ensure(server, &class).await?;
    }
    Ok(())
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// Creates a cluster-wide object unless there is one of its name.
async fn ensure<K: KubeObject + Resource>(
    server: &Arc<ApiServer>,
    object: &K,
) -> Result<(), StatusError> {
    let row = kinds::of::<K>();
    let name = object.meta().name.as_deref().unwrap_or_default();
    if server.get_json(row, "", name).await.is_ok() {
        return Ok(());
    }
    let mut request = Request::new(Body::from(object.to_vec()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() =
        format!("{}/{}", row.root(), row.plural).parse().map_err(StatusError::internal)?;
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
