//! ValidatingWebhookConfiguration: servers that are asked whether an object may be taken.
//!
//! Counterpart in Kubernetes: `pkg/registry/admissionregistration/validatingwebhookconfiguration`.

use apimachinery::field::ErrorList;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use serde_json::Value;

use super::hooks::{self, Hook, default_hook};
use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::list;
use crate::strategy::KindStrategy;

impl KindStrategy for ValidatingWebhookConfiguration {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] =
        &[columns::NAME, column("Webhooks", "integer", "Number of webhooks."), columns::AGE];
    const GENERATION: bool = true;
    const ALLOW_UNCONDITIONAL_UPDATE: bool = false;

    fn default_fields(&mut self) {
        for hook in self.webhooks.iter_mut().flatten() {
            default_hook!(hook);
        }
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        hooks::validate(&of(self), &[], errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        hooks::validate(&of(self), &of(old), errors);
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        vec![
            columns::name(&self.metadata),
            list(&self.webhooks).len().into(),
            columns::age(&self.metadata, now),
        ]
    }

    fn same_spec(&self, other: &Self) -> bool {
        self.webhooks == other.webhooks
    }
}

fn of(configuration: &ValidatingWebhookConfiguration) -> Vec<Hook<'_>> {
    list(&configuration.webhooks).iter().map(Hook::from).collect()
}
