//! Connections to registries: names by hickory, trust from the system's certificate bundle.
//!
//! Name servers and bundle are read anew for each pull, so a change on the machine needs no restart.

use super::{RegistryConfig, RegistryError};
use bytes::Bytes;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a TCP connection may take to come about; containerd's dialer waits as long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Where distributions keep the certificates of authorities: Debian, Fedora, openSUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Names another bundle, as for OpenSSL and Go.
const BUNDLE_VARIABLE: &str = "SSL_CERT_FILE";

pub(super) type HttpClient = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// A client for HTTP/1.1 with and without TLS.
pub(super) fn http_client(config: &RegistryConfig) -> Result<HttpClient, RegistryError> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver::default());
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    let tls = tls_config(config)?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn tls_config(config: &RegistryConfig) -> Result<rustls::ClientConfig, RegistryError> {
    let fail = |e: rustls::Error| RegistryError::Certificates(e.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(fail)?;
    let named = std::env::var_os(BUNDLE_VARIABLE).map(PathBuf::from);
    let bundle = named.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|p| p.exists()));
    if bundle.is_none() && config.ca_files.is_empty() {
        // A machine without the ca-certificates package: Mozilla's list as of this build.
        return Ok(builder.with_webpki_roots().with_no_client_auth());
    }
    let mut roots = rustls::RootCertStore::empty();
    for file in bundle.iter().chain(&config.ca_files) {
        add_roots(&mut roots, file)?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn add_roots(roots: &mut rustls::RootCertStore, file: &Path) -> Result<(), RegistryError> {
    let fail = |e: rustls::pki_types::pem::Error| {
        RegistryError::Certificates(format!("{}: {e}", file.display()))
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(fail)?
        .collect::<Result<_, _>>()
        .map_err(fail)?;
    // Bundles hold authorities of forms that webpki does not accept; those are left out, as every client does.
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(RegistryError::Certificates(format!(
            "{} has no usable certificate",
            file.display()
        )));
    }
    Ok(())
}

/// Looks names up as `/etc/hosts` and `/etc/resolv.conf` say.
#[derive(Clone, Default)]
pub(super) struct Resolver {
    inner: Arc<OnceLock<TokioResolver>>,
}

impl Resolver {
    fn get(&self) -> io::Result<&TokioResolver> {
        if let Some(resolver) = self.inner.get() {
            return Ok(resolver);
        }
        let fail = |e| io::Error::other(format!("no name servers: /etc/resolv.conf: {e}"));
        let mut builder = TokioResolver::builder_tokio().map_err(fail)?;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let resolver = builder.build().map_err(fail)?;
        Ok(self.inner.get_or_init(|| resolver))
    }

    async fn lookup(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let at = |ip| SocketAddr::new(ip, 0);
        if name == "localhost" {
            return Ok(vec![
                at(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                at(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ]);
        }
        let found = self.get()?.lookup_ip(name).await;
        let found = found.map_err(|e| {
            let why = if e.is_nx_domain() || e.is_no_records_found() {
                "no such host".to_owned()
            } else {
                e.to_string()
            };
            io::Error::other(format!("dial tcp: lookup {name}: {why}"))
        })?;
        Ok(found.iter().map(at).collect())
    }
}

impl tower_service::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { Ok(resolver.lookup(name.as_str()).await?.into_iter()) })
    }
}
