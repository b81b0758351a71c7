//! DELETE of one object: at once, after a grace period, or after its finalizers.
//!
//! Counterpart in Kubernetes: `endpoints/handlers/delete.go`, `registry/rest/delete.go` and `registry/generic/registry`.
//! Invariant: [`decide`] is pure; a deletion that must wait leaves `deletionTimestamp` in the object and nothing else undone.

use apimachinery::field::{self, ErrorList, Path};
use apimachinery::object::{KubeObject, Object};
use apimachinery::status::{self, StatusError};
use apimachinery::time;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, StatusDetails};

use super::options::{Query, mode, refuse, validate_dry_run};
use super::{Call, output, payload, update};
use crate::admission::Deletion;
use crate::storage::{Change, Current, Encoded, Mode, Updated};
use crate::{Body, responses};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Answers a DELETE.
pub(crate) async fn delete(call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let options = options(call, body).await?;
    let mode = mode(options.dry_run.as_deref().unwrap_or_default());
    let updated = run(call, &call.key(), &call.info.name, &options, mode).await?;
    let gone = matches!(updated, Updated::Deleted(_));
    let object = update::settle(call, updated, mode).await;
    let accepted = !gone && options.orphan_dependents == Some(false);
    let code = if accepted { StatusCode::ACCEPTED } else { StatusCode::OK };
    if gone && !call.resource.strategy.returns_deleted_object() {
        let status = deleted(call, &object)?;
        return Ok(responses::value(code, &status, call.accepted.format));
    }
    output::object(call, code, object)
}

/// The `Status` that tells of a deleted object.
fn deleted(
    call: &Call,
    object: &Encoded,
) -> Result<k8s_openapi::apimachinery::pkg::apis::meta::v1::Status, StatusError> {
    let object = object.decode(call.resource).map_err(StatusError::internal)?;
    let details = StatusDetails {
        name: Some(object.name().to_owned()),
        group: Some(call.served.group.to_owned()).filter(|group| !group.is_empty()),
        kind: Some(call.served.plural.to_owned()),
        uid: Some(object.uid().to_owned()),
        ..StatusDetails::default()
    };
    let mut status = status::success();
    status.details = Some(details);
    Ok(status)
}

/// Deletes an object, or begins to.
pub(super) async fn run(
    call: &Call,
    key: &store::Key,
    name: &str,
    options: &DeleteOptions,
    mode: Mode,
) -> Result<Updated, StatusError> {
    let not_found = || StatusError::not_found(&call.group_resource(), name);
    let now = Timestamp::now();
    let decide = |current: Option<&Current>| {
        let current = current.ok_or_else(not_found)?;
        let object = current.object.as_ref();
        let deletion = Deletion { resource: call.resource, user: &call.user, object };
        call.server.admission.delete(&deletion)?;
        check_preconditions(call, object, options.preconditions.as_ref())?;
        Ok(decide(call.resource.strategy, &current.object, options, now))
    };
    call.server.storage.update(call.resource, key, mode, decide).await
}

/// Reads `DeleteOptions` from the body, or from the query when there is no body.
pub(super) async fn options(call: &Call, body: Body) -> Result<DeleteOptions, StatusError> {
    let bytes = payload::read(&call.parts.headers, body).await?;
    let options = if bytes.is_empty() {
        from_query(&call.query)?
    } else {
        payload::delete_options(&call.parts.headers, &bytes)?
    };
    refuse("DeleteOptions", validate(&options))?;
    Ok(options)
}

fn from_query(query: &Query) -> Result<DeleteOptions, StatusError> {
    let dry_run: Vec<String> =
        query.all("dryRun").filter(|value| !value.is_empty()).map(str::to_owned).collect();
    let policy = query.text("propagationPolicy");
    Ok(DeleteOptions {
        dry_run: Some(dry_run).filter(|values| !values.is_empty()),
        grace_period_seconds: query.integer("gracePeriodSeconds")?,
        orphan_dependents: query.boolean("orphanDependents"),
        propagation_policy: Some(policy.to_owned()).filter(|policy| !policy.is_empty()),
        ..DeleteOptions::default()
    })
}

