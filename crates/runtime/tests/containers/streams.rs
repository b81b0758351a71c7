//! Exec, attach and port-forward over the streaming socket.

use crate::harness::*;
use k8s_cri::v1::*;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A peer of `knarr-stream/1`.
struct Peer {
    stream: UnixStream,
}

impl Peer {
    /// Opens `url`; answers the HTTP status line if it is not 101.
    async fn open(url: &str, suffix: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("unix://").expect("a unix URL");
        let at = rest.find(".sock/").expect("a socket") + 5;
        let mut stream = UnixStream::connect(&rest[..at]).await.expect("the socket answers");
        let head = format!(
            "GET {}{suffix} HTTP/1.1\r\nHost: knarr\r\nConnection: Upgrade\r\nUpgrade: knarr-stream/1\r\n\r\n",
            &rest[at..]
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if answer.starts_with("HTTP/1.1 101") {
            Ok(Self { stream })
        } else {
            Err(answer.lines().next().unwrap_or_default().to_owned())
        }
    }

    async fn send(&mut self, channel: u8, payload: &[u8]) {
        send(&mut self.stream, channel, payload).await;
    }

    async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        receive(&mut self.stream).await
    }

    /// Reads until `text` has come on `channel`.
    async fn expect(&mut self, channel: u8, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let (from, payload) = tokio::time::timeout(PATIENCE, self.receive())
                .await
                .expect("in time")
                .unwrap_or_else(|| panic!("{text:?} in {seen:?}"));
            if from == channel {
                seen += &String::from_utf8_lossy(&payload);
            }
        }
        seen
    }

    /// Reads to the end; answers what came on each channel.
    async fn rest(mut self) -> BTreeMap<u8, Vec<u8>> {
        let mut all: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        while let Some((channel, payload)) =
            tokio::time::timeout(PATIENCE, self.receive()).await.expect("in time")
        {
            all.entry(channel).or_default().extend(payload);
        }
        all
    }
}

async fn send(stream: &mut (impl tokio::io::AsyncWrite + Unpin), channel: u8, payload: &[u8]) {
    let mut frame = vec![channel];
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    stream.write_all(&frame).await.expect("sent");
}

