//! Clients over HTTPS. Counterpart: client-go's `clientcmd` and `rest.Config`. In one process with the API server a
//! client is made from its transport instead: `Client::new(transport, "default")`.
//!
//! Invariant: TLS is rustls with ring and the given CA only; nothing is looked up through the C library, which a static
//! binary does not have: addresses are literals, `localhost`, or names that hickory resolves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tower::{BoxError, ServiceBuilder};

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one.
    #[error("{url}: not a URL: {source}")]
    Url {
        /// As given.
        url: String,
        /// Why.
        source: http::uri::InvalidUri,
    },
    /// The CA bundle is not PEM certificates.
    #[error("the CA bundle cannot be read: {0}")]
    Ca(rustls_pki_types::pem::Error),
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
    /// Certificate or key cannot be used.
    #[error("TLS: {0}")]
    Tls(#[source] Box<kube::Error>),
}

/// Who the client is.
#[derive(Clone)]
pub enum Credentials {
    /// Nobody.
    Anonymous,
    /// A bearer token.
    Token(String),
    /// A client certificate (chain) and its key, both PEM.
    Certificate {
        /// The chain.
        certificate_pem: Vec<u8>,
        /// The key.
        key_pem: Vec<u8>,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Token(_) => "Token(..)",
            Self::Certificate { .. } => "Certificate(..)",
        })
    }
}

/// Where the API server is and who it must be.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `https://host:port`.
    pub url: String,
    /// The certificate authorities it is trusted by, PEM.
    pub ca_pem: Vec<u8>,
}

/// A client for `endpoint`.
///
/// # Errors
/// When the URL, the CA bundle or the credentials cannot be used. No connection is made yet.
pub fn connect(endpoint: &Endpoint, credentials: &Credentials) -> Result<Client, ConnectError> {
    let url = endpoint
        .url
        .parse()
        .map_err(|source| ConnectError::Url { url: endpoint.url.clone(), source })?;
    let mut config = Config::new(url);
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&endpoint.ca_pem).collect();
    config.root_cert =
        Some(certificates.map_err(ConnectError::Ca)?.into_iter().map(|der| der.to_vec()).collect());
    match credentials {
        Credentials::Anonymous => {}
        Credentials::Token(token) => config.auth_info.token = Some(token.clone().into()),
        Credentials::Certificate { certificate_pem, key_pem } => {
            config.auth_info.client_certificate_data = Some(BASE64.encode(certificate_pem));
            config.auth_info.client_key_data = Some(BASE64.encode(key_pem).into());
        }
    }
    from_config(config)
}

/// A client for the current context of a kubeconfig file.
///
/// # Errors
/// When the file or what it names cannot be used. No connection is made yet.
pub async fn connect_kubeconfig(path: &Path) -> Result<Client, ConnectError> {
    let unusable = |source| ConnectError::Kubeconfig {
        path: path.display().to_string(),
        source: Box::new(source),
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(unusable)?;
    from_config(config)
}

/// A client for a ready-made configuration of kube.
///
/// # Errors
/// When certificates, keys or tokens in it cannot be used.
pub fn from_config(config: Config) -> Result<Client, ConnectError> {
    // Another crate of the process may have brought a second provider; which one it is must not depend on that.
    let _set_before = rustls::crypto::ring::default_provider().install_default();
    let tls = |error| ConnectError::Tls(Box::new(error));
    let mut http = HttpConnector::new_with_resolver(Resolver);
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(config.connect_timeout);
    let https = config.rustls_https_connector_with_connector(http).map_err(tls)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(tls)?)
        .map_err(BoxError::from)
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https));
    Ok(Client::new(service, config.default_namespace))
}

/// Resolves host names without the C library. IP literals never come here.
#[derive(Clone, Copy, Debug)]
struct Resolver;

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let addresses = resolve(name.as_str()).await?;
            Ok(addresses
                .into_iter()
                .map(|ip| SocketAddr::new(ip, 0))
                .collect::<Vec<_>>()
                .into_iter())
        })
    }
}

async fn resolve(name: &str) -> Result<Vec<IpAddr>, BoxError> {
    if name == "localhost" {
        return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }
    let resolver = TokioResolver::builder_tokio()?.build()?;
    Ok(resolver.lookup_ip(name).await?.iter().collect())
}
