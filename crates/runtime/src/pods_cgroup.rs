//! The cgroup that holds every pod of the node, and its limits: what containers together must leave to the node.
//!
//! The counterpart of the kubelet's `kubepods` cgroup. Invariant: it is the parent this runtime was configured with, which exists from
//! the runtime's start to its purge; limits are only ever set, never lifted.

use std::sync::Arc;

use oci_spec::runtime::{
    LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
};

use crate::RuntimeError;
use crate::engine::Engine;

/// What all pods together may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodsLimits {
    /// Memory in bytes; a hard limit.
    pub memory_bytes: u64,
    /// Weight of the CPU time, 1024 for each whole CPU.
    pub cpu_shares: u64,
    /// Processes and threads; a hard limit.
    pub processes: u64,
}

/// The cgroup of all pods.
#[derive(Clone)]
pub struct PodsCgroup {
    engine: Arc<Engine>,
}

impl PodsCgroup {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Sets the limits; those of single pods and containers hold below them.
    ///
    /// # Errors
    /// What the kernel says, such as that the pods use more memory already.
    pub fn limit(&self, limits: PodsLimits) -> Result<(), RuntimeError> {
        let unsupported =
            |error: &dyn std::fmt::Display| RuntimeError::Unsupported(error.to_string());
        let resources = resources(limits).map_err(|error| unsupported(&error))?;
        let parent = &self.engine.config.cgroup_parent;
        self.engine.cgroups.apply(parent, &resources).map_err(|error| unsupported(&error))
    }
}

fn resources(limits: PodsLimits) -> Result<LinuxResources, oci_spec::OciSpecError> {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    LinuxResourcesBuilder::default()
        .memory(LinuxMemoryBuilder::default().limit(signed(limits.memory_bytes)).build()?)
        .cpu(LinuxCpuBuilder::default().shares(limits.cpu_shares).build()?)
        .pids(LinuxPidsBuilder::default().limit(signed(limits.processes)).build()?)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_the_resources_of_one_cgroup() {
        let limits = PodsLimits { memory_bytes: 1 << 30, cpu_shares: 2048, processes: 32768 };
        let resources = resources(limits).unwrap();
        assert_eq!(resources.memory().as_ref().unwrap().limit(), Some(1 << 30));
        assert_eq!(resources.memory().as_ref().unwrap().swap(), None);
        assert_eq!(resources.cpu().as_ref().unwrap().shares(), Some(2048));
        assert_eq!(resources.pids().as_ref().unwrap().limit(), 32768);
        assert!(resources.devices().is_none(), "what containers may open is decided for each");
    }
}
