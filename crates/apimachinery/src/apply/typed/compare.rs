//! How two values differ: what the second one adds, what it changes, what it lacks.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Form, PathElement, forms, is_empty_list, items};
use crate::apply::element::same;
use crate::apply::field_set::{FieldSet, Filter};
use crate::apply::schema::{ListAtom, ListKind, MapAtom, TypeId, TypedSchema};

/// How values are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::apply) enum Reading {
    /// As they are.
    Plain,
    /// As Kubernetes' Go types would write them.
    Go,
}

/// What one value has that the other has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::apply) struct Difference {
    pub(in crate::apply) added: FieldSet,
    pub(in crate::apply) modified: FieldSet,
    pub(in crate::apply) removed: FieldSet,
}

impl Difference {
    /// What of it counts.
    pub(in crate::apply) fn filtered(self, filter: &Filter) -> Self {
        Self {
            added: filter.apply(self.added),
            modified: filter.apply(self.modified),
            removed: filter.apply(self.removed),
        }
    }

    /// What has a new value.
    pub(in crate::apply) fn set(&self) -> FieldSet {
        self.added.union(&self.modified)
    }
}

/// How `new` differs from `old`.
pub(in crate::apply) fn compare(
    schema: &TypedSchema,
    ty: TypeId,
    old: &Value,
    new: &Value,
    reading: Reading,
) -> Difference {
    let marks = Walk { schema, reading }.compare(ty, Some(old), Some(new));
    Difference {
        added: marks.added.below,
        modified: marks.modified.below,
        removed: marks.removed.below,
    }
}

/// Whether a field itself is marked, and what is marked below it.
#[derive(Default)]
struct Mark {
    own: bool,
    below: FieldSet,
}

#[derive(Default)]
struct Marks {
    added: Mark,
    modified: Mark,
    removed: Mark,
}

impl Marks {
    /// Puts what was found behind a step below it.
    fn put(&mut self, element: PathElement, found: Self) {
        let pairs = [
            (&mut self.added, found.added),
            (&mut self.modified, found.modified),
            (&mut self.removed, found.removed),
        ];
        for (mark, found) in pairs {
            if found.own || !found.below.is_empty() {
                mark.below.push(element.clone(), found.own, found.below);
            }
        }
    }

    fn join(&mut self, other: Self) {
        let pairs = [
            (&mut self.added, other.added),
            (&mut self.modified, other.modified),
            (&mut self.removed, other.removed),
        ];
        for (mark, other) in pairs {
            mark.own |= other.own;
            mark.below = mark.below.union(&other.below);
        }
    }
}

struct Walk<'s> {
    schema: &'s TypedSchema,
    reading: Reading,
}

type Side<'v> = Option<&'v Value>;

