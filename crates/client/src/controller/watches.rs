//! What a controller reads, and which keys a change concerns. Counterpart: controller-runtime's `source` and `handler`.
//!
//! Invariant: a controller can only read caches it declared, so everything it reads is synced before it first runs.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::meta::controller_of;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::execute::{Expected, Written};
use crate::informer::{Cache, Change, Informers};
use crate::resource::{HasMeta, Kind, ObjectKey, ResourceType};
use crate::work_queue::{QueueKey, WorkQueue};

/// One kind's cache with its type forgotten.
trait ErasedCache: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn synced(&self) -> BoxFuture<'_, ()>;
    fn has_seen(&self, written: &Written) -> bool;
    fn see<'a>(&'a self, written: &'a Written) -> BoxFuture<'a, ()>;
}

/// A deletion is seen when the object is gone, is another one, or is marked as being deleted.
fn deletion_is_seen(cached: Option<&ObjectMeta>, uid: Option<&str>) -> bool {
    cached.is_none_or(|meta| {
        meta.deletion_timestamp.is_some() || (uid.is_some() && meta.uid.as_deref() != uid)
    })
}

impl<K: Kind> ErasedCache for Cache<K> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn synced(&self) -> BoxFuture<'_, ()> {
        Self::synced(self).boxed()
    }

    fn has_seen(&self, written: &Written) -> bool {
        match &written.expected {
            Expected::Revision(revision) => self.revision() >= *revision,
            Expected::Deletion { uid } => deletion_is_seen(
                self.get(&written.key).as_deref().map(HasMeta::object_meta),
                uid.as_deref(),
            ),
        }
    }

    fn see<'a>(&'a self, written: &'a Written) -> BoxFuture<'a, ()> {
        self.wait_for(move |cache| ErasedCache::has_seen(cache, written)).boxed()
    }
}

/// The caches a controller declared in its [`Watches`].
#[derive(Clone, Default)]
pub struct Caches {
    by_type: Arc<BTreeMap<TypeId, Box<dyn ErasedCache>>>,
    by_resource: Arc<BTreeMap<ResourceType, TypeId>>,
}

impl std::fmt::Debug for Caches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.by_resource.keys().map(ToString::to_string)).finish()
    }
}

impl Caches {
    /// The cache of kind `K`.
    ///
    /// # Panics
    /// When the controller did not declare that it reads `K`: its caches would not be known to be synced.
    #[must_use]
    pub fn of<K: Kind>(&self) -> &Cache<K> {
        let cache =
            self.by_type.get(&TypeId::of::<K>()).and_then(|cache| cache.as_any().downcast_ref());
        cache.unwrap_or_else(|| {
            panic!("a controller reads {} without declaring it in its watches", K::KIND)
        })
    }

    /// Caches that were filled by hand; for tests.
    #[must_use]
    pub fn with<K: Kind>(mut self, cache: Cache<K>) -> Self {
        let mut by_type = Arc::into_inner(std::mem::take(&mut self.by_type)).unwrap_or_default();
        let mut by_resource =
            Arc::into_inner(std::mem::take(&mut self.by_resource)).unwrap_or_default();
        by_resource.insert(K::resource_type(), TypeId::of::<K>());
        by_type.insert(TypeId::of::<K>(), Box::new(cache));
        Self { by_type: Arc::new(by_type), by_resource: Arc::new(by_resource) }
    }

    /// Waits for the first list of every cache.
    pub async fn synced(&self) {
        join_all(self.by_type.values().map(|cache| cache.synced())).await;
    }

    fn cache_of(&self, written: &Written) -> Option<&dyn ErasedCache> {
        Some(self.by_type.get(self.by_resource.get(&written.resource)?)?.as_ref())
    }

    /// Whether the caches show every write; writes of kinds that are not read do not count.
    #[must_use]
    pub fn have_seen(&self, written: &[Written]) -> bool {
        written.iter().all(|write| self.cache_of(write).is_none_or(|cache| cache.has_seen(write)))
    }

