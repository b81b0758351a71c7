//! A plain HTTP/1.1 client: the API as bytes, over TLS with the administrator's certificate, and pods without TLS.
//!
//! Nothing is added to or taken from what a test sends, so malformed requests can be made, and a benchmark measures the
//! server and not a client library.
//!
//! Invariant: one [`Connection`] is one TCP connection; requests on it follow each other.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use kube::config::Kubeconfig;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where an API server is, and who asks.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its URL, without a path.
    pub url: Uri,
    roots: Arc<RootCertStore>,
    identity: Option<Arc<Identity>>,
    /// Sent as `Authorization: Bearer …`.
    pub token: Option<String>,
}

#[derive(Debug)]
struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Access {
    /// Reads the current context of a kubeconfig file.
    ///
    /// # Errors
    /// When it has none, or the certificates cannot be read.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let config = serde_json::to_value(Kubeconfig::read_from(path)?)?;
        let named = |list: &str, name: &Value| {
            let mut list = config[list].as_array().into_iter().flatten();
            list.find(|item| item["name"] == *name).cloned().unwrap_or_default()
        };
        let context = named("contexts", &config["current-context"])["context"].take();
        let cluster = named("clusters", &context["cluster"])["cluster"].take();
        let user = named("users", &context["user"])["user"].take();
        let mut roots = RootCertStore::empty();
        let ca = pem(&cluster, "certificate-authority")?.context("no authority")?;
        for certificate in CertificateDer::pem_slice_iter(&ca) {
            roots.add(certificate?)?;
        }
        let url = cluster["server"].as_str().context("no server")?.parse()?;
        Ok(Self { url, roots: roots.into(), identity: identity(&user)?.map(Arc::new), token: None })
    }

    /// The same server, asked by nobody.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { identity: None, token: None, ..self.clone() }
    }

    /// The same server, asked by whoever the token says.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { identity: None, token: Some(token.to_owned()), ..self.clone() }
    }

    fn tls(&self) -> Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone());
        Ok(match &self.identity {
            Some(identity) => builder
                .with_client_auth_cert(identity.certificates.clone(), identity.key.clone_key())?,
            None => builder.with_no_client_auth(),
        })
    }
}

fn identity(user: &Value) -> Result<Option<Identity>> {
    let (certificate, key) = (pem(user, "client-certificate")?, pem(user, "client-key")?);
    let (Some(certificate), Some(key)) = (certificate, key) else { return Ok(None) };
    let certificates = CertificateDer::pem_slice_iter(&certificate).collect::<Result<_, _>>()?;
    Ok(Some(Identity { certificates, key: PrivateKeyDer::from_pem_slice(&key)? }))
}

/// What a kubeconfig holds as `NAME-data` or in a file `NAME`.
fn pem(section: &Value, name: &str) -> Result<Option<Vec<u8>>> {
    let (data, file) = (&section[format!("{name}-data")], &section[name]);
    Ok(match (data.as_str(), file.as_str()) {
        (Some(data), _) => Some(BASE64.decode(data)?),
        (None, Some(file)) => Some(std::fs::read(file)?),
        (None, None) => None,
    })
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is something else.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A connection that is kept open from request to request.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    token: Option<String>,
}

impl Connection {
    /// Connects to an API server.
    ///
    /// # Errors
    /// When it cannot be reached or is not who it should be.
    pub async fn open(access: &Access) -> Result<Self> {
        let host = access.url.host().context("no host")?.trim_matches(['[', ']']).to_owned();
        let port = access.url.port_u16().unwrap_or(443);
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(access.tls()?));
        let stream = connector.connect(ServerName::try_from(host)?, stream).await?;
        let host = access.url.authority().context("no authority")?.to_string();
        Self::over(TokioIo::new(stream), host, access.token.clone()).await
    }

    /// Connects to a server without TLS, such as one in a pod.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn open_plain(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Self::over(TokioIo::new(stream), address.to_string(), None).await
    }

    async fn over<S>(stream: S, host: String, token: Option<String>) -> Result<Self>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host, token })
    }

    /// Sends a request and returns as soon as the head of the answer is there.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn start(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        Ok(self.sender.send_request(request.body(Full::new(body))?).await?)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let answer = self.start(method, path, headers, body.into()).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// A GET.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }
}
