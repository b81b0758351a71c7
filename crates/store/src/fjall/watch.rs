//! Watches: recent changes from memory, older ones from disk, never a gap between the two.
//!
//! Invariants:
//! - [`Recent`] holds a run of consecutive changes that ends at the published revision.
//! - A watcher asks for "after R" each time: a slow one is served from disk, and ends with `Compacted` when history
//!   has moved past it. Nothing is buffered per watcher.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use fjall::Readable;
use futures::stream;
use tokio::sync::watch;

use super::record::{self, Record};
use super::{Shared, io};
use crate::contract::{Event, EventKind, Events, Revision, StoreError};

/// Changes kept in memory for watchers that keep up.
const RECENT: usize = 4096;
/// Changes read from disk at a time for a watcher that does not.
const CATCH_UP: usize = 1024;

/// The tail of history, and the published revision.
pub(super) struct Recent {
    tail: Mutex<Tail>,
    published: watch::Sender<Revision>,
}

struct Tail {
    events: VecDeque<Event>,
    /// Every change after this one is in `events`.
    after: Revision,
    compacted: Revision,
}

impl Recent {
    pub(super) fn new(revision: Revision, compacted: Revision) -> Self {
        let tail = Tail { events: VecDeque::new(), after: revision, compacted };
        Self { tail: Mutex::new(tail), published: watch::Sender::new(revision) }
    }

    pub(super) fn revision(&self) -> Revision {
        *self.published.borrow()
    }

    pub(super) fn publish(&self, events: Vec<Event>, revision: Revision) {
        if events.is_empty() {
            return;
        }
        let mut tail = self.tail.lock().expect("no holder panics");
        tail.events.extend(events);
        while tail.events.len() > RECENT {
            tail.after = tail.events.pop_front().map_or(tail.after, |event| event.revision);
        }
        drop(tail);
        self.published.send_replace(revision);
    }

    pub(super) fn compact(&self, to: Revision) {
        self.tail.lock().expect("no holder panics").compacted = to;
    }

    fn compacted(&self) -> Revision {
        self.tail.lock().expect("no holder panics").compacted
    }

    /// Changes after a revision if memory still has all of them.
    fn after(&self, after: Revision, up_to: Revision) -> Option<Vec<Event>> {
        let tail = self.tail.lock().expect("no holder panics");
        let start = tail.events.partition_point(|event| event.revision <= after);
        let end = tail.events.partition_point(|event| event.revision <= up_to);
        (after >= tail.after).then(|| tail.events.range(start..end).cloned().collect())
    }
}

/// The stream behind `Store::watch`.
pub(super) fn events(
    shared: Arc<Shared>,
    prefix: &str,
    after: Revision,
) -> Result<Events, StoreError> {
    let newest = shared.recent.revision();
    if after > newest {
        return Err(StoreError::Future { requested: after, newest });
    }
    let oldest = shared.recent.compacted();
    if after < oldest {
        return Err(StoreError::Compacted { requested: after, oldest });
    }
    let published = shared.recent.published.subscribe();
    let watch = Watch { shared: Arc::downgrade(&shared), published, prefix: prefix.into(), after };
    Ok(Box::pin(stream::unfold(Some(watch), |watch| async { watch?.next().await })))
}

struct Watch {
    /// Weak, so that an idle watch does not keep the directory open; the stream ends with the store.
    shared: std::sync::Weak<Shared>,
    published: watch::Receiver<Revision>,
    prefix: String,
    after: Revision,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Vec<Event>, StoreError>, Option<Self>)> {
        loop {
            let up_to = *self.published.borrow_and_update();
            if up_to > self.after {
                match self.read(up_to) {
                    Err(error) => return Some((Err(error), None)),
                    Ok(events) if events.is_empty() => continue,
                    Ok(events) => return Some((Ok(events), Some(self))),
                }
            }
            self.published.changed().await.ok()?;
        }
    }

    /// The next changes up to a published revision, and steps past them.
    fn read(&mut self, up_to: Revision) -> Result<Vec<Event>, StoreError> {
        let shared = self.shared.upgrade().ok_or(StoreError::Closed)?;
        let (events, reached) = match shared.recent.after(self.after, up_to) {
            Some(events) => (events, up_to),
            None => shared.events_on_disk(self.after, up_to)?,
        };
        let oldest = shared.recent.compacted();
        if self.after < oldest {
            return Err(StoreError::Compacted { requested: self.after, oldest });
        }
        self.after = reached;
        Ok(events.into_iter().filter(|e| e.entry.key.starts_with(&self.prefix)).collect())
    }
}

impl Shared {
    /// At most [`CATCH_UP`] changes after a revision, and the revision they reach to.
    fn events_on_disk(
        &self,
        after: Revision,
        up_to: Revision,
    ) -> Result<(Vec<Event>, Revision), StoreError> {
        let view = self.db.snapshot();
        let range = (after + 1).to_be_bytes()..=up_to.to_be_bytes();
        let (mut events, mut read, mut reached) = (Vec::new(), 0, up_to);
        for guard in view.range(&self.records, range).take(CATCH_UP) {
            let (at, bytes) = guard.into_inner().map_err(io)?;
            let record = Record::decode(record::revision_of(&at)?, bytes.into())?;
            (read, reached) = (read + 1, record.revision);
            let replaced = match record.replaced {
                0 => None,
                replaced => self.record(&view, replaced)?.and_then(Record::into_entry),
            };
            events.extend(event(record, replaced));
        }
        Ok((events, if read == CATCH_UP { reached } else { up_to }))
    }
}

/// A record as an event; a tombstone whose put is gone with old history has no last state, and is before any watch.
fn event(record: Record, replaced: Option<crate::Entry>) -> Option<Event> {
    let (revision, kind) = (record.revision, record.kind);
    match kind {
        EventKind::Put => {
            let entry = record.into_entry()?;
            Some(Event { revision, kind, entry, previous: replaced })
        }
        EventKind::Delete => Some(Event { revision, kind, entry: replaced?, previous: None }),
    }
}
