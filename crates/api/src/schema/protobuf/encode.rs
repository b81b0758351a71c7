//! From the JSON tree of an object to protobuf.
//!
//! Counterpart in Kubernetes: the generated `Marshal` methods. Invariants: the bytes are those that Go writes: fields in the
//! order of their numbers, keys of maps sorted, and every scalar and message that Go holds by value, even when it is zero.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::ProtobufError;
use super::message::{self, Content, Fields, Kind, Other, Slot};

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const DELIMITED: u8 = 2;
/// Seconds of 0001-01-01T00:00:00Z, the time that Go takes for none.
const GO_ZERO_TIME: i64 = -62_135_596_800;

type Object = Map<String, Value>;

/// Writes a field that is as long as what `content` writes.
pub(super) fn delimited(
    out: &mut Vec<u8>,
    number: u32,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), ProtobufError>,
) -> Result<(), ProtobufError> {
    tag(out, number, DELIMITED);
    let start = out.len();
    content(out)?;
    let end = out.len();
    // The length stands in front of what it measures: written behind, then moved.
    varint(out, (end - start) as u64);
    let moved = out.len() - end;
    out[start..].rotate_right(moved);
    Ok(())
}

/// Writes a field of bytes.
pub(super) fn bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    head_of_bytes(out, number, content.len());
    out.extend_from_slice(content);
}

/// What stands before a field of so many bytes.
pub(super) fn head_of_bytes(out: &mut Vec<u8>, number: u32, length: usize) {
    tag(out, number, DELIMITED);
    varint(out, length as u64);
}

/// How long a field of so many bytes is with what stands before it.
pub(super) fn length_of_bytes(number: u32, length: usize) -> usize {
    let mut head = Vec::with_capacity(16);
    head_of_bytes(&mut head, number, length);
    head.len() + length
}

/// Writes a message whose field 1 holds bytes.
pub(super) fn nested_bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    let mut head = Vec::with_capacity(16);
    head_of_bytes(&mut head, 1, content.len());
    head_of_bytes(out, number, head.len() + content.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(content);
}

fn tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn integer(out: &mut Vec<u8>, number: u32, value: i64) {
    tag(out, number, VARINT);
    varint(out, value.cast_unsigned());
}

/// Writes the fields of a message; without an object, those of its zero value.
pub(super) fn message(
    out: &mut Vec<u8>,
    fields: &Fields,
    object: Option<&Object>,
) -> Result<(), ProtobufError> {
    fields.iter().try_for_each(|field| slot(out, field, object))
}

/// Writes one field of a message.
pub(super) fn slot(
    out: &mut Vec<u8>,
    Slot { number, content }: &Slot,
    object: Option<&Object>,
) -> Result<(), ProtobufError> {
    match content {
        Content::Inline(inner) => delimited(out, *number, |out| message(out, inner, object)),
        Content::Field { name, kind, pointer } => {
            let value = object.and_then(|object| object.get(name));
            match value.filter(|value| !value.is_null()) {
                Some(value) => field(out, *number, name, kind, value),
                None if *pointer => Ok(()),
                None => zero(out, *number, kind),
            }
        }
    }
}

/// What Go writes for a value that nobody has set.
fn zero(out: &mut Vec<u8>, number: u32, kind: &Kind) -> Result<(), ProtobufError> {
    match kind {
        Kind::Integer | Kind::Boolean => integer(out, number, 0),
        Kind::Double => double(out, number, 0.0),
        Kind::Text | Kind::Time | Kind::MicroTime | Kind::Raw => bytes(out, number, &[]),
        Kind::Quantity => delimited(out, number, |out| {
            bytes(out, 1, b"0");
            Ok(())
        })?,
        Kind::IntOrString => delimited(out, number, |out| {
            int_or_string(out, false, 0, "");
            Ok(())
        })?,
        Kind::Message(place) => {
            delimited(out, number, |out| message(out, message::fields(*place), None))?;
        }
        Kind::Bytes | Kind::List(_) | Kind::Wrapped(_) | Kind::Map(_) | Kind::SchemaOr(..) => {}
    }
    Ok(())
}

