//! VolumeAttributesClass: attributes of volumes that can be changed later.
//!
//! Counterpart in Kubernetes: `pkg/registry/storage/volumeattributesclass`.

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use serde_json::Value;

use super::{validate_driver, validate_parameters};
use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::Report;
use crate::strategy::KindStrategy;

impl KindStrategy for VolumeAttributesClass {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("DriverName", "string", "Driver that knows the attributes."),
        columns::AGE,
    ];

    fn validate_create(&self, errors: &mut ErrorList) {
        validate(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        if self.driver_name != old.driver_name {
            errors.forbidden(&Path::new("driverName"), "updates to driverName are forbidden.");
        }
        if self.parameters != old.parameters {
            errors.forbidden(&Path::new("parameters"), "updates to parameters are forbidden.");
        }
        validate(self, errors);
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        vec![
            columns::name(&self.metadata),
            self.driver_name.clone().into(),
            columns::age(&self.metadata, now),
        ]
    }
}

fn validate(class: &VolumeAttributesClass, errors: &mut ErrorList) {
    validate_driver(&class.driver_name, &Path::new("driverName"), errors);
    let (parameters, at) = (class.parameters.clone().unwrap_or_default(), Path::new("parameters"));
    validate_parameters(&parameters, &at, errors);
    if parameters.is_empty() {
        errors.required(&at, "must contain at least one key/value pair");
    }
}
