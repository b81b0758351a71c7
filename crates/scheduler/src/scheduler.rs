//! The loop: hears of pods and nodes, takes decisions, has them carried out.
//!
//! Invariants: one task owns queue and snapshot, so nothing is locked; bindings run beside it, a bounded number at a
//! time, and report back to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use client::informer::Subscription;
use client::{Change, Client, EventRecorder, EventType, Informers};
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::plugins::PodInfo;
use crate::queue::Queue;
use crate::schedule::{Decision, schedule};
use crate::snapshot::{Snapshot, Taken, is_terminal};
use crate::{SCHEDULER_NAME, bind};

/// Bindings under way at once: enough to keep the store's committer busy.
const BINDINGS: usize = 64;

/// Runs until it is dropped.
pub(crate) async fn run(client: Client, informers: Informers) {
    let (nodes, pods) = (informers.store::<Node>(), informers.store::<Pod>());
    let (node_changes, pod_changes) = (nodes.subscribe(), pods.subscribe());
    nodes.synced().await;
    pods.synced().await;
    tracing::info!("scheduler started");
    let (report, reports) = mpsc::channel(BINDINGS);
    let recorder = EventRecorder::new(client.clone(), SCHEDULER_NAME, None);
    let scheduler = Scheduler {
        client,
        recorder,
        report,
        permits: Arc::new(Semaphore::new(BINDINGS)),
        queue: Queue::default(),
        waiting: BTreeMap::new(),
        snapshot: Snapshot::default(),
    };
    scheduler.run(&node_changes, &pod_changes, reports).await;
}

/// How a binding ended.
struct Report {
    uid: String,
    error: Option<String>,
}

struct Scheduler {
    client: Client,
    recorder: EventRecorder,
    report: mpsc::Sender<Report>,
    permits: Arc<Semaphore>,
    queue: Queue<String>,
    /// Pods without a node, by uid.
    waiting: BTreeMap<String, Arc<Pod>>,
    snapshot: Snapshot,
}

impl Scheduler {
    async fn run(
        mut self,
        nodes: &Subscription<Node>,
        pods: &Subscription<Pod>,
        mut reports: mpsc::Receiver<Report>,
    ) {
        loop {
            let permits = self.permits.clone();
            let deadline = self.queue.next_deadline();
            tokio::select! {
                biased;
                Some(report) = reports.recv() => self.bound(report),
                change = nodes.next() => self.node_changed(&change),
                change = pods.next() => self.pod_changed(&change),
                Ok(permit) = permits.acquire_owned(), if self.queue.has_active() => self.next(permit),
                () = sleep_until(deadline), if deadline.is_some() && !self.queue.has_active() => {
                    self.queue.something_is_due(Instant::now());
                }
            }
        }
    }

    fn node_changed(&mut self, change: &Change<Node>) {
        match (&change.new, &change.old) {
            (Some(node), old) => {
                let news = old.as_ref().is_none_or(|old| matters(old, node));
                self.snapshot.set_node(node.clone());
                if news {
                    self.queue.something_changed(Instant::now());
                }
            }
            (None, Some(old)) => {
                self.snapshot.remove_node(old.metadata.name.as_deref().unwrap_or_default());
            }
            (None, None) => {}
        }
    }

