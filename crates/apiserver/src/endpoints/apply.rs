//! PATCH with a configuration to apply: server-side apply.
//!
//! Counterpart in Kubernetes: the `applyPatcher` of `endpoints/handlers/patch.go`. Invariant: a configuration creates the object
//! if there is none, and is applied again and again to whatever is current until it wins.

use apimachinery::object::{FieldValidation, Object};
use apimachinery::status::StatusError;
use apimachinery::yaml;
use http::{Response, StatusCode};
use serde_json::{Map, Value};

use super::managed_fields::{self, Fields};
use super::options::{Query, WriteOptions};
use super::update::{self, Part};
use super::{Call, create, payload, service};
use crate::Body;
use crate::storage::{Change, Current, Encoded, MAX_UPDATE_ATTEMPTS};

/// The media type of configurations.
pub(super) const MEDIA_TYPE: &str = "application/apply-patch+yaml";

/// A configuration as it was sent.
pub(super) struct Config {
    pub(super) document: Value,
    pub(super) force: bool,
    /// Repeated keys, if they are to be told of.
    duplicates: Option<String>,
    validation: FieldValidation,
}

impl Config {
    /// Reads a configuration from a request.
    ///
    /// # Errors
    /// `RequestEntityTooLarge`, `BadRequest`.
    pub(super) async fn read(
        call: &Call,
        body: Body,
        validation: FieldValidation,
    ) -> Result<Self, StatusError> {
        let bytes = payload::read(&call.parts.headers, body).await?;
        let converting = |error: &dyn std::fmt::Display| {
            StatusError::bad_request(format!(
                "error decoding YAML: error converting YAML to JSON: {error}"
            ))
        };
        let parsed = yaml::parse(&bytes).map_err(|error| converting(&error))?;
        let duplicates = parsed.strict_error();
        let document = match parsed.value {
            Value::Null => Value::Object(Map::new()),
            Value::Object(map) => Value::Object(map),
            other => return Err(no_map(&other)),
        };
        let force = force(&call.query);
        Ok(Self { document, force, duplicates, validation })
    }

    /// What to warn of.
    ///
    /// # Errors
    /// `BadRequest` about repeated keys, when those are errors.
    pub(super) fn strict(&self) -> Result<Vec<String>, StatusError> {
        let Some(duplicates) = &self.duplicates else { return Ok(Vec::new()) };
        let error = format!("error converting YAML to JSON: {duplicates}");
        match self.validation {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Warn => Ok(vec![error]),
            FieldValidation::Strict => {
                Err(StatusError::bad_request(format!("error strict decoding YAML: {error}")))
            }
        }
    }
}

fn force(query: &Query) -> bool {
    query.boolean("force").unwrap_or(false)
}

/// The answer to YAML that is no object, in Go's words.
fn no_map(value: &Value) -> StatusError {
    let kind = match value {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        _ => "number",
    };
    StatusError::bad_request(format!(
        "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    ))
}

/// Answers an apply.
pub(super) async fn apply(
    call: &Call,
    body: Body,
    part: Part,
) -> Result<Response<Body>, StatusError> {
    let options = WriteOptions::parse_apply(&call.query)?;
    let config = Config::read(call, body, options.field_validation).await?;
    for _ in 0..MAX_UPDATE_ATTEMPTS {
        if part == Part::Main && update::is_absent(call).await? {
            match create(call, &config, &options).await {
                Err(error) if error.is_already_exists() => continue,
                other => {
                    return update::finish(call, StatusCode::CREATED, other?, config.strict()?);
                }
            }
        }
        let mut found = Vec::new();
        let decide = |current: Option<&Current>| -> Result<Change, StatusError> {
            let current = current.ok_or_else(|| call.not_found())?;
            let live = Some(current.object.as_ref());
            let object = made(call, part, live, &config)?;
            update::change(call, part, object, current, Fields::Tracked, &mut found)
        };
        match service::update(call, options.mode, decide).await {
            Err(error) if error.is_not_found() && part == Part::Main => continue,
            updated => {
                let stored = update::settle(call, updated?, options.mode).await;
                return update::finish(call, StatusCode::OK, (stored, found), config.strict()?);
            }
        }
    }
    Err(StatusError::conflict(&call.group_resource(), &call.info.name, update::MODIFIED))
}

/// The object that the configuration makes, if it is the one that the path names.
fn made(
    call: &Call,
    part: Part,
    live: Option<&dyn apimachinery::object::KubeObject>,
    config: &Config,
) -> Result<Object, StatusError> {
    let subresource = part.subresource();
    let mut object =
        managed_fields::applied(call, subresource, live, &config.document, config.force)?;
    config.strict()?;
    if live.is_none() && !object.uid().is_empty() {
        let reason = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            object.uid()
        );
        return Err(StatusError::conflict(&call.group_resource(), &call.info.name, reason));
    }
    create::match_namespace(call, object.meta_mut())?;
    update::check_name(call, object.as_ref())?;
    Ok(object)
}

async fn create(
    call: &Call,
    config: &Config,
    options: &WriteOptions,
) -> Result<(Encoded, Vec<String>), StatusError> {
    let object = made(call, Part::Main, None, config)?;
    update::create_instead(call, object, Fields::Tracked, options.mode).await
}
