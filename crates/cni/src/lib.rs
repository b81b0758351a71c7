//! The pod network of a node: a bridge, an address for every sandbox, a way out, and no way to leak.
//!
//! Counterpart in Kubernetes: the `bridge` and `host-local` CNI plugins with `ip-masq`.
//!
//! Invariants:
//! - Links and rules are named after the bridge and the sandbox, and what they belong to stands on disk before they
//!   are made: a fresh process can remove what a killed one left.
//! - Every call is idempotent.
//! - Packets to the cluster's ranges that nobody here owns are unreachable: they never leave the machine.

pub mod cidr;
pub mod link;
mod network;
pub mod nftables;

pub use cidr::Cidr;
pub use network::{Config, Network, NetworkError};
