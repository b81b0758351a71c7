//! The Service by which pods reach the API.

use std::net::Ipv4Addr;

use apiserver::Advertised;
use serde_json::{Value, json};

use crate::support::Server;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

async fn server() -> Server {
    let address = Some(Ipv4Addr::new(192, 0, 2, 7));
    Server::start_with(|config| config.advertised = Some(Advertised { address, port: 6443 })).await
}

/// Waits until the object `kubernetes` of a collection is as `wanted` says.
async fn wait_for(server: &Server, collection: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut watch = server.watch(&format!("{collection}?watch=true")).await;
    loop {
        let event = watch.next().await.expect("an event");
        let object = &event["object"];
        let seen = object["metadata"]["name"] == "kubernetes" && event["type"] != "DELETED";
        if seen && wanted(object) {
            return object.clone();
        }
    }
}

#[tokio::test]
async fn kubernetes_service_exists_when_the_server_has_started() {
    let server = server().await;
    let service = server.get(&format!("{SERVICES}/kubernetes")).await.expect(200);
    assert_eq!(service["spec"]["clusterIP"], "10.43.0.1");
    assert_eq!(
        service["metadata"]["labels"],
        json!({"component": "apiserver", "provider": "kubernetes"})
    );
    let port = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]);
    assert_eq!(service["spec"]["ports"], port);
    let endpoints = server.get(&format!("{ENDPOINTS}/kubernetes")).await.expect(200);
    let ports = json!([{"name": "https", "port": 6443, "protocol": "TCP"}]);
    assert_eq!(endpoints["subsets"], json!([{"addresses": [{"ip": "192.0.2.7"}], "ports": ports}]));
    let slice = server.get(&format!("{SLICES}/kubernetes")).await.expect(200);
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(slice["metadata"]["labels"], json!({"kubernetes.io/service-name": "kubernetes"}));
    let endpoint = json!([{"addresses": ["192.0.2.7"], "conditions": {"ready": true}}]);
    assert_eq!((&slice["endpoints"], &slice["ports"]), (&endpoint, &ports));
}

#[tokio::test]
async fn kubernetes_service_deleted_comes_back_with_its_address() {
    let server = server().await;
    for _ in 0..3 {
        let old = server.get(&format!("{SERVICES}/kubernetes")).await.expect(200);
        server.delete(&format!("{SERVICES}/kubernetes"), json!({})).await.expect(200);
        let uid = &old["metadata"]["uid"];
        let new = wait_for(&server, SERVICES, |service| service["metadata"]["uid"] != *uid).await;
        assert_eq!(new["spec"]["clusterIP"], "10.43.0.1");
    }
    let all = format!("{SLICES}/kubernetes");
    server.delete(&all, json!({})).await.expect(200);
    wait_for(&server, SLICES, |slice| slice["endpoints"][0]["addresses"][0] == "192.0.2.7").await;
}

#[tokio::test]
async fn kubernetes_endpoints_changed_become_right_again() {
    let server = server().await;
    let path = format!("{SLICES}/kubernetes");
    let before = server.get(&path).await.expect(200);
    let patch = json!({"endpoints": [{"addresses": ["192.0.2.66"]}]});
    server.patch(&path, "merge-patch", patch).await.expect(200);
    let after =
        wait_for(&server, SLICES, |slice| slice["endpoints"][0]["addresses"][0] == "192.0.2.7")
            .await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    server.patch(&format!("{ENDPOINTS}/kubernetes"), "merge-patch", json!({"subsets": null})).await;
    wait_for(&server, ENDPOINTS, |e| e["subsets"][0]["addresses"][0]["ip"] == "192.0.2.7").await;
}

#[tokio::test]
async fn kubernetes_service_changed_by_hand_stays_so() {
    let server = server().await;
    let path = format!("{SERVICES}/kubernetes");
    let patch = json!({"metadata": {"labels": {"mine": "yes"}}});
    let changed = server.patch(&path, "merge-patch", patch).await.expect(200);
    server.delete(&format!("{ENDPOINTS}/kubernetes"), json!({})).await.expect(200);
    wait_for(&server, ENDPOINTS, |_| true).await;
    assert_eq!(server.get(&path).await.expect(200), changed);
}

#[tokio::test]
async fn kubernetes_service_without_an_address_has_no_endpoints() {
    let advertised = Advertised { address: None, port: 6443 };
    let server = Server::start_with(|config| config.advertised = Some(advertised)).await;
    server.get(&format!("{SERVICES}/kubernetes")).await.expect(200);
    let slice = server.get(&format!("{SLICES}/kubernetes")).await.expect(200);
    assert!(slice["endpoints"].as_array().is_none_or(Vec::is_empty), "{slice}");
}
