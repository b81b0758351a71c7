//! Bindings: how the scheduler gives a pod its node.
//!
//! Counterpart in Kubernetes: `BindingREST` of `pkg/registry/core/pod/storage`.
//! Invariant: a pod is bound once; its `PodScheduled` condition becomes true in the same write.

use std::sync::Arc;

use api::core::pod::binding;
use api::kinds;
use apimachinery::field;
use apimachinery::gvk::GroupResource;
use apimachinery::object::KubeObject;
use apimachinery::status::{self, StatusError};
use apimachinery::time;
use http::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::{Binding, Pod};

use super::options::{Query, WriteOptions};
use super::update::MODIFIED;
use super::{Call, payload};
use crate::authn::UserInfo;
use crate::negotiation::{self, Transforms};
use crate::request_info::RequestInfo;
use crate::storage::{Change, Current};
use crate::{ApiServer, Body, responses};

/// The collection that takes Bindings of any pod of a namespace. It stores nothing, so it has no row in the kind table.
pub(super) const COLLECTION: &str = "bindings";

/// Answers `POST …/bindings`, where the Binding itself names the pod.
pub(super) async fn create_in_collection(
    server: &Arc<ApiServer>,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, StatusError> {
    if info.verb != "create" || info.namespace.is_empty() {
        return Err(StatusError::method_not_allowed());
    }
    let (parts, body) = request.into_parts();
    let text = parts.uri.query().unwrap_or_default().to_owned();
    let accepted = negotiation::accept(&parts.headers, &text, Transforms::Refused)?;
    let user = parts.extensions.get::<UserInfo>().cloned().unwrap_or_default();
    let resource = kinds::of::<Pod>();
    let query = Query::parse(&text);
    let call = Call {
        server: server.clone(),
        resource,
        served: resource,
        info: info.clone(),
        user,
        parts,
        query,
        accepted,
        allocation: Default::default(),
    };
    create(call, body).await
}

/// Answers `POST …/pods/NAME/binding`.
pub(super) async fn create(mut call: Call, body: Body) -> Result<Response<Body>, StatusError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let bytes = payload::read(&call.parts.headers, body).await?;
    let (binding, warnings): (Binding, _) =
        payload::typed(&call.parts.headers, &bytes, options.field_validation)?;
    check(&mut call, &binding)?;
    let decide = |current: Option<&Current>| {
        let current = current.ok_or_else(|| call.not_found())?;
        bind(&call, &binding, current)
    };
    call.server.storage.update(call.resource, &call.key(), options.mode, decide).await?;
    let mut done = status::success();
    done.code = Some(i32::from(StatusCode::CREATED.as_u16()));
    let mut response = responses::value(StatusCode::CREATED, &done, call.accepted.format);
    responses::warn(&mut response, &warnings);
    Ok(response)
}

fn check(call: &mut Call, binding: &Binding) -> Result<(), StatusError> {
    let name = binding.metadata.name.clone().unwrap_or_default();
    if call.info.name.is_empty() {
        call.info.name.clone_from(&name);
    }
    if name != call.info.name {
        return Err(StatusError::bad_request("name in URL does not match name in Binding object"));
    }
    let namespace = binding.metadata.namespace.as_deref().unwrap_or_default();
    if !namespace.is_empty() && namespace != call.info.namespace {
        let message =
            "the namespace of the provided object does not match the namespace sent on the request";
        return Err(StatusError::bad_request(message));
    }
    let errors = binding::validate(binding);
    if !errors.is_empty() {
        return Err(StatusError::new(500, "", field::aggregate(&errors), None));
    }
    Ok(())
}

fn bind(call: &Call, binding: &Binding, current: &Current) -> Result<Change, StatusError> {
    let mut object = current.object.clone_object();
    let pod: &mut Pod = object
        .as_any_mut()
        .downcast_mut()
        .ok_or_else(|| StatusError::internal("only pods are bound"))?;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let resource = GroupResource::new(call.served.group, format!("{}/binding", call.served.plural));
    binding::bind(pod, binding, time::now().0)
        .map_err(|reason| StatusError::conflict(&resource, &name, reason))?;
    if let Some(reason) = failed_precondition(binding, pod) {
        return Err(StatusError::conflict(&call.group_resource(), &name, reason));
    }
    Ok(Change::Put(object))
}

fn failed_precondition(binding: &Binding, pod: &Pod) -> Option<String> {
    let wanted = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    let is = KubeObject::meta(pod).uid.clone().unwrap_or_default();
    if let Some(uid) = wanted(&binding.metadata.uid).filter(|uid| *uid != is) {
        return Some(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {is}"
        ));
    }
    let version = wanted(&binding.metadata.resource_version)?;
    (pod.metadata.resource_version.as_ref() != Some(&version)).then(|| MODIFIED.to_owned())
}
