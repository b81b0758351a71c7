//! Tables of roles and bindings.

use expect_test::expect;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde_json::{Value, json};

use crate::testing::{cells, create_errors, defaulted, update_errors};

fn rules() -> Value {
    json!([
        {"verbs": []},
        {"verbs": ["get"], "nonResourceURLs": ["/healthz"]},
        {"verbs": ["get"], "nonResourceURLs": ["/x"], "apiGroups": [""]}
    ])
}

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        clusterrolebindings clusterrolebinding  rbac.authorization.k8s.io/v1 cluster ClusterRoleBinding create,delete,deletecollection,get,list,patch,update,watch 
        clusterroles clusterrole  rbac.authorization.k8s.io/v1 cluster ClusterRole create,delete,deletecollection,get,list,patch,update,watch 
        rolebindings rolebinding  rbac.authorization.k8s.io/v1 namespaced RoleBinding create,delete,deletecollection,get,list,patch,update,watch 
        roles role  rbac.authorization.k8s.io/v1 namespaced Role create,delete,deletecollection,get,list,patch,update,watch "#]].assert_eq(&crate::testing::listing(&super::rows()));
}

#[test]
fn role_with_bad_rules_names_every_field() {
    let role: Role = defaulted(json!({"metadata": {"name": "a/b"}, "rules": rules()}));
    expect![[r#"
        metadata.name: Invalid value: "a/b": may not contain '/'
        rules[0].verbs: Required value: verbs must contain at least one value
        rules[0].apiGroups: Required value: resource rules must supply at least one api group
        rules[0].resources: Required value: resource rules must supply at least one resource
        rules[1].nonResourceURLs: Invalid value: ["/healthz"]: namespaced rules cannot apply to non-resource URLs
        rules[2].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs
        rules[2].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources and non-resource URLs"#]].assert_eq(&create_errors(role));
    let any_name: Role = defaulted(json!({"metadata": {"name": "system:a B"}}));
    assert_eq!(create_errors(any_name), "");
}

#[test]
fn cluster_role_with_bad_rules_names_every_field() {
    let role: ClusterRole = defaulted(json!({"metadata": {"name": "a"}, "rules": rules(),
        "aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "x", "operator": "Is"}]}]}}));
    expect![[r#"
        rules[0].verbs: Required value: verbs must contain at least one value
        rules[0].apiGroups: Required value: resource rules must supply at least one api group
        rules[0].resources: Required value: resource rules must supply at least one resource
        rules[2].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources and non-resource URLs
        aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator
        aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector."#]].assert_eq(&create_errors(role));
    let role: ClusterRole = defaulted(json!({"metadata": {"name": "a"}, "aggregationRule": {}}));
    expect!["aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"].assert_eq(&create_errors(role));
}

#[test]
fn bindings_fill_in_groups() {
    let binding: RoleBinding = defaulted(
        json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "Group", "name": "g", "apiGroup": "x"}, {"kind": "ServiceAccount", "name": "s", "apiGroup": ""}]}),
    );
    expect![[r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"u"},{"apiGroup":"x","kind":"Group","name":"g"},{"kind":"ServiceAccount","name":"s"}]}"#]].assert_eq(&serde_json::to_string(&binding).expect("JSON"));
}

fn wrong() -> Value {
    json!({"metadata": {"name": "b"}, "roleRef": {"kind": "User", "name": "", "apiGroup": "rbac"},
        "subjects": [{"kind": "Robot", "name": ""}, {"kind": "User", "name": "u", "apiGroup": "x"},
            {"kind": "ServiceAccount", "name": "A", "apiGroup": "x"}]})
}

#[test]
fn bindings_with_everything_wrong_name_every_field() {
    let binding: RoleBinding = defaulted(wrong());
    expect![[r#"
        roleRef.apiGroup: Unsupported value: "rbac": supported values: "rbac.authorization.k8s.io"
        roleRef.kind: Unsupported value: "User": supported values: "Role", "ClusterRole"
        roleRef.name: Required value
        subjects[0].name: Required value
        subjects[0].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"
        subjects[1].apiGroup: Unsupported value: "x": supported values: "rbac.authorization.k8s.io"
        subjects[2].name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        subjects[2].apiGroup: Unsupported value: "x": supported values: """#]].assert_eq(&create_errors(binding));
    let binding: ClusterRoleBinding = defaulted(wrong());
    expect![[r#"
        roleRef.apiGroup: Unsupported value: "rbac": supported values: "rbac.authorization.k8s.io"
        roleRef.kind: Unsupported value: "User": supported values: "ClusterRole"
        roleRef.name: Required value
        subjects[0].name: Required value
        subjects[0].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"
        subjects[1].apiGroup: Unsupported value: "x": supported values: "rbac.authorization.k8s.io"
        subjects[2].name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        subjects[2].apiGroup: Unsupported value: "x": supported values: ""
        subjects[2].namespace: Required value"#]].assert_eq(&create_errors(binding));
}

#[test]
fn bindings_keep_their_role() {
    let make = |role: &str| -> RoleBinding {
        defaulted(json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": role}}))
    };
    assert_eq!(update_errors(make("a"), make("a")), "");
    expect![[r#"roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"b"}: cannot change roleRef"#]].assert_eq(&update_errors(make("b"), make("a")));
}

#[test]
fn rows_read_as_in_kubernetes() {
    let role: Role =
        defaulted(json!({"metadata": {"name": "r", "creationTimestamp": "2025-12-31T00:00:00Z"}}));
    assert_eq!(cells(&role), "r|2025-12-31T00:00:00Z");
    let binding: ClusterRoleBinding = defaulted(
        json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "User", "name": "v"}, {"kind": "Group", "name": "g"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"}, {"kind": "ServiceAccount", "name": "t"}]}),
    );
    assert_eq!(cells(&binding), "b|ClusterRole/admin|<unknown>|u, v|g|n/s, t");
}
