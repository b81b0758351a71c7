//! The RollingUpdate strategy. Counterpart: `rolling.go`.
//!
//! Invariants:
//! * One direction per run: the new ReplicaSet grows, or old ones shrink.
//! * Old pods that are not available go first: they do not serve anyone.

use super::limits::{available, desired, is_recreate, max_surge, max_unavailable, replicas};
use super::rollout::Rollout;
use super::status;

impl Rollout<'_> {
    /// One step of a rolling update.
    pub fn roll(&mut self) {
        if !self.ensure_new_replica_set() {
            return;
        }
        let scaled = self.scale_new() || self.scale_old();
        if !scaled && status::is_complete(self.observed, self.observed.status.as_ref()) {
            self.clean_up();
        }
        self.sync_rollout_status();
    }

    /// The size the new ReplicaSet may have now, from its current one.
    pub fn new_replicas(&self, current: i32) -> i32 {
        let wanted = desired(self.observed);
        if is_recreate(self.observed) {
            return wanted;
        }
        let room = wanted + max_surge(self.observed) - self.total_replicas();
        if room <= 0 { current } else { current + room.min(wanted - current) }
    }

    fn scale_new(&mut self) -> bool {
        let Some(current) =
            self.new.as_ref().filter(|new| new.observed.is_some()).map(|new| replicas(&new.set))
        else {
            // Just made, with the size it may have.
            return self.new.as_ref().is_some_and(|new| new.is_active());
        };
        let wanted = desired(self.observed);
        if current == wanted {
            return false;
        }
        let size = if current > wanted { wanted } else { self.new_replicas(current) };
        size != current
            && self.new.as_mut().is_some_and(|new| Self::scale(&self.deployment, new, size))
    }

    /// Shrinks old ReplicaSets as far as the available pods allow.
    fn scale_old(&mut self) -> bool {
        let Some(new) = &self.new else { return false };
        let unavailable_new = replicas(&new.set) - available(&new.set);
        let min_available = desired(self.observed) - max_unavailable(self.observed);
        let removable = self.total_replicas() - min_available - unavailable_new;
        let has_old_pods = self.old.iter().any(super::rollout::Tracked::is_active);
        if !has_old_pods || removable <= 0 {
            return false;
        }
        let unhealthy = self.remove_unhealthy(removable);
        let healthy = self.remove_available(min_available);
        unhealthy || healthy
    }

    /// Takes up to `limit` pods that are not available away from old ReplicaSets, oldest first.
    fn remove_unhealthy(&mut self, limit: i32) -> bool {
        let mut left = limit;
        for old in self.old.iter_mut().filter(|old| old.is_active()) {
            let (size, healthy) = (replicas(&old.set), available(&old.set));
            let removed = left.min(size - healthy).max(0);
            if removed > 0 {
                Self::scale(&self.deployment, old, size - removed);
                left -= removed;
            }
        }
        left < limit
    }

    /// Takes away as many available old pods as there are beyond `min_available`, oldest ReplicaSet first.
    fn remove_available(&mut self, min_available: i32) -> bool {
        let surplus =
            self.all().map(|tracked| available(&tracked.set)).sum::<i32>() - min_available;
        let mut left = surplus.max(0);
        let before = left;
        for old in self.old.iter_mut().filter(|old| old.is_active()) {
            let size = replicas(&old.set);
            let removed = size.min(left);
            if removed > 0 {
                Self::scale(&self.deployment, old, size - removed);
                left -= removed;
            }
        }
        left < before
    }
}
