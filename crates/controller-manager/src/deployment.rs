//! Rolls a Deployment's pod template out over ReplicaSets. Counterpart: `pkg/controller/deployment`.
//!
//! Invariants:
//! * A run works on copies of the ReplicaSets ([`rollout::Rollout`]); what differs at the end is written, each
//!   ReplicaSet at most once and the Deployment's status last and at most once.
//! * The newest template has exactly one ReplicaSet, found by comparing templates and not by its hash.
//! * Never fewer than `replicas - maxUnavailable` available pods by intent, never more than `replicas + maxSurge` pods.

mod limits;
mod recreate;
mod revision;
mod rolling;
mod rollout;
mod scaling;
mod status;
mod template;

use std::sync::Arc;

use apimachinery::labels::Selector;
use apimachinery::meta::controller_of;
use client::informer::Change;
use client::{
    Action, Caches, Client, Controller, EventType, ObjectKey, Plan, Watches, object_reference,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::claim::{Claims, adopt, claim, release};
use crate::pods;
use crate::replica_set::{Liveness, liveness};
use rollout::Rollout;

/// The Deployment controller.
#[derive(Debug)]
pub struct DeploymentController;

/// A Deployment and what concerns it.
#[derive(Debug)]
pub struct Observed {
    deployment: Arc<Deployment>,
    /// ReplicaSets it controls, and orphans of its namespace.
    candidates: Vec<Arc<ReplicaSet>>,
    /// Names of ReplicaSets with pods that have not ended.
    with_running_pods: Vec<String>,
    /// ReplicaSets of the namespace that are named like those of this Deployment.
    names: Names,
    /// Asked before a ReplicaSet is created or adopted.
    alive: Liveness,
}

/// Names a new ReplicaSet cannot have.
#[derive(Debug, Default)]
pub struct Names {
    /// They belong to others, or to this Deployment with another template: the hash must change.
    taken: Vec<String>,
    /// They belong to a Deployment of the same name that is gone: they will be deleted or left to be adopted.
    inherited: Vec<String>,
}

impl Controller for DeploymentController {
    const NAME: &'static str = "deployment-controller";
    type Key = ObjectKey;
    type Observed = Observed;

    fn watches(&self) -> Watches<ObjectKey> {
        Watches::new()
            .own::<Deployment>()
            .owned::<ReplicaSet, Deployment>()
            .map::<ReplicaSet>(|caches, change| {
                let orphans = change
                    .new
                    .iter()
                    .chain(&change.old)
                    .filter(|set| controller_of(&set.metadata).is_none());
                orphans.flat_map(|set| matching_deployments(caches, set)).collect()
            })
            .map::<Pod>(|caches, change| recreate_waiting_for(caches, change).into_iter().collect())
    }

    fn observe(&self, caches: &Caches, key: &ObjectKey) -> Option<Observed> {
        let deployment = caches.of::<Deployment>().get(key)?;
        let sets = caches.of::<ReplicaSet>();
        let mut candidates = sets.controlled_by(deployment.metadata.uid.as_deref()?);
        candidates.extend(sets.orphans(&key.namespace));
        let with_running_pods = candidates.iter().filter(|set| has_running_pods(caches, set));
        let with_running_pods =
            with_running_pods.filter_map(|set| set.metadata.name.clone()).collect();
        let names = names(caches, &deployment);
        let alive = Liveness::NotAsked;
        Some(Observed { deployment, candidates, with_running_pods, names, alive })
    }

    async fn complete(
        &self,
        mut observed: Observed,
        client: &Client,
    ) -> Result<Observed, client::Error> {
        if observed.needs_liveness() {
            observed.alive = liveness(client, &*observed.deployment).await?;
        }
        Ok(observed)
    }

    fn reconcile(&self, observed: &Observed, now: Timestamp) -> Plan {
        observed.reconcile(now)
    }
}

fn names(caches: &Caches, deployment: &Deployment) -> Names {
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    let prefix = template::replica_set_name_prefix(name);
    let mut names = Names::default();
    for set in caches.of::<ReplicaSet>().with_name_prefix(namespace, prefix) {
        let predecessor = controller_of(&set.metadata).is_some_and(|owner| {
            owner.name == name && Some(&owner.uid) != deployment.metadata.uid.as_ref()
        });
        let list = if predecessor { &mut names.inherited } else { &mut names.taken };
        list.extend(set.metadata.name.clone());
    }
    names
}

fn has_running_pods(caches: &Caches, set: &ReplicaSet) -> bool {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    caches.of::<Pod>().controlled_by(uid).iter().any(|pod| !pods::is_terminal(pod))
}

fn selector_of(deployment: &Deployment) -> Option<Selector> {
    Selector::from_label_selector(deployment.spec.as_ref().map(|spec| &spec.selector)).ok()
}

/// Deployments of the ReplicaSet's namespace that could adopt it.
fn matching_deployments(caches: &Caches, set: &ReplicaSet) -> Vec<ObjectKey> {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let all = caches.of::<Deployment>().in_namespace(namespace);
    let matching = all.iter().filter(|deployment| {
        let selector = selector_of(deployment).filter(|selector| !selector.is_everything());
        selector.is_some_and(|selector| selector.matches_meta(&set.metadata))
    });
    matching.map(|deployment| ObjectKey::of(&deployment.metadata)).collect()
}

/// The Recreate Deployment that may be waiting for the end of a pod.
fn recreate_waiting_for(caches: &Caches, change: &Change<Pod>) -> Option<ObjectKey> {
    if change.new.as_ref().is_some_and(|pod| !pods::is_terminal(pod)) {
        return None;
    }
    let pod = change.latest()?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let set_name = &controller_of(&pod.metadata)?.name;
    let set = caches.of::<ReplicaSet>().get(&ObjectKey::namespaced(namespace, set_name))?;
    let key = ObjectKey::namespaced(namespace, &controller_of(&set.metadata)?.name);
    let deployment = caches.of::<Deployment>().get(&key)?;
    limits::is_recreate(&deployment).then_some(key)
}

impl Observed {
    fn claims(&self) -> Option<Claims<ReplicaSet>> {
        Some(claim(
            &self.deployment.metadata,
            &selector_of(&self.deployment)?,
            self.candidates.iter().cloned(),
        ))
    }

    fn reconcile(&self, now: Timestamp) -> Plan {
        if self
            .deployment
            .spec
            .as_ref()
            .is_some_and(|spec| spec.selector == LabelSelector::default())
        {
            return self.refuse_to_select_all();
        }
        let Some(claims) = self.claims().filter(|_| self.alive != Liveness::Gone) else {
            return Plan::nothing();
        };
        let uid = self.deployment.metadata.uid.as_deref();
        let mut actions: Vec<Action> =
            claims.released.iter().map(|set| release(uid, &**set)).collect();
        let mut owned = claims.owned;
        if self.alive == Liveness::Alive {
            actions.extend(claims.adoptable.iter().map(|set| adopt(&*self.deployment, &**set)));
            owned.extend(claims.adoptable);
        }
        if !actions.is_empty() {
            // What was adopted has a new revision; the rollout goes on once the cache has it.
            return actions.into();
        }
        self.roll_out(owned, now)
    }

    /// Whether a ReplicaSet is to be created or adopted.
    fn needs_liveness(&self) -> bool {
        let current = self.deployment.spec.as_ref().map(|spec| &spec.template);
        let deleted = self.deployment.metadata.deletion_timestamp.is_some();
        !deleted
            && self.claims().is_some_and(|claims| {
                let has_current = claims.owned.iter().any(|set| template::is_of(set, current));
                !has_current || !claims.adoptable.is_empty()
            })
    }

    fn refuse_to_select_all(&self) -> Plan {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        let mut deployment = (*self.deployment).clone();
        let status = deployment.status.get_or_insert_default();
        if status.observed_generation >= deployment.metadata.generation {
            return Plan::nothing();
        }
        status.observed_generation = deployment.metadata.generation;
        let event = Action::event(
            &object_reference(&deployment),
            EventType::Warning,
            "SelectingAll",
            message,
        );
        vec![event, Action::update_status(&deployment)].into()
    }

    fn roll_out(&self, owned: Vec<Arc<ReplicaSet>>, now: Timestamp) -> Plan {
        let mut rollout = Rollout::new(&self.deployment, owned, &self.names, now);
        if self.deployment.metadata.deletion_timestamp.is_some() {
            rollout.sync_new_replica_set();
            rollout.sync_status();
            return rollout.into_plan();
        }
        rollout.check_paused();
        if rollout.is_paused() || rollout.is_scaling_event() {
            rollout.sync_scale();
        } else if limits::is_recreate(&self.deployment) {
            rollout.recreate(&self.with_running_pods);
        } else {
            rollout.roll();
        }
        rollout.into_plan()
    }
}

#[cfg(test)]
mod tests;
