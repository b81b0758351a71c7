//! Objects in the versions in which their managers wrote them.
//!
//! Counterpart in Kubernetes: `versionConverter` of `managedfields/internal`. Invariant: what is converted is not defaulted.

use std::borrow::Cow;

use api::kinds::{self, Resource};
use apimachinery::apply::{TypeId, TypedSchema, Versions};
use apimachinery::object::FieldValidation;
use serde_json::Value;

use super::{api_version, plain};

/// The versions of a row's resource, for requests of that row's version.
pub(super) struct Converted<'a> {
    schema: &'a TypedSchema,
    row: &'static Resource,
    api_version: &'a str,
    ty: TypeId,
}

impl<'a> Converted<'a> {
    /// The versions, seen by requests of a row's version.
    pub(super) fn new(
        schema: &'a TypedSchema,
        row: &'static Resource,
        api_version: &'a str,
    ) -> Self {
        Self { schema, row, api_version, ty: schema.of(row.schema_name) }
    }

    /// The row of a version of the same resource.
    fn row(&self, version: &str) -> Option<&'static Resource> {
        if version == self.api_version {
            return Some(self.row);
        }
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let row = kinds::by_kind(group, version, self.row.kind)?;
        std::ptr::eq(row.stored(), self.row.stored()).then_some(row)
    }
}

impl Versions for Converted<'_> {
    fn convert<'v>(&self, object: &'v Value, version: &str) -> Option<(Cow<'v, Value>, TypeId)> {
        let from = object["apiVersion"].as_str().unwrap_or(self.api_version);
        if from == version {
            let ty = match version == self.api_version {
                true => self.ty,
                false => self.schema.of(self.row(version)?.schema_name),
            };
            return Some((Cow::Borrowed(object), ty));
        }
        let (from, to) = (self.row(from)?, self.row(version)?);
        let decoded = from.codec.from_value(object.clone(), FieldValidation::Ignore).ok()?;
        let shown = to.show(from.store(decoded.object));
        debug_assert_eq!(shown.api_version(), api_version(to));
        Some((Cow::Owned(plain(shown.as_ref())), self.schema.of(to.schema_name)))
    }
}
