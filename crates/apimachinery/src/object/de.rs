//! A serde deserializer over a [`Node`] that decodes as Go's `encoding/json` does for Kubernetes.
//!
//! What it adds to serde: `null` is the zero value; unknown and repeated fields are reported with their paths; wrong types
//! are worded as Go words them; quantities and times are brought to canonical form; a missing time that the Rust type cannot
//! leave out is the zero time.

use std::any::type_name;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer, StringDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

use super::tree::Node;
use crate::{quantity, time};

/// How many strict errors are kept: enough to act upon, and a bound on the answer's size. Kubernetes keeps as many.
const MAX_STRICT_ERRORS: usize = 100;

/// The zero time of Go.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// A step from a value to one inside it.
#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

/// What is known while decoding.
pub(super) struct Context<'a> {
    /// The version of the API, which names the Go package of its types.
    version: &'static str,
    strict: bool,
    state: RefCell<State<'a>>,
}

#[derive(Default)]
struct State<'a> {
    path: Vec<Step<'a>>,
    structs: Vec<&'static str>,
    strict_errors: Vec<String>,
}

impl<'a> Context<'a> {
    /// A context; strict errors are collected if `strict`.
    pub(super) fn new(version: &'static str, strict: bool) -> Self {
        Self { version, strict, state: RefCell::default() }
    }

    /// The strict errors found, in order.
    pub(super) fn into_strict_errors(self) -> Vec<String> {
        self.state.into_inner().strict_errors
    }

