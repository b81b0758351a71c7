//! PATCH: JSON, merge and strategic merge patches of an existing object.
//!
//! Counterpart in Kubernetes: `endpoints/handlers/patch.go`. Configurations to apply go to `apply`.
//! Invariant: a patch without a resourceVersion is applied to whatever is current, again and again until it wins; one with a
//! resourceVersion conflicts like a PUT.

use apimachinery::field::{self, Path};
use apimachinery::gvk::GroupKind;
use apimachinery::object::{DecodeError, FieldValidation, Object};
use apimachinery::patch::{json, merge, strategic};
use apimachinery::status::StatusError;
use http::{Response, StatusCode};
use serde_json::Value;

use super::managed_fields::Fields;
use super::options::WriteOptions;
use super::update::{self, Part};
use super::{Call, apply, output, payload, service};
use crate::negotiation;
use crate::storage::{Change, Current};
use crate::{Body, responses};

/// The kinds of patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatchType {
    Json,
    Merge,
    Strategic,
}

const TYPES: [(&str, PatchType); 3] = [
    ("application/json-patch+json", PatchType::Json),
    ("application/merge-patch+json", PatchType::Merge),
    ("application/strategic-merge-patch+json", PatchType::Strategic),
];

/// A patch as it was sent.
pub(super) struct Patch {
    patch_type: PatchType,
    document: Value,
    /// What strict decoding finds wrong with the patch itself.
    strict_errors: Vec<String>,
    validation: FieldValidation,
}

impl Patch {
    /// Reads a patch from a request.
    ///
    /// # Errors
    /// `UnsupportedMediaType`, `RequestEntityTooLarge`, `BadRequest`.
    pub(super) async fn read(
        call: &Call,
        body: Body,
        validation: FieldValidation,
    ) -> Result<Self, StatusError> {
        let media_type = negotiation::media_type(&call.parts.headers);
        let known =
            TYPES.iter().find(|(name, _)| *name == media_type).map(|(_, patch_type)| *patch_type);
        let patch_type = known.ok_or_else(unsupported)?;
        let bytes = payload::read(&call.parts.headers, body).await?;
        let decode_error =
            |error| StatusError::bad_request(format!("error decoding patch: {error}"));
        let document: Value = serde_json::from_slice(&bytes).map_err(decode_error)?;
        let strict_errors = match patch_type {
            PatchType::Json => json::strict_errors(&document),
            _ => Vec::new(),
        };
        Ok(Self { patch_type, document, strict_errors, validation })
    }

    /// Whether it can change who owns the fields.
    fn names_owners(&self) -> bool {
        self.document.to_string().contains("managedFields")
    }

    /// Applies it to a document of the type named in the OpenAPI definitions.
    pub(super) fn apply(&self, original: &Value, schema_name: &str) -> Result<Value, StatusError> {
        let patched = match self.patch_type {
            PatchType::Json => json::apply(original, &self.document),
            PatchType::Merge => merge::apply(original, &self.document),
            PatchType::Strategic => {
                strategic::apply(original, &self.document, api::schema::schema_set(), schema_name)
            }
        };
        patched.map_err(|error| error.to_status())
    }

    /// Applies it to an object; returns the new one, defaulted, and warnings.
    fn apply_to(
        &self,
        call: &Call,
        current: &Current,
    ) -> Result<(Object, Vec<String>), StatusError> {
        let shown = current.encoded.shown_as(call.served).map_err(StatusError::internal)?;
        let original = match self.names_owners() {
            true => serde_json::from_slice(&shown.json()),
            false => serde_json::from_slice(&shown.json_without_owners()),
        };
        let original: Value = original.map_err(StatusError::internal)?;
        let patched = self.apply(&original, call.served.schema_name)?;
        let decoded = call.served.codec.from_value(patched, self.validation);
        let decoded = decoded.map_err(|error| self.refused(call, &error))?;
        if self.validation == FieldValidation::Strict && !self.strict_errors.is_empty() {
            let errors = format!("strict decoding error: {}", self.strict_errors.join(", "));
            return Err(self.invalid(call, &errors));
        }
        let object = call.served.accept(decoded.object);
        let mut warnings = decoded.warnings;
        if self.validation == FieldValidation::Warn {
            warnings.extend(self.strict_errors.iter().cloned());
        }
        Ok((object, warnings))
    }

    pub(super) fn refused(&self, call: &Call, error: &DecodeError) -> StatusError {
        match error {
            DecodeError::OtherKind { .. } | DecodeError::Unreadable { .. } => {
                payload::undecodable(error)
            }
            DecodeError::WrongType { .. } | DecodeError::Strict { .. } => {
                self.invalid(call, &error.to_string())
            }
        }
    }

    /// `Invalid` about the patch, which shows it.
    fn invalid(&self, call: &Call, reason: &str) -> StatusError {
        let shown = self.document.to_string();
        let errors = vec![field::invalid(&Path::new("patch"), shown, reason)];
        let kind = match self.patch_type {
            PatchType::Strategic => GroupKind::default(),
            _ => call.served.group_kind(),
        };
        StatusError::invalid(&kind, "", errors)
    }
}

/// The answer to a patch of another kind.
fn unsupported() -> StatusError {
    let known = TYPES.iter().map(|(name, _)| *name).chain([apply::MEDIA_TYPE]);
    StatusError::unsupported_media_type(&known.collect::<Vec<_>>())
}

/// Answers a PATCH.
pub(crate) async fn patch(
    call: &Call,
    body: Body,
    part: Part,
) -> Result<Response<Body>, StatusError> {
    if negotiation::media_type(&call.parts.headers) == apply::MEDIA_TYPE {
        return apply::apply(call, body, part).await;
    }
    let options = WriteOptions::parse_patch(&call.query)?;
    let patch = Patch::read(call, body, options.field_validation).await?;
    let (mut decode_warnings, mut rule_warnings) = (Vec::new(), Vec::new());
    let decide = |current: Option<&Current>| -> Result<Change, StatusError> {
        let current = current.ok_or_else(|| call.not_found())?;
        let (mut object, found) = patch.apply_to(call, current)?;
        decode_warnings = found;
        super::create::match_namespace(call, object.meta_mut())?;
        update::check_name(call, object.as_ref())?;
        update::change(call, part, object, current, Fields::Track, &mut rule_warnings)
    };
    let updated = service::update(call, options.mode, decide).await?;
    let stored = update::settle(call, updated, options.mode).await;
    let mut response = output::object(call, StatusCode::OK, stored)?;
    decode_warnings.append(&mut rule_warnings);
    responses::warn(&mut response, &decode_warnings);
    Ok(response)
}
