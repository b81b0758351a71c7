//! Reading one kind from JSON or YAML, with field validation as the request asks for it.

use std::fmt;
use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::de::{Context, NodeDeserializer};
use super::tree::{self, Node};
use super::{KubeObject, Object};
use crate::field::quote;
use crate::gvk::{GroupVersion, GroupVersionKind};
use crate::status::StatusError;
use crate::yaml;

/// How many bytes of a body that cannot be read at all are shown in the error.
const SUMMARY_BYTES: usize = 30;

/// What happens to unknown and repeated fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped silently.
    Ignore,
    /// They are dropped, and the client is warned.
    #[default]
    Warn,
    /// They are an error.
    Strict,
}

impl FieldValidation {
    /// Parses the `fieldValidation` query parameter; empty is the default, `Warn`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// A decoded object and what the client is to be warned of.
#[derive(Debug)]
pub struct Decoded {
    /// The object.
    pub object: Object,
    /// Unknown and repeated fields, if they were to be warned of.
    pub warnings: Vec<String>,
}

/// Why a document is not an object of the kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The document is no JSON or YAML, or nests too deeply.
    #[error("{message}")]
    Unreadable {
        /// What is wrong with it.
        message: String,
        /// The first bytes of the document.
        summary: String,
        /// The kind that was wanted.
        kind: String,
    },
    /// The document says it is of another kind.
    #[error("no kind {} is registered for version {} in scheme {}", quote(&actual.kind), quote(&actual.api_version()), quote("knarr"))]
    OtherKind {
        /// The kind the document says it is.
        actual: Box<GroupVersionKind>,
        /// The kind that was wanted.
        expected: Box<GroupVersionKind>,
    },
    /// A field has the wrong type.
    #[error("{message}")]
    WrongType {
        /// What is wrong, in Go's words.
        message: String,
        /// The kind that was wanted.
        kind: GroupVersionKind,
    },
    /// Fields are unknown or repeated, and that is an error.
    #[error("strict decoding error: {}", errors.join(", "))]
    Strict {
        /// Every such field.
        errors: Vec<String>,
        /// The kind that was wanted.
        kind: GroupVersionKind,
    },
}

impl DecodeError {
    /// A body of which not even the kind can be read, where one of `kind` was wanted.
    pub fn unreadable(message: &str, body: &[u8], kind: &str) -> Self {
        unreadable_yaml(kind, message, body)
    }

    /// The answer to a client that sent such a body: always a bad request.
    pub fn to_status(&self) -> StatusError {
        let handled = |gvk: &GroupVersionKind, wanted: &str| {
            let version = quote(&gvk.version);
            StatusError::bad_request(format!(
                "{} in version {version} cannot be handled as a {wanted}: {self}",
                gvk.kind
            ))
        };
        match self {
            Self::Unreadable { message, summary, kind } => StatusError::bad_request(format!(
                "the object provided is unrecognized (must be of type {kind}): {message} ({summary})"
            )),
            Self::OtherKind { actual, expected } => handled(actual, &expected.kind),
            Self::WrongType { kind, .. } | Self::Strict { kind, .. } => handled(kind, &kind.kind),
        }
    }
}

impl From<DecodeError> for StatusError {
    fn from(error: DecodeError) -> Self {
        error.to_status()
    }
}

/// Reads objects of one kind.
pub trait Codec: Send + Sync + fmt::Debug {
    /// The kind this codec reads.
    fn gvk(&self) -> GroupVersionKind;

    /// Reads JSON. Absent `apiVersion` and `kind` are taken to be those of this codec.
    ///
    /// # Errors
    /// If the bytes are no such object, or, when strict, if fields are unknown or repeated.
    fn decode(&self, json: &[u8], validation: FieldValidation) -> Result<Decoded, DecodeError>;

    /// Reads YAML, which includes JSON.
    ///
    /// # Errors
    /// As [`Codec::decode`].
    fn decode_yaml(&self, text: &[u8], validation: FieldValidation)
    -> Result<Decoded, DecodeError>;

    /// Reads a JSON tree.
    ///
    /// # Errors
    /// As [`Codec::decode`].
    #[expect(
        clippy::wrong_self_convention,
        reason = "the codec reads from the value, it is not made of it"
    )]
    fn from_value(&self, value: Value, validation: FieldValidation)
    -> Result<Decoded, DecodeError>;

    /// An object of the kind with nothing set.
    fn empty(&self) -> Object;
}

/// The codec of a compiled-in type.
struct Typed<K>(PhantomData<fn() -> K>);

impl<K: Resource> fmt::Debug for Typed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "codec of {}", GroupVersionKind::of::<K>())
    }
}

/// The codec of a compiled-in type.
pub const fn codec<K>() -> &'static dyn Codec
where
    K: Resource + Metadata<Ty = ObjectMeta> + KubeObject + DeserializeOwned + Default,
{
    &Typed::<K>(PhantomData)
}

impl<K> Codec for Typed<K>
where
    K: Resource + Metadata<Ty = ObjectMeta> + KubeObject + DeserializeOwned + Default,
{
    fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::of::<K>()
    }

    fn decode(&self, json: &[u8], validation: FieldValidation) -> Result<Decoded, DecodeError> {
        let node = tree::parse(json).map_err(|error| unreadable(K::KIND, &error, json))?;
        decode_node::<K>(&node, validation, Vec::new(), json)
    }

    fn decode_yaml(
        &self,
        text: &[u8],
        validation: FieldValidation,
    ) -> Result<Decoded, DecodeError> {
        let document = yaml::parse(text)
            .map_err(|error| unreadable_yaml(K::KIND, &error.to_string(), text))?;
        let node = tree::from_value(&document.value, 0)
            .map_err(|error| unreadable(K::KIND, &error, text))?;
        decode_node::<K>(&node, validation, document.strict_error().into_iter().collect(), text)
    }

    fn from_value(
        &self,
        value: Value,
        validation: FieldValidation,
    ) -> Result<Decoded, DecodeError> {
        let node = tree::from_value(&value, 0).map_err(|error| unreadable(K::KIND, &error, b""))?;
        decode_node::<K>(&node, validation, Vec::new(), b"")
    }

    fn empty(&self) -> Object {
        Box::new(K::default())
    }
}

