//! The vocabulary of the fact table: one [`Fact`] says how a field merges.
//!
//! Counterpart in Kubernetes: the `x-kubernetes-*` extensions of OpenAPI.

use apimachinery::schema::{ListType, PatchStrategy};
use serde_json::{Map, Value};

/// How one field merges, in strategic merge patches and in server-side apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// Strategic merge: how the field is patched.
    pub patch: PatchStrategy,
    /// Strategic merge: keys of the object that the patch does not name are dropped.
    pub retain_keys: bool,
    /// Strategic merge: the key of the list's elements; `None` for scalars.
    pub merge_key: Option<&'static str>,
    /// Server-side apply: how the list merges; `None` for what is no list.
    pub list_type: Option<ListType>,
    /// Server-side apply: the keys of the list's elements.
    pub map_keys: &'static [&'static str],
    /// Server-side apply: the map is replaced as a whole.
    pub atomic_map: bool,
    /// Server-side apply: the map is said to be merged, which is also what happens when nothing is said.
    pub granular_map: bool,
}

const PLAIN: Fact = Fact {
    patch: PatchStrategy::Default,
    retain_keys: false,
    merge_key: None,
    list_type: None,
    map_keys: &[],
    atomic_map: false,
    granular_map: false,
};
/// A list replaced as a whole.
pub(super) const ATOMIC: Fact = Fact { list_type: Some(ListType::Atomic), ..PLAIN };
/// A set of scalars that strategic merge replaces.
pub(super) const SET: Fact = Fact { list_type: Some(ListType::Set), ..PLAIN };
/// A set of scalars that strategic merge unites.
pub(super) const MERGED_SET: Fact = Fact { patch: PatchStrategy::Merge, ..SET };
/// A map replaced as a whole.
pub(super) const ATOMIC_MAP: Fact = Fact { atomic_map: true, ..PLAIN };
/// A map merged key by key.
pub(super) const GRANULAR_MAP: Fact = Fact { granular_map: true, ..PLAIN };
/// An object that strategic merge replaces.
pub(super) const REPLACED: Fact = Fact { patch: PatchStrategy::Replace, ..PLAIN };
/// An object whose keys a patch may name in full.
pub(super) const RETAIN_KEYS: Fact = Fact { retain_keys: true, ..PLAIN };

/// A list that strategic merge merges by `key`.
pub(super) const fn merged(key: &'static str) -> Fact {
    Fact { patch: PatchStrategy::Merge, merge_key: Some(key), ..PLAIN }
}

/// A list of objects with `keys`, which strategic merge replaces.
pub(super) const fn keyed(keys: &'static [&'static str]) -> Fact {
    PLAIN.keyed(keys)
}

impl Fact {
    pub(super) const fn keyed(self, keys: &'static [&'static str]) -> Self {
        Self { list_type: Some(ListType::Map), map_keys: keys, ..self }
    }

    pub(super) const fn atomic(self) -> Self {
        Self { list_type: Some(ListType::Atomic), ..self }
    }

    pub(super) const fn retaining(self) -> Self {
        Self { retain_keys: true, ..self }
    }

    /// Writes the fact as OpenAPI extensions.
    pub(super) fn annotate(&self, property: &mut Map<String, Value>) {
        let mut put =
            |key: &str, value: Value| property.insert(format!("x-kubernetes-{key}"), value);
        if let Some(list_type) = self.list_type {
            put("list-type", list_type_name(list_type).into());
        }
        if !self.map_keys.is_empty() {
            put("list-map-keys", self.map_keys.into());
        }
        if let Some(key) = self.merge_key {
            put("patch-merge-key", key.into());
        }
        if let Some(strategy) = self.patch_strategy() {
            put("patch-strategy", strategy.into());
        }
        if self.atomic_map {
            put("map-type", "atomic".into());
        }
        if self.granular_map {
            put("map-type", "granular".into());
        }
    }

    fn patch_strategy(&self) -> Option<&'static str> {
        match (self.patch, self.retain_keys) {
            (PatchStrategy::Merge, true) => Some("merge,retainKeys"),
            (PatchStrategy::Merge, false) => Some("merge"),
            (PatchStrategy::Replace, _) => Some("replace"),
            (PatchStrategy::Default, true) => Some("retainKeys"),
            (PatchStrategy::Default, false) => None,
        }
    }
}

fn list_type_name(list_type: ListType) -> &'static str {
    match list_type {
        ListType::Atomic => "atomic",
        ListType::Set => "set",
        ListType::Map => "map",
    }
}
