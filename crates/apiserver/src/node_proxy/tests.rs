//! Tests of the way to the kubelets, with a kubelet of our own behind loopback TLS.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures::StreamExt;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{
    Container, DaemonEndpoint, NodeAddress, NodeDaemonEndpoints, NodeStatus, PodSpec,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::*;
use crate::server::tests::{Ca, Running, connect, get, send, start, text};
use crate::server::{Handler, Shutdown};

/// A kubelet that answers as told and remembers what it was asked.
struct FakeKubelet {
    asked: Mutex<Vec<(String, BTreeMap<String, String>)>>,
    log: Mutex<Option<mpsc::Receiver<bytes::Bytes>>>,
    answer: (u16, &'static str),
}

impl FakeKubelet {
    fn new(answer: (u16, &'static str)) -> Arc<Self> {
        Arc::new(Self { asked: Mutex::default(), log: Mutex::default(), answer })
    }

    fn asked(&self) -> (String, BTreeMap<String, String>) {
        self.asked.lock().unwrap().last().cloned().unwrap()
    }
}

struct Kubelet(Arc<FakeKubelet>);

impl Handler for Kubelet {
    async fn handle(self: Arc<Self>, mut request: Request<Body>) -> Response<Body> {
        let header = |(name, value): (&HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let headers = request.headers().iter().map(header).collect();
        self.0.asked.lock().unwrap().push((request.uri().to_string(), headers));
        let (status, message) = self.0.answer;
        if status == 101 {
            let protocol = request.headers()["upgrade"].clone();
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let (mut reader, mut writer) = tokio::io::split(&mut stream);
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let response = Response::builder()
                .status(101)
                .header("connection", "Upgrade")
                .header("upgrade", protocol)
                .header("sec-websocket-accept", "accepted")
                .header("x-stream-protocol-version", "v4.channel.k8s.io");
            return built(response, Body::empty());
        }
        if let Some(lines) = self.0.log.lock().unwrap().take() {
            let lines = futures::stream::unfold(lines, |mut lines| async {
                Some((Ok(lines.recv().await?), lines))
            });
            return built(Response::builder(), Body::from_stream(lines));
        }
        built(Response::builder().status(status), message.into())
    }
}

/// One pod on one node.
struct Cluster {
    pod: Pod,
    node: Option<Node>,
}

#[async_trait]
impl Lookup for Cluster {
    async fn pod(&self, _: &str, name: &str) -> Result<Pod, StatusError> {
        let found = self.pod.metadata.name.as_deref() == Some(name);
        if found {
            Ok(self.pod.clone())
        } else {
            Err(StatusError::not_found(&GroupResource::new("", "pods"), name))
        }
    }

    async fn node(&self, name: &str) -> Result<Node, StatusError> {
        self.node
            .clone()
            .ok_or_else(|| StatusError::not_found(&GroupResource::new("", "nodes"), name))
    }
}

/// The API server's side: the proxy behind TLS, as clients meet it.
struct Front {
    proxy: NodeProxy,
    cluster: Cluster,
}

impl Handler for Front {
    async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let info = RequestInfo::parse(request.method(), request.uri()).unwrap();
        self.proxy.handle(&self.cluster, &info, request).await.unwrap_or_else(|error| {
            let body = serde_json::to_vec(&error.0).unwrap();
            built(Response::builder().status(error.code()), body.into())
        })
    }
}

pub(super) fn pod(containers: &[&str], node: Option<&str>) -> Pod {
    let container = |name: &&str| Container { name: (*name).to_owned(), ..Container::default() };
    let mut pod = Pod {
        spec: Some(PodSpec {
            containers: containers.iter().map(container).collect(),
            node_name: node.map(str::to_owned),
            ..PodSpec::default()
        }),
        ..Pod::default()
    };
    pod.metadata.name = Some("web".to_owned());
    pod.metadata.namespace = Some("default".to_owned());
    pod
}

pub(super) fn node(address: &str, port: u16) -> Node {
    let address = NodeAddress { type_: "InternalIP".to_owned(), address: address.to_owned() };
    let endpoint = DaemonEndpoint { port: i32::from(port) };
    Node {
        status: Some(NodeStatus {
            addresses: Some(vec![address]),
            daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(endpoint) }),
            ..NodeStatus::default()
        }),
        ..Node::default()
    }
}

struct World {
    ca: Ca,
    kubelet: Arc<FakeKubelet>,
    _node: Running,
    front: Running,
}

