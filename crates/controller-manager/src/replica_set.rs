//! Keeps as many pods of a template running as a ReplicaSet or a ReplicationController asks for. Counterparts:
//! `pkg/controller/replicaset` and `pkg/controller/replication`.
//!
//! Invariants:
//! * Pods are created and deleted by count only; which ones go first is [`crate::pods::sort_for_deletion`].
//! * A pod that ended or is being deleted does not count, so it is replaced at once.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::labels::Selector;
use apimachinery::meta::{NameUse, controller_of, name_is_dns_subdomain};
use client::controller::{Delete, Failure, Report};
use client::{
    Action, Caches, Client, Controller, Kind, ObjectKey, Plan, Watches, object_reference, request,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use self::kinds::Replicas;
use crate::claim::{Claims, adopt, claim, release};
use crate::pods;

mod kinds;

/// Creations or deletions of pods in one run of a key, so that one huge ReplicaSet does not keep a worker for long.
const BURST_REPLICAS: usize = 500;
/// The condition that tells of failed creations and deletions.
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The controller of ReplicaSets, or of another kind like them.
#[derive(Debug)]
pub struct ReplicaSetController<K = ReplicaSet>(PhantomData<K>);

impl<K> Default for ReplicaSetController<K> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// A ReplicaSet, or an object of another kind like them, and the pods that concern it.
#[derive(Debug)]
pub struct Observed<K = ReplicaSet> {
    replica_set: Arc<K>,
    /// Pods it controls, and orphans of its namespace.
    candidates: Vec<Arc<Pod>>,
    /// Pods of every ReplicaSet with the same controller, itself included.
    related: Vec<Arc<Pod>>,
    /// Asked before pods are created or adopted.
    alive: Liveness,
}

/// What the API server says about the controller whose pods or ReplicaSets are about to be made or adopted. The caches of
/// its kind and of its dependents advance on their own, so the cache alone may show that dependents are missing before it
/// shows why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It was not asked: nothing is to be made or adopted.
    NotAsked,
    /// It exists and is not being deleted.
    Alive,
    /// It is gone or going, and so is the reason for doing anything.
    Gone,
}

impl<K: Replicas> Controller for ReplicaSetController<K> {
    const NAME: &'static str = K::CONTROLLER;
    type Key = ObjectKey;
    type Observed = Observed<K>;

    fn watches(&self) -> Watches<ObjectKey> {
        Watches::new().own::<K>().owned::<Pod, K>().map::<Pod>(|caches, change| {
            let orphans = change
                .new
                .iter()
                .chain(&change.old)
                .filter(|pod| controller_of(&pod.metadata).is_none());
            orphans.flat_map(|pod| matching_replica_sets::<K>(caches, pod)).collect()
        })
    }

    fn observe(&self, caches: &Caches, key: &ObjectKey) -> Option<Observed<K>> {
        let replica_set = caches.of::<K>().get(key)?;
        let mut candidates =
            caches.of::<Pod>().controlled_by(replica_set.metadata().uid.as_deref()?);
        candidates.extend(caches.of::<Pod>().orphans(&key.namespace));
        // Only a choice of pods to delete looks at them.
        let surplus = candidates.len() > desired(&*replica_set);
        let related = if surplus { related_pods(caches, &replica_set) } else { Vec::new() };
        Some(Observed { replica_set, candidates, related, alive: Liveness::NotAsked })
    }

    async fn complete(
        &self,
        mut observed: Observed<K>,
        client: &Client,
    ) -> Result<Observed<K>, client::Error> {
        if observed.needs_liveness() {
            observed.alive = liveness(client, &*observed.replica_set).await?;
        }
        Ok(observed)
    }

    fn reconcile(&self, observed: &Observed<K>, now: Timestamp) -> Plan {
        observed.reconcile(now)
    }
}

/// Asks whether exactly this object still exists and is not being deleted.
pub async fn liveness<K: Kind>(client: &Client, object: &K) -> Result<Liveness, client::Error> {
    let meta = object.metadata();
    let live = request::get_metadata(client, &K::resource_type(), &ObjectKey::of(meta)).await?;
    let live = live.map(|live| live.metadata).filter(|live| live.uid == meta.uid);
    let alive = live.is_some_and(|live| live.deletion_timestamp.is_none());
    Ok(if alive { Liveness::Alive } else { Liveness::Gone })
}

/// The desired number of pods.
fn desired(replica_set: &impl Replicas) -> usize {
    usize::try_from(replica_set.replicas().unwrap_or(1)).unwrap_or(0)
}

