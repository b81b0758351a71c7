//! The controllers of the control plane, one file each. Counterpart: kube-controller-manager.
//!
//! Invariants:
//! * Every controller is a [`client::Controller`]: it watches through shared informers and decides in a pure `reconcile`.
//! * The list in [`run`] is the only place where controllers are named.

mod claim;
mod deployment;
mod garbage_collector;
mod namespace;
mod namespaces;
mod node_ipam;
mod pod_gc;
mod pods;
mod replica_set;
mod root_ca;
mod service_account;
#[cfg(test)]
mod testing;

use client::controller::run as run_controller;
use client::{CancellationToken, Client, Controller, Informers};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use tokio::task::JoinSet;

pub use node_ipam::CidrError;

/// Prefix length of a node's range of pod addresses when none is given: 254 pods.
const DEFAULT_NODE_CIDR_MASK_SIZE: u8 = 24;

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

struct Starter {
    client: Client,
    informers: Informers,
    shutdown: CancellationToken,
    running: JoinSet<()>,
}

impl Starter {
    fn start<C: Controller>(&mut self, controller: C) {
        let (client, informers) = (self.client.clone(), self.informers.clone());
        self.running.spawn(run_controller(controller, client, informers, self.shutdown.clone()));
    }
}

/// Runs all controllers until `shutdown`, with informers of their own.
///
/// # Errors
/// When the cluster CIDR cannot be used; nothing was started then.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), CidrError> {
    let informers = Informers::new(client.clone(), shutdown.clone());
    run_with(client, informers, options, shutdown).await
}

/// As [`run`], with informers that other components of the process read from too.
///
/// # Errors
/// When the cluster CIDR cannot be used; nothing was started then.
pub async fn run_with(
    client: Client,
    informers: Informers,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), CidrError> {
    let prefix = options.node_cidr_mask_size.unwrap_or(DEFAULT_NODE_CIDR_MASK_SIZE);
    let node_ipam =
        options.cluster_cidr.map(|cidr| node_ipam::NodeIpam::new(&cidr, prefix)).transpose()?;
    let mut starter = Starter { client, informers, shutdown, running: JoinSet::new() };
    starter.start(deployment::DeploymentController);
    starter.start(replica_set::ReplicaSetController::<ReplicaSet>::default());
    starter.start(replica_set::ReplicaSetController::<ReplicationController>::default());
    starter.start(garbage_collector::GarbageCollector::default());
    starter.start(namespace::NamespaceController);
    starter.start(service_account::ServiceAccountController);
    starter.start(pod_gc::PodGc::default());
    if let Some(bundle) = options.root_ca_pem {
        starter.start(root_ca::RootCaPublisher { bundle });
    }
    if let Some(node_ipam) = node_ipam {
        starter.start(node_ipam);
    }
    while let Some(ended) = starter.running.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller died");
        }
    }
    Ok(())
}
