//! The cache of one resource: its objects, its recent changes, its watchers.
//!
//! Counterpart in Kubernetes: `cacher.watchCache` and `cacher.cacheWatcher`.
//! Invariant: everything below one lock; nothing awaits while it is held.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use api::kinds::Resource;
use api::schema::protobuf;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use store::{Event as StoreEvent, EventKind, Events, Key, Revision, StoreError};
use tokio::sync::mpsc;

use super::Predicate;
use crate::responses;
use crate::storage::{CorruptValue, Encoded};

/// Changes kept per resource for watches that start in the past; a client that reconnects after a minute of 30 changes a
/// second still finds its place, and older ones are served from the store's history.
const RING_CHANGES: usize = 2048;
/// Bytes of objects that the ring of one resource may keep alive.
const RING_BYTES: usize = 2 << 20;
/// Changes that wait for one watcher; one that reads slower than that is ended and lists again.
const WATCHER_QUEUE: usize = 4096;
/// Snapshots kept per resource for lists that come in pages; a page whose snapshot is gone is read from the store's history.
const PAGE_SNAPSHOTS: usize = 8;
/// How long such a snapshot is kept, since it keeps old objects in memory (Kubernetes forgets history after five minutes too).
const PAGE_SNAPSHOT_LIFETIME: Duration = Duration::from_secs(300);

/// Objects by key. Cloning shares the whole tree.
pub type Objects = imbl::OrdMap<Key, Arc<Encoded>>;

/// The objects of a resource at a revision.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Everything up to this revision is in, nothing after it.
    pub revision: Revision,
    /// The objects.
    pub objects: Objects,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Added,
    /// It was replaced.
    Modified,
    /// It was deleted.
    Deleted,
}

impl ChangeKind {
    /// The `type` of a watch event.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change of one object.
#[derive(Debug)]
pub struct Change {
    /// The revision of the change.
    pub revision: Revision,
    /// What happened.
    pub kind: ChangeKind,
    /// The new state; for a deletion the last state with the deletion's revision.
    pub object: Arc<Encoded>,
    /// The state before.
    pub previous: Option<Arc<Encoded>>,
    /// The watch event as most watchers get it, rendered once: as a line of JSON and in protobuf.
    line: OnceLock<Bytes>,
    frame: OnceLock<Bytes>,
}

impl Change {
    fn new(
        revision: Revision,
        kind: ChangeKind,
        object: Arc<Encoded>,
        previous: Option<Arc<Encoded>>,
    ) -> Self {
        Self { revision, kind, object, previous, line: OnceLock::new(), frame: OnceLock::new() }
    }

    fn from_store(
        resource: &Resource,
        event: &StoreEvent,
        previous: Option<Arc<Encoded>>,
    ) -> Result<Self, CorruptValue> {
        let entry = &event.entry;
        let object =
            Arc::new(Encoded::new(resource, entry.key.clone(), &entry.value, event.revision)?);
        let kind = match (event.kind, &previous) {
            (EventKind::Delete, _) => ChangeKind::Deleted,
            (EventKind::Put, None) => ChangeKind::Added,
            (EventKind::Put, Some(_)) => ChangeKind::Modified,
        };
        Ok(Self::new(event.revision, kind, object, previous))
    }

    /// How the change looks through a predicate: objects enter it as `ADDED` and leave it as `DELETED`.
    pub fn seen_through(&self, predicate: &Predicate) -> Option<ChangeKind> {
        let before = self.previous.as_ref().is_some_and(|object| predicate.matches(object));
        if self.kind == ChangeKind::Deleted {
            // Without a known state before, the last state is what there was.
            let was = before || (self.previous.is_none() && predicate.matches(&self.object));
            return was.then_some(ChangeKind::Deleted);
        }
        match (before, predicate.matches(&self.object)) {
            (false, true) => Some(ChangeKind::Added),
            (true, true) => Some(ChangeKind::Modified),
            (true, false) => Some(ChangeKind::Deleted),
            (false, false) => None,
        }
    }

    /// The object a watcher is shown: the new state, or the state before when the object leaves the predicate.
    pub fn shown(&self, seen: ChangeKind) -> Arc<Encoded> {
        match (&self.previous, seen) {
            (Some(previous), ChangeKind::Deleted) => Arc::new(previous.at_revision(self.revision)),
            _ => self.object.clone(),
        }
    }

    /// The watch event, ready to send.
    pub fn event(&self, seen: ChangeKind, framing: Framing) -> Bytes {
        let render = || framing.event(seen.name(), &self.shown(seen).json());
        match framing {
            _ if seen != self.kind => render(),
            Framing::Lines => self.line.get_or_init(render).clone(),
            Framing::Frames => self.frame.get_or_init(render).clone(),
        }
    }