/// ReplicaSets of the pod's namespace that could adopt it.
fn matching_replica_sets<K: Replicas>(caches: &Caches, pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let all = caches.of::<K>().in_namespace(namespace);
    let matching = all
        .iter()
        .filter(|set| set.selector().is_some_and(|selector| selector.matches_meta(&pod.metadata)));
    matching.map(|set| ObjectKey::of(set.metadata())).collect()
}

/// Pods of the ReplicaSets that have the same controller (the old and new ones of a Deployment).
fn related_pods<K: Replicas>(caches: &Caches, replica_set: &Arc<K>) -> Vec<Arc<Pod>> {
    let siblings = match controller_of(replica_set.metadata()) {
        Some(owner) => caches.of::<K>().controlled_by(&owner.uid),
        None => vec![replica_set.clone()],
    };
    let uids = siblings.iter().filter_map(|set| set.metadata().uid.as_deref());
    uids.flat_map(|uid| caches.of::<Pod>().controlled_by(uid)).collect()
}

impl<K: Replicas> Observed<K> {
    fn claims(&self) -> Option<Claims<Pod>> {
        Some(claim(
            self.replica_set.metadata(),
            &self.replica_set.selector()?,
            self.candidates.iter().cloned(),
        ))
    }

    /// Whether pods are to be created or adopted.
    fn needs_liveness(&self) -> bool {
        let active = |pods: &[Arc<Pod>]| pods.iter().filter(|pod| pods::is_active(pod)).count();
        let deleted = self.replica_set.metadata().deletion_timestamp.is_some();
        !deleted
            && self.claims().is_some_and(|claims| {
                active(&claims.adoptable) > 0 || active(&claims.owned) < desired(&*self.replica_set)
            })
    }

    fn min_ready_seconds(&self) -> i32 {
        self.replica_set.min_ready_seconds()
    }

    fn reconcile(&self, now: Timestamp) -> Plan {
        let Some(claims) = self.claims().filter(|_| self.alive != Liveness::Gone) else {
            return Plan::nothing();
        };
        let mut plan = Plan::from(self.claiming(&claims));
        let mut active: Vec<Arc<Pod>> =
            claims.owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        if self.alive == Liveness::Alive {
            active.extend(claims.adoptable.iter().filter(|pod| pods::is_active(pod)).cloned());
        }
        let terminating = claims.owned.iter().filter(|pod| pods::is_terminating(pod)).count();
        let status = self.status(&active, terminating, now);
        if self.replica_set.metadata().deletion_timestamp.is_none() {
            plan.actions.extend(self.manage(&active, now));
            plan.on_failure = Some(self.failure_status(status.clone(), active.len(), now));
        }
        plan.actions.extend(self.update_status(without_failure(status.clone())));
        plan.requeue_after = self.next_check(&active, &status, now);
        plan
    }

    fn claiming(&self, claims: &Claims<Pod>) -> Vec<Action> {
        let uid = self.replica_set.metadata().uid.as_deref();
        let active = |pods: &[Arc<Pod>]| {
            pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect::<Vec<_>>()
        };
        let mut actions: Vec<Action> =
            active(&claims.released).iter().map(|pod| release(uid, &**pod)).collect();
        if self.alive == Liveness::Alive {
            actions.extend(
                active(&claims.adoptable).iter().map(|pod| adopt(&*self.replica_set, &**pod)),
            );
        }
        actions
    }

    /// The creations or deletions that bring the number of active pods to the desired one.
    fn manage(&self, active: &[Arc<Pod>], now: Timestamp) -> Vec<Action> {
        let desired = desired(&*self.replica_set);
        if active.len() < desired {
            let missing = (desired - active.len()).min(BURST_REPLICAS);
            return vec![self.create_pod(); missing];
        }
        let mut pods = active.to_vec();
        pods::sort_for_deletion(&mut pods, &pods::pods_per_node(&self.related), now);
        pods.truncate((active.len() - desired).min(BURST_REPLICAS));
        pods.iter().map(|pod| self.delete_pod(pod)).collect()
    }

    fn create_pod(&self) -> Action {
        let set = &*self.replica_set;
        let template = set.template().cloned().unwrap_or_default();
        let from_template = template.metadata.unwrap_or_default();
        let metadata = ObjectMeta {
            generate_name: Some(pod_name_prefix(
                set.metadata().name.as_deref().unwrap_or_default(),
            )),
            namespace: set.metadata().namespace.clone(),
            labels: from_template.labels,
            annotations: from_template.annotations,
            finalizers: from_template.finalizers,
            owner_references: Some(vec![set.controller_reference()]),
            ..ObjectMeta::default()
        };
        let pod = Pod { metadata, spec: template.spec, status: None };
        Action::create_reported(
            &pod,
            self.report(
                ("SuccessfulCreate", "Created pod: "),
                ("FailedCreate", "Error creating: "),
            ),
        )
    }

