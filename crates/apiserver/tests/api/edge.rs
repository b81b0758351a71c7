//! What is no resource, and what nodes may read: through the whole request path.

use apiserver::authn::UserInfo;
use http::Method;
use serde_json::{Value, json};

use crate::support::{Server, pod};

#[tokio::test]
async fn api_paths_beside_the_resources_are_answered() {
    let server = Server::start().await;
    let index: Value = server.get("/").await.expect(200);
    for path in index["paths"].as_array().unwrap().iter().filter_map(Value::as_str) {
        assert_eq!(server.get(path).await.status, 200, "{path} is listed");
    }
    assert_eq!(server.get("/nope").await.status, 404);
    let metrics = server.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(
        text.contains("apiserver_request_total{code=\"200\",component=\"apiserver\""),
        "{text}"
    );
}

#[tokio::test]
async fn node_reads_only_the_secrets_its_pods_name() {
    let server = Server::start().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["named", "other"] {
        server.post(secrets, json!({ "metadata": { "name": name } })).await.expect(201);
    }
    let mut body = pod("p");
    body["spec"]["nodeName"] = json!("n");
    body["spec"]["containers"][0]["envFrom"] = json!([{ "secretRef": { "name": "named" } }]);
    server.post("/api/v1/namespaces/default/pods", body).await.expect(201);
    let node =
        |name: &str| UserInfo::authenticated(format!("system:node:{name}"), ["system:nodes"]);
    for (node_name, secret, status) in
        [("n", "named", 200), ("n", "other", 403), ("m", "named", 403)]
    {
        let path = format!("{secrets}/{secret}");
        let answer = server.send_as(node(node_name), Method::GET, &path, Value::Null).await;
        assert_eq!(answer.status, status, "{node_name} reads {secret}");
    }
    assert_eq!(server.send_as(node("n"), Method::GET, secrets, Value::Null).await.status, 403);
}
