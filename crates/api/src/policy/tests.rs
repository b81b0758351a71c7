//! Tables of the group.

use expect_test::expect;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use crate::kinds;
use crate::testing::{cells, create_errors, defaulted, text, update_errors};

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        poddisruptionbudgets poddisruptionbudget pdb policy/v1 namespaced PodDisruptionBudget create,delete,deletecollection,get,list,patch,update,watch 
          status PodDisruptionBudget get,patch,update"#]].assert_eq(&crate::testing::listing(&super::rows()));
}

fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
    defaulted(json!({"metadata": {"name": "b"}, "spec": spec, "status": status}))
}

#[test]
fn budget_with_everything_wrong_names_every_field() {
    let spec = json!({"minAvailable": "101%", "maxUnavailable": -1, "unhealthyPodEvictionPolicy": "Never",
        "selector": {"matchLabels": {"a b": "c"}}});
    expect![[r#"
        spec: Invalid value: {"maxUnavailable":-1,"minAvailable":"101%","selector":{"matchLabels":{"a b":"c"}},"unhealthyPodEvictionPolicy":"Never"}: minAvailable and maxUnavailable cannot be both set
        spec.minAvailable: Invalid value: "101%": must not be greater than 100%
        spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0
        spec.selector.matchLabels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", "IfHealthyBudget""#]].assert_eq(&create_errors(budget(spec, json!({}))));
    expect![[r#"spec.minAvailable: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"#]].assert_eq(&create_errors(budget(json!({"minAvailable": "x"}), json!({}))));
    assert_eq!(create_errors(budget(json!({"selector": {}}), json!({}))), "");
}

#[test]
fn budget_may_be_changed_and_starts_with_zeros() {
    let (old, new) = (
        budget(json!({"minAvailable": 1}), json!({})),
        budget(json!({"maxUnavailable": 1}), json!({})),
    );
    assert_eq!(update_errors(new, old.clone()), "");
    let status = serde_json::to_value(old.status).expect("JSON");
    expect![[r#"{"currentHealthy":0,"desiredHealthy":0,"disruptionsAllowed":0,"expectedPods":0}"#]]
        .assert_eq(&status.to_string());
}

#[test]
fn status_of_budget_is_checked() {
    let condition = json!({"type": "a b", "status": "Maybe", "reason": "1", "message": "", "observedGeneration": -1, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let other = json!({"type": "a b", "status": "True", "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let bad = budget(
        json!({}),
        json!({"disruptionsAllowed": -1, "currentHealthy": -1, "desiredHealthy": -1, "expectedPods": -1,
        "conditions": [condition, other]}),
    );
    let mut bad = bad;
    bad.metadata.resource_version = Some("1".to_owned());
    let strategy = kinds::of::<PodDisruptionBudget>().strategy;
    expect![[r#"
        status.conditions[0].type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        status.conditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"
        status.conditions[0].observedGeneration: Invalid value: -1: must be greater than or equal to zero
        status.conditions[0].reason: Invalid value: "1": a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')
        status.conditions[1].type: Duplicate value: "a b"
        status.conditions[1].type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        status.conditions[1].reason: Required value
        status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0
        status.currentHealthy: Invalid value: -1: must be greater than or equal to 0
        status.desiredHealthy: Invalid value: -1: must be greater than or equal to 0
        status.expectedPods: Invalid value: -1: must be greater than or equal to 0"#]].assert_eq(&text(&strategy.validate_status_update(&bad, &bad)));
}

#[test]
fn budget_row_reads_as_in_kubernetes() {
    let row = cells(&budget(json!({"minAvailable": "50%"}), json!({"disruptionsAllowed": 2})));
    expect!["b|50%|N/A|2|<unknown>"].assert_eq(&row);
    let row = cells(&budget(json!({"maxUnavailable": 1}), json!({})));
    expect!["b|N/A|1|0|<unknown>"].assert_eq(&row);
}
