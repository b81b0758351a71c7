//! The `token` subresource of ServiceAccounts: a TokenRequest is answered with a token, and stored nowhere.
//!
//! Counterpart in Kubernetes: `TokenREST` of `pkg/registry/core/serviceaccount/storage/token.go`.
//! Invariant: a token is bound to objects that exist, with the uids they have now.

use api::kinds;
use apimachinery::field::{self, Path};
use apimachinery::gvk::{GroupKind, GroupResource};
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use apimachinery::time;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::Resource;
use k8s_openapi::api::authentication::v1::{
    BoundObjectReference, TokenRequest, TokenRequestSpec, TokenRequestStatus,
};
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::options::WriteOptions;
use super::{Call, payload};
use crate::service_account::{Bound, Claims, Named, user_name};
use crate::{Body, responses};

/// How long a token is good that does not say so.
const DEFAULT_SECONDS: i64 = 3600;
/// No token is good for less.
const MIN_SECONDS: i64 = 600;
/// Nor for longer.
const MAX_SECONDS: i64 = 1 << 32;
/// What kubelets ask for in the name of pods that never read their token again: such a token is good for
/// [`EXTENDED_SECONDS`], and after this time a warning is due.
const WARN_ONLY_SECONDS: i64 = 3607;
/// A year.
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

fn kind() -> GroupKind {
    GroupKind::new("authentication.k8s.io", "TokenRequest")
}

/// Answers a POST.
pub(super) async fn create(call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let bytes = payload::read(&call.parts.headers, body).await?;
    let (mut request, warnings): (TokenRequest, _) =
        payload::typed(&call.parts.headers, &bytes, options.field_validation)?;
    check_identity(call, &request.metadata)?;
    let account: ServiceAccount = read(call, call.namespace(), &call.info.name).await?;
    complete(call, &mut request, &account.metadata)?;
    let issuer = call.server.config().token_issuer.as_ref();
    let issuer = issuer.ok_or_else(StatusError::no_such_resource)?;
    let now = Timestamp::now();
    let spec = request.spec.get_or_insert_default();
    if spec.audiences.as_deref().unwrap_or_default().is_empty() {
        spec.audiences = Some(vec![issuer.issuer.clone()]);
    }
    let seconds = *spec.expiration_seconds.get_or_insert(DEFAULT_SECONDS);
    validate(seconds)?;
    let bound = bind(call, spec, &account.metadata).await?;
    let claims = claims(&issuer.issuer, spec, bound, now);
    let expiration = time::time(now + SignedDuration::from_secs(seconds));
    request.metadata.creation_timestamp = Some(time::time(now));
    request.status = Some(TokenRequestStatus {
        expiration_timestamp: Some(expiration),
        token: Some(issuer.sign(&claims).await?),
    });
    let mut response = responses::value(StatusCode::CREATED, &request, call.accepted.format);
    responses::warn(&mut response, &warnings);
    Ok(response)
}

/// Refuses a request that names another account than its path does.
fn check_identity(call: &Call, meta: &ObjectMeta) -> Result<(), StatusError> {
    let given = [
        ("name", &meta.name, call.info.name.as_str()),
        ("namespace", &meta.namespace, call.namespace()),
    ];
    for (what, given, wanted) in given {
        let given = given.as_deref().unwrap_or_default();
        if !given.is_empty() && given != wanted {
            let reason = format!("must match the service account {what} if specified");
            let errors = vec![field::invalid(&Path::new("metadata").child(what), given, reason)];
            return Err(StatusError::invalid(&kind(), &call.info.name, errors));
        }
    }
    Ok(())
}

async fn read<K>(call: &Call, namespace: &str, name: &str) -> Result<K, StatusError>
where
    K: KubeObject + Resource + serde::de::DeserializeOwned,
{
    let json = call.server.get_json(kinds::of::<K>(), namespace, name).await?;
    serde_json::from_slice(&json).map_err(StatusError::internal)
}

/// Fills in the identity of the account, which must be the one the request means.
fn complete(
    call: &Call,
    request: &mut TokenRequest,
    account: &ObjectMeta,
) -> Result<(), StatusError> {
    let meta = &mut request.metadata;
    let uid = account.uid.clone().unwrap_or_default();
    if let Some(given) = meta.uid.as_deref().filter(|given| !given.is_empty() && *given != uid) {
        let reason = format!(
            "the UID in the token request ({given}) does not match the UID of the service account ({uid})"
        );
        return Err(conflict("TokenRequest", kind().group.as_ref(), &call.info.name, reason));
    }
    meta.name.clone_from(&account.name);
    meta.namespace.clone_from(&account.namespace);
    meta.uid = Some(uid);
    Ok(())
}

fn conflict(kind: &str, group: &str, name: &str, reason: String) -> StatusError {
    StatusError::conflict(&GroupResource::new(group.to_owned(), kind.to_owned()), name, reason)
}

