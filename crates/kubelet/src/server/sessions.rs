//! `/exec`, `/attach`, `/portForward` and `/run`.
//!
//! Counterpart in Kubernetes: `getExec`, `getAttach`, `getPortForward` and `getRun`. Invariants: the runtime has agreed to a session
//! before the client's connection is upgraded, so that refusals are plain answers; a session ends with the server.

use std::io;
use std::sync::Arc;

use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_cri::v1 as cri;
use k8s_openapi::api::core::v1::Pod;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::route::{Query, Target};
use super::{Body, Server, text};
use crate::cri::Cri;
use crate::names;
use crate::pod_worker::WorkerHandle;
use crate::runtime_status::ContainerState;
use crate::streaming::port_forward::{self, Forwarder};
use crate::streaming::remote_command::{self, ClientSession, Streams, WithoutStatus};
use crate::streaming::runtime_stream::{self, RuntimeStream};
use crate::streaming::websocket::{self, Subprotocol};
use crate::streaming::{spdy, tunnel};

/// The header in which SPDY clients and servers agree on a protocol.
const STREAM_PROTOCOL: &str = "x-stream-protocol-version";
/// How long `/run` may take.
const RUN_TIMEOUT_SECONDS: i64 = 120;

/// Whether the pod has a container of this name.
pub(super) fn has_container(pod: &Pod, name: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let init = spec.init_containers.iter().flatten().map(|container| &container.name);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &container.name);
    init.chain(spec.containers.iter().map(|container| &container.name))
        .chain(ephemeral)
        .any(|known| known == name)
}

/// A refusal: status and text.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(StatusCode, String);

impl From<Refusal> for Response<Body> {
    fn from(refusal: Refusal) -> Self {
        text(refusal.0, refusal.1)
    }
}

fn failed(error: impl ToString) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// How the client wants its connection upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upgrade {
    WebSocket(Subprotocol),
    /// `None`: the client named no protocol.
    Spdy(Option<&'static str>),
    /// Only for port-forward: SPDY inside a WebSocket.
    Tunnel,
}

/// Every value of a header that may come in several lines or with commas.
fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
        .collect()
}

fn wants(headers: &HeaderMap, protocol: &str) -> bool {
    list(headers, "upgrade").iter().any(|value| value.eq_ignore_ascii_case(protocol))
}

fn not_negotiated(offered: &[String], known: &[&str]) -> Refusal {
    let message = format!(
        "unable to negotiate protocol: client supports [{}], server accepts [{}]",
        offered.join(" "),
        known.join(" ")
    );
    Refusal(StatusCode::FORBIDDEN, message)
}

fn upgrade_required() -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, "Upgrade request required".into())
}

fn remote_command_upgrade(headers: &HeaderMap) -> Result<Upgrade, Refusal> {
    if wants(headers, "websocket") {
        let offered = list(headers, "sec-websocket-protocol");
        let known: Vec<_> = websocket::SUBPROTOCOLS.iter().map(|protocol| protocol.name).collect();
        return websocket::negotiate(&offered)
            .map(Upgrade::WebSocket)
            .ok_or_else(|| not_negotiated(&offered, &known));
    }
    if !wants(headers, spdy::PROTOCOL) {
        return Err(upgrade_required());
    }
    let offered = list(headers, STREAM_PROTOCOL);
    if offered.is_empty() {
        return Ok(Upgrade::Spdy(None));
    }
    let known = || not_negotiated(&offered, &remote_command::SPDY_PROTOCOLS);
    remote_command::negotiate_spdy(&offered)
        .map(|protocol| Upgrade::Spdy(Some(protocol)))
        .ok_or_else(known)
}

fn port_forward_upgrade(headers: &HeaderMap) -> Result<Upgrade, Refusal> {
    if wants(headers, "websocket") {
        let offered = list(headers, "sec-websocket-protocol");
        return tunnel::negotiate(&offered)
            .map(|_| Upgrade::Tunnel)
            .ok_or_else(|| not_negotiated(&offered, &[tunnel::SUBPROTOCOL]));
    }
    if !wants(headers, spdy::PROTOCOL) {
        return Err(upgrade_required());
    }
    let offered = list(headers, STREAM_PROTOCOL);
    match offered.iter().any(|name| name == port_forward::PROTOCOL) {
        true => Ok(Upgrade::Spdy(Some(port_forward::PROTOCOL))),
        false if offered.is_empty() => Ok(Upgrade::Spdy(None)),
        false => Err(not_negotiated(&offered, &[port_forward::PROTOCOL])),
    }
}

