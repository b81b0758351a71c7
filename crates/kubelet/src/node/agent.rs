//! Brings the Node object to the API server and keeps it true.
//!
//! Counterpart in Kubernetes: `registerWithAPIServer`, `syncNodeStatus` and `updateRuntimeUp`. Invariants: the node is registered
//! before anything else is said about it; its status is written when it changes, or when it is five minutes old; a change of the
//! network, the runtime or the images is noticed at once, other things at the next look.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{ApiErrorExt, Cache, Informers, ObjectKey};
use jiff::Timestamp;
use k8s_cri::v1 as cri;
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use kube::api::{Api, Patch, PatchParams, PostParams};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::allocatable::{self, PodsCgroup};
use super::lease::LeaseKeeper;
use super::{Facts, Identity, Live, differs, facts, metadata_patch, new_node, status, transitions};
use crate::events::{EventType, node_reference};
use crate::executor::NodeHandle;

/// How often what nobody reports is looked at: memory, disk, an external runtime's network.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How old a status may become, Kubernetes' `nodeStatusReportFrequency`.
const REPORT_INTERVAL: Duration = Duration::from_secs(300);
/// Pauses between attempts to register; Kubernetes' numbers.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(7);
/// What the kubelet says while the pod network is not there, in Kubernetes' words.
pub const NETWORK_NOT_READY: &str = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
                                     message:Network plugin returns error: cni plugin not initialized";

/// What the agent is made of.
pub struct NodeAgent {
    /// The API server.
    pub client: kube::Client,
    /// What all workers share too.
    pub node: Arc<NodeHandle>,
    /// Name, addresses, labels.
    pub identity: Identity,
    /// The machine.
    pub facts: Facts,
    /// Lies on the disk whose free space counts.
    pub root_dir: PathBuf,
    /// Name and version of the runtime.
    pub runtime_version: String,
    /// Whether the runtime's events arrive.
    pub runtime_up: watch::Receiver<bool>,
    /// Receives the pod ranges.
    pub pod_cidrs: watch::Sender<Vec<String>>,
    /// Where all pods live.
    pub pods_cgroup: Arc<dyn PodsCgroup>,
}

impl NodeAgent {
    /// Registers the node and keeps it until `shutdown`.
    pub async fn run(self, informers: Informers, shutdown: CancellationToken) {
        let reference = node_reference(&self.identity.name);
        self.node.events.event(&reference, EventType::Normal, "Starting", "Starting kubelet.");
        let Some(registered) = shutdown.run_until_cancelled(self.register()).await else { return };
        let fields = format!("metadata.name={}", self.identity.name);
        let cache = informers.store_with_fields::<Node>(&fields);
        self.hand_out_pod_cidrs(&cache);
        let lease = LeaseKeeper::new(
            self.client.clone(),
            &self.identity.name,
            registered.metadata.uid.clone(),
        );
        let (limits, name) = (allocatable::limits(&self.facts), self.identity.name.clone());
        let (cgroup, events) = (self.pods_cgroup.clone(), self.node.events.clone());
        let enforced = allocatable::enforce(&*cgroup, limits, &events, &name, allocatable::RETRY);
        tokio::join!(
            shutdown.run_until_cancelled(enforced),
            lease.run(shutdown.clone()),
            self.keep_status(registered, shutdown.clone()),
        );
    }

    fn hand_out_pod_cidrs(&self, cache: &Cache<Node>) {
        let sender = self.pod_cidrs.clone();
        cache.on_change(move |change| {
            let Some(spec) = change.new.as_ref().and_then(|node| node.spec.as_ref()) else {
                return;
            };
            let ranges = spec
                .pod_cidrs
                .clone()
                .unwrap_or_else(|| spec.pod_cidr.clone().into_iter().collect());
            sender.send_if_modified(|current| {
                let news = !ranges.is_empty() && *current != ranges;
                if news {
                    *current = ranges;
                }
                news
            });
        });
    }

