//! Kinds of the group `authentication.k8s.io`: who somebody is. They are asked and answered, and never kept.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};

use crate::kinds::{Resource, Scope, names, question};

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        question::<SelfSubjectReview>(
            names("selfsubjectreview", &[], &[]),
            Scope::Cluster,
            "io.k8s.api.authentication.v1.SelfSubjectReview",
        ),
        question::<TokenReview>(
            names("tokenreview", &[], &[]),
            Scope::Cluster,
            "io.k8s.api.authentication.v1.TokenReview",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    #[test]
    fn rows_say_what_discovery_of_kubernetes_says() {
        expect![[r#"
            selfsubjectreviews selfsubjectreview  authentication.k8s.io/v1 cluster SelfSubjectReview create 
            tokenreviews tokenreview  authentication.k8s.io/v1 cluster TokenReview create "#]].assert_eq(&crate::testing::listing(&super::rows()));
    }
}