/// The answer that ends HTTP on the connection.
fn switching(headers: &HeaderMap, upgrade: Upgrade) -> Result<Response<Body>, Refusal> {
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade");
    let protocol = match upgrade {
        Upgrade::Spdy(protocol) => {
            response = response.header(header::UPGRADE, spdy::PROTOCOL);
            protocol.map(|protocol| (STREAM_PROTOCOL, protocol))
        }
        Upgrade::WebSocket(_) | Upgrade::Tunnel => {
            let missing = || {
                Refusal(
                    StatusCode::BAD_REQUEST,
                    "challenge/response error: no Sec-WebSocket-Key".into(),
                )
            };
            let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(missing)?;
            response = response.header(header::UPGRADE, "websocket");
            response =
                response.header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
            let name = if let Upgrade::WebSocket(protocol) = upgrade {
                protocol.name
            } else {
                tunnel::SUBPROTOCOL
            };
            Some(("sec-websocket-protocol", name)).filter(|(_, name)| !name.is_empty())
        }
    };
    if let Some((name, value)) = protocol {
        response = response.header(name, value);
    }
    response.body(Empty::new().boxed()).map_err(failed)
}

/// The streams a client asks for.
fn streams(query: &Query) -> Result<Streams, Refusal> {
    let tty = query.flag("tty");
    let wanted = Streams {
        stdin: query.flag("input"),
        stdout: query.flag("output"),
        // A terminal has one output.
        stderr: query.flag("error") && !tty,
        tty,
    };
    if wanted.stdin || wanted.stdout || wanted.stderr {
        return Ok(wanted);
    }
    Err(Refusal(
        StatusCode::BAD_REQUEST,
        "you must specify at least 1 of stdin, stdout, stderr".into(),
    ))
}

/// The id of the attempt of a container that runs.
async fn running_container(cri: &Cri, pod: &Pod, container: &str) -> Result<String, Refusal> {
    let runtime = cri.pod_status(names::uid(pod)).await.map_err(failed)?;
    let running =
        runtime.latest(container).filter(|record| record.state == ContainerState::Running);
    running
        .map(|record| record.id.clone())
        .ok_or_else(|| failed(format!("container not found (\"{container}\")")))
}

impl Server {
    fn pod(&self, target: &Target) -> Result<Arc<WorkerHandle>, Refusal> {
        let found = self.pods.find(&target.ns, &target.pod, target.uid.as_deref());
        found.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "pod does not exist".into()))
    }

    pub(super) async fn exec(
        &self,
        target: &Target,
        query: &str,
        request: Request<Incoming>,
    ) -> Response<Body> {
        self.try_exec(target, &Query::parse(query), request).await.unwrap_or_else(Response::from)
    }

    async fn try_exec(
        &self,
        target: &Target,
        query: &Query,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let streams = streams(query)?;
        let upgrade = remote_command_upgrade(request.headers())?;
        let container_id =
            running_container(&self.cri, &self.pod(target)?.pod(), &target.container).await?;
        let wanted = cri::ExecRequest {
            container_id,
            cmd: query.all("command"),
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
        };
        let url = self.cri.exec(wanted).await.map_err(failed)?;
        self.remote_command(request, upgrade, streams, &url, WithoutStatus::IsFailure).await
    }

    pub(super) async fn attach(
        &self,
        target: &Target,
        query: &str,
        request: Request<Incoming>,
    ) -> Response<Body> {
        self.try_attach(target, &Query::parse(query), request).await.unwrap_or_else(Response::from)
    }

    async fn try_attach(
        &self,
        target: &Target,
        query: &Query,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let streams = streams(query)?;
        let upgrade = remote_command_upgrade(request.headers())?;
        let container_id =
            running_container(&self.cri, &self.pod(target)?.pod(), &target.container).await?;
        let wanted = cri::AttachRequest {
            container_id,
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
        };
        let url = self.cri.attach(wanted).await.map_err(failed)?;
        self.remote_command(request, upgrade, streams, &url, WithoutStatus::IsSuccess).await
    }

    async fn remote_command(
        &self,
        request: Request<Incoming>,
        upgrade: Upgrade,
        streams: Streams,
        url: &str,
        without_status: WithoutStatus,
    ) -> Result<Response<Body>, Refusal> {
        let answer = switching(request.headers(), upgrade)?;
        let runtime = runtime_stream::connect(url).await.map_err(failed)?;
        self.spawn_session(async move {
            let io = TokioIo::new(hyper::upgrade::on(request).await.map_err(io::Error::other)?);
            let client: ClientSession = match upgrade {
                Upgrade::WebSocket(protocol) => websocket::session(io, protocol, streams).await?,
                Upgrade::Spdy(protocol) => {
                    let oldest =
                        remote_command::SPDY_PROTOCOLS[remote_command::SPDY_PROTOCOLS.len() - 1];
                    remote_command::spdy_session(io, protocol.unwrap_or(oldest), streams).await?
                }
                Upgrade::Tunnel => return Err(io::ErrorKind::Unsupported.into()),
            };
            remote_command::run(client, runtime, without_status).await;
            Ok(())
        });
        Ok(answer)
    }

    fn spawn_session(&self, session: impl Future<Output = io::Result<()>> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.sessions.spawn(async move {
            if let Some(Err(error)) = shutdown.run_until_cancelled(session).await {
                tracing::debug!(%error, "a session breaks off");
            }
        });
    }

    pub(super) async fn port_forward(
        &self,
        target: &Target,
        request: Request<Incoming>,
    ) -> Response<Body> {
        self.try_port_forward(target, request).await.unwrap_or_else(Response::from)
    }

    async fn try_port_forward(
        &self,
        target: &Target,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let upgrade = port_forward_upgrade(request.headers())?;
        let pod = self.pod(target)?.pod();
        let runtime = self.cri.pod_status(names::uid(&pod)).await.map_err(failed)?;
        let Some(sandbox) = runtime.sandbox().filter(|sandbox| sandbox.ready) else {
            return Err(failed(format!(
                "unable to do port forwarding: pod {} is not running",
                target.pod
            )));
        };
        let forwarder = Arc::new(PodForwarder {
            cri: self.cri.clone(),
            sandbox: sandbox.id.clone(),
            pod: names::display(&pod),
        });
        let answer = switching(request.headers(), upgrade)?;
        self.spawn_session(async move {
            let io = TokioIo::new(hyper::upgrade::on(request).await.map_err(io::Error::other)?);
            match upgrade {
                Upgrade::Tunnel => port_forward::serve(tunnel::open(io).await, forwarder).await,
                Upgrade::Spdy(_) | Upgrade::WebSocket(_) => {
                    port_forward::serve(io, forwarder).await
                }
            }
            Ok(())
        });
        Ok(answer)
    }

    /// Runs a command and answers its output.
    pub(super) async fn run(&self, target: &Target, query: &str) -> Response<Body> {
        self.try_run(target, &Query::parse(query)).await.unwrap_or_else(Response::from)
    }

    async fn try_run(&self, target: &Target, query: &Query) -> Result<Response<Body>, Refusal> {
        let id = running_container(&self.cri, &self.pod(target)?.pod(), &target.container).await?;
        let command =
            query.first("cmd").unwrap_or_default().split(' ').map(str::to_owned).collect();
        let done = self.cri.exec_sync(&id, command, RUN_TIMEOUT_SECONDS).await.map_err(failed)?;
        let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        match done.exit_code {
            0 => Ok(text(StatusCode::OK, output)),
            code => Err(failed(format!("command terminated with exit code {code}: {output}"))),
        }
    }
}

