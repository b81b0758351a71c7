//! Informers: for each kind one task that lists and watches, and one shared cache. Counterpart: client-go's
//! `SharedInformerFactory`.
//!
//! Invariant: asking twice for the same kind (or the same selection of it) gives the same cache, so a process decodes
//! and holds each object revision once.

mod cache;
pub mod list_watch;
mod subscription;

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use tokio_util::sync::CancellationToken;

pub use cache::{Cache, Change, Progress};
pub use list_watch::{Selection, Sink, follow};
pub use subscription::Subscription;

use crate::resource::Kind;

type Key = (TypeId, Selection);

/// The informers of one process and one identity.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    shutdown: CancellationToken,
    caches: Arc<Mutex<BTreeMap<Key, Box<dyn Any + Send>>>>,
}

impl std::fmt::Debug for Informers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Informers")
    }
}

impl Informers {
    /// No informers yet; they start when they are first asked for and end with `shutdown`.
    #[must_use]
    pub fn new(client: Client, shutdown: CancellationToken) -> Self {
        Self { client, shutdown, caches: Arc::default() }
    }

    /// The client the informers use.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The cache of every object of kind `K`; starts following it if nobody has. Must be called inside a runtime.
    #[must_use]
    pub fn store<K: Kind>(&self) -> Cache<K> {
        self.store_of(Selection::all(K::resource_type()))
    }

    /// The cache of the objects of kind `K` that match a field selector, such as `spec.nodeName=n1`.
    #[must_use]
    pub fn store_with_fields<K: Kind>(&self, fields: &str) -> Cache<K> {
        self.store_of(Selection { fields: fields.to_owned(), ..Selection::all(K::resource_type()) })
    }

    /// The cache of a selection of the objects of kind `K`.
    #[must_use]
    pub fn store_of<K: Kind>(&self, selection: Selection) -> Cache<K> {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (TypeId::of::<K>(), selection.clone());
        if let Some(cache) = caches.get(&key).and_then(|cache| cache.downcast_ref::<Cache<K>>()) {
            return cache.clone();
        }
        let cache = Cache::<K>::default();
        tokio::spawn(follow(self.client.clone(), selection, cache.clone(), self.shutdown.clone()));
        caches.insert(key, Box::new(cache.clone()));
        cache
    }
}
