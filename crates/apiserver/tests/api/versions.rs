//! Resources in more than one version: whichever version writes, every version reads.

use api::schema::protobuf;
use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Server};

const OLD: &str = "/api/v1/namespaces/default/events";
const NEW: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
const PARTIAL: (&str, &str) =
    ("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
const PROTOBUF: (&str, &str) = ("accept", protobuf::MEDIA_TYPE);

fn older(name: &str) -> Value {
    json!({"metadata": {"name": name}, "reason": "Testing", "type": "Normal", "message": "m", "count": 3,
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}})
}

fn newer(name: &str) -> Value {
    json!({"metadata": {"name": name}, "eventTime": "2026-01-01T00:00:00.000001Z", "type": "Normal", "action": "Bind",
        "reason": "Bound", "note": "n", "regarding": {"kind": "Pod", "name": "q", "namespace": "default"},
        "reportingController": "x.io/y", "reportingInstance": "y-1"})
}

async fn apply(server: &Server, path: &str, query: &str, body: Value) -> Answer {
    let headers = [("content-type", "application/apply-patch+yaml")];
    server.send(Method::PATCH, &format!("{path}?{query}"), &headers, body.to_string()).await
}

#[tokio::test]
async fn event_is_written_in_either_version_and_read_in_both() {
    let server = Server::start().await;
    let old = server.post(OLD, older("a")).await.expect(201);
    let new = server.post(NEW, newer("b")).await.expect(201);
    let says = |object: &Value, names: [&str; 3]| names.map(|name| object[name].to_string());
    assert_eq!(
        says(&new, ["apiVersion", "note", "message"]),
        ["\"events.k8s.io/v1\"", "\"n\"", "null"]
    );
    let old_as_new = server.get(&format!("{NEW}/a")).await.expect(200);
    assert_eq!(
        says(&old_as_new, ["apiVersion", "note", "deprecatedCount"]),
        ["\"events.k8s.io/v1\"", "\"m\"", "3"]
    );
    assert_eq!(old_as_new["regarding"], old["involvedObject"]);
    let new_as_old = server.get(&format!("{OLD}/b")).await.expect(200);
    assert_eq!(says(&new_as_old, ["apiVersion", "message", "note"]), ["\"v1\"", "\"n\"", "null"]);
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        assert_eq!(new_as_old["metadata"][field], new["metadata"][field]);
        assert_eq!(old_as_new["metadata"][field], old["metadata"][field]);
    }
    let taken = server.post(NEW, newer("a")).await.failure();
    assert_eq!((taken.0, taken.2.as_str()), (409, "events.events.k8s.io \"a\" already exists"));
    let refused = server.post(NEW, older("c")).await;
    assert_eq!(refused.failure().0, 422, "without eventTime");
}

#[tokio::test]
async fn event_lists_tables_and_protobuf_speak_the_version_of_the_path() {
    let server = Server::start().await;
    server.post(OLD, older("a")).await.expect(201);
    server.post(NEW, newer("b")).await.expect(201);
    let list = server.get("/apis/events.k8s.io/v1/events").await.expect(200);
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("EventList"), &json!("events.k8s.io/v1"))
    );
    let notes: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| &item["note"]).collect();
    assert_eq!(notes, ["m", "n"]);
    let one = server.get(&format!("{NEW}?fieldSelector=regarding.name%3Dq")).await.expect(200);
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    let unknown = server.get(&format!("{NEW}?fieldSelector=involvedObject.name%3Dq")).await;
    assert_eq!(unknown.failure().0, 400);
    let table = |path| server.send(Method::GET, path, &[TABLE], "");
    let (mut old, mut new) = (table(OLD).await.expect(200), table(NEW).await.expect(200));
    let rows = |table: &mut Value| {
        let rows = table["rows"].as_array_mut().unwrap();
        rows.iter_mut()
            .map(|row| row["cells"].as_array_mut().unwrap().split_off(1))
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&mut old), rows(&mut new));
    let partial = server.send(Method::GET, NEW, &[PARTIAL], "").await.expect(200);
    assert_eq!(partial["items"][1]["metadata"]["name"], "b");
    let binary = server.send(Method::GET, NEW, &[PROTOBUF], "").await;
    let binary = protobuf::decode(&binary.body).unwrap();
    assert_eq!(
        (&binary["apiVersion"], &binary["items"][1]["note"]),
        (&json!("events.k8s.io/v1"), &json!("n"))
    );
    let binary = server.send(Method::GET, &format!("{NEW}/a"), &[PROTOBUF], "").await;
    assert_eq!(protobuf::decode(&binary.body).unwrap()["note"], "m");
}

#[tokio::test]
async fn event_watch_shows_changes_of_every_version_in_that_of_the_path() {
    let server = Server::start().await;
    let mut old = server.watch(&format!("{OLD}?watch=1")).await;
    let mut new = server.watch(&format!("{NEW}?watch=1")).await;
    server.post(OLD, older("a")).await.expect(201);
    let change = json!({"note": "changed"});
    let patched = server.patch(&format!("{NEW}/a"), "merge-patch", change).await;
    assert_eq!(patched.failure().0, 422, "only the series changes");
    let change = json!({"message": "changed"});
    server.patch(&format!("{OLD}/a"), "strategic-merge-patch", change).await.expect(200);
    server.delete(&format!("{NEW}/a"), Value::Null).await.expect(200);
    for (kind, text) in [("ADDED", "m"), ("MODIFIED", "changed"), ("DELETED", "changed")] {
        let (old, new) = (old.next().await.unwrap(), new.next().await.unwrap());
        assert_eq!((&old["type"], &old["object"]["message"]), (&json!(kind), &json!(text)));
        assert_eq!((&new["type"], &new["object"]["note"]), (&json!(kind), &json!(text)));
        assert_eq!(new["object"]["apiVersion"], "events.k8s.io/v1");
        assert_eq!(
            old["object"]["metadata"]["resourceVersion"],
            new["object"]["metadata"]["resourceVersion"]
        );
    }
}

