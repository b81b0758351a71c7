//! A Deployment's status: counts and the conditions Available, Progressing, ReplicaFailure. Counterpart: `progress.go`
//! and `calculateStatus`.
//!
//! Invariants:
//! * A condition keeps its times while its status and reason stay; `lastTransitionTime` moves with the status only.
//! * `lastUpdateTime` of Progressing moves with every sign of progress: the deadline counts from there.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::limits::{desired, max_unavailable, progress_deadline_seconds};
use super::rollout::Rollout;

/// The condition that tells how a rollout goes.
pub const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const NEW_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
/// Shortest time to the next look at a rollout that is about to miss its deadline.
const MIN_PROGRESS_CHECK: Duration = Duration::from_secs(1);

/// The condition of a Deployment.
pub fn condition<'a>(deployment: &'a Deployment, type_: &str) -> Option<&'a DeploymentCondition> {
    find(deployment.status.as_ref()?, type_)
}

fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn reason(condition: &DeploymentCondition) -> &str {
    condition.reason.as_deref().unwrap_or_default()
}

fn new_condition(
    type_: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Sets a condition unless status and reason are what they were.
fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(current) = find(status, &condition.type_) {
        if current.status == condition.status && current.reason == condition.reason {
            return;
        }
        if current.status == condition.status {
            condition.last_transition_time.clone_from(&current.last_transition_time);
        }
    }
    remove(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != type_);
    }
    status.conditions = status.conditions.take().filter(|conditions| !conditions.is_empty());
}

/// Sets the condition Progressing.
pub fn set_progressing(
    deployment: &mut Deployment,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    set(
        deployment.status.get_or_insert_default(),
        new_condition(PROGRESSING, status, reason, message, now),
    );
}

/// All desired pods are of the newest template and available, no other pods are left, and that is about this generation.
pub fn is_complete(deployment: &Deployment, status: Option<&DeploymentStatus>) -> bool {
    let wanted = desired(deployment);
    status.is_some_and(|status| {
        status.updated_replicas.unwrap_or(0) == wanted
            && status.replicas.unwrap_or(0) == wanted
            && status.available_replicas.unwrap_or(0) == wanted
            && status.observed_generation >= deployment.metadata.generation
    })
}

/// Newer pods, fewer old ones, more ready or available ones than before.
fn is_progressing(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let count = |value: Option<i32>| value.unwrap_or(0);
    let old_pods =
        |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(after.updated_replicas) > count(before.updated_replicas)
        || old_pods(after) < old_pods(before)
        || count(after.ready_replicas) > count(before.ready_replicas)
        || count(after.available_replicas) > count(before.available_replicas)
}

/// When a rollout without progress counts as stuck.
fn deadline(deployment: &Deployment, condition: &DeploymentCondition) -> Option<Timestamp> {
    let seconds = progress_deadline_seconds(deployment)?;
    condition
        .last_update_time
        .as_ref()?
        .0
        .checked_add(SignedDuration::from_secs(seconds.into()))
        .ok()
}

fn has_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(condition) = find(status, PROGRESSING) else { return false };
    match reason(condition) {
        NEW_AVAILABLE => false,
        TIMED_OUT => true,
        _ => deadline(deployment, condition).is_some_and(|deadline| deadline < now),
    }
}

fn nonzero(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

fn status_of(set: &ReplicaSet) -> ReplicaSetStatus {
    set.status.clone().unwrap_or_default()
}

/// The sum of pods being deleted; unknown when one ReplicaSet was looked at and does not say.
fn terminating<'a>(sets: impl Iterator<Item = &'a ReplicaSet>) -> Option<i32> {
    let mut sum = 0;
    for status in sets.map(status_of) {
        let never_looked_at = status.observed_generation.unwrap_or(0) == 0;
        match status.terminating_replicas {
            Some(number) => sum += number,
            None if never_looked_at => {}
            None => return None,
        }
    }
    Some(sum)
}

