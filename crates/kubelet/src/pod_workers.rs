//! All pod workers of the node.
//!
//! Counterpart in Kubernetes: `podWorkers` of `pod_workers.go` and the pod part of `syncLoop`. Invariants: one worker per uid; of
//! two pods with one name the later waits until the earlier's worker has finished; sandboxes whose pod the API does not know get
//! a worker too, whose only task is to end them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use client::{Change, ObjectKey};
use k8s_cri::v1 as cri;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::executor::NodeHandle;
use crate::names;
use crate::pod_worker::{PodWorker, WorkerHandle};

/// Finished workers that wait to be noticed; each pod finishes once.
const FINISHED_QUEUE: usize = 256;

/// Who may run under a pod name.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// The uid whose worker holds the name.
    holder: String,
    /// The pod that gets the name next.
    next: Option<Arc<Pod>>,
}

/// The workers, shared with the HTTPS server.
#[derive(Clone, Default)]
pub struct PodTable(Arc<Mutex<BTreeMap<String, Arc<WorkerHandle>>>>);

impl PodTable {
    /// The worker of a pod by namespace and name; and by uid if one is given.
    pub fn find(&self, ns: &str, name: &str, uid: Option<&str>) -> Option<Arc<WorkerHandle>> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let matches = |handle: &&Arc<WorkerHandle>| {
            let pod = handle.pod();
            names::namespace(&pod) == ns
                && names::name(&pod) == name
                && uid.is_none_or(|uid| names::uid(&pod) == uid)
        };
        table.values().find(matches).cloned()
    }

    /// All workers.
    pub fn all(&self) -> Vec<Arc<WorkerHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Arc<WorkerHandle>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts, tells and buries workers.
pub struct PodWorkers {
    node: Arc<NodeHandle>,
    table: PodTable,
    slots: BTreeMap<ObjectKey, Slot>,
    /// Pods whose worker has finished although the API may still show them for a moment.
    finished: BTreeMap<String, ObjectKey>,
    sender: mpsc::Sender<String>,
    receiver: mpsc::Receiver<String>,
    /// The workers' tasks; they end with the kubelet.
    tasks: JoinSet<()>,
}

impl PodWorkers {
    /// No workers yet; `table` shows them to others.
    pub fn new(node: Arc<NodeHandle>, table: PodTable) -> Self {
        let (sender, receiver) = mpsc::channel(FINISHED_QUEUE);
        Self {
            node,
            table,
            slots: BTreeMap::new(),
            finished: BTreeMap::new(),
            sender,
            receiver,
            tasks: JoinSet::new(),
        }
    }

    /// A pod of this node changed in the API.
    pub fn change(&mut self, change: &Change<Pod>) {
        let uid = |pod: &Arc<Pod>| names::uid(pod).to_owned();
        let replaced =
            change.old.as_ref().filter(|old| change.new.as_ref().map(uid) != Some(uid(old)));
        if let Some(old) = replaced {
            self.remove(old);
        }
        if let Some(new) = &change.new {
            self.apply(new);
        }
    }

    fn apply(&mut self, pod: &Arc<Pod>) {
        let uid = names::uid(pod).to_owned();
        if self.finished.contains_key(&uid) {
            return;
        }
        if let Some(handle) = self.table.with(|table| table.get(&uid).cloned()) {
            return handle.update(pod.clone());
        }
        let key = ObjectKey::of(&pod.metadata);
        match self.slots.get_mut(&key) {
            Some(slot) => slot.next = Some(pod.clone()),
            None => self.start(pod.clone(), false),
        }
    }

    fn remove(&mut self, pod: &Arc<Pod>) {
        let uid = names::uid(pod);
        self.finished.remove(uid);
        if let Some(handle) = self.table.with(|table| table.get(uid).cloned()) {
            handle.remove(pod.clone());
        }
        for slot in self.slots.values_mut() {
            if slot.next.as_ref().is_some_and(|next| names::uid(next) == uid) {
                slot.next = None;
            }
        }
    }

