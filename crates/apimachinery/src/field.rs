//! Errors about single fields of an object, and the paths that name them; the counterpart of
//! `k8s.io/apimachinery/pkg/util/validation/field`.
//!
//! Invariants: `Display` of [`Error`] is byte for byte what Kubernetes prints (`spec.replicas: Invalid value: -1: must be
//! greater than or equal to 0`), and validation collects every error before it answers.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// Every error found in one object, in the order found.
pub type ErrorList = Vec<Error>;

/// The path of a field, such as `spec.containers[0].env[FOO]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Option<String>);

impl Path {
    /// A path of one name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Some(name.into()))
    }

    /// The path of nothing: prints as `<nil>`, and its children are roots.
    pub const fn nil() -> Self {
        Self(None)
    }

    /// The field `name` of this one.
    pub fn child(&self, name: &str) -> Self {
        Self(Some(match &self.0 {
            None => name.to_owned(),
            Some(parent) => format!("{parent}.{name}"),
        }))
    }

    /// The item at `index` of this list.
    pub fn index(&self, index: usize) -> Self {
        self.subscript(&index)
    }

    /// The value under `key` of this map.
    pub fn key(&self, key: &str) -> Self {
        self.subscript(&key)
    }

    fn subscript(&self, inner: &dyn fmt::Display) -> Self {
        Self(Some(format!("{}[{inner}]", self.0.as_deref().unwrap_or_default())))
    }
}

impl From<&str> for Path {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("<nil>"))
    }
}

/// Why a field was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorType {
    /// A value referred to does not exist.
    NotFound,
    /// A required value is missing.
    Required,
    /// Values that must be unique collide.
    Duplicate,
    /// The value is malformed or out of range.
    Invalid,
    /// The value is not one of those allowed.
    NotSupported,
    /// The value is not permitted here.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// The value is too short.
    TooShort,
    /// A list has too many items.
    TooMany,
    /// A list has too few items.
    TooFew,
    /// The value has the wrong type.
    TypeInvalid,
    /// Validation itself failed.
    Internal,
}

impl ErrorType {
    /// The machine-readable reason in `status.details.causes[].reason`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooShort => "FieldValueTooShort",
            Self::TooMany => "FieldValueTooMany",
            Self::TooFew => "FieldValueTooFew",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    /// The human-readable beginning of a message.
    const fn title(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooShort => "Too short",
            Self::TooMany => "Too many",
            Self::TooFew => "Too few",
            Self::Internal => "Internal error",
        }
    }

    /// True when the message shows the offending value.
    const fn shows_value(self) -> bool {
        !matches!(
            self,
            Self::Required | Self::Forbidden | Self::TooLong | Self::TooShort | Self::Internal
        )
    }
}

/// One error about one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// Why the field was refused.
    pub error_type: ErrorType,
    /// The path of the field.
    pub field: String,
    /// The offending value; `None` leaves it out of the message.
    pub bad_value: Option<Value>,
    /// What is wrong, in words; may be empty.
    pub detail: String,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl Error {
    fn new(
        error_type: ErrorType,
        field: &Path,
        bad_value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self { error_type, field: field.to_string(), bad_value, detail: detail.into() }
    }

    /// The message without the field's path.
    pub fn body(&self) -> String {
        let mut text = self.error_type.title().to_owned();
        if let (true, Some(value)) = (self.error_type.shows_value(), &self.bad_value) {
            text += ": ";
            text += &printed(value);
        }
        if !self.detail.is_empty() {
            text += ": ";
            text += &self.detail;
        }
        text
    }
}

/// A bad value as Go prints it: strings quoted by `%q`, numbers and booleans bare, the rest as JSON.
fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(_) | Value::Object(_) => go_json(value),
        other => other.to_string(),
    }
}

/// JSON as Go's encoder writes it: compact, with `<`, `>` and `&` escaped.
pub fn go_json(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            other => out.push(other),
        }
    }
    out
}

/// A string in double quotes as Go's `%q` prints it.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        quote_char(&mut out, c);
    }
    out.push('"');
    out
}

fn quote_char(out: &mut String, c: char) {
    let code = c as u32;
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        _ if code < 0x20 || code == 0x7f => out.push_str(&format!("\\x{code:02x}")),
        _ if c.is_control() || (c.is_whitespace() && c != ' ') => {
            out.push_str(&format!("\\u{code:04x}"))
        }
        _ => out.push(c),
    }
}

/// Any serializable value as the bad value of an error; what cannot be serialized prints as `null`.
fn bad(value: impl Serialize) -> Option<Value> {
    Some(serde_json::to_value(value).unwrap_or(Value::Null))
}

/// A value referred to does not exist.
pub fn not_found(path: &Path, value: impl Serialize) -> Error {
    Error::new(ErrorType::NotFound, path, bad(value), "")
}

/// A required value is missing; `detail` may be empty.
pub fn required(path: &Path, detail: impl Into<String>) -> Error {
    Error::new(ErrorType::Required, path, None, detail)
}

/// A value collides with another one that must differ.
pub fn duplicate(path: &Path, value: impl Serialize) -> Error {
    Error::new(ErrorType::Duplicate, path, bad(value), "")
}

/// A value is malformed or out of range.
pub fn invalid(path: &Path, value: impl Serialize, detail: impl Into<String>) -> Error {
    Error::new(ErrorType::Invalid, path, bad(value), detail)
}

