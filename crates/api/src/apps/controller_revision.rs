//! ControllerRevision: a state of a workload that a controller keeps to come back to.
//!
//! Counterpart in Kubernetes: `pkg/registry/apps/controllerrevision`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::meta;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;

use crate::columns::{self, column};
use crate::kinds::Column;
use crate::report::Report;
use crate::strategy::KindStrategy;

impl KindStrategy for ControllerRevision {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Controller", "string", "Controller of the object."),
        column("Revision", "string", "Number of the state."),
        columns::AGE,
    ];

    fn validate(&self, errors: &mut ErrorList) {
        errors.non_negative(&Path::new("revision"), self.revision);
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        let at = Path::new("data");
        match self.data.as_ref().map(|data| &data.0) {
            None | Some(Value::Null) => errors.required(&at, "data is mandatory"),
            Some(Value::Object(_)) => {}
            Some(_) => errors.required(&at, "data must be a valid JSON object"),
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        errors.unchanged(&Path::new("data"), &self.data, &old.data);
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let controller = meta::controller_of(&self.metadata).map(qualified);
        vec![
            columns::name(&self.metadata),
            columns::or_none(controller.as_deref()),
            self.revision.into(),
            columns::age(&self.metadata, now),
        ]
    }
}

/// `statefulset.apps/web`.
fn qualified(owner: &OwnerReference) -> String {
    let group = owner.api_version.rsplit_once('/').map(|(group, _)| format!(".{group}"));
    let kind = format!("{}{}", owner.kind, group.unwrap_or_default());
    format!("{}/{}", kind.to_lowercase(), owner.name)
}
