//! Tables of PriorityClass.

use expect_test::expect;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};

use crate::testing::{cells, create_errors, defaulted, update_errors};

fn class(name: &str, value: i64, more: Value) -> PriorityClass {
    let mut class = json!({"metadata": {"name": name}, "value": value});
    let fields = more.as_object().expect("an object").clone();
    class.as_object_mut().expect("an object").extend(fields);
    defaulted(class)
}

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect!["priorityclasses priorityclass pc scheduling.k8s.io/v1 cluster PriorityClass create,delete,deletecollection,get,list,patch,update,watch "].assert_eq(&crate::testing::listing(&super::rows()));
}

#[test]
fn priority_class_values_and_names_have_their_bounds() {
    for (name, value, more, error) in [
        ("a", 1_000_000_000, json!({}), ""),
        ("a", -5, json!({}), ""),
        (
            "a",
            1_000_000_001,
            json!({}),
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
        ),
        ("system-node-critical", 2_000_001_000, json!({}), ""),
        (
            "system-node-critical",
            7,
            json!({}),
            "value of system-node-critical PriorityClass must be 2000001000",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            json!({"globalDefault": true}),
            "globalDefault of system-cluster-critical PriorityClass must be false",
        ),
        ("system-mine", 7, json!({}), "system-mine is not a known system priority class"),
        (
            "a",
            7,
            json!({"preemptionPolicy": "x"}),
            "supported values: \"PreemptLowerPriority\", \"Never\"",
        ),
    ] {
        let told = create_errors(class(name, value, more));
        assert!(told.contains(error) && told.is_empty() == error.is_empty(), "{name}: {told}");
    }
}

#[test]
fn priority_class_keeps_its_value_and_policy() {
    let old = class("a", 7, json!({}));
    assert_eq!(update_errors(class("a", 7, json!({"description": "x"})), old.clone()), "");
    let new = class("a", 8, json!({"preemptionPolicy": "Never"}));
    expect![[r#"
        value: Forbidden: may not be changed in an update.
        preemptionPolicy: Invalid value: "Never": field is immutable"#]]
    .assert_eq(&update_errors(new, old));
}

#[test]
fn priority_class_row_reads_as_in_kubernetes() {
    assert_eq!(cells(&class("a", 7, json!({}))), "a|7|false|<unknown>|PreemptLowerPriority");
}
