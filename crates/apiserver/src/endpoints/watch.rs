//! Watches: what changes, as lines of JSON or in protobuf, until the client has enough.
//!
//! Counterpart in Kubernetes: `endpoints/handlers/watch.go` and `storage/cacher`.
//!
//! Invariants:
//! - Each change after the start is sent once, in order; a watch that cannot go on without a gap ends.
//! - A bookmark at R is sent only after every change up to R.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::status::StatusError;
use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use store::{Revision, StoreError};
use tokio::time::Instant;

use super::list::{ListOptions, wait};
use super::{Call, output};
use crate::negotiation::{As, Format};
use crate::storage::Encoded;
use crate::table::{self, Columns};
use crate::watch_cache::{Change, ChangeKind, Feed, Framing, Predicate, ResourceCache};
use crate::{Body, responses};

/// The shortest time a watch lasts that names no timeout; it lasts up to twice as long, so that clients do not all come back at
/// once (Kubernetes' `--min-request-timeout`).
const MIN_TIMEOUT: Duration = Duration::from_secs(1800);
/// How often a watch that allows them gets a bookmark (Kubernetes: about a minute).
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// A last bookmark comes this long before the watch times out, so that the client finds its place again (Kubernetes: 2 s).
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Events are sent in chunks of about this size when many are waiting.
const CHUNK_BYTES: usize = 64 * 1024;

/// Answers with a watch.
pub(crate) async fn watch(call: Call) -> Result<Response<Body>, StatusError> {
    let format = call.accepted.format;
    let media_type = format.watch_media_type().ok_or_else(|| {
        let offered = [Format::Json, Format::Protobuf].map(Format::media_type);
        StatusError::not_acceptable(&offered.map(|name| format!("{name};stream=watch")))
    })?;
    let options = ListOptions::parse(&call)?;
    let start = Start::of(&options);
    let stream = WatchStream::open(call, &options, start).await?;
    let body = futures::stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok(chunk), stream))
    });
    Ok(responses::with_body(StatusCode::OK, media_type, Body::from_stream(body)))
}

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With everything there is, at least as fresh as this resourceVersion, then its changes.
    State { at_least: Option<Revision> },
    /// With the changes after the present state.
    Now,
    /// With the changes after this revision.
    After(Revision),
}

impl Start {
    fn of(options: &ListOptions) -> Self {
        match (options.send_initial_events, options.revision) {
            (Some(true), at_least) => Self::State { at_least },
            (Some(false), None | Some(0)) => Self::Now,
            (None, at_least @ (None | Some(0))) => Self::State { at_least },
            (_, Some(revision)) => Self::After(revision),
        }
    }
}

struct WatchStream {
    call: Shown,
    predicate: Predicate,
    /// Objects to be sent first, as `ADDED`.
    initial: std::vec::IntoIter<Arc<Encoded>>,
    /// Changes to be sent before the feed's.
    missed: std::vec::IntoIter<Arc<Change>>,
    /// The revision that ends the initial events, if a bookmark is to say so.
    end_of_initial_events: Option<Revision>,
    feed: Option<Feed>,
    /// A final event.
    failure: Option<Bytes>,
    sent: Revision,
    /// When the next bookmark is due, if the client wants them.
    next_bookmark: Option<Instant>,
    deadline: Instant,
}

/// What a watch needs of its call for as long as it lasts.
struct Shown {
    call: Call,
    framing: Framing,
    columns: Columns,
}

impl WatchStream {
    async fn open(call: Call, options: &ListOptions, start: Start) -> Result<Self, StatusError> {
        let cache = call.server.cache.clone();
        match start {
            Start::State { at_least } => wait(&cache, at_least).await?,
            Start::Now => wait(&cache, None).await?,
            Start::After(_) => {}
        }
        let predicate = options.predicate(&call);
        let resource = cache.of(call.resource).ok_or_else(StatusError::no_such_resource)?;
        let mut stream = Self::empty(call, options, predicate);
        match start {
            Start::State { .. } => stream.start_with_state(resource, cache.applied(), options),
            Start::Now => {
                stream.feed =
                    Some(resource.subscribe_now(stream.predicate.clone(), cache.applied()).1)
            }
            Start::After(revision) => stream.start_after(resource, revision),
        }
        Ok(stream)
    }

    fn empty(call: Call, options: &ListOptions, predicate: Predicate) -> Self {
        let deadline = Instant::now() + timeout(options);
        let next_bookmark = options.allow_watch_bookmarks.then(|| next_bookmark(deadline));
        Self {
            call: Shown { framing: framing(&call), call, columns: Columns::Shown },
            predicate,
            initial: Vec::new().into_iter(),
            missed: Vec::new().into_iter(),
            end_of_initial_events: None,
            feed: None,
            failure: None,
            sent: 0,
            next_bookmark,
            deadline,
        }
    }

    fn start_with_state(
        &mut self,
        resource: &ResourceCache,
        applied: Revision,
        options: &ListOptions,
    ) {
        let (snapshot, feed) = resource.subscribe_now(self.predicate.clone(), applied);
        let page = super::page::cut(&snapshot.objects, &self.predicate, None, None);
        self.initial = page.items.into_iter();
        self.feed = Some(feed);
        self.sent = snapshot.revision;
        self.end_of_initial_events = options.allow_watch_bookmarks.then_some(snapshot.revision);
    }