    fn report(&self, what: &str, field: &str) {
        let mut state = self.state.borrow_mut();
        let mut path = String::new();
        for step in &state.path {
            match step {
                Step::Field(name) | Step::Key(name) => push_name(&mut path, name),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        push_name(&mut path, field);
        let message = format!("{what} field \"{path}\"");
        if state.strict_errors.len() < MAX_STRICT_ERRORS && !state.strict_errors.contains(&message)
        {
            state.strict_errors.push(message);
        }
    }

    fn within<T>(&self, step: Step<'a>, run: impl FnOnce() -> T) -> T {
        self.state.borrow_mut().path.push(step);
        let result = run();
        self.state.borrow_mut().path.pop();
        result
    }

    /// Go's words for a value of the wrong type.
    fn mismatch(&self, found: &str, wanted: &str) -> DeError {
        let state = self.state.borrow();
        let mut path = String::new();
        for step in &state.path {
            if let Step::Field(name) = step {
                push_name(&mut path, name);
            }
        }
        // The struct that holds the field, not the one whose value is wrong.
        DeError(match state.structs.last() {
            Some(owner) => {
                format!(
                    "json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}"
                )
            }
            None => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
        })
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Why decoding failed, in Go's words.
#[derive(Debug)]
pub(super) struct DeError(pub(super) String);

impl std::error::Error for DeError {}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The Go name of a Rust type, from its path.
fn go_type(rust: &str, version: &str) -> String {
    let generic = |prefix: &str| rust.strip_prefix(prefix)?.strip_suffix('>');
    if let Some(inner) = generic("core::option::Option<") {
        return go_type(inner, version);
    }
    if let Some(inner) = generic("alloc::vec::Vec<") {
        return format!("[]{}", go_type(inner, version));
    }
    if let Some((key, value)) = generic("alloc::collections::btree::map::BTreeMap<")
        .and_then(|inner| inner.split_once(", "))
    {
        return format!("map[{}]{}", go_type(key, version), go_type(value, version));
    }
    match rust.rsplit("::").next().unwrap_or(rust) {
        "String" | "str" => "string".to_owned(),
        "i32" => "int32".to_owned(),
        "i64" => "int64".to_owned(),
        "f64" => "float64".to_owned(),
        "bool" => "bool".to_owned(),
        "ByteString" => "[]uint8".to_owned(),
        "Quantity" => "resource.Quantity".to_owned(),
        "IntOrString" => "intstr.IntOrString".to_owned(),
        "Time" | "Timestamp" | "MicroTime" => "string".to_owned(),
        name => format!("{version}.{name}"),
    }
}

/// Whether a type is a list or map that may be left out; the name is the only thing that tells it from a struct here. An empty
/// list of managers is kept: it asks for all of them to be dropped.
fn may_omit<T>() -> bool {
    let inner = std::any::type_name::<T>().strip_prefix("core::option::Option<");
    inner.is_some_and(|inner| {
        (inner.starts_with("alloc::vec::Vec<") && !inner.ends_with("::ManagedFieldsEntry>>"))
            || inner.starts_with("alloc::collections::btree::map::BTreeMap<")
    })
}

/// A node with the context it is decoded in.
#[derive(Clone, Copy)]
pub(super) struct NodeDeserializer<'c, 'a> {
    pub(super) node: &'a Node<'a>,
    pub(super) context: &'c Context<'a>,
}

impl<'a> NodeDeserializer<'_, 'a> {
    fn mismatch<T>(&self) -> DeError {
        self.context
            .mismatch(&self.node.go_kind(), &go_type(type_name::<T>(), self.context.version))
    }

    fn integer(&self, wanted: &str, fits: impl Fn(i64) -> bool) -> Result<i64, DeError> {
        match self.node {
            Node::Null => Ok(0),
            Node::Signed(number) if fits(*number) => Ok(*number),
            other => Err(self.context.mismatch(&other.go_number(), wanted)),
        }
    }

    /// Refuses what is neither a string nor an `int32`, as Go does where both are allowed.
    fn check_int_or_string(&self) -> Result<(), DeError> {
        match self.node {
            Node::Text(_) => Ok(()),
            Node::Signed(number) if i32::try_from(*number).is_ok() => Ok(()),
            other => {
                let found = other.go_number();
                Err(DeError(format!("json: cannot unmarshal {found} into Go value of type int32")))
            }
        }
    }

    /// A number of any form.
    fn float(&self) -> Result<f64, DeError> {
        match self.node {
            Node::Null => Ok(0.0),
            Node::Signed(number) => Ok(*number as f64),
            Node::Unsigned(number) => Ok(*number as f64),
            Node::Float(number) => Ok(*number),
            other => Err(self.context.mismatch(&other.go_kind(), "float64")),
        }
    }

    /// The canonical text of a quantity, which may be written as a string or a number.
    fn quantity(&self) -> Result<String, DeError> {
        let text = match self.node {
            Node::Null => return Ok("0".to_owned()),
            Node::Text(text) => text.trim().to_owned(),
            Node::Signed(number) => number.to_string(),
            Node::Unsigned(number) => number.to_string(),
            Node::Float(number) => number.to_string(),
            Node::Bool(_) | Node::List(_) | Node::Map(_) => String::new(),
        };
        quantity::Quantity::parse(&text)
            .map(|parsed| parsed.to_string())
            .map_err(|error| DeError(error.to_string()))
    }

    /// A time as text, truncated to what the wire carries.
    fn time(&self, micro: bool) -> Result<String, DeError> {
        let text = match self.node {
            Node::Null => return Ok(ZERO_TIME.to_owned()),
            Node::Text(text) => text,
            other => {
                return Err(DeError(format!(
                    "json: cannot unmarshal {} into Go value of type string",
                    other.go_kind()
                )));
            }
        };
        let parsed = match micro {
            true => time::parse_micro(text).map(|at| time::format_micro(at.0)),
            false => time::parse(text).map(|at| time::format(at.0)),
        };
        parsed.map_err(DeError)
    }

    fn map_access<'c>(
        &self,
        context: &'c Context<'a>,
        fields: Option<&'static [&'static str]>,
    ) -> Entries<'c, 'a> {
        let entries: &'a [_] = match self.node {
            Node::Map(entries) => entries,
            _ => &[],
        };
        Entries { rest: entries.iter(), value: None, fields, seen: Seen::default(), context }
    }
}