/// Reaches one pod's ports through the runtime.
struct PodForwarder {
    cri: Cri,
    sandbox: String,
    pod: String,
}

#[async_trait::async_trait]
impl Forwarder for PodForwarder {
    async fn open(&self, port: u16) -> io::Result<RuntimeStream> {
        let url = self.cri.port_forward(&self.sandbox, port).await.map_err(io::Error::other)?;
        runtime_stream::connect(&url).await
    }

    fn pod(&self) -> String {
        self.pod.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn exec_clients_agree_on_a_protocol() {
        let websocket = headers(&[
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", "v9, v5.channel.k8s.io"),
        ]);
        assert!(
            matches!(remote_command_upgrade(&websocket), Ok(Upgrade::WebSocket(it)) if it.name == "v5.channel.k8s.io")
        );
        let spdy = headers(&[("upgrade", "SPDY/3.1"), (STREAM_PROTOCOL, "v4.channel.k8s.io")]);
        assert_eq!(remote_command_upgrade(&spdy), Ok(Upgrade::Spdy(Some("v4.channel.k8s.io"))));
        assert_eq!(
            remote_command_upgrade(&headers(&[("upgrade", "SPDY/3.1")])),
            Ok(Upgrade::Spdy(None))
        );
        assert_eq!(remote_command_upgrade(&headers(&[])), Err(upgrade_required()));
        let unknown = headers(&[("upgrade", "SPDY/3.1"), (STREAM_PROTOCOL, "v9")]);
        let refusal = remote_command_upgrade(&unknown).expect_err("unknown");
        assert_eq!(refusal.0, StatusCode::FORBIDDEN);
    }

    #[test]
    fn exec_13_port_forward_is_spdy_or_a_tunnel() {
        let tunnelled = headers(&[
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io"),
        ]);
        assert_eq!(port_forward_upgrade(&tunnelled), Ok(Upgrade::Tunnel));
        let spdy = headers(&[("upgrade", "SPDY/3.1"), (STREAM_PROTOCOL, "portforward.k8s.io")]);
        assert_eq!(port_forward_upgrade(&spdy), Ok(Upgrade::Spdy(Some("portforward.k8s.io"))));
    }

    #[test]
    fn streams_need_one_direction_and_a_terminal_has_one_output() {
        assert!(streams(&Query::parse("tty=1")).is_err());
        let wanted = streams(&Query::parse("input=1&output=1&error=1&tty=1")).expect("streams");
        assert_eq!(wanted, Streams { stdin: true, stdout: true, stderr: false, tty: true });
    }

    #[test]
    fn websocket_answer_carries_the_accepted_key() {
        let sample = headers(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
        let answer = switching(&sample, Upgrade::Tunnel).expect("an answer");
        assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer.headers()["sec-websocket-protocol"], "SPDY/3.1+portforward.k8s.io");
        assert!(switching(&HeaderMap::new(), Upgrade::Tunnel).is_err());
    }
}
