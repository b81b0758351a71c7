//! ClusterRoleBinding: gives a role to users, groups and accounts in the whole cluster.
//!
//! Counterpart in Kubernetes: `pkg/registry/rbac/clusterrolebinding`.

use apimachinery::field::ErrorList;
use apimachinery::meta::{self, NameRule};
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use serde_json::Value;

use super::subjects;
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::strategy::KindStrategy;

impl KindStrategy for ClusterRoleBinding {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = subjects::COLUMNS;
    const ALLOW_CREATE_ON_UPDATE: bool = true;
    const NAME: NameRule = meta::name_is_path_segment;

    fn default_fields(&mut self) {
        subjects::default_binding(&mut self.role_ref, &mut self.subjects);
    }

    fn validate(&self, errors: &mut ErrorList) {
        subjects::validate_role(&self.role_ref, &["ClusterRole"], errors);
        subjects::validate_subjects(&self.subjects, Scope::Cluster, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        subjects::validate_role_update(&self.role_ref, &old.role_ref, errors);
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        subjects::row(&self.metadata, &self.role_ref, &self.subjects, now)
    }
}
