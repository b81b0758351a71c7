//! Server and agent die and come back: what runs is not touched, what was told is still there.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use testkit::cluster::{Options, Role, Signal, TestCluster};
use testkit::images;
use testkit::kubectl::{Kubectl, Version};
use testkit::observe::{self, Objects};

const BUSYBOX: &str = "knarr.local/busybox:1.0";

/// What must be the same before and after: the containers' ids, starts and restart counts.
fn containers(k: &Kubectl<'_>) -> BTreeMap<String, Value> {
    let pods = k.json("pods");
    let pods = pods["items"].as_array().unwrap().iter();
    let one = |pod: &Value| {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let status = &pod["status"]["containerStatuses"][0];
        let facts = json!({
            "uid": pod["metadata"]["uid"],
            "ip": pod["status"]["podIP"],
            "container": status["containerID"],
            "restarts": status["restartCount"],
            "started": status["state"]["running"]["startedAt"],
        });
        (name, facts)
    };
    pods.map(one).collect()
}

fn prepared() -> TestCluster {
    let cluster = TestCluster::start(Options::default());
    let archive = images::busybox(BUSYBOX).and_then(|image| image.save(cluster.scratch())).unwrap();
    cluster.knarr(&format!("image import {}", archive.display())).ok();
    cluster
}

/// Whether a process is there as long as its container: not one that the counting shell waits a moment for.
fn lasting(command: &str) -> bool {
    !command.starts_with("sleep 0.1") && !command.is_empty()
}

#[test]
fn restart_of_server_and_agent_touches_no_container() {
    let cluster = prepared();
    let k = cluster.kubectl(Version::available()[0]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "counter"},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": BUSYBOX,
            "command": ["/bin/sh", "-c", "i=0; while true; do echo $i; i=$((i+1)); sleep 0.1; done"],
        }]},
    });
    k.ok_with("apply -f -", &pod.to_string());
    k.ok("create deployment kubia --image=knarr.local/hello:1.0 --replicas=2");
    k.ok("wait --for=condition=Ready pod/counter --timeout=60s");
    k.ok("wait --for=condition=Available deployment/kubia --timeout=60s");
    let (before, processes) = (containers(&k), cluster.pod_processes(lasting));
    let node = cluster.node_names().remove(0);
    let lines = k.ok("logs counter").lines().count();
    cluster.kill_9(&Role::Server);
    cluster.kill_9(&Role::Agent(node));
    assert_eq!(cluster.pod_processes(lasting), processes, "containers outlive server and agent");
    cluster.up().ok();
    k.ok("wait --for=condition=Ready node --all --timeout=60s");
    // Logs go on without a gap, and new lines come.
    let mut logs = k.start("logs -f counter");
    logs.wait_for("new lines", |said| said.lines().count() > lines + 20);
    let said = logs.said().to_owned();
    let numbers: Vec<usize> = said.lines().filter_map(|line| line.parse().ok()).collect();
    let whole = &numbers[..numbers.len() - 1];
    assert!(whole.iter().enumerate().all(|(n, number)| n == *number), "{said}");
    assert_eq!(k.ok("exec counter -- echo alive"), "alive\n");
    assert_eq!(containers(&k), before);
    assert!(cluster.pod_processes(lasting).is_superset(&processes), "no container was restarted");
    // The cluster goes on working.
    k.ok("scale deployment kubia --replicas=3");
    k.ok("rollout status deployment/kubia --timeout=60s");
    k.ok("delete pod counter");
    assert_eq!(containers(&k).len(), 3);
}

#[test]
fn restart_sees_what_happened_meanwhile() {
    let cluster = prepared();
    let k = cluster.kubectl(Version::available()[0]);
    for (name, script) in [
        ("ends", "trap 'exit 3' TERM; sleep 1000 & wait"),
        ("deleted", "trap 'exit 0' TERM; sleep 1000 & wait"),
    ] {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [{
                "name": "main", "image": BUSYBOX, "command": ["/bin/sh", "-c", script],
            }]},
        });
        k.ok_with("apply -f -", &pod.to_string());
        k.ok(&format!("wait --for=condition=Ready pod/{name} --timeout=60s"));
    }
    let node = cluster.node_names().remove(0);
    let main = cluster.pod_processes(|command| command.contains("exit 3"));
    assert_eq!(main.len(), 1);
    cluster.kill_9(&Role::Agent(node));
    // Nobody is there to see how this container ends: its shim keeps the exit code.
    main.first().unwrap().signal(Signal::TERM);
    k.ok("delete pod deleted --wait=false");
    cluster.up().ok();
    let pod =
        observe::pod(&cluster, "default", "ends", "ended", |pod| observe::in_phase(pod, "Failed"));
    let state = observe::container(&pod, None).unwrap().state.as_ref().unwrap();
    assert_eq!(state.terminated.as_ref().map(|ended| ended.exit_code), Some(3));
    observe::until(&cluster, "default", "the deleted pod gone", |pods: &Objects<Pod>| {
        (!pods.contains_key("deleted")).then_some(())
    });
}
