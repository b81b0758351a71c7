//! Scaling without rolling: a changed size, or a paused Deployment. Counterpart: `sync.go`.
//!
//! Invariants:
//! * In the middle of a rollout the difference is spread over all active ReplicaSets by their share, so that a change of
//!   size neither speeds a bad rollout up nor takes a good one back.
//! * The sizes add up to `replicas + maxSurge` afterwards.

use super::limits::{available, desired, is_recreate, max_surge, replicas};
use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS, size_annotation};
use super::rollout::{Rollout, Tracked};
use k8s_openapi::api::apps::v1::Deployment;

impl Rollout<'_> {
    /// Whether the Deployment's size changed since its ReplicaSets were last scaled.
    pub fn is_scaling_event(&self) -> bool {
        let wanted = desired(self.observed);
        self.all().filter(|tracked| tracked.is_active()).any(|tracked| {
            size_annotation(&tracked.set, DESIRED_REPLICAS).is_some_and(|size| size != wanted)
        })
    }

    /// Scales, cleans up when paused, and writes the status.
    pub fn sync_scale(&mut self) {
        self.sync_new_replica_set();
        self.scale_all();
        if self.is_paused() {
            self.clean_up();
        }
        self.sync_status();
    }

    fn scale_all(&mut self) {
        let wanted = desired(self.observed);
        let deployment = &self.deployment;
        if let Some(only) = only_active_or_latest(&mut self.new, &mut self.old) {
            if replicas(&only.set) != wanted {
                Self::scale(deployment, only, wanted);
            }
        } else if is_saturated(deployment, self.new.as_ref()) {
            for old in self.old.iter_mut().filter(|old| old.is_active()) {
                Self::scale(deployment, old, 0);
            }
        } else if !is_recreate(deployment) {
            scale_proportionally(
                deployment,
                self.old
                    .iter_mut()
                    .chain(&mut self.new)
                    .filter(|tracked| tracked.is_active())
                    .collect(),
            );
        }
    }
}

/// The one ReplicaSet to scale when at most one is active: that one, else the newest.
fn only_active_or_latest<'t>(
    new: &'t mut Option<Tracked>,
    old: &'t mut [Tracked],
) -> Option<&'t mut Tracked> {
    let active = new.iter().chain(old.iter()).filter(|tracked| tracked.is_active()).count();
    match active {
        0 => new.as_mut().or(old.last_mut()),
        1 => old.iter_mut().chain(new).find(|tracked| tracked.is_active()),
        _ => None,
    }
}

/// Both the Deployment and its newest ReplicaSet believe that this one may have all pods, and they are available.
fn is_saturated(deployment: &Deployment, new: Option<&Tracked>) -> bool {
    let wanted = desired(deployment);
    new.is_some_and(|new| {
        replicas(&new.set) == wanted
            && size_annotation(&new.set, DESIRED_REPLICAS) == Some(wanted)
            && available(&new.set) == wanted
    })
}

/// Spreads the difference to the allowed total over `active`, the largest first. Between equals the newer grow and the
/// older shrink first; what rounding leaves goes to the first.
fn scale_proportionally(deployment: &Deployment, mut active: Vec<&mut Tracked>) {
    let wanted = desired(deployment);
    let allowed = if wanted > 0 { wanted + max_surge(deployment) } else { 0 };
    let to_add = allowed - active.iter().map(|tracked| replicas(&tracked.set)).sum::<i32>();
    // They come oldest first, and sorting is stable.
    if to_add > 0 {
        active.reverse();
    }
    active.sort_by_key(|tracked| std::cmp::Reverse(replicas(&tracked.set)));
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for tracked in &active {
        let share = proportion(deployment, tracked, to_add, added);
        added += share;
        sizes.push(replicas(&tracked.set) + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (tracked, size) in active.into_iter().zip(sizes) {
        Rollout::scale(deployment, tracked, size);
    }
}

/// The share of one ReplicaSet in what is to be added, never more than what is left of it.
fn proportion(deployment: &Deployment, tracked: &Tracked, to_add: i32, added: i32) -> i32 {
    let left = to_add - added;
    if replicas(&tracked.set) == 0 || to_add == 0 || left == 0 {
        return 0;
    }
    let fraction = fraction(deployment, tracked);
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}

/// By how much a ReplicaSet changes if it keeps its share of the Deployment's largest total size.
fn fraction(deployment: &Deployment, tracked: &Tracked) -> i32 {
    let size = replicas(&tracked.set);
    if desired(deployment) == 0 {
        return -size;
    }
    let total = desired(deployment) + max_surge(deployment);
    let noted = size_annotation(&tracked.set, MAX_REPLICAS).filter(|noted| *noted != 0);
    let before = noted.or_else(|| deployment.status.as_ref()?.replicas).unwrap_or(0);
    if before == 0 {
        return 0;
    }
    let share = f64::from(size) * f64::from(total) / f64::from(before);
    // Sizes are far below the range of i32; rounding is half away from zero, as in Kubernetes.
    share.round() as i32 - size
}
