//! The embedded engine: fjall behind one committer that groups whatever is queued into one synced batch.
//!
//! Layout, two keyspaces and a small third:
//!
//! | keyspace  | key                | value                                                          |
//! |-----------|--------------------|----------------------------------------------------------------|
//! | `records` | revision, 8 bytes  | the change: kind, key, value, and the revision it replaced      |
//! | `live`    | key                | where the key stands: latest revision, creation, deadline       |
//! | `meta`    | `compacted`        | the revision that history begins at                             |
//!
//! Example: put a (2), put b (3), put a (4), delete b (5) leaves `records` 2:a 3:b 4:a→2 5:†b→3 and `live` a→4. The
//! state at revision 3 is today's with each later record undone: a→2, b→3. Compacting to 4 walks records up to 4 and
//! drops what each replaced (2); compacting to 5 drops 3 and the tombstone 5 itself.
//!
//! Invariants:
//! - Only the committer thread writes. It checks expectations, assigns revisions, syncs, publishes, then answers.
//! - What fjall shows a reader is durable, but may not be published yet; readers undo what is newer than the
//!   published revision, so an answer is always true at its revision.
//! - After a failed sync nothing more is acknowledged: what is on disk is unknown until the next start.

mod committer;
mod record;
mod watch;

use std::path::Path;
use std::sync::{Arc, Mutex};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, Readable, Snapshot};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::contract::{
    At, Entry, Events, Expect, Key, Page, Put, Revision, Store, StoreError, Ttl,
};
use committer::{Change, Committer, Request};
use record::{Live, Record};

/// The format this binary writes; a directory with a larger one is refused.
pub const FORMAT: u32 = 1;
/// Writes waiting for the committer: enough for a few thousand clients, small enough to push back before memory does.
const QUEUE: usize = 4096;
/// Block cache: reads are served by the watch cache above, so this only speeds up start and compaction.
const CACHE_BYTES: u64 = 8 << 20;
/// Memory a keyspace gathers before it is written to a table.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// The write-ahead journal's size before old parts are reclaimed (fjall's least is 64 MiB).
const JOURNAL_BYTES: u64 = 128 << 20;

/// A store in a directory of its own.
pub struct Fjall {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    committer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What readers, watchers and the committer share.
struct Shared {
    db: Database,
    records: Keyspace,
    live: Keyspace,
    meta: Keyspace,
    recent: watch::Recent,
}

impl Fjall {
    /// Opens or creates the store in a directory and starts its committer.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open, [`StoreError::Format`] when a newer version wrote it,
    /// [`StoreError::Io`] when the disk fails or holds something else.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        check_format(path)?;
        let db = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .open()
            .map_err(|error| open_error(path, &error))?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let records = db.keyspace("records", options).map_err(io)?;
        let live = db.keyspace("live", options).map_err(io)?;
        let meta = db.keyspace("meta", options).map_err(io)?;
        write_format(path)?;
        let compacted = read_compacted(&meta)?;
        let newest = records.last_key_value().map(|guard| guard.key()).transpose().map_err(io)?;
        let newest = newest.map(|key| record::revision_of(&key)).transpose()?.unwrap_or(1);
        let recent = watch::Recent::new(newest.max(compacted), compacted);
        let shared = Arc::new(Shared { db, records, live, meta, recent });
        let (requests, queue) = mpsc::channel(QUEUE);
        let committer = Committer::new(shared.clone(), queue)?;
        let thread = std::thread::Builder::new()
            .name("store-committer".into())
            .spawn(move || committer.run())
            .map_err(io)?;
        Ok(Self { shared, requests, committer: Mutex::new(Some(thread)) })
    }

    async fn change(&self, key: Key, expect: Expect, change: Change) -> Result<Put, StoreError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Change { key, expect, change, answer };
        self.requests.send(request).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Fjall {
    /// Lets the committer finish what is queued, so that the directory is unlocked when this returns.
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.requests, closed));
        let thread = self.committer.lock().ok().and_then(|mut thread| thread.take());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's committer panicked");
        }
    }
}

#[async_trait::async_trait]
impl Store for Fjall {
    fn revision(&self) -> Revision {
        self.shared.recent.revision()
    }

    fn oldest(&self) -> Result<Revision, StoreError> {
        read_compacted(&self.shared.meta)
    }

    async fn get(&self, key: &str) -> Result<At<Option<Entry>>, StoreError> {
        let revision = self.shared.recent.revision();
        let snapshot = self.shared.db.snapshot();
        let Some(live) = self.shared.live_in(&snapshot, key)? else {
            let value = self.shared.deleted_since(&snapshot, key, revision)?;
            return Ok(At { revision, value });
        };
        let value = self.shared.entry_at(&snapshot, live.revision, revision)?;
        Ok(At { revision, value })
    }

    async fn list(&self, prefix: &str, page: Page) -> Result<At<Vec<Entry>>, StoreError> {
        let (shared, prefix) = (self.shared.clone(), prefix.to_owned());
        blocking(move || shared.list(&prefix, &page)).await
    }

    async fn count(&self, prefix: &str) -> Result<At<u64>, StoreError> {
        let (shared, prefix) = (self.shared.clone(), prefix.to_owned());
        blocking(move || {
            let revision = shared.recent.revision();
            let keys = shared.keys_at(&shared.db.snapshot(), &prefix, revision)?;
            Ok(At { revision, value: keys.len() as u64 })
        })
        .await
    }

    async fn put(
        &self,
        key: Key,
        value: Bytes,
        expect: Expect,
        ttl: Option<Ttl>,
    ) -> Result<Put, StoreError> {
        self.change(key, expect, Change::Put { value, ttl }).await
    }

