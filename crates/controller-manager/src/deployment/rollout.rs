//! One run over a Deployment: working copies, and the plan that makes them real.
//!
//! Invariants:
//! * Steps change the copies only; [`Rollout::into_plan`] compares them with what was observed.
//! * The order of writes is: ReplicaSets in the order they were first changed in, deletions, the Deployment's status.

use std::sync::Arc;
use std::time::Duration;

use client::controller::{Failure, OnFailure};
use client::{Action, EventType, Kind, Plan, object_reference};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::limits::{desired, max_surge, progress_deadline_seconds, replicas};
use super::{Names, revision, status, template};

/// A working copy of a ReplicaSet.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// As observed; absent when it is to be created.
    pub observed: Option<Arc<ReplicaSet>>,
    /// As wanted.
    pub set: ReplicaSet,
    /// Messages of the events about changes of its size.
    pub scaled: Vec<String>,
}

impl Tracked {
    /// Whether it has, or ought to have, pods.
    pub fn is_active(&self) -> bool {
        replicas(&self.set) > 0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.set.metadata.name.as_deref().unwrap_or_default()
    }
}

/// The working state of one run.
#[derive(Debug)]
pub struct Rollout<'a> {
    /// The Deployment as observed.
    pub observed: &'a Deployment,
    /// The Deployment as wanted; only its status and revision annotation change.
    pub deployment: Deployment,
    /// The ReplicaSet of the current template.
    pub new: Option<Tracked>,
    /// All others, oldest first.
    pub old: Vec<Tracked>,
    /// The run's time.
    pub now: Timestamp,
    names: &'a Names,
    deleted: Vec<ReplicaSet>,
    collided: bool,
    requeue_after: Option<Duration>,
}

/// Oldest first; the name decides between equals.
fn age_key(set: &ReplicaSet) -> (Option<Timestamp>, Option<String>) {
    (set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.metadata.name.clone())
}

impl<'a> Rollout<'a> {
    /// The state before the first step: ReplicaSets sorted into the newest and the others.
    pub fn new(
        observed: &'a Deployment,
        mut owned: Vec<Arc<ReplicaSet>>,
        names: &'a Names,
        now: Timestamp,
    ) -> Self {
        owned.sort_by_key(|set| age_key(set));
        let current = observed.spec.as_ref().map(|spec| &spec.template);
        let position = owned.iter().position(|set| template::is_of(set, current));
        let tracked = |set: Arc<ReplicaSet>| Tracked {
            set: (*set).clone(),
            observed: Some(set),
            scaled: Vec::new(),
        };
        let new = position.map(|index| tracked(owned.remove(index)));
        let old = owned.into_iter().map(tracked).collect();
        let deployment = observed.clone();
        Self {
            observed,
            deployment,
            new,
            old,
            now,
            names,
            deleted: Vec::new(),
            collided: false,
            requeue_after: None,
        }
    }

    /// The newest and all others.
    pub fn all(&self) -> impl Iterator<Item = &Tracked> {
        self.old.iter().chain(&self.new)
    }

    /// The sum of the sizes of all ReplicaSets.
    pub fn total_replicas(&self) -> i32 {
        self.all().map(|tracked| replicas(&tracked.set)).sum()
    }

    /// Whether the user stopped rollouts.
    pub fn is_paused(&self) -> bool {
        self.observed.spec.as_ref().is_some_and(|spec| spec.paused == Some(true))
    }

    /// Changes the size of a ReplicaSet, and notes in it the size of the Deployment that it belongs to.
    pub fn scale(deployment: &Deployment, tracked: &mut Tracked, size: i32) -> bool {
        let before = replicas(&tracked.set);
        revision::set_replicas_annotations(
            &mut tracked.set,
            desired(deployment),
            desired(deployment) + max_surge(deployment),
        );
        if before == size {
            return false;
        }
        tracked.set.spec.get_or_insert_default().replicas = Some(size);
        let direction = if before < size { "up" } else { "down" };
        let name = tracked.name();
        let message = format!("Scaled {direction} replica set {name} from {before} to {size}");
        tracked.scaled.push(message);
        true
    }

    /// Brings the annotations and minReadySeconds of the newest ReplicaSet, and the Deployment's revision, up to date.
    pub fn sync_new_replica_set(&mut self) {
        let Some(new) = &mut self.new else { return };
        let next = revision::max_revision(self.old.iter().map(|old| &old.set)) + 1;
        revision::sync_new_annotations(&self.deployment, &mut new.set, next);
        let min_ready_seconds = self.observed.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
        new.set.spec.get_or_insert_default().min_ready_seconds = min_ready_seconds;
        revision::copy_revision(&new.set, &mut self.deployment);
        let judged = progress_deadline_seconds(self.observed).is_some();
        if judged && status::condition(&self.deployment, status::PROGRESSING).is_none() {
            let message = format!("Found new replica set \"{}\"", new.name());
            status::set_progressing(
                &mut self.deployment,
                "True",
                "FoundNewReplicaSet",
                message,
                self.now,
            );
        }
    }

