//! Removes pods that nobody else will. Counterpart: `pkg/controller/podgc`.
//!
//! Invariants:
//! * A pod of a missing node goes only after the node has been missing for [`QUARANTINE`] and the API server confirms it.
//! * A pod that had not ended is marked Failed before it goes, so that its controllers see an end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::controller::{Delete, IfAbsent, Patch, PatchBody};
use client::{Action, Caches, Client, Controller, Kind, ObjectKey, Plan, Watches, request};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::pods;

/// How long a node must be missing before its pods go: time for one that was deleted to register again.
const QUARANTINE: Duration = Duration::from_secs(40);
/// Ended pods that are kept, as in kube-controller-manager's `--terminated-pod-gc-threshold`.
const TERMINATED_POD_THRESHOLD: usize = 12_500;

/// The pod garbage collector.
#[derive(Debug, Default)]
pub struct PodGc {
    /// Since when each missing node has been missed; an entry goes when the node is back or its pods are gone.
    missing_since: Mutex<BTreeMap<String, Timestamp>>,
}

/// What to look after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// The pods of one node.
    Node(String),
    /// Ended pods, and pods that were deleted before they had a node.
    Others,
}

/// Pods that may have to go.
#[derive(Debug)]
pub enum Observed {
    /// Pods of a node that the cache does not have, since when, and whether the API server does not have it either.
    Orphaned {
        /// The pods.
        pods: Vec<Arc<Pod>>,
        /// The node.
        node: String,
        /// Since when it is missing.
        since: Timestamp,
        /// Whether that is confirmed.
        confirmed: bool,
    },
    /// All pods.
    All(Vec<Arc<Pod>>),
}

fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

fn is_lost(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && node_name(pod).is_none()
}

fn duties_of(caches: &Caches, pod: &Pod) -> Vec<Duty> {
    let missing =
        node_name(pod).filter(|name| caches.of::<Node>().get(&ObjectKey::cluster(*name)).is_none());
    let mut duties: Vec<Duty> =
        missing.map(|name| Duty::Node(name.to_owned())).into_iter().collect();
    if is_lost(pod) || pods::is_terminal(pod) {
        duties.push(Duty::Others);
    }
    duties
}

impl PodGc {
    fn missing_since(&self, node: &str, present: bool) -> Option<Timestamp> {
        let mut missing = self.missing_since.lock().unwrap_or_else(PoisonError::into_inner);
        if present {
            missing.remove(node);
            return None;
        }
        Some(*missing.entry(node.to_owned()).or_insert_with(Timestamp::now))
    }
}

impl Controller for PodGc {
    const NAME: &'static str = "pod-garbage-collector-controller";
    const WORKERS: usize = 1;
    type Key = Duty;
    type Observed = Observed;

    fn watches(&self) -> Watches<Duty> {
        Watches::new()
            .map::<Pod>(|caches, change| {
                change.new.iter().flat_map(|pod| duties_of(caches, pod)).collect()
            })
            .map::<Node>(|_, change| {
                change
                    .latest()
                    .filter(|_| change.new.is_none() || change.old.is_none())
                    .and_then(|node| node.metadata.name.clone())
                    .map(Duty::Node)
                    .into_iter()
                    .collect()
            })
    }

    fn observe(&self, caches: &Caches, duty: &Duty) -> Option<Observed> {
        let Duty::Node(node) = duty else { return Some(Observed::All(caches.of::<Pod>().list())) };
        let mut pods = caches.of::<Pod>().list();
        pods.retain(|pod| node_name(pod) == Some(node));
        let present = pods.is_empty()
            || caches.of::<Node>().get(&ObjectKey::cluster(node.as_str())).is_some();
        let since = self.missing_since(node, present)?;
        Some(Observed::Orphaned { pods, node: node.clone(), since, confirmed: false })
    }

    async fn complete(
        &self,
        mut observed: Observed,
        client: &Client,
    ) -> Result<Observed, client::Error> {
        if let Observed::Orphaned { node, confirmed, .. } = &mut observed {
            *confirmed = request::get_metadata(
                client,
                &Node::resource_type(),
                &ObjectKey::cluster(node.as_str()),
            )
            .await?
            .is_none();
        }
        Ok(observed)
    }

