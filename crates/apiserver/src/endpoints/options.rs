//! Options of requests, from the query.
//!
//! Counterpart in Kubernetes: `metainternalversion.ListOptions`, `metav1.{Create,Update,Patch,Delete}Options` and their validation.

use apimachinery::field::{self, ErrorList, Path};
use apimachinery::gvk::GroupKind;
use apimachinery::meta;
use apimachinery::object::FieldValidation;
use apimachinery::status::StatusError;

use crate::request_info::query_bool;
use crate::storage::Mode;

/// The group of the options' kinds.
const META_GROUP: &str = "meta.k8s.io";

/// A parsed query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the text after the question mark.
    pub(crate) fn parse(text: &str) -> Self {
        Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter; empty if it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.first(name).unwrap_or_default()
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean; `None` if it is not there.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.first(name).map(query_bool)
    }

    /// An integer; `None` if it is not there or empty.
    ///
    /// # Errors
    /// `BadRequest` in the words of Go's `strconv`.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, StatusError> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = text.parse().map(Some);
        parsed.map_err(|_| {
            StatusError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        })
    }
}

/// Options of a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteOptions {
    pub(crate) mode: Mode,
    pub(crate) field_validation: FieldValidation,
}

impl WriteOptions {
    /// Reads them; `kind` names the options in errors, such as `CreateOptions`.
    ///
    /// # Errors
    /// `Invalid` for values Kubernetes does not know.
    pub(crate) fn parse(query: &Query, kind: &'static str) -> Result<Self, StatusError> {
        Self::parse_after(ErrorList::new(), query, kind)
    }

    /// Reads those of a patch.
    ///
    /// # Errors
    /// As [`WriteOptions::parse`]; and `force` is for applies.
    pub(crate) fn parse_patch(query: &Query) -> Result<Self, StatusError> {
        let force = query.first("force").filter(|text| !text.is_empty());
        let detail = "may not be specified for non-apply patch";
        let errors = force.map(|_| field::forbidden(&Path::new("force"), detail));
        Self::parse_after(errors.into_iter().collect(), query, "PatchOptions")
    }

    /// Reads those of an apply.
    ///
    /// # Errors
    /// As [`WriteOptions::parse`]; and an apply names its manager.
    pub(crate) fn parse_apply(query: &Query) -> Result<Self, StatusError> {
        let missing = query.text("fieldManager").is_empty();
        let detail = "is required for apply patch";
        let errors = missing.then(|| field::required(&Path::new("fieldManager"), detail));
        Self::parse_after(errors.into_iter().collect(), query, "PatchOptions")
    }

    fn parse_after(
        mut errors: ErrorList,
        query: &Query,
        kind: &'static str,
    ) -> Result<Self, StatusError> {
        let dry_run: Vec<&str> = query.all("dryRun").filter(|value| !value.is_empty()).collect();
        errors.extend(meta::validate_field_manager(
            query.text("fieldManager"),
            &Path::new("fieldManager"),
        ));
        errors.extend(validate_dry_run(&dry_run));
        let field_validation = FieldValidation::parse(query.text("fieldValidation"));
        if field_validation.is_none() {
            let supported = ["", "Ignore", "Strict", "Warn"];
            errors.push(field::not_supported(
                &Path::new("fieldValidation"),
                query.text("fieldValidation"),
                &supported,
            ));
        }
        refuse(kind, errors)?;
        let mode = mode(&dry_run);
        Ok(Self { mode, field_validation: field_validation.unwrap_or_default() })
    }
}

/// `dryRun` given at all means a dry run, since `All` is its only value.
pub(crate) fn mode<T>(dry_run: &[T]) -> Mode {
    if dry_run.is_empty() { Mode::Commit } else { Mode::DryRun }
}

/// Refuses values of `dryRun` other than `All`.
pub(crate) fn validate_dry_run(values: &[&str]) -> ErrorList {
    if values.iter().all(|value| *value == "All") {
        return ErrorList::new();
    }
    vec![field::not_supported(&Path::new("dryRun"), values, &["All"])]
}

/// `Invalid` about options, if there are errors.
pub(crate) fn refuse(kind: &'static str, errors: ErrorList) -> Result<(), StatusError> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(StatusError::invalid(&GroupKind::new(META_GROUP, kind), "", errors))
    }
}
