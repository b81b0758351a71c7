//! The controllers of the control plane, one file each. Counterpart: kube-controller-manager.
//!
//! Invariants:
//! * Every controller is a [`client::Controller`]: it watches through shared informers and decides in a pure `reconcile`.
//! * The list in [`run`] is the only place where controllers are named.

mod claim;
mod deployment;
mod pods;
mod replica_set;
#[cfg(test)]
mod testing;

use client::{CancellationToken, Client};

/// What the controllers need to know beyond what the API tells them.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// PEM bundle for the `kube-root-ca.crt` ConfigMap of every namespace; none is published without it.
    pub root_ca_pem: Option<String>,
    /// The range that node pod CIDRs are taken from, for example `10.42.0.0/16`; none are assigned without it.
    pub cluster_cidr: Option<String>,
    /// Prefix length of a node's pod CIDR; 24 when absent.
    pub node_cidr_mask_size: Option<u8>,
}

/// Runs all controllers until `shutdown`.
pub async fn run(_client: Client, _options: Options, shutdown: CancellationToken) {
    shutdown.cancelled().await;
}
