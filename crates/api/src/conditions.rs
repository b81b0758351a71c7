//! Rules for lists of `metav1.Condition`.
//!
//! Counterpart in Kubernetes: `ValidateConditions` of `k8s.io/apimachinery/pkg/apis/meta/v1/validation`.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use apimachinery::{meta, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::report::Report;

const STATUSES: &[&str] = &["False", "True", "Unknown"];
/// Bytes of a reason: a word, not a text.
const MAX_REASON: usize = 1024;
/// Bytes of a message.
const MAX_MESSAGE: usize = 32 * 1024;
const REASON: &str = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";
const REASON_MESSAGE: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
const REASON_EXAMPLES: &[&str] =
    &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];

/// Every reason why the conditions are wrong.
pub(crate) fn validate(conditions: &[Condition], at: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = at.index(i);
        if !seen.insert(&condition.type_) {
            errors.duplicate(&at.child("type"), &condition.type_);
        }
        validate_one(condition, &at, errors);
    }
}

fn validate_one(condition: &Condition, at: &Path, errors: &mut ErrorList) {
    errors.extend(meta::validate_label_name(&condition.type_, &at.child("type")));
    if !STATUSES.contains(&condition.status.as_str()) {
        errors.not_supported(&at.child("status"), &condition.status, STATUSES);
    }
    if let Some(generation) = condition.observed_generation.filter(|n| *n < 0) {
        let detail = "must be greater than or equal to zero";
        errors.invalid(&at.child("observedGeneration"), generation, detail);
    }
    validate_reason(&condition.reason, &at.child("reason"), errors);
    if condition.message.len() > MAX_MESSAGE {
        errors.too_long(&at.child("message"), MAX_MESSAGE);
    }
}

fn validate_reason(reason: &str, at: &Path, errors: &mut ErrorList) {
    if reason.is_empty() {
        errors.required(at, "");
        return;
    }
    if !is_reason(reason) {
        let detail = names::regex_error(REASON_MESSAGE, REASON, REASON_EXAMPLES);
        errors.invalid(at, reason, detail);
    }
    if reason.len() > MAX_REASON {
        errors.too_long(at, MAX_REASON);
    }
}

/// Whether the text matches [`REASON`] as a whole.
fn is_reason(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(word)
        && text.chars().all(|c| word(c) || c == ',' || c == ':')
}
