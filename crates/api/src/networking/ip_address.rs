//! IPAddress: an address that is taken, named by the address itself.
//!
//! Counterpart in Kubernetes: `pkg/registry/networking/ipaddress`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::meta::{NameRule, NameUse};
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ParentReference};
use serde_json::Value;

use super::validate_segment;
use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::net;
use crate::report::{Report, omit_empty, text};
use crate::strategy::KindStrategy;

impl KindStrategy for IPAddress {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] =
        &[columns::NAME, column("ParentRef", "string", "Object that holds the address.")];
    const NAME: NameRule = name_is_ip;

    fn default_fields(&mut self) {
        let parent = &mut self.spec.parent_ref;
        omit_empty!(parent; group, namespace);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let at = Path::new("spec").child("parentRef");
        match parent(self) {
            None => errors.required(&at, ""),
            Some(parent) => validate_parent(parent, &at, errors),
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let at = Path::new("spec").child("parentRef");
        errors.unchanged(&at, &parent(self), &parent(old));
    }

    fn row(&self, _now: Timestamp) -> Vec<Value> {
        let parent = parent(self).map(|p| {
            let part = |mark: &str, text: &str| match text {
                "" => String::new(),
                text => format!("{mark}{text}"),
            };
            let group = part(".", text(&p.group));
            let namespace = part("/", text(&p.namespace));
            format!("{}{namespace}/{}", format!("{}{group}", p.resource).to_lowercase(), p.name)
        });
        vec![columns::name(&self.metadata), columns::or_none(parent.as_deref())]
    }
}

/// The holder; the type cannot leave it out, so an empty one stands for none.
fn parent(address: &IPAddress) -> Option<&ParentReference> {
    let parent = &address.spec.parent_ref;
    (*parent != ParentReference::default()).then_some(parent)
}

fn name_is_ip(name: &str, _usage: NameUse) -> Vec<String> {
    let mut errors = ErrorList::new();
    net::validate_canonical_ip(name, &Path::nil(), &mut errors);
    errors.into_iter().map(|error| error.detail).collect()
}

fn validate_parent(parent: &ParentReference, at: &Path, errors: &mut ErrorList) {
    if !text(&parent.group).is_empty() {
        errors.dns_subdomain(&at.child("group"), text(&parent.group));
    }
    validate_segment(&parent.resource, &at.child("resource"), errors);
    validate_segment(&parent.name, &at.child("name"), errors);
    if !text(&parent.namespace).is_empty() {
        validate_segment(text(&parent.namespace), &at.child("namespace"), errors);
    }
}
