//! The local copy of one kind, with indexes and change notifications. Counterpart: client-go's `cache.Indexer` and
//! `sharedIndexInformer`.
//!
//! Invariants:
//! * Objects are immutable once in the cache; a change is a new `Arc`.
//! * A handler sees the changes of a key in order, and first the objects that were there when it was added.
//! * The revision only grows. When it is at least R, every change of this kind up to R is in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use apimachinery::meta::controller_of;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;

use super::list_watch::Sink;
use super::subscription::Subscription;
use crate::resource::{HasMeta, ObjectKey, revision_of};

/// One change of one key: `old` is absent when it appeared, `new` when it went away.
#[derive(Debug)]
pub struct Change<T> {
    /// The state before.
    pub old: Option<Arc<T>>,
    /// The state after.
    pub new: Option<Arc<T>>,
}

impl<T> Clone for Change<T> {
    fn clone(&self) -> Self {
        Self { old: self.old.clone(), new: self.new.clone() }
    }
}

impl<T> Change<T> {
    /// The newest state there is: the new one, or what was deleted.
    #[must_use]
    pub fn latest(&self) -> Option<&Arc<T>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

type Handler<T> = Box<dyn Fn(&Change<T>) + Send + Sync>;
type IndexFn<T> = fn(&T) -> Option<String>;

/// Objects and indexes, guarded by one lock.
struct Contents<T> {
    objects: BTreeMap<ObjectKey, Arc<T>>,
    by_controller: BTreeMap<String, BTreeSet<ObjectKey>>,
    indexes: BTreeMap<&'static str, Index<T>>,
}

struct Index<T> {
    value_of: IndexFn<T>,
    keys: BTreeMap<String, BTreeSet<ObjectKey>>,
}

/// Beginning of the entries of the controller index for objects without one; no uid has a slash.
const ORPHANS_OF: &str = "orphans/";

/// Where an object stands in the controller index: under its controller's uid, or among its namespace's orphans.
fn controller_index(meta: &ObjectMeta) -> String {
    match controller_of(meta) {
        Some(owner) => owner.uid.clone(),
        None => format!("{ORPHANS_OF}{}", meta.namespace.as_deref().unwrap_or_default()),
    }
}

fn unlink(index: &mut BTreeMap<String, BTreeSet<ObjectKey>>, value: &str, key: &ObjectKey) {
    if let Some(keys) = index.get_mut(value) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(value);
        }
    }
}

impl<T: HasMeta> Contents<T> {
    fn insert(&mut self, key: ObjectKey, object: Arc<T>) -> Option<Arc<T>> {
        let old = self.remove(&key);
        self.by_controller
            .entry(controller_index(object.object_meta()))
            .or_default()
            .insert(key.clone());
        for index in self.indexes.values_mut() {
            if let Some(value) = (index.value_of)(&object) {
                index.keys.entry(value).or_default().insert(key.clone());
            }
        }
        self.objects.insert(key, object);
        old
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        let old = self.objects.remove(key)?;
        unlink(&mut self.by_controller, &controller_index(old.object_meta()), key);
        for index in self.indexes.values_mut() {
            if let Some(value) = (index.value_of)(&old) {
                unlink(&mut index.keys, &value, key);
            }
        }
        Some(old)
    }

    fn resolve(&self, keys: Option<&BTreeSet<ObjectKey>>) -> Vec<Arc<T>> {
        keys.into_iter().flatten().filter_map(|key| self.objects.get(key).cloned()).collect()
    }
}

/// How far a cache has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the first list is in.
    pub synced: bool,
    /// The highest revision seen; 0 before the first list.
    pub revision: u64,
}

struct Inner<T> {
    contents: RwLock<Contents<T>>,
    /// Held over "change the contents, tell the handlers", so that handlers see changes in order.
    handlers: Mutex<Vec<Handler<T>>>,
    progress: watch::Sender<Progress>,
}

/// The shared local copy of one kind (or of a selection of it).
pub struct Cache<T>(Arc<Inner<T>>);

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("progress", &*self.0.progress.borrow())
            .finish_non_exhaustive()
    }
}

impl<T: HasMeta> Default for Cache<T> {
    fn default() -> Self {
        let contents = Contents {
            objects: BTreeMap::new(),
            by_controller: BTreeMap::new(),
            indexes: BTreeMap::new(),
        };
        Self(Arc::new(Inner {
            contents: RwLock::new(contents),
            handlers: Mutex::default(),
            progress: watch::Sender::default(),
        }))
    }
}

