//! StorageClass: how volumes of this class are made.
//!
//! Counterpart in Kubernetes: `pkg/registry/storage/storageclass` and `pkg/apis/storage/validation`.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::field::{ErrorList, Path};
use apimachinery::meta;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{TopologySelectorLabelRequirement, TopologySelectorTerm};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use super::{validate_driver, validate_parameters};
use crate::columns::{self, column};
use crate::core::pod;
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, list, text};
use crate::strategy::KindStrategy;

const DELETE: &str = "Delete";
const POLICIES: &[&str] = &[DELETE, "Retain"];
const IMMEDIATE: &str = "Immediate";
const MODES: &[&str] = &[IMMEDIATE, "WaitForFirstConsumer"];
const IS_DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

impl KindStrategy for StorageClass {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Provisioner", "string", "Driver that makes the volumes."),
        column("ReclaimPolicy", "string", "What becomes of a volume without its claim."),
        column("VolumeBindingMode", "string", "When a claim gets its volume."),
        column("AllowVolumeExpansion", "string", "Whether claims may grow."),
        columns::AGE,
    ];

    fn default_fields(&mut self) {
        self.reclaim_policy.get_or_insert_with(|| DELETE.to_owned());
        self.volume_binding_mode.get_or_insert_with(|| IMMEDIATE.to_owned());
    }

    fn validate(&self, errors: &mut ErrorList) {
        validate_driver(&self.provisioner, &Path::new("provisioner"), errors);
        let parameters = self.parameters.clone().unwrap_or_default();
        validate_parameters(&parameters, &Path::new("parameters"), errors);
        let policy = text(&self.reclaim_policy);
        if !policy.is_empty() && !POLICIES.contains(&policy) {
            errors.not_supported(&Path::new("reclaimPolicy"), policy, POLICIES);
        }
        let mode = text(&self.volume_binding_mode);
        if !MODES.contains(&mode) {
            errors.not_supported(&Path::new("volumeBindingMode"), mode, MODES);
        }
        validate_topologies(list(&self.allowed_topologies), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        errors.unchanged(&Path::new("parameters"), &self.parameters, &old.parameters);
        errors.unchanged(&Path::new("provisioner"), &self.provisioner, &old.provisioner);
        errors.unchanged(&Path::new("reclaimPolicy"), &self.reclaim_policy, &old.reclaim_policy);
        let at = Path::new("volumeBindingMode");
        errors.unchanged(&at, &self.volume_binding_mode, &old.volume_binding_mode);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let terms = list(&self.allowed_topologies).iter().enumerate();
        let told = terms.flat_map(|(i, term)| {
            list(&term.match_label_expressions).iter().enumerate().filter_map(move |(j, label)| {
                let message = pod::old_label(&label.key)?;
                Some(format!("allowedTopologies[{i}].matchLabelExpressions[{j}].key: {message}"))
            })
        });
        told.collect()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let annotations = self.metadata.annotations.as_ref();
        let marked =
            |key: &&str| annotations.and_then(|a| a.get(*key)).is_some_and(|v| v == "true");
        let mark = if IS_DEFAULT.iter().any(marked) { " (default)" } else { "" };
        vec![
            format!("{}{mark}", text(&self.metadata.name)).into(),
            self.provisioner.clone().into(),
            text(&self.reclaim_policy).into(),
            text(&self.volume_binding_mode).into(),
            self.allow_volume_expansion.unwrap_or_default().into(),
            columns::age(&self.metadata, now),
        ]
    }
}

fn validate_topologies(terms: &[TopologySelectorTerm], errors: &mut ErrorList) {
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        let at = Path::new("allowedTopologies").index(i).child("matchLabelExpressions");
        let mut labels = BTreeMap::new();
        for (j, label) in list(&term.match_label_expressions).iter().enumerate() {
            let at = at.index(j);
            let values = validate_label(label, &at, errors);
            if labels.insert(label.key.as_str(), values).is_some() {
                errors.duplicate(&at.child("key"), &label.key);
            }
        }
        // Kubernetes compares with an empty term for each term there is, too.
        let same = seen.iter().filter(|other| **other == labels).count();
        let empty = if labels.is_empty() { terms.len() } else { 0 };
        for _ in 0..same + empty {
            errors.duplicate(&at, "");
        }
        seen.push(labels);
    }
}

fn validate_label<'a>(
    label: &'a TopologySelectorLabelRequirement,
    at: &Path,
    errors: &mut ErrorList,
) -> BTreeSet<&'a str> {
    let at_values = at.child("values");
    if label.values.is_empty() {
        errors.required(&at_values, "");
    }
    let mut values = BTreeSet::new();
    for (i, value) in label.values.iter().enumerate() {
        if !values.insert(value.as_str()) {
            errors.duplicate(&at_values.index(i), value);
        }
    }
    errors.extend(meta::validate_label_name(&label.key, &at.child("key")));
    values
}
