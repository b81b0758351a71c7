//! Kinds of the group `admissionregistration.k8s.io`: who is asked before an object is taken. They are kept and checked; the
//! syntax of expressions is not.

mod hooks;
pub mod mutating_webhook_configuration;
mod rules;
pub mod validating_webhook_configuration;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};

use crate::kinds::{ALL_VERBS, Resource, names, row};

const EXTENSIONS: &[&str] = &["api-extensions"];

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        row::<MutatingWebhookConfiguration>(
            names("mutatingwebhookconfiguration", &[], EXTENSIONS),
            ALL_VERBS,
            &[],
            "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
        ),
        row::<ValidatingWebhookConfiguration>(
            names("validatingwebhookconfiguration", &[], EXTENSIONS),
            ALL_VERBS,
            &[],
            "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
        ),
    ]
}

#[cfg(test)]
mod tests;
