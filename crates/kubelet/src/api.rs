//! What pod workers ask of the API server, behind a seam.
//!
//! Counterpart in Kubernetes: the status manager's client and the ConfigMap, Secret and Service listers of the kubelet.
//! Invariants: status is written through `/status` as a strategic merge patch that names the pod's uid, so a new pod of the same
//! name is never touched; a pod is deleted only with its uid as precondition.

use std::sync::Arc;

use client::{ApiErrorExt, Cache};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::Value;

use crate::names;

/// Codes that say that the request itself is wrong. Not among them: 401, 403 and 429, which pass when the server has learnt of the
/// node's certificate or of the pod's binding, or has more time.
const REFUSALS: [u16; 5] = [400, 405, 413, 415, 422];

/// Why the API server did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiFailure {
    /// The object is not there, or it is another one by now.
    #[error("{0}")]
    Gone(String),
    /// The server said no; trying again changes nothing.
    #[error("{0}")]
    Refused(String),
    /// It could not be reached or asks to come back.
    #[error("{0}")]
    Unavailable(String),
}

impl From<kube::Error> for ApiFailure {
    fn from(error: kube::Error) -> Self {
        let message = error.message();
        match &error {
            _ if error.is_not_found() || error.is_conflict() => ApiFailure::Gone(message),
            kube::Error::Api(status) if REFUSALS.contains(&status.code) => {
                ApiFailure::Refused(message)
            }
            _ => ApiFailure::Unavailable(message),
        }
    }
}

/// The API server, as pod workers need it.
#[async_trait::async_trait]
pub trait PodApi: Send + Sync + 'static {
    /// Patches a pod's status; answers the pod as it is then.
    async fn patch_status(&self, pod: &Pod, patch: &Value) -> Result<Pod, ApiFailure>;
    /// Removes the pod object for good, if it still has this uid.
    async fn delete(&self, pod: &Pod) -> Result<(), ApiFailure>;
    /// One ConfigMap; `None` when it is not there.
    async fn config_map(&self, ns: &str, name: &str) -> Result<Option<ConfigMap>, ApiFailure>;
    /// One Secret; `None` when it is not there.
    async fn secret(&self, ns: &str, name: &str) -> Result<Option<Secret>, ApiFailure>;
    /// All services; `None` until they have been listed once.
    fn services(&self) -> Option<Vec<Arc<Service>>>;
}

/// The API server behind a [`kube::Client`].
pub struct KubeApi {
    client: kube::Client,
    services: Cache<Service>,
}

impl KubeApi {
    /// `services` is the cache of every service of the cluster.
    pub fn new(client: kube::Client, services: Cache<Service>) -> Self {
        Self { client, services }
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), names::namespace(pod))
    }
}

#[async_trait::async_trait]
impl PodApi for KubeApi {
    async fn patch_status(&self, pod: &Pod, patch: &Value) -> Result<Pod, ApiFailure> {
        Ok(self
            .pods(pod)
            .patch_status(names::name(pod), &PatchParams::default(), &Patch::Strategic(patch))
            .await?)
    }

    async fn delete(&self, pod: &Pod) -> Result<(), ApiFailure> {
        let uid = Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None });
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: uid,
            ..DeleteParams::default()
        };
        self.pods(pod).delete(names::name(pod), &params).await?;
        Ok(())
    }

    async fn config_map(&self, ns: &str, name: &str) -> Result<Option<ConfigMap>, ApiFailure> {
        Ok(Api::namespaced(self.client.clone(), ns).get_opt(name).await?)
    }

    async fn secret(&self, ns: &str, name: &str) -> Result<Option<Secret>, ApiFailure> {
        Ok(Api::namespaced(self.client.clone(), ns).get_opt(name).await?)
    }

    fn services(&self) -> Option<Vec<Arc<Service>>> {
        self.services.has_synced().then(|| self.services.list())
    }
}
