//! Tables of LimitRange and ResourceQuota.

use expect_test::expect;
use k8s_openapi::api::core::v1::{ComponentStatus, LimitRange, ResourceQuota};
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::KindStrategy;
use crate::testing::{cells, create_errors, defaulted, text, update_errors};

fn range(limits: Value) -> LimitRange {
    defaulted(json!({"metadata": {"name": "r"}, "spec": {"limits": limits}}))
}

#[test]
fn limit_range_of_containers_is_filled_in() {
    let filled = range(
        json!([{"type": "Container", "max": {"cpu": "2", "memory": "1Gi"}, "min": {"cpu": "1", "x.io/y": "1"}, "default": {"memory": "512Mi"}}]),
    );
    expect![[r#"{"limits":[{"default":{"cpu":"2","memory":"512Mi"},"defaultRequest":{"cpu":"2","memory":"512Mi","x.io/y":"1"},"max":{"cpu":"2","memory":"1Gi"},"min":{"cpu":"1","x.io/y":"1"},"type":"Container"}]}"#]].assert_eq(&serde_json::to_string(&filled.spec).expect("JSON"));
    assert_eq!(create_errors(filled), "");
}

#[test]
fn limit_range_with_everything_wrong_names_every_field() {
    let bad = range(json!([
        {"type": "Node"},
        {"type": "Pod", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}, "max": {"storage": "1"}},
        {"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "0.5"}},
        {"type": "PersistentVolumeClaim", "max": {"shoes": "1"}},
        {"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "4"}, "default": {"cpu": "1"}, "defaultRequest": {"cpu": "5"}, "maxLimitRequestRatio": {"cpu": "3"}},
        {"type": "x.io/y", "default": {"hugepages-2Mi": "2Mi"}, "defaultRequest": {"hugepages-2Mi": "4Mi"}},
    ]));
    expect![[r#"
        spec.limits[0].type: Invalid value: "Node": must be a standard limit type or fully qualified
        spec.limits[1].max[storage]: Invalid value: "storage": must be a standard resource for containers
        spec.limits[1].default: Forbidden: may not be specified when `type` is 'Pod'
        spec.limits[1].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'
        spec.limits[2].type: Duplicate value: "Pod"
        spec.limits[2].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
        spec.limits[2].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1
        spec.limits[3].max[shoes]: Invalid value: "shoes": must be a standard resource type or fully qualified
        spec.limits[3].limits: Required value: either minimum or maximum storage value is required, but neither was provided
        spec.limits[4].defaultRequest[cpu]: Invalid value: "5": default request value 5 is greater than max value 4
        spec.limits[4].defaultRequest[cpu]: Invalid value: "5": default request value 5 is greater than default limit value 1
        spec.limits[4].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1
        spec.limits[4].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000
        spec.limits[5].defaultRequest[hugepages-2Mi]: Invalid value: "4Mi": default request value 4Mi is greater than default limit value 2Mi
        spec.limits[5].defaultRequest[hugepages-2Mi]: Invalid value: "4Mi": default value 2Mi must equal to defaultRequest value 4Mi in hugepages-2Mi"#]].assert_eq(&create_errors(bad.clone()));
    assert_eq!(cells(&bad), "r|<unknown>");
}

fn quota(spec: Value) -> ResourceQuota {
    defaulted(json!({"metadata": {"name": "q"}, "spec": spec}))
}

#[test]
fn quota_with_everything_wrong_names_every_field() {
    let bad = quota(
        json!({"hard": {"pods": "1.5", "shoes": "1", "storage": "1", "cpu": "-1", "persistentvolumeclaims": "1"},
        "scopes": ["BestEffort", "NotBestEffort", "Odd"]}),
    );
    expect![[r#"
        spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0
        spec.hard[pods]: Invalid value: "1500m": must be an integer
        spec.hard[shoes]: Invalid value: "shoes": must be a standard resource type or fully qualified
        spec.hard[shoes]: Invalid value: "shoes": must be a standard resource for quota
        spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota
        spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope applied to resource
        spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope applied to resource
        spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope applied to resource
        spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope
        spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: conflicting scopes"#]].assert_eq(&create_errors(bad));
    let bad = quota(json!({"hard": {"services": "1"}, "scopeSelector": {"matchExpressions": [
        {"scopeName": "Terminating", "operator": "In"}, {"scopeName": "PriorityClass", "operator": "Exists", "values": ["a"]},
        {"scopeName": "NotTerminating", "operator": "Exists"}, {"scopeName": "Odd", "operator": "Is"}]}}));
    expect![[r#"
        spec.scopeSelector.matchExpressions: Invalid value: {"matchExpressions":[{"operator":"In","scopeName":"Terminating"},{"operator":"Exists","scopeName":"PriorityClass","values":["a"]},{"operator":"Exists","scopeName":"NotTerminating"},{"operator":"Is","scopeName":"Odd"}]}: unsupported scope applied to resource
        spec.scopeSelector.matchExpressions.operator: Invalid value: "In": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity
        spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector
        spec.scopeSelector.matchExpressions: Invalid value: {"matchExpressions":[{"operator":"In","scopeName":"Terminating"},{"operator":"Exists","scopeName":"PriorityClass","values":["a"]},{"operator":"Exists","scopeName":"NotTerminating"},{"operator":"Is","scopeName":"Odd"}]}: unsupported scope applied to resource
        spec.scopeSelector.matchExpressions.values: Invalid value: ["a"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector
        spec.scopeSelector.matchExpressions: Invalid value: {"matchExpressions":[{"operator":"In","scopeName":"Terminating"},{"operator":"Exists","scopeName":"PriorityClass","values":["a"]},{"operator":"Exists","scopeName":"NotTerminating"},{"operator":"Is","scopeName":"Odd"}]}: unsupported scope applied to resource
        spec.scopeSelector.matchExpressions.scopeName: Invalid value: "Odd": unsupported scope
        spec.scopeSelector.matchExpressions.operator: Invalid value: "Is": not a valid selector operator
        spec.scopeSelector.matchExpressions: Invalid value: null: conflicting scopes"#]].assert_eq(&create_errors(bad));
}

#[test]
fn quota_keeps_its_scopes() {
    let make = |scopes: Value| quota(json!({"hard": {"pods": "1"}, "scopes": scopes}));
    let (both, turned) =
        (json!(["Terminating", "BestEffort"]), json!(["BestEffort", "Terminating"]));
    assert_eq!(update_errors(make(both.clone()), make(turned)), "");
    expect!["spec.scopes: Invalid value: null: field is immutable"]
        .assert_eq(&update_errors(make(json!([])), make(both)));
}

#[test]
fn quota_status_is_checked_and_shown() {
    let strategy = kinds::of::<ResourceQuota>().strategy;
    let mut counted: ResourceQuota = defaulted(
        json!({"metadata": {"name": "q", "resourceVersion": "1"},
        "status": {"hard": {"limits.cpu": "2", "pods": "4", "requests.cpu": "1"}, "used": {"pods": "1", "shoes": "7"}}}),
    );
    let errors = strategy.validate_status_update(&counted, &counted.clone());
    expect![[r#"
        status.used[shoes]: Invalid value: "shoes": must be a standard resource type or fully qualified
        status.used[shoes]: Invalid value: "shoes": must be a standard resource for quota"#]].assert_eq(&text(&errors));
    counted.status.as_mut().expect("a status").used = None;
    assert_eq!(cells(&counted), "q|pods: 0/4, requests.cpu: 0/1|limits.cpu: 0/2|<unknown>");
}

#[test]
fn quota_warns_of_requests_above_limits() {
    let odd = quota(
        json!({"hard": {"cpu": "3", "limits.cpu": "2", "requests.memory": "1", "limits.memory": "1"}}),
    );
    assert_eq!(odd.warnings(None), ["ResourceQuota cpu (3) should be less than limits.cpu (2)"]);
    assert_eq!(odd.warnings(Some(&odd)).len(), 0);
}

#[test]
fn component_status_row_reads_as_in_kubernetes() {
    let make = |status: &str| -> ComponentStatus {
        defaulted(
            json!({"metadata": {"name": "c"}, "conditions": [{"type": "Healthy", "status": status, "message": "ok"}]}),
        )
    };
    assert_eq!(cells(&make("True")), "c|Healthy|ok|");
    assert_eq!(cells(&make("False")), "c|Unhealthy|ok|");
    assert_eq!(
        cells::<ComponentStatus>(&defaulted(json!({"metadata": {"name": "c"}}))),
        "c|Unknown||"
    );
}
