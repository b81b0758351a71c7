//! The kubelet's HTTPS server: logs, interactive sessions, pods, health, metrics.
//!
//! Counterpart in Kubernetes: `pkg/kubelet/server`. Invariants: nobody is answered without a certificate of the client authority
//! and the group `system:masters`; connections are bounded; sessions end with the server.

pub mod auth;
pub mod container_logs;
pub mod reports;
pub mod route;
pub mod sessions;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, broadcast};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cri::Cri;
use crate::logs::watch::DirectoryWatcher;
use crate::pod_workers::PodTable;
use auth::Caller;
use route::Route;

/// Connections at once. Only the API server and administrators call, a few per session.
const MAX_CONNECTIONS: usize = 1024;
/// A client that has not finished its TLS handshake by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that has not sent a request's head by then is dropped.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What is sent back.
pub type Body = BoxBody<Bytes, Infallible>;

/// Everything answers are made of.
pub struct Server {
    /// The pods of this node.
    pub pods: PodTable,
    /// The runtime.
    pub cri: Cri,
    /// Tells of new lines.
    pub watcher: DirectoryWatcher,
    /// Ids of containers that changed.
    pub containers: broadcast::Sender<String>,
    /// The node's name.
    pub node_name: String,
    /// Ends sessions.
    pub shutdown: CancellationToken,
    /// Sessions under way.
    pub sessions: TaskTracker,
}

/// An answer of plain text.
pub fn text(status: StatusCode, body: impl Into<String>) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", body.into())
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

impl Server {
    /// Serves until the shutdown, then waits for connections to end, which they do at once.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
        let acceptor = TlsAcceptor::from(tls);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let connections = TaskTracker::new();
        while let Some(Ok(permit)) =
            self.shutdown.run_until_cancelled(permits.clone().acquire_owned()).await
        {
            match self.shutdown.run_until_cancelled(listener.accept()).await {
                None => break,
                Some(Ok((stream, peer))) => {
                    let (server, acceptor) = (self.clone(), acceptor.clone());
                    connections.spawn(async move {
                        let _permit = permit;
                        let connection = server.connection(acceptor, stream);
                        if let Some(Err(error)) =
                            server.shutdown.run_until_cancelled(connection).await
                        {
                            tracing::debug!(%peer, %error, "connection ended");
                        }
                    });
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    self.shutdown.run_until_cancelled(tokio::time::sleep(ACCEPT_RETRY)).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
        self.sessions.close();
        self.sessions.wait().await;
    }

    async fn connection(
        &self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        stream.set_nodelay(true)?;
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
        let caller = auth::caller(stream.get_ref().1.peer_certificates().unwrap_or_default());
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            let caller = caller.clone();
            async move { Ok::<_, Infallible>(self.answer(&caller, request).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        http.serve_connection(TokioIo::new(stream), service).with_upgrades().await?;
        Ok(())
    }

    async fn answer(&self, caller: &Caller, request: Request<Incoming>) -> Response<Body> {
        if let Some(refusal) = refusal(caller, request.method(), request.uri().path()) {
            return refusal;
        }
        let Some(route) = Route::parse(request.uri().path()) else {
            return text(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        if !route.allows(request.method()) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed");
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        match route {
            Route::Healthz => text(StatusCode::OK, "ok"),
            Route::Pods => with_type(StatusCode::OK, "application/json", reports::pods(&self.pods)),
            Route::Metrics => with_type(
                StatusCode::OK,
                "text/plain; version=0.0.4",
                reports::metrics(&self.node_name, &self.pods),
            ),
            Route::ContainerLogs(target) => self.container_logs(&target, &query).await,
            Route::Run(target) => self.run(&target, &query).await,
            Route::Exec(target) => self.exec(&target, &query, request).await,
            Route::Attach(target) => self.attach(&target, &query, request).await,
            Route::PortForward(target) => self.port_forward(&target, request).await,
        }
    }
}

fn refusal(caller: &Caller, method: &Method, path: &str) -> Option<Response<Body>> {
    match caller {
        Caller::Unknown => Some(text(StatusCode::UNAUTHORIZED, "Unauthorized")),
        Caller::Known { groups, .. }
            if groups.iter().any(|group| group == auth::ADMITTED_GROUP) =>
        {
            None
        }
        Caller::Known { name, .. } => {
            let verb = if method == Method::GET { "get" } else { "create" };
            let message =
                format!("Forbidden (user={name}, verb={verb}, resource=nodes, path={path})");
            Some(text(StatusCode::FORBIDDEN, message))
        }
    }
}
