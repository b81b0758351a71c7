//! PUT, and what every change of an existing object has in common.
//!
//! Counterpart in Kubernetes: `endpoints/handlers/update.go`, `registry/rest/update.go` and `registry/generic/registry`.
//! Invariant: [`change`] decides, without waiting; the storage loop runs it again when another writer was faster.

use api::kinds;
use apimachinery::field::{self, Path};
use apimachinery::object::{KubeObject, Object};
use apimachinery::status::StatusError;
use apimachinery::time;
use http::{Response, StatusCode};

use k8s_openapi::api::core::v1::{Namespace, Service};

use super::managed_fields::{self, Fields};
use super::options::WriteOptions;
use super::{Call, create, output, payload, service};
use crate::admission::Replacement;
use crate::authz::{self, Attributes};
use crate::filters;
use crate::storage::{Change, Current, Encoded, MAX_UPDATE_ATTEMPTS, Mode, Updated};
use crate::{Body, responses};

/// Which part of an object a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status.
    Main,
    /// The status.
    Status,
    /// The finalizers of a Namespace's spec.
    Finalize,
    /// The approval of a CertificateSigningRequest.
    Approval,
}

impl Part {
    pub(super) fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Finalize => "finalize",
            Self::Approval => "approval",
        }
    }
}

/// What an optimistic writer is told who is too late.
pub(super) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// Answers a PUT.
pub(crate) async fn update(
    call: &Call,
    body: Body,
    part: Part,
) -> Result<Response<Body>, StatusError> {
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    let (mut object, mut warnings) = payload::object(call, body, options.field_validation).await?;
    create::match_namespace(call, object.meta_mut())?;
    check_name(call, object.as_ref())?;
    for _ in 0..MAX_UPDATE_ATTEMPTS {
        if creates(call, part).await? {
            match create_instead(call, object.clone_object(), Fields::Track, options.mode).await {
                Err(error) if error.is_already_exists() => continue,
                other => return finish(call, StatusCode::CREATED, other?, warnings),
            }
        }
        let mut found = Vec::new();
        let decide = |current: Option<&Current>| {
            let current = current.ok_or_else(|| call.not_found())?;
            change(call, part, object.clone_object(), current, Fields::Track, &mut found)
        };
        let updated = service::update(call, options.mode, decide).await;
        match updated {
            Err(error) if error.is_not_found() && creates(call, part).await? => continue,
            other => {
                let stored = settle(call, other?, options.mode).await;
                warnings.append(&mut found);
                return finish(call, StatusCode::OK, (stored, Vec::new()), warnings);
            }
        }
    }
    Err(StatusError::conflict(&call.group_resource(), &call.info.name, MODIFIED))
}

/// Whether a PUT of this name must create it.
async fn creates(call: &Call, part: Part) -> Result<bool, StatusError> {
    if part != Part::Main || !call.resource.strategy.allow_create_on_update() {
        return Ok(false);
    }
    is_absent(call).await
}

/// Whether there is no object that the path names.
pub(super) async fn is_absent(call: &Call) -> Result<bool, StatusError> {
    Ok(call.server.storage.read(call.resource, &call.key()).await?.is_none())
}

/// Creates what was to be changed, if the client may.
pub(super) async fn create_instead(
    call: &Call,
    object: Object,
    fields: Fields,
    mode: Mode,
) -> Result<(Encoded, Vec<String>), StatusError> {
    let attributes =
        Attributes { verb: "create".to_owned(), ..filters::attributes(&call.info, &call.user) };
    authz::check(call.server.config().authorizer.as_ref(), &attributes)?;
    create::persist(call, object, fields, mode).await
}

/// The response that shows what a write left behind.
pub(super) fn finish(
    call: &Call,
    status: StatusCode,
    (stored, more): (Encoded, Vec<String>),
    mut warnings: Vec<String>,
) -> Result<Response<Body>, StatusError> {
    warnings.extend(more);
    let mut response = output::object(call, status, stored)?;
    responses::warn(&mut response, &warnings);
    Ok(response)
}

/// The object a write left behind, after what must follow the write before it is answered.
pub(super) async fn settle(call: &Call, updated: Updated, mode: Mode) -> Encoded {
    let (object, deleted) = match updated {
        Updated::Put(object) | Updated::Kept(object) => (object, false),
        Updated::Deleted(object) => (object, true),
    };
    if mode == Mode::DryRun {
        return object;
    }
    if deleted && std::ptr::eq(call.resource, kinds::of::<Service>()) {
        service::release(&call.server, &object).await;
    }
    if std::ptr::eq(call.resource, kinds::of::<Namespace>()) {
        // Admission looks at namespaces in memory: from the answer on, nothing may be created in one that is ending. Should memory
        // be late, the answer is true all the same.
        call.server.cache.wait_for(object.revision()).await.ok();
    }
    object
}

