//! POST: admit, complete, validate and store a new object.
//!
//! Counterpart in Kubernetes: `endpoints/handlers/create.go` and `registry/rest/create.go`.
//! Invariant: nothing is stored unless the object passed admission and every rule of its kind.

use apimachinery::object::Object;
use apimachinery::status::StatusError;
use apimachinery::{meta, time};
use http::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::managed_fields::{self, Fields};
use super::options::WriteOptions;
use super::{Call, output, payload, service};
use crate::admission::Creation;
use crate::storage::{Encoded, Mode};
use crate::{Body, responses};

/// How many names are tried for a `generateName` (Kubernetes: 8).
const NAME_ATTEMPTS: usize = 8;

/// Answers a creation.
pub(crate) async fn create(call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let (object, mut warnings) = payload::object(call, body, options.field_validation).await?;
    let (created, more) = persist(call, object, Fields::Track, options.mode).await?;
    warnings.extend(more);
    let mut response = output::object(call, StatusCode::CREATED, created)?;
    responses::warn(&mut response, &warnings);
    Ok(response)
}

/// Creates a decoded and defaulted object; returns it as stored, and warnings.
pub(super) async fn persist(
    call: &Call,
    mut object: Object,
    fields: Fields,
    mode: Mode,
) -> Result<(Encoded, Vec<String>), StatusError> {
    wipe_system_fields(object.meta_mut());
    match_namespace(call, object.meta_mut())?;
    if object
        .meta()
        .resource_version
        .as_deref()
        .is_some_and(|version| !version.is_empty() && version != "0")
    {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(StatusError::new(500, "", message, None));
    }
    if fields == Fields::Track {
        managed_fields::track_create(call, object.as_mut());
    }
    let mut creation = Creation {
        resource: call.resource,
        namespace: call.namespace(),
        user: &call.user,
        object: object.as_mut(),
    };
    call.server.admission.create(&mut creation).await?;
    let metadata = object.meta_mut();
    metadata.uid = Some(uuid::Uuid::new_v4().to_string());
    metadata.creation_timestamp = Some(time::now());
    metadata.resource_version = None;
    let reservation = service::reserve(&call.server, object.as_mut()).await?;
    let stored = store_named(call, &mut object, mode).await;
    let unused = stored.is_err() || mode == Mode::DryRun;
    if let Some(reservation) = reservation.filter(|_| unused) {
        reservation.release(&call.server).await;
    }
    let warnings = call.resource.strategy.warnings(object.as_ref(), None);
    stored.map(|stored| (stored, warnings))
}

/// What only the server sets.
fn wipe_system_fields(metadata: &mut ObjectMeta) {
    metadata.deletion_timestamp = None;
    metadata.deletion_grace_period_seconds = None;
    metadata.self_link = None;
}

/// Fills in the namespace of the path.
///
/// # Errors
/// `BadRequest` when the object names another one.
pub(super) fn match_namespace(call: &Call, metadata: &mut ObjectMeta) -> Result<(), StatusError> {
    let expected = call.namespace();
    match metadata.namespace.as_deref().unwrap_or_default() {
        given if given == expected => {}
        "" => metadata.namespace = Some(expected.to_owned()),
        _ if expected.is_empty() => metadata.namespace = None,
        _ => {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(StatusError::bad_request(message));
        }
    }
    Ok(())
}

/// Stores the object under its name, or under one made from `generateName` that is free.
async fn store_named(call: &Call, object: &mut Object, mode: Mode) -> Result<Encoded, StatusError> {
    let prefix = object.meta().generate_name.clone().filter(|prefix| !prefix.is_empty());
    let Some(prefix) = prefix.filter(|_| object.name().is_empty()) else {
        return store_as(call, object, mode)
            .await?
            .map_err(|taken| already_exists(call, object, &taken));
    };
    for _ in 0..NAME_ATTEMPTS {
        object.meta_mut().name = Some(meta::generate_name(&prefix));
        if let Ok(stored) = store_as(call, object, mode).await? {
            return Ok(stored);
        }
    }
    Err(StatusError::generate_name_conflict(&call.group_resource(), object.name(), 1))
}

/// Validates and stores; the inner error is the object that has the name.
async fn store_as(
    call: &Call,
    object: &mut Object,
    mode: Mode,
) -> Result<Result<Encoded, Encoded>, StatusError> {
    let strategy = call.resource.strategy;
    strategy.prepare_create(object.as_mut());
    strategy.stamp(object.as_mut(), None, time::now().0);
    let mut errors = strategy.validate(object.as_ref());
    call.served.validate(object.as_ref(), None, &mut errors);
    if !errors.is_empty() {
        return Err(StatusError::invalid(&call.resource.group_kind(), object.name(), errors));
    }
    call.server.storage.create(call.resource, object.as_mut(), mode).await
}

fn already_exists(call: &Call, object: &Object, taken: &Encoded) -> StatusError {
    let mut error = StatusError::already_exists(&call.group_resource(), object.name());
    let deleting =
        taken.decode(call.resource).is_ok_and(|object| object.meta().deletion_timestamp.is_some());
    if deleting {
        error.0.message = Some(format!("object is being deleted: {}", error.message()));
    }
    error
}
