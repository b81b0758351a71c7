//! The in-memory engine: the model that the other engines are judged by, and the store of tests that need no disk.
//!
//! Invariants: one lock holds the whole history, so every call is atomic and obviously in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use futures::stream;
use tokio::sync::watch;

use crate::contract::{
    At, Entry, Event, EventKind, Events, Expect, Key, Page, Put, Revision, Store, StoreError, Ttl,
};

/// A store without a disk. Clones share their contents.
#[derive(Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    published: watch::Sender<Revision>,
}

struct State {
    revision: Revision,
    compacted: Revision,
    live: BTreeMap<Key, Entry>,
    history: VecDeque<Event>,
    deadlines: BTreeMap<Key, Instant>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty store at revision 1, as a fresh etcd is.
    pub fn new() -> Self {
        let state = State {
            revision: 1,
            compacted: 0,
            live: BTreeMap::new(),
            history: VecDeque::new(),
            deadlines: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), published: watch::Sender::new(1) }
    }

    /// Runs one atomic step after dropping what has expired, then publishes the revision it ended at.
    fn step<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().expect("no step panics");
        state.expire(Instant::now());
        let result = f(&mut state);
        self.published.send_if_modified(|r| std::mem::replace(r, state.revision) != state.revision);
        result
    }
}

impl State {
    fn expire(&mut self, now: Instant) {
        let due: Vec<Key> =
            self.deadlines.iter().filter(|(_, at)| **at <= now).map(|(k, _)| k.clone()).collect();
        for key in due {
            self.remove(&key);
        }
    }

    fn put(&mut self, key: Key, value: Bytes, ttl: Option<Ttl>) -> Revision {
        self.revision += 1;
        let previous = self.live.get(&key).cloned();
        let create_revision = previous.as_ref().map_or(self.revision, |p| p.create_revision);
        let entry = Entry { key: key.clone(), value, create_revision, mod_revision: self.revision };
        match ttl {
            Some(ttl) => self.deadlines.insert(key.clone(), Instant::now() + ttl),
            None => self.deadlines.remove(&key),
        };
        self.live.insert(key, entry.clone());
        let (revision, kind) = (self.revision, EventKind::Put);
        self.history.push_back(Event { revision, kind, entry, previous });
        self.revision
    }

    fn remove(&mut self, key: &Key) -> Revision {
        self.deadlines.remove(key);
        if let Some(entry) = self.live.remove(key) {
            self.revision += 1;
            let (revision, kind) = (self.revision, EventKind::Delete);
            self.history.push_back(Event { revision, kind, entry, previous: None });
        }
        self.revision
    }

    fn check(&self, key: &str, expect: Expect) -> Result<(), Put> {
        let current = self.live.get(key);
        let holds = match expect {
            Expect::Absent => current.is_none(),
            Expect::Revision(r) => current.is_some_and(|e| e.mod_revision == r),
        };
        if holds {
            return Ok(());
        }
        Err(Put::Lost(At { revision: self.revision, value: current.cloned() }))
    }

    fn check_revision(&self, requested: Revision) -> Result<(), StoreError> {
        if requested > self.revision {
            return Err(StoreError::Future { requested, newest: self.revision });
        }
        if requested < self.compacted {
            return Err(StoreError::Compacted { requested, oldest: self.compacted });
        }
        Ok(())
    }

    /// The live map as it was at a revision: today's, with later changes undone.
    fn at(&self, revision: Revision) -> BTreeMap<Key, Entry> {
        let mut map = self.live.clone();
        for event in self.history.iter().rev().take_while(|e| e.revision > revision) {
            let key = event.entry.key.clone();
            match (&event.kind, &event.previous) {
                (EventKind::Delete, _) => map.insert(key, event.entry.clone()),
                (EventKind::Put, Some(previous)) => map.insert(key, previous.clone()),
                (EventKind::Put, None) => map.remove(&key),
            };
        }
        map
    }

