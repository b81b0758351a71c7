//! The `scale` subresource: how many replicas a workload wishes for.
//!
//! Counterpart in Kubernetes: `ScaleREST` of the workloads' registries.
//! Invariant: only the number of replicas changes; the change is validated as an update of the workload.

use api::kinds;
use api::scale::{Scale, validate, wished_replicas};
use apimachinery::apply::{FieldManager, Filter, Managed, from_scale, to_scale};
use apimachinery::gvk::{GroupKind, GroupResource};
use apimachinery::status::StatusError;
use http::{Response, StatusCode};
use serde_json::Value;

use super::apply::{self, Config};
use super::managed_fields::{self, Fields};
use super::options::WriteOptions;
use super::patch::Patch;
use super::update::{self, Part};
use super::{Call, get, payload};
use crate::negotiation;
use crate::storage::{Change, Current, Encoded, Mode};
use crate::{Body, responses};

/// The OpenAPI definition of a Scale.
const SCHEMA_NAME: &str = "io.k8s.api.autoscaling.v1.Scale";

/// The version of Scales.
const API_VERSION: &str = "autoscaling/v1";

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
    write(call, options.mode, |current| owned(call, current, wanted.clone(), warnings.clone()))
        .await
}

/// Answers a PATCH.
pub(super) async fn patch(call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    if negotiation::media_type(&call.parts.headers) == apply::MEDIA_TYPE {
        return applied(call, body).await;
    }
    let options = WriteOptions::parse_patch(&call.query)?;
    let patch = Patch::read(call, body, options.field_validation).await?;
    let patched = |current: &Current| {
        let value = patch.apply(&value_of(&scale_of(call, current)?)?, SCHEMA_NAME)?;
        let (scale, warnings) = payload::typed_tree(value, options.field_validation)
            .map_err(|error| patch.refused(call, &error))?;
        owned(call, current, scale, warnings)
    };
    write(call, options.mode, patched).await
}

/// Answers an apply.
async fn applied(call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let options = WriteOptions::parse_apply(&call.query)?;
    let config = Config::read(call, body, options.field_validation).await?;
    let warnings = config.strict()?;
    let wanted = |current: &Current| {
        let live = value_of(&scale_of(call, current)?)?;
        let owners = owners_of_scale(call, current)?;
        let manager = managed_fields::manager(call);
        let applied = with_fields(|fields| {
            fields.apply(&live, &config.document, owners, &manager, config.force)
        });
        let applied = applied.map_err(|error| error.to_status())?;
        let scale = serde_json::from_value(applied.object).map_err(StatusError::internal)?;
        Ok(Wanted { scale, owners: applied.managed, warnings: warnings.clone() })
    };
    write(call, options.mode, wanted).await
}

fn value_of(scale: &Scale) -> Result<Value, StatusError> {
    serde_json::to_value(scale).map_err(StatusError::internal)
}

fn with_fields<T>(ask: impl FnOnce(&FieldManager<'_>) -> T) -> T {
    managed_fields::with(SCHEMA_NAME, API_VERSION, "Scale", "scale", &Filter::All, ask)
}

/// Who owns the number of replicas.
fn owners_of_scale(call: &Call, current: &Current) -> Result<Managed, StatusError> {
    let owners = managed_fields::stored(current.object.as_ref())?;
    Ok(to_scale(&owners, |version| is_served(call, version)))
}

/// Whether the workload has that version.
fn is_served(call: &Call, api_version: &str) -> bool {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    group == call.resource.group && kinds::find(group, version, call.resource.plural).is_some()
}

/// A wanted Scale, with who owns the number of replicas then.
struct Wanted {
    scale: Scale,
    owners: Managed,
    warnings: Vec<String>,
}

/// A Scale that is wanted by a PUT or a patch.
fn owned(
    call: &Call,
    current: &Current,
    mut scale: Scale,
    warnings: Vec<String>,
) -> Result<Wanted, StatusError> {
    scale.metadata.managed_fields = None;
    let (before, after) = (value_of(&scale_of(call, current)?)?, value_of(&scale)?);
    let (owners, manager) = (owners_of_scale(call, current)?, managed_fields::manager(call));
    let owners = with_fields(|fields| fields.update(Some(&before), &after, owners, &manager));
    Ok(Wanted { scale, owners, warnings })
}

async fn write(
    call: &Call,
    mode: Mode,
    wanted: impl Fn(&Current) -> Result<Wanted, StatusError>,
) -> Result<Response<Body>, StatusError> {
    let mut warnings = Vec::new();
    let decide = |current: Option<&Current>| {
        let current = current.ok_or_else(|| call.not_found())?;
        let wanted = wanted(current)?;
        let mut of_workload = Vec::new();
        let change = rescale(call, &wanted.scale, &wanted.owners, current, &mut of_workload);
        warnings = [wanted.warnings, of_workload].concat();
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
    owners: &Managed,
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
            GroupResource::new(call.served.group, format!("{}/scale", call.served.plural));
        let reason =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {is}");
        return Err(StatusError::conflict(&resource, current.object.name(), reason));
    }
    let mut object = current.object.clone_object();
    object.meta_mut().resource_version.clone_from(&scale.metadata.resource_version);
    call.resource.strategy.set_replicas(object.as_mut(), wished_replicas(scale));
    let before = managed_fields::stored(current.object.as_ref())?;
    let api_version = managed_fields::api_version(call.resource);
    let owners = from_scale(&before, owners, &api_version, |version| is_served(call, version));
    object.meta_mut().managed_fields = owners.encode();
    update::change(call, Part::Main, object, current, Fields::Tracked, warnings)
}

fn show(call: &Call, object: &Encoded) -> Result<Response<Body>, StatusError> {
    let decoded = object.decode(call.resource).map_err(StatusError::internal)?;
    let scale =
        call.resource.strategy.scale(decoded.as_ref()).ok_or_else(StatusError::no_such_resource)?;
    Ok(responses::value(StatusCode::OK, &scale, call.accepted.format))
}
