//! Every object in memory, as bytes: what reads and watches are served from.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/storage/cacher`.
//!
//! One task follows the whole store and hands each change to the cache of its resource: an ordered persistent map (a snapshot is
//! one clone), a bounded ring of recent changes for watches that start in the past, and a bounded queue per watcher.
//!
//! Invariants:
//! - Changes are applied in revision order, and [`WatchCache::applied`] moves only after a batch is applied and handed to every
//!   watcher, so a reader that waits for revision R sees every write answered up to R.
//! - A watcher receives each change after its start exactly once, in order, or its queue ends.
//! - A snapshot and the subscription taken with it share one revision: nothing falls in between.

mod predicate;
mod resource_cache;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::kinds::{self, Resource};
use futures::StreamExt;
use store::{Event as StoreEvent, Events, Page, Revision, Store, StoreError};
use tokio::sync::watch;

use crate::storage::{CorruptValue, Encoded};

pub use predicate::Predicate;
pub use resource_cache::{
    Change, ChangeKind, Feed, Framing, Objects, ResourceCache, Snapshot, TooOld,
};

/// How long a read waits for the cache to reach a revision before the client is told to try again (Kubernetes: 3 s).
pub const FRESHNESS_TIMEOUT: Duration = Duration::from_secs(3);

/// Below this prefix lie the objects; what lies beside it (reservations) has no watchers.
const OBJECTS_PREFIX: &str = "/registry/";

/// Why the cache could not start.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value in the store cannot be read.
    #[error(transparent)]
    Corrupt(#[from] CorruptValue),
}

/// The cache did not reach a revision in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The revision asked for.
    pub requested: Revision,
    /// The revision the cache has reached.
    pub current: Revision,
}

/// The caches of all resources.
pub struct WatchCache {
    store: Arc<dyn Store>,
    resources: BTreeMap<(&'static str, &'static str), ResourceCache>,
    applied: watch::Sender<Revision>,
    following: AtomicBool,
}

impl WatchCache {
    /// Reads the whole store and follows it from then on, in a task that ends with the store.
    ///
    /// # Errors
    /// [`CacheError`] when the store or a value in it cannot be read.
    pub async fn start(store: Arc<dyn Store>) -> Result<Arc<Self>, CacheError> {
        let resources =
            kinds::stored().map(|row| ((row.group, row.plural), ResourceCache::new(row)));
        let cache = Arc::new(Self {
            store,
            resources: resources.collect(),
            applied: watch::Sender::new(0),
            following: AtomicBool::new(true),
        });
        let events = cache.fill().await?;
        let follower = cache.clone();
        tokio::spawn(async move {
            follower.follow(events).await;
            follower.following.store(false, Ordering::Release);
        });
        Ok(cache)
    }

    /// The cache of a resource.
    pub fn of(&self, resource: &Resource) -> Option<&ResourceCache> {
        self.resources.get(&(resource.group, resource.plural))
    }

    /// Every change up to this revision is applied.
    pub fn applied(&self) -> Revision {
        *self.applied.borrow()
    }

    /// Whether changes of the store still arrive; once false, reads are refused as not fresh enough.
    pub fn is_following(&self) -> bool {
        self.following.load(Ordering::Acquire)
    }

    /// Tells when [`Self::applied`] moves.
    pub fn progress(&self) -> watch::Receiver<Revision> {
        self.applied.subscribe()
    }

    /// Waits until every write answered before this call is applied.
    ///
    /// # Errors
    /// [`TooLarge`] if that takes longer than [`FRESHNESS_TIMEOUT`].
    pub async fn read_your_writes(&self) -> Result<(), TooLarge> {
        self.wait_for(self.store.revision()).await
    }

    /// Waits until a revision is applied.
    ///
    /// # Errors
    /// [`TooLarge`] if that takes longer than [`FRESHNESS_TIMEOUT`].
    pub async fn wait_for(&self, revision: Revision) -> Result<(), TooLarge> {
        if self.applied() >= revision {
            return Ok(());
        }
        let mut progress = self.applied.subscribe();
        let reached = progress.wait_for(|applied| *applied >= revision);
        match tokio::time::timeout(FRESHNESS_TIMEOUT, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(TooLarge { requested: revision, current: self.applied() }),
        }
    }

