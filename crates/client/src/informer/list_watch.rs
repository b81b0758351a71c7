//! Following one collection: list, then watch from the list's revision, resume, list anew when the revision is gone.
//! Counterpart: client-go's `Reflector`.
//!
//! Invariants:
//! * [`step`] decides, [`follow`] does; a watch starts at exactly the revision its sink has reached.
//! * A fresh list is asked for "not older than" what was seen, so a sink never goes back in time.

use std::time::Duration;

use futures::StreamExt;
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::core::WatchEvent;
use kube::{Client, Error};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, random_unit};
use crate::error::ApiErrorExt;
use crate::request;
use crate::resource::{HasMeta, ResourceType};

/// The server is asked to end a watch after this time, so that load spreads over servers; jittered up to twice.
const WATCH_SECONDS: f64 = 300.0;
/// Time past the server's own end of a watch after which the connection is taken for dead.
const WATCH_GRACE: Duration = Duration::from_secs(30);

/// Where events of a followed collection go.
pub trait Sink<T>: Send + Sync + 'static {
    /// The whole collection as of `revision`: whatever is not in `items` is gone.
    fn replace(&self, items: Vec<T>, revision: u64);
    /// An object appeared or changed.
    fn upsert(&self, object: T);
    /// An object went away; `object` is its last state, with the revision of the removal.
    fn remove(&self, object: T);
    /// Nothing else happened up to `revision`.
    fn bookmark(&self, revision: u64);
}

/// What to follow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection {
    /// The resource.
    pub resource: ResourceType,
    /// One namespace, or all when empty.
    pub namespace: String,
    /// Label selector; empty selects everything.
    pub labels: String,
    /// Field selector; empty selects everything.
    pub fields: String,
    /// Ask for metadata only.
    pub metadata_only: bool,
}

impl Selection {
    /// Every object of a resource, in full.
    #[must_use]
    pub fn all(resource: ResourceType) -> Self {
        Self {
            resource,
            namespace: String::new(),
            labels: String::new(),
            fields: String::new(),
            metadata_only: false,
        }
    }

    fn path(&self, query: &[(&str, &str)]) -> String {
        let mut encoded = String::new();
        let selectors =
            [("labelSelector", self.labels.as_str()), ("fieldSelector", self.fields.as_str())];
        for (name, value) in selectors.iter().filter(|(_, value)| !value.is_empty()).chain(query) {
            encoded.push(if encoded.is_empty() { '?' } else { '&' });
            encoded.push_str(name);
            encoded.push('=');
            percent_encode(value, &mut encoded);
        }
        format!("{}{encoded}", self.resource.collection_path(&self.namespace))
    }

    fn list_request(&self, at: &ListAt) -> Result<http::Request<Vec<u8>>, Error> {
        let path = match at {
            ListAt::NotOlderThan(revision) => self
                .path(&[("resourceVersion", revision), ("resourceVersionMatch", "NotOlderThan")]),
            ListAt::Latest => self.path(&[]),
        };
        let accept = if self.metadata_only { request::ACCEPT_PARTIAL_LIST } else { request::JSON };
        request::build(Method::GET, &path, accept, request::JSON, Vec::new())
    }

    fn watch_request(
        &self,
        revision: &str,
        timeout: Duration,
    ) -> Result<http::Request<Vec<u8>>, Error> {
        let seconds = timeout.as_secs().to_string();
        let path = self.path(&[
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", revision),
            ("timeoutSeconds", &seconds),
        ]);
        let accept = if self.metadata_only { request::ACCEPT_PARTIAL } else { request::JSON };
        request::build(Method::GET, &path, accept, request::JSON, Vec::new())
    }
}

fn percent_encode(value: &str, into: &mut String) {
    use std::fmt::Write;
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            let _infallible = write!(into, "%{byte:02X}");
        }
    }
}

/// How fresh a list must be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ListAt {
    /// Any state from this revision on; cheap, served from the server's memory.
    NotOlderThan(String),
    /// The newest state.
    Latest,
}

/// Where following stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    List { at: ListAt },
    Watch { revision: String },
}

/// What came of the last request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Listed {
        revision: String,
    },
    /// The watch ended without an error, having reached `revision`; `idle` when it brought nothing.
    Ended {
        revision: String,
        idle: bool,
    },
    Failed {
        revision: String,
        expired: bool,
    },
}

