//! Bodies in Kubernetes' protobuf form, read into the JSON tree they stand for.
//!
//! Counterpart in Kubernetes: `runtime/serializer/protobuf` and the generated `Unmarshal` methods. `kubectl` and other Go
//! clients send what they create this way. Which number is which field stands in `wire`, what it holds
//! comes from the definitions. Invariants: unknown fields are passed over, as in Kubernetes; depth is bounded; a value
//! that Go's JSON would leave out is left out here.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::{Definitions, INT_OR_STRING, QUANTITY, REF_PREFIX, definitions, long_name, wire};
use crate::kinds;

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What every such body begins with.
const PREFIX: &[u8] = b"k8s\0";
/// How deep messages may nest; the deepest type of Kubernetes is less than half as deep.
const MAX_DEPTH: usize = 64;

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The body does not begin with the four bytes of the form.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Prefix,
    /// The bytes end in the middle of a value.
    #[error("unexpected EOF")]
    Truncated,
    /// A number, length or tag cannot be what it says.
    #[error("proto: illegal or overlong value")]
    Malformed,
    /// A text is not UTF-8, or a raw value is no JSON.
    #[error("proto: field {0} has a value that is no text")]
    Text(String),
    /// A field comes in another wire form than its type has.
    #[error("proto: wrong wireType = {wire_type} for field {field}")]
    WireType {
        /// JSON name of the field.
        field: String,
        /// The wire type it came in.
        wire_type: u8,
    },
    /// Messages nest too deeply.
    #[error("proto: messages nest deeper than {MAX_DEPTH}")]
    Depth,
    /// The body says it is compressed or in a form of its own.
    #[error("contentEncoding of a protobuf body is not supported")]
    Encoding,
    /// No such kind is known.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    Kind {
        /// As the body says.
        api_version: String,
        /// As the body says.
        kind: String,
    },
}

/// Reads a body: an envelope with `apiVersion`, `kind` and the object, as the JSON tree of that object.
///
/// # Errors
/// When the bytes are no such body, or of a kind that is not known.
pub fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = Envelope::read(body.strip_prefix(PREFIX).ok_or(ProtobufError::Prefix)?)?;
    let unknown = || ProtobufError::Kind {
        api_version: envelope.api_version.clone(),
        kind: envelope.kind.clone(),
    };
    let name = definition_name(&envelope.api_version, &envelope.kind).ok_or_else(unknown)?;
    let fields = MESSAGES.get(name).ok_or_else(unknown)?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), envelope.api_version.into());
    object.insert("kind".to_owned(), envelope.kind.into());
    message(fields, envelope.raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

fn definition_name(api_version: &str, kind: &str) -> Option<&'static str> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let row = kinds::by_kind(group, version, kind).map(|row| row.schema_name);
    let shared =
        || super::SHARED_KINDS.iter().find(|(_, shared)| *shared == kind).map(|(name, _)| *name);
    row.or_else(|| super::body_definition(group, version, kind)).or_else(shared)
}

