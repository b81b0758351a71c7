//! What a change of an object does to what its managers own, and what an apply makes of an object.
//!
//! Counterpart: `structured-merge-diff/merge`. Invariant: a field belongs to whoever last changed it, and to every applier that
//! applied the value it has.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::element::{PathElement, same};
use super::field_set::{FieldSet, Filter};
use super::managed::{Managed, Manager, Owned};
use super::schema::{TypeId, TypedSchema};
use super::typed::{self, Reading};

/// The versions in which objects of a kind are served.
pub trait Versions {
    /// An object in that version, and its type there; `None` for a version that does not exist.
    fn convert<'v>(&self, object: &'v Value, api_version: &str)
    -> Option<(Cow<'v, Value>, TypeId)>;
}

/// A kind with one version.
#[derive(Clone, Copy, Debug)]
pub struct Unconverted<'a> {
    /// The version.
    pub api_version: &'a str,
    /// The type.
    pub ty: TypeId,
}

impl Versions for Unconverted<'_> {
    fn convert<'v>(
        &self,
        object: &'v Value,
        api_version: &str,
    ) -> Option<(Cow<'v, Value>, TypeId)> {
        (api_version == self.api_version).then_some((Cow::Borrowed(object), self.ty))
    }
}

/// A field that an apply wants and another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager.
    pub manager: Manager,
    /// The field.
    pub path: Vec<PathElement>,
}

/// How writes of one version change what managers own.
#[derive(Clone, Copy)]
pub(super) struct Updater<'a> {
    pub(super) schema: &'a TypedSchema,
    pub(super) versions: &'a dyn Versions,
    pub(super) api_version: &'a str,
    pub(super) filter: &'a Filter,
}

/// A change as the managers of one version see it.
struct Seen {
    /// What has a new value.
    set: FieldSet,
    /// What has a new value or is gone.
    touched: FieldSet,
}