    fn start(&mut self, pod: Arc<Pod>, gone: bool) {
        let uid = names::uid(&pod).to_owned();
        self.slots.insert(ObjectKey::of(&pod.metadata), Slot { holder: uid.clone(), next: None });
        let handle = WorkerHandle::new(pod, gone);
        self.table.with(|table| table.insert(uid.clone(), handle.clone()));
        let (node, sender) = (self.node.clone(), self.sender.clone());
        self.tasks.spawn(async move {
            PodWorker::new(node, handle).run().await;
            // Nobody listens any more when the kubelet stops.
            let _ = sender.send(uid).await;
        });
    }

    /// Waits for the next worker that is through with its pod, and lets the next pod of that name in.
    pub async fn reap(&mut self) {
        let Some(uid) = self.receiver.recv().await else { return };
        while self.tasks.try_join_next().is_some() {}
        let Some(handle) = self.table.with(|table| table.remove(&uid)) else { return };
        let key = ObjectKey::of(&handle.pod().metadata);
        self.finished.insert(uid.clone(), key.clone());
        let Some(slot) = self.slots.remove(&key) else { return };
        if let Some(next) = slot.next.filter(|_| slot.holder == uid) {
            self.start(next, false);
        }
    }

    /// Forgets finished pods the API no longer has.
    pub fn forget_finished(&mut self, known: impl Fn(&ObjectKey, &str) -> bool) {
        self.finished.retain(|uid, key| known(key, uid));
    }

    /// The runtime reports something about this pod.
    pub fn wake(&self, uid: &str) {
        if let Some(handle) = self.table.with(|table| table.get(uid).cloned()) {
            handle.wake();
        }
    }

    /// Anything may have happened.
    pub fn wake_all(&self) {
        for handle in self.table.all() {
            handle.wake();
        }
    }

    /// Ends sandboxes whose pod is not known. Call it only once the API's pods have been listed.
    ///
    /// # Errors
    /// When the runtime does not answer.
    pub async fn end_orphans(&mut self) -> Result<(), crate::cri::CriError> {
        for sandbox in self.node.cri.sandboxes().await? {
            let pod = orphan(&sandbox);
            let uid = names::uid(&pod).to_owned();
            let known = self.table.with(|table| table.contains_key(&uid));
            if uid.is_empty()
                || known
                || self
                    .slots
                    .values()
                    .any(|slot| slot.next.as_ref().is_some_and(|next| names::uid(next) == uid))
            {
                continue;
            }
            let key = ObjectKey::of(&pod.metadata);
            tracing::info!(pod = %names::display(&pod), "ending a pod the API no longer has");
            match self.slots.get_mut(&key) {
                // The name is in use by a newer pod; the orphan does not need the name to be ended.
                Some(_) => self.start_nameless(Arc::new(pod)),
                None => self.start(Arc::new(pod), true),
            }
        }
        Ok(())
    }

    fn start_nameless(&mut self, pod: Arc<Pod>) {
        let key = ObjectKey::of(&pod.metadata);
        let slot = self.slots.remove(&key);
        self.start(pod, true);
        self.slots.remove(&key);
        self.slots.extend(slot.map(|slot| (key, slot)));
    }
}

/// What is known of a pod from its sandbox alone.
fn orphan(sandbox: &cri::PodSandbox) -> Pod {
    let metadata = sandbox.metadata.clone().unwrap_or_default();
    let grace = sandbox.annotations.get(names::POD_GRACE).and_then(|grace| grace.parse().ok());
    Pod {
        metadata: ObjectMeta {
            name: Some(metadata.name),
            namespace: Some(metadata.namespace),
            uid: Some(metadata.uid),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: Vec::<Container>::new(),
            termination_grace_period_seconds: grace,
            ..PodSpec::default()
        }),
        status: None,
    }
}
