//! What happens in the runtime, as it happens.
//!
//! Counterpart in Kubernetes: the evented PLEG, without its polling twin. Invariants: after every (re)connection everybody is told
//! to look once, because events of the meantime are lost; while the runtime is away the node says so.

use std::time::Duration;

use k8s_cri::v1 as cri;
use tokio::sync::{broadcast, mpsc, watch};

use crate::cri::Cri;
use crate::names;

/// Events that wait for the main loop. When it is slow the stream waits, and the runtime's own buffer fills.
const QUEUE: usize = 256;
/// Events a follower of logs may be behind before it has to ask the runtime itself.
const FOLLOWER_QUEUE: usize = 256;
/// Pauses between attempts to connect.
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// The stream is new: look at everything.
    Relist,
    /// Something changed in the pod with this uid.
    Pod(String),
}

/// The ends of the event stream.
pub struct RuntimeEvents {
    /// For the main loop.
    pub events: mpsc::Receiver<RuntimeEvent>,
    /// Ids of containers that changed, for followers of logs.
    pub containers: broadcast::Sender<String>,
    /// Whether the runtime answers.
    pub up: watch::Receiver<bool>,
}

/// Starts to follow the runtime. The task ends when the receiver is dropped.
pub fn follow(cri: Cri) -> RuntimeEvents {
    let (sender, events) = mpsc::channel(QUEUE);
    let (containers, _) = broadcast::channel(FOLLOWER_QUEUE);
    let (up_sender, up) = watch::channel(true);
    tokio::spawn(run(cri, sender, containers.clone(), up_sender));
    RuntimeEvents { events, containers, up }
}

async fn run(
    cri: Cri,
    sender: mpsc::Sender<RuntimeEvent>,
    containers: broadcast::Sender<String>,
    up: watch::Sender<bool>,
) {
    let mut pause = RECONNECT_FIRST;
    while !sender.is_closed() {
        match cri.events().await {
            Ok(stream) => {
                pause = RECONNECT_FIRST;
                up.send_replace(true);
                if sender.send(RuntimeEvent::Relist).await.is_err() {
                    return;
                }
                forward(stream, &sender, &containers).await;
            }
            Err(error) => {
                if up.send_replace(false) {
                    tracing::warn!(%error, "the container runtime does not answer");
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = sender.closed() => return,
                }
                pause = (pause * 2).min(RECONNECT_MAX);
            }
        }
    }
}

async fn forward(
    mut stream: tonic::Streaming<cri::ContainerEventResponse>,
    sender: &mpsc::Sender<RuntimeEvent>,
    containers: &broadcast::Sender<String>,
) {
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            () = sender.closed() => return,
        };
        let Ok(Some(event)) = message else { return };
        // No follower is no error.
        let _ = containers.send(event.container_id.clone());
        if let Some(uid) = pod_uid(&event)
            && sender.send(RuntimeEvent::Pod(uid)).await.is_err()
        {
            return;
        }
    }
}

fn pod_uid(event: &cri::ContainerEventResponse) -> Option<String> {
    let sandbox = event.pod_sandbox_status.as_ref();
    let metadata =
        sandbox.and_then(|sandbox| sandbox.metadata.as_ref()).map(|metadata| metadata.uid.clone());
    let label = || {
        event
            .containers_statuses
            .iter()
            .find_map(|status| status.labels.get(names::POD_UID).cloned())
    };
    metadata.or_else(label).filter(|uid| !uid.is_empty())
}
