//! CSIDriver: what a driver of volumes can do and needs.
//!
//! Counterpart in Kubernetes: `pkg/registry/storage/csidriver`.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec, TokenRequest};
use serde_json::Value;

use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, list};
use crate::strategy::KindStrategy;

const FS_GROUP_POLICIES: &[&str] = &["File", "None", READ_WRITE_ONCE];
const READ_WRITE_ONCE: &str = "ReadWriteOnceWithFSType";
const PERSISTENT: &str = "Persistent";
const MODES: &[&str] = &[PERSISTENT, "Ephemeral"];
const MIN_TOKEN_SECONDS: i64 = 10 * 60;
const MAX_TOKEN_SECONDS: i64 = 1 << 32;
const MIN_UPDATE_SECONDS: i64 = 10;
const RECOMMEND_SECRETS: &str = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";

impl KindStrategy for CSIDriver {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column(
            "AttachRequired",
            "boolean",
            "Whether volumes are attached before they are mounted.",
        ),
        column("PodInfoOnMount", "boolean", "Whether the driver is told about the pod."),
        column("StorageCapacity", "boolean", "Whether the scheduler asks how much room there is."),
        column("TokenRequests", "string", "Audiences of the tokens the driver gets."),
        column("RequiresRepublish", "boolean", "Whether mounts are made again now and then."),
        column("Modes", "string", "Kinds of volumes the driver knows."),
        columns::AGE,
    ];
    const ALLOW_UNCONDITIONAL_UPDATE: bool = false;

    fn default_fields(&mut self) {
        let spec = &mut self.spec;
        spec.attach_required.get_or_insert(true);
        spec.pod_info_on_mount.get_or_insert(false);
        spec.storage_capacity.get_or_insert(false);
        spec.fs_group_policy.get_or_insert_with(|| READ_WRITE_ONCE.to_owned());
        if list(&spec.volume_lifecycle_modes).is_empty() {
            spec.volume_lifecycle_modes = Some(vec![PERSISTENT.to_owned()]);
        }
        spec.requires_republish.get_or_insert(false);
        spec.se_linux_mount.get_or_insert(false);
    }

    /// A switch that is off by default guards this field.
    fn on_create(&mut self) {
        self.spec.prevent_pod_scheduling_if_missing = None;
    }

    /// A generation is counted only from the first change on.
    fn on_update(&mut self, old: &Self) {
        if old.spec.prevent_pod_scheduling_if_missing.is_none() {
            self.spec.prevent_pod_scheduling_if_missing = None;
        }
        if self.spec != old.spec {
            self.metadata.generation = Some(old.metadata.generation.unwrap_or_default() + 1);
        }
    }

    fn validate(&self, errors: &mut ErrorList) {
        validate_spec(&self.spec, &Path::new("spec"), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let at = Path::new("spec");
        let (new, old) = (&self.spec, &old.spec);
        errors.unchanged(&at.child("attachedRequired"), &new.attach_required, &old.attach_required);
        errors.unchanged(
            &at.child("volumeLifecycleModes"),
            &new.volume_lifecycle_modes,
            &old.volume_lifecycle_modes,
        );
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let requests = &self.spec.token_requests;
        let changed = old.is_none_or(|old| old.spec.token_requests != *requests);
        let told = changed
            && !list(requests).is_empty()
            && self.spec.service_account_token_in_secrets.is_none();
        told.then(|| RECOMMEND_SECRETS.to_owned()).into_iter().collect()
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let spec = &self.spec;
        let requests = spec.token_requests.as_ref().map(|requests| {
            requests.iter().map(|r| r.audience.as_str()).collect::<Vec<_>>().join(",")
        });
        let modes = list(&spec.volume_lifecycle_modes).join(",");
        vec![
            columns::name(&self.metadata),
            spec.attach_required.unwrap_or(true).into(),
            spec.pod_info_on_mount.unwrap_or_default().into(),
            spec.storage_capacity.unwrap_or_default().into(),
            requests.unwrap_or_else(|| "<unset>".to_owned()).into(),
            spec.requires_republish.unwrap_or_default().into(),
            columns::or_none(Some(&modes)),
            columns::age(&self.metadata, now),
        ]
    }
}

fn validate_spec(spec: &CSIDriverSpec, at: &Path, errors: &mut ErrorList) {
    if let Some(policy) = spec.fs_group_policy.as_deref().filter(|p| !FS_GROUP_POLICIES.contains(p))
    {
        errors.not_supported(&at.child("fsGroupPolicy"), policy, FS_GROUP_POLICIES);
    }
    validate_tokens(list(&spec.token_requests), &at.child("tokenRequests"), errors);
    for mode in list(&spec.volume_lifecycle_modes).iter().filter(|m| !MODES.contains(&m.as_str())) {
        errors.not_supported(&at.child("volumeLifecycleModes"), mode, MODES);
    }
    let period = spec.node_allocatable_update_period_seconds;
    if let Some(period) = period.filter(|seconds| *seconds < MIN_UPDATE_SECONDS) {
        let at = at.child("nodeAllocatableUpdatePeriodSeconds");
        errors.invalid(&at, period, "must be greater than or equal to 10 seconds");
    }
    if let Some(set) = spec.service_account_token_in_secrets
        && list(&spec.token_requests).is_empty()
    {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.invalid(&at.child("serviceAccountTokenInSecrets"), set, detail);
    }
}

fn validate_tokens(requests: &[TokenRequest], at: &Path, errors: &mut ErrorList) {
    let mut audiences = BTreeSet::new();
    for (i, request) in requests.iter().enumerate() {
        let at = at.index(i);
        if !audiences.insert(&request.audience) {
            errors.duplicate(&at.child("audience"), &request.audience);
            continue;
        }
        let Some(seconds) = request.expiration_seconds else { continue };
        let at = at.child("expirationSeconds");
        if seconds < MIN_TOKEN_SECONDS {
            errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds > MAX_TOKEN_SECONDS {
            errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
        }
    }
}
