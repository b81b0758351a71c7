//! Field selectors that every kind has.
//!
//! Counterpart in Kubernetes: `generic.ObjectMetaFieldsSet`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::kinds::Scope;

/// Selectable fields of a namespaced kind without fields of its own.
pub const METADATA: &[&str] = &["metadata.name", "metadata.namespace"];

/// Selectable fields of a cluster-wide kind without fields of its own.
pub const CLUSTER_METADATA: &[&str] = &["metadata.name"];

/// Values of [`METADATA`] or [`CLUSTER_METADATA`].
pub fn metadata(meta: &ObjectMeta, scope: Scope) -> Vec<(&'static str, String)> {
    let mut fields = vec![("metadata.name", meta.name.clone().unwrap_or_default())];
    if scope == Scope::Namespaced {
        fields.push(("metadata.namespace", meta.namespace.clone().unwrap_or_default()));
    }
    fields
}