async fn receive(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let channel = stream.read_u8().await.ok()?;
    let mut payload = vec![0; stream.read_u32().await.ok()? as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((channel, payload))
}

fn status(all: &BTreeMap<u8, Vec<u8>>) -> serde_json::Value {
    serde_json::from_slice(&all[&3]).expect("a status")
}

async fn exec_url(node: &mut Node, id: &str, command: &[&str], stdin: bool, tty: bool) -> String {
    let cmd = command.iter().map(|s| (*s).to_owned()).collect();
    let request =
        ExecRequest { container_id: id.into(), cmd, tty, stdin, stdout: true, stderr: !tty };
    node.client.exec(request).await.expect("a url").into_inner().url
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_01_sync_gives_output_and_exit_code() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("sync").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    let output = node.exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 6"]).await;
    assert_eq!(
        (&output.stdout[..], &output.stderr[..], output.exit_code),
        (&b"out\n"[..], &b"err\n"[..], 6)
    );
    let error = node.try_exec(&id, &["nope"], 5).await.expect_err("no such program");
    assert!(error.message().contains("executable file not found in $PATH"), "{error}");
    let error = node.try_exec(&id, &["sleep", "100"], 1).await.expect_err("too slow");
    assert_eq!(error.code(), tonic::Code::DeadlineExceeded);
    let output = node.exec(&id, &["sh", "-c", "head -c 20000000 /dev/zero"]).await;
    assert_eq!((output.stdout.len(), output.exit_code), ((16 << 20) - (64 << 10), 0));
    // A grandchild that keeps the pipe does not keep the answer.
    let output = node.exec(&id, &["sh", "-c", "sleep 500 & echo done"]).await;
    assert_eq!(output.stdout, b"done\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_02_stream_carries_megabytes_both_ways_and_half_closes() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("stream").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    let url =
        exec_url(&mut node, &id, &["sh", "-c", "cat; echo bye >&2; exit 3"], true, false).await;
    let (reader, mut writer) = Peer::open(&url, "").await.expect("upgraded").stream.into_split();
    let data: Vec<u8> = (0..5_000_000u32).map(|n| n as u8).collect();
    let sent = data.clone();
    let sending = tokio::spawn(async move {
        for chunk in sent.chunks(30_000) {
            send(&mut writer, 0, chunk).await;
        }
        send(&mut writer, 0, &[]).await;
        writer
    });
    let mut reader = reader;
    let mut all: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    while let Some((channel, payload)) =
        tokio::time::timeout(PATIENCE, receive(&mut reader)).await.expect("in time")
    {
        all.entry(channel).or_default().extend(payload);
    }
    drop(sending.await.expect("sent"));
    assert!(all[&1] == data, "{} bytes came back", all[&1].len());
    assert_eq!(all[&2], b"bye\n");
    let status = status(&all);
    assert_eq!(
        (status["status"].as_str(), status["reason"].as_str()),
        (Some("Failure"), Some("NonZeroExitCode"))
    );
    assert_eq!(status["details"]["causes"][0]["message"], "3");
    assert_eq!(Peer::open(&url, "").await.err().as_deref(), Some("HTTP/1.1 404 Not Found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_03_terminal_has_a_size_that_changes() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("tty").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    let url = exec_url(&mut node, &id, &["sh"], true, true).await;
    let mut peer = Peer::open(&url, "").await.expect("upgraded");
    peer.send(4, br#"{"Width":91,"Height":37}"#).await;
    peer.send(0, b"stty size; tty; echo term $TERM\n").await;
    let seen = peer.expect(1, "term xterm\r\n").await;
    assert!(seen.contains("37 91\r\n") && seen.contains("/dev/pts/0\r\n"), "{seen}");
    peer.send(0, b"exit 4\n").await;
    assert_eq!(status(&peer.rest().await)["details"]["causes"][0]["message"], "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_04_peer_that_goes_away_takes_its_process_along() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("gone").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    let url =
        exec_url(&mut node, &id, &["sh", "-c", "echo up; exec sleep 7777"], true, false).await;
    let mut peer = Peer::open(&url, "").await.expect("upgraded");
    peer.expect(1, "up\n").await;
    drop(peer);
    let wait = "while ps -o args | grep -q '^sleep 777[7]'; do sleep 0.05; done";
    assert_eq!(node.exec(&id, &["sh", "-c", wait]).await.exit_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_sees_output_and_gives_input() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("attach").await;
    let config = ContainerConfig {
        stdin: true,
        stdin_once: true,
        ..shell("c", "while read line; do echo got $line; done; echo end; exit 2")
    };
    let id = node.run(&sandbox, config).await;
    let request = AttachRequest {
        container_id: id.clone(),
        stdin: true,
        tty: false,
        stdout: true,
        stderr: true,
    };
    let url = node.client.attach(request).await.expect("a url").into_inner().url;
    let mut peer = Peer::open(&url, "").await.expect("upgraded");
    peer.send(0, b"one\n").await;
    peer.expect(1, "got one\n").await;
    // stdinOnce: the first client that has no more to say closes stdin for good, and still sees the rest.
    peer.send(0, &[]).await;
    peer.expect(1, "end\n").await;
    let status = node.wait_exit(&id).await;
    assert_eq!(status.exit_code, 2);
    assert_eq!(node.log_text(&status), "got one\nend\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_that_stops_writing_still_hears_the_rest() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("half").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    let url =
        exec_url(&mut node, &id, &["sh", "-c", "cat; sleep 0.3; echo late; exit 7"], true, false)
            .await;
    let (mut reader, mut writer) =
        Peer::open(&url, "").await.expect("upgraded").stream.into_split();
    send(&mut writer, 0, b"early\n").await;
    // Dropping this half shuts the connection down in one direction only.
    drop(writer);
    let mut all: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    while let Some((channel, payload)) =
        tokio::time::timeout(PATIENCE, receive(&mut reader)).await.expect("in time")
    {
        all.entry(channel).or_default().extend(payload);
    }
    assert_eq!(all[&1], b"early\nlate\n");
    assert_eq!(status(&all)["details"]["causes"][0]["message"], "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_to_a_terminal_container_works_both_ways() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("attachtty").await;
    let config = ContainerConfig { stdin: true, tty: true, ..container("c", &["sh"]) };
    let id = node.run(&sandbox, config).await;
    let request = AttachRequest {
        container_id: id.clone(),
        stdin: true,
        tty: true,
        stdout: true,
        stderr: false,
    };
    let url = node.client.attach(request).await.expect("a url").into_inner().url;
    let mut peer = Peer::open(&url, "").await.expect("upgraded");
    peer.send(4, br#"{"Width":50,"Height":20}"#).await;
    peer.send(0, b"stty size; tty; ls -l /dev/console | cut -c1\n").await;
    let seen = peer.expect(1, "\r\nc\r\n").await;
    assert!(seen.contains("20 50\r\n") && seen.contains("/dev/pts/0\r\n"), "{seen}");
    peer.send(0, b"exit 0\n").await;
    assert_eq!(status(&peer.rest().await)["status"], "Success");
    assert_eq!(node.wait_exit(&id).await.exit_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn port_forward_reaches_the_pods_loopback() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("forward").await;
    let id = node.run(&sandbox, shell("c", "nc -ll -p 8080 -e cat")).await;
    let ready = "until grep -q :1F90 /proc/net/tcp /proc/net/tcp6; do sleep 0.02; done";
    assert_eq!(node.exec(&id, &["sh", "-c", ready]).await.exit_code, 0);
    let request = PortForwardRequest { pod_sandbox_id: sandbox.clone(), port: vec![8080] };
    let url = node.client.port_forward(request).await.expect("a url").into_inner().url;
    for suffix in ["", "?port=8080"] {
        let mut peer = Peer::open(&url, suffix).await.expect("upgraded");
        peer.send(0, b"hello").await;
        peer.expect(1, "hello").await;
        peer.send(0, &[]).await;
        assert_eq!(status(&peer.rest().await)["status"], "Success");
    }
    let all = Peer::open(&url, "?port=9").await.expect("upgraded").rest().await;
    assert_eq!(status(&all)["status"], "Failure");
    let request = PortForwardRequest { pod_sandbox_id: sandbox, port: vec![7] };
    let url = node.client.port_forward(request).await.expect("a url").into_inner().url;
    let all = Peer::open(&url, "").await.expect("upgraded").rest().await;
    assert!(
        status(&all)["message"].as_str().is_some_and(|m| m.contains("port 7")),
        "{:?}",
        status(&all)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_open_nothing() {
    let node = Node::start().await;
    let socket = node.directory.path().join("state/streaming.sock");
    let url = format!("unix://{}/exec/{}", socket.display(), "0".repeat(64));
    assert_eq!(Peer::open(&url, "").await.err().as_deref(), Some("HTTP/1.1 404 Not Found"));
}

/// Opens `url` and reads to the final status.
pub async fn final_status(url: &str) -> serde_json::Value {
    status(&Peer::open(url, "").await.expect("upgraded").rest().await)
}
