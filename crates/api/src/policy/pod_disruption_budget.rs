//! PodDisruptionBudget: how many of some pods must stay when others take them away.
//!
//! Counterpart in Kubernetes: `pkg/registry/policy/poddisruptionbudget`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::meta::{self, NameRule};
use apimachinery::{int_or_string, labels};
use jiff::Timestamp;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::columns::{self, column};
use crate::conditions;
use crate::kinds::Column;
use crate::report::{Report, list, omit_empty};
use crate::shares;
use crate::strategy::{KindStrategy, spec_and_status};

const EVICTION_POLICIES: &[&str] = &["AlwaysAllow", "IfHealthyBudget"];

impl KindStrategy for PodDisruptionBudget {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Min Available", "string", "Pods that must be available."),
        column("Max Unavailable", "string", "Pods that may be unavailable."),
        column("Allowed Disruptions", "integer", "Pods that may be taken away now."),
        columns::AGE,
    ];
    const GENERATION: bool = true;
    const ALLOW_UNCONDITIONAL_UPDATE: bool = false;
    const NAME: NameRule = meta::name_is_path_segment;

    spec_and_status!();

    fn default_fields(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if let Some(selector) = &mut spec.selector {
            omit_empty!(selector; match_labels, match_expressions);
        }
        let status = self.status.get_or_insert_default();
        omit_empty!(status; conditions, disrupted_pods);
        count_from_zero(status);
    }

    fn on_create(&mut self) {
        count_from_zero(self.status.get_or_insert_default());
    }

    fn validate(&self, errors: &mut ErrorList) {
        let Some(spec) = &self.spec else { return };
        let at = Path::new("spec");
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            errors.invalid(&at, spec, "minAvailable and maxUnavailable cannot be both set");
        }
        for (name, share) in
            [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)]
        {
            if let Some(share) = share {
                shares::validate(share, &at.child(name), errors);
                shares::validate_not_above_all(share, &at.child(name), errors);
            }
        }
        if let Some(selector) = &spec.selector {
            errors.extend(labels::validate_label_selector(selector, &at.child("selector")));
        }
        if let Some(policy) = &spec.unhealthy_pod_eviction_policy
            && !EVICTION_POLICIES.contains(&policy.as_str())
        {
            let at = at.child("unhealthyPodEvictionPolicy");
            errors.not_supported(&at, policy, EVICTION_POLICIES);
        }
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut ErrorList) {
        let Some(status) = &self.status else { return };
        let at = Path::new("status");
        conditions::validate(list(&status.conditions), &at.child("conditions"), errors);
        for (name, count) in [
            ("disruptionsAllowed", status.disruptions_allowed),
            ("currentHealthy", status.current_healthy),
            ("desiredHealthy", status.desired_healthy),
            ("expectedPods", status.expected_pods),
        ] {
            errors.non_negative(&at.child(name), count.unwrap_or(0).into());
        }
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let spec = self.spec.clone().unwrap_or_default();
        let share = |share: Option<IntOrString>| {
            share.map_or_else(|| "N/A".to_owned(), |share| int_or_string::to_string(&share))
        };
        let allowed = self.status.as_ref().and_then(|s| s.disruptions_allowed).unwrap_or(0);
        vec![
            columns::name(&self.metadata),
            share(spec.min_available).into(),
            share(spec.max_unavailable).into(),
            allowed.into(),
            columns::age(&self.metadata, now),
        ]
    }
}

/// Numbers that are written although they are zero.
fn count_from_zero(status: &mut PodDisruptionBudgetStatus) {
    status.disruptions_allowed.get_or_insert(0);
    status.current_healthy.get_or_insert(0);
    status.desired_healthy.get_or_insert(0);
    status.expected_pods.get_or_insert(0);
}
