//! The `scale` subresource: how many replicas a workload wishes for.
//!
//! Counterpart in Kubernetes: `ScaleREST` of the workloads' registries.
//! Invariant: only the number of replicas changes; the change is validated as an update of the workload.

use api::scale::{Scale, validate, wished_replicas};
use apimachinery::gvk::{GroupKind, GroupResource};
use apimachinery::status::StatusError;
use http::{Response, StatusCode};
use serde_json::Value;

use super::options::WriteOptions;
use super::patch::Patch;
use super::update::{self, Part};
use super::{Call, get, payload};
use crate::storage::{Change, Current, Encoded, Mode};
use crate::{Body, responses};

/// The OpenAPI definition of a Scale.
const SCHEMA_NAME: &str = "io.k8s.api.autoscaling.v1.Scale";

fn kind() -> GroupKind {
    GroupKind::new("autoscaling", "Scale")
}

/// Answers a GET.
pub(super) async fn get(call: &Call) -> Result<Response<Body>, StatusError> {
    let object = get::read(&call.server, call.resource, call.namespace(), &call.info.name).await?;
    show(call, &object)
}

/// Answers a PUT.
pub(super) async fn update(call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    let bytes = payload::read(&call.parts.headers, body).await?;
    let (wanted, warnings): (Scale, _) =
        payload::typed(&call.parts.headers, &bytes, options.field_validation)?;
    let (given, expected) = (wanted.metadata.name.as_deref().unwrap_or_default(), &call.info.name);
    if given != expected {
        let message = format!(
            "the name of the object ({given}) does not match the name on the URL ({expected})"
        );
        return Err(StatusError::bad_request(message));
    }
    write(call, options.mode, |_| Ok((wanted.clone(), warnings.clone()))).await
}

/// Answers a PATCH.
pub(super) async fn patch(call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let options = WriteOptions::parse(&call.query, "PatchOptions")?;
    let patch = Patch::read(call, body, options.field_validation).await?;
    let patched = |current: &Scale| {
        let original: Value = serde_json::to_value(current).map_err(StatusError::internal)?;
        let value = patch.apply(&original, SCHEMA_NAME)?;
        payload::typed_tree(value, options.field_validation)
            .map_err(|error| patch.refused(call, &error))
    };
    write(call, options.mode, patched).await
}

async fn write(
    call: &Call,
    mode: Mode,
    wanted: impl Fn(&Scale) -> Result<(Scale, Vec<String>), StatusError>,
) -> Result<Response<Body>, StatusError> {
    let mut warnings = Vec::new();
    let decide = |current: Option<&Current>| {
        let current = current.ok_or_else(|| call.not_found())?;
        let (scale, found) = wanted(&scale_of(call, current)?)?;
        let mut of_workload = Vec::new();
        let change = rescale(call, &scale, current, &mut of_workload);
        warnings = [found, of_workload].concat();
        change
    };
    let updated = call.server.storage.update(call.resource, &call.key(), mode, decide).await?;
    let stored = update::settle(call, updated, mode).await;
    let mut response = show(call, &stored)?;
    responses::warn(&mut response, &warnings);
    Ok(response)
}

fn scale_of(call: &Call, current: &Current) -> Result<Scale, StatusError> {
    call.resource.strategy.scale(current.object.as_ref()).ok_or_else(StatusError::no_such_resource)
}

fn rescale(
    call: &Call,
    scale: &Scale,
    current: &Current,
    warnings: &mut Vec<String>,
) -> Result<Change, StatusError> {
    let errors = validate(scale);
    if !errors.is_empty() {
        return Err(StatusError::invalid(&kind(), current.object.name(), errors));
    }
    let (uid, is) = (scale.metadata.uid.as_deref().unwrap_or_default(), current.object.uid());
    if !uid.is_empty() && uid != is {
        let resource =
            GroupResource::new(call.resource.group, format!("{}/scale", call.resource.plural));
        let reason =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {is}");
        return Err(StatusError::conflict(&resource, current.object.name(), reason));
    }
    let mut object = current.object.clone_object();
    object.meta_mut().resource_version.clone_from(&scale.metadata.resource_version);
    call.resource.strategy.set_replicas(object.as_mut(), wished_replicas(scale));
    update::change(call, Part::Main, object, current, warnings)
}

fn show(call: &Call, object: &Encoded) -> Result<Response<Body>, StatusError> {
    let decoded = object.decode(call.resource).map_err(StatusError::internal)?;
    let scale =
        call.resource.strategy.scale(decoded.as_ref()).ok_or_else(StatusError::no_such_resource)?;
    Ok(responses::value(StatusCode::OK, &scale, call.accepted.format))
}
