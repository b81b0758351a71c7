//! Sessions with the real `kubectl`, through the API server: SPDY with old versions, WebSockets with new ones.
//!
//! Not run by default, because `kubectl` must be there; `KUBECTL` names another one.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::cluster::Cluster;
use crate::phase;

/// More than all buffers on the way hold together.
const MUCH: usize = 8 << 20;

async fn running_pod() -> (Cluster, Vec<String>) {
    let cluster = Cluster::start().await;
    cluster
        .create_pod(
            "web",
            json!({"spec": {"containers": [{"name": "app", "image": "app:1", "stdin": true}]}}),
        )
        .await;
    cluster.expect_pod("web", "it runs", |pod| phase(pod) == Some("Running")).await;
    let arguments = cluster.serve_https().await;
    (cluster, arguments)
}

fn kubectl(arguments: &[String], command: &[&str]) -> Child {
    let program = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".into());
    let mut process = Command::new(program);
    process.args(arguments).args(command).stdin(Stdio::piped()).stdout(Stdio::piped());
    process.kill_on_drop(true).spawn().expect("kubectl starts")
}

/// Sends much to a session that gives back what it gets.
async fn echo(mut session: Child) {
    let sent: Vec<u8> = (0..MUCH).map(|n| u8::try_from(n % 251).expect("small")).collect();
    let (mut stdin, mut stdout) =
        (session.stdin.take().expect("piped"), session.stdout.take().expect("piped"));
    let copy = sent.clone();
    let sender = tokio::spawn(async move { stdin.write_all(&copy).await });
    let mut received = Vec::new();
    stdout.read_to_end(&mut received).await.expect("read");
    sender.await.expect("no panic").expect("sent");
    assert_eq!(received.len(), sent.len());
    assert!(received == sent, "what came back is what was sent");
    assert!(session.wait().await.expect("it ends").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_carries_megabytes_both_ways() {
    let (_cluster, arguments) = running_pod().await;
    echo(kubectl(&arguments, &["exec", "-i", "web", "--", "cat"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attach_carries_megabytes_both_ways() {
    let (_cluster, arguments) = running_pod().await;
    echo(kubectl(&arguments, &["attach", "-q", "-i", "web"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_forward_carries_megabytes_over_several_connections() {
    let (_cluster, arguments) = running_pod().await;
    let mut session = kubectl(&arguments, &["port-forward", "web", ":80"]);
    let mut lines = BufReader::new(session.stdout.take().expect("piped")).lines();
    let line = lines.next_line().await.expect("read").expect("a line");
    let port: u16 = line
        .split(':')
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .expect("a port");
    for _ in 0..3 {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let (mut reader, mut writer) = stream.into_split();
        let sender = tokio::spawn(async move {
            writer.write_all(&vec![7; MUCH]).await.expect("sent");
            writer.shutdown().await.expect("closed");
        });
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await.expect("read");
        sender.await.expect("no panic");
        assert_eq!(received.len(), MUCH);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_followed_through_the_api_server() {
    let (cluster, arguments) = running_pod().await;
    cluster.runtime.print("app", "one");
    let mut session = kubectl(&arguments, &["logs", "-f", "web"]);
    let mut lines = BufReader::new(session.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next_line().await.expect("read").as_deref(), Some("one"));
    cluster.runtime.print("app", "two");
    assert_eq!(lines.next_line().await.expect("read").as_deref(), Some("two"));
    cluster.runtime.exit("app", 0);
    assert_eq!(lines.next_line().await.expect("read"), None);
    assert!(session.wait().await.expect("it ends").success());
}
