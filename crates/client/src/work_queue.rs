//! A queue of keys to work on. Counterpart: client-go's `workqueue.TypedRateLimitingInterface`.
//!
//! Invariants:
//! * A key that is waiting is there once, however often it was added: the queue holds at most one entry per object.
//! * A key that is being worked on is not given out again before [`WorkQueue::done`]; if it was added meanwhile it is
//!   given out after that.
//! * A key that waits for a later time keeps its earliest time.
//! * Nothing polls: takers sleep until a key is added or the earliest delay is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::backoff::Backoff;

/// What can be queued.
pub trait QueueKey: Ord + Clone + Send + Sync + std::fmt::Debug + 'static {}
impl<K: Ord + Clone + Send + Sync + std::fmt::Debug + 'static> QueueKey for K {}

/// The queue's state and rules, without a clock or a lock.
#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    dirty: BTreeSet<K>,
    processing: BTreeSet<K>,
    delayed: BTreeMap<K, Instant>,
    schedule: BTreeSet<(Instant, K)>,
    failures: BTreeMap<K, u32>,
    closed: bool,
}

impl<K: QueueKey> State<K> {
    fn add(&mut self, key: K) {
        if self.closed || !self.dirty.insert(key.clone()) {
            return;
        }
        self.cancel_delay(&key);
        if !self.processing.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn add_at(&mut self, key: K, due: Instant) {
        if self.closed || self.dirty.contains(&key) {
            return;
        }
        let due = self.cancel_delay(&key).map_or(due, |earlier| earlier.min(due));
        self.schedule.insert((due, key.clone()));
        self.delayed.insert(key, due);
    }

    fn cancel_delay(&mut self, key: &K) -> Option<Instant> {
        let due = self.delayed.remove(key)?;
        self.schedule.remove(&(due, key.clone()));
        Some(due)
    }

    /// Moves what is due to the ready keys; the time of the next that is not.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        while let Some((due, key)) = self.schedule.first().cloned() {
            if due > now {
                return Some(due);
            }
            self.add(key);
        }
        None
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.processing.insert(key.clone());
        Some(key)
    }

    fn done(&mut self, key: &K) {
        self.processing.remove(key);
        if self.dirty.contains(key) {
            self.ready.push_back(key.clone());
        }
    }

    fn fail(&mut self, key: &K) -> u32 {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let earlier = *failures;
        *failures = failures.saturating_add(1);
        earlier
    }
}

/// A deduplicating queue with per-key exclusivity, delays and exponential back-off.
#[derive(Debug)]
pub struct WorkQueue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    backoff: Backoff,
}

impl<K: QueueKey> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new(Backoff::WORK_QUEUE)
    }
}

impl<K: QueueKey> WorkQueue<K> {
    /// An empty queue with the given back-off for [`Self::add_rate_limited`].
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: BTreeSet::new(),
            processing: BTreeSet::new(),
            delayed: BTreeMap::new(),
            schedule: BTreeSet::new(),
            failures: BTreeMap::new(),
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new(), backoff }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a key to be worked on as soon as possible.
    pub fn add(&self, key: K) {
        self.lock().add(key);
        self.changed.notify_one();
    }

    /// Adds a key to be worked on after `delay`.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.lock().add_at(key, Instant::now() + delay);
        self.changed.notify_one();
    }

    /// Counts a failure of `key` and adds it after the back-off that its number of failures asks for.
    pub fn add_rate_limited(&self, key: K) {
        let failures = self.lock().fail(&key);
        self.add_after(key, self.backoff.delay(failures));
    }

    /// Forgets the failures of `key`.
    pub fn forget(&self, key: &K) {
        self.lock().failures.remove(key);
    }

    /// How often `key` failed since it was last forgotten.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        self.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// Ends the work on a key that [`Self::next`] gave out.
    pub fn done(&self, key: &K) {
        self.lock().done(key);
        self.changed.notify_one();
    }

    /// Takes no more keys and makes [`Self::next`] return `None`.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// How many keys wait to be worked on now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().ready.len()
    }

    /// Whether no key waits to be worked on now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key to work on, waiting for one; `None` once the queue is closed.
    /// The caller must call [`Self::done`] with the key afterwards.
    pub async fn next(&self) -> Option<K> {
        loop {
            let changed = self.changed.notified();
            let due = {
                let mut state = self.lock();
                if state.closed {
                    self.changed.notify_one();
                    return None;
                }
                let due = state.advance(Instant::now());
                if let Some(key) = state.take() {
                    if !state.ready.is_empty() || due.is_some() {
                        self.changed.notify_one();
                    }
                    return Some(key);
                }
                due
            };
            match due {
                Some(due) => {
                    let _elapsed = tokio::time::timeout_at(due.into(), changed).await;
                }
                None => changed.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State<&'static str> {
        State {
            ready: VecDeque::new(),
            dirty: BTreeSet::new(),
            processing: BTreeSet::new(),
            delayed: BTreeMap::new(),
            schedule: BTreeSet::new(),
            failures: BTreeMap::new(),
            closed: false,
        }
    }

    #[test]
    fn key_added_twice_is_taken_once() {
        let mut queue = state();
        queue.add("a");
        queue.add("b");
        queue.add("a");
        assert_eq!((queue.take(), queue.take(), queue.take()), (Some("a"), Some("b"), None));
    }

    #[test]
    fn key_added_while_processed_is_taken_again_only_after_done() {
        let mut queue = state();
        queue.add("a");
        queue.take();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.take(), None);
        queue.done(&"a");
        assert_eq!(queue.take(), Some("a"));
        queue.done(&"a");
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn delayed_key_keeps_its_earliest_time() {
        let mut queue = state();
        let start = Instant::now();
        queue.add_at("a", start + Duration::from_secs(10));
        queue.add_at("a", start + Duration::from_secs(5));
        queue.add_at("a", start + Duration::from_secs(20));
        assert_eq!(queue.advance(start), Some(start + Duration::from_secs(5)));
        assert_eq!(queue.take(), None);
        assert_eq!(queue.advance(start + Duration::from_secs(5)), None);
        assert_eq!(queue.take(), Some("a"));
    }

    #[test]
    fn delayed_key_that_is_added_now_is_not_delayed_any_more() {
        let mut queue = state();
        let start = Instant::now();
        queue.add_at("a", start + Duration::from_secs(10));
        queue.add("a");
        assert_eq!(queue.advance(start), None);
        assert_eq!(queue.take(), Some("a"));
    }

    #[test]
    fn failures_count_until_forgotten() {
        let queue: WorkQueue<&str> = WorkQueue::default();
        queue.add_rate_limited("a");
        queue.add_rate_limited("a");
        assert_eq!(queue.failures(&"a"), 2);
        queue.forget(&"a");
        assert_eq!(queue.failures(&"a"), 0);
    }

    #[tokio::test]
    async fn next_wakes_for_added_delayed_and_closed() {
        let queue = std::sync::Arc::new(WorkQueue::<u32>::default());
        queue.add_after(1, Duration::from_millis(1));
        assert_eq!(queue.next().await, Some(1));
        queue.done(&1);
        let taker = tokio::spawn({
            let queue = queue.clone();
            async move { (queue.next().await, queue.next().await) }
        });
        queue.add(2);
        queue.add(2);
        tokio::task::yield_now().await;
        queue.done(&2);
        queue.close();
        let (first, _) = taker.await.unwrap();
        assert!(first == Some(2) || first.is_none());
    }
}
