//! The stored form of a set of fields: nested JSON objects whose keys are steps; `.` says that the object's own field is in
//! the set.
//!
//! Counterpart: `fieldpath.Set.ToJSON` and `FromJSON`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::element::PathElement;
use super::field_set::FieldSet;

/// Why a text is no set of fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldsError(pub String);

impl FieldSet {
    /// The stored form.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(self.nodes.len() * 64 + 2);
        self.write(false, &mut out, &mut String::new());
        out
    }

    fn write(&self, own: bool, out: &mut String, scratch: &mut String) {
        out.push('{');
        if own {
            out.push_str("\".\":{}");
        }
        for (position, node) in self.nodes.iter().enumerate() {
            if own || position > 0 {
                out.push(',');
            }
            scratch.clear();
            node.element.write(scratch);
            push_quoted(out, scratch);
            out.push(':');
            match node.below.is_empty() {
                true => out.push_str("{}"),
                false => node.below.write(node.owned, out, scratch),
            }
        }
        out.push('}');
    }

    /// Reads the stored form; empty text is the empty set.
    ///
    /// # Errors
    /// If it is no JSON object of such objects, or a key is no step.
    pub fn from_json(text: &str) -> Result<Self, FieldsError> {
        if text.is_empty() || text == "null" {
            return Ok(Self::default());
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let level = Level.deserialize(&mut deserializer);
        let (set, _) = level.map_err(|error| FieldsError(error.to_string()))?;
        deserializer.end().map_err(|error| FieldsError(error.to_string()))?;
        Ok(set)
    }
}

/// Appends a JSON string.
pub(super) fn push_quoted(out: &mut String, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    out.push_str(&serde_json::Value::String(text.to_owned()).to_string());
}

/// One level of the stored form; gives the set below and whether the level's own field is in the set.
struct Level;

impl<'de> DeserializeSeed<'de> for Level {
    type Value = (FieldSet, bool);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = (FieldSet, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok((FieldSet::default(), true))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let (mut set, mut own) = (FieldSet::default(), false);
        while let Some(key) = access.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == "." {
                own = true;
                access.next_value::<IgnoredAny>()?;
                continue;
            }
            match PathElement::parse(&key).map_err(A::Error::custom)? {
                None => drop(access.next_value::<IgnoredAny>()?),
                Some(element) => {
                    let (below, owned) = access.next_value_seed(Level)?;
                    set.push(element, owned, below);
                }
            }
        }
        let own = own || set.is_empty();
        Ok((set, own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stored_form_written_as_read() {
        let table = [
            "{}",
            r#"{"f:data":{}}"#,
            r#"{"f:data":{".":{},"f:a":{},"f:b":{}}}"#,
            r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":443,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}}"#,
            r#"{"f:metadata":{"f:finalizers":{"v:\"a/b\"":{}}}}"#,
        ];
        for text in table {
            assert_eq!(FieldSet::from_json(text).unwrap().to_json(), text);
        }
    }

    #[test]
    fn fields_read_in_any_order_with_unknown_steps_dropped() {
        let read = |text: &str| FieldSet::from_json(text).unwrap().to_json();
        assert_eq!(read(r#"{"f:b":{},"f:a":{}}"#), r#"{"f:a":{},"f:b":{}}"#);
        assert_eq!(read(r#"{"z:b":{"f:x":{}},"f:a":{}}"#), r#"{"f:a":{}}"#);
        assert_eq!(read(r#"{"f:a":{"z:b":{}}}"#), r#"{"f:a":{}}"#);
        assert_eq!(read(""), "{}");
        for bad in ["[]", "{", r#"{"a":{}}"#, r#"{"f:a":3}"#, r#"{"f:a":{}} x"#] {
            assert!(FieldSet::from_json(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sets_combined() {
        let set = |text: &str| FieldSet::from_json(text).unwrap();
        let a = set(r#"{"f:a":{".":{},"f:x":{}},"f:b":{}}"#);
        let b = set(r#"{"f:a":{},"f:c":{"f:y":{}}}"#);
        assert_eq!(a.union(&b).to_json(), r#"{"f:a":{".":{},"f:x":{}},"f:b":{},"f:c":{"f:y":{}}}"#);
        assert_eq!(a.intersection(&b).to_json(), r#"{"f:a":{}}"#);
        assert_eq!(a.difference(&b).to_json(), r#"{"f:a":{"f:x":{}},"f:b":{}}"#);
        assert_eq!(a.without(&b).to_json(), r#"{"f:b":{}}"#);
        assert_eq!(a.difference(&a), FieldSet::default());
    }
}