    async fn delete(&self, key: Key, expect: Expect) -> Result<Put, StoreError> {
        self.change(key, expect, Change::Delete).await
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Events, StoreError> {
        watch::events(self.shared.clone(), prefix, after)
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Compact { before, answer };
        self.requests.send(request).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

impl Shared {
    fn live_in(&self, view: &Snapshot, key: &str) -> Result<Option<Live>, StoreError> {
        let found = view.get(&self.live, key).map_err(io)?;
        found.map(|bytes| Live::decode(&bytes)).transpose()
    }

    fn record(&self, view: &Snapshot, revision: Revision) -> Result<Option<Record>, StoreError> {
        let found = view.get(&self.records, revision.to_be_bytes()).map_err(io)?;
        found.map(|bytes| Record::decode(revision, bytes.into())).transpose()
    }

    /// The entry that the change at `latest`, or the newest it replaced that is not after `revision`, left behind.
    fn entry_at(
        &self,
        view: &Snapshot,
        latest: Revision,
        revision: Revision,
    ) -> Result<Option<Entry>, StoreError> {
        let mut at = latest;
        while at != 0 {
            let record = self.record(view, at)?.ok_or_else(|| lost_record(at))?;
            if at <= revision {
                return Ok(record.into_entry());
            }
            at = record.replaced;
        }
        Ok(None)
    }

    /// A key that is not live now, as it was at a published revision: a delete after it may not be published yet.
    fn deleted_since(
        &self,
        view: &Snapshot,
        key: &str,
        revision: Revision,
    ) -> Result<Option<Entry>, StoreError> {
        let later = self.later(view, revision, key)?;
        let Some((_, replaced)) = later.into_iter().find(|(changed, _)| &**changed == key) else {
            return Ok(None);
        };
        self.entry_at(view, replaced, revision)
    }

    /// What the first change after a revision replaced, for every key under a prefix that changed after it.
    fn later(
        &self,
        view: &Snapshot,
        revision: Revision,
        prefix: &str,
    ) -> Result<std::collections::BTreeMap<Key, Revision>, StoreError> {
        let mut undone = std::collections::BTreeMap::new();
        for guard in view.range(&self.records, (revision + 1).to_be_bytes()..) {
            let (at, bytes) = guard.into_inner().map_err(io)?;
            let record = Record::decode(record::revision_of(&at)?, bytes.into())?;
            if record.key.starts_with(prefix) {
                undone.entry(record.key).or_insert(record.replaced);
            }
        }
        Ok(undone)
    }

    /// Every key under a prefix at a revision, with the revision of its latest change then.
    fn keys_at(
        &self,
        view: &Snapshot,
        prefix: &str,
        revision: Revision,
    ) -> Result<std::collections::BTreeMap<Key, Revision>, StoreError> {
        let mut keys = std::collections::BTreeMap::new();
        for guard in view.prefix(&self.live, prefix) {
            let (key, bytes) = guard.into_inner().map_err(io)?;
            keys.insert(record::key_of(&key)?, Live::decode(&bytes)?.revision);
        }
        for (key, replaced) in self.later(view, revision, prefix)? {
            match replaced {
                0 => keys.remove(&key),
                _ => keys.insert(key, replaced),
            };
        }
        Ok(keys)
    }

    fn list(&self, prefix: &str, page: &Page) -> Result<At<Vec<Entry>>, StoreError> {
        let newest = self.recent.revision();
        let revision = page.revision.unwrap_or(newest);
        if revision > newest {
            return Err(StoreError::Future { requested: revision, newest });
        }
        let view = self.db.snapshot();
        let oldest = read_compacted(&self.meta)?;
        if revision < oldest {
            return Err(StoreError::Compacted { requested: revision, oldest });
        }
        let keys = self.keys_at(&view, prefix, revision)?;
        let wanted = keys.into_iter().filter(|(k, _)| page.after.as_ref().is_none_or(|a| k > a));
        let mut value = Vec::new();
        for (_, at) in wanted.take(page.limit.unwrap_or(usize::MAX)) {
            let record = self.record(&view, at)?.ok_or_else(|| lost_record(at))?;
            value.extend(record.into_entry());
        }
        Ok(At { revision, value })
    }
}

fn read_compacted(meta: &Keyspace) -> Result<Revision, StoreError> {
    let found = meta.get("compacted").map_err(io)?;
    Ok(found.map(|bytes| record::revision_of(&bytes)).transpose()?.unwrap_or(0))
}

async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(f).await.map_err(|_| StoreError::Closed)?
}

fn io(error: impl std::fmt::Display) -> StoreError {
    StoreError::Io(error.to_string())
}

fn lost_record(revision: Revision) -> StoreError {
    StoreError::Io(format!("the record of revision {revision} is missing"))
}

fn open_error(path: &Path, error: &::fjall::Error) -> StoreError {
    match error {
        ::fjall::Error::Locked => StoreError::Locked { path: path.display().to_string() },
        error => io(error),
    }
}

fn format_file(path: &Path) -> std::path::PathBuf {
    path.join("knarr-format")
}

fn check_format(path: &Path) -> Result<(), StoreError> {
    let text = match std::fs::read_to_string(format_file(path)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    let found: u32 = text.trim().parse().map_err(io)?;
    if found > FORMAT {
        let path = path.display().to_string();
        return Err(StoreError::Format { path, found, supported: FORMAT });
    }
    Ok(())
}

fn write_format(path: &Path) -> Result<(), StoreError> {
    if format_file(path).exists() {
        return Ok(());
    }
    std::fs::write(format_file(path), format!("{FORMAT}\n")).map_err(io)
}
