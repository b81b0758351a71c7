//! Watches: where they start, what they show, when they end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Server, config_map, labelled, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a resourceVersion")
}

#[tokio::test]
async fn watch_without_revision_begins_with_what_there_is() {
    let server = Server::start().await;
    server.post(MAPS, config_map("a")).await.expect(201);
    for query in ["watch=1", "watch=true&resourceVersion=0"] {
        let mut watch = server.watch(&format!("{MAPS}?{query}")).await;
        assert_eq!(watch.short().await, "ADDED a", "{query}");
        server
            .patch(&format!("{MAPS}/a"), "merge-patch", json!({"data": {"q": query}}))
            .await
            .expect(200);
        assert_eq!(watch.short().await, "MODIFIED a", "{query}");
    }
}

#[tokio::test]
async fn api_23_watch_after_a_list_misses_and_repeats_nothing() {
    let server = Server::start().await;
    server.post(MAPS, config_map("a")).await.expect(201);
    let list = server.get(MAPS).await.expect(200);
    server.post(MAPS, config_map("b")).await.expect(201);
    let mut watch =
        server.watch(&format!("{MAPS}?watch=1&resourceVersion={}", version(&list))).await;
    assert_eq!(watch.short().await, "ADDED b");
    server.delete(&format!("{MAPS}/a"), Value::Null).await.expect(200);
    let event = watch.next().await.expect("an event");
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("DELETED"), &json!("a"))
    );
    assert_eq!(event["object"]["kind"], "ConfigMap");
    assert_eq!(version(&event["object"]), store::Store::revision(&*server.store));
}

#[tokio::test]
async fn watch_selector_objects_enter_and_leave() {
    let server = Server::start().await;
    let mut watch = server.watch(&format!("{MAPS}?watch=1&labelSelector=app%3Dx")).await;
    server.post(MAPS, labelled("a", "y")).await.expect(201);
    server.put(&format!("{MAPS}/a"), labelled("a", "x")).await.expect(200);
    assert_eq!(watch.short().await, "ADDED a");
    let left = server.put(&format!("{MAPS}/a"), labelled("a", "z")).await.expect(200);
    let event = watch.next().await.expect("an event");
    assert_eq!(event["type"], "DELETED");
    assert_eq!(
        (&event["object"]["metadata"]["labels"]["app"], version(&event["object"])),
        (&json!("x"), version(&left))
    );
    server.delete(&format!("{MAPS}/a"), Value::Null).await.expect(200);
    server.post(MAPS, labelled("b", "x")).await.expect(201);
    assert_eq!(watch.short().await, "ADDED b");
}

#[tokio::test]
async fn watch_field_selector_follows_one_node() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let mut watch = server.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn").await;
    for (name, node) in [("p", "other"), ("q", "n")] {
        server.post(pods, pod(name)).await.expect(201);
        let binding = json!({"metadata": {"name": name}, "target": {"name": node}});
        server.post(&format!("{pods}/{name}/binding"), binding).await.expect(201);
    }
    assert_eq!(watch.short().await, "ADDED q");
}