impl World {
    async fn new(answer: (u16, &'static str)) -> Self {
        let ca = Ca::new();
        let kubelet = FakeKubelet::new(answer);
        let node_server = start(&ca, Kubelet(kubelet.clone())).await;
        let cluster = Cluster {
            pod: pod(&["app"], Some("n1")),
            node: Some(node("127.0.0.1", node_server.address.port())),
        };
        let front = start(&ca, Front { proxy: proxy(&ca), cluster }).await;
        Self { ca, kubelet, _node: node_server, front }
    }

    async fn send(&self, request: Request<Body>) -> Response<Incoming> {
        send(connect(&self.ca, self.front.address, None, &["http/1.1"]).await, request).await
    }
}

fn proxy(ca: &Ca) -> NodeProxy {
    let identity = ca.client("kube-apiserver-kubelet-client", &["system:masters"]);
    let tls =
        KubeletTls { ca: vec![ca.certificate.clone()], cert: identity.chain, key: identity.key };
    NodeProxy::new(Some(&tls)).unwrap()
}

fn upgrade(path: &str, protocol: &str) -> Request<Body> {
    let mut request = get(path);
    let headers = request.headers_mut();
    headers.insert("connection", http::HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", protocol.parse().unwrap());
    headers.insert("sec-websocket-protocol", http::HeaderValue::from_static("v5.channel.k8s.io"));
    headers
        .insert("x-stream-protocol-version", http::HeaderValue::from_static("v4.channel.k8s.io"));
    headers.insert("authorization", http::HeaderValue::from_static("Bearer secret"));
    request
}

async fn message(response: Response<Incoming>) -> (u16, String) {
    let code = response.status().as_u16();
    let status: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    (code, status["message"].as_str().unwrap().to_owned())
}

const POD: &str = "/api/v1/namespaces/default/pods/web";

#[tokio::test]
async fn exec_tunnels_megabytes_both_ways_and_half_closes() {
    for protocol in ["websocket", "SPDY/3.1"] {
        let world = World::new((101, "")).await;
        let path = format!("{POD}/exec?command=sh&command=-c&stdin=true&stdout=1&tty=false");
        let mut response = world.send(upgrade(&path, protocol)).await;
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["upgrade"], protocol);
        assert_eq!(response.headers()["sec-websocket-accept"], "accepted");
        assert_eq!(response.headers()["x-stream-protocol-version"], "v4.channel.k8s.io");
        let stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
        let (mut reader, mut writer) = tokio::io::split(stream);
        let sent: Vec<u8> = (0..8_000_000u32).map(|n| (n % 251) as u8).collect();
        let copy = sent.clone();
        let writing = tokio::spawn(async move {
            writer.write_all(&copy).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await.unwrap();
        writing.await.unwrap();
        assert!(
            received == sent,
            "{protocol}: {} of {} bytes came back",
            received.len(),
            sent.len()
        );
        let (uri, headers) = world.kubelet.asked();
        assert_eq!(uri, "/exec/default/web/app?input=1&output=1&command=sh&command=-c");
        assert_eq!(headers["sec-websocket-protocol"], "v5.channel.k8s.io");
        assert!(
            !headers.contains_key("authorization"),
            "the client's credentials stay at the API server"
        );
    }
}

#[tokio::test]
async fn exec_tunnel_ends_when_the_server_stops() {
    let world = World::new((101, "")).await;
    let mut response = world.send(upgrade(&format!("{POD}/attach?stdin=1"), "SPDY/3.1")).await;
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    world.front.shutdown.cancel();
    let mut rest = Vec::new();
    // Cut off, whichever way the transport says so.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn exec_refused_by_the_kubelet_is_passed_on() {
    let world = World::new((403, "Forbidden (user=x, verb=create)")).await;
    let response = world.send(upgrade(&format!("{POD}/exec?command=ls"), "websocket")).await;
    assert_eq!(response.status(), 403);
    assert_eq!(text(response).await, "Forbidden (user=x, verb=create)");
    let world = World::new((200, "fine")).await;
    let response = world.send(upgrade(&format!("{POD}/exec?command=ls"), "websocket")).await;
    assert_eq!(
        message(response).await,
        (500, "invalid upgrade response: status code 200".to_owned())
    );
}

#[tokio::test]
async fn exec_without_upgrade_is_a_bad_request() {
    let world = World::new((101, "")).await;
    for stream in ["exec?command=ls", "attach", "portforward"] {
        let response = world.send(get(&format!("{POD}/{stream}"))).await;
        assert_eq!(
            message(response).await,
            (400, "Upgrade request required".to_owned()),
            "{stream}"
        );
    }
}

#[tokio::test]
async fn log_is_streamed_as_it_is_written() {
    let world = World::new((200, "")).await;
    let (lines, receiver) = mpsc::channel(1);
    *world.kubelet.log.lock().unwrap() = Some(receiver);
    lines.send("first\n".into()).await.unwrap();
    let response = world.send(get(&format!("{POD}/log?follow=true&tailLines=5"))).await;
    assert_eq!(response.headers()["content-type"], "text/plain");
    let mut body = http_body_util::BodyDataStream::new(response.into_body());
    assert_eq!(body.next().await.unwrap().unwrap(), "first\n");
    lines.send("second\n".into()).await.unwrap();
    assert_eq!(body.next().await.unwrap().unwrap(), "second\n");
    drop(lines);
    assert!(body.next().await.is_none());
    assert_eq!(
        world.kubelet.asked().0,
        "/containerLogs/default/web/app?follow=true&tailLines=5&stream=All"
    );
}

#[tokio::test]
async fn log_errors_of_the_kubelet_become_statuses() {
    let waiting = "container \"app\" in pod \"web\" is waiting to start: ContainerCreating";
    for (code, told, expected) in [
        (400, waiting, waiting.to_owned()),
        (500, "boom", "Internal error occurred: boom".to_owned()),
        (
            404,
            "gone",
            "the server could not find the requested resource ( pods/log web)".to_owned(),
        ),
        (
            503,
            "busy",
            "the server is currently unable to handle the request ( pods/log web)".to_owned(),
        ),
    ] {
        let world = World::new((code, told)).await;
        let response = world.send(get(&format!("{POD}/log"))).await;
        assert_eq!(message(response).await, (code, expected));
    }
}

async fn front_of(pod: Pod, node: Option<Node>) -> (Ca, Running) {
    let ca = Ca::new();
    let front = start(&ca, Front { proxy: proxy(&ca), cluster: Cluster { pod, node } }).await;
    (ca, front)
}

#[tokio::test]
async fn kubelet_unreachable_is_said_in_kubernetes_words() {
    // A port that was free a moment ago and that nobody listens on.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (ca, front) = front_of(pod(&["app"], Some("n1")), Some(node("127.0.0.1", port))).await;
    let ask = async |request| {
        message(send(connect(&ca, front.address, None, &[]).await, request).await).await
    };
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    let log = ask(get(&format!("{POD}/log"))).await;
    let url = format!("https://127.0.0.1:{port}/containerLogs/default/web/app?stream=All");
    assert_eq!(log, (500, format!("Get \"{url}\": {refused}")));
    let exec = ask(upgrade(&format!("{POD}/exec?command=ls"), "websocket")).await;
    assert_eq!(exec, (500, format!("error dialing backend: {refused}")));
}

#[tokio::test]
async fn kubelet_with_a_foreign_certificate_is_not_trusted() {
    let foreign = Ca::new();
    let kubelet = start(&foreign, Kubelet(FakeKubelet::new((200, "secret")))).await;
    let (ca, front) =
        front_of(pod(&["app"], Some("n1")), Some(node("127.0.0.1", kubelet.address.port()))).await;
    let response =
        send(connect(&ca, front.address, None, &[]).await, get(&format!("{POD}/log"))).await;
    let (code, message) = message(response).await;
    assert!(code == 500 && message.contains("tls: invalid peer certificate"), "{message}");
}

#[tokio::test]
async fn pod_without_node_has_an_empty_log_and_no_streams() {
    let (ca, front) = front_of(pod(&["app"], None), None).await;
    let log = send(connect(&ca, front.address, None, &[]).await, get(&format!("{POD}/log"))).await;
    assert_eq!((log.status().as_u16(), text(log).await), (200, String::new()));
    let exec = upgrade(&format!("{POD}/exec?command=ls"), "websocket");
    let exec = message(send(connect(&ca, front.address, None, &[]).await, exec).await).await;
    assert_eq!(exec, (400, "pod web does not have a host assigned".to_owned()));
}

#[tokio::test]
async fn pod_on_a_vanished_node_says_which_node() {
    let (ca, front) = front_of(pod(&["app"], Some("n1")), None).await;
    let response =
        send(connect(&ca, front.address, None, &[]).await, get(&format!("{POD}/log"))).await;
    assert_eq!(message(response).await, (404, "nodes \"n1\" not found".to_owned()));
}

#[tokio::test]
async fn node_proxy_passes_path_query_and_answer() {
    let world = World::new((418, "short and stout")).await;
    let mut request = get("/api/v1/nodes/n1/proxy/stats/summary?only=cpu");
    request.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer secret"));
    let response = world.send(request).await;
    assert_eq!(
        (response.status().as_u16(), text(response).await),
        (418, "short and stout".to_owned())
    );
    let (uri, headers) = world.kubelet.asked();
    assert_eq!(uri, "/stats/summary?only=cpu");
    assert!(!headers.contains_key("authorization"));
}

#[tokio::test]
async fn proxies_to_pods_and_services_are_refused() {
    let world = World::new((200, "")).await;
    let response = world.send(get(&format!("{POD}/proxy/x"))).await;
    let expected = "get is not supported on resources of kind \"pods/proxy\"".to_owned();
    assert_eq!(message(response).await, (405, expected));
}

#[test]
fn shutdown_of_a_request_without_one_never_comes() {
    let (mut parts, ()) = Request::new(()).into_parts();
    assert!(!shutdown(&parts).is_cancelled());
    let token = tokio_util::sync::CancellationToken::new();
    parts.extensions.insert(Shutdown(token.clone()));
    token.cancel();
    assert!(shutdown(&parts).is_cancelled());
}
