//! Namespaces: what exists from the start, what may be created where, how they end.

use serde_json::{Value, json};

use crate::support::{Server, config_map};

#[tokio::test]
async fn namespaces_of_the_system_exist_and_survive_a_restart() {
    let server = Server::start().await;
    let names = |list: Value| -> Vec<String> {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let expected = ["default", "kube-node-lease", "kube-public", "kube-system"];
    let before = server.get("/api/v1/namespaces").await.expect(200);
    assert_eq!(names(before.clone()), expected);
    let config = crate::support::config(server.store.clone());
    let api = apiserver::ApiServer::start(config).await.expect("a second server");
    let again = Server { api, store: server.store.clone() };
    assert_eq!(again.get("/api/v1/namespaces").await.expect(200)["items"], before["items"]);
}

#[tokio::test]
async fn namespaces_that_may_not_be_deleted_stay() {
    let server = Server::start().await;
    for name in ["default", "kube-system", "kube-public"] {
        let answer = server.delete(&format!("/api/v1/namespaces/{name}"), Value::Null).await;
        let message =
            format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted");
        assert_eq!(answer.failure(), (403, "Forbidden".to_owned(), message));
    }
}

#[tokio::test]
async fn create_in_a_missing_namespace_is_404() {
    let server = Server::start().await;
    let answer = server.post("/api/v1/namespaces/none/configmaps", config_map("a")).await;
    assert_eq!(
        answer.failure(),
        (404, "NotFound".to_owned(), "namespaces \"none\" not found".to_owned())
    );
}

#[tokio::test]
async fn namespace_ends_in_two_steps_and_takes_nothing_new() {
    let server = Server::start().await;
    server.namespace("n").await;
    let path = "/api/v1/namespaces/n";
    let ending = server.delete(path, Value::Null).await.expect(200);
    assert_eq!(ending["status"]["phase"], "Terminating");
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    let refused = server.post(&format!("{path}/configmaps"), config_map("a")).await;
    let status = refused.json();
    let message = "configmaps \"a\" is forbidden: unable to create new content in namespace n because it is being terminated";
    assert_eq!(refused.failure(), (403, "Forbidden".to_owned(), message.to_owned()));
    let cause = json!([{"reason": "NamespaceTerminating", "message": "namespace n is being terminated", "field": "metadata.namespace"}]);
    assert_eq!(status["details"]["causes"], cause);
    let mut body = server.get(path).await.expect(200);
    body["spec"]["finalizers"] = json!([]);
    server.put(&format!("{path}/finalize"), body).await.expect(200);
    assert_eq!(server.get(path).await.status, 404);
}

#[tokio::test]
async fn namespace_finalize_of_a_living_one_only_changes_finalizers() {
    let server = Server::start().await;
    server.namespace("n").await;
    let mut body = server.get("/api/v1/namespaces/n").await.expect(200);
    body["spec"]["finalizers"] = json!(["kubernetes", "example.com/x"]);
    body["metadata"]["labels"] = json!({"a": "b"});
    let done = server.put("/api/v1/namespaces/n/finalize", body).await.expect(200);
    assert_eq!(done["spec"]["finalizers"], json!(["kubernetes", "example.com/x"]));
}