    fn delete_pod(&self, pod: &Pod) -> Action {
        Action::Delete(Delete {
            resource: Pod::resource_type(),
            key: ObjectKey::of(&pod.metadata),
            uid: pod.metadata.uid.clone(),
            resource_version: None,
            propagation: None,
            grace_period_seconds: None,
            report: Some(self.report(
                ("SuccessfulDelete", "Deleted pod: "),
                ("FailedDelete", "Error deleting: "),
            )),
        })
    }

    fn report(
        &self,
        success: (&'static str, &'static str),
        failure: (&'static str, &'static str),
    ) -> Report {
        Report { regarding: object_reference(&*self.replica_set), success, failure }
    }

    fn status(&self, active: &[Arc<Pod>], terminating: usize, now: Timestamp) -> ReplicaSetStatus {
        let template = self.replica_set.template();
        let labels = template.and_then(|template| template.metadata.as_ref()?.labels.as_ref());
        let fully_labeled =
            labels.map_or_else(|| Selector::from_set(&Default::default()), Selector::from_set);
        let count_where =
            |accept: &dyn Fn(&Pod) -> bool| count(active.iter().filter(|pod| accept(pod)).count());
        let current = self.replica_set.status().unwrap_or_default();
        ReplicaSetStatus {
            replicas: count(active.len()),
            fully_labeled_replicas: nonzero(count_where(&|pod| {
                fully_labeled.matches_meta(&pod.metadata)
            })),
            ready_replicas: nonzero(count_where(&pods::is_ready)),
            available_replicas: nonzero(count_where(&|pod| {
                pods::is_available(pod, self.min_ready_seconds(), now)
            })),
            terminating_replicas: Some(count(terminating)),
            observed_generation: self.replica_set.metadata().generation,
            conditions: current.conditions,
        }
    }

    /// The status that tells of a failed creation or deletion.
    fn failure_status(
        &self,
        status: ReplicaSetStatus,
        active: usize,
        now: Timestamp,
    ) -> client::controller::OnFailure {
        let reason =
            if active < desired(&*self.replica_set) { "FailedCreate" } else { "FailedDelete" };
        let observed = Self {
            replica_set: self.replica_set.clone(),
            candidates: Vec::new(),
            related: Vec::new(),
            alive: self.alive,
        };
        Box::new(move |failure: &Failure| {
            observed.update_status(with_failure(status, reason, &failure.message, now))
        })
    }

    fn update_status(&self, status: ReplicaSetStatus) -> Vec<Action> {
        let updated = self.replica_set.with_status(status);
        if updated.status() == self.replica_set.status() {
            return Vec::new();
        }
        vec![Action::update_status(&updated)]
    }

    /// With minReadySeconds, availability comes with time and not with an event.
    fn next_check(
        &self,
        active: &[Arc<Pod>],
        status: &ReplicaSetStatus,
        now: Timestamp,
    ) -> Option<Duration> {
        let min_ready = self.min_ready_seconds();
        if min_ready == 0 || status.ready_replicas == status.available_replicas {
            return None;
        }
        let fall_back = Duration::from_secs(u64::try_from(min_ready).unwrap_or(0));
        Some(pods::next_availability(active, min_ready, now).unwrap_or(fall_back))
    }
}

/// Prefix of the names of the pods: the ReplicaSet's name and a dash, if that leaves a valid name.
fn pod_name_prefix(name: &str) -> String {
    let prefix = format!("{name}-");
    if name_is_dns_subdomain(&prefix, NameUse::Prefix).is_empty() {
        prefix
    } else {
        name.to_owned()
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Kubernetes leaves zeros out of a status.
fn nonzero(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

fn without_failure(mut status: ReplicaSetStatus) -> ReplicaSetStatus {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != REPLICA_FAILURE);
    }
    status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
    status
}

/// Adds the condition unless it is there: its first message stays until the failure is over.
fn with_failure(
    mut status: ReplicaSetStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> ReplicaSetStatus {
    let conditions = status.conditions.get_or_insert_default();
    if conditions.iter().all(|condition| condition.type_ != REPLICA_FAILURE) {
        conditions.push(ReplicaSetCondition {
            type_: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(Time(now)),
        });
    }
    status
}

#[cfg(test)]
mod tests;
