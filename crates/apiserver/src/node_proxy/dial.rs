//! One request to one kubelet over TLS and HTTP/1.1.
//!
//! Counterpart in Kubernetes: `pkg/kubelet/client` and the dialer of `apimachinery/pkg/util/proxy`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::location::Location;
use crate::Body;

/// A kubelet that has not taken the connection, TLS included, by then counts as unreachable; Kubernetes waits 30 s,
/// but a node in the same network answers in milliseconds or never.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a kubelet could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The API server was started without a certificate for kubelets.
    #[error("this API server has no certificate for kubelets")]
    NoCertificate,
    /// The host is neither an address nor a DNS name.
    #[error("dial tcp {0}: invalid host")]
    Host(String),
    /// No TCP connection.
    #[error("dial tcp {address}: {}", go_io_error(.error))]
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system said.
        error: io::Error,
    },
    /// No TLS session.
    #[error("tls: {0}")]
    Tls(io::Error),
    /// Neither in time.
    #[error("dial tcp {0}: i/o timeout")]
    Timeout(String),
    /// The HTTP exchange failed.
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

impl DialError {
    /// The words of Kubernetes' log streamer.
    pub(super) fn of_get(&self, location: &Location) -> String {
        format!("Get \"https://{}{}\": {self}", location.authority, location.path)
    }

    /// The words of Kubernetes' upgrading proxy.
    pub(super) fn dialing(&self) -> String {
        match self {
            Self::Http(error) => format!("error sending request: {error}"),
            _ => format!("error dialing backend: {self}"),
        }
    }
}

fn go_io_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connect: connection timed out".to_owned(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        _ => format!("connect: {error}"),
    }
}

/// Sends a request on a connection of its own; the connection lives as long as the answer's body or its upgrade.
pub(super) async fn send(
    tls: Arc<rustls::ClientConfig>,
    location: &Location,
    request: Request<Body>,
) -> Result<Response<Incoming>, DialError> {
    let address = location.authority.to_string();
    let stream = tokio::time::timeout(DIAL_TIMEOUT, connect(tls, location))
        .await
        .map_err(|_| DialError::Timeout(address))??;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a kubelet ended");
        }
    });
    Ok(sender.send_request(request).await?)
}

async fn connect(
    tls: Arc<rustls::ClientConfig>,
    location: &Location,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, DialError> {
    let authority = &location.authority;
    let name = ServerName::try_from(authority.host.clone())
        .map_err(|_| DialError::Host(authority.to_string()))?;
    let refused = |error| DialError::Connect { address: authority.to_string(), error };
    let stream =
        TcpStream::connect((authority.host.as_str(), authority.port)).await.map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    TlsConnector::from(tls).connect(name, stream).await.map_err(DialError::Tls)
}
