//! What a controller wants done. Counterpart: the calls that kube-controller-manager's controllers make inline.
//!
//! Invariants:
//! * A plan is data: it can be compared with an expected one in a table of tests.
//! * Actions are carried out in order and the first that fails ends the plan; neighbouring creations are batched and
//!   neighbouring deletions run side by side.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::events::EventType;
use crate::resource::{HasMeta, Kind, ObjectKey, ResourceType};

/// An object to be written, with the resource it goes to.
#[derive(Clone, PartialEq)]
pub struct Manifest {
    /// The resource.
    pub resource: ResourceType,
    /// Namespace and name; the name is empty when it is to be generated.
    pub key: ObjectKey,
    /// The object as JSON, or why it could not be encoded.
    body: Result<Vec<u8>, String>,
}

impl Manifest {
    /// The manifest of a typed object.
    #[must_use]
    pub fn of<K: Kind>(object: &K) -> Self {
        Self {
            resource: K::resource_type(),
            key: ObjectKey::of(object.object_meta()),
            body: serde_json::to_vec(object).map_err(|error| error.to_string()),
        }
    }

    /// The object again; for tests and logs.
    #[must_use]
    pub fn decode<K: Kind>(&self) -> Option<K> {
        if self.resource != K::resource_type() {
            return None;
        }
        serde_json::from_slice(self.body.as_ref().ok()?).ok()
    }

    pub(crate) fn body(&self) -> Result<Vec<u8>, String> {
        self.body.clone()
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body.as_deref().map(String::from_utf8_lossy);
        write!(f, "{} {}: {body:?}", self.resource, self.key)
    }
}

/// What it means that the object to be created is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfExists {
    /// The plan failed; it was made from an old cache.
    #[default]
    Fail,
    /// That is as good.
    Ignore,
}

/// What it means that the object to be patched is gone (or is another one under the same name).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfAbsent {
    /// The plan failed.
    Fail,
    /// That is as good.
    #[default]
    Ignore,
}

/// The events that tell how an action on behalf of an object went.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The object the action was for.
    pub regarding: ObjectReference,
    /// Reason and beginning of the message, which the name completes, of success.
    pub success: (&'static str, &'static str),
    /// Reason and beginning of the message, which the error completes, of failure.
    pub failure: (&'static str, &'static str),
}

/// Creation of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// The object.
    pub manifest: Manifest,
    /// What an existing object of that name means.
    pub if_exists: IfExists,
    /// Events about it.
    pub report: Option<Report>,
}

/// The body of a patch.
#[derive(Clone, Debug, PartialEq)]
pub enum PatchBody {
    /// JSON merge patch (RFC 7386).
    Merge(Value),
    /// Strategic merge patch, only for kinds that the server has types for.
    Strategic(Value),
    /// JSON patch (RFC 6902).
    Json(Value),
}

/// Patch of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// The resource.
    pub resource: ResourceType,
    /// The object.
    pub key: ObjectKey,
    /// A subresource such as `status`; none for the object itself.
    pub subresource: Option<&'static str>,
    /// The patch.
    pub body: PatchBody,
    /// What a missing object means.
    pub if_absent: IfAbsent,
}

/// What becomes of the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted before.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// The word in DeleteOptions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// Deletion of an object. That it is gone already is as good.
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    /// The resource.
    pub resource: ResourceType,
    /// The object.
    pub key: ObjectKey,
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Only in this revision.
    pub resource_version: Option<String>,
    /// The kind's default when absent.
    pub propagation: Option<Propagation>,
    /// The object's own when absent.
    pub grace_period_seconds: Option<i64>,
    /// Events about it.
    pub report: Option<Report>,
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create an object.
    Create(Create),
    /// Replace an object, in the revision that its manifest carries.
    Update(Manifest),
    /// Replace an object's status.
    UpdateStatus(Manifest),
    /// Replace a subresource other than status by the object.
    UpdateSubresource(&'static str, Manifest),
    /// Patch an object.
    Patch(Patch),
    /// Delete an object.
    Delete(Delete),
    /// Delete every object of a resource in a namespace, in the background.
    DeleteCollection {
        /// The resource.
        resource: ResourceType,
        /// The namespace.
        namespace: String,
    },
    /// Say something about an object.
    Event {
        /// The object.
        regarding: ObjectReference,
        /// Normal or Warning.
        event_type: EventType,
        /// One word for machines.
        reason: &'static str,
        /// The sentence for people.
        message: String,
    },
}

