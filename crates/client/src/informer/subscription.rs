//! Changes for a consumer that works at its own pace. Counterpart: client-go's `DeltaFIFO`, with deltas merged.
//!
//! Invariants:
//! * Between two takes there is at most one pending change per key: from the state last taken to the newest state. That
//!   is the bound of the buffer, and why nothing is ever dropped.
//! * Keys come in the order in which they first changed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::cache::Change;
use crate::resource::{HasMeta, ObjectKey};

struct Pending<T> {
    order: VecDeque<ObjectKey>,
    changes: BTreeMap<ObjectKey, Change<T>>,
}

struct Shared<T> {
    pending: Mutex<Pending<T>>,
    changed: Notify,
}

/// A stream of changes, merged per key while they are not taken.
pub struct Subscription<T>(Arc<Shared<T>>);

impl<T> std::fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscription")
    }
}

impl<T> Clone for Subscription<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Subscription<T> {
    fn default() -> Self {
        let pending = Pending { order: VecDeque::new(), changes: BTreeMap::new() };
        Self(Arc::new(Shared { pending: Mutex::new(pending), changed: Notify::new() }))
    }
}

impl<T: HasMeta> Subscription<T> {
    pub(crate) fn push(&self, change: &Change<T>) {
        let Some(latest) = change.latest() else { return };
        let key = ObjectKey::of(latest.object_meta());
        let mut pending = self.0.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = pending.changes.get_mut(&key) {
            earlier.new.clone_from(&change.new);
        } else {
            pending.order.push_back(key.clone());
            pending.changes.insert(key, change.clone());
        }
        drop(pending);
        self.0.changed.notify_one();
    }

    /// The next change if one is pending. A key that came and went in between is skipped.
    #[must_use]
    pub fn try_next(&self) -> Option<Change<T>> {
        let mut pending = self.0.pending.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(key) = pending.order.pop_front() {
            match pending.changes.remove(&key) {
                Some(change) if change.latest().is_some() => return Some(change),
                _ => {}
            }
        }
        None
    }

    /// The next change, waiting for one. Only one task may wait at a time.
    pub async fn next(&self) -> Change<T> {
        loop {
            let changed = self.0.changed.notified();
            if let Some(change) = self.try_next() {
                return change;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::informer::Cache;
    use crate::informer::list_watch::Sink;
    use crate::resource::revision_of;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn object(name: &str, revision: u64) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.into());
        object.metadata.resource_version = Some(revision.to_string());
        object
    }

    fn revisions(change: &Change<ConfigMap>) -> (Option<u64>, Option<u64>) {
        let revision =
            |object: &Option<Arc<ConfigMap>>| object.as_ref().map(|o| revision_of(&o.metadata));
        (revision(&change.old), revision(&change.new))
    }

    #[tokio::test]
    async fn untaken_changes_of_a_key_are_merged() {
        let cache: Cache<ConfigMap> = Cache::default();
        cache.replace(vec![object("a", 1)], 1);
        let subscription = cache.subscribe();
        cache.upsert(object("b", 2));
        cache.upsert(object("a", 3));
        assert_eq!(revisions(&subscription.next().await), (None, Some(3)));
        assert_eq!(revisions(&subscription.next().await), (None, Some(2)));
        cache.upsert(object("a", 4));
        cache.remove(object("a", 5));
        cache.upsert(object("c", 6));
        cache.remove(object("c", 7));
        assert_eq!(revisions(&subscription.next().await), (Some(3), None));
        assert!(subscription.try_next().is_none());
    }
}