    fn events_after(&self, prefix: &str, after: Revision) -> Result<Vec<Event>, StoreError> {
        if after < self.compacted {
            return Err(StoreError::Compacted { requested: after, oldest: self.compacted });
        }
        let later = self.history.iter().filter(|e| e.revision > after);
        Ok(later.filter(|e| e.entry.key.starts_with(prefix)).cloned().collect())
    }
}

#[async_trait::async_trait]
impl Store for Memory {
    fn revision(&self) -> Revision {
        self.step(|s| s.revision)
    }

    fn oldest(&self) -> Result<Revision, StoreError> {
        Ok(self.step(|s| s.compacted))
    }

    async fn get(&self, key: &str) -> Result<At<Option<Entry>>, StoreError> {
        Ok(self.step(|s| At { revision: s.revision, value: s.live.get(key).cloned() }))
    }

    async fn list(&self, prefix: &str, page: Page) -> Result<At<Vec<Entry>>, StoreError> {
        self.step(|s| {
            let revision = page.revision.unwrap_or(s.revision);
            s.check_revision(revision)?;
            let entries = s.at(revision).into_values().filter(|e| e.key.starts_with(prefix));
            let value = entries
                .filter(|e| page.after.as_ref().is_none_or(|after| e.key > *after))
                .take(page.limit.unwrap_or(usize::MAX))
                .collect();
            Ok(At { revision, value })
        })
    }

    async fn count(&self, prefix: &str) -> Result<At<u64>, StoreError> {
        Ok(self.step(|s| {
            let value = s.live.keys().filter(|k| k.starts_with(prefix)).count() as u64;
            At { revision: s.revision, value }
        }))
    }

    async fn put(
        &self,
        key: Key,
        value: Bytes,
        expect: Expect,
        ttl: Option<Ttl>,
    ) -> Result<Put, StoreError> {
        Ok(self.step(|s| match s.check(&key, expect) {
            Ok(()) => Put::Done(s.put(key, value, ttl)),
            Err(lost) => lost,
        }))
    }

    async fn delete(&self, key: Key, expect: Expect) -> Result<Put, StoreError> {
        Ok(self.step(|s| match (expect, s.check(&key, expect)) {
            (Expect::Revision(_), Ok(())) => Put::Done(s.remove(&key)),
            (Expect::Absent, Ok(())) => Put::Lost(At { revision: s.revision, value: None }),
            (_, Err(lost)) => lost,
        }))
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Events, StoreError> {
        self.step(|s| s.check_revision(after))?;
        let start = Watch {
            store: self.clone(),
            changed: self.published.subscribe(),
            prefix: prefix.into(),
            after,
            ended: false,
        };
        Ok(Box::pin(stream::unfold(start, Watch::next)))
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.step(|s| {
            if before > s.revision {
                return Err(StoreError::Future { requested: before, newest: s.revision });
            }
            s.compacted = s.compacted.max(before);
            while s.history.front().is_some_and(|e| e.revision <= s.compacted) {
                s.history.pop_front();
            }
            Ok(())
        })
    }
}

struct Watch {
    store: Memory,
    changed: watch::Receiver<Revision>,
    prefix: Arc<str>,
    after: Revision,
    ended: bool,
}

impl Watch {
    /// Sleeps until something is published, or until the next key expires: then the next step publishes that.
    async fn wait(&mut self) -> Result<(), watch::error::RecvError> {
        let expiry = self.store.step(|s| s.deadlines.values().min().copied());
        match expiry {
            None => self.changed.changed().await,
            Some(at) => match tokio::time::timeout_at(at.into(), self.changed.changed()).await {
                Ok(changed) => changed,
                Err(_) => Ok(()),
            },
        }
    }

    async fn next(mut self) -> Option<(Result<Vec<Event>, StoreError>, Self)> {
        while !self.ended {
            self.changed.borrow_and_update();
            let found = self.store.step(|s| (s.events_after(&self.prefix, self.after), s.revision));
            match found {
                (Err(error), _) => {
                    self.ended = true;
                    return Some((Err(error), self));
                }
                (Ok(events), revision) => {
                    self.after = revision;
                    if !events.is_empty() {
                        return Some((Ok(events), self));
                    }
                }
            }
            self.ended = self.wait().await.is_err();
        }
        None
    }
}
