//! The node's heartbeat.
//!
//! Counterpart in Kubernetes: `component-helpers/apimachinery/lease`. Invariant: one Lease in `kube-node-lease`, named like the
//! node and owned by it, is renewed four times within its duration.

use std::time::Duration;

use client::ApiErrorExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Api, PostParams};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Where nodes' leases are.
const NAMESPACE: &str = "kube-node-lease";
/// How long a node counts as alive after its last sign of life.
const DURATION_SECONDS: i32 = 40;
/// A quarter of that.
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// Pauses between attempts when the server refuses or cannot be reached.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(7);

/// Keeps one node's lease.
pub struct LeaseKeeper {
    api: Api<Lease>,
    node: String,
    node_uid: Option<String>,
    current: Option<Lease>,
}

impl LeaseKeeper {
    /// A keeper of the lease of `node`, whose object has this uid.
    pub fn new(client: kube::Client, node: &str, node_uid: Option<String>) -> Self {
        Self {
            api: Api::namespaced(client, NAMESPACE),
            node: node.to_owned(),
            node_uid,
            current: None,
        }
    }

    /// Renews until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = interval(RENEW_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            if shutdown.run_until_cancelled(self.renew_until_done()).await.is_none() {
                return;
            }
        }
    }

    async fn renew_until_done(&mut self) {
        let mut pause = RETRY_FIRST;
        while let Err(error) = self.renew().await {
            tracing::warn!(%error, "the node's lease is not renewed, will try again");
            self.current = None;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn renew(&mut self) -> Result<(), kube::Error> {
        let known = match self.current.take() {
            Some(lease) => Some(lease),
            None => self.api.get_opt(&self.node).await?,
        };
        let params = PostParams::default();
        let written = match known {
            Some(lease) => {
                let renewed =
                    lease_at(&self.node, self.node_uid.as_deref(), lease, Timestamp::now());
                match self.api.replace(&self.node, &params, &renewed).await {
                    Err(error) if error.is_conflict() || error.is_not_found() => {
                        return Box::pin(self.renew()).await;
                    }
                    result => result?,
                }
            }
            None => {
                let lease = lease_at(
                    &self.node,
                    self.node_uid.as_deref(),
                    Lease::default(),
                    Timestamp::now(),
                );
                self.api.create(&params, &lease).await?
            }
        };
        self.current = Some(written);
        Ok(())
    }
}

/// The lease renewed at `now`.
fn lease_at(node: &str, node_uid: Option<&str>, lease: Lease, now: Timestamp) -> Lease {
    let owner = |uid: &str| OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    };
    let owners = lease.metadata.owner_references.filter(|owners| !owners.is_empty());
    Lease {
        metadata: ObjectMeta {
            name: Some(node.to_owned()),
            namespace: Some(NAMESPACE.into()),
            owner_references: owners.or_else(|| node_uid.map(|uid| vec![owner(uid)])),
            ..lease.metadata
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.to_owned()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            renew_time: Some(MicroTime(now)),
            ..lease.spec.unwrap_or_default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn node_08_renewal_moves_renew_time_only() {
        let first = lease_at("n1", Some("u"), Lease::default(), at(1));
        let second = lease_at("n1", Some("u"), first.clone(), at(11));
        assert_eq!(first.metadata, second.metadata);
        let spec = second.spec.expect("spec");
        assert_eq!(spec.renew_time, Some(MicroTime(at(11))));
        assert_eq!((spec.holder_identity.as_deref(), spec.acquire_time), (Some("n1"), None));
        assert_eq!(first.metadata.owner_references.expect("an owner")[0].kind, "Node");
    }
}
