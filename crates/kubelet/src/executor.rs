//! Does what [`crate::pod_actions`] decided: sandboxes, images, containers.
//!
//! Counterpart in Kubernetes: `SyncPod`, `startContainer` and `killContainer` of `kuberuntime`. Invariants: decides nothing but how
//! to report a failure; every failure becomes a reason and a message for the container's waiting state, and an event.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_cri::v1 as cri;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{ApiFailure, PodApi};
use crate::backoff;
use crate::container_config::{ContainerInput, NodeContext, container_config, sandbox_config};
use crate::cri::{Cri, CriError};
use crate::env::{self, Sources};
use crate::events::{EventSink, EventType, PodEvents, node_reference};
use crate::names;
use crate::network_files;
use crate::pod_actions::{Backoffs, PodActions, StartContainer, crash_key};
use crate::runtime_status::{ContainerState, PodRuntimeStatus};
use crate::security::ImageUser;
use crate::status::WaitingReason;

mod files;
mod images;

pub(crate) use files::remove_links;
pub use files::remove_pod_files;

/// Kubernetes never gives a container less time than this to end, not even when forced.
pub const MINIMUM_GRACE_SECONDS: i64 = 2;

/// What all pod workers of a node share.
pub struct NodeHandle {
    /// The runtime.
    pub cri: Cri,
    /// The API server.
    pub api: Arc<dyn PodApi>,
    /// Where events go.
    pub events: Arc<dyn EventSink>,
    /// Paths, domain, memory.
    pub context: NodeContext,
    /// The node's addresses.
    pub node_ips: Vec<IpAddr>,
    /// Scheme of container ids.
    pub runtime_name: String,
    /// The cluster's name servers.
    pub cluster_dns: Vec<IpAddr>,
    /// The node's `resolv.conf`.
    pub resolv_conf: PathBuf,
    /// What the node has to give.
    pub allocatable: BTreeMap<String, Quantity>,
    /// Whether pods can be connected.
    pub network_ready: watch::Receiver<bool>,
    /// Told whenever the set of images may have changed.
    pub images_changed: Notify,
}

/// What a worker remembers about its pod between two looks.
#[derive(Default)]
pub struct PodMemory {
    /// Waits.
    pub backoffs: Backoffs,
    /// Why containers do not run, by container.
    pub waiting: BTreeMap<String, WaitingReason>,
    /// The last error of a pull, by image.
    pub pull_errors: BTreeMap<String, String>,
}

/// A step failed.
struct Failure {
    reason: &'static str,
    message: String,
    /// When to try again, if earlier than anything else wakes the worker.
    retry_at: Timestamp,
}

impl Failure {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_at: Timestamp::now() + backoff::RETRY }
    }
}

/// Executes actions for one pod.
pub struct Executor<'a> {
    /// The node.
    pub node: &'a NodeHandle,
    /// The pod.
    pub pod: &'a Pod,
    /// What was known when the actions were decided.
    pub runtime: &'a PodRuntimeStatus,
    /// The worker's memory.
    pub memory: &'a mut PodMemory,
    /// Cancelled when the pod is to end: interrupts pulls.
    pub ending: &'a CancellationToken,
}

