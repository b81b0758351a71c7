//! What a node may write: itself, its Lease, the status of its pods.

use apiserver::authn::UserInfo;
use http::Method;
use serde_json::json;

use crate::support::{Server, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn node_user(name: &str) -> UserInfo {
    UserInfo::authenticated(format!("system:node:{name}"), ["system:nodes"])
}

#[tokio::test]
async fn node_registers_itself_only() {
    let server = Server::start().await;
    let body = |name: &str| json!({"metadata": {"name": name}});
    let post = |name: &'static str| {
        server.send_as(node_user("n"), Method::POST, "/api/v1/nodes", body(name))
    };
    assert_eq!(post("n").await.status, 201);
    let message = "nodes \"m\" is forbidden: node \"n\" is not allowed to modify node \"m\"";
    assert_eq!(post("m").await.failure(), (403, "Forbidden".to_owned(), message.to_owned()));
}

#[tokio::test]
async fn node_writes_the_status_of_its_own_pods_only() {
    let server = Server::start().await;
    for (name, node) in [("mine", "n"), ("other", "m")] {
        let mut body = pod(name);
        body["spec"]["nodeName"] = json!(node);
        server.post(PODS, body).await.expect(201);
    }
    for (name, status) in [("mine", 200), ("other", 403)] {
        let path = format!("{PODS}/{name}/status");
        let mut body = server.get(&path).await.expect(200);
        body["status"]["phase"] = json!("Running");
        let answer = server.send_as(node_user("n"), Method::PUT, &path, body).await;
        assert_eq!(answer.status, status, "{name}: {:?}", answer.body);
        let path = format!("{PODS}/{name}");
        let answer = server
            .send_as(node_user("n"), Method::DELETE, &path, json!({"gracePeriodSeconds": 0}))
            .await;
        assert_eq!(answer.status, status, "{name}: {:?}", answer.body);
    }
}
