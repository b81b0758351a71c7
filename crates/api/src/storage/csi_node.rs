//! CSINode: the drivers that a node has.
//!
//! Counterpart in Kubernetes: `pkg/registry/storage/csinode`.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver};
use serde_json::Value;

use crate::columns::{self, column};
use crate::core::pod;
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, list};
use crate::strategy::KindStrategy;

/// Characters of the name that a driver has for the node.
const MAX_NODE_ID: usize = 256;

impl KindStrategy for CSINode {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Drivers", "integer", "Number of drivers on the node."),
        columns::AGE,
    ];
    const ALLOW_UNCONDITIONAL_UPDATE: bool = false;

    fn validate(&self, errors: &mut ErrorList) {
        let at = Path::new("spec").child("drivers");
        let mut names = BTreeSet::new();
        for (i, driver) in self.spec.drivers.iter().enumerate() {
            let at = at.index(i);
            validate_driver(driver, &at, errors);
            if !names.insert(&driver.name) {
                errors.duplicate(&at.child("name"), &driver.name);
            }
            validate_keys(list(&driver.topology_keys), &at, errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let plain = |driver: &CSINodeDriver| CSINodeDriver { allocatable: None, ..driver.clone() };
        for before in &old.spec.drivers {
            for driver in self.spec.drivers.iter().filter(|d| d.name == before.name) {
                let at = Path::new("spec").child("drivers");
                errors.unchanged(&at, &plain(driver), &plain(before));
            }
        }
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        vec![
            columns::name(&self.metadata),
            self.spec.drivers.len().into(),
            columns::age(&self.metadata, now),
        ]
    }
}

fn validate_driver(driver: &CSINodeDriver, at: &Path, errors: &mut ErrorList) {
    pod::validate_csi_driver_name(&driver.name, &at.child("name"), errors);
    let at_id = at.child("nodeID");
    errors.non_empty(&at_id, &driver.node_id);
    if driver.node_id.len() > MAX_NODE_ID {
        let detail = format!("must be {MAX_NODE_ID} characters or less");
        errors.invalid(&at_id, &driver.node_id, detail);
    }
    if let Some(count) = driver.allocatable.as_ref().and_then(|a| a.count) {
        errors.non_negative(&at.child("allocatable").child("count"), count.into());
    }
}

/// Keys are told at their driver, as in Kubernetes.
fn validate_keys(keys: &[String], at: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for key in keys {
        errors.non_empty(at, key);
        if !seen.insert(key) {
            errors.duplicate(at, key);
        }
        errors.qualified_name(at, key);
    }
}
