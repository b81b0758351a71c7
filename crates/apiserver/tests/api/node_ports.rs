//! Node ports of Services: given once, given back.

use serde_json::{Value, json};

use crate::support::Server;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, kind: &str, node_port: Option<i32>) -> Value {
    let ports = json!([{"name": "web", "port": 80, "nodePort": node_port}]);
    json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": ports, "selector": {"a": "b"}}})
}

fn node_port(service: &Value) -> i64 {
    service["spec"]["ports"][0]["nodePort"].as_i64().unwrap_or_default()
}

async fn create(server: &Server, name: &str, port: i32) -> u16 {
    server.post(SERVICES, service(name, "NodePort", Some(port))).await.status.as_u16()
}

#[tokio::test]
async fn node_port_is_given_from_the_range_and_wishes_are_granted_once() {
    let server = Server::start().await;
    let any = server.post(SERVICES, service("any", "NodePort", None)).await.expect(201);
    assert!((30086..=32767).contains(&node_port(&any)), "{any}");
    let wished = server.post(SERVICES, service("wish", "NodePort", Some(30080))).await.expect(201);
    assert_eq!(node_port(&wished), 30080);
    for (port, reason) in [
        (30080, "provided port is already allocated"),
        (80, "provided port is not in the valid range. The range of valid ports is 30000-32767"),
    ] {
        let refused = server.post(SERVICES, service("other", "NodePort", Some(port))).await;
        let message = format!(
            "Service \"other\" is invalid: spec.ports[0].nodePort: Invalid value: {port}: {reason}"
        );
        assert_eq!(refused.failure(), (422, "Invalid".to_owned(), message));
    }
    server.delete(&format!("{SERVICES}/wish"), json!({})).await.expect(200);
    assert_eq!(create(&server, "other", 30080).await, 201);
}

#[tokio::test]
async fn node_port_of_a_refused_or_dry_creation_is_given_back() {
    let server = Server::start().await;
    let mut bad = service("bad", "NodePort", Some(30081));
    bad["spec"]["sessionAffinity"] = json!("Sticky");
    assert_eq!(server.post(SERVICES, bad).await.failure().0, 422);
    let dry = format!("{SERVICES}?dryRun=All");
    let shown = server.post(&dry, service("dry", "NodePort", None)).await.expect(201);
    assert!(node_port(&shown) >= 30000, "{shown}");
    server.post(&dry, service("dry", "NodePort", Some(30081))).await.expect(201);
    assert_eq!(create(&server, "a", 30081).await, 201);
    // A service whose second port cannot be had keeps nothing of the first.
    let mut two = service("two", "NodePort", Some(30082));
    let second = json!({"name": "b", "port": 81, "nodePort": 30081});
    two["spec"]["ports"].as_array_mut().expect("ports").push(second);
    assert_eq!(server.post(SERVICES, two).await.failure().0, 422);
    assert_eq!(create(&server, "b", 30082).await, 201);
}

#[tokio::test]
async fn node_port_comes_and_goes_with_the_type() {
    let server = Server::start().await;
    let path = format!("{SERVICES}/a");
    let patch = async |body: Value| server.patch(&path, "merge-patch", body).await;
    let made = server.post(SERVICES, service("a", "ClusterIP", None)).await.expect(201);
    assert_eq!(made["spec"]["ports"][0]["nodePort"], Value::Null);
    let opened = patch(json!({"spec": {"type": "NodePort"}})).await.expect(200);
    let port = i32::try_from(node_port(&opened)).expect("a port");
    assert_eq!(create(&server, "b", port).await, 422);
    // An update that leaves it out keeps it.
    let ports = json!([{"name": "web", "port": 8080}]);
    let kept = patch(json!({"spec": {"ports": ports}})).await.expect(200);
    assert_eq!(node_port(&kept), i64::from(port));
    let moved = json!([{"name": "web", "port": 8080, "nodePort": 30083}]);
    let moved = patch(json!({"spec": {"ports": moved}})).await.expect(200);
    assert_eq!(node_port(&moved), 30083);
    assert_eq!(create(&server, "b", port).await, 201, "the former one is free");
    assert_eq!(create(&server, "c", 30083).await, 422);
    let taken = json!([{"name": "web", "port": 8080, "nodePort": port}]);
    assert_eq!(patch(json!({"spec": {"ports": taken}})).await.failure().0, 422);
    let closed = patch(json!({"spec": {"type": "ClusterIP"}})).await.expect(200);
    assert_eq!(closed["spec"]["ports"][0]["nodePort"], Value::Null);
    assert_eq!(create(&server, "c", 30083).await, 201);
}

#[tokio::test]
async fn node_port_for_health_checks_comes_with_the_traffic_policy() {
    let server = Server::start().await;
    let path = format!("{SERVICES}/a");
    let mut balanced = service("a", "LoadBalancer", None);
    balanced["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
    let made = server.post(SERVICES, balanced).await.expect(201);
    assert_eq!(made["spec"]["ports"][0]["nodePort"], Value::Null);
    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    let local = server.patch(&path, "merge-patch", local).await.expect(200);
    let check = local["spec"]["healthCheckNodePort"].as_i64().unwrap_or_default();
    let check = i32::try_from(check).expect("a port");
    assert_eq!(create(&server, "b", check).await, 422);
    let cluster = json!({"spec": {"externalTrafficPolicy": "Cluster"}});
    let cluster = server.patch(&path, "merge-patch", cluster).await.expect(200);
    assert_eq!(cluster["spec"]["healthCheckNodePort"], Value::Null);
    assert_eq!(create(&server, "b", check).await, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_node_ports_has_one_winner_each() {
    let server = Server::start().await;
    let tasks: Vec<_> = (0..64)
        .map(|index| {
            let server = server.clone();
            let wished = (index % 2 == 0).then_some(30090 + index / 16);
            let body = service(&format!("s{index}"), "NodePort", wished);
            tokio::spawn(async move { server.post(SERVICES, body).await })
        })
        .collect();
    let mut ports = std::collections::BTreeSet::new();
    let mut created = 0;
    for task in tasks {
        let answer = task.await.expect("a writer");
        if answer.status == 201 {
            created += 1;
            ports.insert(node_port(&answer.json()));
        }
    }
    assert_eq!(ports.len(), created, "no port was given twice");
    assert!(created >= 32, "{created}");
}
