//! The node agent: it makes the containers of the pods bound to its node exist, and says how they are.
//!
//! Counterpart in Kubernetes: `pkg/kubelet`. It is a client of the Kubernetes API and of a CRI runtime and knows neither's
//! inside. Invariants:
//!
//! * One worker per pod **uid**; a pod created again under the same name waits until the old one's worker has finished.
//! * What to do is decided by pure functions (pod actions, status, node); workers and the server only do it.
//! * Containers that run when the kubelet starts are adopted, never restarted.
//! * Nothing polls: pod changes, CRI events and timers with a date wake a worker.
//! * A field that is not implemented fails the pod with its path in the message .

pub mod api;
pub mod backoff;
pub mod config;
pub mod container_config;
pub mod cri;
pub mod env;
pub mod events;
pub mod executor;
#[cfg(test)]
mod fixtures;
pub mod image;
pub mod logs;
pub mod names;
pub mod network_files;
pub mod pod_actions;
pub mod pod_worker;
pub mod pod_workers;
pub mod resources;
pub mod runtime_events;
pub mod runtime_status;
pub mod security;
pub mod status;
pub mod status_writer;
pub mod streaming;
pub mod termination_message;
pub mod unsupported;

pub use config::{Config, ServingTls};

use tokio_util::sync::CancellationToken;

/// The node agent.
pub struct Kubelet;

/// Why a kubelet could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself.
    #[error("kubelet configuration: {0}")]
    Config(String),
}

impl Kubelet {
    /// Runs until `shutdown` is cancelled. Containers keep running when it returns.
    ///
    /// # Errors
    /// When the configuration is unusable, the port is taken or the runtime does not answer at all.
    pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
        if config.node_ips.is_empty() {
            return Err(Error::Config("no node address".into()));
        }
        shutdown.cancelled().await;
        Ok(())
    }
}
