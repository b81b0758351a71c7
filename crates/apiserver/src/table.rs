//! Tables, which `kubectl get` prints, and PartialObjectMetadata, which controllers watch.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/endpoints/handlers/response.go` and `pkg/printers`.

use std::sync::Arc;

use api::kinds::Resource;
use apimachinery::status::StatusError;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::negotiation::MetaVersion;
use crate::storage::Encoded;

/// What a row carries of its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter `includeObject`.
    ///
    /// # Errors
    /// `BadRequest` for an unknown value.
    pub fn parse(text: &str) -> Result<Self, StatusError> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(StatusError::bad_request(format!(
                "unrecognized includeObject value: {other:?}"
            ))),
        }
    }
}

/// Whether a Table names its columns; in a watch only the first one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// It does.
    Shown,
    /// It does not.
    Hidden,
}

/// How a Table is made.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The version of `meta.k8s.io`.
    pub version: MetaVersion,
    /// What a row carries of its object.
    pub include: IncludeObject,
    /// Whether the columns are named.
    pub columns: Columns,
}

/// Metadata of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListMeta {
    /// The revision the list is true at.
    pub resource_version: u64,
    /// How to get the next page; empty on the last one.
    pub continue_token: String,
    /// How many items follow this page, if known.
    pub remaining_item_count: Option<i64>,
}

impl Serialize for ListMeta {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("resourceVersion", &self.resource_version.to_string())?;
        if !self.continue_token.is_empty() {
            map.serialize_entry("continue", &self.continue_token)?;
        }
        if let Some(count) = self.remaining_item_count {
            map.serialize_entry("remainingItemCount", &count)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Table<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: &'a ListMeta,
    column_definitions: Vec<ColumnDefinition>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct ColumnDefinition {
    name: &'static str,
    #[serde(rename = "type")]
    type_: &'static str,
    format: &'static str,
    description: &'static str,
    priority: i32,
}

#[derive(Serialize)]
struct Row {
    cells: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<[RowCondition; 1]>,
    object: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct RowCondition {
    #[serde(rename = "type")]
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    message: &'static str,
}

/// A Table of objects.
///
/// # Errors
/// `InternalError` for an object that cannot be decoded.
pub fn render(
    resource: &'static Resource,
    objects: &[Arc<Encoded>],
    meta: &ListMeta,
    form: Form,
) -> Result<Bytes, StatusError> {
    let now = Timestamp::now();
    let rows = objects.iter().map(|object| row(resource, object, form, now));
    let table = Table {
        kind: "Table",
        api_version: form.version.api_version(),
        metadata: meta,
        column_definitions: if form.columns == Columns::Shown {
            columns(resource)
        } else {
            Vec::new()
        },
        rows: rows.collect::<Result<_, _>>()?,
    };
    serde_json::to_vec(&table).map(Bytes::from).map_err(StatusError::internal)
}

fn columns(resource: &Resource) -> Vec<ColumnDefinition> {
    let definition = |column: &api::kinds::Column| ColumnDefinition {
        name: column.name,
        type_: column.type_,
        format: column.format,
        description: column.description,
        priority: column.priority,
    };
    resource.columns.iter().map(definition).collect()
}

fn row(
    resource: &'static Resource,
    object: &Encoded,
    form: Form,
    now: Timestamp,
) -> Result<Row, StatusError> {
    let decoded = object.decode(resource.stored()).map_err(StatusError::internal)?;
    let shown = || object.shown_as(resource).map_err(StatusError::internal);
    let raw = match form.include {
        IncludeObject::None => None,
        IncludeObject::Metadata => Some(partial(&*shown()?, form.version)?),
        IncludeObject::Object => Some(shown()?.json()),
    };
    let strategy = resource.strategy;
    let completed = strategy.completed(decoded.as_ref()).map(|(reason, message)| {
        [RowCondition { type_: "Completed", status: "True", reason, message }]
    });
    Ok(Row {
        cells: strategy.row(decoded.as_ref(), now),
        conditions: completed,
        object: raw.map(|json| raw_value(&json)).transpose()?,
    })
}

fn raw_value(json: &[u8]) -> Result<Box<RawValue>, StatusError> {
    let text = std::str::from_utf8(json).map_err(StatusError::internal)?;
    RawValue::from_string(text.to_owned()).map_err(StatusError::internal)
}

#[derive(Deserialize)]
struct OnlyMetadata<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// An object's metadata as a `PartialObjectMetadata`.
///
/// # Errors
/// `InternalError` for an object that is no JSON.
pub fn partial(object: &Encoded, version: MetaVersion) -> Result<Bytes, StatusError> {
    let json = object.json();
    let only: OnlyMetadata<'_> = serde_json::from_slice(&json).map_err(StatusError::internal)?;
    let metadata = only.metadata.get();
    let api_version = version.api_version();
    Ok(format!(
        r#"{{"kind":"PartialObjectMetadata","apiVersion":"{api_version}","metadata":{metadata}}}"#
    )
    .into())
}

/// The object of a bookmark: nothing but a resourceVersion, and the mark of the end of the initial events.
pub fn bookmark(
    resource: &Resource,
    version: Option<MetaVersion>,
    revision: u64,
    end_of_initial_events: bool,
) -> String {
    let (kind, api_version) = match version {
        Some(version) => ("PartialObjectMetadata", version.api_version().to_owned()),
        None => (resource.kind, resource.api_version()),
    };
    let annotations = if end_of_initial_events {
        r#","annotations":{"k8s.io/initial-events-end":"true"}"#
    } else {
        ""
    };
    format!(
        r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{revision}"{annotations}}}}}"#
    )
}

/// A Table around a bookmark's object.
pub fn bookmark_table(version: MetaVersion, revision: u64, object: &str) -> String {
    let api_version = version.api_version();
    format!(
        r#"{{"kind":"Table","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{revision}"}},"columnDefinitions":[],"rows":[{{"cells":[],"object":{object}}}]}}"#
    )
}
