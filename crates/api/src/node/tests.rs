//! Tables of RuntimeClass.

use expect_test::expect;
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::json;

use crate::strategy::KindStrategy;
use crate::testing::{cells, create_errors, defaulted, update_errors};

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect!["runtimeclasses runtimeclass  node.k8s.io/v1 cluster RuntimeClass create,delete,deletecollection,get,list,patch,update,watch "].assert_eq(&crate::testing::listing(&super::rows()));
}

#[test]
fn runtime_class_with_everything_wrong_names_every_field() {
    let class: RuntimeClass = defaulted(json!({"metadata": {"name": "r"}, "handler": "A_b",
        "overhead": {"podFixed": {"cpu": "-1", "shoes": "2"}},
        "scheduling": {"nodeSelector": {"a b": "c"},
            "tolerations": [{"key": "k", "operator": "Exists"}, {"key": "k", "operator": "Exists", "tolerationSeconds": 5}]}}));
    expect![[r#"
        handler: Invalid value: "A_b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0
        overhead.limits[shoes]: Invalid value: "shoes": must be a standard resource type or fully qualified
        overhead.limits[shoes]: Invalid value: "shoes": must be a standard resource for containers
        scheduling.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        scheduling.tolerations[1].effect: Invalid value: "": effect must be 'NoExecute' when `tolerationSeconds` is set
        scheduling.tolerations[1]: Duplicate value: {"key":"k","operator":"Exists","tolerationSeconds":5}"#]].assert_eq(&create_errors(class));
    let empty: RuntimeClass = defaulted(json!({"metadata": {"name": "r"}, "handler": ""}));
    assert_eq!(create_errors(empty), "handler: Required value");
}

#[test]
fn runtime_class_keeps_its_handler() {
    let make = |handler: &str| -> RuntimeClass {
        defaulted(json!({"metadata": {"name": "r"}, "handler": handler}))
    };
    expect![[r#"handler: Invalid value: "b": field is immutable"#]]
        .assert_eq(&update_errors(make("b"), make("a")));
    assert_eq!(cells(&make("a")), "r|a|<unknown>");
}

#[test]
fn runtime_class_warns_of_old_labels() {
    let class: RuntimeClass = defaulted(json!({"metadata": {"name": "r"}, "handler": "a",
        "scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}}));
    assert_eq!(
        class.warnings(None),
        ["scheduling.nodeSelector: deprecated since v1.14; use \"kubernetes.io/os\" instead"]
    );
}