#[tokio::test]
async fn event_of_the_newer_version_is_updated_and_patched_in_its_own_names() {
    let server = Server::start().await;
    let path = format!("{NEW}/b");
    let mut event = server.post(NEW, newer("b")).await.expect(201);
    event["series"] = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"});
    let updated = server.put(&path, event).await.expect(200);
    assert_eq!(updated["series"]["count"], 2);
    let strategic = json!({"series": {"count": 3}});
    let patched = server.patch(&path, "strategic-merge-patch", strategic).await.expect(200);
    assert_eq!(
        patched["series"],
        json!({"count": 3, "lastObservedTime": "2026-01-01T00:00:01.000000Z"})
    );
    let json_patch = json!([{"op": "test", "path": "/regarding/name", "value": "q"},
        {"op": "replace", "path": "/series/count", "value": 4}]);
    server.patch(&path, "json-patch", json_patch).await.expect(200);
    let old = server.get(&format!("{OLD}/b")).await.expect(200);
    assert_eq!(old["series"]["count"], 4);
    let deleted = server.send(Method::DELETE, NEW, &[], "").await.expect(200);
    assert_eq!(deleted["items"][0]["note"], "n");
    assert_eq!(server.get(&format!("{OLD}/b")).await.status, 404);
}

#[tokio::test]
async fn owners_of_fields_are_known_in_the_version_they_wrote_in() {
    let server = Server::start().await;
    let mut config = newer("b");
    config["apiVersion"] = json!("events.k8s.io/v1");
    config["kind"] = json!("Event");
    let path = format!("{NEW}/b");
    let created = apply(&server, &path, "fieldManager=one", config.clone()).await.expect(201);
    let owner = &created["metadata"]["managedFields"][0];
    assert_eq!(
        (&owner["manager"], &owner["apiVersion"]),
        (&json!("one"), &json!("events.k8s.io/v1"))
    );
    assert!(owner["fieldsV1"].get("f:note").is_some(), "{owner}");
    let same = apply(&server, &path, "fieldManager=one", config).await.expect(200);
    let (same, first) = (&same["metadata"]["managedFields"], &created["metadata"]["managedFields"]);
    assert_eq!((&same[0]["fieldsV1"], &same[1]), (&first[0]["fieldsV1"], &Value::Null));
    let other = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "b"}, "message": "mine",
        "involvedObject": {"kind": "Pod", "name": "q", "namespace": "default"}});
    let path = format!("{OLD}/b");
    let conflict = apply(&server, &path, "fieldManager=two", other.clone()).await.failure();
    assert_eq!(conflict.0, 409);
    assert!(conflict.2.contains("conflict with \"one\": .note"), "{}", conflict.2);
    let forced = apply(&server, &path, "fieldManager=two&force=true", other).await.expect(200);
    let owners = forced["metadata"]["managedFields"].as_array().unwrap();
    let of = |name: &str| owners.iter().find(|owner| owner["manager"] == name).unwrap();
    assert!(of("one")["fieldsV1"].get("f:note").is_none(), "{owners:?}");
    assert!(of("one")["fieldsV1"].get("f:regarding").is_some(), "{owners:?}");
    assert_eq!(
        (&of("two")["apiVersion"], of("two")["fieldsV1"].get("f:message")),
        (&json!("v1"), Some(&json!({})))
    );
}

#[tokio::test]
async fn versions_of_the_same_shape_differ_in_their_name_only() {
    let server = Server::start().await;
    let path = |version: &str| {
        format!("/apis/coordination.k8s.io/{version}/namespaces/default/leasecandidates")
    };
    let (beta, alpha) = (path("v1beta1"), path("v1alpha2"));
    let candidate = json!({"metadata": {"name": "c"}, "spec": {"leaseName": "l", "binaryVersion": "1.36.0", "strategy": "a.io/b"}});
    let created = server.post(&alpha, candidate).await.expect(201);
    assert_eq!(created["apiVersion"], "coordination.k8s.io/v1alpha2");
    let mut shown = server.get(&format!("{beta}/c")).await.expect(200);
    assert_eq!(shown["apiVersion"], "coordination.k8s.io/v1beta1");
    shown["apiVersion"] = json!("coordination.k8s.io/v1alpha2");
    assert_eq!(shown, created);
    for path in [&beta, &alpha] {
        let list = server.get(path).await.expect(200);
        assert_eq!(list["items"][0]["spec"]["leaseName"], "l");
        let binary = server.send(Method::GET, path, &[PROTOBUF], "").await;
        let binary = protobuf::decode(&binary.body).unwrap();
        assert_eq!(binary["apiVersion"], list["apiVersion"]);
        assert_eq!(binary["items"][0]["spec"]["leaseName"], "l");
    }
    let mut watch = server.watch(&format!("{alpha}?watch=1")).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["object"], created);
}
