//! Tables: container states in, the words of `kubectl get pods` out.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{row, summarize};

fn pod(value: Value) -> Pod {
    serde_json::from_value(value).expect("a pod")
}

fn waiting(name: &str, reason: &str) -> Value {
    json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason}}})
}

fn running(name: &str, ready: bool) -> Value {
    json!({"name": name, "image": "i", "imageID": "", "ready": ready, "restartCount": 0, "state": {"running": {}}})
}

fn ended(name: &str, code: i32, reason: &str) -> Value {
    json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
           "state": {"terminated": {"exitCode": code, "reason": reason}}})
}

fn killed(name: &str, signal: i32) -> Value {
    json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
           "state": {"terminated": {"exitCode": 137, "signal": signal}}})
}

/// A pod with two containers in the given phase.
fn with(phase: &str, statuses: Vec<Value>) -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
           "status": {"phase": phase, "containerStatuses": statuses}})
}

/// A pod with one container and two init containers, the second of them a sidecar.
fn with_init(statuses: Vec<Value>, initialized: bool) -> Value {
    let condition =
        json!({"type": "Initialized", "status": if initialized { "True" } else { "False" }});
    json!({"metadata": {"name": "p"},
           "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]},
           "status": {"phase": "Pending", "conditions": [condition], "initContainerStatuses": statuses,
                      "containerStatuses": [waiting("a", "PodInitializing")]}})
}

fn and(mut pod: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    pod.pointer_mut(parent).expect("the parent")[field] = value;
    pod
}

/// Each pod has two containers; the word and the number of ready ones are expected.
fn check(table: impl IntoIterator<Item = (Value, &'static str, usize)>) {
    for (value, word, ready) in table {
        let summary = summarize(&pod(value.clone()));
        assert_eq!(
            (summary.status.as_str(), summary.ready, summary.containers),
            (word, ready, 2),
            "{value}"
        );
    }
}

#[test]
fn status_of_containers_reads_as_in_kubernetes() {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let gated = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]);
    check([
        (with("Pending", vec![]), "Pending", 0),
        (and(with("Pending", vec![]), "/status/conditions", gated), "SchedulingGated", 0),
        (with("Pending", vec![waiting("a", "ContainerCreating")]), "ContainerCreating", 0),
        (
            with("Pending", vec![waiting("a", "ImagePullBackOff"), running("b", true)]),
            "ImagePullBackOff",
            1,
        ),
        (with("Running", vec![running("a", true), running("b", true)]), "Running", 2),
        (with("Running", vec![running("a", true), running("b", false)]), "Running", 1),
        (
            with("Running", vec![waiting("a", "CrashLoopBackOff"), running("b", true)]),
            "CrashLoopBackOff",
            1,
        ),
        (with("Running", vec![running("a", true), ended("b", 1, "Error")]), "Error", 1),
        (with("Running", vec![running("a", true), killed("b", 9)]), "Signal:9", 1),
        (with("Running", vec![running("a", true), ended("b", 3, "")]), "ExitCode:3", 1),
        (with("Running", vec![running("a", true), ended("b", 0, "Completed")]), "NotReady", 1),
        (
            and(
                with("Running", vec![running("a", true), ended("b", 0, "Completed")]),
                "/status/conditions",
                ready,
            ),
            "Running",
            1,
        ),
        (with("Failed", vec![ended("a", 0, "Completed"), ended("b", 1, "Error")]), "Error", 0),
        (
            with("Succeeded", vec![ended("a", 0, "Completed"), ended("b", 0, "Completed")]),
            "Completed",
            0,
        ),
        (and(with("Failed", vec![]), "/status/reason", json!("Evicted")), "Evicted", 0),
    ]);
}

#[test]
fn status_of_deleted_pod_says_terminating_until_it_has_ended() {
    let deleted = json!("2026-01-01T00:00:00Z");
    check([
        (
            and(
                with("Running", vec![running("a", true)]),
                "/metadata/deletionTimestamp",
                deleted.clone(),
            ),
            "Terminating",
            1,
        ),
        (
            and(
                with("Succeeded", vec![ended("a", 0, "Completed")]),
                "/metadata/deletionTimestamp",
                deleted.clone(),
            ),
            "Completed",
            0,
        ),
        (
            and(
                and(with("Running", vec![]), "/status/reason", json!("NodeLost")),
                "/metadata/deletionTimestamp",
                deleted,
            ),
            "Unknown",
            0,
        ),
    ]);
}

#[test]
fn status_of_init_containers_reads_as_in_kubernetes() {
    let sidecar = |ready| and(running("s", ready), "/started", json!(true));
    check([
        (with_init(vec![waiting("i", "PodInitializing")], false), "Init:0/2", 0),
        (with_init(vec![running("i", false)], false), "Init:0/2", 0),
        (
            with_init(vec![ended("i", 0, "Completed"), waiting("s", "PodInitializing")], false),
            "Init:1/2",
            0,
        ),
        (with_init(vec![ended("i", 1, "Error")], false), "Init:Error", 0),
        (with_init(vec![ended("i", 5, "")], false), "Init:ExitCode:5", 0),
        (with_init(vec![killed("i", 15)], false), "Init:Signal:15", 0),
        (with_init(vec![waiting("i", "CrashLoopBackOff")], false), "Init:CrashLoopBackOff", 0),
        (with_init(vec![waiting("i", "ImagePullBackOff")], false), "Init:ImagePullBackOff", 0),
        (with_init(vec![ended("i", 0, "Completed"), sidecar(true)], true), "PodInitializing", 1),
        (with_init(vec![ended("i", 0, "Completed"), sidecar(false)], true), "PodInitializing", 0),
    ]);
}

#[test]
fn row_of_restarted_pod_tells_when_it_was() {
    let now = "2026-01-01T01:00:00Z".parse().expect("a time");
    let mut container = running("a", true);
    container["restartCount"] = json!(3);
    container["lastState"] =
        json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:59:55Z"}});
    let mut value = with("Running", vec![container, running("b", true)]);
    value["metadata"]["creationTimestamp"] = json!("2025-12-31T23:00:00Z");
    value["spec"]["nodeName"] = json!("n1");
    value["spec"]["readinessGates"] = json!([{"conditionType": "x/y"}]);
    value["status"]["podIPs"] = json!([{"ip": "10.42.0.7"}]);
    let cells = row(&pod(value), now);
    assert_eq!(
        cells,
        ["p", "2/2", "Running", "3 (5s ago)", "120m", "10.42.0.7", "n1", "<none>", "0/1"]
            .map(Value::from)
    );
}
