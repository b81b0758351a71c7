//! Tests of the TLS server over loopback, and the authority and clients that other tests share.

use std::net::{Ipv4Addr, SocketAddr};

use http::StatusCode;
use http_body_util::BodyExt;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::authn::{self, Authenticator, UserInfo, X509};
use crate::discovery::prepared::built;

/// A certificate authority for one test.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "test-ca");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn server(&self) -> Identity {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A client's certificate; the certificate builder keeps one organization, so give at most one group.
    pub(crate) fn client(&self, name: &str, groups: &[&str]) -> Identity {
        self.client_until(name, groups, 2099)
    }

    fn client_until(&self, name: &str, groups: &[&str], year: i32) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.distinguished_name = rcgen::DistinguishedName::new();
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity { chain: vec![certificate.der().clone()], key }
    }

    pub(crate) fn roots(&self) -> Arc<rustls::RootCertStore> {
        root_store(std::slice::from_ref(&self.certificate)).unwrap()
    }
}

/// A server under test; it stops when dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Serves `handler` on a loopback port with a certificate of `ca`.
pub(crate) async fn start<H: Handler>(ca: &Ca, handler: H) -> Running {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = ca.server();
    let tls = server_config(identity.chain, identity.key, &ca.roots()).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(Arc::new(handler), vec![listener], tls, shutdown.clone()));
    Running { address, shutdown, task }
}

/// Opens a TLS connection with these protocols and, if given, this certificate.
pub(crate) async fn connect(
    ca: &Ca,
    address: SocketAddr,
    identity: Option<Identity>,
    protocols: &[&str],
) -> TlsStream<TcpStream> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(ca.roots());
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Sends one request over HTTP/1.1; the connection serves an upgrade too.
pub(crate) async fn send(
    stream: TlsStream<TcpStream>,
    request: Request<Body>,
) -> Response<Incoming> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.unwrap()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "127.0.0.1").body(Body::empty()).unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Answers with the user's name and groups, and with an endless body for a watch.
struct WhoAmI {
    authenticator: X509,
}

impl Handler for WhoAmI {
    async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let (parts, _) = request.into_parts();
        if parts.uri.query() == Some("watch=true") {
            let endless = futures::stream::iter([Ok(bytes::Bytes::from_static(b"event\n"))]);
            return built(
                Response::builder(),
                Body::from_stream(futures::StreamExt::chain(endless, futures::stream::pending())),
            );
        }
        match authn::authenticate(&self.authenticator as &dyn Authenticator, &parts).await {
            Ok(UserInfo { name, groups, .. }) => built(
                Response::builder(),
                format!("{name} {} {:?}", groups.join(","), parts.version).into(),
            ),
            Err(error) => built(Response::builder().status(error.code()), Body::empty()),
        }
    }
}

async fn who_am_i(ca: &Ca) -> Running {
    start(ca, WhoAmI { authenticator: X509::new(ca.roots()).unwrap() }).await
}

#[tokio::test]
async fn client_certificate_common_name_is_the_user_and_organizations_are_groups() {
    let ca = Ca::new();
    let server = who_am_i(&ca).await;
    let identity = ca.client("jane", &["dev"]);
    let stream = connect(&ca, server.address, Some(identity), &["http/1.1"]).await;
    let response = send(stream, get("/api")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, "jane dev,system:authenticated HTTP/1.1");
}

#[tokio::test]
async fn client_certificate_wrong_is_unauthorized_and_not_a_broken_handshake() {
    let ca = Ca::new();
    let server = who_am_i(&ca).await;
    let foreign = Ca::new().client("jane", &["system:masters"]);
    let expired = ca.client_until("jane", &["system:masters"], 2001);
    let nameless = ca.client("", &["system:masters"]);
    let serving = ca.server();
    for (what, identity) in
        [("foreign", foreign), ("expired", expired), ("nameless", nameless), ("serving", serving)]
    {
        let stream = connect(&ca, server.address, Some(identity), &["http/1.1"]).await;
        assert_eq!(
            send(stream, get("/healthz")).await.status(),
            StatusCode::UNAUTHORIZED,
            "{what}"
        );
    }
}

#[tokio::test]
async fn client_without_certificate_is_anonymous_on_open_paths_only() {
    let ca = Ca::new();
    let server = who_am_i(&ca).await;
    for (path, status) in [("/healthz", StatusCode::OK), ("/api", StatusCode::UNAUTHORIZED)] {
        let stream = connect(&ca, server.address, None, &[]).await;
        assert_eq!(send(stream, get(path)).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn http2_is_spoken_when_both_sides_want_it() {
    let ca = Ca::new();
    let server = who_am_i(&ca).await;
    let stream =
        connect(&ca, server.address, Some(ca.client("jane", &[])), &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://127.0.0.1/api").body(Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(text(response).await, "jane system:authenticated HTTP/2.0");
}

#[tokio::test]
async fn shutdown_ends_watches_in_order_and_then_the_server() {
    let ca = Ca::new();
    let mut server = who_am_i(&ca).await;
    let stream = connect(&ca, server.address, None, &["http/1.1"]).await;
    let response = send(stream, get("/api/v1/pods?watch=true")).await;
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "event\n");
    server.shutdown.cancel();
    assert!(body.frame().await.is_none(), "the watch ends without an error");
    (&mut server.task).await.unwrap();
}

#[test]
fn streams_are_watches_and_followed_logs() {
    for (uri, expected) in [
        ("/api/v1/pods?watch=true", true),
        ("/api/v1/pods?watch", true),
        ("/api/v1/pods?watch=false", false),
        ("/api/v1/watch/pods", true),
        ("/api/v1/namespaces/d/pods/p/log?follow=1", true),
        ("/api/v1/pods?limit=5", false),
    ] {
        assert_eq!(is_stream(&uri.parse().unwrap()), expected, "{uri}");
    }
}

#[test]
fn peer_certificates_are_verified_again_once_expired() {
    use rustls_pki_types::UnixTime;
    let ca = Ca::new();
    let x509 = X509::new(ca.roots()).unwrap();
    let peer = PeerCertificates::new(ca.client_until("jane", &[], 2050).chain);
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    assert_eq!(x509.user(&peer, at(1_800_000_000)).unwrap().name, "jane");
    assert_eq!(x509.user(&peer, at(1_900_000_000)).unwrap().name, "jane");
    assert_eq!(x509.user(&peer, at(3_000_000_000)).unwrap_err().code(), 401);
    let other = X509::new(Ca::new().roots()).unwrap();
    assert_eq!(other.user(&peer, at(1_800_000_000)).unwrap_err().code(), 401);
}

#[test]
fn pem_without_content_is_refused() {
    assert!(matches!(read_certificates(b"nothing"), Err(TlsError::NoCertificate)));
    assert!(matches!(read_key(b"nothing"), Err(TlsError::Pem(_))));
}