/// Base64 as Go reads it: line breaks are ignored.
fn base64_text(text: &str) -> Result<String, DeError> {
    use base64::Engine as _;
    let clean: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let illegal = |at: usize| DeError(format!("illegal base64 data at input byte {at}"));
    match base64::engine::general_purpose::STANDARD.decode(&clean) {
        Ok(_) => Ok(clean),
        Err(
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _),
        ) => Err(illegal(at)),
        Err(_) => Err(illegal(clean.len() / 4 * 4)),
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty, $go:literal;)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
            let number = self.integer($go, |number| <$type>::try_from(number).is_ok())?;
            visitor.$visit(<$type>::try_from(number).unwrap_or_default())
        }
    )*};
}

impl<'a> Deserializer<'a> for NodeDeserializer<'_, 'a> {
    type Error = DeError;

    integers! {
        deserialize_i8 visit_i8 i8, "int8";
        deserialize_i16 visit_i16 i16, "int16";
        deserialize_i32 visit_i32 i32, "int32";
        deserialize_i64 visit_i64 i64, "int64";
        deserialize_u8 visit_u8 u8, "uint8";
        deserialize_u16 visit_u16 u16, "uint16";
        deserialize_u32 visit_u32 u32, "uint32";
        deserialize_u64 visit_u64 u64, "uint64";
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        if type_name::<V::Value>().ends_with("::IntOrString") {
            self.check_int_or_string()?;
        }
        match self.node {
            Node::Null => visitor.visit_unit(),
            Node::Bool(flag) => visitor.visit_bool(*flag),
            Node::Signed(number) => visitor.visit_i64(*number),
            Node::Unsigned(number) => visitor.visit_u64(*number),
            Node::Float(number) => visitor.visit_f64(*number),
            Node::Text(text) => visitor.visit_borrowed_str(text),
            Node::List(items) => {
                visitor.visit_seq(Items { rest: items.iter().enumerate(), context: self.context })
            }
            Node::Map(_) => visitor.visit_map(self.map_access(self.context, None)),
        }
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node {
            Node::Null => visitor.visit_bool(false),
            Node::Bool(flag) => visitor.visit_bool(*flag),
            _ => Err(self.mismatch::<bool>()),
        }
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node {
            Node::Null => visitor.visit_borrowed_str(""),
            Node::Text(text) if type_name::<V::Value>().ends_with("::ByteString") => {
                visitor.visit_string(base64_text(text)?)
            }
            Node::Text(text) => visitor.visit_borrowed_str(text),
            _ => Err(self.mismatch::<V::Value>()),
        }
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node {
            Node::Null => visitor.visit_none(),
            // As Go's omitempty: an empty list or map that may be left out is the same as none. An empty object is not.
            Node::List(items) if items.is_empty() && may_omit::<V::Value>() => visitor.visit_none(),
            Node::Map(fields) if fields.is_empty() && may_omit::<V::Value>() => {
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let text: StringDeserializer<DeError> = match name {
            "Quantity" => self.quantity()?.into_deserializer(),
            "Time" => self.time(false)?.into_deserializer(),
            "MicroTime" => self.time(true)?.into_deserializer(),
            _ => return visitor.visit_newtype_struct(self),
        };
        visitor.visit_newtype_struct(text)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node {
            Node::Null => {
                visitor.visit_seq(Items { rest: [].iter().enumerate(), context: self.context })
            }
            Node::List(items) => {
                visitor.visit_seq(Items { rest: items.iter().enumerate(), context: self.context })
            }
            _ => Err(self.mismatch::<V::Value>()),
        }
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node {
            Node::Null | Node::Map(_) => visitor.visit_map(self.map_access(self.context, None)),
            _ => Err(self.mismatch::<V::Value>()),
        }
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        if !matches!(self.node, Node::Null | Node::Map(_)) {
            return Err(self.mismatch::<V::Value>());
        }
        self.context.state.borrow_mut().structs.push(name);
        let entries = Struct {
            entries: self.map_access(self.context, Some(fields)),
            missing: missing_time(name, self.node),
        };
        let result = visitor.visit_map(entries);
        self.context.state.borrow_mut().structs.pop();
        result
    }

    serde::forward_to_deserialize_any! {
        <W: Visitor<'a>>
        char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

/// The time fields without which a Rust type cannot be built, while Go has a zero time for them.
fn missing_time(name: &str, node: &Node<'_>) -> Option<&'static str> {
    let field = match name {
        "Condition" => "lastTransitionTime",
        "EventSeries" => "lastObservedTime",
        _ => return None,
    };
    node.get(field).is_none().then_some(field)
}

/// The items of a list.
struct Items<'c, 'a> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Node<'a>>>,
    context: &'c Context<'a>,
}

impl<'a> SeqAccess<'a> for Items<'_, 'a> {
    type Error = DeError;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DeError> {
        let Some((index, node)) = self.rest.next() else { return Ok(None) };
        let context = self.context;
        context
            .within(Step::Index(index), || seed.deserialize(NodeDeserializer { node, context }))
            .map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The keys met so far: fields of a struct by their position, others by their text.
#[derive(Default)]
struct Seen<'a> {
    positions: u128,
    keys: HashSet<&'a str>,
}

impl<'a> Seen<'a> {
    /// Remembers a key; false if it was there. No struct of the API has 128 fields; those beyond would be kept by text.
    fn insert(&mut self, key: &'a str, position: Option<usize>) -> bool {
        let bit = position.and_then(|position| 1u128.checked_shl(u32::try_from(position).ok()?));
        match bit {
            None => self.keys.insert(key),
            Some(bit) => {
                let new = self.positions & bit == 0;
                self.positions |= bit;
                new
            }
        }
    }
}

/// The entries of a map, or of a struct if its fields are known.
struct Entries<'c, 'a> {
    rest: std::slice::Iter<'a, (std::borrow::Cow<'a, str>, Node<'a>)>,
    value: Option<(Step<'a>, &'a Node<'a>)>,
    fields: Option<&'static [&'static str]>,
    seen: Seen<'a>,
    context: &'c Context<'a>,
}

impl<'a> Entries<'_, 'a> {
    /// Reports the key if it is unknown or repeated; false if its value is to be skipped.
    fn admits(&mut self, key: &'a str) -> bool {
        let index = self.fields.map(|fields| fields.iter().position(|field| *field == key));
        let known = index != Some(None);
        if self.context.strict {
            let repeated = known && !self.seen.insert(key, index.flatten());
            match (known, repeated) {
                (false, _) => self.context.report("unknown", key),
                (true, true) => self.context.report("duplicate", key),
                (true, false) => {}
            }
        }
        known
    }

    /// The `apiVersion` and `kind` of the document itself: checked before decoding, and maybe empty.
    fn is_own_kind(&self, key: &str) -> bool {
        matches!(key, "apiVersion" | "kind")
            && self.fields.is_some()
            && self.context.state.borrow().path.is_empty()
    }
}

impl<'a> MapAccess<'a> for Entries<'_, 'a> {
    type Error = DeError;

    fn next_key_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DeError> {
        while let Some((key, node)) = self.rest.next() {
            if self.admits(key) && !self.is_own_kind(key) {
                let step = if self.fields.is_some() { Step::Field(key) } else { Step::Key(key) };
                self.value = Some((step, node));
                return seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, DeError> {
        let (step, node) = self
            .value
            .take()
            .ok_or_else(|| de::Error::custom("a value was asked for before its key"))?;
        let context = self.context;
        context.within(step, || seed.deserialize(NodeDeserializer { node, context }))
    }
}

/// The fields of a struct, after the one that is missing and must not be.
struct Struct<'c, 'a> {
    entries: Entries<'c, 'a>,
    missing: Option<&'static str>,
}

impl<'a> MapAccess<'a> for Struct<'_, 'a> {
    type Error = DeError;

    fn next_key_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DeError> {
        if let Some(field) = self.missing.take() {
            self.entries.value = Some((Step::Field(field), &Node::Null));
            return seed.deserialize(StrDeserializer::new(field)).map(Some);
        }
        self.entries.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, DeError> {
        self.entries.next_value_seed(seed)
    }
}
