//! Questions about namespaces that several controllers ask.
//!
//! Invariant: pure.

use client::ObjectKey;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Whether objects can be made in the namespace.
pub fn is_active(namespace: &Namespace) -> bool {
    namespace.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Active")
}

/// The key of the namespace an object is in.
pub fn key_of_namespace(meta: &ObjectMeta) -> Option<ObjectKey> {
    meta.namespace.clone().map(ObjectKey::cluster)
}

#[cfg(test)]
pub mod testing {
    //! Namespaces for tests.

    use client::informer::{Cache, Sink};
    use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};

    /// A cache of namespaces with their phases.
    pub fn namespaces(all: &[(&str, &str)]) -> Cache<Namespace> {
        let namespace = |(name, phase): &(&str, &str)| {
            let mut metadata = crate::testing::meta(name);
            metadata.namespace = None;
            let status = NamespaceStatus { phase: Some((*phase).to_owned()), conditions: None };
            Namespace { metadata, spec: None, status: Some(status) }
        };
        let cache = Cache::default();
        cache.replace(all.iter().map(namespace).collect(), 1);
        cache
    }
}
