//! Nothing is created in a namespace that does not exist or is going away; some namespaces never go away.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle`.

use std::sync::Arc;

use api::kinds::{self, Resource};
use apimachinery::status::StatusError;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;

use super::{Creation, Deletion, Plugin};
use crate::bootstrap::SYSTEM_NAMESPACES;
use crate::storage::{self, Encoded};
use crate::watch_cache::WatchCache;

/// The namespace that Kubernetes lets administrators delete although it creates it.
const DELETABLE_SYSTEM_NAMESPACE: &str = "kube-node-lease";

pub(super) struct NamespaceLifecycle {
    cache: Arc<WatchCache>,
    namespaces: &'static Resource,
}

impl NamespaceLifecycle {
    pub(super) fn new(cache: Arc<WatchCache>) -> Self {
        Self { cache, namespaces: kinds::of::<Namespace>() }
    }

    fn cached(&self, name: &str) -> Option<Arc<Encoded>> {
        let key = storage::key(self.namespaces, "", name);
        self.cache.of(self.namespaces)?.get(&key)
    }

    fn phase(&self, namespace: &Encoded) -> Phase {
        match namespace.field(self.namespaces, "status.phase") {
            Some("Terminating") => Phase::Terminating,
            _ => Phase::Active,
        }
    }

    /// The namespace's phase; what memory does not show as active is looked at again when it has caught up.
    async fn current_phase(&self, name: &str) -> Option<Phase> {
        let seen = self.cached(name).map(|namespace| self.phase(&namespace));
        if seen == Some(Phase::Active) {
            return seen;
        }
        self.cache.read_your_writes().await.ok();
        self.cached(name).map(|namespace| self.phase(&namespace))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Active,
    Terminating,
}

#[async_trait]
impl Plugin for NamespaceLifecycle {
    async fn create(&self, creation: &mut Creation<'_>) -> Result<(), StatusError> {
        let namespace = creation.namespace;
        if !creation.resource.namespaced() {
            return Ok(());
        }
        match self.current_phase(namespace).await {
            Some(Phase::Active) => Ok(()),
            Some(Phase::Terminating) => Err(terminating(creation)),
            None => Err(StatusError::not_found(&self.namespaces.group_resource(), namespace)),
        }
    }

    fn delete(&self, deletion: &Deletion<'_>) -> Result<(), StatusError> {
        let name = deletion.object.name();
        let immortal = SYSTEM_NAMESPACES.contains(&name) && name != DELETABLE_SYSTEM_NAMESPACE;
        if std::ptr::eq(deletion.resource, self.namespaces) && immortal {
            return Err(deletion.forbidden("this namespace may not be deleted"));
        }
        Ok(())
    }
}

fn terminating(creation: &Creation<'_>) -> StatusError {
    let namespace = creation.namespace;
    let reason = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    creation.forbidden(reason).with_cause(StatusCause {
        field: Some("metadata.namespace".to_owned()),
        message: Some(format!("namespace {namespace} is being terminated")),
        reason: Some("NamespaceTerminating".to_owned()),
    })
}
