//! Short ways to say what is wrong with a field, for validation code that consists of little else.
//!
//! Counterpart in Kubernetes: the small helpers at the top of `pkg/apis/core/validation/validation.go`.

use apimachinery::field::{self, ErrorList, Path};
use apimachinery::names;
use serde::Serialize;

/// A field that must never change once it is set.
pub(crate) const IMMUTABLE: &str = "field is immutable";
/// A ConfigMap or Secret that was sealed by `immutable: true`.
pub(crate) const SEALED: &str = "field is immutable when `immutable` is set";
const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// What validation code says about a field.
pub(crate) trait Report {
    /// A value is missing.
    fn required(&mut self, at: &Path, detail: &str);
    /// A value is wrong.
    fn invalid(&mut self, at: &Path, value: impl Serialize, detail: impl Into<String>);
    /// A value is not one of the known ones.
    fn not_supported(&mut self, at: &Path, value: &str, supported: &[&str]);
    /// A value is there twice.
    fn duplicate(&mut self, at: &Path, value: impl Serialize);
    /// A value must not be set here.
    fn forbidden(&mut self, at: &Path, detail: impl Into<String>);
    /// A reference points nowhere.
    fn missing(&mut self, at: &Path, value: &str);
    /// A value is longer than `max`.
    fn too_long(&mut self, at: &Path, max: usize);
    /// A list has more than `max` items.
    fn too_many(&mut self, at: &Path, actual: usize, max: usize);

    /// Every message makes the value invalid.
    fn invalid_all(&mut self, at: &Path, value: impl Serialize + Copy, messages: Vec<String>) {
        for message in messages {
            self.invalid(at, value, message);
        }
    }
    /// The number must not be below zero.
    fn non_negative(&mut self, at: &Path, value: i64) {
        if value < 0 {
            self.invalid(at, value, NOT_NEGATIVE);
        }
    }
    /// The value must be one of `supported`; an empty one is missing.
    fn one_of(&mut self, at: &Path, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(at, "");
        } else if !supported.contains(&value) {
            self.not_supported(at, value, supported);
        }
    }
    /// The value must be a DNS label.
    fn dns_label(&mut self, at: &Path, value: &str) {
        self.invalid_all(at, value, names::is_dns1123_label(value));
    }
    /// The value must be a DNS subdomain.
    fn dns_subdomain(&mut self, at: &Path, value: &str) {
        self.invalid_all(at, value, names::is_dns1123_subdomain(value));
    }
    /// The value must be a qualified name.
    fn qualified_name(&mut self, at: &Path, value: &str) {
        self.invalid_all(at, value, names::is_qualified_name(value));
    }
    /// The text must be there.
    fn non_empty(&mut self, at: &Path, value: &str) {
        if value.is_empty() {
            self.required(at, "");
        }
    }
    /// The field must not have changed.
    fn unchanged<T: Serialize + PartialEq>(&mut self, at: &Path, new: &T, old: &T) {
        if new != old {
            self.invalid(at, new, IMMUTABLE);
        }
    }
}

impl Report for ErrorList {
    fn required(&mut self, at: &Path, detail: &str) {
        self.push(field::required(at, detail));
    }
    fn invalid(&mut self, at: &Path, value: impl Serialize, detail: impl Into<String>) {
        self.push(field::invalid(at, value, detail));
    }
    fn not_supported(&mut self, at: &Path, value: &str, supported: &[&str]) {
        self.push(field::not_supported(at, value, supported));
    }
    fn duplicate(&mut self, at: &Path, value: impl Serialize) {
        self.push(field::duplicate(at, value));
    }
    fn forbidden(&mut self, at: &Path, detail: impl Into<String>) {
        self.push(field::forbidden(at, detail));
    }
    fn missing(&mut self, at: &Path, value: &str) {
        self.push(field::not_found(at, value));
    }
    fn too_long(&mut self, at: &Path, max: usize) {
        self.push(field::too_long(at, max));
    }
    fn too_many(&mut self, at: &Path, actual: usize, max: usize) {
        self.push(field::too_many(at, actual, max));
    }
}

/// The text of an optional field; absent is empty, as in Go.
pub(crate) fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// The items of an optional list; absent is empty, as in Go.
pub(crate) fn list<T>(value: &Option<Vec<T>>) -> &[T] {
    value.as_deref().unwrap_or_default()
}

/// Absent instead of empty, as `omitempty` has it: `omit_empty!(spec: volumes, tolerations)`.
macro_rules! omit_empty {
    ($owner:expr; $($field:ident),+ $(,)?) => {
        $( if $owner.$field.as_ref().is_some_and(|v| v.is_empty()) { $owner.$field = None; } )+
    };
}
pub(crate) use omit_empty;
