//! Telling people what happened to an object. Counterpart: client-go's `record.EventBroadcaster` and `EventRecorder`.
//!
//! Invariants:
//! * Recording never blocks and never fails the caller; what does not fit the bounded queue is dropped with a log line.
//! * Repeats are counted in one Event object; a flood from one object is cut down ([`correlator`]).

pub mod correlator;

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Client, Error};
use serde_json::json;
use tokio::sync::mpsc;

use self::correlator::{Correlator, Verdict};
use crate::error::ApiErrorExt;
use crate::request;
use crate::resource::{Kind, ObjectKey};

/// Events that wait to be sent; client-go's `maxQueuedEvents`.
const MAX_QUEUED_EVENTS: usize = 1000;
/// Attempts to send one event while the server cannot be reached; client-go's `maxTriesPerEvent`.
const MAX_TRIES: u32 = 12;
/// Pause between attempts; client-go's `defaultSleepDuration`.
const RETRY_PAUSE: Duration = Duration::from_secs(10);
/// Namespace of events about cluster-scoped objects.
const DEFAULT_NAMESPACE: &str = "default";

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// Information.
    Normal,
    /// Something may be wrong.
    Warning,
}

impl EventType {
    /// The word in the object.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events in the name of one component.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    source: EventSource,
    sender: mpsc::Sender<Event>,
}

impl EventRecorder {
    /// A recorder for `component`, on `host` for components of a node. Its sending task ends when the last clone of the
    /// recorder is gone. Must be called inside a runtime.
    #[must_use]
    pub fn new(client: Client, component: &str, host: Option<&str>) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED_EVENTS);
        tokio::spawn(send_all(client, receiver));
        Self {
            source: EventSource {
                component: Some(component.to_owned()),
                host: host.map(str::to_owned),
            },
            sender,
        }
    }

    /// Records that something happened to `regarding` now.
    pub fn record(
        &self,
        regarding: &ObjectReference,
        event_type: EventType,
        reason: &str,
        message: &str,
    ) {
        let event =
            new_event(&self.source, regarding, event_type, reason, message, Timestamp::now());
        if self.sender.try_send(event).is_err() {
            tracing::warn!(reason, message, "event dropped: too many are waiting to be sent");
        }
    }

    /// Records that something happened to `object` now.
    pub fn record_for<K: Kind>(
        &self,
        object: &K,
        event_type: EventType,
        reason: &str,
        message: &str,
    ) {
        self.record(&crate::resource::object_reference(object), event_type, reason, message);
    }
}

/// The Event object for a first occurrence.
#[must_use]
pub fn new_event(
    source: &EventSource,
    regarding: &ObjectReference,
    event_type: EventType,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Event {
    let namespace = regarding
        .namespace
        .clone()
        .filter(|ns| !ns.is_empty())
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(regarding, now)),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: regarding.clone(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        type_: Some(event_type.as_str().to_owned()),
        source: Some(source.clone()),
        reporting_component: source.component.clone(),
        reporting_instance: Some(source.host.clone().unwrap_or_default()),
        ..Event::default()
    }
}

/// `<object>.<nanoseconds in hex>`, as everyone expects an event to be called.
fn event_name(regarding: &ObjectReference, now: Timestamp) -> String {
    format!("{}.{:x}", regarding.name.as_deref().unwrap_or_default(), now.as_nanosecond())
}

async fn send_all(client: Client, mut receiver: mpsc::Receiver<Event>) {
    let mut correlator = Correlator::default();
    while let Some(event) = receiver.recv().await {
        let now = event.last_timestamp.as_ref().map_or_else(Timestamp::now, |time| time.0);
        let verdict = correlator.correlate(event, now);
        for attempt in 1..=MAX_TRIES {
            match send(&client, &verdict).await {
                Ok(Some(sent)) => {
                    correlator.sent(&sent);
                    break;
                }
                Ok(None) => break,
                Err(error @ Error::Api(_)) => {
                    tracing::debug!(error = %error.message(), "the server rejected an event");
                    break;
                }
                Err(error) if attempt == MAX_TRIES => tracing::warn!(%error, "event not sent"),
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }
}

async fn send(client: &Client, verdict: &Verdict) -> Result<Option<Event>, Error> {
    match verdict {
        Verdict::Drop => Ok(None),
        Verdict::Create(event) => create(client, event).await.map(Some),
        Verdict::Count(event) => match patch(client, event).await {
            Err(error) if error.is_not_found() => create(client, event).await.map(Some),
            result => result.map(Some),
        },
    }
}

async fn create(client: &Client, event: &Event) -> Result<Event, Error> {
    let mut event = event.clone();
    event.metadata.resource_version = None;
    let path = Event::resource_type()
        .collection_path(event.metadata.namespace.as_deref().unwrap_or_default());
    let body = serde_json::to_vec(&event).map_err(Error::SerdeError)?;
    request::send(client, Method::POST, &path, request::JSON, body).await
}

async fn patch(client: &Client, event: &Event) -> Result<Event, Error> {
    let path = Event::resource_type().object_path(&ObjectKey::of(&event.metadata));
    let body = json!({"count": event.count, "lastTimestamp": event.last_timestamp, "message": event.message});
    request::send(
        client,
        Method::PATCH,
        &path,
        request::STRATEGIC_MERGE_PATCH,
        body.to_string().into_bytes(),
    )
    .await
}
