//! May they: the counterpart of `k8s.io/apiserver/pkg/authorization/authorizer`.
//!
//! An [`Authorizer`] is a pure function of the request's [`Attributes`]. Invariant: only
//! [`Decision::Allow`] lets a request through; `Deny` and `NoOpinion` are both refused, with the
//! `Forbidden` message of [`forbidden`].

pub(crate) mod node;
mod policy;

use apimachinery::{gvk::GroupResource, status::StatusError};
use k8s_openapi::api::authorization::v1::{NonResourceRule, ResourceRule};

use crate::authn::UserInfo;

pub use policy::{
    FixedPolicy, GROUP_NODES, NAMESPACE_NODE_LEASE, NODE_USER_PREFIX, USER_CONTROLLER_MANAGER,
    USER_SCHEDULER, node_name,
};

/// What is asked, by whom: the facts an authorizer may look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Who asks.
    pub user: UserInfo,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for paths that
    /// are no resource the lower-case HTTP method.
    pub verb: String,
    /// Namespace of the object; empty for cluster-scoped objects and lists over all namespaces.
    pub namespace: String,
    /// API group; empty for the core group.
    pub api_group: String,
    /// API version within the group.
    pub api_version: String,
    /// Plural resource name.
    pub resource: String,
    /// Subresource, empty when none.
    pub subresource: String,
    /// Name of the object, empty for collections.
    pub name: String,
    /// Path of the request as sent.
    pub path: String,
    /// Whether this is about a resource (true) or a bare path such as `/metrics` (false).
    pub resource_request: bool,
}

impl Attributes {
    /// The resource with its subresource, as rules write it: `pods/log`.
    pub fn resource_path(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }
}

/// An authorizer's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The request may proceed.
    Allow,
    /// The request must not proceed, whatever others say.
    Deny {
        /// Why, for the message; may be empty.
        reason: String,
    },
    /// This authorizer does not allow it; another might.
    NoOpinion {
        /// Why, for the message; may be empty.
        reason: String,
    },
}

impl Decision {
    /// `NoOpinion` without a reason.
    pub fn no_opinion() -> Self {
        Self::NoOpinion { reason: String::new() }
    }
}

/// What somebody may do, in the form of a SelfSubjectRulesReview.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// For resources.
    pub resource: Vec<ResourceRule>,
    /// For paths that are no resources.
    pub non_resource: Vec<NonResourceRule>,
    /// Whether there may be more than what the rules say, or less.
    pub incomplete: bool,
}

/// Says whether a request may proceed.
pub trait Authorizer: Send + Sync {
    /// Judges one request.
    fn authorize(&self, attrs: &Attributes) -> Decision;

    /// What a user may do in a namespace, as far as it can be said in rules.
    fn rules(&self, _user: &UserInfo, _namespace: &str) -> Rules {
        Rules { incomplete: true, ..Rules::default() }
    }
}

/// Turns a refusal into the 403 Kubernetes answers with.
///
/// # Errors
/// The `Forbidden` status when the decision is not [`Decision::Allow`].
pub fn check(authorizer: &dyn Authorizer, attrs: &Attributes) -> Result<(), StatusError> {
    match authorizer.authorize(attrs) {
        Decision::Allow => Ok(()),
        Decision::Deny { reason } | Decision::NoOpinion { reason } => {
            Err(forbidden(attrs, &reason))
        }
    }
}

/// The 403 `Status` for a refused request.
pub fn forbidden(attrs: &Attributes, reason: &str) -> StatusError {
    let resource = GroupResource {
        group: attrs.api_group.clone().into(),
        resource: attrs.resource.clone().into(),
    };
    let mut message = sanitize(&refusal(attrs));
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    StatusError::forbidden(&resource, &attrs.name, message)
}

/// `User "x" cannot list resource "pods" in API group "" in the namespace "default"`, and its forms.
fn refusal(attrs: &Attributes) -> String {
    let user = format!("User {:?}", attrs.user.name);
    if !attrs.resource_request {
        return format!("{user} cannot {} path {:?}", attrs.verb, attrs.path);
    }
    let scope = match attrs.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let resource = attrs.resource_path();
    format!(
        "{user} cannot {} resource {resource:?} in API group {:?} {scope}",
        attrs.verb, attrs.api_group
    )
}

/// A refusal must not look like markup to a browser that sniffs.
fn sanitize(message: &str) -> String {
    message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
