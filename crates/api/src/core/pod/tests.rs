//! Tables: pods in; defaults, errors of creation and of change, grace out.

use apimachinery::field::ErrorList;
use apimachinery::object::KubeObject;
use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::Strategy;

fn strategy() -> &'static dyn Strategy {
    kinds::of::<Pod>().strategy
}

/// A pod with this spec, with defaults.
fn pod(spec: Value) -> Pod {
    let meta = json!({"name": "p", "namespace": "default", "resourceVersion": "1"});
    let mut pod: Pod =
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).expect("a pod");
    strategy().default(&mut pod);
    pod
}

fn plain() -> Value {
    json!({"containers": [{"name": "a", "image": "i"}]})
}

fn with(pointer: &str, value: Value) -> Value {
    let mut spec = plain();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    spec.pointer_mut(parent).expect("the parent")[field] = value;
    spec
}

fn report(errors: &ErrorList, expected: Expect) {
    expected.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

fn update(old: Value, new: Value) -> ErrorList {
    let (old, mut new) = (pod(old), pod(new));
    strategy().prepare_update(&mut new, &old);
    strategy().validate_update(&new, &old)
}

#[test]
fn default_of_pod_is_what_kubernetes_fills() {
    expect![[r#"{"containers":[{"image":"i","imagePullPolicy":"Always","name":"a","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","enableServiceLinks":true,"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}"#]].assert_eq(&pod(plain()).to_value()["spec"].to_string());
}

#[test]
fn create_of_pod_resets_the_status() {
    let mut pod = pod(plain());
    pod.status = serde_json::from_value(json!({"phase": "Running"})).expect("a status");
    strategy().prepare_create(&mut pod);
    assert_eq!(pod.to_value()["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(pod.metadata.generation, Some(1));
    assert_eq!(strategy().validate(&pod), ErrorList::new());
}

#[test]
fn validate_of_empty_pod_wants_containers() {
    report(
        &strategy().validate(&pod(json!({"containers": []}))),
        expect!["spec.containers: Required value"],
    );
}

#[test]
fn validate_of_pod_tells_all_errors_at_once() {
    let spec = json!({
        "restartPolicy": "Sometimes", "dnsPolicy": "Mine", "hostNetwork": true, "nodeName": "N_1", "activeDeadlineSeconds": 0,
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "hostPath": {"path": ""}}, {"name": "two", "emptyDir": {}, "secret": {"secretName": "s"}}],
        "tolerations": [{"key": "k", "operator": "Exists", "value": "v"}],
        "containers": [
            {"name": "A", "imagePullPolicy": "Perhaps", "ports": [{"containerPort": 70000, "name": "web"}, {"containerPort": 80, "hostPort": 81, "name": "web"}],
             "env": [{"name": ""}, {"name": "x", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "spec.what"}}}],
             "volumeMounts": [{"name": "w", "mountPath": ""}], "livenessProbe": {"successThreshold": 2},
             "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2", "gold": "1"}}},
            {"name": "b", "image": " i"}, {"name": "b", "image": "i"}]});
    report(
        &strategy().validate(&pod(spec)),
        expect![[r#"
        spec.volumes[1].hostPath.path: Required value
        spec.volumes[1].name: Duplicate value: "v"
        spec.volumes[2].secret: Forbidden: may not specify more than 1 volume type
        spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.containers[0].image: Required value
        spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.containers[0].ports[0].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.containers[0].ports[1].name: Duplicate value: "web"
        spec.containers[0].env[0].name: Required value
        spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Invalid value: "spec.what": error converting fieldPath: field label not supported: spec.what
        spec.containers[0].env[1].valueFrom: Invalid value: "": may not be specified when `value` is not empty
        spec.containers[0].volumeMounts[0].name: Not found: "w"
        spec.containers[0].volumeMounts[0].mountPath: Required value
        spec.containers[0].imagePullPolicy: Unsupported value: "Perhaps": supported values: "Always", "IfNotPresent", "Never"
        spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
        spec.containers[0].resources.requests[gold]: Invalid value: "gold": must be a standard resource type or fully qualified
        spec.containers[0].resources.requests[gold]: Invalid value: "gold": must be a standard resource for containers
        spec.containers[0].livenessProbe: Required value: must specify a handler type
        spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
        spec.containers[2].name: Duplicate value: "b"
        spec.containers[0].ports[1].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true
        spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"
        spec.dnsPolicy: Unsupported value: "Mine": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"
        spec.nodeName: Invalid value: "N_1": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
        spec.tolerations[0].operator: Invalid value: "v": value must be empty when `operator` is 'Exists'
        spec.containers[1].image: Invalid value: " i": must not have leading or trailing whitespace"#]],
    );
}

#[test]
fn update_of_what_may_change_is_allowed() {
    for (pointer, value) in [
        ("/containers/0/image", json!("j")),
        ("/activeDeadlineSeconds", json!(5)),
        ("/tolerations", json!([{"key": "k", "operator": "Exists"}])),
    ] {
        assert_eq!(update(plain(), with(pointer, value)), ErrorList::new(), "{pointer}");
    }
}

#[test]
fn update_of_anything_else_is_refused() {
    report(
        &update(plain(), with("/nodeSelector", json!({"a": "b"}))),
        expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
        + nodeSelector: {"a":"b"}
    "#]],
    );
    report(
        &update(plain(), with("/containers/0/command", json!(["x"]))),
        expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
        - containers: [{"image":"i","imagePullPolicy":"Always","name":"a","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}]
        + containers: [{"command":["x"],"image":"i","imagePullPolicy":"Always","name":"a","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}]
    "#]],
    );
    let two = json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]});
    report(
        &update(plain(), two),
        expect!["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
    report(
        &update(with("/activeDeadlineSeconds", json!(5)), with("/activeDeadlineSeconds", json!(6))),
        expect![
            "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"
        ],
    );
    let tolerations = json!([{"key": "k", "operator": "Exists"}]);
    report(
        &update(with("/tolerations", tolerations), plain()),
        expect![
            "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
        ],
    );
    report(
        &update(plain(), with("/schedulingGates", json!([{"name": "g"}]))),
        expect![
            "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'"
        ],
    );
}

#[test]
fn grace_follows_the_spec_the_request_and_the_phase() {
    let with_phase = |node: &str, phase: &str| {
        let mut pod = pod(with("/nodeName", json!(node)));
        pod.status = serde_json::from_value(json!({"phase": phase})).expect("a status");
        pod
    };
    for (node, phase, requested, grace) in [
        ("n", "Running", None, 30),
        ("n", "Running", Some(5), 5),
        ("n", "Running", Some(0), 0),
        ("n", "Running", Some(-1), 1),
        ("n", "Pending", None, 30),
        ("", "Pending", None, 0),
        ("n", "Succeeded", None, 0),
        ("n", "Failed", Some(5), 0),
    ] {
        let pod = with_phase(node, phase);
        assert_eq!(
            strategy().check_graceful_delete(&pod, requested),
            Some(grace),
            "{node} {phase} {requested:?}"
        );
    }
}

#[test]
fn status_update_keeps_the_spec_and_refuses_wrong_addresses() {
    let old = pod(plain());
    let mut new = pod(with("/containers/0/image", json!("j")));
    new.status = serde_json::from_value(json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
        "hostIPs": [{"ip": "x"}], "conditions": [{"type": "a b", "status": "True"}], "qosClass": "Guaranteed"})).expect("a status");
    strategy().prepare_status_update(&mut new, &old);
    assert_eq!(new.spec, old.spec);
    report(
        &strategy().validate_status_update(&new, &old),
        expect![[r#"
        status.conditions[0].Type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        status.qosClass: Invalid value: "Guaranteed": field is immutable
        status.podIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family
        status.hostIPs[0].ip: Invalid value: "x": must be equal to `hostIP`
        status.hostIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#]],
    );
}
