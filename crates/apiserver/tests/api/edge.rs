//! What is no resource, protobuf bodies, and what nodes may read: through the whole request path.

use apiserver::authn::UserInfo;
use http::Method;
use serde_json::{Value, json};

use crate::support::{Server, pod};

const PROTOBUF: (&str, &str) = ("content-type", "application/vnd.kubernetes.protobuf");

/// A length-delimited field in wire form.
fn tagged(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [tagged(1, api_version.as_bytes()), tagged(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), tagged(1, &meta), tagged(2, raw)].concat()
}

#[tokio::test]
async fn api_protobuf_bodies_are_taken_and_json_answered() {
    let server = Server::start().await;
    let entry = [tagged(1, b"a"), tagged(2, b"b")].concat();
    let raw = [tagged(1, &tagged(1, b"cm")), tagged(2, &entry)].concat();
    let path = "/api/v1/namespaces/default/configmaps";
    let accept = ("accept", "application/vnd.kubernetes.protobuf,application/json");
    let body = envelope("v1", "ConfigMap", &raw);
    let created = server.send(Method::POST, path, &[PROTOBUF, accept], body).await.expect(201);
    assert_eq!(
        (&created["metadata"]["name"], &created["data"]),
        (&json!("cm"), &json!({ "a": "b" }))
    );
    let options = envelope("v1", "DeleteOptions", &[0x08, 0]);
    server.send(Method::DELETE, &format!("{path}/cm"), &[PROTOBUF], options).await.expect(200);
    let wrong = envelope("v1", "Secret", &tagged(1, &tagged(1, b"x")));
    assert_eq!(server.send(Method::POST, path, &[PROTOBUF], wrong).await.failure().0, 400);
    let cut = &envelope("v1", "ConfigMap", &raw)[..20];
    let (code, _, message) =
        server.send(Method::POST, path, &[PROTOBUF], cut.to_vec()).await.failure();
    assert_eq!((code, message.as_str()), (400, "unexpected EOF"));
}

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