/// A value has the wrong type.
pub fn type_invalid(path: &Path, value: impl Serialize, detail: impl Into<String>) -> Error {
    Error::new(ErrorType::TypeInvalid, path, bad(value), detail)
}

/// A value is not one of the `supported` ones, which the message lists in the order given.
pub fn not_supported<S: AsRef<str>>(path: &Path, value: impl Serialize, supported: &[S]) -> Error {
    let list: Vec<String> = supported.iter().map(|v| quote(v.as_ref())).collect();
    let detail = match list.is_empty() {
        true => String::new(),
        false => format!("supported values: {}", list.join(", ")),
    };
    Error::new(ErrorType::NotSupported, path, bad(value), detail)
}

/// A value is not permitted under the present conditions.
pub fn forbidden(path: &Path, detail: impl Into<String>) -> Error {
    Error::new(ErrorType::Forbidden, path, None, detail)
}

/// A value has more than `max_bytes` bytes.
pub fn too_long(path: &Path, max_bytes: usize) -> Error {
    let detail = format!("may not be more than {max_bytes} {}", plural(max_bytes, "byte"));
    Error::new(ErrorType::TooLong, path, None, detail)
}

/// A value has more than `max` characters.
pub fn too_long_characters(path: &Path, max: usize) -> Error {
    let detail = format!("may not be more than {max} {}", plural(max, "character"));
    Error::new(ErrorType::TooLong, path, None, detail)
}

/// A value has fewer than `min` characters.
pub fn too_short(path: &Path, min: usize) -> Error {
    let detail = format!("must be at least {min} {}", plural(min, "character"));
    Error::new(ErrorType::TooShort, path, None, detail)
}

/// A list has more than `max` items.
pub fn too_many(path: &Path, actual: usize, max: usize) -> Error {
    let detail = format!("must have at most {max} {}", plural(max, "item"));
    Error::new(ErrorType::TooMany, path, bad(actual), detail)
}

/// Validation itself failed.
pub fn internal(path: &Path, error: impl fmt::Display) -> Error {
    Error::new(ErrorType::Internal, path, None, error.to_string())
}

fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => noun.to_owned(),
        _ => format!("{noun}s"),
    }
}

/// All errors in one message: a single one as it is, several in brackets, repeated ones once.
pub fn aggregate(errors: &[Error]) -> String {
    let mut seen: Vec<String> = Vec::with_capacity(errors.len());
    for message in errors.iter().map(Error::to_string) {
        if !seen.contains(&message) {
            seen.push(message);
        }
    }
    match seen.len() {
        1 => seen.remove(0),
        _ => format!("[{}]", seen.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn path_printed_with_children_indexes_and_keys() {
        let path = Path::new("spec").child("containers").index(0).child("limits").key("cpu");
        assert_eq!(path.to_string(), "spec.containers[0].limits[cpu]");
        assert_eq!(Path::nil().to_string(), "<nil>");
        assert_eq!(Path::nil().child("key").to_string(), "key");
    }

    #[test]
    fn error_printed_as_kubernetes_does() {
        let path = Path::new("spec").child("x");
        let table = [
            (required(&path, ""), "spec.x: Required value"),
            (required(&path, "must be set"), "spec.x: Required value: must be set"),
            (
                invalid(&path, -1, "must be greater than or equal to 0"),
                "spec.x: Invalid value: -1: must be greater than or equal to 0",
            ),
            (invalid(&path, "a\"b\n", "no"), "spec.x: Invalid value: \"a\\\"b\\n\": no"),
            (
                invalid(&path, json!({"a": "<"}), "no"),
                "spec.x: Invalid value: {\"a\":\"\\u003c\"}: no",
            ),
            (invalid(&path, None::<i32>, "no"), "spec.x: Invalid value: null: no"),
            (
                not_supported(&path, "C", &["A", "B"]),
                "spec.x: Unsupported value: \"C\": supported values: \"A\", \"B\"",
            ),
            (duplicate(&path, "a"), "spec.x: Duplicate value: \"a\""),
            (not_found(&path, "a"), "spec.x: Not found: \"a\""),
            (forbidden(&path, "no"), "spec.x: Forbidden: no"),
            (too_long(&path, 10), "spec.x: Too long: may not be more than 10 bytes"),
            (too_long(&path, 1), "spec.x: Too long: may not be more than 1 byte"),
            (too_many(&path, 3, 1), "spec.x: Too many: 3: must have at most 1 item"),
            (too_short(&path, 2), "spec.x: Too short: must be at least 2 characters"),
            (
                type_invalid(&path, true, "must be a string"),
                "spec.x: Invalid value: true: must be a string",
            ),
            (internal(&path, "boom"), "spec.x: Internal error: boom"),
        ];
        for (error, want) in table {
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn aggregate_brackets_several_and_drops_repeats() {
        let (a, b) = (required(&Path::new("a"), ""), required(&Path::new("b"), ""));
        assert_eq!(aggregate(std::slice::from_ref(&a)), "a: Required value");
        assert_eq!(aggregate(&[a.clone(), a.clone()]), "a: Required value");
        assert_eq!(aggregate(&[a, b]), "[a: Required value, b: Required value]");
    }
}
