//! The life of one pod on this node, by uid.
//!
//! Counterpart in Kubernetes: `pod_workers.go` and `SyncPod`, `SyncTerminatingPod`, `SyncTerminatedPod` of `kubelet.go`.
//! Invariants: stages only go forward ([`Stage`]); one worker does one thing at a time; the pod object is removed from the API
//! only after its containers, sandboxes and files are gone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::api::ApiFailure;
use crate::backoff;
use crate::cri::CriError;
use crate::events::{EventType, PodEvents};
use crate::executor::{
    Executor, NodeHandle, PodMemory, earliest, remove_pod_files, stop_containers, stop_sandboxes,
};
use crate::names;
use crate::pod_actions::{Backoffs, PodActions, compute_pod_actions};
use crate::runtime_status::PodRuntimeStatus;
use crate::status::{Rejection, StatusInput, WaitingReason, generate_pod_status, is_terminal};
use crate::status_writer::{StatusWriter, status_patch};
use crate::termination_message::add_messages;
use crate::unsupported;

/// Where a pod is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its containers are made to be what its spec says.
    Syncing,
    /// They are being stopped.
    Terminating,
    /// Everything stopped; what is left of it is being removed.
    Cleaning,
    /// Nothing of it is left on the node.
    Finished,
}

/// The stage a pod is in next. `ending`: it is deleted or gone; `done`: the present stage has reached its goal.
pub fn next_stage(stage: Stage, ending: bool, done: bool) -> Stage {
    match (stage, ending, done) {
        (Stage::Syncing, true, _) => Stage::Terminating,
        (Stage::Terminating, _, true) => Stage::Cleaning,
        (Stage::Cleaning, _, true) => Stage::Finished,
        (stage, _, _) => stage,
    }
}

/// What the manager tells a worker; the newest of each counts.
struct Mailbox {
    pod: Arc<Pod>,
    gone: bool,
}

/// A worker as its manager sees it.
pub struct WorkerHandle {
    mailbox: Mutex<Mailbox>,
    wake: Notify,
    ending: CancellationToken,
    status: Mutex<PodStatus>,
}

impl WorkerHandle {
    /// A worker's other end; `gone` when the API no longer has the pod.
    pub fn new(pod: Arc<Pod>, gone: bool) -> Arc<Self> {
        let status = Mutex::new(pod.status.clone().unwrap_or_default());
        let handle = Self {
            mailbox: Mutex::new(Mailbox { pod, gone }),
            wake: Notify::new(),
            ending: CancellationToken::new(),
            status,
        };
        handle.note_ending();
        Arc::new(handle)
    }

    /// The pod changed. The echo of a status this node has written wakes nobody.
    pub fn update(&self, pod: Arc<Pod>) {
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut mailbox.pod, pod.clone());
        drop(mailbox);
        self.note_ending();
        if !is_echo(&before, &pod, &self.status()) {
            self.wake.notify_one();
        }
    }

    /// The pod is no longer in the API; `last` is how it was.
    pub fn remove(&self, last: Arc<Pod>) {
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        (mailbox.pod, mailbox.gone) = (last, true);
        drop(mailbox);
        self.note_ending();
        self.wake.notify_one();
    }

    /// Something happened in the runtime.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The newest status this node made of the pod.
    pub fn status(&self) -> PodStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest state of the pod.
    pub fn pod(&self) -> Arc<Pod> {
        self.view().0
    }

    fn view(&self) -> (Arc<Pod>, bool) {
        let mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        (mailbox.pod.clone(), mailbox.gone)
    }

    fn note_ending(&self) {
        let (pod, gone) = self.view();
        if gone || pod.metadata.deletion_timestamp.is_some() {
            self.ending.cancel();
        }
    }
}

/// Whether nothing changed but the status, and that to what this node says.
fn is_echo(before: &Pod, after: &Pod, own: &PodStatus) -> bool {
    let lasting = |pod: &Pod| ObjectMeta {
        resource_version: None,
        managed_fields: None,
        ..pod.metadata.clone()
    };
    let status = after.status.as_ref();
    before.spec == after.spec
        && lasting(before) == lasting(after)
        && status.is_some_and(|status| status_patch("", status, own).is_none())
}

/// The worker itself.
pub struct PodWorker {
    node: Arc<NodeHandle>,
    handle: Arc<WorkerHandle>,
    memory: PodMemory,
    status: PodStatus,
    writer: StatusWriter,
    rejected: bool,
}

