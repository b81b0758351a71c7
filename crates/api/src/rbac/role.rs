//! Role: what may be done in one namespace.
//!
//! Counterpart in Kubernetes: `pkg/registry/rbac/role`.

use apimachinery::field::ErrorList;
use apimachinery::meta::{self, NameRule};
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::Role;
use serde_json::Value;

use super::rules;
use crate::columns;
use crate::kinds::{Column, Scope};
use crate::report::list;
use crate::strategy::KindStrategy;

impl KindStrategy for Role {
    const COLUMNS: &'static [Column] = columns::NAME_AND_CREATED;
    const ALLOW_CREATE_ON_UPDATE: bool = true;
    const NAME: NameRule = meta::name_is_path_segment;

    fn validate(&self, errors: &mut ErrorList) {
        rules::validate(list(&self.rules), Scope::Namespaced, errors);
    }

    fn row(&self, _now: Timestamp) -> Vec<Value> {
        columns::name_and_created(&self.metadata)
    }
}
