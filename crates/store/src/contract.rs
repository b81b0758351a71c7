//! The storage contract: seven calls over bytes and revisions.
//!
//! Counterpart in Kubernetes: `go.etcd.io/etcd/client/v3/kubernetes.Interface`.
//!
//! Invariants every engine keeps:
//! - One revision counter for the whole store. Each acknowledged change has its own revision, larger than all before.
//! - `put` and `delete` compare and swap: of two callers that expect the same state, at most one is told [`Put::Done`].
//! - [`Put::Done`] means the change is on disk (engines that have one).
//! - A change is published to watchers only after it is durable, and to every reader of [`Store::revision`] no later
//!   than its writer is told; revisions are published in order.
//! - A watch after revision R yields every later change under its prefix exactly once, in order, or ends with
//!   [`StoreError::Compacted`]; it never has a gap.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;

/// A position in the store's history. Zero is "before everything"; the first change has revision 1 or more.
pub type Revision = u64;

/// A key: a path of printable bytes, such as `/registry/pods/default/kubia`.
pub type Key = Arc<str>;

/// Every key that starts with this string; empty means the whole store.
pub type Prefix = Arc<str>;

/// How long a key lives after the put that set it. It is deleted, with an event, within a second after that.
pub type Ttl = Duration;

/// An answer together with the revision of the store it is true at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The revision of the store when the answer was taken.
    pub revision: Revision,
    /// The answer.
    pub value: T,
}

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value, as it was put.
    pub value: Bytes,
    /// The revision of the put that created the key.
    pub create_revision: Revision,
    /// The revision of the latest put.
    pub mod_revision: Revision,
}

/// What a writer believes about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists and its latest put has this revision.
    Revision(Revision),
}

/// How a conditional write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is done and durable, at this revision.
    Done(Revision),
    /// Somebody was faster; nothing changed. The current entry, if the key exists, at the store's revision.
    Lost(At<Option<Entry>>),
}

/// Which part of a range to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// List as of this revision; `None` means now.
    pub revision: Option<Revision>,
    /// At most this many entries; `None` means all.
    pub limit: Option<usize>,
    /// Only keys strictly after this one.
    pub after: Option<Key>,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key was put; [`Event::entry`] is its new state.
    Put,
    /// The key was deleted; [`Event::entry`] is its last state (its `mod_revision` is that of its last put).
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The revision of this change.
    pub revision: Revision,
    /// What happened.
    pub kind: EventKind,
    /// See [`EventKind`].
    pub entry: Entry,
    /// The state before a put that replaced one; `None` for a creation and for a deletion.
    pub previous: Option<Entry>,
}

/// Changes in order, in batches as they became durable (a batch is never empty, and never splits a revision).
/// It ends after an error.
pub type Events = Pin<Box<dyn Stream<Item = Result<Vec<Event>, StoreError>> + Send>>;

/// Why the store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The revision asked for is no longer kept.
    #[error("revision {requested} has been compacted, the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest revision that can be listed.
        oldest: Revision,
    },
    /// The revision asked for is not there yet.
    #[error("revision {requested} is in the future, the newest is {newest}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// The data directory is used by another process.
    #[error("data directory {path} is in use by another process")]
    Locked {
        /// The data directory.
        path: String,
    },
    /// The data directory was written by a newer version.
    #[error("data directory {path} has format {found}, this binary knows up to {supported}")]
    Format {
        /// The data directory.
        path: String,
        /// The format found there.
        found: u32,
        /// The newest format this binary reads.
        supported: u32,
    },
    /// The disk failed. After this error every later write is refused, since what is durable is no longer known.
    #[error("storage failed: {0}")]
    Io(String),
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// The contract; see the head of this file.
#[async_trait::async_trait]
pub trait Store: Send + Sync {
    /// The newest published revision.
    fn revision(&self) -> Revision;

    /// The oldest revision that can still be listed, and that a watch can start after.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn oldest(&self) -> Result<Revision, StoreError>;

    /// The entry of a key now.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Closed`].
    async fn get(&self, key: &str) -> Result<At<Option<Entry>>, StoreError>;

    /// The entries of a range in key order. The answer's revision is the page's revision, or the newest one.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] and [`StoreError::Future`] for a revision that cannot be listed; `Io`, `Closed`.
    async fn list(&self, prefix: &str, page: Page) -> Result<At<Vec<Entry>>, StoreError>;

    /// How many keys a range has now.
    ///
    /// # Errors
    /// `Io`, `Closed`.
    async fn count(&self, prefix: &str) -> Result<At<u64>, StoreError>;

    /// Sets a key if it is in the expected state. A put without `ttl` clears an earlier one.
    ///
    /// # Errors
    /// `Io`, `Closed`; a lost race is not an error but [`Put::Lost`].
    async fn put(
        &self,
        key: Key,
        value: Bytes,
        expect: Expect,
        ttl: Option<Ttl>,
    ) -> Result<Put, StoreError>;

    /// Deletes a key if it is in the expected state; [`Expect::Absent`] always loses or does nothing and is refused
    /// as [`Put::Lost`].
    ///
    /// # Errors
    /// `Io`, `Closed`.
    async fn delete(&self, key: Key, expect: Expect) -> Result<Put, StoreError>;

    /// Every change after a revision under a prefix.
    ///
    /// # Errors
    /// [`StoreError::Compacted`], [`StoreError::Future`]; the same end the stream when a watcher falls too far behind.
    fn watch(&self, prefix: &str, after: Revision) -> Result<Events, StoreError>;

    /// Forgets the history before a revision: lists and watches from before it end with [`StoreError::Compacted`].
    ///
    /// # Errors
    /// [`StoreError::Future`] for a revision that is not there yet.
    async fn compact(&self, before: Revision) -> Result<(), StoreError>;
}