impl Rollout<'_> {
    /// Tells in a condition that the Deployment was paused or resumed, so that the deadline does not run meanwhile.
    pub fn check_paused(&mut self) {
        let current = condition(self.observed, PROGRESSING).map(reason).unwrap_or_default();
        if progress_deadline_seconds(self.observed).is_none() || current == TIMED_OUT {
            return;
        }
        let (paused, now) = (self.is_paused(), self.now);
        let mut tell = |reason, message: &str| {
            set_progressing(&mut self.deployment, "Unknown", reason, message.to_owned(), now)
        };
        match (paused, current == "DeploymentPaused") {
            (true, false) => tell("DeploymentPaused", "Deployment is paused"),
            (false, true) => tell("DeploymentResumed", "Deployment is resumed"),
            _ => {}
        }
    }

    fn calculate(&self) -> DeploymentStatus {
        let sum = |count: &dyn Fn(&ReplicaSetStatus) -> i32| {
            self.all().map(|tracked| count(&status_of(&tracked.set))).sum::<i32>()
        };
        let available = sum(&|status| status.available_replicas.unwrap_or(0));
        let before = self.deployment.status.clone().unwrap_or_default();
        let mut status = DeploymentStatus {
            observed_generation: self.observed.metadata.generation,
            replicas: nonzero(sum(&|status| status.replicas)),
            updated_replicas: nonzero(
                self.new.as_ref().map_or(0, |new| status_of(&new.set).replicas),
            ),
            ready_replicas: nonzero(sum(&|status| status.ready_replicas.unwrap_or(0))),
            available_replicas: nonzero(available),
            unavailable_replicas: nonzero((self.total_replicas() - available).max(0)),
            terminating_replicas: terminating(self.all().map(|tracked| &tracked.set)),
            collision_count: before.collision_count,
            conditions: before.conditions,
        };
        let enough = available >= desired(self.observed) - max_unavailable(self.observed);
        let (word, reason, message) = if enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        };
        set(&mut status, new_condition(AVAILABLE, word, reason, message.to_owned(), self.now));
        status
    }

    /// Counts and availability, for runs that do not roll.
    pub fn sync_status(&mut self) {
        self.deployment.status = Some(self.calculate());
    }

    /// Counts, availability, and how the rollout goes.
    pub fn sync_rollout_status(&mut self) {
        let mut status = self.calculate();
        if progress_deadline_seconds(self.observed).is_none() {
            remove(&mut status, PROGRESSING);
        } else {
            self.judge_progress(&mut status);
        }
        match self.replica_failure() {
            Some(failure) => set(&mut status, failure),
            None => remove(&mut status, REPLICA_FAILURE),
        }
        self.plan_progress_check(&status);
        self.deployment.status = Some(status);
    }

    fn judge_progress(&self, status: &mut DeploymentStatus) {
        let before = self.observed.status.clone().unwrap_or_default();
        let current = condition(&self.deployment, PROGRESSING).cloned();
        let all_updated = status.replicas == status.updated_replicas;
        if all_updated && current.as_ref().is_some_and(|current| reason(current) == NEW_AVAILABLE) {
            return;
        }
        let subject = match &self.new {
            Some(new) => format!("ReplicaSet \"{}\"", new.name()),
            None => format!(
                "Deployment \"{}\"",
                self.observed.metadata.name.as_deref().unwrap_or_default()
            ),
        };
        if is_complete(self.observed, Some(status)) {
            set(
                status,
                new_condition(
                    PROGRESSING,
                    "True",
                    NEW_AVAILABLE,
                    format!("{subject} has successfully progressed."),
                    self.now,
                ),
            );
        } else if is_progressing(&before, status) {
            let mut progress = new_condition(
                PROGRESSING,
                "True",
                "ReplicaSetUpdated",
                format!("{subject} is progressing."),
                self.now,
            );
            if let Some(current) = current.filter(|current| current.status == "True") {
                progress.last_transition_time = current.last_transition_time;
            }
            // Unlike every other condition this one is renewed with the same status and reason: its time is progress.
            remove(status, PROGRESSING);
            set(status, progress);
        } else if has_timed_out(self.observed, status, self.now) {
            set(
                status,
                new_condition(
                    PROGRESSING,
                    "False",
                    TIMED_OUT,
                    format!("{subject} has timed out progressing."),
                    self.now,
                ),
            );
        }
    }

    /// The failure that the newest ReplicaSet tells of, else that of any other.
    fn replica_failure(&self) -> Option<DeploymentCondition> {
        let sets = self.new.iter().chain(&self.old);
        let conditions =
            sets.flat_map(|tracked| status_of(&tracked.set).conditions.unwrap_or_default());
        let failure =
            conditions.into_iter().find(|condition| condition.type_ == REPLICA_FAILURE)?;
        Some(DeploymentCondition {
            type_: failure.type_,
            status: failure.status,
            last_update_time: failure.last_transition_time.clone(),
            last_transition_time: failure.last_transition_time,
            reason: failure.reason,
            message: failure.message,
        })
    }

    /// A stuck rollout causes no events: the deadline itself must bring the next look.
    fn plan_progress_check(&mut self, status: &DeploymentStatus) {
        let Some(current) = find(status, PROGRESSING) else { return };
        if is_complete(self.observed, Some(status)) || reason(current) == TIMED_OUT {
            return;
        }
        if let Some(deadline) = deadline(self.observed, current) {
            let left =
                Duration::try_from(deadline.duration_since(self.now)).unwrap_or(Duration::ZERO);
            self.requeue(left + MIN_PROGRESS_CHECK);
        }
    }
}
