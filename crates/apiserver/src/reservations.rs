//! Names that one object at a time may hold: cluster addresses and node ports of Services.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/service/allocator` and its repair loops.
//!
//! Invariants:
//! - A name belongs to the object whose uid stands in the entry `PREFIX NAME`, which is put with `Expect::Absent`: two objects
//!   never hold the same name, also not across a crash.
//! - An entry whose object does not use the name is taken over by the next one who wants it, but not before
//!   [`GRACE_SECONDS`]: until then the request that made it may still store its object.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use apimachinery::status::StatusError;
use bytes::Bytes;
use jiff::Timestamp;
use store::{Entry, Expect, Key, Page, Put, Store};

use crate::storage::status_of;

/// Longer than any request can last.
const GRACE_SECONDS: i64 = 120;

/// Names under one prefix of the store, outside of the objects.
pub(crate) struct Reservations {
    store: Arc<dyn Store>,
    prefix: &'static str,
}

/// Which names are used by which objects, found out when somebody asks.
pub(crate) struct InUse<'a> {
    find: &'a (dyn Fn() -> BTreeSet<(String, String)> + Sync),
    found: OnceLock<BTreeSet<(String, String)>>,
}

impl<'a> InUse<'a> {
    /// `find` gives names with the uids of the objects that use them.
    pub(crate) fn new(find: &'a (dyn Fn() -> BTreeSet<(String, String)> + Sync)) -> Self {
        Self { find, found: OnceLock::new() }
    }

    fn uses(&self, uid: &str, name: &str) -> bool {
        let found = self.found.get_or_init(self.find);
        found.contains(&(name.to_owned(), uid.to_owned()))
    }
}

impl Reservations {
    /// The names under this prefix.
    pub(crate) fn new(store: Arc<dyn Store>, prefix: &'static str) -> Self {
        Self { store, prefix }
    }

    /// Reserves a name for the object with this uid; false if another one holds it.
    ///
    /// # Errors
    /// `Status` for a failing store.
    pub(crate) async fn try_reserve(
        &self,
        name: &str,
        uid: &str,
        in_use: &InUse<'_>,
    ) -> Result<bool, StatusError> {
        let value = Bytes::from(format!("{uid} {}", Timestamp::now().as_second()));
        let put = self.store.put(self.key(name), value.clone(), Expect::Absent, None);
        let stale = match put.await.map_err(status_of)? {
            Put::Done(_) => return Ok(true),
            Put::Lost(at) => at.value.filter(|entry| !binds(entry, name, in_use)),
        };
        let Some(entry) = stale else { return Ok(false) };
        let expect = Expect::Revision(entry.mod_revision);
        let put = self.store.put(entry.key, value, expect, None).await.map_err(status_of)?;
        Ok(matches!(put, Put::Done(_)))
    }

    /// Reserves the first of these names that nobody has; `None` if there is none.
    ///
    /// # Errors
    /// `Status` for a failing store.
    pub(crate) async fn reserve_any(
        &self,
        names: impl Iterator<Item = String> + Clone,
        uid: &str,
        in_use: &InUse<'_>,
    ) -> Result<Option<String>, StatusError> {
        let reserved = self.store.list(self.prefix, Page::default()).await.map_err(status_of)?;
        let reserved: BTreeSet<Key> = reserved.value.into_iter().map(|entry| entry.key).collect();
        let free = names.clone().filter(|name| !reserved.contains(&self.key(name)));
        let stale = names.filter(|name| reserved.contains(&self.key(name)));
        for name in free.chain(stale) {
            if self.try_reserve(&name, uid, in_use).await? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Gives a name back, if the object with this uid holds it.
    ///
    /// # Errors
    /// `Status` for a failing store.
    pub(crate) async fn release(&self, name: &str, uid: &str) -> Result<(), StatusError> {
        let key = self.key(name);
        let held = self.store.get(&key).await.map_err(status_of)?.value;
        if let Some(entry) = held.filter(|entry| owner(entry).0 == uid) {
            let expect = Expect::Revision(entry.mod_revision);
            self.store.delete(key, expect).await.map_err(status_of)?;
        }
        Ok(())
    }

    fn key(&self, name: &str) -> Key {
        format!("{}{name}", self.prefix).into()
    }
}

/// The uid of the object that holds a name, and when it took it, in seconds since 1970.
fn owner(entry: &Entry) -> (&str, i64) {
    let text = std::str::from_utf8(&entry.value).unwrap_or_default();
    let (uid, made) = text.split_once(' ').unwrap_or((text, ""));
    (uid, made.parse().unwrap_or(0))
}

/// Whether a reservation still binds.
fn binds(entry: &Entry, name: &str, in_use: &InUse<'_>) -> bool {
    let (uid, made) = owner(entry);
    Timestamp::now().as_second() - made < GRACE_SECONDS || in_use.uses(uid, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "/knarr/test/";

    /// An entry as it is found a while after the request that made it.
    async fn old_entry(store: &Arc<dyn Store>, name: &str, uid: &str) {
        let made = Timestamp::now().as_second() - GRACE_SECONDS;
        let value = Bytes::from(format!("{uid} {made}"));
        store
            .put(format!("{PREFIX}{name}").into(), value, Expect::Absent, None)
            .await
            .expect("a reservation");
    }

    #[tokio::test]
    async fn reservation_left_behind_is_taken_over_after_the_grace_period() {
        let store: Arc<dyn Store> = Arc::new(store::Memory::default());
        let names = Reservations::new(store.clone(), PREFIX);
        old_entry(&store, "used", "u1").await;
        old_entry(&store, "left", "u1").await;
        let used = || BTreeSet::from([("used".to_owned(), "u1".to_owned())]);
        let in_use = InUse::new(&used);
        assert_eq!(names.try_reserve("used", "u2", &in_use).await, Ok(false));
        assert_eq!(names.try_reserve("left", "u2", &in_use).await, Ok(true));
        assert_eq!(names.try_reserve("left", "u3", &in_use).await, Ok(false), "just taken");
    }

    #[tokio::test]
    async fn reservation_of_any_prefers_what_nobody_ever_had() {
        let store: Arc<dyn Store> = Arc::new(store::Memory::default());
        let names = Reservations::new(store.clone(), PREFIX);
        old_entry(&store, "a", "gone").await;
        let in_use = InUse::new(&BTreeSet::new);
        let wanted = ["a", "b"].map(str::to_owned).into_iter();
        for expected in [Some("b"), Some("a"), None] {
            let got = names.reserve_any(wanted.clone(), "u", &in_use).await.expect("a store");
            assert_eq!(got.as_deref(), expected);
        }
        names.release("a", "another").await.expect("a store");
        assert_eq!(names.reserve_any(wanted.clone(), "u", &in_use).await, Ok(None));
        names.release("a", "u").await.expect("a store");
        assert_eq!(names.reserve_any(wanted.clone(), "u", &in_use).await, Ok(Some("a".to_owned())));
    }
}
