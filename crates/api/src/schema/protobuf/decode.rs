//! From protobuf to the JSON tree it stands for.
//!
//! Counterpart in Kubernetes: the generated `Unmarshal` methods. Invariants: unknown fields are passed over, as in
//! Kubernetes; depth is bounded; a value that Go's JSON would leave out is left out here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::message::{self, Content, Fields, Kind, Other};
use super::{ProtobufError, Sealed};

/// How deep messages may nest. Only schemas of custom resources nest without an end, three messages for each of their
/// levels; JSON bodies may be 128 deep as well.
const MAX_DEPTH: usize = 128;

/// Reads Kubernetes' `runtime.Unknown`.
pub(super) fn envelope(bytes: &[u8]) -> Result<Sealed<'_>, ProtobufError> {
    let mut sealed = Sealed { api_version: String::new(), kind: String::new(), raw: &[] };
    for entry in Entries(bytes) {
        match entry? {
            (1, Wire::Bytes(meta)) => (sealed.api_version, sealed.kind) = type_meta(meta)?,
            (2, Wire::Bytes(raw)) => sealed.raw = raw,
            (3, Wire::Bytes(encoding)) if !encoding.is_empty() => {
                return Err(ProtobufError::Encoding);
            }
            _ => {}
        }
    }
    Ok(sealed)
}

fn type_meta(bytes: &[u8]) -> Result<(String, String), ProtobufError> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    for entry in Entries(bytes) {
        match entry? {
            (1, Wire::Bytes(text)) => api_version = utf8("apiVersion", text)?,
            (2, Wire::Bytes(text)) => kind = utf8("kind", text)?,
            _ => {}
        }
    }
    Ok((api_version, kind))
}

/// A value in one of protobuf's wire forms.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// Numbers of four bytes, which no field of ours has.
    Fixed32,
}

impl Wire<'_> {
    fn number(self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32 => 5,
        }
    }
}

/// The entries of a message: field number and value.
struct Entries<'a>(&'a [u8]);

impl<'a> Entries<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], ProtobufError> {
        let length = usize::try_from(length).map_err(|_| ProtobufError::Malformed)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed64(&mut self) -> Result<u64, ProtobufError> {
        let bytes = self.take(8)?.try_into().map_err(|_| ProtobufError::Truncated)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn read(&mut self) -> Result<(u32, Wire<'a>), ProtobufError> {
        let tag = varint(&mut self.0)?;
        let number =
            u32::try_from(tag >> 3).ok().filter(|n| *n > 0).ok_or(ProtobufError::Malformed)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(varint(&mut self.0)?),
            1 => Wire::Fixed64(self.fixed64()?),
            2 => {
                let length = varint(&mut self.0)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Wire::Fixed32)?,
            _ => return Err(ProtobufError::Malformed),
        };
        Ok((number, wire))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(u32, Wire<'a>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.read();
        if entry.is_err() {
            self.0 = &[];
        }
        Some(entry)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut value = 0u64;
    for index in 0..10 {
        let (first, rest) = bytes.split_first().ok_or(ProtobufError::Truncated)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << (7 * index);
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Malformed)
}

/// Reads the fields of a message into an object.
pub(super) fn message(
    fields: &Fields,
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Depth);
    }
    for entry in Entries(bytes) {
        let (number, wire) = entry?;
        let Ok(at) = fields.binary_search_by_key(&number, |slot| slot.number) else { continue };
        match (&fields[at].content, wire) {
            (Content::Inline(inner), Wire::Bytes(bytes)) => {
                message(inner, bytes, object, depth + 1)?;
            }
            (Content::Inline(_), wire) => return Err(wrong(&number.to_string(), wire)),
            (Content::Field { name, kind, pointer }, wire) => {
                field(name, kind, *pointer, wire, object, depth)?;
            }
        }
    }
    Ok(())
}