#[tokio::test]
async fn watch_of_a_name_sees_only_it() {
    let server = Server::start().await;
    let mut by_field =
        server.watch(&format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Db")).await;
    let mut by_path = server.watch("/api/v1/watch/namespaces/default/configmaps/b").await;
    for name in ["a", "b"] {
        server.post(MAPS, config_map(name)).await.expect(201);
    }
    assert_eq!(by_field.short().await, "ADDED b");
    assert_eq!(by_path.short().await, "ADDED b");
}

#[tokio::test]
async fn watch_send_initial_events_ends_them_with_a_bookmark() {
    let server = Server::start().await;
    server.post(MAPS, config_map("a")).await.expect(201);
    let query =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = server.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(watch.short().await, "ADDED a");
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(version(&bookmark["object"]), store::Store::revision(&*server.store));
    let refused = server.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(refused.failure().0, 422);
}

#[tokio::test]
async fn watch_bookmarks_move_on_without_changes_of_the_resource() {
    let server = Server::start().await;
    let start = store::Store::revision(&*server.store);
    let mut watch = server
        .watch(&format!(
            "{MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=3&resourceVersion={start}"
        ))
        .await;
    server.namespace("elsewhere").await;
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(version(&bookmark["object"]), store::Store::revision(&*server.store));
    assert_eq!(
        (&bookmark["object"]["kind"], &bookmark["object"]["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
}

#[tokio::test]
async fn watch_from_history_serves_what_the_ring_lost_until_compaction() {
    let server = Server::start().await;
    let made = server.post(MAPS, labelled("a", "x")).await.expect(201);
    server.delete(&format!("{MAPS}/a"), Value::Null).await.expect(200);
    // A second server over the same store has an empty ring.
    let api = apiserver::ApiServer::start(crate::support::config(server.store.clone()))
        .await
        .expect("a server");
    let late = Server { api, store: server.store.clone() };
    let mut watch = late
        .watch(&format!(
            "{MAPS}?watch=1&labelSelector=app%3Dx&resourceVersion={}",
            version(&made) - 1
        ))
        .await;
    assert_eq!(watch.short().await, "ADDED a");
    assert_eq!(watch.short().await, "DELETED a");
    let now = store::Store::revision(&*server.store);
    store::Store::compact(&*server.store, now).await.expect("a compaction");
    let mut expired = late.watch(&format!("{MAPS}?watch=1&resourceVersion=1")).await;
    let event = expired.next().await.expect("an event");
    assert_eq!(
        (&event["type"], &event["object"]["code"], &event["object"]["reason"]),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    let message = event["object"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("too old resource version: 1 ("), "{message}");
    assert!(expired.next().await.is_none());
}

#[tokio::test]
async fn watch_ends_at_its_timeout() {
    let server = Server::start().await;
    let mut watch = server.watch(&format!("{MAPS}?watch=1&timeoutSeconds=1")).await;
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn watch_as_table_names_columns_once() {
    let server = Server::start().await;
    let mut watch = server
        .watch_as(&format!("{MAPS}?watch=1"), "application/json;as=Table;v=v1;g=meta.k8s.io")
        .await;
    for name in ["a", "b"] {
        server.post(MAPS, config_map(name)).await.expect(201);
    }
    let first = watch.next().await.expect("an event");
    assert_eq!(first["object"]["kind"], "Table");
    assert!(
        first["object"]["columnDefinitions"].as_array().is_some_and(|columns| !columns.is_empty())
    );
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    let second = watch.next().await.expect("an event");
    assert_eq!(second["object"]["columnDefinitions"], json!([]));
}

#[tokio::test]
async fn watch_slow_client_is_ended_without_a_gap() {
    let server = Server::start().await;
    let mut watch = server.watch(&format!("{MAPS}?watch=1")).await;
    server.post(MAPS, config_map("a")).await.expect(201);
    for count in 0..5000 {
        let body = json!({"metadata": {"name": "a"}, "data": {"count": count.to_string()}});
        server.put(&format!("{MAPS}/a"), body).await.expect(200);
    }
    server.get(MAPS).await.expect(200);
    let mut last: Option<u64> = None;
    let mut seen = 0;
    while let Some(event) = watch.next().await {
        let revision = version(&event["object"]);
        assert!(last.is_none_or(|last| revision == last + 1), "a gap before {revision}");
        last = Some(revision);
        seen += 1;
    }
    assert!((4096..5001).contains(&seen), "{seen}");
}

/// Writers change objects at random while watchers come at different times; each watcher's replay must equal the final list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_replay_of_concurrent_writes_equals_the_list() {
    let server = Server::start().await;
    let mut watchers = Vec::new();
    for round in 0..4_u64 {
        let watcher = replay(server.clone(), round);
        watchers.push(tokio::spawn(watcher));
        let writers: Vec<_> =
            (0..4_u64).map(|seed| tokio::spawn(write(server.clone(), round * 7 + seed))).collect();
        for writer in writers {
            writer.await.expect("a writer");
        }
    }
    server.post(MAPS, labelled("end", "x")).await.expect(201);
    for (round, watcher) in watchers.into_iter().enumerate() {
        let replayed = watcher.await.expect("a watcher");
        let selector = if round.is_multiple_of(2) { "" } else { "?labelSelector=app%3Dx" };
        let list = server.get(&format!("{MAPS}{selector}")).await.expect(200);
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let listed: BTreeMap<String, u64> =
            items.iter().map(|item| (name(item), version(item))).collect();
        assert_eq!(replayed, listed, "watcher {round}");
    }
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Lists, then watches until the object `end` appears; returns names with versions.
async fn replay(server: Server, round: u64) -> BTreeMap<String, u64> {
    let selector = if round.is_multiple_of(2) { "" } else { "&labelSelector=app%3Dx" };
    let list = server.get(&format!("{MAPS}?limit=100000{selector}")).await.expect(200);
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let mut state: BTreeMap<String, u64> =
        items.iter().map(|item| (name(item), version(item))).collect();
    let mut last = version(&list);
    let mut watch = server.watch(&format!("{MAPS}?watch=1&resourceVersion={last}{selector}")).await;
    while !state.contains_key("end") {
        let event = watch.next().await.expect("an event");
        let (object, kind) = (&event["object"], event["type"].as_str().unwrap_or_default());
        assert!(version(object) > last, "{kind} {object} repeats");
        last = version(object);
        let known = match kind {
            "DELETED" => state.remove(&name(object)),
            _ => state.insert(name(object), last),
        };
        assert_eq!(known.is_some(), kind != "ADDED", "{kind} {object}");
    }
    state
}

async fn write(server: Server, seed: u64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..60 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let name = format!("o{}", random % 9);
        let label = if random & 0x100 == 0 { "x" } else { "y" };
        let path = format!("{MAPS}/{name}");
        match random % 3 {
            0 => drop(server.delete(&path, Value::Null).await),
            1 => drop(server.post(MAPS, labelled(&name, label)).await),
            _ => drop(server.put(&path, labelled(&name, label)).await),
        }
    }
}