    /// Waits until [`Self::have_seen`].
    pub async fn see(&self, written: &[Written]) {
        for write in written {
            if let Some(cache) = self.cache_of(write) {
                cache.see(write).await;
            }
        }
    }
}

type Connect<Key> = Box<dyn FnOnce(&Caches, &Arc<WorkQueue<Key>>) + Send>;
type Open = Box<dyn FnOnce(&Informers, Caches) -> Caches + Send>;

/// The kinds a controller reads, each with the keys that its changes concern.
pub struct Watches<Key> {
    open: Vec<Open>,
    connect: Vec<Connect<Key>>,
}

impl<Key> std::fmt::Debug for Watches<Key> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watches({} kinds)", self.open.len())
    }
}

impl<Key: QueueKey> Default for Watches<Key> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Key: QueueKey> Watches<Key> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { open: Vec::new(), connect: Vec::new() }
    }

    /// Reads kind `K` without being woken by it.
    #[must_use]
    pub fn read<K: Kind>(self) -> Self {
        self.select::<K>("")
    }

    /// Reads only the objects of kind `K` that match a field selector; empty selects all.
    #[must_use]
    pub fn select<K: Kind>(mut self, fields: &'static str) -> Self {
        self.open.push(Box::new(move |informers, caches| {
            caches.with(informers.store_with_fields::<K>(fields))
        }));
        self
    }

    /// Reads kind `K`; each change wakes the keys that `keys` names.
    #[must_use]
    pub fn map<K: Kind>(
        self,
        keys: impl Fn(&Caches, &Change<K>) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        self.map_selected("", keys)
    }

    /// Reads the objects of kind `K` that match a field selector, so that a controller of a few objects of a frequent kind
    /// does not hold all of them; each change wakes the keys that `keys` names.
    #[must_use]
    pub fn map_selected<K: Kind>(
        mut self,
        fields: &'static str,
        keys: impl Fn(&Caches, &Change<K>) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        self.connect.push(Box::new(|caches, queue| {
            let (seen, queue) = (caches.clone(), queue.clone());
            caches.of::<K>().on_change(move |change| {
                keys(&seen, change).into_iter().for_each(|key| queue.add(key))
            });
        }));
        self.select::<K>(fields)
    }

    /// Opens the caches and lets their changes feed `queue`.
    pub(super) fn start(self, informers: &Informers, queue: &Arc<WorkQueue<Key>>) -> Caches {
        let caches =
            self.open.into_iter().fold(Caches::default(), |caches, open| open(informers, caches));
        for connect in self.connect {
            connect(&caches, queue);
        }
        caches
    }
}

impl Watches<ObjectKey> {
    /// Reads kind `K`; each change wakes the changed object's own key.
    #[must_use]
    pub fn own<K: Kind>(self) -> Self {
        self.map::<K>(|_, change| {
            change.latest().map(|object| ObjectKey::of(object.object_meta())).into_iter().collect()
        })
    }

    /// Reads kind `K`; each change wakes the `Owner` that manages the object, before and after the change.
    #[must_use]
    pub fn owned<K: Kind, Owner: Kind>(self) -> Self {
        self.map::<K>(|_, change| owner_keys::<K, Owner>(change))
    }
}

/// The keys of the `Owner`s that managed the object before and manage it after a change.
#[must_use]
pub fn owner_keys<K: Kind, Owner: Kind>(change: &Change<K>) -> Vec<ObjectKey> {
    let owner = |object: &Arc<K>| {
        let owner = controller_of(object.object_meta())?;
        let matches = owner.kind == Owner::KIND && group_of(&owner.api_version) == Owner::GROUP;
        let namespace = object.object_meta().namespace.clone().unwrap_or_default();
        matches.then(|| ObjectKey::namespaced(namespace, owner.name.clone()))
    };
    let mut keys: Vec<ObjectKey> = change.new.iter().chain(&change.old).filter_map(owner).collect();
    keys.dedup();
    keys
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}