    fn pod_changed(&mut self, change: &Change<Pod>) {
        if let Some(old) = &change.old
            && change.new.as_ref().is_none_or(|new| uid(new) != uid(old))
        {
            self.forget(uid(old));
        }
        let Some(pod) = &change.new else { return };
        let spec = pod.spec.as_ref();
        match spec.and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty()) {
            _ if is_terminal(pod) => self.forget(uid(pod)),
            Some(node) => {
                let taken = spec.map(Taken::by).unwrap_or_default();
                self.snapshot.place(uid(pod), node, taken);
                self.no_longer_waiting(uid(pod));
            }
            None if is_ours(pod) => self.wants_a_node(pod, change.old.as_deref()),
            None => self.no_longer_waiting(uid(pod)),
        }
    }

    fn wants_a_node(&mut self, pod: &Arc<Pod>, old: Option<&Pod>) {
        let known = self.waiting.insert(uid(pod).to_owned(), pod.clone()).is_some();
        let changed = old
            .is_none_or(|old| old.spec != pod.spec || old.metadata.labels != pod.metadata.labels);
        if !known || changed {
            let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
            self.queue.add(uid(pod).to_owned(), priority);
        }
    }

    /// A pod is gone or has ended; what it took may help others.
    fn forget(&mut self, uid: &str) {
        self.no_longer_waiting(uid);
        if self.snapshot.remove_pod(uid) {
            self.queue.something_changed(Instant::now());
        }
    }

    fn no_longer_waiting(&mut self, uid: &str) {
        self.queue.remove(&uid.to_owned());
        self.waiting.remove(uid);
    }

    /// Decides about the pod whose turn it is.
    fn next(&mut self, permit: OwnedSemaphorePermit) {
        let Some(uid) = self.queue.pop(Instant::now()) else { return };
        let Some(pod) = self.waiting.get(&uid).cloned() else {
            self.queue.remove(&uid);
            return;
        };
        let taken = pod.spec.as_ref().map(Taken::by).unwrap_or_default();
        match schedule(PodInfo { pod: &pod, taken: &taken }, &self.snapshot) {
            Decision::Node(node) => {
                self.snapshot.place(&uid, &node, taken);
                self.bind(uid, pod, node, permit);
            }
            Decision::Unschedulable(message) => {
                self.queue.unschedulable(&uid, Instant::now());
                self.hold_back(pod, message, permit);
            }
        }
    }

    fn bind(&self, uid: String, pod: Arc<Pod>, node: String, permit: OwnedSemaphorePermit) {
        let (client, recorder) = (self.client.clone(), self.recorder.clone());
        let report = self.report.clone();
        tokio::spawn(async move {
            let result = bind::bind(&client, &pod, &node).await;
            if result.is_ok() {
                let meta = &pod.metadata;
                let message = format!(
                    "Successfully assigned {}/{} to {node}",
                    meta.namespace.as_deref().unwrap_or_default(),
                    meta.name.as_deref().unwrap_or_default(),
                );
                recorder.record_for(&*pod, EventType::Normal, "Scheduled", &message);
            }
            drop(permit);
            let error = result.err().map(|error| error.to_string());
            let _ = report.send(Report { uid, error }).await;
        });
    }

    fn hold_back(&self, pod: Arc<Pod>, message: String, permit: OwnedSemaphorePermit) {
        self.recorder.record_for(&*pod, EventType::Warning, "FailedScheduling", &message);
        let client = self.client.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = bind::note_unschedulable(&client, &pod, &message).await {
                tracing::debug!(%error, "the pod's condition was not written");
            }
        });
    }

    fn bound(&mut self, report: Report) {
        let Some(error) = report.error else { return };
        // The informer may have shown the pod on its node already: then it is no longer waiting, and stays there.
        if self.waiting.contains_key(&report.uid) {
            tracing::debug!(uid = report.uid, error, "binding failed");
            self.snapshot.remove_pod(&report.uid);
            self.queue.failed(&report.uid, Instant::now());
        }
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Whether a pod without a node is for this scheduler, and for now.
fn is_ours(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let name = spec.scheduler_name.as_deref().unwrap_or(SCHEDULER_NAME);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    name == SCHEDULER_NAME && !gated && pod.metadata.deletion_timestamp.is_none()
}

/// Whether a node changed in a way that could make room; heartbeats do not.
fn matters(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|s| s.allocatable.clone());
    old.spec != new.spec
        || old.metadata.labels != new.metadata.labels
        || allocatable(old) != allocatable(new)
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}