const BOTH: &str = "orphanDependents and deletionPropagation cannot be both set";

fn validate(options: &DeleteOptions) -> ErrorList {
    let at = Path::new("propagationPolicy");
    let mut errors = ErrorList::new();
    let policy = options.propagation_policy.as_deref();
    if policy.is_some() && options.orphan_dependents.is_some() {
        errors.push(field::invalid(&at, policy, BOTH));
    }
    if let Some(unknown) =
        policy.filter(|policy| !matches!(*policy, "Foreground" | "Background" | "Orphan"))
    {
        errors.push(field::not_supported(
            &at,
            unknown,
            &["Foreground", "Background", "Orphan", "nil"],
        ));
    }
    let dry_run: Vec<&str> = options.dry_run.iter().flatten().map(String::as_str).collect();
    errors.extend(validate_dry_run(&dry_run));
    errors
}

fn check_preconditions(
    call: &Call,
    object: &dyn KubeObject,
    wanted: Option<&Preconditions>,
) -> Result<(), StatusError> {
    let Some(wanted) = wanted else {
        return Ok(());
    };
    let conflict =
        |reason: String| Err(StatusError::conflict(&call.group_resource(), object.name(), reason));
    let is = object.uid();
    if let Some(uid) = wanted.uid.as_deref().filter(|uid| *uid != is) {
        return conflict(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({is}). The object might have been deleted and \
             then recreated"
        ));
    }
    let is = object.meta().resource_version.as_deref().unwrap_or_default();
    if let Some(version) = wanted.resource_version.as_deref().filter(|version| *version != is) {
        return conflict(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({is}). The object \
             might have been modified"
        ));
    }
    Ok(())
}

/// Whether, and for how long, a deletion waits for the object's user to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grace {
    /// It does not wait.
    None,
    /// It waits until then.
    Until { seconds: i64, time: Timestamp },
    /// It waits already, and not for longer than was asked for now.
    Pending,
}

/// What a DELETE makes of an object.
fn decide(
    strategy: &dyn api::strategy::Strategy,
    object: &Object,
    options: &DeleteOptions,
    now: Timestamp,
) -> Change {
    let grace = grace(
        strategy,
        object.as_ref(),
        options.grace_period_seconds.map(at_least_one_if_negative),
        now,
    );
    if grace == Grace::Pending {
        return Change::Keep;
    }
    let mut next = object.clone_object();
    let current = object.meta().finalizers.as_deref().unwrap_or_default();
    let finalizers = finalizers(current, options, strategy.orphans_dependents());
    let waits = !finalizers.is_empty() || strategy.held(object.as_ref());
    next.meta_mut().finalizers = Some(finalizers).filter(|finalizers| !finalizers.is_empty());
    match grace {
        Grace::Until { seconds: 0, .. } | Grace::None if !waits => Change::Delete,
        Grace::Until { seconds, time } => {
            begin(strategy, next.as_mut(), time);
            next.meta_mut().deletion_grace_period_seconds = Some(seconds);
            Change::Put(next)
        }
        _ => {
            let until =
                object.meta().deletion_timestamp.as_ref().map_or(now, |time| time.0.min(now));
            begin(strategy, next.as_mut(), until);
            if !strategy.held(object.as_ref()) {
                next.meta_mut().deletion_grace_period_seconds = Some(0);
            }
            Change::Put(next)
        }
    }
}

/// Marks an object as being deleted; what it wishes for changed, so its generation moves.
fn begin(strategy: &dyn api::strategy::Strategy, object: &mut dyn KubeObject, time: Timestamp) {
    let metadata = object.meta_mut();
    if metadata.deletion_timestamp.is_none() {
        metadata.generation = metadata.generation.map(|generation| generation + 1);
        strategy.begin_delete(object);
    }
    object.meta_mut().deletion_timestamp = Some(time::time(time));
}