/// Reads a body that is no object of the API, such as `DeleteOptions`, and returns it with what to warn of. The body may
/// leave out its `kind`, and say any `apiVersion`.
///
/// # Errors
/// As [`Codec::decode`].
pub fn decode_plain<T: DeserializeOwned>(
    json: &[u8],
    kind: &'static str,
    validation: FieldValidation,
) -> Result<(T, Vec<String>), DecodeError> {
    let gvk = GroupVersionKind::new("", "v1", kind);
    let node = tree::parse(json).map_err(|error| unreadable(kind, &error, json))?;
    let said = text_field(&node, "kind", kind, json)?;
    if !said.is_empty() && said != kind {
        let actual = GroupVersionKind::new("", "v1", said.to_owned());
        return Err(other_kind(actual, gvk));
    }
    decode_fields(&node, gvk, "v1", validation, Vec::new())
}

fn other_kind(actual: GroupVersionKind, expected: GroupVersionKind) -> DecodeError {
    DecodeError::OtherKind { actual: Box::new(actual), expected: Box::new(expected) }
}

fn unreadable(kind: &str, error: &str, body: &[u8]) -> DecodeError {
    unreadable_yaml(kind, &format!("couldn't get version/kind; json parse error: {error}"), body)
}

fn unreadable_yaml(kind: &str, message: &str, body: &[u8]) -> DecodeError {
    DecodeError::Unreadable {
        message: message.to_owned(),
        summary: summary(body),
        kind: kind.to_owned(),
    }
}

/// The beginning of a body: as text if it is JSON or YAML, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    let head = &body[..body.len().min(SUMMARY_BYTES)];
    let dots = if body.len() > SUMMARY_BYTES { " ..." } else { "" };
    match std::str::from_utf8(head) {
        Ok(text) if text.trim_start().starts_with('{') => {
            format!("{}{dots}", quote(text).trim_matches('"'))
        }
        _ => head.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + dots,
    }
}

/// Decodes a tree into the type, after checking that it says so.
fn decode_node<K>(
    node: &Node<'_>,
    validation: FieldValidation,
    strict_errors: Vec<String>,
    body: &[u8],
) -> Result<Decoded, DecodeError>
where
    K: Resource + KubeObject + DeserializeOwned,
{
    check_kind::<K>(node, body)?;
    let gvk = GroupVersionKind::of::<K>();
    let (typed, warnings) = decode_fields::<K>(node, gvk, K::VERSION, validation, strict_errors)?;
    Ok(Decoded { object: Box::new(typed), warnings })
}

/// Decodes a tree into the type, and treats unknown and repeated fields as asked.
fn decode_fields<T: DeserializeOwned>(
    node: &Node<'_>,
    kind: GroupVersionKind,
    version: &'static str,
    validation: FieldValidation,
    mut strict_errors: Vec<String>,
) -> Result<(T, Vec<String>), DecodeError> {
    let context = Context::new(version, validation != FieldValidation::Ignore);
    let typed = match T::deserialize(NodeDeserializer { node, context: &context }) {
        Ok(typed) => typed,
        Err(error) => return Err(DecodeError::WrongType { message: error.0, kind }),
    };
    strict_errors.extend(context.into_strict_errors());
    match validation {
        FieldValidation::Ignore => Ok((typed, Vec::new())),
        FieldValidation::Strict if !strict_errors.is_empty() => {
            Err(DecodeError::Strict { errors: strict_errors, kind })
        }
        FieldValidation::Warn | FieldValidation::Strict => Ok((typed, strict_errors)),
    }
}

/// Refuses a document that says it is of another kind; what it does not say is taken for granted.
fn check_kind<K: Resource>(node: &Node<'_>, body: &[u8]) -> Result<(), DecodeError> {
    if !matches!(node, Node::Map(_) | Node::Null) {
        let message =
            format!("json: cannot unmarshal {} into Go value of type struct", node.go_kind());
        return Err(unreadable(K::KIND, &message, body));
    }
    let api_version = text_field(node, "apiVersion", K::KIND, body)?;
    let kind = text_field(node, "kind", K::KIND, body)?;
    let expected = GroupVersionKind::of::<K>();
    let actual_version = match api_version {
        "" => expected.group_version(),
        text => GroupVersion::parse(text).ok_or_else(|| {
            unreadable_yaml(K::KIND, &format!("unexpected GroupVersion string: {text}"), body)
        })?,
    };
    let actual = actual_version.with_kind(if kind.is_empty() {
        K::KIND.to_owned()
    } else {
        kind.to_owned()
    });
    match actual == expected {
        true => Ok(()),
        false => Err(other_kind(actual, expected)),
    }
}

fn text_field<'a>(
    node: &'a Node<'_>,
    name: &str,
    wanted: &str,
    body: &[u8],
) -> Result<&'a str, DecodeError> {
    match node.get(name) {
        None | Some(Node::Null) => Ok(""),
        Some(Node::Text(text)) => Ok(text),
        Some(other) => {
            let found = other.go_kind();
            let message = format!(
                "json: cannot unmarshal {found} into Go struct field .{name} of type string"
            );
            Err(unreadable(wanted, &message, body))
        }
    }
}
