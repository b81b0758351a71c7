//! Tables of the group.

use expect_test::expect;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde_json::{Value, json};

use crate::testing::{cells, create_errors, defaulted};

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#""#]].assert_eq(&crate::testing::listing(&super::rows()));
}

fn schema(name: &str, spec: Value) -> FlowSchema {
    defaulted(json!({"metadata": {"name": name}, "spec": spec}))
}

fn everything() -> Value {
    json!({"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "subjects": [{"kind": "Group", "group": {"name": "system:masters"}}]})
}

#[test]
fn flow_schema_with_everything_wrong_names_every_field() {
    let subjects = json!([{"kind": "Robot"}, {"kind": "User"}, {"kind": "Group", "group": {"name": ""}, "user": {"name": "u"}},
        {"kind": "ServiceAccount", "serviceAccount": {"name": "A", "namespace": ""}, "group": {"name": "g"}}, {"kind": "ServiceAccount"}]);
    let rules = json!([{"subjects": [], "resourceRules": []}, {"subjects": subjects,
        "resourceRules": [{"verbs": [], "apiGroups": [], "resources": []},
            {"verbs": ["*", "get"], "apiGroups": ["*", "a"], "resources": ["*", "a"], "namespaces": ["*", "a"]},
            {"verbs": ["dance"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["A"]}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": []}, {"verbs": ["get"], "nonResourceURLs": ["*", "/"]},
            {"verbs": ["get"], "nonResourceURLs": ["", "/", "x", "/a b", "/a//b", "/*/a", "/a/*"]}]}]);
    let bad = schema("s", json!({"matchingPrecedence": -1, "distinguisherMethod": {"type": "ByMood"}, "priorityLevelConfiguration": {"name": ""}, "rules": rules}));
    expect![[r#""#]].assert_eq(&create_errors(bad));
    let level = json!({"name": "A"});
    let bounds = [1, 10_001].map(|precedence| {
        create_errors(schema("s", json!({"matchingPrecedence": precedence, "priorityLevelConfiguration": level})))
    });
    expect![[r#""#]].assert_eq(&bounds.join("\n"));
}

#[test]
fn flow_schema_that_every_cluster_has_is_fixed() {
    let exempt = json!({"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": "exempt"}, "rules": [everything()]});
    assert_eq!(create_errors(schema("exempt", exempt.clone())), "");
    let mut other = exempt;
    other["matchingPrecedence"] = json!(2);
    assert!(create_errors(schema("exempt", other)).ends_with("spec of 'exempt' must equal the fixed value"));
}

#[test]
fn flow_schema_row_reads_as_in_kubernetes() {
    let plain = schema("s", json!({"priorityLevelConfiguration": {"name": "p"}}));
    assert_eq!(cells(&plain), "s|p|1000|<none>|<unknown>|?");
    let full: FlowSchema = defaulted(json!({"metadata": {"name": "s"},
        "spec": {"matchingPrecedence": 7, "priorityLevelConfiguration": {"name": "p"}, "distinguisherMethod": {"type": "ByUser"}},
        "status": {"conditions": [{"type": "Dangling", "status": "False"}]}}));
    assert_eq!(cells(&full), "s|p|7|ByUser|<unknown>|False");
}

fn level(name: &str, spec: Value) -> PriorityLevelConfiguration {
    defaulted(json!({"metadata": {"name": name}, "spec": spec}))
}

#[test]
fn priority_level_is_filled_in() {
    let queued = level("p", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}));
    expect![[r#""#]].assert_eq(&serde_json::to_string(&queued.spec).expect("JSON"));
    assert_eq!(create_errors(queued.clone()), "");
    assert_eq!(cells(&queued), "p|Limited|30|64|8|50|<unknown>");
    let exempt = level("exempt", json!({"type": "Exempt", "exempt": {}}));
    assert_eq!(create_errors(exempt.clone()), "");
    assert_eq!(cells(&exempt), "exempt|Exempt|<none>|<none>|<none>|<none>|<unknown>");
}

#[test]
fn priority_level_with_everything_wrong_names_every_field() {
    let queue = |queuing: Value| json!({"type": "Limited", "limited": {"nominalConcurrencyShares": -1, "lendablePercent": 101,
        "borrowingLimitPercent": -1, "limitResponse": {"type": "Queue", "queuing": queuing}}});
    let all = [
        level("p", json!({"type": "Exempt", "limited": {}, "exempt": {"nominalConcurrencyShares": -1, "lendablePercent": -1}})),
        level("p", json!({"type": "Limited", "exempt": {}})),
        level("p", json!({"type": "Odd"})),
        level("p", queue(json!({"queues": -1, "handSize": -1, "queueLengthLimit": -1}))),
        level("p", queue(json!({"queues": 20_000_000, "handSize": 8}))),
        level("p", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {"queues": 2, "handSize": 3}}}})),
        level("p", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}})),
        level("p", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject", "queuing": {}}}})),
        level("p", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Odd"}}})),
        level("catch-all", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}})),
    ];
    expect![[r#""#]].assert_eq(&all.map(create_errors).join("\n"));
}
