//! The rules of a pod.
use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
pub(super) const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
pub(super) struct Context<'a> { pub(super) meta: Option<&'a ObjectMeta>, pub(super) is_pod: bool, pub(super) grace: Option<i64>, pub(super) os: Option<&'a str> }
pub(super) fn validate(_pod: &Pod, _errors: &mut ErrorList) {}
pub(super) fn validate_create(_pod: &Pod, _errors: &mut ErrorList) {}
pub(crate) fn validate_template(_template: &PodTemplateSpec, _at: &Path, _errors: &mut ErrorList) {}
