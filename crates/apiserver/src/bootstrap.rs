//! The objects every cluster has from its first second.
//!
//! Counterpart in Kubernetes: the `systemnamespaces` controller and `scheduling/bootstrap-system-priority-classes`. They are
//! created through the request path, as the API server's own identity, and left alone when they exist.

use std::sync::Arc;

use api::kinds;
use api::scheduling::priority_class::SYSTEM_CLASSES;
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use http::StatusCode;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{ApiServer, loopback};

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
    match loopback::create(server, object).await {
        Err(error) if error.code() != StatusCode::CONFLICT.as_u16() => Err(error),
        _ => Ok(()),
    }
}
