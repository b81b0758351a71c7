//! Kinds of the group `authorization.k8s.io`: what somebody may do. They are asked and answered, and never kept.

pub mod reviews;

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};

use crate::kinds::{Resource, Scope, names, question};

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        question::<LocalSubjectAccessReview>(
            names("localsubjectaccessreview", &[], &[]),
            Scope::Namespaced,
            "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
        ),
        question::<SelfSubjectAccessReview>(
            names("selfsubjectaccessreview", &[], &[]),
            Scope::Cluster,
            "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
        ),
        question::<SelfSubjectRulesReview>(
            names("selfsubjectrulesreview", &[], &[]),
            Scope::Cluster,
            "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
        ),
        question::<SubjectAccessReview>(
            names("subjectaccessreview", &[], &[]),
            Scope::Cluster,
            "io.k8s.api.authorization.v1.SubjectAccessReview",
        ),
    ]
}

#[cfg(test)]
mod tests;
