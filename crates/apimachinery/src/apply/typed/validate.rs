//! Whether a value is one of its type, in the words of structured-merge-diff.

use std::fmt;

use serde_json::Value;

use super::{Form, form, items};
use crate::apply::element::PathElement;
use crate::apply::schema::{ListAtom, ListKind, MapAtom, TypeId, TypedSchema};
use crate::schema::ScalarType;

/// What becomes of items that are in an associative list twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// They are fine: objects stored by updates may have them.
    Allowed,
    /// They are errors: what is applied may not.
    Refused,
}

/// What is wrong with a value: paths and messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeErrors(pub Vec<(String, String)>);

impl std::error::Error for TypeErrors {}

impl fmt::Display for TypeErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |(path, message): &(String, String)| match path.is_empty() {
            true => message.clone(),
            false => format!("{path}: {message}"),
        };
        match self.0.as_slice() {
            [one] => f.write_str(&line(one)),
            several => {
                let lines: Vec<String> = several.iter().map(|e| format!("  {}", line(e))).collect();
                write!(f, "errors:\n{}", lines.join("\n"))
            }
        }
    }
}

/// Checks a value against its type.
///
/// # Errors
/// Everything that does not fit.
pub fn validate(
    schema: &TypedSchema,
    ty: TypeId,
    value: &Value,
    duplicates: Duplicates,
) -> Result<(), TypeErrors> {
    let mut check = Check { schema, duplicates, errors: Vec::new() };
    check.value(ty, value, String::new());
    if check.errors.is_empty() { Ok(()) } else { Err(TypeErrors(check.errors)) }
}

struct Check<'s> {
    schema: &'s TypedSchema,
    duplicates: Duplicates,
    errors: Vec<(String, String)>,
}

impl Check<'_> {
    fn value(&mut self, ty: TypeId, value: &Value, path: String) {
        let schema = self.schema;
        let atom = schema.atom(ty);
        match (form(atom, Some(value)), &atom.map, &atom.list) {
            (Form::Map, Some(map), _) => self.map(map, value, path),
            (Form::List, _, Some(list)) => self.list(list, value, path),
            _ => {
                let wrong = scalar_error(atom.scalar.unwrap_or_default(), value);
                self.errors.extend(wrong.map(|message| (path, message)));
            }
        }
    }

    fn map(&mut self, map: &MapAtom, value: &Value, path: String) {
        let fields = match value {
            Value::Null => return,
            Value::Object(fields) => fields,
            other => {
                return self.errors.push((path, format!("expected map, got &{{{}}}", go(other))));
            }
        };
        for (name, value) in fields {
            let path = format!("{path}.{name}");
            match map.field(name) {
                Some(ty) => self.value(ty, value, path),
                // One such field is enough: Kubernetes stops there as well.
                None => return self.errors.push((path, "field not declared in schema".to_owned())),
            }
        }
    }

    fn list(&mut self, list: &ListAtom, value: &Value, path: String) {
        let found = match value {
            Value::Null => return,
            Value::Array(found) => found,
            other => {
                return self.errors.push((path, format!("expected list, got &{{{}}}", go(other))));
            }
        };
        let mut seen: Vec<PathElement> = Vec::with_capacity(found.len());
        for (at, item) in found.iter().enumerate() {
            let element = match list.kind {
                ListKind::Atomic => PathElement::Index(i64::try_from(at).unwrap_or(i64::MAX)),
                _ => match items::element(list, item) {
                    Ok(element) => element,
                    Err(error) => {
                        return self.errors.push((path, format!("element {at}: {error}")));
                    }
                },
            };
            if self.duplicates == Duplicates::Refused && seen.contains(&element) {
                let message = format!("duplicate entries for key {element}");
                self.errors.push((path.clone(), message));
            }
            self.value(list.item, item, format!("{path}{element}"));
            if self.duplicates == Duplicates::Refused && list.kind != ListKind::Atomic {
                seen.push(element);
            }
        }
    }
}

fn scalar_error(scalar: ScalarType, value: &Value) -> Option<String> {
    let fits = match (scalar, value) {
        (_, Value::Null) => true,
        (ScalarType::Any, value) => !value.is_object() && !value.is_array(),
        (ScalarType::String, value) => value.is_string(),
        (ScalarType::Number, value) => value.is_number(),
        (ScalarType::Boolean, value) => value.is_boolean(),
    };
    (!fits).then(|| match scalar {
        ScalarType::Any => format!("expected any scalar, got &{{{}}}", go(value)),
        ScalarType::String => {
            format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value))
        }
        ScalarType::Number => {
            format!("expected numeric (int or float), got {}", go_type(value))
        }
        ScalarType::Boolean => format!("expected boolean, got &{{{}}}", go(value)),
    })
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go's `%v` prints it.
fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(name, value)| format!("{name}:{}", go(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

/// A value as Go's `%#v` prints it.
fn go_syntax(value: &Value) -> String {
    let typed = |value: &Value| match value {
        Value::Null => "interface {}(nil)".to_owned(),
        other => go_syntax(other),
    };
    match value {
        Value::String(text) => crate::field::quote(text),
        Value::Array(items) => {
            format!(
                "[]interface {{}}{{{}}}",
                items.iter().map(typed).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(name, value)| format!("{}:{}", crate::field::quote(name), typed(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
        }
        other => go(other),
    }
}
