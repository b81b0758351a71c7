//! What the runtime is told by its owner: directories, cgroups, the pod network.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A host port of a sandbox, as the CRI's `PortMapping`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPort {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Port in the pod.
    pub container_port: u16,
    /// Port on the node.
    pub host_port: u16,
    /// Address on the node; empty means all.
    pub host_ip: String,
}

/// Why the pod network could not be joined or left.
#[derive(Debug, thiserror::Error)]
#[error("pod network: {0}")]
pub struct NetworkError(pub String);

/// Connects the network namespaces of sandboxes; both calls are idempotent per sandbox id.
#[async_trait::async_trait]
pub trait PodNetwork: Send + Sync + 'static {
    /// Gives the namespace at `netns` its interface and answers its addresses, the primary one first.
    async fn attach(
        &self,
        sandbox_id: &str,
        netns: &Path,
        ports: &[PodPort],
    ) -> Result<Vec<IpAddr>, NetworkError>;
    /// Takes away what `attach` made, also when the namespace is gone already.
    async fn detach(&self, sandbox_id: &str) -> Result<(), NetworkError>;
    /// Whether pods can be attached; the error is the message of the CRI condition `NetworkReady`.
    async fn ready(&self) -> Result<(), NetworkError> {
        Ok(())
    }
}

/// When the shim itself rotates container logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// A log file is rotated before it grows beyond this.
    pub max_size_bytes: u64,
    /// Files kept per container, the current one included; at least 2.
    pub max_files: u32,
}

/// How to open a [`crate::Runtime`].
#[derive(Clone)]
pub struct RuntimeConfig {
    /// Where images and writable layers live; survives reboots.
    pub root: PathBuf,
    /// Where sandboxes live: configuration, exit codes, sockets.
    pub state: PathBuf,
    /// The cgroup under which all pods' cgroups are made, such as `/knarr/default/node-1`. Nothing outside it is ever touched.
    pub cgroup_parent: String,
    /// The pod network.
    pub network: Arc<dyn PodNetwork>,
    /// Rotation by the shim; `None` when the CRI client rotates and calls ReopenContainerLog.
    pub log_limits: Option<LogLimits>,
}

/// Where the image store of a runtime with this [`RuntimeConfig::root`] is; other processes may open it while the runtime runs.
pub fn image_root(root: &Path) -> PathBuf {
    root.to_owned()
}

/// Why the runtime could not be opened or served.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The file system or the kernel refused.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The CRI server failed.
    #[error("CRI server: {0}")]
    Serve(String),
    /// This machine lacks something containers need.
    #[error("{0}")]
    Unsupported(String),
}
