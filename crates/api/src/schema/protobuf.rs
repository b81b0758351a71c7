//! Kubernetes' protobuf form: bodies read into the JSON tree they stand for, and objects written for those who ask for it.
//!
//! Counterpart in Kubernetes: `runtime/serializer/protobuf`. `kubectl` and other Go clients send what they create this way, and
//! controllers read all they watch this way. Which number is which field stands in `wire`, what it holds comes from the
//! definitions. Invariant: the same bytes as Go's, so that what one of them writes the other reads back unchanged.

mod decode;
mod encode;
mod message;

use serde_json::{Map, Value};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// The media type of watches.
pub const WATCH_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";
/// What every such body begins with.
const PREFIX: &[u8] = b"k8s\0";
/// How many bytes stand before each event of a watch: its length, the most significant byte first.
const FRAME_HEAD_BYTES: usize = 4;

/// Why a body cannot be read or an object cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The body does not begin with the four bytes of the form.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Prefix,
    /// There is nothing, or nothing behind those four bytes.
    #[error("empty {0}")]
    Empty(&'static str),
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
    #[error("proto: messages nest too deeply")]
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
    /// An object to be written is no JSON object, or has a value that its type does not allow.
    #[error("proto: field {0} has a value of another type")]
    Value(String),
}

/// A body whose envelope has been read.
#[derive(Debug)]
pub struct Sealed<'a> {
    /// What the object says it is; empty when it does not say.
    pub api_version: String,
    /// What the object says it is; empty when it does not say.
    pub kind: String,
    raw: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Reads the envelope of a body.
    ///
    /// # Errors
    /// When the bytes are no such body.
    pub fn open(body: &'a [u8]) -> Result<Self, ProtobufError> {
        match body.strip_prefix(PREFIX) {
            _ if body.is_empty() => Err(ProtobufError::Empty("data")),
            None => Err(ProtobufError::Prefix),
            Some([]) => Err(ProtobufError::Empty("body")),
            Some(envelope) => decode::envelope(envelope),
        }
    }

    /// The JSON tree of the object.
    ///
    /// # Errors
    /// When it is of a kind that is not known, or its bytes are no object of that kind.
    pub fn object(self) -> Result<Value, ProtobufError> {
        let fields = fields_of(&self.api_version, &self.kind)?;
        let mut object = Map::new();
        if !self.api_version.is_empty() {
            object.insert("apiVersion".to_owned(), self.api_version.into());
        }
        object.insert("kind".to_owned(), self.kind.into());
        decode::message(fields, self.raw, &mut object, 0)?;
        Ok(Value::Object(object))
    }
}

/// Reads a body: an envelope with `apiVersion`, `kind` and the object, as the JSON tree of that object.
///
/// # Errors
/// When the bytes are no such body, or of a kind that is not known.
pub fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    Sealed::open(body)?.object()
}

fn fields_of(api_version: &str, kind: &str) -> Result<&'static message::Fields, ProtobufError> {
    let known = if api_version.is_empty() { "v1" } else { api_version };
    message::of_kind(known, kind).ok_or_else(|| ProtobufError::Kind {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
    })
}

/// Writes the JSON of an object, which names its `apiVersion` and `kind`.
///
/// # Errors
/// When it is of a kind without a protobuf form, or its JSON is not that of its kind.
pub fn encode(json: &[u8]) -> Result<Vec<u8>, ProtobufError> {
    let object = parse(json)?;
    let (api_version, kind) = type_of(&object)?;
    let fields = fields_of(api_version, kind)?;
    enveloped(api_version, kind, json.len(), |out| encode::message(out, fields, Some(&object)))
}

fn parse(json: &[u8]) -> Result<Map<String, Value>, ProtobufError> {
    serde_json::from_slice(json).map_err(|error| ProtobufError::Value(error.to_string()))
}

/// `apiVersion` and `kind`; the one document of discovery that names no version is one of `v1`.
fn type_of(object: &Map<String, Value>) -> Result<(&str, &str), ProtobufError> {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let kind = text("kind").ok_or_else(|| ProtobufError::Value("kind".to_owned()))?;
    Ok((text("apiVersion").unwrap_or_default(), kind))
}

