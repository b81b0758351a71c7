//! Joins two crates that know nothing of each other: the runtime's idea of a pod network, and the bridge of `cni`.
//!
//! Invariant: before the node has its range there is no network, and sandboxes are refused rather than left without.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cni::{Cidr, Network};
use runtime::{NetworkError, PodNetwork, PodPort};

/// The bridge of a node's pods, inside its network namespace.
const BRIDGE: &str = "cni0";

/// What is known of a node's network before it has its range.
#[derive(Clone)]
pub struct Bridge {
    /// Where allocations are kept.
    pub state_dir: PathBuf,
    /// Whether pods reach the world.
    pub masquerade: bool,
    /// The ranges of the whole cluster.
    pub cluster_cidrs: Vec<Cidr>,
}

impl Bridge {
    /// All of it.
    pub fn config(&self, pod_cidr: Cidr) -> cni::Config {
        let Self { state_dir, masquerade, cluster_cidrs } = self.clone();
        cni::Config { bridge: BRIDGE.into(), pod_cidr, state_dir, masquerade, cluster_cidrs }
    }
}

/// The pod network of a node, once it is there.
#[derive(Default)]
pub struct PodBridge {
    network: OnceLock<Network>,
}

impl PodBridge {
    /// No network yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The network is there; only the first call counts.
    pub fn set(&self, network: Network) {
        let _ = self.network.set(network);
    }

    /// Whether it is there.
    pub fn is_set(&self) -> bool {
        self.network.get().is_some()
    }

    fn get(&self) -> Result<Network, NetworkError> {
        let missing = || NetworkError("the node has no pod range yet".into());
        self.network.get().cloned().ok_or_else(missing)
    }
}

async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, cni::NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let done = tokio::task::spawn_blocking(f).await;
    done.map_err(|error| NetworkError(error.to_string()))?
        .map_err(|error| NetworkError(error.to_string()))
}

#[async_trait::async_trait]
impl PodNetwork for PodBridge {
    async fn attach(
        &self,
        sandbox_id: &str,
        netns: &Path,
        ports: &[PodPort],
    ) -> Result<Vec<IpAddr>, NetworkError> {
        if let Some(port) = ports.iter().find(|port| port.host_port != 0) {
            let message = format!("hostPort {} is not supported yet", port.host_port);
            return Err(NetworkError(message));
        }
        let (network, id, netns) = (self.get()?, sandbox_id.to_owned(), netns.to_owned());
        blocking(move || network.attach(&id, &netns)).await
    }

    async fn detach(&self, sandbox_id: &str) -> Result<(), NetworkError> {
        let (network, id) = (self.get()?, sandbox_id.to_owned());
        blocking(move || network.detach(&id)).await
    }

    async fn ready(&self) -> Result<(), NetworkError> {
        self.get().map(|_| ())
    }
}

/// The network of a node that is being removed: nothing is attached any more, and links go with their namespaces.
pub struct NoNetwork;

#[async_trait::async_trait]
impl PodNetwork for NoNetwork {
    async fn attach(&self, _: &str, _: &Path, _: &[PodPort]) -> Result<Vec<IpAddr>, NetworkError> {
        Err(NetworkError("the node is being removed".into()))
    }

    async fn detach(&self, _: &str) -> Result<(), NetworkError> {
        Ok(())
    }
}