/// Refuses an object that is not the one the path names.
pub(super) fn check_name(call: &Call, object: &dyn KubeObject) -> Result<(), StatusError> {
    let (given, wanted) = (object.name(), call.info.name.as_str());
    if given == wanted {
        return Ok(());
    }
    Err(StatusError::bad_request(format!(
        "the name of the object ({given}) does not match the name on the URL ({wanted})"
    )))
}

/// Decides what becomes of an object when a client wants it to be `new`.
///
/// # Errors
/// `Conflict`, `Invalid`, and what admission refuses.
pub(super) fn change(
    call: &Call,
    part: Part,
    mut new: Object,
    current: &Current,
    fields: Fields,
    warnings: &mut Vec<String>,
) -> Result<Change, StatusError> {
    let old = current.object.as_ref();
    check_preconditions(call, new.as_ref(), old)?;
    if fields == Fields::Track {
        managed_fields::track_update(call, part.subresource(), new.as_mut(), old);
    }
    keep_system_fields(new.as_mut(), old);
    let strategy = call.resource.strategy;
    call.server.admission.update(&mut Replacement {
        resource: call.resource,
        subresource: part.subresource(),
        user: &call.user,
        new: new.as_mut(),
        old,
    })?;
    // The rules of a kind put much of the old object back, but who owns what is not theirs to say.
    let owners = new.meta_mut().managed_fields.take();
    match part {
        Part::Main => {
            service::keep_allocated(call, new.as_mut(), old)?;
            strategy.prepare_update(new.as_mut(), old);
        }
        Part::Status => strategy.prepare_status_update(new.as_mut(), old),
        Part::Finalize | Part::Approval => strategy.prepare_finalize_update(new.as_mut(), old),
    }
    new.meta_mut().managed_fields = owners;
    strategy.stamp(new.as_mut(), Some(old), time::now().0);
    let mut errors = match part {
        Part::Main => strategy.validate_update(new.as_ref(), old),
        Part::Status => strategy.validate_status_update(new.as_ref(), old),
        Part::Finalize | Part::Approval => strategy.validate_finalize_update(new.as_ref(), old),
    };
    if part == Part::Main {
        call.served.validate(new.as_ref(), Some(old), &mut errors);
    }
    if !errors.is_empty() {
        return Err(StatusError::invalid(&call.resource.group_kind(), old.name(), errors));
    }
    *warnings = strategy.warnings(new.as_ref(), Some(old));
    Ok(if completes_deletion(call, new.as_ref(), old) { Change::Delete } else { Change::Put(new) })
}

fn check_preconditions(
    call: &Call,
    new: &dyn KubeObject,
    old: &dyn KubeObject,
) -> Result<(), StatusError> {
    let (resource, name) = (call.group_resource(), old.name());
    let (wanted, is) = (new.uid(), old.uid());
    if !wanted.is_empty() && wanted != is {
        let reason =
            format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {is}");
        return Err(StatusError::conflict(&resource, name, reason));
    }
    let version = |object: &dyn KubeObject| {
        object.meta().resource_version.clone().filter(|text| !text.is_empty() && text != "0")
    };
    match version(new) {
        None if call.resource.strategy.allow_unconditional_update() => Ok(()),
        None => {
            let at = Path::new("metadata").child("resourceVersion");
            let errors = vec![field::invalid(&at, 0, "must be specified for an update")];
            Err(StatusError::invalid(&call.resource.group_kind(), name, errors))
        }
        wanted if wanted == version(old) => Ok(()),
        Some(wanted) if wanted.parse::<u64>().is_err() => {
            let at = Path::new("metadata").child("resourceVersion");
            let errors = vec![field::invalid(&at, wanted, "must be an unsigned integer")];
            Err(StatusError::invalid(&call.resource.group_kind(), name, errors))
        }
        Some(_) => Err(StatusError::conflict(&resource, name, MODIFIED)),
    }
}

/// What no update can change.
fn keep_system_fields(new: &mut dyn KubeObject, old: &dyn KubeObject) {
    let (metadata, before) = (new.meta_mut(), old.meta());
    metadata.generation = before.generation;
    metadata.resource_version.clone_from(&before.resource_version);
    metadata.uid.clone_from(&before.uid);
    metadata.creation_timestamp.clone_from(&before.creation_timestamp);
    metadata.self_link = None;
    if before.deletion_timestamp.is_some() {
        metadata.deletion_timestamp.clone_from(&before.deletion_timestamp);
    }
    if metadata.deletion_grace_period_seconds.is_none() {
        metadata.deletion_grace_period_seconds = before.deletion_grace_period_seconds;
    }
}

/// Whether the update took away the last thing that held back an object whose deletion was asked for.
fn completes_deletion(call: &Call, new: &dyn KubeObject, old: &dyn KubeObject) -> bool {
    let no_finalizers = new.meta().finalizers.as_ref().is_none_or(Vec::is_empty);
    let no_grace = old.meta().deletion_grace_period_seconds.unwrap_or(0) == 0;
    no_finalizers
        && old.meta().deletion_timestamp.is_some()
        && no_grace
        && !call.resource.strategy.held(new)
}
