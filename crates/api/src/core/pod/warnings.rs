//! Warnings about pods.
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
pub(super) fn pod_warnings(_pod: &Pod) -> Vec<String> { Vec::new() }
pub(crate) fn template_warnings(_template: &PodTemplateSpec) -> Vec<String> { Vec::new() }
