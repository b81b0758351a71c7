//! ComponentStatuses: the store is the one part of the control plane that this server needs, so it is the one it tells about.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/componentstatus`. Nothing is stored: the answer is made when it is asked for.

use std::sync::Arc;

use api::kinds;
use apimachinery::status::StatusError;
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::{ComponentCondition, ComponentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::list::{self, ListOptions};
use super::page::Page;
use super::{Call, output};
use crate::storage::{self, Encoded};
use crate::table::ListMeta;
use crate::{ApiServer, Body};

/// The name the store goes by, as health checks call it.
const STORE: &str = "etcd-0";

/// Answers with one.
pub(super) async fn get(call: &Call) -> Result<Response<Body>, StatusError> {
    let found = all(&call.server).await?.into_iter().find(|c| *c.key() == call.key());
    let component = found.ok_or_else(|| call.not_found())?;
    output::object(call, StatusCode::OK, (*component).clone())
}

/// Answers with all that are selected.
pub(super) async fn list(call: &Call) -> Result<Response<Body>, StatusError> {
    let predicate = ListOptions::parse(call)?.predicate(call);
    let items = all(&call.server).await?.into_iter().filter(|c| predicate.matches(c)).collect();
    let page = Page { items, next: None, remaining: None };
    list::render(call, page, &ListMeta::default()).await
}

async fn all(server: &ApiServer) -> Result<Vec<Arc<Encoded>>, StatusError> {
    let row = kinds::of::<ComponentStatus>();
    let healthy = server.cache.read_your_writes().await;
    let condition = ComponentCondition {
        type_: "Healthy".to_owned(),
        status: if healthy.is_ok() { "True" } else { "False" }.to_owned(),
        message: Some(if healthy.is_ok() { "ok".to_owned() } else { String::new() }),
        error: healthy.err().map(|_| "the store does not answer".to_owned()),
    };
    let metadata = ObjectMeta { name: Some(STORE.to_owned()), ..ObjectMeta::default() };
    let mut component = ComponentStatus { metadata, conditions: Some(vec![condition]) };
    let value = storage::encode(row, &mut component);
    let encoded = Encoded::new(row, storage::key(row, "", STORE), &value, 0)
        .map_err(StatusError::internal)?;
    Ok(vec![Arc::new(encoded)])
}
