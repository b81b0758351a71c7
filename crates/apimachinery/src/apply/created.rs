//! The fields of a new object, written at once in their stored form.
//!
//! Most writes of a busy cluster create objects that nobody owned before. What the creator owns then is the difference between
//! the object and its kind's zero value; this writes it without building the sets. A property holds it to the sets.

use serde_json::Value;

use super::element::PathElement;
use super::field_set::FieldSet;
use super::fields_v1::push_quoted;
use super::schema::{ListAtom, ListKind, MapAtom, TypeId, TypedSchema};
use super::typed::{Form, form, identified, is_omitted};

/// What nobody gets to own: fields of these sets, and what is below them.
type Excluded<'e> = [Option<&'e FieldSet>; 2];

/// The fields of a new object without those excluded, as text; `{}` if there are none.
pub(super) fn created(
    schema: &TypedSchema,
    ty: TypeId,
    object: &Value,
    excluded: Excluded<'_>,
) -> String {
    let mut writer = Writer { schema, out: String::with_capacity(1024) };
    writer.out.push('{');
    writer.against_zero(ty, super::schema::nothing(), object, excluded);
    writer.out.push('}');
    writer.out
}

struct Writer<'s> {
    schema: &'s TypedSchema,
    out: String,
}

/// What a value is written as.
enum Shape<'s> {
    Leaf,
    Map(&'s MapAtom),
    List(&'s ListAtom),
}

impl<'s> Writer<'s> {
    fn shape(&self, ty: TypeId, value: &Value) -> Shape<'s> {
        let schema = self.schema;
        let atom = schema.atom(ty);
        match (form(atom, Some(value)), &atom.map, &atom.list, value) {
            (Form::Map, Some(map), _, Value::Object(fields))
                if !map.atomic && (!fields.is_empty() || !map.always.is_empty()) =>
            {
                Shape::Map(map)
            }
            (Form::List, _, Some(list), Value::Array(items))
                if list.kind != ListKind::Atomic && !items.is_empty() =>
            {
                Shape::List(list)
            }
            _ => Shape::Leaf,
        }
    }

    /// Writes a step, and what is below it; a step that is not owned and has nothing below it is left out.
    fn step(&mut self, owned: bool, key: impl FnOnce(&mut String), below: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        key(&mut self.out);
        self.out.push_str(":{");
        let open = self.out.len();
        below(self);
        match (self.out.len() > open, owned) {
            (false, false) => return self.out.truncate(start),
            (true, true) => self.out.insert_str(open, "\".\":{},"),
            _ => {}
        }
        self.out.push('}');
    }

    fn field(&mut self, name: &str, owned: bool, below: impl FnOnce(&mut Self)) {
        let key = |out: &mut String| match is_plain(name) {
            true => {
                out.push_str("\"f:");
                out.push_str(name);
                out.push('"');
            }
            false => push_quoted(out, &format!("f:{name}")),
        };
        self.step(owned, key, below);
    }

    /// What is below a value that was not there before: all of it is owned.
    fn fresh(&mut self, ty: TypeId, value: &Value, excluded: Excluded<'_>) {
        match self.shape(ty, value) {
            Shape::Leaf => {}
            Shape::List(list) => self.items(list, value),
            Shape::Map(map) => {
                let fields = value.as_object().into_iter().flatten();
                let mut given = fields.map(|(name, value)| (name.as_str(), value)).peekable();
                for (zero_name, zero) in &map.always {
                    while let Some((name, value)) = given.next_if(|(name, _)| *name < &**zero_name)
                    {
                        self.fresh_field(map, name, value, excluded);
                    }
                    let same = given.next_if(|(name, _)| *name == &**zero_name);
                    let value = same.map_or(zero, |(_, value)| value);
                    self.fresh_field(map, zero_name, value, excluded);
                }
                for (name, value) in given {
                    self.fresh_field(map, name, value, excluded);
                }
            }
        }
    }

    fn fresh_field(&mut self, map: &MapAtom, name: &str, value: &Value, excluded: Excluded<'_>) {
        let Some(ty) = map.field(name) else { return };
        let Some(below) = descend(excluded, name) else { return };
        if map.zero(name).is_none() && is_omitted(self.schema, ty, value) {
            return;
        }
        self.field(name, true, |writer| writer.fresh(ty, value, below));
    }

    /// Items that are there twice are owned as a whole.
    fn items(&mut self, list: &ListAtom, value: &Value) {
        let mut items = identified(list, Some(value));
        items.sort_by(|a, b| a.0.cmp(&b.0));
        let mut rest = items.as_slice();
        while let [(element, item), ..] = rest {
            let same = rest.iter().take_while(|(other, _)| other == element).count();
            rest = &rest[same..];
            let key = |out: &mut String| push_element(out, element);
            self.step(true, key, |writer| {
                if same == 1 {
                    writer.fresh(list.item, item, [None, None]);
                }
            });
        }
    }

    /// What is below a value in whose place was a zero value.
    fn against_zero(&mut self, ty: TypeId, zero: &Value, value: &Value, excluded: Excluded<'_>) {
        match self.shape(ty, value) {
            Shape::Leaf => {}
            Shape::List(list) => self.items(list, value),
            Shape::Map(_) if !zero.is_object() => self.fresh(ty, value, excluded),
            Shape::Map(map) => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    self.field_against_zero(map, name, value, excluded);
                }
            }
        }
    }

    fn field_against_zero(
        &mut self,
        map: &MapAtom,
        name: &str,
        value: &Value,
        excluded: Excluded<'_>,
    ) {
        let Some(zero) = map.zero(name) else {
            return self.fresh_field(map, name, value, excluded);
        };
        let Some(ty) = map.field(name) else { return };
        let Some(below) = descend(excluded, name) else { return };
        let leaf = matches!(self.shape(ty, value), Shape::Leaf);
        let owned = leaf && !super::element::same(zero, value);
        self.field(name, owned, |writer| writer.against_zero(ty, zero, value, below));
    }
}

/// What is excluded below a field; `None` if the field is.
fn descend<'e>(excluded: Excluded<'e>, name: &str) -> Option<Excluded<'e>> {
    let mut below = [None, None];
    for (below, set) in below.iter_mut().zip(excluded) {
        let Some(node) = set.and_then(|set| set.named(name)) else { continue };
        if node.owned {
            return None;
        }
        *below = Some(&node.below);
    }
    Some(below)
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
}

fn push_element(out: &mut String, element: &PathElement) {
    let mut text = String::new();
    element.write(&mut text);
    push_quoted(out, &text);
}
