//! Tables: nodes in; columns, defaults and errors out.

use apimachinery::object::KubeObject;
use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use crate::kinds;

fn node(value: Value) -> Node {
    let mut node: Node = serde_json::from_value(value).expect("a node");
    kinds::of::<Node>().strategy.default(&mut node);
    node
}

fn report(errors: &apimachinery::field::ErrorList, expected: Expect) {
    expected.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

fn cells(value: Value) -> Vec<Value> {
    kinds::of::<Node>().strategy.row(&node(value), "2026-01-01T00:01:00Z".parse().expect("a time"))
}

#[test]
fn row_of_bare_node_says_what_is_unknown() {
    assert_eq!(
        cells(json!({"metadata": {"name": "n"}})),
        [
            "n",
            "Unknown",
            "<none>",
            "<unknown>",
            "",
            "<none>",
            "<none>",
            "<unknown>",
            "<unknown>",
            "<unknown>"
        ]
        .map(Value::from)
    );
}

#[test]
fn row_of_cordoned_node_shows_roles_and_addresses() {
    let value = json!({
        "metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/": "", "kubernetes.io/role": "control-plane"}},
        "spec": {"unschedulable": true},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "InternalIP", "address": "fd00::1"}],
            "nodeInfo": {"architecture": "amd64", "bootID": "", "containerRuntimeVersion": "knarr://0.1", "kernelVersion": "6.1",
                "kubeProxyVersion": "", "kubeletVersion": "v1.36.0", "machineID": "", "operatingSystem": "linux",
                "osImage": "Debian", "systemUUID": ""}}});
    assert_eq!(
        cells(value),
        [
            "n",
            "Ready,SchedulingDisabled",
            "control-plane,worker",
            "60s",
            "v1.36.0",
            "10.0.0.1",
            "<none>",
            "Debian",
            "6.1 (amd64)",
            "knarr://0.1"
        ]
        .map(Value::from)
    );
}

#[test]
fn default_of_node_completes_addresses_and_room() {
    let node =
        node(json!({"spec": {"podCIDR": "10.42.0.0/24"}, "status": {"capacity": {"cpu": "2"}}}));
    let value = node.to_value();
    assert_eq!(value["spec"]["podCIDRs"], json!(["10.42.0.0/24"]));
    assert_eq!(value["status"]["allocatable"], json!({"cpu": "2"}));
    assert_eq!(value["status"]["daemonEndpoints"], json!({"kubeletEndpoint": {"Port": 0}}));
    assert_eq!(value["status"]["nodeInfo"]["kubeletVersion"], "");
}

#[test]
fn create_of_node_keeps_its_status() {
    let mut node = node(json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "2"}}}));
    kinds::of::<Node>().strategy.prepare_create(&mut node);
    assert_eq!(node.to_value()["status"]["capacity"]["cpu"], "2");
}

#[test]
fn validate_of_node_tells_all_errors_at_once() {
    let node = node(json!({
        "metadata": {"name": "N"},
        "spec": {"podCIDRs": ["10.0.0.1/24", "x"], "taints": [
            {"key": "a/b/c", "effect": ""}, {"key": "k", "value": "v v", "effect": "Never"},
            {"key": "t", "effect": "NoSchedule"}, {"key": "t", "effect": "NoExecute"}, {"key": "t", "effect": "NoSchedule"}]},
        "status": {"capacity": {"cpu": "-1"}, "declaredFeatures": ["B", "A", "x"]}}));
    report(
        &kinds::of::<Node>().strategy.validate(&node),
        expect![[r#"
        metadata.name: Invalid value: "N": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        metadata.taints[0].key: Invalid value: "a/b/c": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
        metadata.taints[0].effect: Required value
        metadata.taints[1].value: Invalid value: "v v": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        metadata.taints[1].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
        metadata.taints[4]: Duplicate value: {"Effect":"NoSchedule","Key":"t","TimeAdded":null,"Value":""}: taints must be unique by key and effect pair
        status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0
        status.allocatable.cpu: Invalid value: "-1": must be greater than or equal to 0
        status.declaredFeatures[1]: Invalid value: "A": list must be sorted alphabetically
        status.declaredFeatures[2]: Invalid value: "x": invalid feature name "x": must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes
        spec.podCIDRs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length
        spec.podCIDRs[1]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
        spec.podCIDRs: Invalid value: ["10.0.0.1/24","x"]: may specify no more than one CIDR for each IP family"#]],
    );
}

#[test]
fn validate_update_of_node_keeps_what_was_assigned() {
    let old = node(
        json!({"metadata": {"name": "n", "resourceVersion": "1"}, "spec": {"podCIDR": "10.42.0.0/24", "providerID": "a"}}),
    );
    let new = node(json!({"metadata": {"name": "n", "resourceVersion": "1"},
        "spec": {"podCIDR": "10.42.1.0/24", "providerID": "b", "externalID": "c", "unschedulable": true},
        "status": {"addresses": [{"type": "Hostname", "address": "n"}, {"type": "Hostname", "address": "n"}]}}));
    report(
        &kinds::of::<Node>().strategy.validate_update(&new, &old),
        expect![[r#"
        status.addresses[1]: Duplicate value: {"Address":"n","Type":"Hostname"}
        spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid
        spec.providerID: Forbidden: node updates may not change providerID except from "" to valid
        spec.externalID: Forbidden: may not be updated"#]],
    );
    assert_eq!(
        kinds::of::<Node>().strategy.warnings(&new, Some(&old)),
        ["spec.externalID: this field is deprecated, and is unused by Kubernetes"]
    );
}
