//! The one writer: groups queued changes into a batch, syncs it once, publishes it, answers everyone.
//!
//! Invariants:
//! - Decisions are made against the disk plus what the batch under construction has already decided.
//! - Answers are sent after the sync, also to those who lost: what they lost to is durable when they hear of it.
//! - The thread sleeps until a request comes or the next key expires; an idle store costs nothing.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fjall::{OwnedWriteBatch as WriteBatch, PersistMode};
use tokio::sync::{mpsc, oneshot};

use super::record::{self, Live, Record};
use super::{Shared, io, lost_record, read_compacted};
use crate::contract::{At, Entry, Event, EventKind, Expect, Key, Put, Revision, StoreError, Ttl};

/// Changes in one synced batch: past this the sync is no longer what costs.
const BATCH: usize = 1024;
/// Records looked at per step of compaction, so that writers never wait long behind it.
const COMPACTION_STEP: usize = 2048;
/// How long history is kept for lists and watches that resume: what Kubernetes gives etcd.
const HISTORY: Duration = Duration::from_secs(300);
/// How finely the age of history is known.
const MARK_EVERY: Duration = Duration::from_secs(15);
/// History is cut earlier than [`HISTORY`] when there is more than this: about 1 GiB of 2 KiB objects.
const HISTORY_REVISIONS: u64 = 500_000;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What a writer wants of a key.
pub(super) enum Change {
    Put { value: Bytes, ttl: Option<Ttl> },
    Delete,
}

/// What the committer is asked.
pub(super) enum Request {
    Change { key: Key, expect: Expect, change: Change, answer: Answer<Put> },
    Compact { before: Revision, answer: Answer<()> },
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    /// Keys that expire, soonest first.
    deadlines: BTreeSet<(u64, Key)>,
    revision: Revision,
    compacted: Revision,
    /// Where compaction is going; it gets there step by step.
    compact_to: Revision,
    /// Which revision was the newest when.
    marks: VecDeque<(Instant, Revision)>,
    /// Set by a failed sync: nothing is acknowledged after it.
    failed: Option<StoreError>,
}

