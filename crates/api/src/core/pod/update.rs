//! What may change in a pod.
use apimachinery::field::ErrorList;
use k8s_openapi::api::core::v1::Pod;
pub(super) fn prepare_status(_new: &mut Pod, _old: &Pod) {}
pub(super) fn validate(_new: &Pod, _old: &Pod, _errors: &mut ErrorList) {}
pub(super) fn validate_status(_new: &Pod, _old: &Pod, _errors: &mut ErrorList) {}
