//! The endpoints: each verb written once, generic over a row of the kind table.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/endpoints/handlers` and `pkg/registry/generic`.
//! Invariant: an endpoint is reached only through [`route`], after authorization for exactly what the path says.

mod apply;
mod binding;
mod component_status;
mod create;
mod delete;
mod delete_collection;
pub(crate) mod get;
mod list;
mod managed_fields;
mod options;
mod output;
mod page;
mod patch;
mod payload;
mod reviews;
mod scale;
mod service;
mod token;
mod update;
mod watch;

use std::sync::Arc;

use api::kinds::{self, Resource, Subresource};
use apimachinery::gvk::GroupResource;
use apimachinery::status::StatusError;
use http::request::Parts;
use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::ComponentStatus;

use crate::authn::UserInfo;
use crate::negotiation::{self, Accepted, Transforms};
use crate::request_info::RequestInfo;
use crate::{ApiServer, Body, node_proxy, responses};
pub(crate) use options::Query;

/// A request for objects of a row, as an endpoint sees it.
pub(crate) struct Call {
    pub(crate) server: Arc<ApiServer>,
    /// The row whose objects are stored; strategies and storage are asked by it.
    pub(crate) resource: &'static Resource,
    /// The row of the path: the version in which the client sends objects and is shown them.
    pub(crate) served: &'static Resource,
    pub(crate) info: RequestInfo,
    pub(crate) user: UserInfo,
    pub(crate) parts: Parts,
    pub(crate) query: Query,
    pub(crate) accepted: Accepted,
    pub(crate) allocation: service::Allocation,
}

impl Call {
    /// The namespace of the objects; empty for cluster-scoped ones, also for Namespaces themselves.
    pub(crate) fn namespace(&self) -> &str {
        if self.resource.namespaced() { &self.info.namespace } else { "" }
    }

    /// The storage key of the object that the path names.
    pub(crate) fn key(&self) -> store::Key {
        crate::storage::key(self.resource, self.namespace(), &self.info.name)
    }

    pub(crate) fn group_resource(&self) -> GroupResource {
        self.served.group_resource()
    }

    pub(crate) fn not_found(&self) -> StatusError {
        StatusError::not_found(&self.group_resource(), &self.info.name)
    }
}

/// Answers a request for objects.
pub(crate) async fn route(
    server: &Arc<ApiServer>,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, StatusError> {
    if request.method() == Method::HEAD || request.method() == Method::OPTIONS {
        return Err(StatusError::method_not_allowed());
    }
    if info.resource == binding::COLLECTION && info.api_group.is_empty() && !info.name_in_path {
        return binding::create_in_collection(server, info, request).await;
    }
    let Some(served) = kinds::find(&info.api_group, &info.api_version, &info.resource) else {
        return if server.serves(info) {
            Err(StatusError::no_such_resource())
        } else {
            Ok(responses::page_not_found())
        };
    };
    check_path(served, info)?;
    if node_proxy_serves(served, &info.subresource) {
        return node_proxy::handle(server, info, request).await;
    }
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let accepted = negotiation::accept(
        &parts.headers,
        parts.uri.query().unwrap_or_default(),
        Transforms::Allowed,
    )?;
    let user = parts.extensions.get::<UserInfo>().cloned().unwrap_or_default();
    let call = Call {
        server: server.clone(),
        resource: served.stored(),
        served,
        info: info.clone(),
        user,
        parts,
        query,
        accepted,
        allocation: Default::default(),
    };
    if info.subresource.is_empty() {
        main_resource(call, body).await
    } else {
        subresource(call, body).await
    }
}

async fn main_resource(call: Call, body: Body) -> Result<Response<Body>, StatusError> {
    if !call.served.verbs.contains(&call.info.verb.as_str()) {
        return Err(StatusError::method_not_allowed());
    }
    if reviews::answers(call.resource) {
        return reviews::create(&call, body).await;
    }
    if std::ptr::eq(call.resource, kinds::of::<ComponentStatus>()) {
        return match call.info.verb.as_str() {
            "get" => component_status::get(&call).await,
            _ => component_status::list(&call).await,
        };
    }
    match call.info.verb.as_str() {
        "get" => get::get(&call).await,
        "list" => list::list(&call).await,
        "watch" => watch::watch(call).await,
        "create" => create::create(&call, body).await,
        "update" => update::update(&call, body, update::Part::Main).await,
        "patch" => patch::patch(&call, body, update::Part::Main).await,
        "delete" => delete::delete(&call, body).await,
        "deletecollection" => delete_collection::delete_collection(&call, body).await,
        _ => Err(StatusError::method_not_allowed()),
    }
}

async fn subresource(call: Call, body: Body) -> Result<Response<Body>, StatusError> {
    let row: &Subresource = call
        .served
        .subresource(&call.info.subresource)
        .ok_or_else(StatusError::no_such_resource)?;
    if !row.verbs.contains(&call.info.verb.as_str()) {
        return Err(StatusError::method_not_allowed());
    }
    match (row.name, call.info.verb.as_str()) {
        ("status", "get") => get::get(&call).await,
        ("status", "update") => update::update(&call, body, update::Part::Status).await,
        ("status", "patch") => patch::patch(&call, body, update::Part::Status).await,
        ("finalize", "update") => update::update(&call, body, update::Part::Finalize).await,
        ("approval", "get") => get::get(&call).await,
        ("approval", "update") => update::update(&call, body, update::Part::Approval).await,
        ("approval", "patch") => patch::patch(&call, body, update::Part::Approval).await,
        ("scale", "get") => scale::get(&call).await,
        ("scale", "update") => scale::update(&call, body).await,
        ("scale", "patch") => scale::patch(&call, body).await,
        ("token", "create") => token::create(&call, body).await,
        ("binding", "create") => binding::create(call, body).await,
        (name, verb) => {
            let resource =
                GroupResource::new(call.served.group, format!("{}/{name}", call.served.plural));
            Err(StatusError::method_not_supported(&resource, verb))
        }
    }
}

/// Subresources that the kubelet of the object's node answers.
fn node_proxy_serves(resource: &Resource, subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy")
        && resource.subresource(subresource).is_some()
}

/// Refuses paths that Kubernetes does not have: a namespace for what has none, or none for what needs one.
fn check_path(resource: &Resource, info: &RequestInfo) -> Result<(), StatusError> {
    if matches!(info.verb.as_str(), "update" | "patch") && !info.name_in_path {
        return Err(StatusError::method_not_allowed());
    }
    if info.verb == "create" && info.name_in_path && info.subresource.is_empty() {
        return Err(StatusError::method_not_allowed());
    }
    let whole_collection = matches!(info.verb.as_str(), "list" | "watch") && !info.name_in_path;
    if resource.namespaced() {
        return match (info.namespace.is_empty(), info.name_in_path, whole_collection) {
            (false, ..) | (true, _, true) => Ok(()),
            (true, true, _) => Err(StatusError::no_such_resource()),
            (true, false, false) => Err(StatusError::method_not_allowed()),
        };
    }
    // The path of a Namespace names it twice over: as the namespace and as the name.
    let own = info.namespace.is_empty() || info.namespace == info.name;
    if own { Ok(()) } else { Err(StatusError::no_such_resource()) }
}
