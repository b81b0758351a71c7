//! The kubelet as a whole: against the API server of this process and a runtime that only pretends.
//!
//! Invariants: nothing sleeps, every expectation waits until it holds; everything but the containers is real.

mod cluster;
mod fake_cri;
mod kubectl;

use client::ObjectKey;
use client::kube::Api;
use client::kube::api::{DeleteParams, Patch, PatchParams};
use cluster::Cluster;
use futures::{SinkExt, StreamExt};
use http::StatusCode;
use http_body_util::BodyExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const MASTERS: Option<&str> = Some("system:masters");

fn is_ready(node: &Node, wanted: &str) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == wanted)
}

fn phase(pod: Option<&Pod>) -> Option<&str> {
    pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.phase.as_deref())
}

async fn expect_node(cluster: &Cluster, what: &str, condition: impl Fn(&Node) -> bool) {
    cluster
        .expect::<Node>(what, |nodes| {
            nodes.get(&ObjectKey::cluster("n1")).is_some_and(|node| condition(&node))
        })
        .await;
}

async fn expect_event(cluster: &Cluster, reason: &str) {
    let has = |event: &Event| event.reason.as_deref() == Some(reason);
    cluster.expect::<Event>(reason, |events| events.list().iter().any(|event| has(event))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_01_08_16_node_registers_renews_its_lease_and_becomes_ready() {
    let mut cluster = Cluster::without_kubelet().await;
    cluster.network_ready.send_replace(false);
    cluster.start_kubelet();
    expect_node(&cluster, "the node waits for its network", |node| is_ready(node, "False")).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let ranges = json!({"spec": {"podCIDR": "10.42.3.0/24", "podCIDRs": ["10.42.3.0/24"]}});
    nodes.patch("n1", &PatchParams::default(), &Patch::Merge(ranges)).await.expect("ranges");
    let ranges =
        cluster.pod_cidrs.wait_for(|ranges| !ranges.is_empty()).await.expect("ranges").clone();
    assert_eq!(ranges, ["10.42.3.0/24"]);
    cluster.network_ready.send_replace(true);
    expect_node(&cluster, "the node is ready", |node| is_ready(node, "True")).await;
    let node = nodes.get("n1").await.expect("the node");
    let status = node.status.expect("a status");
    assert_eq!(status.node_info.expect("info").container_runtime_version, "fake://1");
    assert_eq!(status.images.expect("images").len(), 1);
    let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    cluster
        .expect::<Lease>("a lease", |leases| {
            leases.list().iter().any(|it| holder(it).as_deref() == Some("n1"))
        })
        .await;
    for reason in ["Starting", "NodeHasSufficientMemory", "NodeHasSufficientPID", "NodeReady"] {
        expect_event(&cluster, reason).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_11_16_pod_runs_restarts_and_is_deleted() {
    let cluster = Cluster::start().await;
    cluster.create_pod("web", json!({})).await;
    cluster.expect_pod("web", "it runs", |pod| phase(pod) == Some("Running")).await;
    let pod = cluster.pods().get("web").await.expect("the pod");
    assert_eq!(pod.status.expect("a status").pod_ip.as_deref(), Some("10.42.0.5"));
    for kind in ["Pod", "Node"] {
        let once = |event: &Event| {
            event.reason.as_deref() == Some("MissingClusterDNS")
                && event.involved_object.kind.as_deref() == Some(kind)
                && event.count == Some(1)
        };
        cluster
            .expect::<Event>(kind, |events| events.list().iter().filter(|it| once(it)).count() == 1)
            .await;
    }
    cluster.runtime.exit("app", 1);
    let restarts = |pod: Option<&Pod>| {
        let statuses = pod?.status.as_ref()?.container_statuses.as_ref()?;
        statuses.first().map(|status| status.restart_count)
    };
    cluster.expect_pod("web", "it is started again", |pod| restarts(pod) == Some(1)).await;
    expect_event(&cluster, "Started").await;
    cluster.pods().delete("web", &DeleteParams::default()).await.expect("deleted");
    cluster.expect_pod("web", "it goes away", |pod| pod.is_none()).await;
    assert_eq!(cluster.runtime.counts(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_17_pod_that_never_restarts_ends_as_its_command_does() {
    let cluster = Cluster::start().await;
    for (name, code, expected) in [("good", 0, "Succeeded"), ("bad", 3, "Failed")] {
        cluster.create_pod(name, json!({"spec": {"restartPolicy": "Never"}})).await;
        cluster.expect_pod(name, "it runs", |pod| phase(pod) == Some("Running")).await;
        cluster.runtime.exit("app", code);
        cluster.expect_pod(name, expected, |pod| phase(pod) == Some(expected)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubelet_that_restarts_adopts_containers_and_ends_orphans() {
    let mut cluster = Cluster::start().await;
    cluster.create_pod("web", json!({})).await;
    cluster.expect_pod("web", "it runs", |pod| phase(pod) == Some("Running")).await;
    let before = cluster
        .pods()
        .get("web")
        .await
        .expect("the pod")
        .status
        .expect("a status")
        .container_statuses;
    cluster.stop_kubelet().await;
    cluster.runtime.add_orphan("nobody");
    assert_eq!(cluster.runtime.counts(), (2, 1));
    cluster.start_kubelet();
    cluster.create_pod("next", json!({})).await;
    cluster.expect_pod("next", "it runs", |pod| phase(pod) == Some("Running")).await;
    let after = cluster
        .pods()
        .get("web")
        .await
        .expect("the pod")
        .status
        .expect("a status")
        .container_statuses;
    let ids = |statuses: &Option<Vec<k8s_openapi::api::core::v1::ContainerStatus>>| {
        statuses
            .iter()
            .flatten()
            .map(|it| (it.container_id.clone(), it.restart_count))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&before), ids(&after));
    cluster.pods().delete("next", &DeleteParams::default()).await.expect("deleted");
    cluster.expect_pod("next", "it goes away", |pod| pod.is_none()).await;
    assert_eq!(cluster.runtime.counts(), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn image_that_cannot_be_pulled_is_told() {
    let cluster = Cluster::start().await;
    let spec = json!({"spec": {"containers": [{"name": "app", "image": "missing:1"}]}});
    cluster.create_pod("web", spec).await;
    let waiting = |pod: Option<&Pod>| -> Option<String> {
        let status = pod?.status.as_ref()?.container_statuses.as_ref()?.first()?.clone();
        status.state?.waiting?.reason
    };
    cluster
        .expect_pod("web", "it waits", |pod| {
            matches!(waiting(pod).as_deref(), Some("ErrImagePull" | "ImagePullBackOff"))
        })
        .await;
    let refused = cluster.get(MASTERS, "/containerLogs/default/web/app").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_admits_masters_only() {
    let cluster = Cluster::start().await;
    expect_node(&cluster, "the node is ready", |node| is_ready(node, "True")).await;
    assert_eq!(cluster.get(None, "/healthz").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(cluster.get(Some("system:nodes"), "/pods").await.status(), StatusCode::FORBIDDEN);
    for path in ["/healthz", "/pods", "/metrics"] {
        assert_eq!(cluster.get(MASTERS, path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(cluster.get(MASTERS, "/secrets").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        cluster.get(MASTERS, "/containerLogs/default/none/app").await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_followed_until_the_container_ends() {
    let cluster = Cluster::start().await;
    cluster.create_pod("web", json!({"spec": {"restartPolicy": "Never"}})).await;
    cluster.expect_pod("web", "it runs", |pod| phase(pod) == Some("Running")).await;
    cluster.runtime.print("app", "one");
    let answer =
        cluster.get(MASTERS, "/containerLogs/default/web/app?follow=true&stream=All").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    let first = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
    assert_eq!(first, "one\n");
    cluster.runtime.print("app", "two");
    let second = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
    assert_eq!(second, "two\n");
    cluster.runtime.exit("app", 0);
    assert!(body.frame().await.is_none(), "it ends with the container");
    let tail = cluster.get(MASTERS, "/containerLogs/default/web/app?tailLines=1").await;
    assert_eq!(tail.into_body().collect().await.expect("a body").to_bytes(), "two\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_over_websocket_carries_megabytes_both_ways_and_the_status() {
    let cluster = Cluster::start().await;
    cluster.create_pod("web", json!({})).await;
    cluster.expect_pod("web", "it runs", |pod| phase(pod) == Some("Running")).await;
    let mut request = "ws://localhost/exec/default/web/app?command=cat&input=1&output=1"
        .into_client_request()
        .expect("a request");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", "v5.channel.k8s.io".parse().expect("a value"));
    let stream = cluster.connect(MASTERS).await;
    let (socket, answer) =
        tokio_tungstenite::client_async(request, stream).await.expect("a session");
    assert_eq!(answer.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    let (mut sink, mut source) = socket.split();
    let piece = vec![7u8; 32 << 10];
    let sender = tokio::spawn(async move {
        for _ in 0..64 {
            sink.send(Message::binary([&[0u8][..], &piece].concat())).await.expect("sent");
        }
        sink.send(Message::binary(vec![255u8, 0])).await.expect("closed");
        sink
    });
    let (mut received, mut status) = (0, Vec::new());
    while let Some(Ok(message)) = source.next().await {
        match message {
            Message::Binary(data) if data[0] == 1 => received += data.len() - 1,
            Message::Binary(data) if data[0] == 3 => status.extend_from_slice(&data[1..]),
            _ => {}
        }
    }
    drop(sender.await.expect("the sender"));
    assert_eq!(received, 64 * (32 << 10));
    assert_eq!(status, br#"{"metadata":{},"status":"Success"}"#);
}
