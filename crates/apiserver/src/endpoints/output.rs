//! How objects are shown: as themselves, as a Table, or as their metadata.
//!
//! Counterpart in Kubernetes: `endpoints/handlers/response.go`.

use std::sync::Arc;

use apimachinery::status::StatusError;
use bytes::Bytes;
use http::{Response, StatusCode};

use super::Call;
use crate::negotiation::As;
use crate::storage::Encoded;
use crate::table::{self, IncludeObject};
use crate::{Body, responses};

/// The response that shows one object.
///
/// # Errors
/// `BadRequest` for table options that do not exist; `InternalError` for an object that cannot be decoded.
pub(crate) fn object(
    call: &Call,
    status: StatusCode,
    object: Encoded,
) -> Result<Response<Body>, StatusError> {
    let shown = show(call, &Arc::new(object), table::Columns::Shown)?;
    Ok(responses::json(status, shown, call.accepted.format))
}

/// The JSON of one object as the client wants to see it.
pub(crate) fn show(
    call: &Call,
    object: &Arc<Encoded>,
    columns: table::Columns,
) -> Result<Bytes, StatusError> {
    let shown = || object.shown_as(call.served).map_err(StatusError::internal);
    match call.accepted.shown_as {
        As::Object => Ok(shown()?.json()),
        As::PartialObjectMetadata => table::partial(&*shown()?, call.accepted.meta_version),
        As::Table => {
            let meta = table::ListMeta {
                resource_version: object.revision(),
                ..table::ListMeta::default()
            };
            let include = IncludeObject::parse(call.query.text("includeObject"))?;
            let form = table::Form { version: call.accepted.meta_version, include, columns };
            table::render(call.served, std::slice::from_ref(object), &meta, form)
        }
    }
}