    /// Bytes the change keeps in memory: the object and the event made of it, in the form most watchers take. The state
    /// before is mostly the object of an earlier change.
    fn size(&self) -> usize {
        2 * self.object.size()
    }
}

/// How the events of a watch follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Lines of JSON.
    Lines,
    /// Protobuf, each event behind its length.
    Frames,
}

impl Framing {
    /// A watch event around an object's JSON.
    pub fn event(self, kind: &str, json: &[u8]) -> Bytes {
        match self {
            Self::Lines => event_line(kind, json),
            Self::Frames => event_frame(kind, json),
        }
    }
}

fn event_frame(kind: &str, json: &[u8]) -> Bytes {
    let encoded = protobuf::encode(json).map(|object| protobuf::watch_frame(kind, &object));
    let frame = encoded.or_else(|error| {
        let status = serde_json::to_vec(&*responses::unencodable(&error).0).unwrap_or_default();
        protobuf::encode(&status).map(|object| protobuf::watch_frame("ERROR", &object))
    });
    frame.unwrap_or_default().into()
}

/// A watch event around an object's JSON, with the newline that ends it.
fn event_line(kind: &str, json: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(json.len() + kind.len() + 24);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(json);
    line.extend_from_slice(b"}\n");
    line.freeze()
}

/// The ring does not reach back to the revision a watch wants to start after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// The oldest revision a watch can start after.
    pub oldest: Revision,
}

/// The changes a watcher receives, in order, after those it was given at the start.
pub struct Feed {
    source: Source,
}

enum Source {
    Queue(mpsc::Receiver<Arc<Change>>),
    History { resource: &'static Resource, events: Events },
}

impl Feed {
    /// Changes straight from the store's history.
    pub fn from_store(resource: &'static Resource, events: Events) -> Self {
        Self { source: Source::History { resource, events } }
    }

    /// The next changes, at least one; `None` when the watcher was too slow, or the history has been compacted.
    pub async fn next(&mut self) -> Option<Vec<Arc<Change>>> {
        match &mut self.source {
            Source::Queue(queue) => {
                let mut changes = Vec::new();
                (queue.recv_many(&mut changes, WATCHER_QUEUE).await > 0).then_some(changes)
            }
            Source::History { resource, events } => next_of_history(resource, events).await,
        }
    }

    /// Changes that wait already, without waiting for more. A feed from history has none.
    pub fn waiting(&mut self) -> Vec<Arc<Change>> {
        match &mut self.source {
            Source::Queue(queue) => std::iter::from_fn(|| queue.try_recv().ok()).collect(),
            Source::History { .. } => Vec::new(),
        }
    }

    /// Whether everything the cache has applied is handed out by [`Self::waiting`], so that a bookmark can be given.
    pub fn follows_cache(&self) -> bool {
        matches!(self.source, Source::Queue(_))
    }
}

async fn next_of_history(
    resource: &'static Resource,
    events: &mut Events,
) -> Option<Vec<Arc<Change>>> {
    let batch: Result<Vec<StoreEvent>, StoreError> = events.next().await?;
    let changes = batch.ok()?.into_iter().map(|event| {
        let previous = event.previous.as_ref().or(match event.kind {
            EventKind::Delete => Some(&event.entry),
            EventKind::Put => None,
        });
        let previous = previous.map(|entry| {
            Encoded::new(resource, entry.key.clone(), &entry.value, entry.mod_revision)
                .map(Arc::new)
        });
        Change::from_store(resource, &event, previous.transpose()?).map(Arc::new)
    });
    changes.collect::<Result<Vec<_>, CorruptValue>>().ok()
}

struct Watcher {
    predicate: Predicate,
    queue: mpsc::Sender<Arc<Change>>,
}

#[derive(Default)]
struct State {
    objects: Objects,
    /// The last change applied to this resource.
    revision: Revision,
    /// Every change after this revision is in the ring.
    oldest: Revision,
    ring: VecDeque<Arc<Change>>,
    ring_bytes: usize,
    watchers: Vec<Watcher>,
    /// Kept for the next pages of lists, oldest first, with the time they were kept.
    pages: VecDeque<(Instant, Snapshot)>,
}

/// The cache of one resource.
pub struct ResourceCache {
    resource: &'static Resource,
    state: Mutex<State>,
}

impl ResourceCache {
    /// An empty cache.
    pub fn new(resource: &'static Resource) -> Self {
        Self { resource, state: Mutex::default() }
    }

    /// The row of the kind table.
    pub fn resource(&self) -> &'static Resource {
        self.resource
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave the state half-changed in a way that matters more than serving on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts over with these objects; every watcher is ended.
    pub(super) fn reset(&self, objects: Objects, revision: Revision) {
        let fresh = State { objects, revision, oldest: revision, ..State::default() };
        *self.lock() = fresh;
    }