fn at_least_one_if_negative(seconds: i64) -> i64 {
    if seconds < 0 { 1 } else { seconds }
}

fn grace(
    strategy: &dyn api::strategy::Strategy,
    object: &dyn KubeObject,
    requested: Option<i64>,
    now: Timestamp,
) -> Grace {
    let metadata = object.meta();
    let after = |start: Timestamp, seconds: i64| {
        start.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(start)
    };
    let Some(deletion) = &metadata.deletion_timestamp else {
        return match strategy.check_graceful_delete(object, requested) {
            Some(seconds) => Grace::Until { seconds, time: after(now, seconds) },
            None => Grace::None,
        };
    };
    let pending = metadata.deletion_grace_period_seconds.map_or(0, at_least_one_if_negative);
    if pending == 0 {
        return Grace::None;
    }
    match requested {
        Some(seconds) if seconds < pending => {
            let time = after(after(deletion.0, -pending), seconds);
            // A grace period that is over already still ends by the hand of whoever honours it, unless none was wanted.
            if time < now {
                Grace::Until { seconds: seconds.min(1), time: now }
            } else {
                Grace::Until { seconds, time }
            }
        }
        _ => Grace::Pending,
    }
}

/// The finalizers after a deletion with these options: the garbage collector's two say what becomes of the dependents.
/// `orphan` is what the kind does when nobody says.
fn finalizers(current: &[String], options: &DeleteOptions, orphan: bool) -> Vec<String> {
    let mut kept: Vec<String> = current
        .iter()
        .filter(|finalizer| *finalizer != ORPHAN && *finalizer != FOREGROUND)
        .cloned()
        .collect();
    let has = |wanted: &str| current.iter().any(|finalizer| finalizer == wanted);
    let wanted = match (options.orphan_dependents, options.propagation_policy.as_deref()) {
        (Some(true), _) | (None, Some("Orphan")) => Some(ORPHAN),
        (None, Some("Foreground")) => Some(FOREGROUND),
        (Some(false), _) | (None, Some(_)) => None,
        (None, None) if has(ORPHAN) => Some(ORPHAN),
        (None, None) if has(FOREGROUND) => Some(FOREGROUND),
        (None, None) => orphan.then_some(ORPHAN),
    };
    kept.extend(wanted.map(str::to_owned));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(policy: Option<&str>, orphan: Option<bool>) -> DeleteOptions {
        DeleteOptions {
            propagation_policy: policy.map(str::to_owned),
            orphan_dependents: orphan,
            ..DeleteOptions::default()
        }
    }

    #[test]
    fn finalizers_follow_the_propagation_policy() {
        type Row =
            (&'static [&'static str], Option<&'static str>, Option<bool>, &'static [&'static str]);
        let table: [Row; 8] = [
            (&[], None, None, &[]),
            (&["x"], Some("Background"), None, &["x"]),
            (&["x"], Some("Foreground"), None, &["x", FOREGROUND]),
            (&[], Some("Orphan"), None, &[ORPHAN]),
            (&[], None, Some(true), &[ORPHAN]),
            (&[ORPHAN], None, Some(false), &[]),
            (&[FOREGROUND, "x"], None, None, &["x", FOREGROUND]),
            (&[FOREGROUND], Some("Background"), None, &[]),
        ];
        for (current, policy, orphan, expected) in table {
            let current: Vec<String> = current.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(
                finalizers(&current, &options(policy, orphan), false),
                expected,
                "{current:?} {policy:?} {orphan:?}"
            );
        }
    }

    #[test]
    fn finalizers_of_the_oldest_owners_orphan_unless_told_otherwise() {
        let of = |current: &[&str], policy| {
            let current: Vec<String> = current.iter().map(|text| (*text).to_owned()).collect();
            finalizers(&current, &options(policy, None), true)
        };
        assert_eq!(of(&["x"], None), ["x", ORPHAN]);
        assert_eq!(of(&[FOREGROUND], None), [FOREGROUND]);
        assert!(of(&[], Some("Background")).is_empty());
    }
}