    async fn register(&self) -> Node {
        let mut pause = RETRY_FIRST;
        let live = self.look().await;
        let wanted = new_node(&self.identity, &self.facts, &live, Timestamp::now());
        self.tell(&NodeStatus::default(), wanted.status.as_ref());
        loop {
            match self.try_register(&wanted).await {
                Ok(node) => return node,
                Err(error) => {
                    tracing::warn!(error = %error.message(), "the node is not registered, will try again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn try_register(&self, wanted: &Node) -> Result<Node, kube::Error> {
        let api: Api<Node> = Api::all(self.client.clone());
        match api.create(&PostParams::default(), wanted).await {
            Err(error) if error.is_already_exists() => {}
            result => return result,
        }
        let old = api.get(&self.identity.name).await?;
        match metadata_patch(&old.metadata, &wanted.metadata) {
            Some(patch) => {
                api.patch(&self.identity.name, &PatchParams::default(), &Patch::Merge(patch)).await
            }
            None => Ok(old),
        }
    }

    async fn keep_status(&self, mut known: Node, shutdown: CancellationToken) {
        let mut network_ready = self.node.network_ready.clone();
        let mut runtime_up = self.runtime_up.clone();
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written: Option<Instant> = None;
        loop {
            // A channel whose other end is gone never changes again.
            tokio::select! {
                _ = ticks.tick() => {}
                Ok(()) = network_ready.changed() => {}
                Ok(()) = runtime_up.changed() => {}
                () = self.node.images_changed.notified() => {}
                () = shutdown.cancelled() => return,
            }
            let due = written.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL);
            let reported = tokio::select! {
                reported = self.report(&known, due) => reported,
                () = shutdown.cancelled() => return,
            };
            match reported {
                Ok(Some(node)) => (known, written) = (node, Some(Instant::now())),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(error = %error.message(), "the node's status is not written, will try again");
                    ticks.reset_after(RETRY_MAX);
                }
            }
        }
    }

    /// Writes the status if it says something new or is `due`; answers the node as it is then.
    async fn report(&self, known: &Node, due: bool) -> Result<Option<Node>, kube::Error> {
        let live = self.look().await;
        let now = Timestamp::now();
        let after = |node: &Node| {
            let old = node.status.clone().unwrap_or_default();
            status(&old, &self.identity, &self.facts, &live, now)
        };
        let before = known.status.clone().unwrap_or_default();
        if !due && !differs(&before, &after(known)) {
            return Ok(None);
        }
        let key = ObjectKey::cluster(&self.identity.name);
        let node = client::apply_status::<Node>(&self.client, &key, |node| {
            node.status = Some(after(node))
        })
        .await?;
        self.tell(&before, node.status.as_ref());
        Ok(Some(node))
    }

    fn tell(&self, before: &NodeStatus, after: Option<&NodeStatus>) {
        let reference = node_reference(&self.identity.name);
        for reason in after.map(|after| transitions(before, after)).unwrap_or_default() {
            let message = format!("Node {} status is now: {reason}", self.identity.name);
            self.node.events.event(&reference, EventType::Normal, reason, &message);
        }
    }

    async fn look(&self) -> Live {
        let mut live = Live { runtime_version: self.runtime_version.clone(), ..Live::default() };
        facts::read_pressure(&mut live, &self.root_dir);
        match self.node.cri.status().await {
            Ok(answer) => live.errors = runtime_errors(&answer.status.unwrap_or_default()),
            Err(error) => {
                live.errors.push(format!("container runtime status check failed: {error}"))
            }
        }
        if live.errors.is_empty() && !*self.node.network_ready.borrow() {
            live.errors.push(NETWORK_NOT_READY.to_owned());
        }
        if !*self.runtime_up.borrow() {
            live.errors.insert(0, "container runtime is down".to_owned());
        }
        live.images = self.node.cri.images().await.unwrap_or_default();
        live
    }
}

/// What the runtime's own conditions say against running pods, in Kubernetes' words.
fn runtime_errors(status: &cri::RuntimeStatus) -> Vec<String> {
    let about = [
        ("RuntimeReady", "container runtime not ready"),
        ("NetworkReady", "container runtime network not ready"),
    ];
    let error = |(type_, text): (&str, &str)| match status
        .conditions
        .iter()
        .find(|it| it.r#type == type_)
    {
        Some(it) if it.status => None,
        Some(it) => {
            Some(format!("{text}: {type_}=false reason:{} message:{}", it.reason, it.message))
        }
        None => Some(format!("{text}: the runtime does not say whether it is")),
    };
    about.into_iter().filter_map(error).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_conditions_are_quoted() {
        let condition = |type_: &str, status| cri::RuntimeCondition {
            r#type: type_.into(),
            status,
            reason: "R".into(),
            message: "m".into(),
        };
        let of = |ready, network| cri::RuntimeStatus {
            conditions: vec![condition("RuntimeReady", ready), condition("NetworkReady", network)],
        };
        assert!(runtime_errors(&of(true, true)).is_empty());
        assert_eq!(
            runtime_errors(&of(true, false)),
            ["container runtime network not ready: NetworkReady=false reason:R message:m"]
        );
    }
}
