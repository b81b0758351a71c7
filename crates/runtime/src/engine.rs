//! The runtime: sandboxes and containers of one node.

use crate::{RuntimeConfig, RuntimeError};
use std::future::Future;
use std::path::Path;

/// The container runtime of one node.
pub struct Runtime {
    config: RuntimeConfig,
}

impl Runtime {
    /// Recovers everything from disk, reconnects to the running shims and removes what nobody owns.
    ///
    /// # Errors
    /// When the directories cannot be used or the machine lacks what containers need.
    pub async fn open(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        Ok(Self { config })
    }

    /// Serves the CRI on the unix socket at `path` until `shutdown` resolves; containers keep running.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub async fn serve(self, path: &Path, shutdown: impl Future<Output = ()> + Send) -> Result<(), RuntimeError> {
        let _ = (&self.config, path, shutdown);
        Err(RuntimeError::Unsupported("the CRI server is not built yet".into()))
    }
}
