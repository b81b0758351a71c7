//! A JSON document as a tree that keeps what `serde_json::Value` drops: repeated keys and the order of keys.
//!
//! Invariant: no tree is deeper than [`MAX_DEPTH`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// How deeply objects and lists may nest. Real objects stay below 40; the limit keeps the recursive decoders off the end of
/// the stack.
pub const MAX_DEPTH: usize = 120;

/// Said of a document that is deeper; recognised by [`parse`].
const TOO_DEEP: &str = "exceeded max depth";

/// A JSON value that borrows its strings where it can.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Map(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl Node<'_> {
    /// What Go calls this value in its messages.
    pub(super) fn go_kind(&self) -> String {
        match self {
            Node::Null => "null".to_owned(),
            Node::Bool(_) => "bool".to_owned(),
            Node::Signed(_) | Node::Unsigned(_) | Node::Float(_) => "number".to_owned(),
            Node::Text(_) => "string".to_owned(),
            Node::List(_) => "array".to_owned(),
            Node::Map(_) => "object".to_owned(),
        }
    }

    /// What Go calls this value where a number was expected: with its digits, if it is one.
    pub(super) fn go_number(&self) -> String {
        match self {
            Node::Signed(number) => format!("number {number}"),
            Node::Unsigned(number) => format!("number {number}"),
            Node::Float(number) => format!("number {number:?}"),
            other => other.go_kind(),
        }
    }

    /// The last value of a key of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Node::Map(entries) => {
                entries.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

/// Parses a JSON document.
///
/// # Errors
/// Go's message about what is wrong with it.
pub(super) fn parse(json: &[u8]) -> Result<Node<'_>, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let node = Seed { depth: 0 }
        .deserialize(&mut deserializer)
        .map_err(|error| go_syntax_error(json, &error))?;
    deserializer.end().map_err(|error| go_syntax_error(json, &error))?;
    Ok(node)
}

/// A tree over a value that is already parsed.
///
/// # Errors
/// If the value is too deep.
pub(super) fn from_value(value: &Value, depth: usize) -> Result<Node<'_>, String> {
    if depth > MAX_DEPTH {
        return Err(TOO_DEEP.to_owned());
    }
    Ok(match value {
        Value::Null => Node::Null,
        Value::Bool(flag) => Node::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => Node::Signed(signed),
            (None, Some(unsigned)) => Node::Unsigned(unsigned),
            (None, None) => Node::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Node::Text(Cow::Borrowed(text)),
        Value::Array(items) => Node::List(
            items.iter().map(|item| from_value(item, depth + 1)).collect::<Result<_, _>>()?,
        ),
        Value::Object(map) => {
            let entry = |(key, value)| {
                Ok((Cow::Borrowed(String::as_str(key)), from_value(value, depth + 1)?))
            };
            Node::Map(map.iter().map(entry).collect::<Result<_, String>>()?)
        }
    })
}

/// Builds a [`Node`] at some depth.
#[derive(Clone, Copy)]
struct Seed {
    depth: usize,
}

impl Seed {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth >= MAX_DEPTH {
            true => Err(E::custom(TOO_DEEP)),
            false => Ok(Self { depth: self.depth + 1 }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Signed(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(i64::try_from(value).map_or(Node::Unsigned(value), Node::Signed))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut entries = Vec::new();
        while let Some(key) = access.next_key_seed(inner)? {
            let Node::Text(key) = key else { return Err(A::Error::custom("key must be a string")) };
            entries.push((key, access.next_value_seed(inner)?));
        }
        Ok(Node::Map(entries))
    }
}

/// Words a syntax error as Go's decoder does.
fn go_syntax_error(json: &[u8], error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with(TOO_DEEP) || text.starts_with("recursion limit") {
        return TOO_DEEP.to_owned();
    }
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let place = match text.as_str() {
        t if t.starts_with("trailing characters") => "after top-level value",
        t if t.starts_with("expected `,` or `}`") => "after object key:value pair",
        t if t.starts_with("expected `,` or `]`") => "after array element",
        t if t.starts_with("expected `:`") => "after object key",
        t if t.starts_with("key must be a string") || t.starts_with("trailing comma") => {
            "looking for beginning of object key string"
        }
        t if t.starts_with("expected value") || t.starts_with("expected ident") => {
            "looking for beginning of value"
        }
        t if t.starts_with("control character") || t.starts_with("invalid escape") => {
            "in string literal"
        }
        t if t.starts_with("invalid number") || t.starts_with("number out of range") => {
            "in numeric literal"
        }
        _ => return text,
    };
    format!("invalid character {} {place}", quoted_at(json, error))
}

/// The character an error points at, quoted as Go does.
fn quoted_at(json: &[u8], error: &serde_json::Error) -> String {
    let line =
        json.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    let c = String::from_utf8_lossy(&rest[..rest.len().min(4)]).chars().next().unwrap_or('\n');
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => format!("'{}'", crate::field::quote(&c.to_string()).trim_matches('"')),
    }
}
