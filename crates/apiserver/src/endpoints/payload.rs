//! From the bytes of a request's body to an object.
//!
//! Counterpart in Kubernetes: `limitedReadBody`, the decoders and `transformDecodeError` of `endpoints/handlers`.
//! Invariant: a body is decoded once.

use api::kinds::{self, Resource};
use api::schema::protobuf::{ProtobufError, Sealed};
use apimachinery::gvk::{GroupVersion, GroupVersionKind};
use apimachinery::object::{
    DecodeError, Decoded, FieldValidation, KubeObject, Object, codec, decode_plain,
};
use apimachinery::status::StatusError;
use apimachinery::yaml;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, OwnerReference};
use k8s_openapi::{Metadata, Resource as Typed};
use serde::de::DeserializeOwned;

use super::Call;
use crate::Body;
use crate::negotiation::{self, BodyFormat};

/// The largest body of a request (Kubernetes: 3 MiB).
pub(crate) const MAX_BODY_BYTES: usize = 3 << 20;

/// How much of a body that is too large is still taken, so that the client has sent it and reads the answer.
const MAX_DISCARDED_BYTES: usize = 16 << 20;

/// Reads a whole body.
///
/// # Errors
/// `RequestEntityTooLarge` above [`MAX_BODY_BYTES`]; `BadRequest` when the client breaks off.
pub(crate) async fn read(headers: &HeaderMap, mut body: Body) -> Result<Bytes, StatusError> {
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut content = BytesMut::with_capacity(announced.unwrap_or(0).min(MAX_BODY_BYTES));
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            StatusError::bad_request(format!("unable to read the request body: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > MAX_DISCARDED_BYTES {
            break;
        }
        if length <= MAX_BODY_BYTES {
            content.extend_from_slice(&data);
        }
    }
    if announced.unwrap_or(0).max(length) > MAX_BODY_BYTES {
        return Err(too_large());
    }
    Ok(content.freeze())
}

fn too_large() -> StatusError {
    StatusError::request_entity_too_large(&format!("limit is {MAX_BODY_BYTES}"))
}

/// An object from a body, defaulted, and warnings about its fields.
///
/// # Errors
/// `UnsupportedMediaType`, `RequestEntityTooLarge`, `BadRequest`.
pub(crate) async fn object(
    call: &Call,
    body: Body,
    validation: FieldValidation,
) -> Result<(Object, Vec<String>), StatusError> {
    let format = negotiation::content_type(&call.parts.headers)?;
    let bytes = read(&call.parts.headers, body).await?;
    let Decoded { object, mut warnings } = decode(call.served, &bytes, format, validation)?;
    let mut object = call.served.accept(object);
    warnings.extend(dedup_owner_references(&mut object));
    Ok((object, warnings))
}

fn decode(
    resource: &Resource,
    bytes: &[u8],
    format: BodyFormat,
    validation: FieldValidation,
) -> Result<Decoded, StatusError> {
    let codec = resource.codec;
    let decoded = match format {
        BodyFormat::Yaml => codec.decode_yaml(bytes, validation),
        BodyFormat::Json => codec.decode(bytes, validation),
        BodyFormat::Protobuf => {
            protobuf(bytes, &codec.gvk()).and_then(|tree| codec.from_value(tree, validation))
        }
    };
    decoded.map_err(|error| undecodable(&error))
}

/// The tree that a protobuf body stands for, which is of the wanted kind if it does not say.
fn protobuf(bytes: &[u8], wanted: &GroupVersionKind) -> Result<serde_json::Value, DecodeError> {
    let mut sealed = Sealed::open(bytes)
        .map_err(|error| DecodeError::unreadable(&error.to_string(), bytes, &wanted.kind))?;
    if sealed.kind.is_empty() {
        sealed.kind = wanted.kind.to_string();
    }
    if sealed.api_version.is_empty() {
        sealed.api_version = wanted.api_version();
    }
    let version = GroupVersion::parse(&sealed.api_version).unwrap_or_default();
    let actual = version.with_kind(sealed.kind.clone());
    sealed.object().map_err(|error| match error {
        ProtobufError::Kind { .. } => {
            DecodeError::OtherKind { actual: actual.into(), expected: wanted.clone().into() }
        }
        other => DecodeError::WrongType { message: other.to_string(), kind: actual },
    })
}