    fn reconcile(&self, observed: &Observed, now: Timestamp) -> Plan {
        match observed {
            Observed::All(pods) => collect(pods, TERMINATED_POD_THRESHOLD),
            Observed::Orphaned { pods, since, confirmed, .. } => {
                let missing_for =
                    Duration::try_from(now.duration_since(*since)).unwrap_or(Duration::ZERO);
                if missing_for < QUARANTINE || !confirmed {
                    return Plan {
                        requeue_after: Some(
                            QUARANTINE.saturating_sub(missing_for).max(Duration::from_secs(1)),
                        ),
                        ..Plan::default()
                    };
                }
                pods.iter()
                    .flat_map(|pod| force_delete(pod, Some(disruption(now))))
                    .collect::<Vec<_>>()
                    .into()
            }
        }
    }
}

/// Lost pods, and the oldest of the ended ones beyond `threshold`.
fn collect(pods: &[Arc<Pod>], threshold: usize) -> Plan {
    let mut ended: Vec<&Arc<Pod>> = pods.iter().filter(|pod| pods::is_terminal(pod)).collect();
    let surplus = ended.len().saturating_sub(threshold);
    if surplus > 0 {
        ended.sort_by_key(|pod| {
            (!is_evicted(pod), pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone())
        });
    }
    let lost = pods.iter().filter(|pod| is_lost(pod) && !pods::is_terminal(pod));
    ended
        .into_iter()
        .take(surplus)
        .chain(lost)
        .flat_map(|pod| force_delete(pod, None))
        .collect::<Vec<_>>()
        .into()
}

fn is_evicted(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.reason.as_deref()) == Some("Evicted")
}

fn disruption(now: Timestamp) -> serde_json::Value {
    json!({
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists",
        "lastTransitionTime": Time(now),
    })
}

fn force_delete(pod: &Pod, condition: Option<serde_json::Value>) -> Vec<Action> {
    let (resource, key) = (Pod::resource_type(), ObjectKey::of(&pod.metadata));
    let mut actions = Vec::new();
    if !pods::is_terminal(pod) {
        let status =
            json!({"phase": "Failed", "conditions": condition.into_iter().collect::<Vec<_>>()});
        let body =
            PatchBody::Strategic(json!({"metadata": {"uid": pod.metadata.uid}, "status": status}));
        actions.push(Action::Patch(Patch {
            resource: resource.clone(),
            key: key.clone(),
            subresource: Some("status"),
            body,
            if_absent: IfAbsent::Ignore,
        }));
    }
    actions.push(Action::Delete(Delete {
        resource,
        key,
        uid: pod.metadata.uid.clone(),
        resource_version: None,
        propagation: None,
        grace_period_seconds: Some(0),
        report: None,
    }));
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, describe, pod};

    fn deleted(plan: &Plan) -> Vec<String> {
        describe(&plan.actions).into_iter().filter(|line| line.starts_with("delete")).collect()
    }

    #[test]
    fn orphaned_pods_go_after_quarantine_and_confirmation() {
        let orphaned = |confirmed| Observed::Orphaned {
            pods: vec![pod("a").node("gone").build()],
            node: "gone".into(),
            since: at(0),
            confirmed,
        };
        let early = PodGc::default().reconcile(&orphaned(true), at(10));
        assert_eq!(
            (deleted(&early).len(), early.requeue_after),
            (0, Some(Duration::from_secs(30)))
        );
        let unconfirmed = PodGc::default().reconcile(&orphaned(false), at(50));
        assert_eq!(
            (deleted(&unconfirmed).len(), unconfirmed.requeue_after),
            (0, Some(Duration::from_secs(1)))
        );
        let late = describe(&PodGc::default().reconcile(&orphaned(true), at(50)).actions);
        assert!(
            late[0].starts_with("patch pods ns/a") && late[0].contains("DeletionByPodGC"),
            "{late:?}"
        );
        assert_eq!(late[1], "delete pods ns/a");
    }

    #[test]
    fn oldest_ended_pods_beyond_the_threshold_and_lost_pods_go() {
        let pods = [
            pod("new").phase("Succeeded").created_at(9).build(),
            pod("old").phase("Failed").created_at(1).build(),
            pod("older").phase("Succeeded").created_at(0).build(),
            pod("lost").deleted().build(),
            pod("fine").build(),
        ];
        assert_eq!(
            deleted(&collect(&pods, 1)),
            ["delete pods ns/older", "delete pods ns/old", "delete pods ns/lost"]
        );
    }
}