impl<T: HasMeta> Cache<T> {
    fn read(&self) -> RwLockReadGuard<'_, Contents<T>> {
        self.0.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object under `key`.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.read().objects.get(key).cloned()
    }

    /// Every object, ordered by namespace and name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<T>> {
        self.read().objects.values().cloned().collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every object of a namespace, ordered by name.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let first = ObjectKey::namespaced(namespace, "");
        let contents = self.read();
        contents
            .objects
            .range(first..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Every object of a namespace whose name begins with `prefix`, ordered by name.
    #[must_use]
    pub fn with_name_prefix(&self, namespace: &str, prefix: &str) -> Vec<Arc<T>> {
        let first = ObjectKey::namespaced(namespace, prefix);
        let contents = self.read();
        let found = contents.objects.range(first..);
        let found =
            found.take_while(|(key, _)| key.namespace == namespace && key.name.starts_with(prefix));
        found.map(|(_, object)| object.clone()).collect()
    }

    /// Every object of a namespace whose metadata `matches`, for example by its labels.
    #[must_use]
    pub fn matching(&self, namespace: &str, matches: impl Fn(&ObjectMeta) -> bool) -> Vec<Arc<T>> {
        let mut found = self.in_namespace(namespace);
        found.retain(|object| matches(object.object_meta()));
        found
    }

    /// Every object whose managing controller has the uid.
    #[must_use]
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<T>> {
        let contents = self.read();
        contents.resolve(contents.by_controller.get(uid))
    }

    /// Every object of a namespace that no controller manages.
    #[must_use]
    pub fn orphans(&self, namespace: &str) -> Vec<Arc<T>> {
        let contents = self.read();
        contents.resolve(contents.by_controller.get(&format!("{ORPHANS_OF}{namespace}")))
    }

    /// Adds a secondary index (once per name): objects by the value that `value_of` gives.
    pub fn add_index(&self, name: &'static str, value_of: IndexFn<T>) {
        let mut contents = self.0.contents.write().unwrap_or_else(PoisonError::into_inner);
        if contents.indexes.contains_key(name) {
            return;
        }
        let mut keys: BTreeMap<String, BTreeSet<ObjectKey>> = BTreeMap::new();
        for (key, object) in &contents.objects {
            if let Some(value) = value_of(object) {
                keys.entry(value).or_default().insert(key.clone());
            }
        }
        contents.indexes.insert(name, Index { value_of, keys });
    }

    /// Every object with `value` in the index `name`; empty when there is no such index.
    #[must_use]
    pub fn by_index(&self, name: &'static str, value: &str) -> Vec<Arc<T>> {
        let contents = self.read();
        contents.resolve(contents.indexes.get(name).and_then(|index| index.keys.get(value)))
    }

    /// How far the cache has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.0.progress.borrow()
    }

    /// Whether the first list is in.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        self.progress().synced
    }

    /// The highest revision seen for this kind.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.progress().revision
    }

    /// Waits for the first list.
    pub async fn synced(&self) {
        self.wait_for(|cache| cache.has_synced()).await;
    }

    /// Waits until every change of this kind up to `revision` is in the cache.
    pub async fn reached(&self, revision: u64) {
        self.wait_for(|cache| cache.revision() >= revision).await;
    }

    /// Waits until `condition` holds, asking again after every change.
    pub async fn wait_for(&self, condition: impl Fn(&Self) -> bool) {
        let mut progress = self.0.progress.subscribe();
        while !condition(self) {
            // The sender lives in `self`, so this cannot fail.
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Calls `handler` for every object there is and for every later change. It runs in the informer's task: it must be
    /// quick, may read caches, and must not add handlers to this one.
    pub fn on_change(&self, handler: impl Fn(&Change<T>) + Send + Sync + 'static) {
        let mut handlers = self.0.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        for object in self.list() {
            handler(&Change { old: None, new: Some(object) });
        }
        handlers.push(Box::new(handler));
    }

    /// Changes as a stream for a consumer with its own pace; changes it has not taken are merged per key.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<T> {
        let subscription = Subscription::default();
        let feed = subscription.clone();
        self.on_change(move |change| feed.push(change));
        subscription
    }

    /// Applies one mutation and tells the handlers, in order with all others.
    fn mutate(
        &self,
        revision: u64,
        listed: bool,
        mutation: impl FnOnce(&mut Contents<T>) -> Vec<Change<T>>,
    ) {
        let handlers = self.0.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let changes =
            mutation(&mut self.0.contents.write().unwrap_or_else(PoisonError::into_inner));
        for change in &changes {
            for handler in handlers.iter() {
                handler(change);
            }
        }
        drop(handlers);
        self.0.progress.send_modify(|progress| {
            progress.revision = progress.revision.max(revision);
            progress.synced |= listed;
        });
    }
}

/// The manager of a field is of no use to a reader of the cache, and it is a third of an object's size.
fn trim<T: HasMeta>(mut object: T) -> Arc<T> {
    object.object_meta_mut().managed_fields = None;
    Arc::new(object)
}

