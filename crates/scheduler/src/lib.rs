//! Decides on which node each pod runs.
//!
//! Counterpart in Kubernetes: kube-scheduler. The default profile, as far as its plugins are in [`plugins`].
//!
//! Invariants:
//! - [`schedule::schedule`] is pure: the same pod and snapshot give the same decision.
//! - A pod that was given a node counts there at once, before the API server has heard of it; if binding fails it is
//!   taken back. So no node is promised twice.
//! - A pod asking for what no plugin here understands is held back with a reason, never placed regardless.
//! - Nothing polls: pods, nodes, ended bindings and back-off deadlines wake the one loop.

mod bind;
pub mod plugins;
pub mod queue;
pub mod resources;
pub mod schedule;
mod scheduler;
pub mod snapshot;

use client::{CancellationToken, Client, Informers};

/// The name pods ask for in `spec.schedulerName`.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// Schedules until `shutdown`.
pub async fn run(client: Client, shutdown: CancellationToken) {
    let informers = Informers::new(client.clone(), shutdown.clone());
    run_with(client, informers, shutdown).await;
}

/// As [`run`], with informers that other components of the process read from too.
pub async fn run_with(client: Client, informers: Informers, shutdown: CancellationToken) {
    let _cancelled = shutdown.run_until_cancelled(scheduler::run(client, informers)).await;
}