    /// Applies one change and hands it to the watchers that want it.
    pub(super) fn apply(&self, event: &StoreEvent) {
        let mut state = self.lock();
        let previous = state.objects.get(&event.entry.key).cloned();
        match Change::from_store(self.resource, event, previous) {
            Ok(change) => state.take(Arc::new(change)),
            Err(error) => {
                tracing::error!(%error, "a change in the store cannot be read and is not shown")
            }
        }
    }

    /// One object.
    pub fn get(&self, key: &str) -> Option<Arc<Encoded>> {
        self.lock().objects.get(key).cloned()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.lock().objects.len()
    }

    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects now. `applied` must have been read before this call.
    pub fn snapshot(&self, applied: Revision) -> Snapshot {
        let state = self.lock();
        Snapshot { revision: applied.max(state.revision), objects: state.objects.clone() }
    }

    /// The objects as of a revision, if it is `known` and they have not changed since, or if they are kept for pages.
    pub(super) fn snapshot_at(
        &self,
        revision: Revision,
        known: RangeInclusive<Revision>,
    ) -> Option<Snapshot> {
        let mut state = self.lock();
        state.forget_old_pages();
        if state.revision <= revision && known.contains(&revision) {
            return Some(Snapshot { revision, objects: state.objects.clone() });
        }
        state.pages.iter().map(|page| &page.1).find(|page| page.revision == revision).cloned()
    }

    /// Keeps a snapshot for the next pages of a list.
    pub fn keep_for_pages(&self, snapshot: &Snapshot) {
        let mut state = self.lock();
        if state.pages.iter().any(|page| page.1.revision == snapshot.revision) {
            return;
        }
        if state.pages.len() == PAGE_SNAPSHOTS {
            state.pages.pop_front();
        }
        state.pages.push_back((Instant::now(), snapshot.clone()));
    }

    /// The objects now, and every change after them.
    pub fn subscribe_now(&self, predicate: Predicate, applied: Revision) -> (Snapshot, Feed) {
        let mut state = self.lock();
        let snapshot =
            Snapshot { revision: applied.max(state.revision), objects: state.objects.clone() };
        (snapshot, state.subscribe(predicate))
    }

    /// Every change after a revision.
    ///
    /// # Errors
    /// [`TooOld`] when the ring does not reach back that far.
    pub fn subscribe_after(
        &self,
        predicate: Predicate,
        after: Revision,
    ) -> Result<(Vec<Arc<Change>>, Feed), TooOld> {
        let mut state = self.lock();
        if after < state.oldest {
            return Err(TooOld { oldest: state.oldest });
        }
        let start = state.ring.partition_point(|change| change.revision <= after);
        let missed = state.ring.range(start..).cloned().collect();
        let feed = state.subscribe(predicate);
        Ok((missed, feed))
    }

    /// How many watchers there are.
    pub fn watchers(&self) -> usize {
        let mut state = self.lock();
        state.watchers.retain(|watcher| !watcher.queue.is_closed());
        state.watchers.len()
    }
}

impl State {
    fn take(&mut self, change: Arc<Change>) {
        self.revision = change.revision;
        match change.kind {
            ChangeKind::Deleted => self.objects.remove(change.object.key()),
            _ => self.objects.insert(change.object.key().clone(), change.object.clone()),
        };
        self.remember(change.clone());
        self.forget_old_pages();
        self.watchers.retain(|watcher| watcher.offer(&change));
    }

    fn forget_old_pages(&mut self) {
        while self.pages.front().is_some_and(|page| page.0.elapsed() > PAGE_SNAPSHOT_LIFETIME) {
            self.pages.pop_front();
        }
    }

    fn remember(&mut self, change: Arc<Change>) {
        self.ring_bytes += change.size();
        self.ring.push_back(change);
        while self.ring.len() > RING_CHANGES
            || (self.ring_bytes > RING_BYTES && self.ring.len() > 1)
        {
            let Some(gone) = self.ring.pop_front() else { break };
            self.ring_bytes -= gone.size();
            self.oldest = gone.revision;
        }
    }

    fn subscribe(&mut self, predicate: Predicate) -> Feed {
        let (queue, receiver) = mpsc::channel(WATCHER_QUEUE);
        self.watchers.retain(|watcher| !watcher.queue.is_closed());
        self.watchers.push(Watcher { predicate, queue });
        Feed { source: Source::Queue(receiver) }
    }
}

impl Watcher {
    /// Queues a change if it concerns the watcher; false when the watcher is gone or too slow.
    fn offer(&self, change: &Arc<Change>) -> bool {
        if change.seen_through(&self.predicate).is_none() {
            return !self.queue.is_closed();
        }
        match self.queue.try_send(change.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::debug!(key = %change.object.key(), "a watcher reads too slowly and is ended");
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}