/// What comes next: the new state and whether to back off first.
fn step(state: State, outcome: Outcome) -> (State, bool) {
    match (state, outcome) {
        (_, Outcome::Listed { revision }) => (State::Watch { revision }, false),
        (_, Outcome::Ended { revision, idle }) => (State::Watch { revision }, idle),
        (State::List { at: ListAt::NotOlderThan(_) }, Outcome::Failed { expired: true, .. }) => {
            (State::List { at: ListAt::Latest }, false)
        }
        (state @ State::List { .. }, Outcome::Failed { .. }) => (state, true),
        (State::Watch { .. }, Outcome::Failed { revision, expired: true }) => {
            (State::List { at: ListAt::NotOlderThan(revision) }, false)
        }
        (State::Watch { .. }, Outcome::Failed { revision, expired: false }) => {
            (State::Watch { revision }, true)
        }
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: serde::de::DeserializeOwned")]
struct ListOf<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Vec::new", deserialize_with = "null_as_empty")]
    items: Vec<T>,
}

fn null_as_empty<'de, T: serde::de::DeserializeOwned, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// Follows a collection into `sink` until `shutdown`.
pub async fn follow<T: HasMeta>(
    client: Client,
    selection: Selection,
    sink: impl Sink<T>,
    shutdown: CancellationToken,
) {
    let work = follow_forever(&client, &selection, &sink);
    let _cancelled = shutdown.run_until_cancelled(work).await;
}

async fn follow_forever<T: HasMeta>(client: &Client, selection: &Selection, sink: &impl Sink<T>) {
    let mut state = State::List { at: ListAt::NotOlderThan("0".to_owned()) };
    let mut failures = 0;
    loop {
        let outcome = match &state {
            State::List { at } => list(client, selection, at, sink).await,
            State::Watch { revision } => watch(client, selection, revision, sink).await,
        };
        let (next, back_off) = step(state, outcome);
        state = next;
        if back_off {
            tokio::time::sleep(Backoff::LIST_WATCH.jittered(failures)).await;
            failures += 1;
        } else {
            failures = 0;
        }
    }
}

async fn list<T: HasMeta>(
    client: &Client,
    selection: &Selection,
    at: &ListAt,
    sink: &impl Sink<T>,
) -> Outcome {
    let result = match selection.list_request(at) {
        Ok(request) => client.request::<ListOf<T>>(request).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(list) => {
            let revision = list.metadata.resource_version.unwrap_or_default();
            sink.replace(list.items, revision.parse().unwrap_or(0));
            Outcome::Listed { revision }
        }
        Err(error) => {
            tracing::warn!(resource = %selection.resource, error = %error.message(), "list failed");
            Outcome::Failed { revision: String::new(), expired: error.is_expired() }
        }
    }
}

async fn watch<T: HasMeta>(
    client: &Client,
    selection: &Selection,
    from: &str,
    sink: &impl Sink<T>,
) -> Outcome {
    let timeout = Duration::from_secs_f64(WATCH_SECONDS * (1.0 + random_unit()));
    let mut revision = from.to_owned();
    let watching = watch_once(client, selection, timeout, &mut revision, sink);
    let result = tokio::time::timeout(timeout + WATCH_GRACE, watching).await;
    match result {
        Ok(Ok(())) | Err(_) => Outcome::Ended { idle: revision == from, revision },
        Ok(Err(error)) => {
            tracing::debug!(resource = %selection.resource, error = %error.message(), "watch failed");
            Outcome::Failed { revision, expired: error.is_expired() }
        }
    }
}

async fn watch_once<T: HasMeta>(
    client: &Client,
    selection: &Selection,
    timeout: Duration,
    revision: &mut String,
    sink: &impl Sink<T>,
) -> Result<(), Error> {
    let request = selection.watch_request(revision, timeout)?;
    let events = client.request_events::<T>(request).await?;
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        if let Some(reached) = deliver(event?, sink)? {
            *revision = reached;
        }
    }
    Ok(())
}

/// Hands one event to the sink; the revision it brings the watch to.
fn deliver<T: HasMeta>(event: WatchEvent<T>, sink: &impl Sink<T>) -> Result<Option<String>, Error> {
    let reached = |object: &T| object.object_meta().resource_version.clone();
    Ok(match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            let revision = reached(&object);
            sink.upsert(object);
            revision
        }
        WatchEvent::Deleted(object) => {
            let revision = reached(&object);
            sink.remove(object);
            revision
        }
        WatchEvent::Bookmark(bookmark) => {
            sink.bookmark(bookmark.metadata.resource_version.parse().unwrap_or(0));
            Some(bookmark.metadata.resource_version)
        }
        WatchEvent::Error(status) => return Err(Error::Api(status)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind;
    use k8s_openapi::api::core::v1::Pod;

    #[test]
    fn step_follows_the_table() {
        let list = |at: &str| State::List { at: ListAt::NotOlderThan(at.to_owned()) };
        let watch = |at: &str| State::Watch { revision: at.to_owned() };
        let failed = |at: &str, expired| Outcome::Failed { revision: at.to_owned(), expired };
        let table = [
            ("list done", list("0"), Outcome::Listed { revision: "7".into() }, (watch("7"), false)),
            ("list fails", list("0"), failed("", false), (list("0"), true)),
            (
                "list too old",
                list("9"),
                failed("", true),
                (State::List { at: ListAt::Latest }, false),
            ),
            (
                "latest fails",
                State::List { at: ListAt::Latest },
                failed("", true),
                (State::List { at: ListAt::Latest }, true),
            ),
            (
                "watch ends",
                watch("7"),
                Outcome::Ended { revision: "9".into(), idle: false },
                (watch("9"), false),
            ),
            (
                "watch ends idle",
                watch("7"),
                Outcome::Ended { revision: "7".into(), idle: true },
                (watch("7"), true),
            ),
            ("watch breaks", watch("7"), failed("8", false), (watch("8"), true)),
            ("watch is gone", watch("7"), failed("8", true), (list("8"), false)),
        ];
        for (name, state, outcome, expected) in table {
            assert_eq!(step(state, outcome), expected, "{name}");
        }
    }

    #[test]
    fn paths_carry_encoded_selectors() {
        let selection = Selection {
            fields: "spec.nodeName=a b".into(),
            ..Selection::all(Pod::resource_type())
        };
        assert_eq!(
            selection.path(&[("limit", "5")]),
            "/api/v1/pods?fieldSelector=spec.nodeName%3Da%20b&limit=5"
        );
    }
}
