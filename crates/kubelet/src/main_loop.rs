//! The loop that hands everything that happens to the pod workers.
//!
//! Counterpart in Kubernetes: `syncLoop` of `kubelet.go`, without its periodic parts. Invariants: no worker starts before the
//! services are known, because their variables belong to every container's environment; sandboxes of unknown pods are ended only
//! after the API's pods have been listed.

use client::informer::Subscription;
use client::{Cache, Informers};
use k8s_openapi::api::core::v1::{Pod, Service};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::names;
use crate::pod_workers::PodWorkers;
use crate::runtime_events::RuntimeEvent;

/// What the loop listens to.
pub struct MainLoop {
    /// The workers.
    pub workers: PodWorkers,
    /// What happens in the runtime.
    pub events: mpsc::Receiver<RuntimeEvent>,
    /// Whether pods can be connected.
    pub network_ready: watch::Receiver<bool>,
}

impl MainLoop {
    /// Runs until `shutdown`; the workers end with it, their containers do not.
    pub async fn run(mut self, informers: Informers, node_name: &str, shutdown: CancellationToken) {
        let pods = informers.store_with_fields::<Pod>(&format!("spec.nodeName={node_name}"));
        let services = informers.store::<Service>();
        let ready = async { tokio::join!(pods.synced(), services.synced()) };
        if shutdown.run_until_cancelled(ready).await.is_none() {
            return;
        }
        let changes = pods.subscribe();
        while let Some(change) = changes.try_next() {
            self.workers.change(&change);
        }
        self.end_orphans().await;
        while self.step(&pods, &changes, &shutdown).await {}
    }

    /// Waits for one thing to happen; answers whether there is more to come.
    async fn step(
        &mut self,
        pods: &Cache<Pod>,
        changes: &Subscription<Pod>,
        shutdown: &CancellationToken,
    ) -> bool {
        tokio::select! {
            change = changes.next() => self.workers.change(&change),
            event = self.events.recv() => match event {
                Some(RuntimeEvent::Pod(uid)) => self.workers.wake(&uid),
                Some(RuntimeEvent::Relist) => {
                    self.workers.wake_all();
                    self.end_orphans().await;
                }
                None => return false,
            },
            () = self.workers.reap() => {
                self.workers.forget_finished(|key, uid| pods.get(key).is_some_and(|pod| names::uid(&pod) == uid));
            }
            Ok(()) = self.network_ready.changed() => self.workers.wake_all(),
            () = shutdown.cancelled() => return false,
        }
        true
    }

    /// A runtime that does not answer will be asked again when it is back.
    async fn end_orphans(&mut self) {
        if let Err(error) = self.workers.end_orphans().await {
            tracing::warn!(%error, "sandboxes of unknown pods are not looked for, the runtime does not answer");
        }
    }
}
