//! How a machine becomes a node: it shows the cluster's token and gets certificates for keys that never leave it.
//!
//! Counterpart in Kubernetes: kubelet TLS bootstrapping; the two paths below `/knarr/v1/` are Knarr's own.
//!
//! Invariants:
//! - The machine trusts nothing before the authority's certificate has the fingerprint in its token.
//! - The server says what a certificate is for; of a request only its key counts.
//! - Bodies of both sides are bounded.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};

use crate::pki::{self, Authority, Identity, Subject};
use crate::token::Token;

/// Where the authority's certificate is served, to anyone.
pub const CA_PATH: &str = "/knarr/v1/ca";
/// Where a machine joins.
pub const JOIN_PATH: &str = "/knarr/v1/join";
/// More than any request or answer of these paths has.
const BODY_LIMIT: usize = 64 << 10;
/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What a machine says.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The node's name.
    pub node: String,
    /// Addresses its kubelet serves at.
    pub addresses: Vec<IpAddr>,
    /// A signing request for the key it uses toward the API server, in PEM.
    pub client_request: String,
    /// A signing request for the key it serves with, in PEM.
    pub serving_request: String,
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The certificate of `system:node:NAME`.
    pub client_certificate: String,
    /// The certificate its kubelet serves with.
    pub serving_certificate: String,
    /// The range of all pods.
    pub cluster_cidr: String,
    /// The range of all services.
    pub service_cidr: String,
}

/// The server's half.
pub struct Joiner {
    /// Who signs.
    pub authority: Authority,
    /// Who may join.
    pub token: Token,
    /// The range of all pods.
    pub cluster_cidr: String,
    /// The range of all services.
    pub service_cidr: String,
}

impl Joiner {
    /// Whether a path is answered here.
    pub fn serves(path: &str) -> bool {
        path == CA_PATH || path == JOIN_PATH
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<apiserver::Body>) -> Response<apiserver::Body> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, CA_PATH) => answer(StatusCode::OK, self.authority.certificate.clone()),
            (&Method::POST, JOIN_PATH) => self.join(request).await,
            _ => answer(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n".into()),
        }
    }

    async fn join(&self, request: Request<apiserver::Body>) -> Response<apiserver::Body> {
        let header = request.headers().get(header::AUTHORIZATION);
        let secret = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if !secret.is_some_and(|secret| self.token.admits(secret)) {
            tracing::warn!("a machine tried to join with a wrong token");
            return answer(StatusCode::UNAUTHORIZED, "wrong token\n".into());
        }
        let body = Limited::new(request.into_body(), BODY_LIMIT).collect().await;
        let Ok(body) = body else {
            return answer(StatusCode::PAYLOAD_TOO_LARGE, "too large\n".into());
        };
        let signed = serde_json::from_slice(&body.to_bytes())
            .map_err(anyhow::Error::from)
            .and_then(|request| self.sign(&request));
        match signed {
            Ok(text) => answer(StatusCode::OK, text),
            Err(error) => answer(StatusCode::BAD_REQUEST, format!("{error:#}\n")),
        }
    }

    fn sign(&self, request: &JoinRequest) -> Result<String> {
        let wrong = apimachinery::names::is_dns1123_subdomain(&request.node);
        if let Some(message) = wrong.first() {
            bail!("{:?} cannot name a node: {message}", request.node);
        }
        let user = format!("system:node:{}", request.node);
        let client = Subject::client(&user, &["system:nodes"]);
        let dns = vec![request.node.clone()];
        let serving = Subject::server(&user, dns, request.addresses.clone());
        tracing::info!(node = request.node, "a machine joined");
        Ok(serde_json::to_string(&JoinAnswer {
            client_certificate: self.authority.sign(&request.client_request, &client)?,
            serving_certificate: self.authority.sign(&request.serving_request, &serving)?,
            cluster_cidr: self.cluster_cidr.clone(),
            service_cidr: self.service_cidr.clone(),
        })?)
    }
}

fn answer(status: StatusCode, text: String) -> Response<apiserver::Body> {
    let mut response = Response::new(apiserver::Body::from(text));
    *response.status_mut() = status;
    response
}

/// What a machine has after it joined.
pub struct Joined {
    /// The authority's certificate in PEM.
    pub ca: String,
    /// Toward the API server.
    pub client: Identity,
    /// For its kubelet.
    pub serving: Identity,
    /// The server's answer.
    pub answer: JoinAnswer,
}

/// Joins the cluster whose server is at `server`, such as `https://10.0.0.1:6443`.
///
/// # Errors
/// When it cannot be reached, is not the token's cluster, or refuses; the message says the way out.
pub async fn join(
    server: &str,
    token: &Token,
    node: &str,
    addresses: Vec<IpAddr>,
) -> Result<Joined> {
    let unreachable = || format!("cannot reach the server {server}");
    let get = Request::get(CA_PATH).body(Full::default())?;
    let (_, ca) = send(server, trust_anyone(), get).await.with_context(unreachable)?;
    if pki::fingerprint(&ca).ok().as_ref() != Some(&token.ca) {
        bail!("the server {server} is not of the cluster this token is for; get its own token");
    }
    let (client_key, client_request) = pki::signing_request()?;
    let (serving_key, serving_request) = pki::signing_request()?;
    let request = JoinRequest { node: node.to_owned(), addresses, client_request, serving_request };
    let post = Request::post(JOIN_PATH)
        .header(header::AUTHORIZATION, format!("Bearer {}", token.secret))
        .body(Full::from(serde_json::to_vec(&request)?))?;
    let (status, text) = send(server, trust(&ca)?, post).await.with_context(unreachable)?;
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => {
            bail!("the server refuses this token; the right one is in its DATA-DIR/server/token")
        }
        status => bail!("the server refuses: {} ({status})", text.trim()),
    }
    let answer: JoinAnswer = serde_json::from_str(&text).context("the server's answer")?;
    let client = Identity { certificate: answer.client_certificate.clone(), key: client_key };
    let serving = Identity { certificate: answer.serving_certificate.clone(), key: serving_key };
    Ok(Joined { ca, client, serving, answer })
}

/// One request over a connection of its own.
async fn send(
    server: &str,
    tls: rustls::ClientConfig,
    mut request: Request<Full<Bytes>>,
) -> Result<(StatusCode, String)> {
    let uri: http::Uri = server.parse().context("not a URL such as https://10.0.0.1:6443")?;
    let host = uri.host().context("a URL without a host")?.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(6443);
    let exchange = async {
        let stream = tokio::net::TcpStream::connect((host.as_str(), port)).await?;
        let name = ServerName::try_from(host.clone())?;
        let stream = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        request.headers_mut().insert(header::HOST, host.parse()?);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await;
        connection.abort();
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        anyhow::Ok((status, String::from_utf8(body.into())?))
    };
    tokio::time::timeout(TIMEOUT, exchange).await.context("no answer in time")?
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn trust(ca: &str) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in pki::certificates(ca)? {
        roots.add(certificate)?;
    }
    Ok(rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// For the one request whose answer is checked against the fingerprint in the token.
fn trust_anyone() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("the provider knows the protocol versions it is built with")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider())))
        .with_no_client_auth()
}

#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