impl Executor<'_> {
    fn events(&self) -> PodEvents<'_> {
        PodEvents { sink: self.node.events.as_ref(), pod: self.pod }
    }

    fn spec(&self) -> &PodSpec {
        self.pod.spec.as_ref().expect("a pod without spec has no actions")
    }

    /// Does `actions`; answers when to look again.
    pub async fn execute(&mut self, actions: &PodActions) -> Option<Timestamp> {
        if actions.kill_pod {
            if actions.create_sandbox && actions.sandbox_id.is_some() {
                let message = "Pod sandbox changed, it will be killed and re-created.";
                self.events().pod(EventType::Normal, "SandboxChanged", message);
            }
            if let Err(error) =
                kill_pod(self.node, self.pod, self.runtime, names::grace_period_seconds(self.pod))
                    .await
            {
                return self.failed_kill(&error);
            }
        }
        let grace = names::grace_period_seconds(self.pod);
        for kill in &actions.kill {
            if let Err(error) =
                kill_container(self.node, self.pod, &kill.id, &kill.name, &kill.message, grace)
                    .await
            {
                return self.failed_kill(&error);
            }
        }
        if actions.start.is_empty() {
            return None;
        }
        self.start_all(actions).await
    }

    fn failed_kill(&self, error: &CriError) -> Option<Timestamp> {
        self.events().pod(
            EventType::Warning,
            "FailedKillPod",
            &format!("error killing pod: {error}"),
        );
        Some(Timestamp::now() + backoff::RETRY)
    }

    async fn start_all(&mut self, actions: &PodActions) -> Option<Timestamp> {
        let dns = self.dns().await;
        let config = match sandbox_config(self.pod, actions.attempt, dns, &self.node.context) {
            Ok(config) => config,
            Err(message) => return self.failed_sandbox(&message),
        };
        let sandbox = match (&actions.sandbox_id, actions.create_sandbox) {
            (Some(id), false) => Ok((id.clone(), self.runtime.ips().to_vec())),
            _ => self.create_sandbox(&config).await,
        };
        let (sandbox, ips) = match sandbox {
            Ok(sandbox) => sandbox,
            Err(retry) => return retry,
        };
        let mut retry = None;
        for start in &actions.start {
            if self.ending.is_cancelled() {
                break;
            }
            let name = self.spec().containers[start.index].name.clone();
            match self.start_container(&sandbox, &config, &ips, start).await {
                Ok(()) => {
                    self.memory.waiting.remove(&name);
                }
                Err(failure) => {
                    retry = earliest(retry, Some(failure.retry_at));
                    let why = WaitingReason {
                        reason: failure.reason.to_owned(),
                        message: failure.message,
                    };
                    self.memory.waiting.insert(name, why);
                }
            }
        }
        retry
    }

    async fn dns(&self) -> cri::DnsConfig {
        let node = self.node;
        let text = tokio::fs::read_to_string(&node.resolv_conf).await.unwrap_or_default();
        if network_files::wants_cluster_dns(self.spec()) && node.cluster_dns.is_empty() {
            const MISSING: &str = "kubelet does not have ClusterDNS IP configured and cannot create Pod using \
                                   \"ClusterFirst\" policy. Falling back to \"Default\" policy.";
            if let Some(name) = &self.spec().node_name {
                let node_reference = node_reference(name);
                node.events.event(
                    &node_reference,
                    EventType::Warning,
                    "MissingClusterDNS",
                    MISSING,
                );
            }
            let message = format!("pod: \"{}\". {MISSING}", names::display(self.pod));
            self.events().pod(EventType::Warning, "MissingClusterDNS", &message);
        }
        network_files::dns_config(self.pod, &text, &node.cluster_dns, &node.context.cluster_domain)
    }

    async fn create_sandbox(
        &self,
        config: &cri::PodSandboxConfig,
    ) -> Result<(String, Vec<String>), Option<Timestamp>> {
        let host_network = self.spec().host_network.unwrap_or_default();
        if !host_network && !*self.node.network_ready.borrow() {
            let message =
                format!("network is not ready: {}", crate::node::agent::NETWORK_NOT_READY);
            self.events().pod(EventType::Warning, "NetworkNotReady", &message);
            // The worker is woken when the network becomes ready.
            return Err(None);
        }
        if let Err(error) = files::make_directory(Path::new(&config.log_directory)).await {
            return Err(self.failed_sandbox(&error.to_string()));
        }
        let id = match self.node.cri.run_sandbox(config.clone()).await {
            Ok(id) => id,
            Err(error) => return Err(self.failed_sandbox(&error.message)),
        };
        match self.node.cri.sandbox_status(&id).await {
            Ok(status) => Ok((id, crate::runtime_status::Sandbox::from(status).ips)),
            Err(error) => {
                let message = format!("Unable to get pod sandbox status: {error}");
                self.events().pod(EventType::Warning, "FailedPodSandBoxStatus", &message);
                Err(Some(Timestamp::now() + backoff::RETRY))
            }
        }
    }

    fn failed_sandbox(&self, message: &str) -> Option<Timestamp> {
        let message = format!("Failed to create pod sandbox: {message}");
        self.events().pod(EventType::Warning, "FailedCreatePodSandBox", &message);
        Some(Timestamp::now() + backoff::RETRY)
    }

    async fn start_container(
        &mut self,
        sandbox: &str,
        config: &cri::PodSandboxConfig,
        ips: &[String],
        start: &StartContainer,
    ) -> Result<(), Failure> {
        let container = self.spec().containers[start.index].clone();
        if let Some(crashed_at) = start.crashed_at {
            self.memory.backoffs.crashes.next(&crash_key(&container), crashed_at, Timestamp::now());
        }
        let image = self.ensure_image(&container, config).await.inspect_err(|failure| {
            if self.ending.is_cancelled() {
                return;
            }
            let message = format!("Error: {}", failure.reason);
            self.events().container(&container.name, "", EventType::Warning, "Failed", &message);
        })?;
        let made = self.configure(&container, ips, start, &image).await.map_err(|message| {
            self.events().container(
                &container.name,
                "",
                EventType::Warning,
                "Failed",
                &format!("Error: {message}"),
            );
            Failure::new("CreateContainerConfigError", message)
        })?;
        self.discard_created(&container).await;
        let log = Path::new(&config.log_directory).join(&made.log_path);
        let id = self.node.cri.create_container(sandbox, made, config.clone()).await.map_err(
            |error| {
                self.events().container(
                    &container.name,
                    "",
                    EventType::Warning,
                    "Failed",
                    &format!("Error: {error}"),
                );
                Failure::new("CreateContainerError", error.message)
            },
        )?;
        self.events().container(
            &container.name,
            &id,
            EventType::Normal,
            "Created",
            "Container created",
        );
        self.node.cri.start_container(&id).await.map_err(|error| {
            self.events().container(
                &container.name,
                &id,
                EventType::Warning,
                "Failed",
                &format!("Error: {error}"),
            );
            Failure::new("RunContainerError", error.message.replace(&id, &container.name))
        })?;
        self.events().container(
            &container.name,
            &id,
            EventType::Normal,
            "Started",
            "Container started",
        );
        files::link_log(&self.node.context.paths, self.pod, &container.name, &id, &log).await;
        Ok(())
    }

    /// A container that was made but could not be started is of no use to anyone.
    async fn discard_created(&self, container: &Container) {
        let stale = self
            .runtime
            .latest(&container.name)
            .filter(|record| record.state == ContainerState::Created);
        if let Some(record) = stale
            && let Err(error) = self.node.cri.remove_container(&record.id).await
        {
            tracing::warn!(id = record.id, %error, "a container that never started stays behind");
        }
    }

    async fn configure(
        &self,
        container: &Container,
        ips: &[String],
        start: &StartContainer,
        image: &cri::Image,
    ) -> Result<cri::ContainerConfig, String> {
        let sources = self.sources(container, ips).await?;
        let environment =
            env::environment(self.pod, container, &sources).map_err(|error| error.to_string())?;
        let restart_count = match start.restart_count {
            0 => {
                files::restart_count_from_logs(&self.node.context.paths, self.pod, &container.name)
                    .await
            }
            known => known,
        };
        let input = ContainerInput {
            container,
            restart_count,
            image_ref: image.id.clone(),
            image_user: image_user(image),
            environment,
        };
        let made = container_config(self.pod, &input, &self.node.context)?;
        let domain = &self.node.context.cluster_domain;
        files::prepare(&self.node.context.paths, self.pod, domain, ips, &made)
            .await
            .map_err(|error| error.to_string())?;
        Ok(made)
    }

    async fn sources(&self, container: &Container, ips: &[String]) -> Result<Sources, String> {
        let ns = names::namespace(self.pod);
        let links = self.spec().enable_service_links.unwrap_or(true);
        let services = self
            .node
            .api
            .services()
            .ok_or("services have not yet been read at least once, cannot construct envvars")?;
        let host_ips: Vec<_> = self.node.node_ips.iter().map(ToString::to_string).collect();
        let host_network = self.spec().host_network.unwrap_or_default();
        let mut sources = Sources {
            services: env::service_variables(services.iter().map(AsRef::as_ref), ns, links),
            pod_ips: if host_network { host_ips.clone() } else { ips.to_vec() },
            host_ips,
            allocatable: self.node.allocatable.clone(),
            ..Sources::default()
        };
        let references = env::references(container);
        let message = |error: ApiFailure| error.to_string();
        for name in references.config_maps {
            if let Some(object) = self.node.api.config_map(ns, &name).await.map_err(message)? {
                sources.config_maps.insert(name, object);
            }
        }
        for name in references.secrets {
            if let Some(object) = self.node.api.secret(ns, &name).await.map_err(message)? {
                sources.secrets.insert(name, object);
            }
        }
        Ok(sources)
    }
}