/// What a stage says at the end of a step.
enum Outcome {
    Done,
    Again(Option<Timestamp>),
}

impl PodWorker {
    /// A worker for the pod in `handle`.
    pub fn new(node: Arc<NodeHandle>, handle: Arc<WorkerHandle>) -> Self {
        let status = handle.status();
        let writer = StatusWriter::start(node.api.clone());
        Self {
            node,
            handle,
            memory: PodMemory { backoffs: Backoffs::default(), ..PodMemory::default() },
            status,
            writer,
            rejected: false,
        }
    }

    /// Works until nothing of the pod is left.
    pub async fn run(mut self) {
        let mut stage = Stage::Syncing;
        loop {
            let (pod, gone) = self.handle.view();
            stage = next_stage(stage, gone || pod.metadata.deletion_timestamp.is_some(), false);
            let outcome = match stage {
                Stage::Syncing => Outcome::Again(self.sync(&pod).await),
                Stage::Terminating => self.terminate(pod).await,
                Stage::Cleaning => self.clean(&pod, gone).await,
                Stage::Finished => return,
            };
            match outcome {
                Outcome::Done => stage = next_stage(stage, true, true),
                Outcome::Again(at) => self.sleep_until(at).await,
            }
        }
    }

    async fn sleep_until(&self, at: Option<Timestamp>) {
        let Some(at) = at else { return self.handle.wake.notified().await };
        let pause = at.duration_since(Timestamp::now());
        let pause = Duration::try_from(pause).unwrap_or(Duration::ZERO);
        tokio::select! {
            () = self.handle.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    async fn observe(&self, pod: &Pod) -> Result<PodRuntimeStatus, CriError> {
        let mut runtime = self.node.cri.pod_status(names::uid(pod)).await?;
        add_messages(&mut runtime).await;
        Ok(runtime)
    }

    fn events<'a>(&'a self, pod: &'a Pod) -> PodEvents<'a> {
        PodEvents { sink: self.node.events.as_ref(), pod }
    }

    async fn observe_or_report(&self, pod: &Pod) -> Result<PodRuntimeStatus, Outcome> {
        self.observe(pod).await.map_err(|error| {
            self.events(pod).pod(
                EventType::Warning,
                "FailedSync",
                &format!("error determining status: {error}"),
            );
            Outcome::Again(Some(Timestamp::now() + backoff::RETRY))
        })
    }

    /// One look at a pod that is to run; answers when to look again.
    async fn sync(&mut self, pod: &Arc<Pod>) -> Option<Timestamp> {
        let runtime = match self.observe_or_report(pod).await {
            Ok(runtime) => runtime,
            Err(Outcome::Again(at)) => return at,
            Err(Outcome::Done) => return None,
        };
        if let Some(rejection) = self.rejection(pod) {
            self.reject(pod, &runtime, &rejection);
            return self.settle(pod, &runtime).await;
        }
        if self.has_ended(pod) {
            self.publish(pod, &runtime, true, None);
            return self.settle(pod, &runtime).await;
        }
        let actions = compute_pod_actions(pod, &runtime, &self.memory.backoffs, Timestamp::now());
        self.note_waits(pod, &actions);
        self.publish(pod, &runtime, false, None);
        let mut again = actions.requeue_at();
        if !actions.is_empty() {
            again = earliest(again, self.act(pod, &runtime, &actions).await);
        }
        again
    }

    async fn act(
        &mut self,
        pod: &Arc<Pod>,
        runtime: &PodRuntimeStatus,
        actions: &PodActions,
    ) -> Option<Timestamp> {
        if actions.kill_pod
            && !actions.create_sandbox
            && !runtime.any_running()
            && !runtime.sandboxes.iter().any(|it| it.ready)
        {
            return None;
        }
        let ending = self.handle.ending.clone();
        let again =
            Executor { node: &self.node, pod, runtime, memory: &mut self.memory, ending: &ending }
                .execute(actions)
                .await;
        match self.observe(pod).await {
            Ok(runtime) => {
                self.publish(pod, &runtime, false, None);
                self.collect_garbage(&runtime).await;
                again
            }
            Err(_) => earliest(again, Some(Timestamp::now() + backoff::RETRY)),
        }
    }

    /// Records why containers wait, with an event for each wait that is new.
    fn note_waits(&mut self, pod: &Pod, actions: &PodActions) {
        let Some(spec) = &pod.spec else { return };
        for wait in &actions.wait {
            let name = &spec.containers[wait.index].name;
            let why =
                WaitingReason { reason: "CrashLoopBackOff".into(), message: wait.message.clone() };
            if self.memory.waiting.get(name) != Some(&why) {
                self.events(pod).container(name, "", EventType::Warning, "BackOff", &wait.event);
                self.memory.waiting.insert(name.clone(), why);
            }
        }
    }

    fn rejection(&self, pod: &Pod) -> Option<Rejection> {
        let fields = unsupported::unsupported(pod.spec.as_ref()?);
        (!fields.is_empty()).then(|| Rejection {
            reason: unsupported::REASON.into(),
            message: unsupported::message(&fields),
        })
    }

    fn reject(&mut self, pod: &Arc<Pod>, runtime: &PodRuntimeStatus, rejection: &Rejection) {
        if !self.rejected {
            self.rejected = true;
            let known = self.status.reason.as_deref() == Some(rejection.reason.as_str());
            if !known {
                self.events(pod).pod(EventType::Warning, &rejection.reason, &rejection.message);
            }
        }
        self.publish(pod, runtime, true, Some(rejection));
    }

    fn has_ended(&self, pod: &Pod) -> bool {
        let api = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        is_terminal(api) || is_terminal(self.status.phase.as_deref())
    }

    /// Stops what an ended pod still has; its dead containers stay, for their logs, until the pod is deleted.
    async fn settle(&mut self, pod: &Arc<Pod>, runtime: &PodRuntimeStatus) -> Option<Timestamp> {
        if !runtime.any_running() && !runtime.sandboxes.iter().any(|sandbox| sandbox.ready) {
            return None;
        }
        let grace = names::grace_period_seconds(pod);
        let stopped = crate::executor::kill_pod(&self.node, pod, runtime, grace).await;
        match stopped {
            Ok(()) => self.observe(pod).await.ok().and_then(|runtime| {
                self.publish(pod, &runtime, true, None);
                None
            }),
            Err(error) => {
                self.events(pod).pod(
                    EventType::Warning,
                    "FailedKillPod",
                    &format!("error killing pod: {error}"),
                );
                Some(Timestamp::now() + backoff::RETRY)
            }
        }
    }

    fn publish(
        &mut self,
        pod: &Arc<Pod>,
        runtime: &PodRuntimeStatus,
        terminal: bool,
        rejection: Option<&Rejection>,
    ) {
        let input = StatusInput {
            pod,
            runtime,
            old: &self.status,
            waiting: &self.memory.waiting,
            terminal,
            rejection,
            node_ips: &self.node.node_ips,
            runtime_name: &self.node.runtime_name,
            now: Timestamp::now(),
        };
        self.status = generate_pod_status(&input);
        *self.handle.status.lock().unwrap_or_else(PoisonError::into_inner) = self.status.clone();
        self.writer.set(pod.clone(), self.status.clone());
    }

    /// Stops everything. A shorter grace period that arrives meanwhile takes effect at once.
    async fn terminate(&mut self, pod: Arc<Pod>) -> Outcome {
        let runtime = match self.observe_or_report(&pod).await {
            Ok(runtime) => runtime,
            Err(outcome) => return outcome,
        };
        self.publish(&pod, &runtime, false, None);
        let stopped = self.stop_with_changing_grace(&pod, &runtime).await;
        let stopped = match stopped {
            Ok(()) => stop_sandboxes(&self.node, &runtime).await,
            error => error,
        };
        if let Err(error) = stopped {
            self.events(&pod).pod(
                EventType::Warning,
                "FailedKillPod",
                &format!("error killing pod: {error}"),
            );
            return Outcome::Again(Some(Timestamp::now() + backoff::RETRY));
        }
        let (pod, _) = self.handle.view();
        match self.observe_or_report(&pod).await {
            Ok(runtime) if runtime.any_running() => {
                Outcome::Again(Some(Timestamp::now() + backoff::RETRY))
            }
            Ok(runtime) => {
                self.publish(&pod, &runtime, true, None);
                Outcome::Done
            }
            Err(outcome) => outcome,
        }
    }

    async fn stop_with_changing_grace(
        &self,
        pod: &Arc<Pod>,
        runtime: &PodRuntimeStatus,
    ) -> Result<(), CriError> {
        let mut grace = names::grace_period_seconds(pod);
        let mut stops = FuturesUnordered::new();
        stops.push(stop_containers(&self.node, pod, runtime, grace));
        loop {
            tokio::select! {
                stopped = stops.next() => match stopped {
                    Some(result) => result?,
                    None => return Ok(()),
                },
                () = self.handle.wake.notified() => {
                    let wanted = names::grace_period_seconds(&self.handle.pod());
                    if wanted < grace {
                        grace = wanted;
                        stops.push(stop_containers(&self.node, pod, runtime, grace));
                    }
                }
            }
        }
    }

    /// Removes containers, sandboxes and files, and then the pod object.
    async fn clean(&mut self, pod: &Arc<Pod>, gone: bool) -> Outcome {
        let again = Outcome::Again(Some(Timestamp::now() + backoff::RETRY));
        if !gone {
            self.writer.flush().await;
        }
        if let Err(error) = self.remove_everything(pod).await {
            tracing::warn!(pod = %names::display(pod), %error, "pod not cleaned up, will try again");
            return again;
        }
        if self.handle.view().1 {
            return Outcome::Done;
        }
        match self.node.api.delete(pod).await {
            Ok(()) | Err(ApiFailure::Gone(_)) => Outcome::Done,
            Err(error) => {
                tracing::warn!(pod = %names::display(pod), %error, "pod not deleted, will try again");
                again
            }
        }
    }

    async fn remove_everything(
        &self,
        pod: &Pod,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let runtime = self.node.cri.pod_status(names::uid(pod)).await?;
        let ids: Vec<_> = runtime.containers.iter().map(|record| record.id.clone()).collect();
        for id in &ids {
            self.node.cri.remove_container(id).await?;
        }
        for sandbox in &runtime.sandboxes {
            self.node.cri.stop_sandbox(&sandbox.id).await?;
            self.node.cri.remove_sandbox(&sandbox.id).await?;
        }
        Ok(remove_pod_files(&self.node.context.paths, pod, &ids).await?)
    }

    /// Removes attempts that are neither state nor last state of any container, and sandboxes without containers.
    async fn collect_garbage(&self, runtime: &PodRuntimeStatus) {
        for record in runtime.superseded() {
            let removed = self.node.cri.remove_container(&record.id).await;
            let unlinked = crate::executor::remove_links(
                &self.node.context.paths,
                std::slice::from_ref(&record.id),
            )
            .await;
            if removed.is_err() || unlinked.is_err() {
                tracing::warn!(id = record.id, ?removed, ?unlinked, "dead container stays behind");
                continue;
            }
            if !record.log_path.is_empty() {
                let _ = tokio::fs::remove_file(&record.log_path).await;
            }
        }
        for sandbox in runtime.sandboxes.iter().skip(1).filter(|sandbox| !sandbox.ready) {
            if self
                .node
                .cri
                .containers_of_sandbox(&sandbox.id)
                .await
                .is_ok_and(|containers| containers.is_empty())
                && let Err(error) = self.node.cri.remove_sandbox(&sandbox.id).await
            {
                tracing::warn!(id = sandbox.id, %error, "dead sandbox stays behind");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::pod;
    use k8s_openapi::api::core::v1::PodCondition;

    #[test]
    fn only_the_echo_of_the_own_status_is_one() {
        let own = PodStatus { phase: Some("Running".into()), ..PodStatus::default() };
        let before = pod(&["a"]);
        let mut after = before.clone();
        (after.status, after.metadata.resource_version) = (Some(own.clone()), Some("9".into()));
        assert!(is_echo(&before, &after, &own));
        assert!(!is_echo(&before, &after, &PodStatus::default()), "somebody else's status");
        let mut gated = after.clone();
        gated.status.as_mut().expect("a status").conditions =
            Some(vec![PodCondition { type_: "gate".into(), ..PodCondition::default() }]);
        assert!(!is_echo(&after, &gated, &own), "a readiness gate");
        let mut labelled = after.clone();
        labelled.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        assert!(!is_echo(&after, &labelled, &own));
        let mut changed = after.clone();
        changed.spec.as_mut().expect("a spec").containers[0].image = Some("app:2".into());
        assert!(!is_echo(&after, &changed, &own));
    }

    #[test]
    fn stages_go_forward_only() {
        use Stage::{Cleaning, Finished, Syncing, Terminating};
        assert_eq!(next_stage(Syncing, false, false), Syncing);
        assert_eq!(next_stage(Syncing, true, false), Terminating);
        for stage in [Terminating, Cleaning, Finished] {
            assert_eq!(next_stage(stage, false, false), stage, "a pod never comes back");
        }
        assert_eq!(next_stage(Terminating, true, true), Cleaning);
        assert_eq!(next_stage(Cleaning, true, true), Finished);
    }
}
