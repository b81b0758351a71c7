//! Reviews: who somebody is and what they may do, answered by the server's own authenticators and authorizer.
//!
//! Counterpart in Kubernetes: `pkg/registry/authentication` and `pkg/registry/authorization`. Nothing is kept; the answer is the
//! question with its status.

use api::authorization::reviews;
use apimachinery::field::ErrorList;
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use apimachinery::time;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use k8s_openapi::api::authentication::v1 as authentication;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
    SubjectAccessReviewStatus, SubjectRulesReviewStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Call;
use super::options::WriteOptions;
use super::payload;
use crate::authn::UserInfo;
use crate::authz::{Attributes, Decision};
use crate::service_account::DEFAULT_ISSUER;
use crate::{Body, responses};

/// Whether the row is a question.
pub(super) fn answers(resource: &api::kinds::Resource) -> bool {
    resource.list_kind.is_empty()
}

/// Answers a question.
pub(super) async fn create(call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    match call.resource.kind {
        SelfSubjectReview::KIND => answer(call, body, own_identity).await,
        SelfSubjectAccessReview::KIND => answer(call, body, own_access).await,
        SelfSubjectRulesReview::KIND => answer(call, body, own_rules).await,
        LocalSubjectAccessReview::KIND => answer(call, body, local_access).await,
        SubjectAccessReview::KIND => answer(call, body, access).await,
        TokenReview::KIND => token(call, body).await,
        _ => Err(StatusError::method_not_allowed()),
    }
}

/// Reads the question.
async fn question<K>(call: &Call, body: Body) -> Result<(K, Vec<String>), StatusError>
where
    K: KubeObject + Clone + Default + DeserializeOwned + Resource + Metadata<Ty = ObjectMeta>,
{
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let bytes = payload::read(&call.parts.headers, body).await?;
    payload::typed::<K>(&call.parts.headers, &bytes, options.field_validation)
}

async fn answer<K>(
    call: &Call,
    body: Body,
    decide: fn(&Call, &mut K) -> Result<(), StatusError>,
) -> Result<Response<Body>, StatusError>
where
    K: KubeObject
        + Clone
        + Default
        + DeserializeOwned
        + Serialize
        + Resource
        + Metadata<Ty = ObjectMeta>,
{
    let (mut review, warnings) = question::<K>(call, body).await?;
    decide(call, &mut review)?;
    Ok(finish(call, &review, &warnings))
}

fn finish(call: &Call, review: &impl Serialize, warnings: &[String]) -> Response<Body> {
    let mut response = responses::value(StatusCode::CREATED, review, call.accepted.format);
    responses::warn(&mut response, warnings);
    response
}

fn refuse(call: &Call, errors: ErrorList) -> Result<(), StatusError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(StatusError::invalid(&call.resource.group_kind(), "", errors))
}

fn shown(user: UserInfo) -> authentication::UserInfo {
    authentication::UserInfo {
        username: Some(user.name).filter(|name| !name.is_empty()),
        uid: Some(user.uid).filter(|uid| !uid.is_empty()),
        groups: Some(user.groups).filter(|groups| !groups.is_empty()),
        extra: Some(user.extra).filter(|extra| !extra.is_empty()),
    }
}

fn own_identity(call: &Call, review: &mut SelfSubjectReview) -> Result<(), StatusError> {
    review.metadata = ObjectMeta { creation_timestamp: Some(time::now()), ..ObjectMeta::default() };
    review.status.get_or_insert_default().user_info = Some(shown(call.user.clone()));
    Ok(())
}

