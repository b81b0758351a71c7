//! Many clients at once: nobody wins twice, nothing is lost.

use serde_json::{Value, json};

use crate::support::{Server, config_map};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_64_updates_with_one_resource_version_has_one_winner() {
    let server = Server::start().await;
    let made = server.post(MAPS, config_map("a")).await.expect(201);
    let tasks: Vec<_> = (0..64)
        .map(|index| {
            let (server, mut body) = (server.clone(), made.clone());
            body["data"] = json!({"winner": index.to_string()});
            tokio::spawn(
                async move { server.put(&format!("{MAPS}/a"), body).await.status.as_u16() },
            )
        })
        .collect();
    let mut codes = Vec::new();
    for task in tasks {
        codes.push(task.await.expect("a writer"));
    }
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 1);
    assert_eq!(codes.iter().filter(|code| **code == 409).count(), 63);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_64_patches_without_version_loses_none() {
    let server = Server::start().await;
    server.post(MAPS, config_map("a")).await.expect(201);
    let tasks: Vec<_> = (0..64)
        .map(|index| {
            let server = server.clone();
            let patch = json!({"data": {format!("k{index}"): "v"}});
            tokio::spawn(async move {
                server.patch(&format!("{MAPS}/a"), "merge-patch", patch).await.status.as_u16()
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("a writer"), 200);
    }
    let object = server.get(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(object["data"].as_object().map(serde_json::Map::len), Some(64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_creates_with_one_name_has_one_winner() {
    let server = Server::start().await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move { server.post(MAPS, config_map("a")).await.status.as_u16() })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        created += usize::from(task.await.expect("a writer") == 201);
    }
    assert_eq!(created, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_services_gives_each_its_own_address() {
    let server = Server::start().await;
    let tasks: Vec<_> = (0..16)
        .map(|index| {
            let server = server.clone();
            let body = json!({"metadata": {"name": format!("s{index}")}, "spec": {"ports": [{"port": 80}]}});
            tokio::spawn(async move { server.post("/api/v1/namespaces/default/services", body).await.expect(201) })
        })
        .collect();
    let mut addresses = std::collections::BTreeSet::new();
    for task in tasks {
        addresses.insert(task.await.expect("a writer")["spec"]["clusterIP"].to_string());
    }
    assert_eq!(addresses.len(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_a_read_after_a_write_sees_it() {
    let server = Server::start().await;
    for index in 0..200 {
        let name = format!("m{index}");
        server.post(MAPS, config_map(&name)).await.expect(201);
        server.get(&format!("{MAPS}/{name}")).await.expect(200);
        let list =
            server.get(&format!("{MAPS}?fieldSelector=metadata.name%3D{name}")).await.expect(200);
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
        server.delete(&format!("{MAPS}/{name}"), Value::Null).await.expect(200);
        assert_eq!(server.get(&format!("{MAPS}/{name}")).await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_64_appliers_gives_each_what_it_applied() {
    const APPLIERS: usize = 64;
    let server = Server::start().await;
    let apply = |index: usize, data: Value| {
        let server = server.clone();
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
        tokio::spawn(async move {
            let path = format!("{MAPS}/a?fieldManager=m{index}");
            let headers = [("content-type", "application/apply-patch+yaml")];
            let answer =
                server.send(http::Method::PATCH, &path, &headers, config.to_string()).await;
            answer.status.as_u16()
        })
    };
    let tasks: Vec<_> =
        (0..APPLIERS).map(|n| apply(n, json!({format!("k{n}"): "v", "shared": "s"}))).collect();
    let mut created = 0;
    for task in tasks {
        let status = task.await.expect("an applier");
        assert!(status == 200 || status == 201, "{status}");
        created += usize::from(status == 201);
    }
    assert_eq!(created, 1);
    let object = server.get(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(object["data"].as_object().map(serde_json::Map::len), Some(APPLIERS + 1));
    let entries = object["metadata"]["managedFields"].as_array().expect("entries");
    assert_eq!(entries.len(), APPLIERS);
    for entry in entries {
        let manager = entry["manager"].as_str().expect("a manager");
        let own = format!("f:k{}", &manager[1..]);
        assert_eq!(entry["fieldsV1"], json!({"f:data": {own: {}, "f:shared": {}}}));
    }
    let tasks: Vec<_> = (1..APPLIERS).map(|n| apply(n, json!({"shared": "s"}))).collect();
    for task in tasks {
        assert_eq!(task.await.expect("an applier"), 200);
    }
    let object = server.get(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(object["data"], json!({"k0": "v", "shared": "s"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_64_conditional_counters_counts_every_success() {
    let server = Server::start().await;
    let mut map = config_map("a");
    map["data"] = json!({"count": "0"});
    server.post(MAPS, map).await.expect(201);
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move {
                let mut won = 0;
                for _ in 0..4 {
                    let mut object = server.get(&format!("{MAPS}/a")).await.expect(200);
                    let count: u32 = object["data"]["count"].as_str().unwrap().parse().unwrap();
                    object["data"]["count"] = json!((count + 1).to_string());
                    let status = server.put(&format!("{MAPS}/a"), object).await.status.as_u16();
                    assert!(status == 200 || status == 409, "{status}");
                    won += u32::from(status == 200);
                }
                won
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += task.await.expect("a counter");
    }
    let object = server.get(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(object["data"]["count"], json!(won.to_string()));
    assert!(won > 0);
}
