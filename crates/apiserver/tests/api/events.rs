//! Events of the API, which live for a time only.

use std::time::Duration;

use serde_json::json;

use crate::support::Server;

#[tokio::test]
async fn evt_02_event_is_removed_after_its_time_to_live() {
    let server = Server::start_with(|config| config.event_ttl = Duration::from_millis(10)).await;
    let path = "/api/v1/namespaces/default/events";
    let mut watch = server.watch(&format!("{path}?watch=1")).await;
    let event = json!({"metadata": {"name": "e"}, "reason": "Testing", "type": "Normal", "message": "m",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}});
    server.post(path, event).await.expect(201);
    assert_eq!(watch.short().await, "ADDED e");
    assert_eq!(watch.short().await, "DELETED e");
    assert_eq!(server.get(&format!("{path}/e")).await.status, 404);
}
