//! The Recreate strategy. Counterpart: `recreate.go`.
//!
//! Invariant: no new pod while an old one may still run.

use super::limits::{desired, replicas};
use super::rollout::Rollout;
use super::status;

impl Rollout<'_> {
    /// One step: old ReplicaSets to zero, wait for their pods, then the new one.
    pub fn recreate(&mut self, with_running_pods: &[String]) {
        self.sync_new_replica_set();
        let mut scaled = false;
        for old in self.old.iter_mut().filter(|old| old.is_active()) {
            scaled |= Self::scale(&self.deployment, old, 0);
        }
        if scaled || self.old_pods_run(with_running_pods) {
            self.sync_rollout_status();
            return;
        }
        if !self.ensure_new_replica_set() {
            return;
        }
        if let Some(new) =
            self.new.as_mut().filter(|new| replicas(&new.set) != desired(self.observed))
        {
            Self::scale(&self.deployment, new, desired(self.observed));
        }
        if status::is_complete(self.observed, self.observed.status.as_ref()) {
            self.clean_up();
        }
        self.sync_rollout_status();
    }

    fn old_pods_run(&self, with_running_pods: &[String]) -> bool {
        self.old.iter().any(|old| {
            let counted = old.set.status.as_ref().is_some_and(|status| status.replicas > 0);
            counted || with_running_pods.iter().any(|name| name == old.name())
        })
    }
}