impl Updater<'_> {
    /// Takes what changed from everyone who owned it, and returns what of it now belongs to the writer.
    pub(super) fn update(&self, live: &Value, new: &Value, managed: &mut Managed) -> FieldSet {
        let own = match self.take(live, new, managed, None, true) {
            Ok(Some(seen)) => seen.set,
            Ok(None) | Err(_) => FieldSet::default(),
        };
        self.filter.apply(own)
    }

    /// The object that applying a configuration makes; `None` if it stays what it is.
    ///
    /// # Errors
    /// The conflicts, unless forced.
    pub(super) fn apply(
        &self,
        live: &Value,
        config: &Value,
        managed: &mut Managed,
        manager: &Manager,
        force: bool,
    ) -> Result<Option<Value>, Vec<Conflict>> {
        let Some((_, ty)) = self.versions.convert(live, self.api_version) else { return Ok(None) };
        let mut new = typed::merge(self.schema, ty, live, config);
        let set = self.filter.apply(typed::field_set(self.schema, ty, config));
        let last = managed.entries.get(manager).cloned();
        let time = last.as_ref().and_then(|last| last.time.clone());
        managed.entries.insert(manager.clone(), Owned::new(self.api_version, set, time));
        if let Some(last) = last.filter(|last| !last.is_empty()) {
            new = self.prune(new, managed, &last);
        }
        self.take(live, &new, managed, Some(manager), force)?;
        Ok((!same(live, &new)).then_some(new))
    }

    /// Takes what changed from every manager but `writer`.
    fn take(
        &self,
        live: &Value,
        new: &Value,
        managed: &mut Managed,
        writer: Option<&Manager>,
        force: bool,
    ) -> Result<Option<Seen>, Vec<Conflict>> {
        let mut seen: BTreeMap<String, Option<Seen>> = BTreeMap::new();
        seen.insert(self.api_version.to_owned(), self.see(live, new, self.api_version));
        let mut conflicts = Vec::new();
        let mut left: Vec<(Manager, FieldSet)> = Vec::new();
        managed.entries.retain(|manager, owned| {
            if Some(manager) == writer {
                return true;
            }
            let version = owned.api_version.as_str();
            if !seen.contains_key(version) {
                seen.insert(version.to_owned(), self.see(live, new, version));
            }
            let Some(Some(seen)) = seen.get(version) else { return false };
            if !may_touch(owned, &seen.touched) {
                return true;
            }
            let paths = owned.set().intersection(&seen.set).paths().into_iter();
            conflicts.extend(paths.map(|path| Conflict { manager: manager.clone(), path }));
            left.push((manager.clone(), owned.set().difference(&seen.touched)));
            true
        });
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        for (manager, set) in left {
            if let Some(owned) = managed.entries.get_mut(&manager).filter(|o| *o.set() != set) {
                *owned = owned.with(set);
            }
        }
        managed.entries.retain(|_, owned| !owned.is_empty());
        Ok(seen.remove(self.api_version).flatten())
    }

    fn see(&self, live: &Value, new: &Value, api_version: &str) -> Option<Seen> {
        let (live, ty) = self.versions.convert(live, api_version)?;
        let (new, _) = self.versions.convert(new, api_version)?;
        let difference = typed::compare(self.schema, ty, &live, &new, Reading::Go);
        let difference = difference.filtered(self.filter);
        let set = difference.set();
        let touched = set.union(&difference.removed);
        Some(Seen { set, touched })
    }

    /// Takes out of a merged object what its applier applied last time and applies no more, unless somebody else owns it.
    fn prune(&self, merged: Value, managed: &Managed, last: &Owned) -> Value {
        let version = last.api_version.as_str();
        let Some((object, ty)) = self.versions.convert(&merged, version) else { return merged };
        let named = |set: &FieldSet| set.with_named_fields(self.schema, Some(ty));
        let dropped = named(last.set());
        let mut pruned = object.clone().into_owned();
        typed::remove(self.schema, ty, &mut pruned, &dropped);
        let pruned = self.with_owned_items(&object, pruned, version, managed);
        let gone = named(&typed::field_set(self.schema, ty, &object))
            .difference(&named(&typed::field_set(self.schema, ty, &pruned)))
            .intersection(&dropped);
        let mut left = object.into_owned();
        typed::remove(self.schema, ty, &mut left, &gone);
        match self.versions.convert(&left, self.api_version) {
            Some((left, _)) => left.into_owned(),
            None => merged,
        }
    }

    /// Puts back what pruning took although somebody owns it, version by version, that of the pruning first.
    fn with_owned_items(
        &self,
        merged: &Value,
        mut pruned: Value,
        first: &str,
        managed: &Managed,
    ) -> Value {
        let mut by_version: BTreeMap<&str, FieldSet> = BTreeMap::new();
        for owned in managed.entries.values() {
            let set = by_version.entry(owned.api_version.as_str()).or_default();
            *set = set.union(owned.set());
        }
        let ahead = by_version.remove_entry(first);
        for (version, owned) in ahead.into_iter().chain(by_version) {
            let at = self.versions.convert(merged, version);
            let (Some((merged, ty)), Some((now, _))) =
                (at, self.versions.convert(&pruned, version))
            else {
                continue;
            };
            let named = |set: &FieldSet| set.with_named_fields(self.schema, Some(ty));
            let there = named(&typed::field_set(self.schema, ty, &merged));
            let kept = named(&typed::field_set(self.schema, ty, &now)).union(&named(&owned));
            let mut back = merged.into_owned();
            typed::remove(self.schema, ty, &mut back, &there.difference(&kept));
            let restored = self.versions.convert(&back, first);
            let restored = restored.map(|(value, _)| value.into_owned());
            pruned = restored.unwrap_or(pruned);
        }
        pruned
    }
}

/// Whether a manager may own one of the fields; `false` is certain. Looks at the stored text only: a field that is owned has
/// all steps of its path in the text.
fn may_touch(owned: &Owned, touched: &FieldSet) -> bool {
    match owned.known_text() {
        None => !touched.is_empty(),
        Some(text) => may_contain(text, touched, &mut String::new()),
    }
}

fn may_contain(text: &str, set: &FieldSet, scratch: &mut String) -> bool {
    set.nodes.iter().any(|node| {
        scratch.clear();
        node.element.write(scratch);
        // Steps with quotes in them are escaped in the text; their place in it is not looked for.
        let there = scratch.contains(['"', '\\']) || text.contains(scratch.as_str());
        there && (node.owned || may_contain(text, &node.below, scratch))
    })
}