    /// As [`Self::sync_new_replica_set`], but makes the ReplicaSet if there is none. `false` when that cannot be now: its
    /// name is taken (then the collision count goes up, and with it the name changes), or about to be free.
    pub fn ensure_new_replica_set(&mut self) -> bool {
        if self.new.is_some() {
            self.sync_new_replica_set();
            return true;
        }
        let set = self.make_new_replica_set();
        let name = set.metadata.name.clone().unwrap_or_default();
        if self.names.inherited.contains(&name) {
            // Its deletion or release will wake the key.
            return false;
        }
        if self.names.taken.contains(&name) {
            let status = self.deployment.status.get_or_insert_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            self.collided = true;
            return false;
        }
        let mut tracked = Tracked { observed: None, set, scaled: Vec::new() };
        let size = self.new_replicas(0);
        tracked.set.spec.get_or_insert_default().replicas = Some(size);
        if size > 0 {
            tracked.scaled.push(format!("Scaled up replica set {name} from 0 to {size}"));
        }
        self.new = Some(tracked);
        self.created_new_replica_set(&name);
        true
    }

    fn created_new_replica_set(&mut self, name: &str) {
        if let Some(new) = &self.new {
            revision::copy_revision(&new.set, &mut self.deployment);
        }
        if progress_deadline_seconds(self.observed).is_some() {
            let message = format!("Created new replica set \"{name}\"");
            status::set_progressing(
                &mut self.deployment,
                "True",
                "NewReplicaSetCreated",
                message,
                self.now,
            );
        }
    }

    fn make_new_replica_set(&self) -> ReplicaSet {
        let spec = self.observed.spec.clone().unwrap_or_default();
        let collisions = self.deployment.status.as_ref().and_then(|status| status.collision_count);
        let hash = template::hash(&spec.template, collisions);
        let (mut pod_template, mut selector) = (spec.template, spec.selector);
        let labels = pod_template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(template::POD_TEMPLATE_HASH.to_owned(), hash.clone());
        selector
            .match_labels
            .get_or_insert_default()
            .insert(template::POD_TEMPLATE_HASH.to_owned(), hash.clone());
        let metadata = ObjectMeta {
            name: Some(template::replica_set_name(
                self.observed.metadata.name.as_deref().unwrap_or_default(),
                &hash,
            )),
            namespace: self.observed.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            owner_references: Some(vec![self.observed.controller_reference()]),
            ..ObjectMeta::default()
        };
        let spec = ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: None,
            selector,
            template: Some(pod_template),
        };
        let mut set = ReplicaSet { metadata, spec: Some(spec), status: None };
        let next = revision::max_revision(self.old.iter().map(|old| &old.set)) + 1;
        revision::sync_new_annotations(&self.deployment, &mut set, next);
        let total = desired(self.observed);
        revision::set_replicas_annotations(&mut set, total, total + max_surge(self.observed));
        set
    }

    /// Deletes the oldest ReplicaSets without pods beyond the number that is to be kept.
    pub fn clean_up(&mut self) {
        let Some(limit) = super::limits::revision_history_limit(self.observed) else { return };
        let mut old: Vec<&Tracked> =
            self.old.iter().filter(|old| old.set.metadata.deletion_timestamp.is_none()).collect();
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|old| (revision::revision(&old.set), age_key(&old.set)));
        let unused = old.into_iter().take(surplus).filter(|old| is_unused(&old.set));
        self.deleted = unused.map(|old| old.set.clone()).collect();
    }

    /// Asks for a look at the Deployment after `delay`.
    pub fn requeue(&mut self, delay: Duration) {
        self.requeue_after = Some(delay);
    }

    /// What has to be done so that the copies become real.
    pub fn into_plan(self) -> Plan {
        let regarding = object_reference(self.observed);
        let on_failure = self.failure_answer();
        let mut plan = Plan { requeue_after: self.requeue_after, ..Plan::default() };
        if self.new.as_ref().is_some_and(|new| new.observed.is_none()) {
            plan.on_failure = Some(on_failure);
        }
        for tracked in self.new.iter().chain(&self.old) {
            match &tracked.observed {
                None => plan.actions.push(Action::create(&tracked.set)),
                Some(observed) if **observed != tracked.set => {
                    plan.actions.push(Action::update(&tracked.set))
                }
                Some(_) => {}
            }
            let events = tracked.scaled.iter().map(|message| {
                Action::event(&regarding, EventType::Normal, "ScalingReplicaSet", message)
            });
            plan.actions.extend(events);
        }
        plan.actions.extend(self.deleted.iter().map(Action::delete));
        if self.deployment != *self.observed {
            plan.actions.push(Action::update_status(&self.deployment));
        }
        if self.collided {
            plan.requeue(Duration::ZERO);
        }
        plan
    }

    /// What is told when the new ReplicaSet could not be created.
    fn failure_answer(&self) -> OnFailure {
        let name = self.new.as_ref().map(|new| new.name().to_owned()).unwrap_or_default();
        let (mut deployment, now) = (self.observed.clone(), self.now);
        Box::new(move |failure: &Failure| {
            if failure.already_exists {
                return Vec::new();
            }
            let message =
                format!("Failed to create new replica set \"{name}\": {}", failure.message);
            let event = Action::event(
                &object_reference(&deployment),
                EventType::Warning,
                "ReplicaSetCreateError",
                message.clone(),
            );
            if progress_deadline_seconds(&deployment).is_none() {
                return vec![event];
            }
            status::set_progressing(
                &mut deployment,
                "False",
                "ReplicaSetCreateError",
                message,
                now,
            );
            vec![event, Action::update_status(&deployment)]
        })
    }
}

/// Neither has nor will have pods, by its own and its controller's account.
fn is_unused(set: &ReplicaSet) -> bool {
    let status = set.status.clone().unwrap_or_default();
    status.replicas == 0
        && replicas(set) == 0
        && set.metadata.generation <= status.observed_generation
}
