//! The network side of the API server: TLS, HTTP/1.1 and HTTP/2, connection upgrades, graceful stop.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/server/secure_serving.go`. Invariants: nothing is served without
//! TLS; every request carries its connection's client certificates as [`PeerCertificates`] (checked later, by the
//! authenticator) and its [`Shutdown`]; connections, handshakes and header reads are bounded.

mod tls;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ApiServer;
use crate::Body;
use crate::authn::PeerCertificates;

pub use tls::{TlsError, client_config, read_certificates, read_key, root_store, server_config};

/// Connections served at once; more wait in the kernel's backlog. Each costs about 50 KiB, so this caps the memory
/// of idle connections near 200 MB, and is twice what a thousand nodes with their watches need.
pub const MAX_CONNECTIONS: usize = 4096;
/// A client that has not finished its TLS handshake by then is dropped.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that has not sent a request's header by then is dropped. On HTTP/1.1 the time between two requests of a
/// connection counts too, so this is Kubernetes' idle timeout and not its shorter header timeout.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(90);
/// Streams of one HTTP/2 connection; Kubernetes' default.
pub const MAX_CONCURRENT_STREAMS: u32 = 250;
/// What one HTTP/2 stream may have in flight toward us: large bodies do not stall on round trips.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// What one HTTP/2 connection may have in flight toward us.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// What we buffer per HTTP/2 stream toward a client that reads slowly.
pub const SEND_BUFFER_BYTES: usize = 1 << 20;
/// A silent HTTP/2 peer is asked for a sign of life this often, so that dead connections do not hold watches.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// How long it has for the answer.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long requests in flight may take to finish once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Cancelled when the server stops: a request extension for what outlives its response's head, such as tunnels.
#[derive(Clone, Debug)]
pub struct Shutdown(pub CancellationToken);

/// The client's address: a request extension.
#[derive(Clone, Copy, Debug)]
pub struct RemoteAddr(pub SocketAddr);

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(
        self: Arc<Self>,
        request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

impl Handler for ApiServer {
    async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        ApiServer::handle(&self, request).await
    }
}

/// Serves `api` on every listener until `shutdown` is cancelled; then watches and followed logs end at once, other
/// requests get [`DRAIN_TIMEOUT`], and the function returns.
pub async fn serve<H: Handler>(
    api: Arc<H>,
    listeners: Vec<TcpListener>,
    tls: Arc<rustls::ServerConfig>,
    shutdown: CancellationToken,
) {
    let server = Server {
        api,
        acceptor: TlsAcceptor::from(tls),
        permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        shutdown,
        tracker: TaskTracker::new(),
    };
    futures::future::join_all(listeners.iter().map(|listener| server.accept_all(listener))).await;
    server.tracker.close();
    server.tracker.wait().await;
}

struct Server<H> {
    api: Arc<H>,
    acceptor: TlsAcceptor,
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

impl<H: Handler> Server<H> {
    async fn accept_all(&self, listener: &TcpListener) {
        while let Some(Ok(permit)) =
            self.shutdown.run_until_cancelled(Arc::clone(&self.permits).acquire_owned()).await
        {
            let Some(accepted) = self.shutdown.run_until_cancelled(listener.accept()).await else {
                return;
            };
            match accepted {
                Ok((stream, peer)) => self.spawn(stream, peer, permit),
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    self.shutdown.run_until_cancelled(tokio::time::sleep(ACCEPT_RETRY)).await;
                }
            }
        }
    }

    fn spawn(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) {
        let connection = Connection { api: Arc::clone(&self.api), shutdown: self.shutdown.clone() };
        let acceptor = self.acceptor.clone();
        self.tracker.spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.run(acceptor, stream, peer).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }
}

struct Connection<H> {
    api: Arc<H>,
    shutdown: CancellationToken,
}

impl<H: Handler> Connection<H> {
    async fn run(
        self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<(), crate::BodyError> {
        stream.set_nodelay(true)?;
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
        let Some(stream) = self.shutdown.run_until_cancelled(handshake).await else {
            return Ok(());
        };
        let stream = stream??;
        let context = Context {
            certificates: stream
                .get_ref()
                .1
                .peer_certificates()
                .map(|chain| PeerCertificates::new(chain.to_vec())),
            peer,
            shutdown: self.shutdown.clone(),
        };
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (api, context) = (Arc::clone(&self.api), context.clone());
            async move { Ok::<_, Infallible>(answer(api, context, request).await) }
        });
        let builder = builder();
        let mut connection =
            std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = self.shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::time::timeout(DRAIN_TIMEOUT, connection).await?
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

/// What every request of one connection carries.
#[derive(Clone)]
struct Context {
    certificates: Option<PeerCertificates>,
    peer: SocketAddr,
    shutdown: CancellationToken,
}

async fn answer<H: Handler>(
    api: Arc<H>,
    context: Context,
    request: Request<Incoming>,
) -> Response<Body> {
    let mut request = request.map(Body::new);
    let streams = is_stream(request.uri());
    let extensions = request.extensions_mut();
    extensions.insert(RemoteAddr(context.peer));
    extensions.insert(Shutdown(context.shutdown.clone()));
    if let Some(certificates) = context.certificates {
        extensions.insert(certificates);
    }
    let response = api.handle(request).await;
    if !streams {
        return response;
    }
    response.map(|body| {
        Body::new(UntilShutdown { body, stopped: Box::pin(context.shutdown.cancelled_owned()) })
    })
}

/// Whether a request's answer has no end of its own: watches and followed logs.
fn is_stream(uri: &http::Uri) -> bool {
    let wanted = |(key, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
        matches!(key.as_ref(), "watch" | "follow") && !matches!(value.as_ref(), "false" | "0")
    };
    let query = uri.query().unwrap_or_default().as_bytes();
    url::form_urlencoded::parse(query).any(wanted)
        || uri.path().split('/').any(|segment| segment == "watch")
}

/// A body that ends, in order, when the server stops.
struct UntilShutdown {
    body: Body,
    stopped: Pin<Box<tokio_util::sync::WaitForCancellationFutureOwned>>,
}

impl http_body::Body for UntilShutdown {
    type Data = bytes::Bytes;
    type Error = crate::BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return std::task::Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
pub(crate) mod tests;
