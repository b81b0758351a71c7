//! Who may call the kubelet.
//!
//! Counterpart in Kubernetes: the kubelet's x509 authenticator and webhook authorizer. Invariant: TLS has verified a certificate
//! against the client authority before its names are believed; whoever shows none is nobody.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;

use crate::config::ServingTls;

/// The only group that is admitted: the API server's identity toward kubelets, and administrators.
pub const ADMITTED_GROUP: &str = "system:masters";

/// Who is on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// No certificate, or one without a name.
    Unknown,
    /// A verified certificate.
    Known {
        /// Its common name.
        name: String,
        /// Its organizations.
        groups: Vec<String>,
    },
}

/// The caller a verified chain stands for.
pub fn caller(chain: &[CertificateDer<'_>]) -> Caller {
    let Some(leaf) = chain.first() else { return Caller::Unknown };
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else {
        return Caller::Unknown;
    };
    let subject = certificate.subject();
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok()).map(str::to_owned);
    let groups = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok())
        .map(str::to_owned)
        .collect();
    name.map_or(Caller::Unknown, |name| Caller::Known { name, groups })
}

/// The server's TLS: certificates are asked for, and verified if shown.
///
/// # Errors
/// When certificates or key are unusable.
pub fn server_config(tls: ServingTls) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in tls.client_ca {
        roots.add(authority)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build();
    let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(tls.certificates, tls.key)?;
    // Sessions are upgrades of HTTP/1.1 connections.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_is_read_from_the_leaf() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "me");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, ADMITTED_GROUP);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let expected = Caller::Known { name: "me".into(), groups: vec![ADMITTED_GROUP.into()] };
        assert_eq!(caller(&[certificate.der().clone()]), expected);
        assert_eq!(caller(&[]), Caller::Unknown);
    }
}