fn own_access(call: &Call, review: &mut SelfSubjectAccessReview) -> Result<(), StatusError> {
    refuse(call, reviews::validate_self(review))?;
    let spec = &review.spec;
    let (resource, other) =
        (spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
    review.status = Some(decide(call, attributes(call.user.clone(), resource, other)));
    Ok(())
}

fn access(call: &Call, review: &mut SubjectAccessReview) -> Result<(), StatusError> {
    refuse(call, reviews::validate_subject(review))?;
    review.status = Some(decide_for(call, &review.spec));
    Ok(())
}

fn local_access(call: &Call, review: &mut LocalSubjectAccessReview) -> Result<(), StatusError> {
    let given = review.metadata.namespace.clone().unwrap_or_default();
    if given.is_empty() {
        review.metadata.namespace = Some(call.namespace().to_owned());
    }
    refuse(call, reviews::validate_local(review))?;
    if review.metadata.namespace.as_deref() != Some(call.namespace()) {
        let namespace = call.namespace();
        return Err(StatusError::bad_request(format!(
            "spec.resourceAttributes.namespace must match namespace: {namespace}"
        )));
    }
    review.status = Some(decide_for(call, &review.spec));
    Ok(())
}

fn decide_for(call: &Call, spec: &SubjectAccessReviewSpec) -> SubjectAccessReviewStatus {
    let user = UserInfo {
        name: spec.user.clone().unwrap_or_default(),
        uid: spec.uid.clone().unwrap_or_default(),
        groups: spec.groups.clone().unwrap_or_default(),
        extra: spec.extra.clone().unwrap_or_default(),
    };
    let (resource, other) =
        (spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
    decide(call, attributes(user, resource, other))
}

/// What the authorizer is asked.
fn attributes(
    user: UserInfo,
    resource: Option<&ResourceAttributes>,
    other: Option<&NonResourceAttributes>,
) -> Attributes {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    match (resource, other) {
        (Some(asked), _) => Attributes {
            user,
            verb: text(&asked.verb),
            namespace: text(&asked.namespace),
            api_group: text(&asked.group),
            api_version: asked.version.clone().unwrap_or_else(|| "*".to_owned()),
            resource: text(&asked.resource),
            subresource: text(&asked.subresource),
            name: text(&asked.name),
            path: String::new(),
            resource_request: true,
        },
        (None, other) => Attributes {
            user,
            verb: other.map(|o| text(&o.verb)).unwrap_or_default(),
            path: other.map(|o| text(&o.path)).unwrap_or_default(),
            ..Attributes::default()
        },
    }
}

fn decide(call: &Call, attributes: Attributes) -> SubjectAccessReviewStatus {
    let status = |allowed: bool, denied: bool, reason: String| SubjectAccessReviewStatus {
        allowed,
        denied: denied.then_some(true),
        reason: Some(reason).filter(|reason| !reason.is_empty()),
        evaluation_error: None,
    };
    match call.server.config().authorizer.authorize(&attributes) {
        Decision::Allow => match call.server.narrowed(&attributes) {
            Ok(()) => status(true, false, String::new()),
            Err(refusal) => status(false, false, refusal.message().to_owned()),
        },
        Decision::Deny { reason } => status(false, true, reason),
        Decision::NoOpinion { reason } => status(false, false, reason),
    }
}

fn own_rules(call: &Call, review: &mut SelfSubjectRulesReview) -> Result<(), StatusError> {
    let namespace = review.spec.namespace.clone().unwrap_or_default();
    if namespace.is_empty() {
        return Err(StatusError::bad_request("no namespace on request"));
    }
    let rules = call.server.config().authorizer.rules(&call.user, &namespace);
    *review = SelfSubjectRulesReview {
        status: Some(SubjectRulesReviewStatus {
            resource_rules: rules.resource,
            non_resource_rules: rules.non_resource,
            incomplete: rules.incomplete,
            evaluation_error: None,
        }),
        ..SelfSubjectRulesReview::default()
    };
    Ok(())
}

/// Asks the server's authenticators about a token, as if a request had brought it.
async fn token(call: &Call, body: Body) -> Result<Response<Body>, StatusError> {
    let (mut review, warnings) = question::<TokenReview>(call, body).await?;
    if review.spec.token.is_empty() {
        let message = "token is required for TokenReview in authentication";
        return Err(StatusError::bad_request(message));
    }
    let audiences = review.spec.audiences.clone().unwrap_or_default();
    let answered = token_status(call, &review.spec.token, &audiences).await;
    review.status = Some(answered.unwrap_or_else(|error| authentication::TokenReviewStatus {
        error: Some(error),
        ..authentication::TokenReviewStatus::default()
    }));
    Ok(finish(call, &review, &warnings))
}

/// Whom a token stands for and which of the audiences it is for, or why it is refused.
async fn token_status(
    call: &Call,
    token: &str,
    audiences: &[String],
) -> Result<authentication::TokenReviewStatus, String> {
    let account = call.server.service_account_of(token, audiences).await;
    let known = match account.map_err(|error| format!("[invalid bearer token, {error}]"))? {
        Some(known) => Some(known),
        None => for_everybody(call, token, audiences).await?,
    };
    Ok(known.map_or_else(Default::default, |(user, audiences)| authentication::TokenReviewStatus {
        authenticated: Some(true),
        user: Some(shown(user)),
        audiences: Some(audiences),
        error: None,
    }))
}

/// A token that names no audience is for the API server.
async fn for_everybody(
    call: &Call,
    token: &str,
    audiences: &[String],
) -> Result<Option<(UserInfo, Vec<String>)>, String> {
    let known = authenticate(call, token).await.map_err(|_| "invalid bearer token".to_owned())?;
    let own = call.server.config().token_issuer.as_ref();
    let own = own.map_or(DEFAULT_ISSUER, |issuer| issuer.issuer.as_str());
    let for_us = audiences.is_empty() || audiences.iter().any(|audience| audience == own);
    Ok(known.filter(|_| for_us).map(|user| (user, vec![own.to_owned()])))
}

async fn authenticate(call: &Call, token: &str) -> Result<Option<UserInfo>, StatusError> {
    let mut request = Request::new(());
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let value = value.map_err(|_| crate::authn::unauthorized())?;
    request.headers_mut().insert(AUTHORIZATION, value);
    call.server.config().authenticator.authenticate(&request.into_parts().0).await
}
