//! A number of pods, or a percentage of them, as budgets and rolling updates have it.
//!
//! Counterpart in Kubernetes: `ValidatePositiveIntOrPercent` and its neighbours in `pkg/apis/apps/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::{int_or_string, names};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::report::Report;

/// The share must be a number that is not below zero, or a percentage.
pub(crate) fn validate(share: &IntOrString, at: &Path, errors: &mut ErrorList) {
    match share {
        IntOrString::Int(n) => errors.non_negative(at, (*n).into()),
        IntOrString::String(text) => {
            errors.invalid_all(at, text.as_str(), names::is_valid_percent(text))
        }
    }
}

/// A percentage must not be more than all.
pub(crate) fn validate_not_above_all(share: &IntOrString, at: &Path, errors: &mut ErrorList) {
    if int_or_string::percent(share).is_some_and(|p| p > 100) {
        errors.invalid(at, share, "must not be greater than 100%");
    }
}

/// Whether the share is zero, or a text that is no number.
pub(crate) fn is_nothing(share: &IntOrString) -> bool {
    match share {
        IntOrString::Int(n) => *n == 0,
        IntOrString::String(text) => {
            int_or_string::percent(share).unwrap_or_else(|| text.parse().unwrap_or(0)) == 0
        }
    }
}
