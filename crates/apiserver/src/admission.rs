//! What a cluster adds to and demands of objects besides their kind's own rules.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/admission` and `plugin/pkg/admission`. One file per plugin, one list of them.
//!
//! Invariants: plugins run in the order of [`Admission::new`], after defaulting and before validation; updates and deletions are
//! judged without waiting, since they run inside the conditional write.

mod default_toleration_seconds;
mod namespace_lifecycle;
mod priority;
mod service_account;

use std::sync::Arc;

use api::kinds::Resource;
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use async_trait::async_trait;

use crate::watch_cache::WatchCache;

/// An object about to be created.
pub struct Creation<'a> {
    /// Its row.
    pub resource: &'static Resource,
    /// Its namespace; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// The object, defaulted.
    pub object: &'a mut dyn KubeObject,
}

impl Creation<'_> {
    /// The object as its type, if it is one.
    pub fn typed<K: 'static>(&mut self) -> Option<&mut K> {
        self.object.as_any_mut().downcast_mut()
    }

    /// The refusal with Kubernetes' `is forbidden` in front.
    pub fn forbidden(&self, reason: impl std::fmt::Display) -> StatusError {
        let meta = self.object.meta();
        let name = meta.name.as_deref().filter(|name| !name.is_empty());
        let shown = name.or(meta.generate_name.as_deref()).unwrap_or_default();
        StatusError::forbidden(&self.resource.group_resource(), shown, reason)
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

    /// Changes or refuses an object about to replace `old`.
    ///
    /// # Errors
    /// The refusal.
    fn update(&self, _new: &mut dyn KubeObject, _old: &dyn KubeObject) -> Result<(), StatusError> {
        Ok(())
    }

    /// Refuses the deletion of an object.
    ///
    /// # Errors
    /// The refusal.
    fn delete(&self, _resource: &Resource, _name: &str) -> Result<(), StatusError> {
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
            Box::new(service_account::ServiceAccount::new(cache)),
            Box::new(default_toleration_seconds::DefaultTolerationSeconds),
            Box::new(priority::Priority),
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
    pub fn update(
        &self,
        new: &mut dyn KubeObject,
        old: &dyn KubeObject,
    ) -> Result<(), StatusError> {
        self.plugins.iter().try_for_each(|plugin| plugin.update(new, old))
    }

    /// Asks every plugin about a deletion.
    ///
    /// # Errors
    /// The first refusal.
    pub fn delete(&self, resource: &Resource, name: &str) -> Result<(), StatusError> {
        self.plugins.iter().try_for_each(|plugin| plugin.delete(resource, name))
    }
}
