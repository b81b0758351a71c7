//! The `scale` subresource: the few numbers of a workload that autoscalers and `kubectl scale` need.
//!
//! Counterpart in Kubernetes: `ScaleREST` of `pkg/registry/apps/{deployment,replicaset}/storage`.

pub use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v1::{ScaleSpec, ScaleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use apimachinery::field::{ErrorList, Path};

use crate::report::Report;

/// The Scale of a workload: its identity, the wished and the observed number of replicas, and its selector as text.
pub(crate) fn scale(
    meta: &ObjectMeta,
    wished: Option<i32>,
    observed: i32,
    selector: &LabelSelector,
) -> Scale {
    Scale {
        metadata: ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            creation_timestamp: meta.creation_timestamp.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(ScaleSpec { replicas: wished.filter(|n| *n != 0) }),
        status: Some(ScaleStatus {
            replicas: observed,
            selector: Some(crate::columns::selector(selector)).filter(|s| !s.is_empty()),
        }),
    }
}

/// The number of replicas a Scale asks for; absent means zero.
pub fn wished_replicas(scale: &Scale) -> i32 {
    scale.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0)
}

/// Every reason why the Scale must not be applied.
pub fn validate(scale: &Scale) -> ErrorList {
    let replicas = wished_replicas(scale);
    let mut errors = ErrorList::new();
    errors.non_negative(&Path::new("spec").child("replicas"), replicas.into());
    errors
}
