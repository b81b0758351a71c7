//! Every pod runs as a ServiceAccount that exists: `default` unless it names another.
//!
//! Counterpart in Kubernetes: `plugin/pkg/admission/serviceaccount`. No token is mounted.

use std::sync::Arc;
use std::time::Duration;

use api::kinds::{self, Resource};
use apimachinery::status::StatusError;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{self, Pod, PodSpec};

use super::{Creation, Plugin};
use crate::storage::{self, Encoded};
use crate::watch_cache::WatchCache;

/// The ServiceAccount of pods that name none.
const DEFAULT: &str = "default";
/// A new namespace's ServiceAccount is made by a controller a moment later; a pod created at once waits this long for it.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct ServiceAccount {
    cache: Arc<WatchCache>,
    accounts: &'static Resource,
}

impl ServiceAccount {
    pub(super) fn new(cache: Arc<WatchCache>) -> Self {
        Self { cache, accounts: kinds::of::<v1::ServiceAccount>() }
    }

    fn cached(&self, namespace: &str, name: &str) -> Option<Arc<Encoded>> {
        let key = storage::key(self.accounts, namespace, name);
        self.cache.of(self.accounts)?.get(&key)
    }

    async fn wait_for(&self, namespace: &str, name: &str) -> Option<Arc<Encoded>> {
        let mut progress = self.cache.progress();
        let found = async {
            loop {
                if let Some(account) = self.cached(namespace, name) {
                    return Some(account);
                }
                progress.changed().await.ok()?;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.ok().flatten()
    }
}

#[async_trait]
impl Plugin for ServiceAccount {
    async fn create(&self, creation: &mut Creation<'_>) -> Result<(), StatusError> {
        let namespace = creation.namespace;
        let Some(name) = creation.typed::<Pod>().map(name_account) else {
            return Ok(());
        };
        let Some(account) = self.wait_for(namespace, &name).await else {
            let missing = StatusError::not_found(&self.accounts.group_resource(), &name);
            let reason = format!("error looking up service account {namespace}/{name}: {missing}");
            return Err(creation.forbidden(reason));
        };
        let spec = creation.typed::<Pod>().map(|pod| pod.spec.get_or_insert_default());
        if let Some(spec) =
            spec.filter(|spec| spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty))
        {
            self.take_pull_secrets(spec, &account);
        }
        Ok(())
    }
}

impl ServiceAccount {
    fn take_pull_secrets(&self, spec: &mut PodSpec, account: &Encoded) {
        let decoded = account.decode(self.accounts);
        let object = decoded
            .as_ref()
            .ok()
            .and_then(|object| object.as_any().downcast_ref::<v1::ServiceAccount>());
        if let Some(secrets) = object.and_then(|account| account.image_pull_secrets.clone()) {
            spec.image_pull_secrets = Some(secrets);
        }
    }
}

/// Fills in the default and returns the name; the older field says the same.
fn name_account(pod: &mut Pod) -> String {
    let spec = pod.spec.get_or_insert_default();
    let given = spec.service_account_name.take().filter(|name| !name.is_empty());
    let older = spec.service_account.take().filter(|name| !name.is_empty());
    let name = given.or(older).unwrap_or_else(|| DEFAULT.to_owned());
    spec.service_account_name = Some(name.clone());
    spec.service_account = Some(name.clone());
    name
}
