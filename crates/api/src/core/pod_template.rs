//! PodTemplate: a pattern of pods, kept for whoever makes pods of it.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/podtemplate`.

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplate;
use serde_json::Value;

use super::pod;
use crate::columns::{self, column};
use crate::kinds::Column;
use crate::strategy::KindStrategy;

impl KindStrategy for PodTemplate {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Containers", "string", "Names of the containers."),
        column("Images", "string", "Images of the containers."),
        column("Pod Labels", "string", "Labels of the pods."),
    ];
    const GENERATION: bool = true;

    fn default_fields(&mut self) {
        pod::default_template(self.template.get_or_insert_default());
    }

    fn validate(&self, errors: &mut ErrorList) {
        let empty = Default::default();
        let template = self.template.as_ref().unwrap_or(&empty);
        pod::validate_template(template, &Path::new("template"), errors);
    }

    fn same_spec(&self, other: &Self) -> bool {
        self.template == other.template
    }

    fn row(&self, _now: Timestamp) -> Vec<Value> {
        let template = self.template.clone().unwrap_or_default();
        let labels = template.metadata.and_then(|m| m.labels).unwrap_or_default();
        let pod = template.spec.unwrap_or_default();
        let [containers, images] = columns::containers(&pod.containers);
        let name = columns::name(&self.metadata);
        vec![name, containers, images, columns::labels(&labels).into()]
    }
}
