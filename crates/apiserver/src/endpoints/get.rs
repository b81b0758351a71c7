//! GET of one object: bytes from the watch cache.
//!
//! Counterpart in Kubernetes: `endpoints/handlers/get.go`.

use std::sync::Arc;

use api::kinds::Resource;
use apimachinery::status::StatusError;
use http::{Response, StatusCode};

use super::{Call, list, output};
use crate::storage::{self, Encoded};
use crate::{ApiServer, Body};

/// Answers with one object.
pub(crate) async fn get(call: &Call) -> Result<Response<Body>, StatusError> {
    let server = &call.server;
    list::wait(&server.cache, list::parse_revision(call.query.text("resourceVersion"))?).await?;
    let found = cached(server, call.resource, &call.key()).ok_or_else(|| call.not_found())?;
    output::object(call, StatusCode::OK, (*found).clone())
}

/// One object with every write answered before.
pub(crate) async fn read(
    server: &ApiServer,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Arc<Encoded>, StatusError> {
    list::wait(&server.cache, None).await?;
    let key = storage::key(resource, namespace, name);
    cached(server, resource, &key)
        .ok_or_else(|| StatusError::not_found(&resource.group_resource(), name))
}

fn cached(server: &ApiServer, resource: &Resource, key: &str) -> Option<Arc<Encoded>> {
    server.cache.of(resource)?.get(key)
}