fn validate(seconds: i64) -> Result<(), StatusError> {
    let at = Path::new("spec").child("expirationSeconds");
    let reason = match seconds {
        ..MIN_SECONDS => "may not specify a duration less than 10 minutes",
        MIN_SECONDS..=MAX_SECONDS => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    Err(StatusError::invalid(&kind(), "", vec![field::invalid(&at, seconds, reason)]))
}

/// What the token is bound to beside its account.
async fn bind(
    call: &Call,
    spec: &TokenRequestSpec,
    account: &ObjectMeta,
) -> Result<Bound, StatusError> {
    let mut bound = Bound {
        namespace: account.namespace.clone().unwrap_or_default(),
        serviceaccount: Named::of(account),
        ..Bound::default()
    };
    let Some(reference) = &spec.bound_object_ref else { return Ok(bound) };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (version, kind, name) =
        (text(&reference.api_version), text(&reference.kind), text(&reference.name));
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let uid = match (group, kind.as_str()) {
        ("", Pod::KIND) => {
            let pod: Pod = read(call, call.namespace(), &name).await?;
            (bound.pod, bound.node) = of_pod(call, &pod).await?;
            pod.metadata.uid
        }
        ("", Node::KIND) => {
            let node: Node = read(call, "", &name).await?;
            bound.node = Some(Named::of(&node.metadata));
            node.metadata.uid
        }
        ("", Secret::KIND) => {
            let secret: Secret = read(call, call.namespace(), &name).await?;
            bound.secret = Some(Named::of(&secret.metadata));
            secret.metadata.uid
        }
        _ => {
            let version = version.rsplit('/').next().unwrap_or_default();
            let message =
                format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(StatusError::bad_request(message));
        }
    };
    check_uid(reference, &kind, &name, &uid.unwrap_or_default())?;
    Ok(bound)
}

fn check_uid(
    reference: &BoundObjectReference,
    kind: &str,
    name: &str,
    uid: &str,
) -> Result<(), StatusError> {
    let given = reference.uid.as_deref().unwrap_or_default();
    if given.is_empty() || given == uid {
        return Ok(());
    }
    let reason = format!(
        "the UID in the bound object reference ({given}) does not match the UID in record. The object might have been \
         deleted and then recreated"
    );
    Err(conflict(kind, "", name, reason))
}

/// A pod, and its node if it has one.
async fn of_pod(call: &Call, pod: &Pod) -> Result<(Option<Named>, Option<Named>), StatusError> {
    let spec = pod.spec.as_ref();
    let account = spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or_default();
    if account != call.info.name {
        let name = field::quote(&call.info.name);
        return Err(StatusError::bad_request(format!(
            "cannot bind token for serviceaccount {name} to pod running with different serviceaccount name."
        )));
    }
    let node = spec.and_then(|spec| spec.node_name.clone()).filter(|name| !name.is_empty());
    let node = match node {
        None => None,
        Some(name) => match read::<Node>(call, "", &name).await {
            Ok(node) => Some(Named::of(&node.metadata)),
            Err(error) if error.is_not_found() => Some(Named { name, uid: String::new() }),
            Err(error) => return Err(error),
        },
    };
    Ok((Some(Named::of(&pod.metadata)), node))
}

fn claims(issuer: &str, spec: &TokenRequestSpec, mut bound: Bound, now: Timestamp) -> Claims {
    let audiences = spec.audiences.clone().unwrap_or_default();
    let mut seconds = spec.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    let now = now.as_second();
    let for_us = audiences.iter().all(|audience| audience == issuer);
    if bound.pod.is_some() && seconds == WARN_ONLY_SECONDS && for_us {
        bound.warnafter = Some(now + seconds);
        seconds = EXTENDED_SECONDS;
    }
    Claims {
        aud: audiences,
        exp: now + seconds,
        iat: now,
        iss: issuer.to_owned(),
        jti: uuid::Uuid::new_v4().to_string(),
        sub: user_name(&bound.namespace, &bound.serviceaccount.name),
        bound,
        nbf: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(seconds: i64, audiences: &[&str]) -> TokenRequestSpec {
        TokenRequestSpec {
            audiences: Some(audiences.iter().map(|&audience| audience.to_owned()).collect()),
            expiration_seconds: Some(seconds),
            bound_object_ref: None,
        }
    }

    #[test]
    fn only_tokens_of_pods_for_the_server_itself_live_longer_than_asked() {
        let pod = || Bound { pod: Some(Named::default()), ..Bound::default() };
        let table = [
            (spec(3607, &["me"]), pod(), EXTENDED_SECONDS, Some(3607)),
            (spec(3607, &["me", "other"]), pod(), 3607, None),
            (spec(3607, &["me"]), Bound::default(), 3607, None),
            (spec(3600, &["me"]), pod(), 3600, None),
        ];
        for (spec, bound, seconds, warn_after) in table {
            let claims = claims("me", &spec, bound, Timestamp::UNIX_EPOCH);
            assert_eq!((claims.exp, claims.bound.warnafter), (seconds, warn_after), "{spec:?}");
        }
    }
}
