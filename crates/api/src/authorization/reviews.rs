//! The rules of the reviews that ask what somebody may do.
//!
//! Counterpart in Kubernetes: `pkg/apis/authorization/validation`.

use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::report::{Report, list, text};

/// What is wrong with a question about anybody.
pub fn validate_subject(review: &SubjectAccessReview) -> ErrorList {
    let mut errors = ErrorList::new();
    validate_spec(&review.spec, &mut errors);
    validate_metadata(&review.metadata, "must be empty", &mut errors);
    errors
}

/// What is wrong with a question about oneself.
pub fn validate_self(review: &SelfSubjectAccessReview) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = &review.spec;
    let (resource, other) = (&spec.resource_attributes, &spec.non_resource_attributes);
    validate_choice(resource.as_ref(), other.as_ref(), &mut errors);
    validate_selectors(resource.as_ref(), &mut errors);
    validate_metadata(&review.metadata, "must be empty", &mut errors);
    errors
}

/// What is wrong with a question about anybody in one namespace.
pub fn validate_local(review: &LocalSubjectAccessReview) -> ErrorList {
    let mut errors = ErrorList::new();
    validate_spec(&review.spec, &mut errors);
    let metadata = ObjectMeta { namespace: None, ..review.metadata.clone() };
    validate_metadata(&metadata, "must be empty except for namespace", &mut errors);
    let asked = review.spec.resource_attributes.as_ref().map(|r| text(&r.namespace));
    if let Some(asked) = asked.filter(|asked| *asked != text(&review.metadata.namespace)) {
        let at = Path::new("spec.resourceAttributes.namespace");
        errors.invalid(&at, asked, "must match metadata.namespace");
    }
    if let Some(other) = &review.spec.non_resource_attributes {
        let at = Path::new("spec.nonResourceAttributes");
        errors.invalid(&at, other, "disallowed on this kind of request");
    }
    errors
}

fn validate_spec(spec: &SubjectAccessReviewSpec, errors: &mut ErrorList) {
    let (resource, other) = (&spec.resource_attributes, &spec.non_resource_attributes);
    validate_choice(resource.as_ref(), other.as_ref(), errors);
    if text(&spec.user).is_empty() && list(&spec.groups).is_empty() {
        let at = Path::new("spec").child("user");
        errors.invalid(&at, "", "at least one of user or group must be specified");
    }
    validate_selectors(resource.as_ref(), errors);
}

fn validate_choice(
    resource: Option<&ResourceAttributes>,
    other: Option<&NonResourceAttributes>,
    errors: &mut ErrorList,
) {
    let at = Path::new("spec");
    match (resource, other) {
        (Some(_), Some(other)) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.invalid(&at.child("nonResourceAttributes"), other, detail);
        }
        (None, None) => {
            let detail =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.invalid(&at.child("resourceAttributes"), serde_json::Value::Null, detail);
        }
        _ => {}
    }
}

/// A selector is either a text or a list of requirements.
fn validate_selectors(resource: Option<&ResourceAttributes>, errors: &mut ErrorList) {
    let Some(resource) = resource else { return };
    let fields = resource.field_selector.as_ref();
    let labels = resource.label_selector.as_ref();
    let fields = fields.map(|s| (text(&s.raw_selector), list(&s.requirements).len()));
    let labels = labels.map(|s| (text(&s.raw_selector), list(&s.requirements).len()));
    for (name, selector) in [("fieldSelector", fields), ("labelSelector", labels)] {
        let at = Path::new("spec.resourceAttributes").child(name);
        match selector {
            Some((raw, count)) if !raw.is_empty() && count > 0 => {
                let detail = "may not specified at the same time as requirements";
                errors.invalid(&at.child("rawSelector"), raw, detail);
            }
            Some(("", 0)) => {
                let detail =
                    format!("when {at} is specified, requirements or rawSelector is required");
                errors.required(&at.child("requirements"), &detail);
            }
            _ => {}
        }
    }
}

fn validate_metadata(metadata: &ObjectMeta, detail: &str, errors: &mut ErrorList) {
    let metadata = ObjectMeta { managed_fields: None, ..metadata.clone() };
    if metadata != ObjectMeta::default() {
        errors.invalid(&Path::new("metadata"), &metadata, detail);
    }
}
