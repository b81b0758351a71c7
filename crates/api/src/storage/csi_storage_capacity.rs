//! CSIStorageCapacity: how much room there is for volumes of a class in a part of the cluster.
//!
//! Counterpart in Kubernetes: `pkg/registry/storage/csistoragecapacity`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels;
use jiff::Timestamp;
use k8s_openapi::api::storage::v1::CSIStorageCapacity;
use serde_json::Value;

use crate::columns::{self, column};
use crate::core::pod;
use crate::kinds::Column;
use crate::quantities;
use crate::report::{IMMUTABLE, Report, list};
use crate::strategy::KindStrategy;

impl KindStrategy for CSIStorageCapacity {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("StorageClassName", "string", "Class of the storage."),
        column("Capacity", "string", "How much room there is."),
    ];
    const ALLOW_UNCONDITIONAL_UPDATE: bool = false;

    fn validate(&self, errors: &mut ErrorList) {
        if let Some(topology) = &self.node_topology {
            let at = Path::new("nodeTopology");
            errors.extend(labels::validate_label_selector(topology, &at));
        }
        errors.dns_subdomain(&Path::new("storageClassName"), &self.storage_class_name);
        if let Some(capacity) = &self.capacity {
            quantities::validate_amount(capacity, &Path::new("capacity"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        if self.node_topology != old.node_topology {
            errors.invalid(&Path::new("nodeTopology"), &self.node_topology, IMMUTABLE);
        }
        let at = Path::new("storageClassName");
        errors.unchanged(&at, &self.storage_class_name, &old.storage_class_name);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let Some(topology) = &self.node_topology else { return Vec::new() };
        let expressions = list(&topology.match_expressions).iter().enumerate();
        let expressions = expressions.filter_map(|(i, expression)| {
            let message = pod::old_label(&expression.key)?;
            let at = format!("nodeTopology.matchExpressions[{i}].key");
            Some(format!("{at}: {} is {message}", expression.key))
        });
        let labels = topology.match_labels.iter().flatten().filter_map(|(label, _)| {
            let message = pod::old_label(label)?;
            Some(format!("nodeTopology.matchLabels.{label}: {message}"))
        });
        expressions.chain(labels).collect()
    }

    fn row(&self, _now: Timestamp) -> Vec<Value> {
        let capacity = self.capacity.as_ref().map_or("<unset>", |c| c.0.as_str());
        vec![columns::name(&self.metadata), self.storage_class_name.clone().into(), capacity.into()]
    }
}