    fn start_after(&mut self, resource: &ResourceCache, revision: Revision) {
        self.sent = revision;
        match resource.subscribe_after(self.predicate.clone(), revision) {
            Ok((missed, feed)) => {
                self.missed = missed.into_iter();
                self.feed = Some(feed);
            }
            Err(_) => {
                match self.call.call.server.cache.history(self.call.call.resource, revision) {
                    Ok(feed) => self.feed = Some(feed),
                    Err(error) => self.failure = Some(self.call.failure(&error, revision)),
                }
            }
        }
    }

    /// The next lines, or `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.prepared() {
                return Some(chunk);
            }
            let feed = self.feed.as_mut()?;
            tokio::select! {
                () = tokio::time::sleep_until(self.deadline) => return None,
                () = due(self.next_bookmark) => if let Some(chunk) = self.bookmark() {
                    return Some(chunk);
                },
                changes = feed.next() => match changes {
                    Some(changes) => self.missed = changes.into_iter(),
                    None => self.end(),
                },
            }
        }
    }

    /// What can be sent without waiting; `None` if there is nothing.
    fn prepared(&mut self) -> Option<Bytes> {
        let mut chunk = BytesMut::new();
        while chunk.len() < CHUNK_BYTES {
            let Some(line) = self.next_line() else { break };
            if chunk.is_empty() && self.initial.len() == 0 && self.missed.len() == 0 {
                // A single event travels as the bytes that all watchers share.
                return Some(line);
            }
            chunk.extend_from_slice(&line);
        }
        (!chunk.is_empty()).then(|| chunk.freeze())
    }

    fn next_line(&mut self) -> Option<Bytes> {
        if let Some(object) = self.initial.next() {
            return Some(self.call.event(ChangeKind::Added, &object));
        }
        if let Some(revision) = self.end_of_initial_events.take() {
            return Some(self.call.bookmark(revision, true));
        }
        for change in self.missed.by_ref() {
            if change.revision <= self.sent {
                continue;
            }
            self.sent = change.revision;
            if let Some(seen) = change.seen_through(&self.predicate) {
                return Some(self.call.change(&change, seen));
            }
        }
        self.failure.take()
    }

    /// A bookmark at what is applied, behind everything that waits already.
    fn bookmark(&mut self) -> Option<Bytes> {
        self.next_bookmark = Some(next_bookmark(self.deadline));
        let applied = self.call.call.server.cache.applied();
        let feed = self.feed.as_mut().filter(|feed| feed.follows_cache())?;
        self.missed = feed.waiting().into_iter();
        let mut chunk = BytesMut::new();
        while let Some(line) = self.next_line() {
            chunk.extend_from_slice(&line);
        }
        self.sent = self.sent.max(applied);
        chunk.extend_from_slice(&self.call.bookmark(self.sent, false));
        Some(chunk.freeze())
    }

    /// The feed has ended: one from history because it was compacted away, one from the cache because the client is too slow.
    fn end(&mut self) {
        let from_history = self.feed.take().is_some_and(|feed| !feed.follows_cache());
        if from_history {
            let oldest = self.call.call.server.cache.applied();
            self.failure = Some(
                self.call
                    .failure(&StoreError::Compacted { requested: self.sent, oldest }, self.sent),
            );
        }
    }
}

impl Shown {
    fn change(&mut self, change: &Change, seen: ChangeKind) -> Bytes {
        match self.call.accepted.shown_as {
            As::Object if self.call.served.conversion.is_none() => change.event(seen, self.framing),
            _ => self.event(seen, &change.shown(seen)),
        }
    }

    fn event(&mut self, kind: ChangeKind, object: &Arc<Encoded>) -> Bytes {
        match output::show(&self.call, object, self.columns) {
            Ok(json) => {
                self.columns = Columns::Hidden;
                self.framing.event(kind.name(), &json)
            }
            Err(error) => self.error(&error),
        }
    }

    fn bookmark(&self, revision: Revision, end_of_initial_events: bool) -> Bytes {
        let (accepted, resource) = (self.call.accepted, self.call.served);
        let version = (accepted.shown_as != As::Object).then_some(accepted.meta_version);
        let object = table::bookmark(resource, version, revision, end_of_initial_events);
        let object = match accepted.shown_as {
            As::Table => table::bookmark_table(accepted.meta_version, revision, &object),
            _ => object,
        };
        self.framing.event("BOOKMARK", object.as_bytes())
    }

    fn failure(&self, error: &StoreError, revision: Revision) -> Bytes {
        self.error(&match error {
            StoreError::Compacted { oldest, .. } => {
                StatusError::expired(format!("too old resource version: {revision} ({oldest})"))
            }
            other => StatusError::internal(other),
        })
    }

    fn error(&self, error: &StatusError) -> Bytes {
        self.framing.event("ERROR", &serde_json::to_vec(&*error.0).unwrap_or_default())
    }
}

async fn due(next_bookmark: Option<Instant>) {
    match next_bookmark {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn next_bookmark(deadline: Instant) -> Instant {
    let now = Instant::now();
    let regular = now + BOOKMARK_INTERVAL;
    let last = deadline.checked_sub(LAST_BOOKMARK).filter(|last| *last > now);
    last.map_or(regular, |last| last.min(regular))
}

fn timeout(options: &ListOptions) -> Duration {
    match options.timeout_seconds {
        Some(seconds) => Duration::from_secs(seconds),
        None => {
            let dice = RandomState::new().hash_one(0_u8) % MIN_TIMEOUT.as_secs();
            MIN_TIMEOUT + Duration::from_secs(dice)
        }
    }
}

fn framing(call: &Call) -> Framing {
    if call.accepted.format == Format::Protobuf { Framing::Frames } else { Framing::Lines }
}
