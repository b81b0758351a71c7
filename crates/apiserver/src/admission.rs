//! What a cluster adds to and demands of objects besides their kind's own rules.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/admission` and `plugin/pkg/admission`. One file per plugin, one list of them.
//!
//! Invariants: plugins run in the order of [`Admission::new`], after defaulting and before validation; updates and deletions are
//! judged without waiting, since they run inside the conditional write.

mod certificate_requests;
mod default_toleration_seconds;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod service_account;

use std::sync::Arc;

use api::kinds::Resource;
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use async_trait::async_trait;

use crate::authn::UserInfo;
use crate::watch_cache::WatchCache;

/// An object about to be created.
pub struct Creation<'a> {
    /// Its row.
    pub resource: &'static Resource,
    /// Its namespace; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// Who creates it.
    pub user: &'a UserInfo,
    /// The object, defaulted.
    pub object: &'a mut dyn KubeObject,
}

impl Creation<'_> {
    /// The object as its type, if it is one.
    pub fn typed<K: 'static>(&mut self) -> Option<&mut K> {
        self.object.downcast_mut()
    }

    /// The refusal with Kubernetes' `is forbidden` in front.
    pub fn forbidden(&self, reason: impl std::fmt::Display) -> StatusError {
        let name = self.object.name();
        let prefix = self.object.meta().generate_name.as_deref().unwrap_or_default();
        let shown = if name.is_empty() { prefix } else { name };
        StatusError::forbidden(&self.resource.group_resource(), shown, reason)
    }
}

/// An object about to be replaced.
pub struct Replacement<'a> {
    /// Its row.
    pub resource: &'static Resource,
    /// The subresource that is written; empty for the object itself.
    pub subresource: &'a str,
    /// Who replaces it.
    pub user: &'a UserInfo,
    /// What it is to become, defaulted.
    pub new: &'a mut dyn KubeObject,
    /// What it is.
    pub old: &'a dyn KubeObject,
}

impl Replacement<'_> {
    /// New and old object as their type, if they are of it and the object itself is written.
    pub fn whole<K: 'static>(&mut self) -> Option<(&mut K, &K)> {
        let whole = self.subresource.is_empty();
        self.new.downcast_mut().zip(self.old.downcast_ref()).filter(|_| whole)
    }

    /// The refusal with Kubernetes' `is forbidden` in front.
    pub fn forbidden(&self, reason: impl std::fmt::Display) -> StatusError {
        StatusError::forbidden(&self.resource.group_resource(), self.old.name(), reason)
    }
}

/// An object about to be deleted.
pub struct Deletion<'a> {
    /// Its row.
    pub resource: &'static Resource,
    /// Who deletes it.
    pub user: &'a UserInfo,
    /// The object.
    pub object: &'a dyn KubeObject,
}

impl Deletion<'_> {
    /// The refusal with Kubernetes' `is forbidden` in front.
    pub fn forbidden(&self, reason: impl std::fmt::Display) -> StatusError {
        StatusError::forbidden(&self.resource.group_resource(), self.object.name(), reason)
    }
}

/// One thing a cluster adds or demands.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// Changes or refuses an object about to be created.
    ///
    /// # Errors
    /// The refusal.
    async fn create(&self, _creation: &mut Creation<'_>) -> Result<(), StatusError> {
        Ok(())
    }

    /// Changes or refuses an object about to replace another.
    ///
    /// # Errors
    /// The refusal.
    fn update(&self, _replacement: &mut Replacement<'_>) -> Result<(), StatusError> {
        Ok(())
    }

    /// Refuses the deletion of an object.
    ///
    /// # Errors
    /// The refusal.
    fn delete(&self, _deletion: &Deletion<'_>) -> Result<(), StatusError> {
        Ok(())
    }
}

/// The plugins, in order.
pub struct Admission {
    plugins: Vec<Box<dyn Plugin>>,
}

impl Admission {
    /// The built-in plugins, in Kubernetes' order.
    pub fn new(cache: Arc<WatchCache>) -> Self {
        let plugins: Vec<Box<dyn Plugin>> = vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle::new(cache.clone())),
            Box::new(service_account::ServiceAccount::new(cache.clone())),
            Box::new(node_restriction::NodeRestriction),
            Box::new(priority::Priority::new(cache)),
            Box::new(certificate_requests::CertificateRequests),
            Box::new(default_toleration_seconds::DefaultTolerationSeconds),
        ];
        Self { plugins }
    }

    /// Runs every plugin over an object about to be created.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn create(&self, creation: &mut Creation<'_>) -> Result<(), StatusError> {
        for plugin in &self.plugins {
            plugin.create(creation).await?;
        }
        Ok(())
    }

    /// Runs every plugin over an object about to replace another one.
    ///
    /// # Errors
    /// The first refusal.
    pub fn update(&self, replacement: &mut Replacement<'_>) -> Result<(), StatusError> {
        self.plugins.iter().try_for_each(|plugin| plugin.update(replacement))
    }

    /// Asks every plugin about a deletion.
    ///
    /// # Errors
    /// The first refusal.
    pub fn delete(&self, deletion: &Deletion<'_>) -> Result<(), StatusError> {
        self.plugins.iter().try_for_each(|plugin| plugin.delete(deletion))
    }
}
