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
pub mod main_loop;
pub mod names;
pub mod network_files;
pub mod node;
pub mod pod_actions;
pub mod pod_worker;
pub mod pod_workers;
pub mod resources;
pub mod runtime_events;
pub mod runtime_status;
pub mod security;
pub mod server;
pub mod status;
pub mod status_writer;
pub mod streaming;
pub mod termination_message;
pub mod unsupported;

pub use config::{Config, ServingTls};

use std::sync::Arc;
use std::time::Duration;

use client::{EventRecorder, Informers};
use k8s_cri::v1::VersionResponse;
use k8s_openapi::api::core::v1::Service;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use api::KubeApi;
use container_config::NodeContext;
use cri::{Cri, CriError};
use executor::NodeHandle;
use logs::watch::DirectoryWatcher;
use main_loop::MainLoop;
use names::Paths;
use node::agent::NodeAgent;
use node::{Facts, Identity};
use pod_workers::{PodTable, PodWorkers};
use server::Server;

/// How long to wait for the runtime's first answer.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(60);
/// Pauses between attempts to reach it.
const RUNTIME_RETRY_FIRST: Duration = Duration::from_millis(10);
const RUNTIME_RETRY_MAX: Duration = Duration::from_secs(1);

/// The node agent.
pub struct Kubelet;

/// Why a kubelet could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself.
    #[error("kubelet configuration: {0}")]
    Config(String),
    /// The runtime has not answered in time.
    #[error("the container runtime does not answer: {0}")]
    Runtime(CriError),
    /// A file, directory or socket the kubelet cannot do without.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: std::io::Error,
    },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
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
        std::fs::create_dir_all(&config.root_dir)
            .map_err(io_error(format!("cannot create {}", config.root_dir.display())))?;
        let facts =
            Facts::read(&config.root_dir).map_err(io_error("cannot read the size of the disk"))?;
        let cri = Cri::new(&config.cri_socket);
        let Some(version) = shutdown.run_until_cancelled(wait_for_runtime(&cri)).await else {
            return Ok(());
        };
        let version = version?;
        // Everything ends together, also when this future is dropped.
        let stop = shutdown.child_token();
        let _guard = stop.clone().drop_guard();
        let informers = Informers::new(config.client.clone(), stop.clone());
        let node = Arc::new(node_handle(&config, &facts, cri, &version, &informers));
        let runtime = runtime_events::follow(node.cri.clone());
        let (table, identity) = (PodTable::default(), identity(&config));
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(io_error(format!("cannot listen on {}", config.listen)))?;
        let server = Arc::new(Server {
            pods: table.clone(),
            cri: node.cri.clone(),
            watcher: DirectoryWatcher::start().map_err(io_error("cannot watch directories"))?,
            containers: runtime.containers,
            node_name: config.node_name.clone(),
            shutdown: stop.clone(),
            sessions: TaskTracker::new(),
        });
        let tls = server::auth::server_config(config.serving)
            .map_err(|error| Error::Config(error.to_string()))?;
        let main_loop = MainLoop {
            workers: PodWorkers::new(node.clone(), table.clone()),
            events: runtime.events,
            network_ready: config.network_ready.clone(),
        };
        let agent = NodeAgent {
            client: config.client.clone(),
            node,
            identity,
            facts,
            root_dir: config.root_dir.clone(),
            runtime_version: format!("{}://{}", version.runtime_name, version.runtime_version),
            runtime_up: runtime.up,
            pod_cidrs: config.pod_cidrs,
            pods_cgroup: config.pods_cgroup,
        };
        tokio::join!(
            server.serve(listener, tls),
            agent.run(informers.clone(), stop.clone()),
            main_loop.run(informers, &config.node_name, stop),
        );
        Ok(())
    }
}

async fn wait_for_runtime(cri: &Cri) -> Result<VersionResponse, Error> {
    let deadline = tokio::time::Instant::now() + RUNTIME_DEADLINE;
    let mut pause = RUNTIME_RETRY_FIRST;
    loop {
        match cri.version().await {
            Ok(version) => return Ok(version),
            Err(error) if tokio::time::Instant::now() >= deadline => {
                return Err(Error::Runtime(error));
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(RUNTIME_RETRY_MAX);
    }
}

fn identity(config: &Config) -> Identity {
    Identity {
        name: config.node_name.clone(),
        hostname: config.hostname.clone(),
        ips: config.node_ips.clone(),
        labels: config.labels.clone(),
        taints: config.taints.clone(),
        max_pods: config.max_pods,
        port: config.listen.port(),
        version: config.kubelet_version.clone(),
    }
}

fn node_handle(
    config: &Config,
    facts: &Facts,
    cri: Cri,
    version: &VersionResponse,
    informers: &Informers,
) -> NodeHandle {
    NodeHandle {
        cri,
        api: Arc::new(KubeApi::new(config.client.clone(), informers.store::<Service>())),
        events: Arc::new(EventRecorder::new(
            config.client.clone(),
            "kubelet",
            Some(&config.node_name),
        )),
        context: NodeContext {
            paths: Paths::new(&config.root_dir, &config.log_dir),
            cluster_domain: config.cluster_domain.clone(),
            memory_capacity_bytes: i64::try_from(facts.memory_bytes).unwrap_or(i64::MAX),
        },
        node_ips: config.node_ips.clone(),
        runtime_name: version.runtime_name.clone(),
        cluster_dns: config.cluster_dns.clone(),
        resolv_conf: config.resolv_conf.clone(),
        allocatable: node::allocatable(&identity(config), facts),
        network_ready: config.network_ready.clone(),
        images_changed: tokio::sync::Notify::new(),
    }
}