/// The number of the object in `Unknown { typeMeta = 1, raw = 2, contentEncoding = 3, contentType = 4 }`.
const RAW: u32 = 2;

/// The magic bytes, then the envelope around an object.
fn enveloped(
    api_version: &str,
    kind: &str,
    expected_bytes: usize,
    raw: impl FnOnce(&mut Vec<u8>) -> Result<(), ProtobufError>,
) -> Result<Vec<u8>, ProtobufError> {
    let mut out = opened(api_version, kind, expected_bytes)?;
    encode::delimited(&mut out, RAW, raw)?;
    close(&mut out);
    Ok(out)
}

fn opened(api_version: &str, kind: &str, expected_bytes: usize) -> Result<Vec<u8>, ProtobufError> {
    let mut out = Vec::with_capacity(expected_bytes + 64);
    out.extend_from_slice(PREFIX);
    encode::delimited(&mut out, 1, |out| {
        encode::bytes(out, 1, api_version.as_bytes());
        encode::bytes(out, 2, kind.as_bytes());
        Ok(())
    })?;
    Ok(out)
}

fn close(out: &mut Vec<u8>) {
    encode::bytes(out, 3, &[]);
    encode::bytes(out, 4, &[]);
}

/// Writes the JSON of an object as an item of a list, where it does not say its type.
///
/// # Errors
/// As [`encode`].
pub fn encode_item(json: &[u8]) -> Result<Vec<u8>, ProtobufError> {
    let object = parse(json)?;
    let (api_version, kind) = type_of(&object)?;
    let mut out = Vec::with_capacity(json.len());
    encode::message(&mut out, fields_of(api_version, kind)?, Some(&object))?;
    Ok(out)
}

/// What stands around the items of a list, so that they can be written one after the other while they are sent.
#[derive(Debug)]
pub struct ListFrame {
    /// What stands before the items.
    pub before: Vec<u8>,
    /// What stands after them.
    pub after: Vec<u8>,
    number: u32,
    items_bytes: usize,
}

impl ListFrame {
    /// The frame of a list with this head, the JSON of the list without items, whose items are as long as that.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn new(head: &[u8], lengths: impl Iterator<Item = usize>) -> Result<Self, ProtobufError> {
        let head = parse(head)?;
        let (api_version, kind) = type_of(&head)?;
        let fields = fields_of(api_version, kind)?;
        let items = fields
            .iter()
            .position(is_items)
            .ok_or_else(|| ProtobufError::Value("items".to_owned()))?;
        let part = |slots: &[message::Slot]| {
            let mut out = Vec::new();
            slots.iter().try_for_each(|slot| encode::slot(&mut out, slot, Some(&head)))?;
            Ok::<_, ProtobufError>(out)
        };
        let (first, last) = (part(&fields[..items])?, part(&fields[items + 1..])?);
        let number = fields[items].number;
        let length: usize = lengths.map(|length| encode::length_of_bytes(number, length)).sum();
        let mut before = opened(api_version, kind, first.len())?;
        encode::head_of_bytes(&mut before, RAW, first.len() + length + last.len());
        before.extend_from_slice(&first);
        let mut after = last;
        close(&mut after);
        Ok(Self { before, after, number, items_bytes: length })
    }

    /// The length of the whole list.
    pub fn total_bytes(&self) -> u64 {
        (self.before.len() + self.items_bytes + self.after.len()) as u64
    }

    /// Adds an item, as [`encode_item`] writes it.
    pub fn item(&self, out: &mut Vec<u8>, item: &[u8]) {
        encode::bytes(out, self.number, item);
    }
}

fn is_items(slot: &message::Slot) -> bool {
    matches!(&slot.content, message::Content::Field { name, .. } if name == "items")
}

/// An event of a watch around an object in this form: its length, then `WatchEvent { type = 1, object = 2 { raw = 1 } }`.
pub fn watch_frame(event: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + event.len() + 24);
    out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    encode::bytes(&mut out, 1, event.as_bytes());
    encode::nested_bytes(&mut out, 2, object);
    let length = u32::try_from(out.len() - FRAME_HEAD_BYTES).unwrap_or(u32::MAX);
    out[..FRAME_HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
    out
}

#[cfg(test)]
mod tests;
