//! Namespace: a room for names. It goes in two steps: Terminating first, and away when `spec.finalizers` is empty.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/namespace`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::meta::{self, NameRule};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use serde_json::Value;

use crate::columns::{self, column};
use crate::kinds::{Column, Scope};
use crate::report::{Report, list};
use crate::strategy::{KindStrategy, spec_and_status};

/// The finalizer by which the namespace controller holds a namespace until it is empty.
pub const FINALIZER: &str = "kubernetes";
/// The label that always carries the namespace's name, so that selectors can name it.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";
const ACTIVE: &str = "Active";
const TERMINATING: &str = "Terminating";
/// Finalizers without a domain that Kubernetes knows.
const STANDARD_FINALIZERS: &[&str] = &[FINALIZER, "orphan", "foregroundDeletion"];

impl KindStrategy for Namespace {
    const RETURNS_DELETED_OBJECT: bool = true;
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = &["metadata.name", "status.phase", "name"];
    const COLUMNS: &'static [Column] =
        &[columns::NAME, column("Status", "string", "Phase of the namespace."), columns::AGE];
    const NAME: NameRule = meta::name_is_dns_label;

    spec_and_status!();

    fn default_fields(&mut self) {
        label_with_name(self);
        self.spec.get_or_insert_default();
        let status = self.status.get_or_insert_default();
        if status.phase.as_deref().is_none_or(str::is_empty) {
            status.phase = Some(ACTIVE.to_owned());
        }
    }

    fn on_create(&mut self) {
        label_with_name(self);
        self.status = Some(NamespaceStatus { phase: Some(ACTIVE.to_owned()), conditions: None });
        let finalizers = self.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
    }

    fn on_update(&mut self, old: &Self) {
        self.take_spec(old);
    }

    fn on_finalize(&mut self, old: &Self) {
        self.take_status(old);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let at = Path::new("spec").child("finalizers");
        for name in finalizers(self) {
            validate_finalizer(name, &at, errors);
        }
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut ErrorList) {
        let (wanted, detail) = match self.metadata.deletion_timestamp {
            None => (ACTIVE, "may only be 'Active' if `deletionTimestamp` is empty"),
            Some(_) => {
                (TERMINATING, "may only be 'Terminating' if `deletionTimestamp` is not empty")
            }
        };
        if phase(self) != wanted {
            errors.invalid(&Path::new("status").child("Phase"), phase(self), detail);
        }
    }

    fn validate_finalize_update(&self, _old: &Self, errors: &mut ErrorList) {
        let at = Path::new("spec").child("finalizers");
        for (i, name) in finalizers(self).iter().enumerate() {
            validate_finalizer(name, &at.index(i), errors);
        }
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let name = self.metadata.name.clone().unwrap_or_default();
        vec![
            ("metadata.name", name.clone()),
            ("status.phase", phase(self).to_owned()),
            ("name", name),
        ]
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        vec![columns::name(&self.metadata), phase(self).into(), columns::age(&self.metadata, now)]
    }

    fn on_delete(&mut self) {
        self.status.get_or_insert_default().phase = Some(TERMINATING.to_owned());
    }

    fn held(&self) -> bool {
        !finalizers(self).is_empty()
    }
}

fn phase(namespace: &Namespace) -> &str {
    namespace.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

fn finalizers(namespace: &Namespace) -> &[String] {
    namespace.spec.as_ref().map(|s| list(&s.finalizers)).unwrap_or_default()
}

fn label_with_name(namespace: &mut Namespace) {
    if let Some(name) = namespace.metadata.name.clone().filter(|n| !n.is_empty()) {
        namespace.metadata.labels.get_or_insert_default().insert(NAME_LABEL.to_owned(), name);
    }
}

fn validate_finalizer(name: &str, at: &Path, errors: &mut ErrorList) {
    errors.extend(meta::validate_finalizer_name(name, at));
    if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
        errors.invalid(
            at,
            name,
            "name is neither a standard finalizer name nor is it fully qualified",
        );
    }
}