/// Kubernetes' `runtime.Unknown`.
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        let mut envelope = Self { api_version: String::new(), kind: String::new(), raw: &[] };
        for entry in Entries(bytes) {
            let (number, wire) = entry?;
            match (number, wire) {
                (1, Wire::Bytes(meta)) => envelope.read_type(meta)?,
                (2, Wire::Bytes(raw)) => envelope.raw = raw,
                (3, Wire::Bytes(encoding)) if !encoding.is_empty() => {
                    return Err(ProtobufError::Encoding);
                }
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, bytes: &[u8]) -> Result<(), ProtobufError> {
        for entry in Entries(bytes) {
            match entry? {
                (1, Wire::Bytes(text)) => self.api_version = utf8("apiVersion", text)?,
                (2, Wire::Bytes(text)) => self.kind = utf8("kind", text)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A value in one of protobuf's wire forms.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed-size numbers, which no field of ours has.
    Other(u8),
}

impl Wire<'_> {
    fn number(self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Bytes(_) => 2,
            Self::Other(wire_type) => wire_type,
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

    fn read(&mut self) -> Result<(u32, Wire<'a>), ProtobufError> {
        let tag = varint(&mut self.0)?;
        let number =
            u32::try_from(tag >> 3).ok().filter(|n| *n > 0).ok_or(ProtobufError::Malformed)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(varint(&mut self.0)?),
            1 => self.take(8).map(|_| Wire::Other(1))?,
            2 => {
                let length = varint(&mut self.0)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Wire::Other(5))?,
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

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Text,
    Bytes,
    Integer,
    Boolean,
    /// A message by the name of its definition.
    Message(String),
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    /// JSON carried as it is.
    Raw,
    List(Box<Kind>),
    Map(Box<Kind>),
}

type Fields = BTreeMap<u32, Slot>;

#[derive(Debug)]
enum Slot {
    /// A field; `kept` says that its zero value is kept.
    Field { name: String, kind: Kind, kept: bool },
    /// A message whose fields stand in the object around it.
    Inline(Fields),
}

/// The fields of every message, by the name of its definition; built when the first such body arrives.
static MESSAGES: LazyLock<BTreeMap<String, Fields>> = LazyLock::new(|| {
    let definitions = definitions();
    wire::messages()
        .map(|(short, row)| (long_name(short), row))
        .filter_map(|(name, row)| {
            let properties = &definitions.get(&name)?["properties"];
            let fields = fields(&definitions, properties, row);
            Some((name, fields))
        })
        .collect()
});

/// Reads a row: number, name, number, name, …
fn fields(definitions: &Definitions, properties: &Value, row: &str) -> Fields {
    let words: Vec<&str> = row.split_whitespace().collect();
    let slot = |pair: &[&str]| -> Option<(u32, Slot)> {
        let [number, name] = pair else { return None };
        let slot = match name.strip_prefix('>') {
            Some(inner) => {
                Slot::Inline(fields(definitions, properties, row_of(inner.trim_end_matches('?'))?))
            }
            None => {
                let plain = name.trim_end_matches("[]").trim_end_matches('?');
                let kind = kind(definitions, properties.get(plain)?);
                Slot::Field { name: plain.to_owned(), kind, kept: plain.len() < name.len() }
            }
        };
        Some((number.parse().ok()?, slot))
    };
    words.chunks(2).filter_map(slot).collect()
}

fn row_of(short: &str) -> Option<&'static str> {
    wire::messages().find(|(name, _)| *name == short).map(|(_, row)| *row)
}

fn kind(definitions: &Definitions, schema: &Value) -> Kind {
    if let Some(name) =
        schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(REF_PREFIX))
    {
        return referenced(definitions, name);
    }
    let word = |key: &str| schema.get(key).and_then(Value::as_str);
    match (word("type"), schema.get("additionalProperties")) {
        (Some("array"), _) => Kind::List(Box::new(kind(definitions, &schema["items"]))),
        (Some("object"), Some(values)) => Kind::Map(Box::new(kind(definitions, values))),
        (Some("integer"), _) => Kind::Integer,
        (Some("boolean"), _) => Kind::Boolean,
        (Some("string"), _) if word("format") == Some("byte") => Kind::Bytes,
        (Some("string"), _) => Kind::Text,
        _ => Kind::Raw,
    }
}

fn referenced(definitions: &Definitions, name: &str) -> Kind {
    match name {
        QUANTITY => Kind::Quantity,
        INT_OR_STRING => Kind::IntOrString,
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => Kind::Time,
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => Kind::MicroTime,
        _ if definitions.get(name).is_some_and(|d| d.get("properties").is_some())
            || wire::messages().any(|(short, _)| long_name(short) == name) =>
        {
            Kind::Message(name.to_owned())
        }
        _ => Kind::Raw,
    }
}

fn message(
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
        match (fields.get(&number), wire) {
            (None, _) => {}
            (Some(Slot::Inline(inner)), Wire::Bytes(bytes)) => {
                message(inner, bytes, object, depth + 1)?
            }
            (Some(Slot::Inline(_)), wire) => return Err(wrong(&number.to_string(), wire)),
            (Some(Slot::Field { name, kind, kept }), wire) => {
                field(name, kind, *kept, wire, object, depth)?
            }
        }
    }
    Ok(())
}

fn field(
    name: &str,
    kind: &Kind,
    kept: bool,
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
            if !value.is_null() && (kept || !is_zero(&value)) {
                object.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// One element, or many integers packed into one value.
fn elements(
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
    let found = found.map_or_else(|| value(name, kind, Wire::Bytes(&[]), depth + 1), Ok)?;
    Ok((key, found))
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

fn value(name: &str, kind: &Kind, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
    match (kind, wire) {
        (Kind::Integer, Wire::Varint(number)) => Ok(number.cast_signed().into()),
        (Kind::Boolean, Wire::Varint(number)) => Ok((number != 0).into()),
        (Kind::Integer | Kind::Boolean, wire) | (_, wire @ (Wire::Varint(_) | Wire::Other(_))) => {
            Err(wrong(name, wire))
        }
        (Kind::Text, Wire::Bytes(bytes)) => utf8(name, bytes).map(Value::from),
        (Kind::Bytes, Wire::Bytes(bytes)) => Ok(BASE64.encode(bytes).into()),
        (Kind::Message(definition), Wire::Bytes(bytes)) => {
            let mut object = Map::new();
            if let Some(fields) = MESSAGES.get(definition) {
                message(fields, bytes, &mut object, depth + 1)?;
            }
            Ok(Value::Object(object))
        }
        (Kind::Quantity, Wire::Bytes(bytes)) => quantity(name, bytes),
        (Kind::IntOrString, Wire::Bytes(bytes)) => int_or_string(name, bytes),
        (Kind::Time, Wire::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%SZ"),
        (Kind::MicroTime, Wire::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%S.%6fZ"),
        (Kind::Raw, Wire::Bytes(bytes)) => raw(name, bytes),
        (Kind::List(_) | Kind::Map(_), wire) => Err(wrong(name, wire)),
    }
}

fn wrong(field: &str, wire: Wire<'_>) -> ProtobufError {
    ProtobufError::WireType { field: field.to_owned(), wire_type: wire.number() }
}

fn utf8(name: &str, bytes: &[u8]) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::Text(name.to_owned()))
}

/// `Quantity { string = 1 }`.
fn quantity(name: &str, bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut text = String::from("0");
    for entry in Entries(bytes) {
        if let (1, Wire::Bytes(bytes)) = entry? {
            text = utf8(name, bytes)?;
        }
    }
    Ok(text.into())
}

/// `IntOrString { type = 1, intVal = 2, strVal = 3 }`; type 1 is the string.
fn int_or_string(name: &str, bytes: &[u8]) -> Result<Value, ProtobufError> {
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
fn time(bytes: &[u8], format: &str) -> Result<Value, ProtobufError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    for entry in Entries(bytes) {
        match entry? {
            (1, Wire::Varint(value)) => seconds = value.cast_signed(),
            (2, Wire::Varint(value)) => {
                nanos = i32::try_from(value).map_err(|_| ProtobufError::Malformed)?
            }
            _ => {}
        }
    }
    let timestamp = jiff::Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Malformed)?;
    Ok(timestamp.strftime(format).to_string().into())
}

/// `FieldsV1 { Raw = 1 }` and `RawExtension { raw = 1 }`.
fn raw(name: &str, bytes: &[u8]) -> Result<Value, ProtobufError> {
    for entry in Entries(bytes) {
        if let (1, Wire::Bytes(json)) = entry? {
            return serde_json::from_slice(json).map_err(|_| ProtobufError::Text(name.to_owned()));
        }
    }
    Ok(Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `kubectl create deployment web2 --image=x`, as kubectl 1.32 sends it.
    const DEPLOYMENT: &str = "\
        6b387300 0a150a07 61707073 2f763112 0a446570 6c6f796d 656e7412 a7010a21 0a047765 62321200 1a002200 2a003200 \
        38004200 5a0b0a03 61707012 04776562 32127408 01120d0a 0b0a0361 70701204 77656232 1a590a1d 0a001200 1a002200 \
        2a003200 38004200 5a0b0a03 61707012 04776562 32123812 1a0a0178 1201782a 0042006a 00720080 01008801 00900100 \
        a201001a 00320042 004a0052 00580060 00680082 01008a01 009a0100 c2010022 020a0028 0038001a 0c080010 00180020 \
        00280038 001a0022 00";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// A field of a message in wire form.
    fn tagged(number: u8, content: &[u8]) -> Vec<u8> {
        assert!(number < 16 && content.len() < 128);
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [tagged(1, api_version.as_bytes()), tagged(2, kind.as_bytes())].concat();
        [PREFIX.to_vec(), tagged(1, &meta), tagged(2, raw)].concat()
    }

    #[test]
    fn wire_every_object_of_a_kind_can_be_read() {
        let definitions = definitions();
        let roots = kinds::all().iter().map(|row| row.schema_name);
        let objects = super::super::closure(&definitions, roots).into_iter();
        let unread: Vec<&str> = objects
            .filter(|name| {
                matches!(kind(&definitions, &super::super::reference(name)), Kind::Message(_))
            })
            .filter(|name| !MESSAGES.contains_key(*name))
            .collect();
        assert!(unread.is_empty(), "types without a row in schema/wire.rs: {unread:?}");
    }

    #[test]
    fn wire_every_field_of_every_definition_has_its_number() {
        let definitions = definitions();
        for (short, _) in wire::messages() {
            let Some(definition) = definitions.get(&long_name(short)) else { continue };
            let mut names = Vec::new();
            collect(&MESSAGES[&long_name(short)], &mut names);
            let missing: Vec<&String> = definition["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
                .filter(|name| {
                    !names.contains(name) && !matches!(name.as_str(), "apiVersion" | "kind")
                })
                .collect();
            assert!(missing.is_empty(), "{short}: {missing:?}");
        }
    }

    fn collect<'a>(fields: &'a Fields, names: &mut Vec<&'a String>) {
        for slot in fields.values() {
            match slot {
                Slot::Field { name, .. } => names.push(name),
                Slot::Inline(inner) => collect(inner, names),
            }
        }
    }

    #[test]
    fn wire_every_kind_of_the_table_can_be_read() {
        for row in kinds::all() {
            let api_version = row.api_version();
            let value =
                decode(&body(&api_version, row.kind, &tagged(1, &tagged(1, b"n")))).unwrap();
            assert_eq!(
                value,
                json!({ "apiVersion": api_version, "kind": row.kind, "metadata": { "name": "n" } })
            );
        }
    }

    #[test]
    fn decode_reads_what_kubectl_sends() {
        let labels = json!({ "app": "web2" });
        assert_eq!(
            decode(&bytes(DEPLOYMENT)).unwrap(),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": "web2", "labels": labels },
                "spec": {
                    "replicas": 1,
                    "selector": { "matchLabels": labels },
                    "template": {
                        "metadata": { "labels": labels },
                        "spec": { "containers": [{ "name": "x", "image": "x", "resources": {} }] },
                    },
                    "strategy": {},
                },
                "status": {},
            })
        );
    }

    #[test]
    fn decode_maps_hold_bytes_and_texts() {
        let entry = [tagged(1, b"k"), tagged(2, b"\xffv")].concat();
        let secret =
            decode(&body("v1", "Secret", &[tagged(2, &entry), tagged(3, b"Opaque")].concat()))
                .unwrap();
        assert_eq!((&secret["data"]["k"], &secret["type"]), (&json!("/3Y="), &json!("Opaque")));
        let no_value = tagged(1, b"k");
        let map = decode(&body("v1", "ConfigMap", &tagged(2, &no_value))).unwrap();
        assert_eq!(map["data"], json!({ "k": "" }));
    }

    #[test]
    fn decode_special_types_take_their_json_forms() {
        assert_eq!(int_or_string("f", &[0x08, 1, 0x1a, 2, b'4', b'%']), Ok(json!("4%")));
        assert_eq!(int_or_string("f", &[0x08, 0, 0x10, 80, 0x1a, 0]), Ok(json!(80)));
        assert_eq!(quantity("f", &tagged(1, b"100m")), Ok(json!("100m")));
        assert_eq!(time(&[0x08, 60], "%Y-%m-%dT%H:%M:%SZ"), Ok(json!("1970-01-01T00:01:00Z")));
        assert_eq!(
            time(&[0x08, 60, 0x10, 0xe8, 7], "%H:%M:%S.%6fZ"),
            Ok(json!("00:01:00.000001Z"))
        );
        assert_eq!(time(&[], "%S"), Ok(Value::Null));
        assert_eq!(raw("f", &tagged(1, b"{\"f:a\":{}}")), Ok(json!({ "f:a": {} })));
    }

    #[test]
    fn decode_keeps_zero_where_the_type_tells_it_from_nothing() {
        // DeploymentSpec: replicas (1) is told apart from nothing, minReadySeconds (5) is not.
        let spec = decode(&body("apps/v1", "Deployment", &tagged(2, &[0x08, 0, 0x28, 0]))).unwrap();
        assert_eq!(spec["spec"], json!({ "replicas": 0 }));
    }

    #[test]
    fn decode_integers_come_one_by_one_or_packed_and_may_be_negative() {
        let one = value("f", &Kind::Integer, Wire::Varint(u64::MAX), 0);
        assert_eq!(one, Ok(json!(-1)));
        assert_eq!(
            elements("f", &Kind::Integer, Wire::Bytes(&[1, 0x80, 1]), 0),
            Ok(vec![json!(1), json!(128)])
        );
    }

    #[test]
    fn decode_broken_bodies_are_refused() {
        let whole = bytes(DEPLOYMENT);
        assert_eq!(decode(b"{}"), Err(ProtobufError::Prefix));
        assert_eq!(decode(&whole[..whole.len() - 1]), Err(ProtobufError::Truncated));
        assert_eq!(decode(&[PREFIX, &[0x80; 11]].concat()), Err(ProtobufError::Malformed));
        assert_eq!(decode(&[PREFIX, &[0x0f]].concat()), Err(ProtobufError::Malformed));
        let kind = decode(&body("v1", "Nope", &[])).unwrap_err();
        assert_eq!(kind.to_string(), "no kind \"Nope\" is registered for version \"v1\"");
        let number = decode(&body("v1", "Pod", &[0x08, 1])).unwrap_err();
        assert_eq!(number.to_string(), "proto: wrong wireType = 0 for field metadata");
        let text = decode(&body("v1", "Pod", &tagged(1, &tagged(1, b"\xff")))).unwrap_err();
        assert_eq!(text, ProtobufError::Text("name".to_owned()));
        let compressed = [PREFIX.to_vec(), tagged(3, b"gzip")].concat();
        assert_eq!(decode(&compressed), Err(ProtobufError::Encoding));
    }

    #[test]
    fn decode_prefixes_of_a_body_never_panic() {
        let whole = bytes(DEPLOYMENT);
        for end in 0..whole.len() {
            let _ = decode(&whole[..end]);
        }
        for index in 4..whole.len() {
            let mut flipped = whole.clone();
            flipped[index] ^= 0xff;
            let _ = decode(&flipped);
        }
    }

    #[test]
    fn decode_delete_options_of_any_group() {
        for api_version in ["v1", "apps/v1", "policy/v1"] {
            let options = decode(&body(api_version, "DeleteOptions", &[0x08, 5])).unwrap();
            assert_eq!(options["gracePeriodSeconds"], 5);
        }
    }
}