    /// A snapshot of a resource that is true at its revision.
    pub fn snapshot(&self, resource: &Resource) -> Snapshot {
        let applied = self.applied();
        self.of(resource).map_or_else(Snapshot::default, |cache| cache.snapshot(applied))
    }

    /// Objects of a resource as of a past revision: from the cache if it still has that state, else from the store. What the
    /// store has forgotten is gone, whether the resource changed since or not: what a client sees of a revision does not depend on
    /// what others do.
    ///
    /// # Errors
    /// `Compacted`, `Future` and failures of the store.
    pub async fn snapshot_at(
        &self,
        resource: &Resource,
        revision: Revision,
    ) -> Result<Snapshot, CacheError> {
        let known = self.store.oldest()?..=self.applied();
        let kept = self.of(resource).and_then(|cache| cache.snapshot_at(revision, known));
        if let Some(snapshot) = kept {
            return Ok(snapshot);
        }
        let page = Page { revision: Some(revision), ..Page::default() };
        let listed = self.store.list(&resource.storage_prefix(), page).await?;
        let mut objects = Objects::new();
        for entry in listed.value {
            let encoded =
                Encoded::new(resource, entry.key.clone(), &entry.value, entry.mod_revision)?;
            objects.insert(entry.key, Arc::new(encoded));
        }
        Ok(Snapshot { revision, objects })
    }

    /// Changes of a resource after a revision that the ring no longer holds, straight from the store's history.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when the store has forgotten them too.
    pub fn history(
        &self,
        resource: &'static Resource,
        after: Revision,
    ) -> Result<Feed, StoreError> {
        let events = self.store.watch(&resource.storage_prefix(), after)?;
        Ok(Feed::from_store(resource, events))
    }

    /// Lists the store into the caches, and opens the watch that continues from there.
    async fn fill(&self) -> Result<Events, CacheError> {
        let listed = self.store.list(OBJECTS_PREFIX, Page::default()).await?;
        let mut objects: BTreeMap<(&str, &str), Objects> = BTreeMap::new();
        for entry in listed.value {
            let Some(cache) = resource_of(&entry.key).and_then(|names| self.resources.get(&names))
            else {
                continue;
            };
            let row = cache.resource();
            let encoded = Encoded::new(row, entry.key.clone(), &entry.value, entry.mod_revision)?;
            objects
                .entry((row.group, row.plural))
                .or_default()
                .insert(entry.key, Arc::new(encoded));
        }
        for (names, cache) in &self.resources {
            cache.reset(objects.remove(names).unwrap_or_default(), listed.revision);
        }
        let events = self.store.watch("", listed.revision)?;
        self.applied.send_replace(listed.revision);
        Ok(events)
    }

    async fn follow(&self, mut events: Events) {
        loop {
            let error = self.apply_all(&mut events).await;
            if !matches!(error, Some(StoreError::Compacted { .. })) {
                tracing::error!(?error, "the store's watch ended, reads are no longer fresh");
                return;
            }
            tracing::warn!(
                "the watch cache fell behind the store's history and reads everything again"
            );
            events = match self.fill().await {
                Ok(events) => events,
                Err(error) => {
                    tracing::error!(%error, "the watch cache cannot be filled again");
                    return;
                }
            };
        }
    }

    async fn apply_all(&self, events: &mut Events) -> Option<StoreError> {
        while let Some(batch) = events.next().await {
            match batch {
                Ok(batch) => self.apply(&batch),
                Err(error) => return Some(error),
            }
        }
        None
    }

    fn apply(&self, batch: &[StoreEvent]) {
        for event in batch {
            let names = resource_of(&event.entry.key);
            if let Some(cache) = names.and_then(|names| self.resources.get(&names)) {
                cache.apply(event);
            }
        }
        if let Some(last) = batch.last() {
            self.applied.send_replace(last.revision);
        }
    }
}

/// Group and plural of the resource that a storage key belongs to.
fn resource_of(key: &str) -> Option<(&str, &str)> {
    let mut parts = key.strip_prefix(OBJECTS_PREFIX)?.splitn(3, '/');
    let (group, plural) = (parts.next()?, parts.next()?);
    parts.next()?;
    Some((if group == "core" { "" } else { group }, plural))
}
