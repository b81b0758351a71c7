//! Crashes at random moments during a rollout under load.
//!
//! Server and agent are killed twenty times. Afterwards every acknowledged write is there, nothing that ran was
//! touched, the rollout finishes, and no orphan is left.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use testkit::cluster::{Options, Role, TestCluster};
use testkit::http::{Access, Connection};
use testkit::kubectl::{Kubectl, Version};
use testkit::observe::{self, Objects};

const CRASHES: u64 = 20;
const WRITERS: usize = 4;

#[test]
fn crash_twenty_times_during_a_rollout_loses_nothing() {
    let mut cluster = TestCluster::start(Options::default());
    {
        let k = cluster.kubectl(Version::available()[0]);
        k.ok("create deployment bystander --image=knarr.local/hello:1.0 --replicas=2");
        k.ok("create deployment kubia --image=knarr.local/hello:1.0 --replicas=4");
        for name in ["bystander", "kubia"] {
            k.ok(&format!("wait --for=condition=Available deployment/{name} --timeout=60s"));
        }
        let bystanders = bystanders(&k);
        let access = cluster.access();
        let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(BTreeMap::new()));
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (cluster, access, stop, acknowledged) =
                    (&cluster, &access, &stop, &acknowledged);
                scope.spawn(move || {
                    cluster.block_on(async || write(access, writer, stop, acknowledged).await)
                });
            }
            crash_and_roll(&cluster, &k);
            stop.store(true, Ordering::Relaxed);
        });
        let acknowledged = acknowledged.into_inner().unwrap();
        assert!(acknowledged.len() > 100, "only {} writes were acknowledged", acknowledged.len());
        assert_all_there(&cluster, &acknowledged);
        k.ok("rollout status deployment/kubia --timeout=120s");
        observe::until(
            &cluster,
            "default",
            "four pods of the last rollout",
            |pods: &Objects<Pod>| {
                let of = |pod: &&Pod| {
                    pod.metadata
                        .labels
                        .as_ref()
                        .and_then(|l| l.get("app"))
                        .is_some_and(|app| app == "kubia")
                };
                let pods: Vec<&Pod> = pods.values().filter(of).collect();
                (pods.len() == 4 && pods.iter().all(|pod| observe::is_ready(pod))).then_some(())
            },
        );
        assert_eq!(self::bystanders(&k), bystanders, "what was not rolled out was not touched");
        no_orphans(&cluster, &k);
    }
    cluster.finish().unwrap_or_else(|problem| panic!("{problem}"));
}

/// Containers' ids, starts and restart counts of the Deployment that is left alone.
fn bystanders(k: &Kubectl<'_>) -> Vec<Value> {
    let pods = k.json("pods -l app=bystander");
    let facts = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        json!([
            pod["metadata"]["uid"],
            status["containerID"],
            status["restartCount"],
            status["state"]["running"]["startedAt"]
        ])
    };
    pods["items"].as_array().unwrap().iter().map(facts).collect()
}

/// Kills and restarts in turn, at moments drawn from a fixed seed, while rollouts are under way.
fn crash_and_roll(cluster: &TestCluster, k: &Kubectl<'_>) {
    let node = cluster.node_names().remove(0);
    let mut random = Random(0x5eed);
    for crash in 0..CRASHES {
        if crash % 4 == 0 {
            k.ok(&format!("set env deployment/kubia ROUND={crash}"));
        }
        // The moment is the point of this test: somewhere within the rollout.
        std::thread::sleep(Duration::from_millis(random.below(400)));
        let both = [Role::Server, Role::Agent(node.clone())];
        let dying = match random.below(3) {
            0 => &both[..1],
            1 => &both[1..],
            _ => &both[..],
        };
        for role in dying {
            cluster.kill_9(role);
        }
        cluster.up().ok();
    }
}

/// A linear congruential generator: repeatable, and enough to choose moments.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Creates and updates ConfigMaps until told to stop, and notes what the server acknowledged.
async fn write(
    access: &Access,
    writer: usize,
    stop: &AtomicBool,
    acknowledged: &Mutex<BTreeMap<String, String>>,
) {
    let mut connection = None;
    let mut count = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = &mut connection else {
            connection = Connection::open(access).await.ok();
            if connection.is_none() {
                // The server is down; nothing tells when its port opens again.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            continue;
        };
        count += 1;
        let (name, value) = (format!("w{writer}-{}", count / 2), count.to_string());
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}});
        let collection = "/api/v1/namespaces/default/configmaps";
        let (method, path) = match count % 2 {
            0 => (Method::POST, collection.to_owned()),
            _ => (Method::PUT, format!("{collection}/{name}")),
        };
        let headers = [("content-type", "application/json")];
        match open.send(method, &path, &headers, body.to_string()).await {
            Ok(answer) if answer.status < 300 => {
                acknowledged.lock().unwrap().insert(name, value);
            }
            Ok(_) => {}
            Err(_) => connection = None,
        }
    }
}

/// Every acknowledged write, or a later one of the same writer that was cut off before its answer.
fn assert_all_there(cluster: &TestCluster, acknowledged: &BTreeMap<String, String>) {
    let answer = cluster.request(Method::GET, "/api/v1/namespaces/default/configmaps", &[], "");
    let list = answer.json();
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{}", answer.text()));
    let found: BTreeMap<&str, u64> = items
        .iter()
        .filter_map(|item| {
            let value = item["data"]["value"].as_str()?.parse().ok()?;
            Some((item["metadata"]["name"].as_str()?, value))
        })
        .collect();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|(name, value)| {
            let value: u64 = value.parse().unwrap_or_default();
            found.get(name.as_str()).is_none_or(|found| *found < value)
        })
        .collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
}

/// The node runs what the API says and nothing else.
fn no_orphans(cluster: &TestCluster, k: &Kubectl<'_>) {
    let pods = k.json("pods -A");
    let uids: Vec<&str> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|pod| pod["metadata"]["uid"].as_str())
        .collect();
    let node = cluster.node_names().remove(0);
    let listed = cluster.knarr(&format!("node shell {node} -- ls /var/log/pods")).ok();
    let orphans: Vec<&str> =
        listed.lines().filter(|dir| !uids.iter().any(|uid| dir.ends_with(uid))).collect();
    assert!(orphans.is_empty(), "logs without pods: {orphans:?}");
    let links = cluster.knarr(&format!("node shell {node} -- ip -o link")).ok();
    let veths = links.lines().filter(|line| line.contains(" master ")).count();
    assert_eq!(veths, uids.len(), "a link for each pod:\n{links}");
    let hello = cluster.pod_processes(|command| command.starts_with("/hello")).len();
    assert_eq!(hello, uids.len(), "a process for each pod");
}