fn replace_all<T: HasMeta>(contents: &mut Contents<T>, items: Vec<T>) -> Vec<Change<T>> {
    let mut gone: BTreeSet<ObjectKey> = contents.objects.keys().cloned().collect();
    let mut changes = Vec::new();
    for item in items {
        let key = ObjectKey::of(item.object_meta());
        gone.remove(&key);
        let same = contents.objects.get(&key).is_some_and(|old| {
            old.object_meta().resource_version == item.object_meta().resource_version
        });
        if !same {
            let new = trim(item);
            let old = contents.insert(key, new.clone());
            changes.push(Change { old, new: Some(new) });
        }
    }
    for key in gone {
        changes.push(Change { old: contents.remove(&key), new: None });
    }
    changes
}

impl<T: HasMeta> Sink<T> for Cache<T> {
    fn replace(&self, items: Vec<T>, revision: u64) {
        self.mutate(revision, true, |contents| replace_all(contents, items));
    }

    fn upsert(&self, object: T) {
        let revision = revision_of(object.object_meta());
        let key = ObjectKey::of(object.object_meta());
        self.mutate(revision, false, |contents| {
            let new = trim(object);
            let old = contents.insert(key, new.clone());
            vec![Change { old, new: Some(new) }]
        });
    }

    fn remove(&self, object: T) {
        let key = ObjectKey::of(object.object_meta());
        self.mutate(revision_of(object.object_meta()), false, |contents| {
            let old = contents.remove(&key);
            old.map(|old| Change { old: Some(old), new: None }).into_iter().collect()
        });
    }

    fn bookmark(&self, revision: u64) {
        self.mutate(revision, false, |_| Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Pod, PodSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    fn pod(namespace: &str, name: &str, revision: u64) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some(namespace.into());
        pod.metadata.name = Some(name.into());
        pod.metadata.resource_version = Some(revision.to_string());
        pod
    }

    fn owned(mut pod: Pod, uid: &str) -> Pod {
        pod.metadata.owner_references = Some(vec![OwnerReference {
            uid: uid.into(),
            controller: Some(true),
            ..Default::default()
        }]);
        pod
    }

    fn on_node(mut pod: Pod, node: &str) -> Pod {
        pod.spec = Some(PodSpec { node_name: Some(node.into()), ..Default::default() });
        pod
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<String> {
        pods.iter().map(|pod| ObjectKey::of(&pod.metadata).to_string()).collect()
    }

    #[test]
    fn indexes_follow_every_change() {
        let cache: Cache<Pod> = Cache::default();
        cache.replace(vec![owned(pod("a", "x", 1), "u1"), pod("b", "y", 2)], 5);
        cache.add_index("node", |pod| pod.spec.as_ref()?.node_name.clone());
        assert_eq!(names(&cache.controlled_by("u1")), ["a/x"]);
        assert_eq!(names(&cache.in_namespace("b")), ["b/y"]);
        assert_eq!(names(&cache.orphans("b")), ["b/y"]);
        assert!(cache.orphans("a").is_empty());
        cache.upsert(on_node(owned(pod("a", "x", 6), "u2"), "n1"));
        assert!(cache.controlled_by("u1").is_empty());
        assert_eq!(names(&cache.controlled_by("u2")), ["a/x"]);
        assert_eq!(names(&cache.by_index("node", "n1")), ["a/x"]);
        cache.remove(pod("a", "x", 7));
        assert!(cache.controlled_by("u2").is_empty() && cache.by_index("node", "n1").is_empty());
        assert_eq!((cache.revision(), cache.has_synced()), (7, true));
    }

    #[test]
    fn replace_reports_only_differences() {
        let cache: Cache<Pod> = Cache::default();
        cache.replace(vec![pod("a", "same", 1), pod("a", "old", 1), pod("a", "gone", 1)], 1);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        cache.on_change(move |change| {
            let state = |pod: &Option<Arc<Pod>>| {
                pod.as_ref().map_or("-".into(), |p| {
                    format!("{}@{}", p.metadata.name.clone().unwrap(), revision_of(&p.metadata))
                })
            };
            log.lock().unwrap().push(format!("{} {}", state(&change.old), state(&change.new)));
        });
        assert_eq!(seen.lock().unwrap().drain(..).count(), 3);
        cache.replace(vec![pod("a", "same", 1), pod("a", "old", 8), pod("a", "new", 9)], 9);
        assert_eq!(*seen.lock().unwrap(), ["old@1 old@8", "- new@9", "gone@1 -"]);
    }

    #[tokio::test]
    async fn reached_waits_for_the_revision() {
        let cache: Cache<Pod> = Cache::default();
        let waiting = tokio::spawn({
            let cache = cache.clone();
            async move { cache.reached(9).await }
        });
        cache.replace(Vec::new(), 3);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        cache.bookmark(9);
        waiting.await.unwrap();
    }
}
