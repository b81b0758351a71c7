//! Pods that wait: to be scheduled now, after a back-off, or for something to change.
//!
//! Counterpart in Kubernetes: `SchedulingQueue` (active, back-off and unschedulable pods).
//!
//! Invariants: a pod is in one of the three at most; it knows no clock but the one it is given; higher priority goes
//! first, then who came first.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The first back-off; it doubles with every attempt.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest back-off.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// After this long an unschedulable pod is tried again even if nothing seemed to change.
const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(300);

/// The order among pods to be scheduled: priority first, then arrival.
type Turn = (std::cmp::Reverse<i32>, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active(Turn),
    BackOff(Instant),
    Unschedulable { until: Instant, back_off: Instant },
}

#[derive(Debug)]
struct Waiting {
    priority: i32,
    attempts: u32,
    place: Place,
}

/// The pods that wait, by an identity of the caller's choice.
#[derive(Debug)]
pub struct Queue<K: Ord + Clone> {
    pods: BTreeMap<K, Waiting>,
    active: BTreeMap<Turn, K>,
    arrivals: u64,
}

impl<K: Ord + Clone> Default for Queue<K> {
    fn default() -> Self {
        Self { pods: BTreeMap::new(), active: BTreeMap::new(), arrivals: 0 }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// A new pod, or one that changed so that it may be schedulable now.
    pub fn add(&mut self, key: K, priority: i32) {
        let attempts = self.pods.get(&key).map_or(0, |waiting| waiting.attempts);
        self.remove(&key);
        let place = self.activate(&key, priority);
        self.pods.insert(key, Waiting { priority, attempts, place });
    }

    fn activate(&mut self, key: &K, priority: i32) -> Place {
        self.arrivals += 1;
        let turn = (std::cmp::Reverse(priority), self.arrivals);
        self.active.insert(turn, key.clone());
        Place::Active(turn)
    }

    /// The pod whose turn it is. It stays known until it is removed, so that its attempts are counted.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        self.wake(now);
        let (_, key) = self.active.pop_first()?;
        let waiting = self.pods.get_mut(&key)?;
        waiting.attempts += 1;
        waiting.place = Place::Unschedulable { until: now + UNSCHEDULABLE_MAX, back_off: now };
        Some(key)
    }

    /// The pod just popped fits nowhere: it waits for a change, and for its back-off.
    pub fn unschedulable(&mut self, key: &K, now: Instant) {
        if let Some(waiting) = self.pods.get_mut(key) {
            let back_off = now + back_off(waiting.attempts);
            waiting.place = Place::Unschedulable { until: now + UNSCHEDULABLE_MAX, back_off };
        }
    }

    /// The pod just popped could not be bound: it is tried again after its back-off.
    pub fn failed(&mut self, key: &K, now: Instant) {
        if let Some(waiting) = self.pods.get_mut(key) {
            waiting.place = Place::BackOff(now + back_off(waiting.attempts));
        }
    }

    /// Something changed that may make room: unschedulable pods are tried again once their back-off is over.
    pub fn something_changed(&mut self, now: Instant) {
        for waiting in self.pods.values_mut() {
            if let Place::Unschedulable { back_off, .. } = waiting.place {
                waiting.place = Place::BackOff(back_off);
            }
        }
        self.wake(now);
    }

    /// Forgets a pod.
    pub fn remove(&mut self, key: &K) {
        if let Some(waiting) = self.pods.remove(key)
            && let Place::Active(turn) = waiting.place
        {
            self.active.remove(&turn);
        }
    }

    /// When the next pod's wait ends; `None` if none waits for a time.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadline = |waiting: &Waiting| match waiting.place {
            Place::Active(_) => None,
            Place::BackOff(until) | Place::Unschedulable { until, .. } => Some(until),
        };
        self.pods.values().filter_map(deadline).min()
    }

    /// Whether a pod can be popped without waiting.
    pub fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// A deadline has come: whoever waited for it is to be scheduled.
    pub fn something_is_due(&mut self, now: Instant) {
        self.wake(now);
    }

    fn wake(&mut self, now: Instant) {
        let over = |waiting: &Waiting| match waiting.place {
            Place::Active(_) => false,
            Place::BackOff(until) | Place::Unschedulable { until, .. } => until <= now,
        };
        let due: Vec<(K, i32)> = self
            .pods
            .iter()
            .filter(|(_, waiting)| over(waiting))
            .map(|(key, waiting)| (key.clone(), waiting.priority))
            .collect();
        for (key, priority) in due {
            let place = self.activate(&key, priority);
            if let Some(waiting) = self.pods.get_mut(&key) {
                waiting.place = place;
            }
        }
    }
}

fn back_off(attempts: u32) -> Duration {
    let factor = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    BACKOFF.checked_mul(factor).map_or(BACKOFF_MAX, |delay| delay.min(BACKOFF_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn priority_goes_first_then_arrival() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (key, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
            queue.add(key, priority);
        }
        queue.remove(&"c");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(now)).collect();
        assert_eq!(order, ["b", "d", "a"]);
    }

    #[test]
    fn unschedulable_pod_waits_for_a_change_and_its_back_off() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add("a", 0);
        assert_eq!(queue.pop(now), Some("a"));
        queue.unschedulable(&"a", now);
        assert_eq!(queue.pop(now + seconds(100)), None, "nothing changed");
        queue.something_changed(now + seconds(100));
        assert_eq!(queue.pop(now + seconds(100)), Some("a"));
        queue.unschedulable(&"a", now + seconds(100));
        queue.something_changed(now + seconds(101));
        assert_eq!(queue.pop(now + seconds(101)), None, "the second back-off is two seconds");
        assert_eq!(queue.next_deadline(), Some(now + seconds(102)));
        assert_eq!(queue.pop(now + seconds(102)), Some("a"));
    }

    #[test]
    fn unschedulable_pod_is_tried_again_after_five_minutes_anyway() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add("a", 0);
        queue.pop(now);
        queue.unschedulable(&"a", now);
        assert_eq!(queue.next_deadline(), Some(now + seconds(300)));
        assert_eq!(queue.pop(now + seconds(300)), Some("a"));
    }

    #[test]
    fn failed_binding_backs_off_up_to_ten_seconds() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.add("a", 0);
        let mut waits = Vec::new();
        for _ in 0..6 {
            assert_eq!(queue.pop(now), Some("a"));
            queue.failed(&"a", now);
            let deadline = queue.next_deadline().unwrap();
            waits.push((deadline - now).as_secs());
            now = deadline;
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    }
}