impl Action {
    /// Creates `object`.
    #[must_use]
    pub fn create<K: Kind>(object: &K) -> Self {
        Self::Create(Create {
            manifest: Manifest::of(object),
            if_exists: IfExists::Fail,
            report: None,
        })
    }

    /// Creates `object`, telling of it in events.
    #[must_use]
    pub fn create_reported<K: Kind>(object: &K, report: Report) -> Self {
        Self::Create(Create {
            manifest: Manifest::of(object),
            if_exists: IfExists::Fail,
            report: Some(report),
        })
    }

    /// Creates `object` unless it is there.
    #[must_use]
    pub fn ensure<K: Kind>(object: &K) -> Self {
        Self::Create(Create {
            manifest: Manifest::of(object),
            if_exists: IfExists::Ignore,
            report: None,
        })
    }

    /// Replaces `object`.
    #[must_use]
    pub fn update<K: Kind>(object: &K) -> Self {
        Self::Update(Manifest::of(object))
    }

    /// Replaces the status of `object`.
    #[must_use]
    pub fn update_status<K: Kind>(object: &K) -> Self {
        Self::UpdateStatus(Manifest::of(object))
    }

    /// Applies a strategic merge patch to an object, which may be gone.
    #[must_use]
    pub fn patch<K: Kind>(meta: &ObjectMeta, body: Value) -> Self {
        Self::Patch(Patch {
            resource: K::resource_type(),
            key: ObjectKey::of(meta),
            subresource: None,
            body: PatchBody::Strategic(body),
            if_absent: IfAbsent::Ignore,
        })
    }

    /// Deletes exactly this object (by uid).
    #[must_use]
    pub fn delete<K: Kind>(object: &K) -> Self {
        Self::Delete(Delete {
            resource: K::resource_type(),
            key: ObjectKey::of(object.object_meta()),
            uid: object.object_meta().uid.clone(),
            resource_version: None,
            propagation: None,
            grace_period_seconds: None,
            report: None,
        })
    }

    /// Says something about `regarding`.
    #[must_use]
    pub fn event(
        regarding: &ObjectReference,
        event_type: EventType,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::Event { regarding: regarding.clone(), event_type, reason, message: message.into() }
    }
}

/// How a plan failed, for [`OnFailure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error in words.
    pub message: String,
    /// The object to be created was there already.
    pub already_exists: bool,
}

/// What is to be done when a creation or a deletion failed, before the key is repeated. Pure. Failed updates and patches
/// are conflicts with someone who wrote first: they are repeated without a word.
pub type OnFailure = Box<dyn FnOnce(&Failure) -> Vec<Action> + Send>;

/// What is to be done for one key.
#[derive(Default)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// What to do when a creation or a deletion among them fails.
    pub on_failure: Option<OnFailure>,
    /// When to look at the key again though nothing changes.
    pub requeue_after: Option<Duration>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("actions", &self.actions)
            .field("requeue_after", &self.requeue_after)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Nothing to do.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Asks for another look at the key after `delay`, or earlier if that was asked for before.
    pub fn requeue(&mut self, delay: Duration) {
        self.requeue_after = Some(self.requeue_after.map_or(delay, |earlier| earlier.min(delay)));
    }
}

impl From<Vec<Action>> for Plan {
    fn from(actions: Vec<Action>) -> Self {
        Self { actions, ..Self::default() }
    }
}

impl From<Action> for Plan {
    fn from(action: Action) -> Self {
        vec![action].into()
    }
}