/// The answer to a body that is no object of the row's kind.
pub(crate) fn undecodable(error: &DecodeError) -> StatusError {
    match error {
        DecodeError::OtherKind { actual, expected }
            if actual.api_version() != expected.api_version()
                && kinds::by_kind(&actual.group, &actual.version, &actual.kind).is_some() =>
        {
            StatusError::bad_request(format!(
                "the API version in the data ({}) does not match the expected API version ({})",
                actual.api_version(),
                expected.api_version()
            ))
        }
        other => other.to_status(),
    }
}

/// `BadRequest` about a body that cannot be read as what it must be.
fn unrecognized(kind: &str, error: impl std::fmt::Display) -> StatusError {
    StatusError::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {error}"
    ))
}

/// `DeleteOptions` from a body. Fields that are unknown are dropped: Kubernetes has no field validation for them.
///
/// # Errors
/// As [`object`].
pub(crate) fn delete_options(
    headers: &HeaderMap,
    bytes: &Bytes,
) -> Result<DeleteOptions, StatusError> {
    const KIND: &str = "DeleteOptions";
    let json = match negotiation::content_type(headers)? {
        BodyFormat::Yaml => {
            let document = yaml::parse(bytes).map_err(|error| unrecognized(KIND, error))?;
            document.value.to_string().into()
        }
        BodyFormat::Json => bytes.clone(),
        BodyFormat::Protobuf => {
            let tree = protobuf(bytes, &GroupVersionKind::new("", "v1", KIND))
                .map_err(|error| undecodable(&error))?;
            tree.to_string().into()
        }
    };
    let decoded = decode_plain(&json, KIND, FieldValidation::Ignore);
    decoded.map(|(options, _)| options).map_err(|error| undecodable(&error))
}

/// The typed value of a body that is no object of the kind table but is read as strictly as one, such as a `Scale` or a
/// `Binding`, and warnings about its fields.
///
/// # Errors
/// As [`object`].
pub(crate) fn typed<K>(
    headers: &HeaderMap,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<(K, Vec<String>), StatusError>
where
    K: KubeObject + Clone + Default + DeserializeOwned + Typed + Metadata<Ty = ObjectMeta>,
{
    let codec = codec::<K>();
    let decoded = match negotiation::content_type(headers)? {
        BodyFormat::Yaml => codec.decode_yaml(bytes, validation),
        BodyFormat::Json => codec.decode(bytes, validation),
        BodyFormat::Protobuf => {
            protobuf(bytes, &codec.gvk()).and_then(|tree| codec.from_value(tree, validation))
        }
    };
    decoded.map(read_as).map_err(|error| undecodable(&error))
}

/// As [`typed`], from a tree such as a patched document.
///
/// # Errors
/// What is wrong with the tree.
pub(crate) fn typed_tree<K>(
    tree: serde_json::Value,
    validation: FieldValidation,
) -> Result<(K, Vec<String>), DecodeError>
where
    K: KubeObject + Clone + Default + DeserializeOwned + Typed + Metadata<Ty = ObjectMeta>,
{
    codec::<K>().from_value(tree, validation).map(read_as)
}

fn read_as<K: KubeObject + Clone + Default>(decoded: Decoded) -> (K, Vec<String>) {
    // A codec makes its own type and no other.
    let value = decoded.object.as_any().downcast_ref::<K>().cloned();
    (value.unwrap_or_default(), decoded.warnings)
}

/// Drops repeated owner references, with a warning.
fn dedup_owner_references(object: &mut Object) -> Option<String> {
    let owners = object.meta_mut().owner_references.as_mut()?;
    let mut kept: Vec<OwnerReference> = Vec::with_capacity(owners.len());
    let mut repeated: Vec<String> = Vec::new();
    for owner in owners.drain(..) {
        if kept.contains(&owner) { repeated.push(owner.uid) } else { kept.push(owner) }
    }
    *owners = kept;
    let uids = repeated.join(", ");
    (!repeated.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject \
             such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}"
        )
    })
}
