//! Lists: selectors, pages, resource versions, Tables.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Server, config_map, labelled, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

async fn filled(count: usize) -> Server {
    let server = Server::start().await;
    for index in 0..count {
        server
            .post(
                MAPS,
                labelled(
                    &format!("m{index:02}"),
                    if index.is_multiple_of(2) { "even" } else { "odd" },
                ),
            )
            .await
            .expect(201);
    }
    server
}

#[tokio::test]
async fn list_items_carry_no_type_and_the_list_a_revision() {
    let server = filled(1).await;
    let list = server.get(MAPS).await.expect(200);
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert_eq!(list["metadata"]["resourceVersion"], server.store_revision());
    assert!(list["items"][0].get("kind").is_none() && list["items"][0].get("apiVersion").is_none());
    let mut item = list["items"][0].clone();
    item["kind"] = json!("ConfigMap");
    item["apiVersion"] = json!("v1");
    assert_eq!(item, server.get(&format!("{MAPS}/m00")).await.expect(200));
}

#[tokio::test]
async fn api_11_list_selectors_choose() {
    let server = filled(4).await;
    let table: [(&str, &[&str]); 8] = [
        ("labelSelector=app%3Deven", &["m00", "m02"]),
        ("labelSelector=app%21%3Deven", &["m01", "m03"]),
        ("labelSelector=app%20in%20%28odd%2Cnone%29", &["m01", "m03"]),
        ("labelSelector=%21app", &[]),
        ("fieldSelector=metadata.name%3Dm03", &["m03"]),
        ("fieldSelector=metadata.name%21%3Dm03", &["m00", "m01", "m02"]),
        ("fieldSelector=metadata.namespace%3Dother", &[]),
        ("fieldSelector=metadata.name%3Dm03&labelSelector=app%3Deven", &[]),
    ];
    for (query, expected) in table {
        let list = server.get(&format!("{MAPS}?{query}")).await.expect(200);
        assert_eq!(names(&list), expected, "{query}");
    }
    let everywhere =
        server.get("/api/v1/configmaps?fieldSelector=metadata.name%3Dm03").await.expect(200);
    assert_eq!(names(&everywhere), ["m03"]);
}

