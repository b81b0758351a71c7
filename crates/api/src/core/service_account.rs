//! ServiceAccount: the name under which a program in a pod speaks to the API.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/serviceaccount`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, ServiceAccount};
use serde_json::Value;

use crate::columns;
use crate::report::omit_empty;
use crate::strategy::KindStrategy;

const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

impl KindStrategy for ServiceAccount {
    const RETURNS_DELETED_OBJECT: bool = true;
    fn default_fields(&mut self) {
        omit_empty!(self; secrets, image_pull_secrets);
    }

    fn on_create(&mut self) {
        keep_names_only(self);
    }

    fn on_update(&mut self, _old: &Self) {
        keep_names_only(self);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let annotated = |sa: &Self| {
            sa.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(ENFORCE_MOUNTABLE))
        };
        if !annotated(self) || old.is_some_and(annotated) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{ENFORCE_MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        columns::name_and_age(&self.metadata, now)
    }
}

/// A reference to a secret of the account is its name alone.
fn keep_names_only(account: &mut ServiceAccount) {
    for secret in account.secrets.iter_mut().flatten() {
        *secret = ObjectReference { name: secret.name.take(), ..ObjectReference::default() };
    }
}
