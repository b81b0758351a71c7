//! The container runtime of a node: images, snapshots, sandboxes, containers; served as the CRI.
//!
//! The counterpart of containerd and runc. Invariants: the threaded agent never forks without exec and never changes its namespaces, the
//! single-threaded shim (one per pod, the same binary re-executed from a read-only clone) does; containers outlive the agent, and all that is
//! needed to find, stop and remove them is on disk under [`RuntimeConfig::state`].

mod capabilities;
mod cgroups;
mod config;
mod engine;
pub mod image_service;
pub mod images;
mod inroot;
mod pods_cgroup;
mod protocol;
mod records;
mod reexec;
mod runtime_service;
mod shim;
mod shim_client;
pub mod snapshots;
mod spec;
mod streaming;
mod sys;

pub use config::{
    LogLimits, NetworkError, PodNetwork, PodPort, RuntimeConfig, RuntimeError, image_root,
};
pub use engine::Runtime;
pub use pods_cgroup::{PodsCgroup, PodsLimits};
pub use reexec::reexec;
