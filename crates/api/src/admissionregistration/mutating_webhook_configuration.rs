//! MutatingWebhookConfiguration: servers that are asked to change an object before it is taken.
//!
//! Counterpart in Kubernetes: `pkg/registry/admissionregistration/mutatingwebhookconfiguration`.

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use serde_json::Value;

use super::hooks::{self, Hook, default_hook};
use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, list};
use crate::strategy::KindStrategy;

const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", NEVER];
const NEVER: &str = "Never";

impl KindStrategy for MutatingWebhookConfiguration {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] =
        &[columns::NAME, column("Webhooks", "integer", "Number of webhooks."), columns::AGE];
    const GENERATION: bool = true;
    const ALLOW_UNCONDITIONAL_UPDATE: bool = false;

    fn default_fields(&mut self) {
        for hook in self.webhooks.iter_mut().flatten() {
            default_hook!(hook);
            hook.reinvocation_policy.get_or_insert_with(|| NEVER.to_owned());
        }
    }

    fn validate(&self, errors: &mut ErrorList) {
        for (i, hook) in list(&self.webhooks).iter().enumerate() {
            let policy = hook.reinvocation_policy.as_deref();
            if let Some(policy) = policy.filter(|p| !REINVOCATION_POLICIES.contains(p)) {
                let at = Path::new("webhooks").index(i).child("reinvocationPolicy");
                errors.not_supported(&at, policy, REINVOCATION_POLICIES);
            }
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

fn of(configuration: &MutatingWebhookConfiguration) -> Vec<Hook<'_>> {
    list(&configuration.webhooks).iter().map(Hook::from).collect()
}
