//! Tables of the group.

use expect_test::expect;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde_json::{Value, json};

use crate::testing::{cells, create_errors, defaulted};

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        flowschemas flowschema  flowcontrol.apiserver.k8s.io/v1 cluster FlowSchema create,delete,deletecollection,get,list,patch,update,watch 
          status FlowSchema get,patch,update
        prioritylevelconfigurations prioritylevelconfiguration  flowcontrol.apiserver.k8s.io/v1 cluster PriorityLevelConfiguration create,delete,deletecollection,get,list,patch,update,watch 
          status PriorityLevelConfiguration get,patch,update"#]].assert_eq(&crate::testing::listing(&super::rows()));
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
    let bad = schema(
        "s",
        json!({"matchingPrecedence": -1, "distinguisherMethod": {"type": "ByMood"}, "priorityLevelConfiguration": {"name": ""}, "rules": rules}),
    );
    expect![[r#"
        spec.matchingPrecedence: Invalid value: -1: must be a positive value
        spec.distinguisherMethod.type: Unsupported value: {"type":"ByMood"}: supported values: "ByNamespace", "ByUser"
        spec.priorityLevelConfiguration.name: Required value: must reference a priority level
        spec.rules[0].subjects: Required value: subjects must contain at least one value
        spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty
        spec.rules[1].subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"
        spec.rules[1].subjects[1].user: Required value: user is required when subject kind is 'User'
        spec.rules[1].subjects[2].group.name: Required value
        spec.rules[1].subjects[2].user: Forbidden: user is forbidden when subject kind is not 'User'
        spec.rules[1].subjects[3].serviceAccount.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.rules[1].subjects[3].serviceAccount.namespace: Required value: must specify namespace for service account
        spec.rules[1].subjects[3].group: Forbidden: group is forbidden when subject kind is not 'Group'
        spec.rules[1].subjects[4].serviceAccount: Required value: serviceAccount is required when subject kind is 'ServiceAccount'
        spec.rules[1].resourceRules[0].verbs: Required value: verbs must contain at least one value
        spec.rules[1].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group
        spec.rules[1].resourceRules[0].resources: Required value: resource rules must supply at least one resource
        spec.rules[1].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace
        spec.rules[1].resourceRules[1].verbs: Invalid value: ["*","get"]: if '*' is present, must not specify other verbs
        spec.rules[1].resourceRules[1].apiGroups: Invalid value: ["*","a"]: if '*' is present, must not specify other api groups
        spec.rules[1].resourceRules[1].resources: Invalid value: ["*","a"]: if '*' is present, must not specify other resources
        spec.rules[1].resourceRules[1].namespaces: Invalid value: ["*","a"]: if '*' is present, must not specify other namespaces
        spec.rules[1].resourceRules[2].verbs: Unsupported value: ["dance"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"
        spec.rules[1].resourceRules[2].namespaces[0]: Invalid value: "A": each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.rules[1].nonResourceRules[0].nonResourceURLs: Required value: nonResourceURLs must contain at least one value
        spec.rules[1].nonResourceRules[1].nonResourceURLs: Invalid value: ["*","/"]: if '*' is present, must not specify other non-resource URLs
        spec.rules[1].nonResourceRules[2].nonResourceURLs[0]: Invalid value: "": must not be empty
        spec.rules[1].nonResourceRules[2].nonResourceURLs[2]: Invalid value: "x": must start with slash
        spec.rules[1].nonResourceRules[2].nonResourceURLs[3]: Invalid value: "/a b": must not contain white-space
        spec.rules[1].nonResourceRules[2].nonResourceURLs[4]: Invalid value: "/a//b": must not contain double slash
        spec.rules[1].nonResourceRules[2].nonResourceURLs[5]: Invalid value: "/*/a": wildcard can only do suffix matching"#]].assert_eq(&create_errors(bad));
    let level = json!({"name": "A"});
    let bounds = [1, 10_001].map(|precedence| {
        create_errors(schema(
            "s",
            json!({"matchingPrecedence": precedence, "priorityLevelConfiguration": level}),
        ))
    });
    expect![[r#"
        spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1
        spec.priorityLevelConfiguration.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000
        spec.priorityLevelConfiguration.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#]].assert_eq(&bounds.join("\n"));
}

#[test]
fn flow_schema_that_every_cluster_has_is_fixed() {
    let exempt = json!({"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": "exempt"}, "rules": [everything()]});
    assert_eq!(create_errors(schema("exempt", exempt.clone())), "");
    let mut other = exempt;
    other["matchingPrecedence"] = json!(2);
    assert!(
        create_errors(schema("exempt", other))
            .ends_with("spec of 'exempt' must equal the fixed value")
    );
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
    let queued = level(
        "p",
        json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}),
    );
    expect![[r#"{"limited":{"lendablePercent":0,"limitResponse":{"queuing":{"handSize":8,"queueLengthLimit":50,"queues":64},"type":"Queue"},"nominalConcurrencyShares":30},"type":"Limited"}"#]].assert_eq(&serde_json::to_string(&queued.spec).expect("JSON"));
    assert_eq!(create_errors(queued.clone()), "");
    assert_eq!(cells(&queued), "p|Limited|30|64|8|50|<unknown>");
    let exempt = level("exempt", json!({"type": "Exempt", "exempt": {}}));
    assert_eq!(create_errors(exempt.clone()), "");
    assert_eq!(cells(&exempt), "exempt|Exempt|<none>|<none>|<none>|<none>|<unknown>");
}

#[test]
fn priority_level_with_everything_wrong_names_every_field() {
    let queue = |queuing: Value| {
        json!({"type": "Limited", "limited": {"nominalConcurrencyShares": -1, "lendablePercent": 101,
        "borrowingLimitPercent": -1, "limitResponse": {"type": "Queue", "queuing": queuing}}})
    };
    let all = [
        level(
            "p",
            json!({"type": "Exempt", "limited": {}, "exempt": {"nominalConcurrencyShares": -1, "lendablePercent": -1}}),
        ),
        level("p", json!({"type": "Limited", "exempt": {}})),
        level("p", json!({"type": "Odd"})),
        level("p", queue(json!({"queues": -1, "handSize": -1, "queueLengthLimit": -1}))),
        level("p", queue(json!({"queues": 20_000_000, "handSize": 8}))),
        level(
            "p",
            json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {"queues": 2, "handSize": 3}}}}),
        ),
        level("p", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}})),
        level(
            "p",
            json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject", "queuing": {}}}}),
        ),
        level("p", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Odd"}}})),
        level(
            "catch-all",
            json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}),
        ),
    ];
    expect![[r#"
        spec.type: Invalid value: "Exempt": must be 'Exempt' if and only if `name` is 'exempt'
        spec.limited: Forbidden: must be nil if the type is not Limited
        spec.exempt.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer
        spec.exempt.lendablePercent: Invalid value: -1: must be between 0 and 100, inclusive
        spec.exempt: Forbidden: must be nil if the type is Limited
        spec.limited: Required value: must not be empty when type is Limited
        spec.type: Unsupported value: "Odd": supported values: "Exempt", "Limited"
        spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer
        spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive
        spec.limited.limitResponse.queuing.queues: Invalid value: -1: must be positive
        spec.limited.limitResponse.queuing.handSize: Invalid value: -1: must be positive
        spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive
        spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer
        spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer
        spec.limited.limitResponse.queuing.queues: Invalid value: 20000000: must not be greater than 10000000
        spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 20000000 and handSize 8 should not be greater than 60
        spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive
        spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer
        spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)
        spec.limited.limitResponse.queuing: Required value: must not be empty if limited.limitResponse.type is Limited
        spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited
        spec.limited.limitResponse.type: Unsupported value: "Odd": supported values: "Queue", "Reject"
        spec: Invalid value: {"limited":{"lendablePercent":0,"limitResponse":{"type":"Reject"},"nominalConcurrencyShares":30},"type":"Limited"}: spec of 'catch-all' must equal the fixed value"#]].assert_eq(&all.map(create_errors).join("\n"));
}
