//! One step of a path into an object: a field, an item by its keys, an item of a set by its value, an item by its place.
//!
//! Counterpart: `fieldpath.PathElement`. Invariant: the order is Kubernetes' order: fields, keys, values, places; numbers by
//! value, not by their digits.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Number, Value};

use crate::field::{go_json, quote};

/// One step of a path.
#[derive(Clone, Debug)]
pub enum PathElement {
    /// A field of an object, or a key of a map.
    Field(Box<str>),
    /// The item of an associative list with these keys, sorted by name.
    Key(Vec<(Box<str>, Value)>),
    /// The item of a set that has this value.
    Value(Value),
    /// The item at this place.
    Index(i64),
}

impl PathElement {
    /// The field of that name.
    pub fn field(name: impl Into<Box<str>>) -> Self {
        Self::Field(name.into())
    }

    /// The item with those keys.
    pub fn key(mut keys: Vec<(Box<str>, Value)>) -> Self {
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Key(keys)
    }

    /// The name, if this is a field.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Field(name) => Some(name),
            _ => None,
        }
    }

    /// Appends the stored form, such as `f:spec` or `k:{"name":"a"}`.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Field(name) => {
                out.push_str("f:");
                out.push_str(name);
            }
            Self::Key(keys) => {
                let map: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{}:{}", json_text(name), go_json(value)))
                    .collect();
                out.push_str("k:{");
                out.push_str(&map.join(","));
                out.push('}');
            }
            Self::Value(value) => {
                out.push_str("v:");
                out.push_str(&go_json(value));
            }
            Self::Index(index) => {
                out.push_str("i:");
                out.push_str(&index.to_string());
            }
        }
    }

    /// Reads the stored form; `None` for kinds of steps that a later version may have.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some((kind, rest)) = text.split_at_checked(2) else {
            return Err("key must be 2 characters long:".to_owned());
        };
        if !kind.ends_with(':') {
            return Err(format!("missing colon: {text}"));
        }
        let parsed = match kind {
            "f:" => Self::field(rest),
            "v:" => Self::Value(serde_json::from_str(rest).map_err(|error| error.to_string())?),
            "k:" => {
                let map: Map<String, Value> =
                    serde_json::from_str(rest).map_err(|error| error.to_string())?;
                Self::key(map.into_iter().map(|(name, value)| (name.into(), value)).collect())
            }
            "i:" => Self::Index(rest.parse().map_err(|_| format!("invalid index: {rest}"))?),
            _ => return Ok(None),
        };
        Ok(Some(parsed))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

fn json_text(text: &str) -> String {
    go_json(&Value::String(text.to_owned()))
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => compare_keys(a, b),
            (Self::Value(a), Self::Value(b)) => compare(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PathElement {}

fn compare_keys(a: &[(Box<str>, Value)], b: &[(Box<str>, Value)]) -> Ordering {
    for ((name, value), (other_name, other)) in a.iter().zip(b) {
        match name.cmp(other_name).then_with(|| compare(value, other)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    a.len().cmp(&b.len())
}

/// The order of values of any type.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let unequal = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|o| o.is_ne());
            unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let pair =
                |((name, value), (other_name, other)): ((&String, &Value), (&String, &Value))| {
                    name.cmp(other_name).then_with(|| compare(value, other))
                };
            let unequal = a.iter().zip(b).map(pair).find(|o| o.is_ne());
            unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

/// Whether two values are the same, whatever form their numbers have.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    a == b || compare(a, b).is_eq()
}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: Vec<String> =
                    keys.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
                write!(f, "[{}]", keys.join(","))
            }
            Self::Value(value) => write!(f, "[={}]", shown(value)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A value for people: strings quoted, the rest as it is.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(","))
        }
        Value::Object(map) => {
            map.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect()
        }
        other => other.to_string(),
    }
}

/// A path for people, such as `.spec.containers[name="a"].image`.
pub fn path_text(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(element: &PathElement) -> String {
        let mut out = String::new();
        element.write(&mut out);
        out
    }

    #[test]
    fn element_stored_form_read_back_and_shown() {
        let table = [
            ("f:spec", ".spec"),
            ("f:", "."),
            ("f:app.kubernetes.io/name", ".app.kubernetes.io/name"),
            (r#"k:{"containerPort":80,"protocol":"TCP"}"#, r#"[containerPort=80,protocol="TCP"]"#),
            (r#"v:"kubernetes.io/x""#, r#"[="kubernetes.io/x"]"#),
            ("v:5", "[=5]"),
            ("v:true", "[=true]"),
            ("i:3", "[3]"),
        ];
        for (stored, shown) in table {
            let element = PathElement::parse(stored).unwrap().unwrap();
            assert_eq!(text(&element), stored);
            assert_eq!(element.to_string(), shown);
        }
        assert_eq!(PathElement::parse("x:later").unwrap(), None);
        for bad in ["", "f", "spec", "k:[]", "k:{", "v:", "i:x", "é"] {
            assert!(PathElement::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn elements_sorted_as_kubernetes_sorts_them() {
        let sorted = [
            "f:a",
            "f:b",
            r#"k:{"containerPort":80,"protocol":"TCP"}"#,
            r#"k:{"containerPort":443,"protocol":"TCP"}"#,
            r#"k:{"containerPort":443,"protocol":"UDP"}"#,
            r#"k:{"name":"a"}"#,
            r#"k:{"name":"a b"}"#,
            "v:2",
            "v:10",
            r#"v:"a""#,
            "v:false",
            "v:true",
            "i:2",
            "i:10",
        ];
        let parsed: Vec<PathElement> =
            sorted.iter().map(|t| PathElement::parse(t).unwrap().unwrap()).collect();
        let mut shuffled: Vec<PathElement> = parsed.iter().rev().cloned().collect();
        shuffled.sort();
        assert_eq!(shuffled.iter().map(text).collect::<Vec<_>>(), sorted);
    }

    #[test]
    fn numbers_equal_whatever_their_form() {
        assert!(same(&json!(1), &json!(1.0)));
        assert!(same(&json!({"a": [1, 2]}), &json!({"a": [1.0, 2]})));
        assert!(!same(&json!("1"), &json!(1)));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
    }
}