fn field(
    name: &str,
    kind: &Kind,
    pointer: bool,
    wire: Wire<'_>,
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    match kind {
        Kind::List(item) => {
            let added = elements(name, item, wire, depth)?;
            if let Value::Array(items) =
                object.entry(name).or_insert_with(|| Value::Array(Vec::new()))
            {
                items.extend(added);
            }
        }
        Kind::Map(value_kind) => {
            let (key, value) = map_entry(name, value_kind, wire, depth)?;
            let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            map[key] = value;
        }
        kind => {
            let value = value(name, kind, wire, depth)?;
            if !value.is_null() && (pointer || !is_zero(&value)) {
                object.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// One element, or many integers packed into one value.
pub(super) fn elements(
    name: &str,
    item: &Kind,
    wire: Wire<'_>,
    depth: usize,
) -> Result<Vec<Value>, ProtobufError> {
    let (Kind::Integer, Wire::Bytes(mut packed)) = (item, wire) else {
        return Ok(vec![value(name, item, wire, depth)?]);
    };
    let mut numbers = Vec::new();
    while !packed.is_empty() {
        numbers.push(varint(&mut packed)?.cast_signed().into());
    }
    Ok(numbers)
}

fn map_entry(
    name: &str,
    kind: &Kind,
    wire: Wire<'_>,
    depth: usize,
) -> Result<(String, Value), ProtobufError> {
    let Wire::Bytes(bytes) = wire else { return Err(wrong(name, wire)) };
    let (mut key, mut found) = (String::new(), None);
    for entry in Entries(bytes) {
        match entry? {
            (1, Wire::Bytes(text)) => key = utf8(name, text)?,
            (2, wire) => found = Some(value(name, kind, wire, depth + 1)?),
            _ => {}
        }
    }
    let found = found.map_or_else(|| absent(name, kind, depth), Ok)?;
    Ok((key, found))
}

/// The value of a map's entry that names only its key.
fn absent(name: &str, kind: &Kind, depth: usize) -> Result<Value, ProtobufError> {
    match kind {
        Kind::Integer => Ok(0.into()),
        Kind::Boolean => Ok(false.into()),
        kind => value(name, kind, Wire::Bytes(&[]), depth + 1),
    }
}

/// Zero values of plain scalars are absent in JSON; so is a time that was never set.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

pub(super) fn value(
    name: &str,
    kind: &Kind,
    wire: Wire<'_>,
    depth: usize,
) -> Result<Value, ProtobufError> {
    match (kind, wire) {
        (Kind::Integer, Wire::Varint(number)) => Ok(number.cast_signed().into()),
        (Kind::Boolean, Wire::Varint(number)) => Ok((number != 0).into()),
        (Kind::Double, Wire::Fixed64(bits)) => Ok(double(f64::from_bits(bits))),
        (Kind::Integer | Kind::Boolean | Kind::Double | Kind::List(_) | Kind::Map(_), wire) => {
            Err(wrong(name, wire))
        }
        (kind, Wire::Bytes(bytes)) => delimited(name, kind, bytes, depth),
        (_, wire) => Err(wrong(name, wire)),
    }
}

/// Go's JSON writes whole numbers without a fraction.
fn double(number: f64) -> Value {
    let whole = number as i64;
    if whole as f64 == number { whole.into() } else { number.into() }
}

/// A value that comes with its length.
fn delimited(name: &str, kind: &Kind, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    match kind {
        Kind::Bytes => Ok(BASE64.encode(bytes).into()),
        Kind::Message(place) => {
            let mut object = Map::new();
            message(message::fields(*place), bytes, &mut object, depth + 1)?;
            Ok(Value::Object(object))
        }
        Kind::Wrapped(item) => wrapped(name, item, bytes, depth),
        Kind::SchemaOr(place, other) => schema_or(name, *place, *other, bytes, depth),
        Kind::Quantity => quantity(name, bytes),
        Kind::IntOrString => int_or_string(name, bytes),
        Kind::Time => time(bytes, "%Y-%m-%dT%H:%M:%SZ"),
        Kind::MicroTime => time(bytes, "%Y-%m-%dT%H:%M:%S.%6fZ"),
        Kind::Raw => raw(name, bytes),
        _ => utf8(name, bytes).map(Value::from),
    }
}

fn wrong(field: &str, wire: Wire<'_>) -> ProtobufError {
    ProtobufError::WireType { field: field.to_owned(), wire_type: wire.number() }
}

fn utf8(name: &str, bytes: &[u8]) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::Text(name.to_owned()))
}

/// `Verbs { items = 1 }` and the like.
fn wrapped(name: &str, item: &Kind, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let mut items = Vec::new();
    for entry in Entries(bytes) {
        if let (1, wire) = entry? {
            items.extend(elements(name, item, wire, depth + 1)?);
        }
    }
    Ok(items.into())
}

/// A schema, or the list or boolean in its place; the number of the schema is 1 beside lists and 2 beside the boolean.
fn schema_or(
    name: &str,
    schema: usize,
    other: Other,
    bytes: &[u8],
    depth: usize,
) -> Result<Value, ProtobufError> {
    let (mut allows, mut items, mut found) = (false, Vec::new(), None);
    let schema = Kind::Message(schema);
    for entry in Entries(bytes) {
        match (other, entry?) {
            (Other::Boolean, (1, Wire::Varint(flag))) => allows = flag != 0,
            (Other::Boolean, (2, wire)) | (Other::Schemas | Other::Texts, (1, wire)) => {
                found = Some(value(name, &schema, wire, depth + 1)?);
            }
            (Other::Schemas, (2, wire)) => items.push(value(name, &schema, wire, depth + 1)?),
            (Other::Texts, (2, wire)) => items.push(value(name, &Kind::Text, wire, depth + 1)?),
            _ => {}
        }
    }
    Ok(match (other, found) {
        (Other::Boolean, None) => allows.into(),
        (Other::Boolean, Some(schema)) => schema,
        (_, Some(schema)) if items.is_empty() => schema,
        _ => items.into(),
    })
}

/// `Quantity { string = 1 }`.
pub(super) fn quantity(name: &str, bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut text = String::from("0");
    for entry in Entries(bytes) {
        if let (1, Wire::Bytes(bytes)) = entry? {
            text = utf8(name, bytes)?;
        }
    }
    Ok(text.into())
}

/// `IntOrString { type = 1, intVal = 2, strVal = 3 }`; type 1 is the string.
pub(super) fn int_or_string(name: &str, bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for entry in Entries(bytes) {
        match entry? {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(bytes)) => text = utf8(name, bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// `Time { seconds = 1, nanos = 2 }`; empty for a time that was never set.
pub(super) fn time(bytes: &[u8], format: &str) -> Result<Value, ProtobufError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    for entry in Entries(bytes) {
        match entry? {
            (1, Wire::Varint(value)) => seconds = value.cast_signed(),
            (2, Wire::Varint(value)) => {
                nanos = i32::try_from(value).map_err(|_| ProtobufError::Malformed)?;
            }
            _ => {}
        }
    }
    let timestamp = jiff::Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Malformed)?;
    Ok(timestamp.strftime(format).to_string().into())
}

/// `FieldsV1 { Raw = 1 }`, `RawExtension { raw = 1 }` and `JSON { raw = 1 }`.
pub(super) fn raw(name: &str, bytes: &[u8]) -> Result<Value, ProtobufError> {
    for entry in Entries(bytes) {
        if let (1, Wire::Bytes(json)) = entry? {
            return serde_json::from_slice(json).map_err(|_| ProtobufError::Text(name.to_owned()));
        }
    }
    Ok(Value::Null)
}