#[tokio::test]
async fn list_pages_show_the_state_of_the_first_page() {
    let server = filled(7).await;
    let first = server.get(&format!("{MAPS}?limit=3")).await.expect(200);
    assert_eq!(names(&first), ["m00", "m01", "m02"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 4);
    server.delete(&format!("{MAPS}/m05"), Value::Null).await.expect(200);
    server.post(MAPS, config_map("m03a")).await.expect(201);
    let token = |page: &Value| page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    let second =
        server.get(&format!("{MAPS}?limit=3&continue={}", token(&first))).await.expect(200);
    assert_eq!(names(&second), ["m03", "m04", "m05"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let third =
        server.get(&format!("{MAPS}?limit=3&continue={}", token(&second))).await.expect(200);
    assert_eq!(names(&third), ["m06"]);
    assert!(
        third["metadata"].get("continue").is_none()
            && third["metadata"].get("remainingItemCount").is_none()
    );
    let fresh = server.get(MAPS).await.expect(200);
    assert_eq!(names(&fresh), ["m00", "m01", "m02", "m03", "m03a", "m04", "m06"]);
}

#[tokio::test]
async fn list_pages_with_selectors_tell_no_remaining_count() {
    let server = filled(6).await;
    let page = server.get(&format!("{MAPS}?limit=2&labelSelector=app%3Dodd")).await.expect(200);
    assert_eq!(names(&page), ["m01", "m03"]);
    assert!(
        page["metadata"]["continue"].is_string()
            && page["metadata"].get("remainingItemCount").is_none()
    );
}

#[tokio::test]
async fn list_continue_of_what_did_not_change_expires_with_the_history() {
    let server = filled(4).await;
    let first = server.get(&format!("{MAPS}?limit=2")).await.expect(200);
    let secrets = "/api/v1/namespaces/default/secrets";
    for index in 0..10 {
        let secret = json!({"metadata": {"name": format!("s{index}")}});
        server.post(secrets, secret).await.expect(201);
        server.get(&format!("{MAPS}?limit=1")).await.expect(200);
    }
    server.compact().await;
    let token = first["metadata"]["continue"].as_str().unwrap_or_default();
    let expired = server.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!((expired.failure().0, expired.failure().1.as_str()), (410, "Expired"));
    let on = expired.json()["metadata"]["continue"].clone();
    let on = on.as_str().unwrap_or_default();
    let rest = server.get(&format!("{MAPS}?limit=2&continue={on}")).await.expect(200);
    assert_eq!(names(&rest), ["m02", "m03"]);
}

#[tokio::test]
async fn list_continue_after_compaction_is_410_with_a_way_on() {
    let server = filled(4).await;
    let first = server.get(&format!("{MAPS}?limit=2")).await.expect(200);
    // Push the kept pages out, then forget the history.
    for index in 0..10 {
        server.post(MAPS, config_map(&format!("z{index}"))).await.expect(201);
        server.get(&format!("{MAPS}?limit=1")).await.expect(200);
    }
    server.compact().await;
    let token = first["metadata"]["continue"].as_str().unwrap_or_default();
    let expired = server.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    let status = expired.json();
    assert_eq!((expired.failure().0, expired.failure().1.as_str()), (410, "Expired"));
    let token = status["metadata"]["continue"].as_str().unwrap_or_default();
    let rest = server.get(&format!("{MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(names(&rest), ["m02", "m03"]);
}

#[tokio::test]
async fn list_resource_version_rules() {
    let server = filled(2).await;
    let old = server.store_revision();
    server.post(MAPS, config_map("new")).await.expect(201);
    let exact = server
        .get(&format!("{MAPS}?resourceVersion={old}&resourceVersionMatch=Exact"))
        .await
        .expect(200);
    assert_eq!(
        (names(&exact).len(), exact["metadata"]["resourceVersion"].as_str()),
        (2, Some(old.as_str()))
    );
    let newer = server
        .get(&format!("{MAPS}?resourceVersion={old}&resourceVersionMatch=NotOlderThan"))
        .await
        .expect(200);
    assert_eq!(names(&newer).len(), 3);
    let any = server.get(&format!("{MAPS}?resourceVersion=0")).await.expect(200);
    assert_eq!(names(&any).len(), 3);
    for query in [
        "resourceVersionMatch=Exact",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "resourceVersion=1&resourceVersionMatch=Sometimes",
        "sendInitialEvents=true",
    ] {
        assert_eq!(server.get(&format!("{MAPS}?{query}")).await.failure().0, 422, "{query}");
    }
    server.compact().await;
    let gone = server.get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact")).await;
    assert_eq!((gone.failure().0, gone.failure().1.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn list_of_a_future_revision_is_504_too_large() {
    let server = filled(1).await;
    let current = server.store_revision();
    for path in
        [format!("{MAPS}?resourceVersion=999999"), format!("{MAPS}/m00?resourceVersion=999999")]
    {
        let answer = server.get(&path).await;
        let message = format!("Timeout: Too large resource version: 999999, current: {current}");
        assert_eq!(answer.failure(), (504, "Timeout".to_owned(), message));
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    }
}

#[tokio::test]
async fn list_as_table_has_columns_and_rows() {
    let server = Server::start().await;
    server.post("/api/v1/namespaces/default/pods", pod("p")).await.expect(201);
    let accept = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let table = server
        .send(Method::GET, "/api/v1/namespaces/default/pods", &[accept], "")
        .await
        .expect(200);
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| c["name"].as_str())
        .collect();
    assert_eq!(&columns[..5], ["Name", "Ready", "Status", "Restarts", "Age"]);
    assert_eq!(table["rows"][0]["cells"][0], "p");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "p");
    let path = "/api/v1/namespaces/default/pods/p?includeObject=Object";
    let one = server.send(Method::GET, path, &[accept], "").await.expect(200);
    assert_eq!((&one["kind"], &one["rows"][0]["object"]["kind"]), (&json!("Table"), &json!("Pod")));
}

#[tokio::test]
async fn list_as_partial_metadata_has_no_specs() {
    let server = filled(2).await;
    let accept = ("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
    let list = server.send(Method::GET, MAPS, &[accept], "").await.expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert_eq!(names(&list), ["m00", "m01"]);
}

#[tokio::test]
async fn list_large_answers_are_compressed_when_accepted() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        let body = json!({"metadata": {"name": name}, "data": {"k": "x".repeat(100_000)}});
        server.post(MAPS, body).await.expect(201);
    }
    let plain = server.get(MAPS).await;
    assert!(!plain.headers.contains_key("content-encoding"));
    let small =
        server.send(Method::GET, &format!("{MAPS}/a"), &[("accept-encoding", "gzip")], "").await;
    assert!(!small.headers.contains_key("content-encoding"));
    let packed = server.send(Method::GET, MAPS, &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut unpacked)
        .expect("gzip");
    assert_eq!(unpacked, plain.body);
}

impl Server {
    fn store_revision(&self) -> String {
        store::Store::revision(&*self.store).to_string()
    }

    async fn compact(&self) {
        let now = store::Store::revision(&*self.store);
        store::Store::compact(&*self.store, now).await.expect("a compaction");
    }
}