/// An image that names no user runs as root.
fn image_user(image: &cri::Image) -> ImageUser {
    match &image.uid {
        Some(uid) => ImageUser { uid: Some(uid.value), username: String::new() },
        None if image.username.is_empty() => ImageUser { uid: Some(0), username: String::new() },
        None => ImageUser { uid: None, username: image.username.clone() },
    }
}

/// The earlier of two times, either of which may be absent.
pub fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Stops every running container at once, then every sandbox.
///
/// # Errors
/// The first error of the runtime, after everything has been tried.
pub async fn kill_pod(
    node: &NodeHandle,
    pod: &Pod,
    runtime: &PodRuntimeStatus,
    grace_seconds: i64,
) -> Result<(), CriError> {
    stop_containers(node, pod, runtime, grace_seconds).await?;
    stop_sandboxes(node, runtime).await
}

/// Stops every container that may run, all at the same time.
///
/// # Errors
/// The first error of the runtime, after everything has been tried.
pub async fn stop_containers(
    node: &NodeHandle,
    pod: &Pod,
    runtime: &PodRuntimeStatus,
    grace_seconds: i64,
) -> Result<(), CriError> {
    let alive = runtime
        .containers
        .iter()
        .filter(|it| matches!(it.state, ContainerState::Running | ContainerState::Unknown));
    let stops = alive.map(|record| async {
        let message = format!("Stopping container {}", record.name);
        kill_container(node, pod, &record.id, &record.name, &message, grace_seconds).await
    });
    join_all(stops).await.into_iter().collect()
}

/// Stops every sandbox that still holds something.
///
/// # Errors
/// The first error of the runtime, after everything has been tried.
pub async fn stop_sandboxes(node: &NodeHandle, runtime: &PodRuntimeStatus) -> Result<(), CriError> {
    let ready = runtime.sandboxes.iter().filter(|sandbox| sandbox.ready);
    join_all(ready.map(|sandbox| node.cri.stop_sandbox(&sandbox.id))).await.into_iter().collect()
}

async fn kill_container(
    node: &NodeHandle,
    pod: &Pod,
    id: &str,
    name: &str,
    message: &str,
    grace_seconds: i64,
) -> Result<(), CriError> {
    let events = PodEvents { sink: node.events.as_ref(), pod };
    events.container(name, id, EventType::Normal, "Killing", message);
    node.cri.stop_container(id, grace_seconds.max(MINIMUM_GRACE_SECONDS)).await
}