fn field(
    out: &mut Vec<u8>,
    number: u32,
    name: &str,
    kind: &Kind,
    value: &Value,
) -> Result<(), ProtobufError> {
    let wrong = || ProtobufError::Value(name.to_owned());
    match kind {
        Kind::Text => bytes(out, number, value.as_str().ok_or_else(wrong)?.as_bytes()),
        Kind::Integer => integer(out, number, value.as_i64().ok_or_else(wrong)?),
        Kind::Boolean => integer(out, number, value.as_bool().ok_or_else(wrong)?.into()),
        Kind::Double => double(out, number, value.as_f64().ok_or_else(wrong)?),
        Kind::Bytes => {
            let text = value.as_str().ok_or_else(wrong)?;
            bytes(out, number, &BASE64.decode(text).map_err(|_| wrong())?);
        }
        Kind::List(item) => {
            for value in value.as_array().ok_or_else(wrong)? {
                element(out, number, name, item, value)?;
            }
        }
        Kind::Map(values) => map(out, number, name, values, value.as_object().ok_or_else(wrong)?)?,
        special => delimited(out, number, |out| content(out, name, special, value))?,
    }
    Ok(())
}

/// An item of a list or a value of a map, which is written even when it is null.
fn element(
    out: &mut Vec<u8>,
    number: u32,
    name: &str,
    kind: &Kind,
    value: &Value,
) -> Result<(), ProtobufError> {
    match value {
        Value::Null => zero(out, number, kind),
        value => field(out, number, name, kind, value),
    }
}

fn map(
    out: &mut Vec<u8>,
    number: u32,
    name: &str,
    kind: &Kind,
    entries: &Object,
) -> Result<(), ProtobufError> {
    let mut entries: Vec<(&String, &Value)> = entries.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    for (key, value) in entries {
        delimited(out, number, |out| {
            bytes(out, 1, key.as_bytes());
            element(out, 2, name, kind, value)
        })?;
    }
    Ok(())
}

/// What stands inside a value that comes with its length.
fn content(out: &mut Vec<u8>, name: &str, kind: &Kind, value: &Value) -> Result<(), ProtobufError> {
    let wrong = || ProtobufError::Value(name.to_owned());
    match kind {
        Kind::Message(place) => {
            let object = value.as_object().ok_or_else(wrong)?;
            message(out, message::fields(*place), Some(object))?;
        }
        Kind::Wrapped(item) => {
            for value in value.as_array().ok_or_else(wrong)? {
                element(out, 1, name, item, value)?;
            }
        }
        Kind::SchemaOr(schema, other) => schema_or(out, name, *schema, *other, value)?,
        Kind::Quantity => match value {
            Value::String(text) => bytes(out, 1, text.as_bytes()),
            Value::Number(number) => bytes(out, 1, number.to_string().as_bytes()),
            _ => return Err(wrong()),
        },
        Kind::IntOrString => match value {
            Value::String(text) => int_or_string(out, true, 0, text),
            value => int_or_string(out, false, value.as_i64().ok_or_else(wrong)?, ""),
        },
        Kind::Time => time(out, value, |_| 0).ok_or_else(wrong)?,
        Kind::MicroTime => time(out, value, Timestamp::subsec_nanosecond).ok_or_else(wrong)?,
        _ => bytes(out, 1, &serde_json::to_vec(value).map_err(|_| wrong())?),
    }
    Ok(())
}

fn double(out: &mut Vec<u8>, number: u32, value: f64) {
    tag(out, number, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Type 1 is the text; what is not the value is written as zero.
fn int_or_string(out: &mut Vec<u8>, is_text: bool, number: i64, text: &str) {
    integer(out, 1, is_text.into());
    integer(out, 2, number);
    bytes(out, 3, text.as_bytes());
}

/// Writes seconds and nanoseconds; nothing for the time that Go takes for none. `None` when it is no time.
fn time(out: &mut Vec<u8>, value: &Value, nanos: fn(Timestamp) -> i32) -> Option<()> {
    let timestamp: Timestamp = value.as_str()?.parse().ok()?;
    if timestamp.as_second() != GO_ZERO_TIME || timestamp.subsec_nanosecond() != 0 {
        integer(out, 1, timestamp.as_second());
        integer(out, 2, nanos(timestamp).into());
    }
    Some(())
}

fn schema_or(
    out: &mut Vec<u8>,
    name: &str,
    schema: usize,
    other: Other,
    value: &Value,
) -> Result<(), ProtobufError> {
    let schema = Kind::Message(schema);
    match (other, value) {
        (Other::Boolean, Value::Bool(allows)) => integer(out, 1, (*allows).into()),
        (Other::Boolean, value) => {
            integer(out, 1, 1);
            field(out, 2, name, &schema, value)?;
        }
        (Other::Schemas | Other::Texts, Value::Array(items)) => {
            let item = if other == Other::Texts { &Kind::Text } else { &schema };
            for value in items {
                element(out, 2, name, item, value)?;
            }
        }
        (_, value) => field(out, 1, name, &schema, value)?,
    }
    Ok(())
}