/// A batch under construction.
struct Batch {
    writes: WriteBatch,
    events: Vec<Event>,
    /// Where keys of this batch stand; `None` is deleted.
    pending: HashMap<Key, Option<(Live, Entry)>>,
    answers: Vec<(Answer<Put>, Put)>,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Request>,
    ) -> Result<Self, StoreError> {
        let mut deadlines = BTreeSet::new();
        for guard in shared.live.iter() {
            let (key, bytes) = guard.into_inner().map_err(io)?;
            let live = Live::decode(&bytes)?;
            if live.deadline_ms != 0 {
                deadlines.insert((live.deadline_ms, record::key_of(&key)?));
            }
        }
        let revision = shared.recent.revision();
        let compacted = read_compacted(&shared.meta)?;
        let marks = VecDeque::from([(Instant::now(), revision)]);
        let (compact_to, failed) = (compacted, None);
        Ok(Self { shared, requests, deadlines, revision, compacted, compact_to, marks, failed })
    }

    /// Serves requests until every sender is gone.
    pub(super) fn run(mut self) {
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let clock = match clock {
            Ok(clock) => clock,
            Err(error) => return tracing::error!(%error, "the store's committer cannot start"),
        };
        let mut queue = Vec::with_capacity(BATCH);
        loop {
            let wait = self.wait();
            let received = clock.block_on(async {
                let received = self.requests.recv_many(&mut queue, BATCH);
                match wait {
                    None => Some(received.await),
                    Some(wait) => tokio::time::timeout(wait, received).await.ok(),
                }
            });
            if received == Some(0) {
                return;
            }
            self.serve(std::mem::take(&mut queue));
        }
    }

    /// How long to wait for requests: not at all while compaction is under way, else until the next key expires.
    fn wait(&self) -> Option<Duration> {
        if self.failed.is_some() {
            return None;
        }
        if self.compacted < self.compact_to {
            return Some(Duration::ZERO);
        }
        let (at, _) = self.deadlines.first()?;
        Some(Duration::from_millis(at.saturating_sub(now_ms())))
    }

    fn serve(&mut self, queue: Vec<Request>) {
        let mut batch = self.batch();
        let mut compactions = Vec::new();
        for request in queue {
            match request {
                Request::Compact { before, answer } => compactions.push((before, answer)),
                Request::Change { key, expect, change, answer } => {
                    match self.decide(&mut batch, key, expect, change) {
                        Ok(put) => batch.answers.push((answer, put)),
                        Err(error) => _ = answer.send(Err(error)),
                    }
                }
            }
        }
        self.expire(&mut batch);
        self.commit(batch);
        for (before, answer) in compactions {
            _ = answer.send(self.compact_now(before));
        }
        self.age();
        if let Err(error) = self.compact_step() {
            self.failed = Some(error);
        }
    }

    fn batch(&self) -> Batch {
        let writes = self.shared.db.batch().durability(Some(PersistMode::SyncData));
        Batch { writes, events: Vec::new(), pending: HashMap::new(), answers: Vec::new() }
    }

    fn current(&self, batch: &Batch, key: &Key) -> Result<Option<(Live, Entry)>, StoreError> {
        if let Some(pending) = batch.pending.get(key) {
            return Ok(pending.clone());
        }
        let Some(bytes) = self.shared.live.get(&**key).map_err(io)? else { return Ok(None) };
        let live = Live::decode(&bytes)?;
        let found = self.shared.records.get(live.revision.to_be_bytes()).map_err(io)?;
        let bytes = found.ok_or_else(|| lost_record(live.revision))?;
        let entry = Record::decode(live.revision, bytes.into())?.into_entry();
        Ok(entry.map(|entry| (live, entry)))
    }

    fn decide(
        &mut self,
        batch: &mut Batch,
        key: Key,
        expect: Expect,
        change: Change,
    ) -> Result<Put, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let current = self.current(batch, &key)?;
        let holds = match (expect, &current, &change) {
            (Expect::Absent, None, Change::Put { .. }) => true,
            (Expect::Revision(revision), Some((live, _)), _) => live.revision == revision,
            _ => false,
        };
        if !holds {
            let value = current.map(|(_, entry)| entry);
            return Ok(Put::Lost(At { revision: self.revision, value }));
        }
        Ok(Put::Done(self.write(batch, key, current, change)))
    }

    fn write(
        &mut self,
        batch: &mut Batch,
        key: Key,
        current: Option<(Live, Entry)>,
        change: Change,
    ) -> Revision {
        self.revision += 1;
        let revision = self.revision;
        let old = current.as_ref().map(|(live, _)| *live);
        if let Some(old) = old.filter(|old| old.deadline_ms != 0) {
            self.deadlines.remove(&(old.deadline_ms, key.clone()));
        }
        let replaced = old.map_or(0, |old| old.revision);
        let create_revision = old.map_or(revision, |old| old.create_revision);
        let previous = current.map(|(_, entry)| entry);
        let (kind, value, ttl) = match change {
            Change::Put { value, ttl } => (EventKind::Put, value, ttl),
            Change::Delete => (EventKind::Delete, Bytes::new(), None),
        };
        let record = Record { revision, kind, key: key.clone(), value, create_revision, replaced };
        batch.writes.insert(&self.shared.records, revision.to_be_bytes(), record.encode());
        match (record.into_entry(), previous) {
            (Some(entry), previous) => {
                let deadline_ms = ttl.map_or(0, |ttl| now_ms() + ttl.as_millis() as u64);
                let live = Live { revision, create_revision, deadline_ms };
                if deadline_ms != 0 {
                    self.deadlines.insert((deadline_ms, key.clone()));
                }
                batch.writes.insert(&self.shared.live, &*key, live.encode());
                batch.pending.insert(key, Some((live, entry.clone())));
                batch.events.push(Event { revision, kind, entry, previous });
            }
            (None, Some(entry)) => {
                batch.writes.remove(&self.shared.live, &*key);
                batch.pending.insert(key, None);
                batch.events.push(Event { revision, kind, entry, previous: None });
            }
            (None, None) => unreachable!("only an existing key is deleted"),
        }
        revision
    }

    /// Deletes what has expired, within the batch at hand.
    fn expire(&mut self, batch: &mut Batch) {
        let now = now_ms();
        while self.failed.is_none()
            && batch.events.len() < 2 * BATCH
            && let Some((_, key)) = self.deadlines.first().filter(|(at, _)| *at <= now).cloned()
        {
            match self.current(batch, &key) {
                Ok(current) => {
                    self.deadlines.pop_first();
                    if current.is_some() {
                        self.write(batch, key, current, Change::Delete);
                    }
                }
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// Makes a batch durable, publishes it, answers. A failure is everybody's answer, now and later.
    fn commit(&mut self, batch: Batch) {
        let committed =
            if batch.events.is_empty() { Ok(()) } else { batch.writes.commit().map_err(io) };
        if let Err(error) = committed {
            tracing::error!(%error, "the store failed and accepts no more writes");
            self.failed = Some(error.clone());
            for (answer, _) in batch.answers {
                _ = answer.send(Err(error.clone()));
            }
            return;
        }
        self.shared.recent.publish(batch.events, self.revision);
        for (answer, put) in batch.answers {
            _ = answer.send(Ok(put));
        }
    }

    /// Moves the target of compaction to what is older than [`HISTORY`], or beyond [`HISTORY_REVISIONS`].
    fn age(&mut self) {
        let now = Instant::now();
        let newest_mark = self.marks.back().map(|(at, _)| *at);
        if newest_mark.is_none_or(|at| now.duration_since(at) >= MARK_EVERY) {
            self.marks.push_back((now, self.revision));
        }
        while let Some((at, revision)) = self.marks.front().copied()
            && now.duration_since(at) >= HISTORY
        {
            self.marks.pop_front();
            self.compact_to = self.compact_to.max(revision);
        }
        self.compact_to = self.compact_to.max(self.revision.saturating_sub(HISTORY_REVISIONS));
    }

    fn compact_now(&mut self, before: Revision) -> Result<(), StoreError> {
        if before > self.revision {
            return Err(StoreError::Future { requested: before, newest: self.revision });
        }
        self.compact_to = self.compact_to.max(before);
        while self.compacted < self.compact_to {
            self.compact_step()?;
        }
        Ok(())
    }

    /// Drops what the next records up to the target replaced, and the tombstones among them. The new beginning of
    /// history is announced before anything is dropped, so that no reader finds a hole.
    fn compact_step(&mut self) -> Result<(), StoreError> {
        if self.compacted >= self.compact_to {
            return Ok(());
        }
        let step = self.compact_to.min(self.compacted + COMPACTION_STEP as u64);
        self.shared.recent.compact(step);
        let mut writes = self.shared.db.batch();
        writes.insert(&self.shared.meta, "compacted", step.to_be_bytes());
        let range = (self.compacted + 1).to_be_bytes()..=step.to_be_bytes();
        for guard in self.shared.records.range(range) {
            let (at, bytes) = guard.into_inner().map_err(io)?;
            let record = Record::decode(record::revision_of(&at)?, bytes.into())?;
            if record.replaced != 0 {
                writes.remove(&self.shared.records, record.replaced.to_be_bytes());
            }
            if record.kind == EventKind::Delete {
                writes.remove(&self.shared.records, record.revision.to_be_bytes());
            }
        }
        writes.commit().map_err(io)?;
        self.compacted = step;
        Ok(())
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
