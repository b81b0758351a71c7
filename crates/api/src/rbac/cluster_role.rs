//! ClusterRole: what may be done in the whole cluster, or in any namespace it is bound in.
//!
//! Counterpart in Kubernetes: `pkg/registry/rbac/clusterrole`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels::{self, Selector};
use apimachinery::meta::{self, NameRule};
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::Value;

use super::rules;
use crate::kinds::{Column, Scope};
use crate::report::{Report, list};
use crate::strategy::KindStrategy;
use crate::{columns, fields};

impl KindStrategy for ClusterRole {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = columns::NAME_AND_CREATED;
    const ALLOW_CREATE_ON_UPDATE: bool = true;
    const NAME: NameRule = meta::name_is_path_segment;

    fn validate(&self, errors: &mut ErrorList) {
        rules::validate(list(&self.rules), Scope::Cluster, errors);
        let Some(aggregation) = &self.aggregation_rule else { return };
        let at = Path::new("aggregationRule").child("clusterRoleSelectors");
        let selectors = list(&aggregation.cluster_role_selectors);
        if selectors.is_empty() {
            let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.required(&at, detail);
        }
        for (i, selector) in selectors.iter().enumerate() {
            errors.extend(labels::validate_label_selector(selector, &at.index(i)));
            if Selector::from_label_selector(Some(selector)).is_err() {
                errors.invalid(&at.index(i), Value::Null, "invalid label selector.");
            }
        }
    }

    fn row(&self, _now: Timestamp) -> Vec<Value> {
        columns::name_and_created(&self.metadata)
    }
}
