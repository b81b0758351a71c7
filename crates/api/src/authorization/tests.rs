//! Tables of the reviews.

use expect_test::expect;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SubjectAccessReview,
};
use serde_json::{Value, json};

use super::reviews;
use crate::testing::text;

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        localsubjectaccessreviews localsubjectaccessreview  authorization.k8s.io/v1 namespaced LocalSubjectAccessReview create 
        selfsubjectaccessreviews selfsubjectaccessreview  authorization.k8s.io/v1 cluster SelfSubjectAccessReview create 
        selfsubjectrulesreviews selfsubjectrulesreview  authorization.k8s.io/v1 cluster SelfSubjectRulesReview create 
        subjectaccessreviews subjectaccessreview  authorization.k8s.io/v1 cluster SubjectAccessReview create "#]].assert_eq(&crate::testing::listing(&super::rows()));
}

fn read<K: serde::de::DeserializeOwned>(kind: &str, metadata: Value, spec: Value) -> K {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "spec": spec});
    serde_json::from_value(review).expect("a review")
}

#[test]
fn review_with_everything_wrong_names_every_field() {
    let attributes = json!({"namespace": "a", "fieldSelector": {}, "labelSelector": {"rawSelector": "a", "requirements": [{"key": "k", "operator": "Exists"}]}});
    let both = json!({"resourceAttributes": attributes, "nonResourceAttributes": {"path": "/"}});
    let anybody: SubjectAccessReview =
        read("SubjectAccessReview", json!({"name": "n"}), both.clone());
    expect![[r#"
        spec.nonResourceAttributes: Invalid value: {"path":"/"}: cannot be specified in combination with resourceAttributes
        spec.user: Invalid value: "": at least one of user or group must be specified
        spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required
        spec.resourceAttributes.labelSelector.rawSelector: Invalid value: "a": may not specified at the same time as requirements
        metadata: Invalid value: {"name":"n"}: must be empty"#]].assert_eq(&text(&reviews::validate_subject(&anybody)));
    let local: LocalSubjectAccessReview =
        read("LocalSubjectAccessReview", json!({"namespace": "b"}), both);
    expect![[r#"
        spec.nonResourceAttributes: Invalid value: {"path":"/"}: cannot be specified in combination with resourceAttributes
        spec.user: Invalid value: "": at least one of user or group must be specified
        spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required
        spec.resourceAttributes.labelSelector.rawSelector: Invalid value: "a": may not specified at the same time as requirements
        spec.resourceAttributes.namespace: Invalid value: "a": must match metadata.namespace
        spec.nonResourceAttributes: Invalid value: {"path":"/"}: disallowed on this kind of request"#]].assert_eq(&text(&reviews::validate_local(&local)));
    let own: SelfSubjectAccessReview = read("SelfSubjectAccessReview", json!({}), json!({}));
    expect!["spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"].assert_eq(&text(&reviews::validate_self(&own)));
}