impl Walk<'_> {
    fn compare(&self, ty: TypeId, old: Side<'_>, new: Side<'_>) -> Marks {
        let (first, second) = forms(self.schema.atom(ty), old, new);
        let mut marks = self.as_form(ty, first, old, new);
        if let Some(second) = second {
            marks.join(self.as_form(ty, second, old, new));
        }
        marks
    }

    fn as_form(&self, ty: TypeId, as_form: Form, old: Side<'_>, new: Side<'_>) -> Marks {
        let atom = self.schema.atom(ty);
        let mut marks = match (as_form, &atom.map, &atom.list) {
            (Form::Map, Some(map), _) if !self.is_leaf_map(map, old, new) => {
                self.maps(map, old, new)
            }
            (Form::List, _, Some(list)) if !is_leaf_list(list, old, new) => {
                self.lists(list, old, new)
            }
            _ => return leaf(old, new),
        };
        marks.added.own |= old.is_none();
        marks.removed.own |= new.is_none();
        marks
    }

    fn is_leaf_map(&self, map: &MapAtom, old: Side<'_>, new: Side<'_>) -> bool {
        let filled = self.reading == Reading::Go && !map.always.is_empty();
        let empty = |side: Side<'_>| {
            side.and_then(Value::as_object).is_none_or(|fields| fields.is_empty() && !filled)
        };
        map.atomic || (empty(old) && empty(new))
    }

    fn maps(&self, map: &MapAtom, old: Side<'_>, new: Side<'_>) -> Marks {
        let (left, right) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        let mut marks = Marks::default();
        let mut visit = |name: &str, old: Side<'_>, new: Side<'_>| {
            let Some(ty) = map.field(name) else { return };
            let side = |fields: Option<&_>, value| self.field(map, ty, name, fields, value);
            let (old, new) = (side(left, old), side(right, new));
            if old.is_some() || new.is_some() {
                marks.put(PathElement::field(name), self.compare(ty, old, new));
            }
        };
        zip(left, right, &mut visit);
        if self.reading == Reading::Go && left.is_some() != right.is_some() {
            let there = left.or(right);
            let absent = |name: &str| there.is_none_or(|fields| !fields.contains_key(name));
            for (name, _) in map.always.iter().filter(|(name, _)| absent(name)) {
                visit(name, None, None);
            }
        }
        marks
    }

    /// A field of an object as it is read.
    fn field<'v>(
        &self,
        map: &'v MapAtom,
        ty: TypeId,
        name: &str,
        of: Option<&Map<String, Value>>,
        value: Side<'v>,
    ) -> Side<'v> {
        if self.reading == Reading::Plain || of.is_none() {
            return value;
        }
        match value {
            None => map.zero(name),
            Some(value) if map.zero(name).is_none() && is_omitted(self.schema, ty, value) => None,
            value => value,
        }
    }

    fn lists(&self, list: &ListAtom, old: Side<'_>, new: Side<'_>) -> Marks {
        let mut found: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for (element, item) in items::identified(list, old) {
            found.entry(element).or_default().0.push(item);
        }
        for (element, item) in items::identified(list, new) {
            found.entry(element).or_default().1.push(item);
        }
        let mut marks = Marks::default();
        for (element, (old, new)) in found {
            marks.put(element, self.item(list, &old, &new));
        }
        marks
    }

    /// An item that is there more than once counts as a whole.
    fn item(&self, list: &ListAtom, old: &[&Value], new: &[&Value]) -> Marks {
        let mut marks = match (old, new) {
            ([] | [_], [] | [_]) => {
                return self.compare(list.item, old.first().copied(), new.first().copied());
            }
            ([_, _, ..], [_, _, ..]) => {
                let equal = old.len() == new.len() && old.iter().zip(new).all(|(a, b)| same(a, b));
                let own = !equal;
                let modified = Mark { own, below: FieldSet::default() };
                return Marks { modified, ..Marks::default() };
            }
            ([_, _, ..], [one]) => self.compare(list.item, None, Some(one)),
            ([one], _) => self.compare(list.item, Some(one), None),
            _ => Marks::default(),
        };
        marks.removed.own |= old.len() >= 2;
        marks.added.own |= new.len() >= 2;
        marks
    }
}

/// Go leaves out empty lists and maps; objects it keeps.
pub(in crate::apply) fn is_omitted(schema: &TypedSchema, ty: TypeId, value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) if fields.is_empty() => {
            let atom = schema.atom(ty);
            let map = atom.map.as_ref();
            map.is_some_and(|map| map.fields.is_empty() && map.rest.is_some())
                && atom.scalar.is_none()
        }
        _ => false,
    }
}

fn is_leaf_list(list: &ListAtom, old: Side<'_>, new: Side<'_>) -> bool {
    list.kind == ListKind::Atomic || (is_empty_list(old) && is_empty_list(new))
}

fn leaf(old: Side<'_>, new: Side<'_>) -> Marks {
    let mut marks = Marks::default();
    match (old, new) {
        (None, _) => marks.added.own = true,
        (_, None) => marks.removed.own = true,
        (Some(old), Some(new)) => marks.modified.own = !same(old, new),
    }
    marks
}

/// Calls `visit` for every key of either map, in order.
fn zip(
    left: Option<&Map<String, Value>>,
    right: Option<&Map<String, Value>>,
    visit: &mut impl FnMut(&str, Side<'_>, Side<'_>),
) {
    let (mut left, mut right) =
        (left.into_iter().flatten().peekable(), right.into_iter().flatten().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let a = if order.is_le() { left.next() } else { None };
        let b = if order.is_ge() { right.next() } else { None };
        if let Some((name, _)) = a.or(b) {
            visit(name, a.map(|pair| pair.1), b.map(|pair| pair.1));
        }
    }
}
