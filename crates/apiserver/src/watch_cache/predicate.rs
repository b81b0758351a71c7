//! Which objects of a resource a list or a watch wants.
//!
//! Counterpart in Kubernetes: `storage.SelectionPredicate`. It looks at keys, labels and selectable fields, never at JSON.

use api::kinds::Resource;
use apimachinery::{fields, labels};

use crate::storage::{Encoded, collection_prefix, key};

/// Which objects of a resource a list or a watch wants.
#[derive(Clone)]
pub struct Predicate {
    /// The row, for its selectable fields.
    resource: &'static Resource,
    /// Keys begin with this: the whole resource, or one namespace of it.
    prefix: String,
    /// The one key wanted, when the field selector pins a name in a namespace.
    key: Option<store::Key>,
    labels: Option<labels::Selector>,
    fields: Option<fields::Selector>,
}

impl Predicate {
    /// Everything in a namespace, or everywhere if it is empty.
    pub fn new(resource: &'static Resource, namespace: &str) -> Self {
        let prefix = collection_prefix(resource, namespace);
        Self { resource, prefix, key: None, labels: None, fields: None }
    }

    /// One object by its name.
    pub fn named(resource: &'static Resource, namespace: &str, name: &str) -> Self {
        let key = Some(key(resource, namespace, name));
        Self { key, ..Self::new(resource, namespace) }
    }

    /// Only what these selectors match; empty ones match everything. `name` is the name that the field selector pins.
    #[must_use]
    pub fn select(
        mut self,
        namespace: &str,
        name: Option<&str>,
        labels: labels::Selector,
        fields: fields::Selector,
    ) -> Self {
        let reachable = !self.resource.namespaced() || !namespace.is_empty();
        self.key = name.filter(|_| reachable).map(|name| key(self.resource, namespace, name));
        self.labels = Some(labels).filter(|selector| !selector.is_everything());
        self.fields = Some(fields).filter(|selector| !selector.is_everything());
        self
    }

    /// The prefix of the keys.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The one key wanted, if it is known.
    pub fn key(&self) -> Option<&store::Key> {
        self.key.as_ref()
    }

    /// True if no selector narrows the collection down.
    pub fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    /// Whether an object is wanted.
    pub fn matches(&self, object: &Encoded) -> bool {
        let at_key = match &self.key {
            Some(key) => key == object.key(),
            None => object.key().starts_with(&self.prefix),
        };
        at_key && self.labels_match(object) && self.fields_match(object)
    }

    fn labels_match(&self, object: &Encoded) -> bool {
        self.labels.as_ref().is_none_or(|selector| selector.matches_with(|name| object.label(name)))
    }

    fn fields_match(&self, object: &Encoded) -> bool {
        let field = |name: &str| object.field(self.resource, name);
        self.fields.as_ref().is_none_or(|selector| selector.matches_with(field))
    }
}
