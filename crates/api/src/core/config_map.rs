//! ConfigMap: configuration as text and bytes under keys.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/configmap`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use crate::columns::{self, column};
use crate::kinds::Column;
use crate::report::{Report, SEALED, omit_empty};
use crate::strategy::KindStrategy;

/// Bytes that the values of a ConfigMap or of a Secret may have together; keeps objects within what a store entry holds.
pub(crate) const MAX_DATA_BYTES: usize = 1 << 20;

impl KindStrategy for ConfigMap {
    const COLUMNS: &'static [Column] =
        &[columns::NAME, column("Data", "string", "Number of keys."), columns::AGE];

    fn default_fields(&mut self) {
        omit_empty!(self; data, binary_data);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let mut size = 0;
        for (key, value) in self.data.iter().flatten() {
            let at = Path::new("data").key(key);
            errors.invalid_all(&at, key, names::is_config_map_key(key));
            if self.binary_data.as_ref().is_some_and(|b| b.contains_key(key)) {
                errors.invalid(&at, key, "duplicate of key present in binaryData");
            }
            size += value.len();
        }
        for (key, value) in self.binary_data.iter().flatten() {
            errors.invalid_all(
                &Path::new("binaryData").key(key),
                key,
                names::is_config_map_key(key),
            );
            size += value.0.len();
        }
        if size > MAX_DATA_BYTES {
            errors.too_long(&Path::new(""), MAX_DATA_BYTES);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        if old.immutable != Some(true) {
            return;
        }
        if self.immutable != Some(true) {
            errors.forbidden(&Path::new("immutable"), SEALED);
        }
        if self.data != old.data {
            errors.forbidden(&Path::new("data"), SEALED);
        }
        if self.binary_data != old.binary_data {
            errors.forbidden(&Path::new("binaryData"), SEALED);
        }
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let keys = self.data.as_ref().map_or(0, |d| d.len())
            + self.binary_data.as_ref().map_or(0, |d| d.len());
        vec![columns::name(&self.metadata), keys.into(), columns::age(&self.metadata, now)]
    }
}
