//! Lease: who holds something, and until when.
//!
//! Counterpart in Kubernetes: `pkg/registry/coordination/lease`.

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

use crate::columns::{self, column};
use crate::kinds::Column;
use crate::report::{Report, text};
use crate::strategy::KindStrategy;

const STRATEGIES: &[&str] = &["OldestEmulationVersion"];

impl KindStrategy for Lease {
    const COLUMNS: &'static [Column] =
        &[columns::NAME, column("Holder", "string", "Identity of the holder."), columns::AGE];
    const ALLOW_CREATE_ON_UPDATE: bool = true;
    const ALLOW_UNCONDITIONAL_UPDATE: bool = false;

    fn default_fields(&mut self) {
        self.spec.get_or_insert_default();
    }

    fn validate(&self, errors: &mut ErrorList) {
        let Some(spec) = &self.spec else { return };
        let at = Path::new("spec");
        if let Some(seconds) = spec.lease_duration_seconds.filter(|s| *s <= 0) {
            errors.invalid(&at.child("leaseDurationSeconds"), seconds, "must be greater than 0");
        }
        if let Some(count) = spec.lease_transitions {
            errors.non_negative(&at.child("leaseTransitions"), count.into());
        }
        if let Some(strategy) = &spec.strategy {
            validate_strategy(strategy, &at.child("strategy"), errors);
        }
        if !text(&spec.preferred_holder).is_empty() && text(&spec.strategy).is_empty() {
            errors.forbidden(
                &at.child("preferredHolder"),
                "may only be specified if `strategy` is defined",
            );
        }
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let holder = self.spec.as_ref().map(|s| text(&s.holder_identity)).unwrap_or_default();
        vec![columns::name(&self.metadata), holder.into(), columns::age(&self.metadata, now)]
    }
}

/// Kubernetes' own strategy by its bare name, or a qualified name for a strategy of somebody else. The path says `strategy`
/// twice, as it does there.
pub(super) fn validate_strategy(strategy: &str, at: &Path, errors: &mut ErrorList) {
    let at = at.child("strategy");
    if strategy.contains('/') {
        errors.qualified_name(&at, strategy);
    } else if !STRATEGIES.contains(&strategy) {
        errors.not_supported(&at, strategy, STRATEGIES);
    }
}
