//! Client certificates: the counterpart of `authentication/request/x509`.
//!
//! The TLS layer accepts any certificate whose private key the client proves to hold; whether it is signed
//! by the client CA, is valid now and is meant for clients is decided here, for each request, so that a wrong
//! or expired certificate is a 401 `Status` and not a broken connection.

use std::sync::{Arc, OnceLock};

use apimachinery::status::StatusError;
use async_trait::async_trait;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::{Authenticator, UserInfo, unauthorized};

/// The certificates a client presented, its own first; a request extension set by the TLS server. Shared by all
/// requests of a connection, so that a chain is verified once and only its dates are looked at again.
#[derive(Clone, Debug)]
pub struct PeerCertificates {
    chain: Arc<[CertificateDer<'static>]>,
    verified: Arc<OnceLock<Verified>>,
}

/// Who a verified chain stands for, and when it must be verified again.
#[derive(Clone, Debug)]
struct Verified {
    user: UserInfo,
    not_after: u64,
    by: usize,
}

impl PeerCertificates {
    /// The chain of one connection.
    pub fn new(chain: impl Into<Arc<[CertificateDer<'static>]>>) -> Self {
        Self { chain: chain.into(), verified: Arc::default() }
    }

    /// The certificates as presented.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

/// Authenticates by client certificate: CN is the user's name, each O a group.
pub struct X509 {
    verifier: Arc<dyn rustls::server::danger::ClientCertVerifier>,
}

impl X509 {
    /// Trusts certificates signed by one of `roots`.
    ///
    /// # Errors
    /// When `roots` is empty.
    pub fn new(
        roots: Arc<rustls::RootCertStore>,
    ) -> Result<Self, rustls::server::VerifierBuilderError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
        Ok(Self { verifier })
    }

    /// The user of a connection's certificates at time `now`.
    ///
    /// # Errors
    /// A 401 `Status` when the chain does not verify or has no common name.
    pub fn user(&self, peer: &PeerCertificates, now: UnixTime) -> Result<UserInfo, StatusError> {
        let by = Arc::as_ptr(&self.verifier).cast::<()>() as usize;
        if let Some(known) = peer.verified.get()
            && known.by == by
            && now.as_secs() <= known.not_after
        {
            return Ok(known.user.clone());
        }
        let (user, not_after) = self.verify(&peer.chain, now)?;
        // Losing the race means another request of this connection found the same.
        let _ = peer.verified.set(Verified { user: user.clone(), not_after, by });
        Ok(user)
    }

    /// Who the chain stands for, and the last second at which its own certificate is valid.
    fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(UserInfo, u64), StatusError> {
        let (leaf, intermediates) = chain.split_first().ok_or_else(unauthorized)?;
        if let Err(error) = self.verifier.verify_client_cert(leaf, intermediates, now) {
            tracing::info!(%error, "client certificate refused");
            return Err(unauthorized());
        }
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| unauthorized())?;
        let not_after = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        let user = user_of_subject(certificate.subject()).ok_or_else(unauthorized)?;
        Ok((user, not_after))
    }
}

#[async_trait]
impl Authenticator for X509 {
    async fn authenticate(
        &self,
        parts: &http::request::Parts,
    ) -> Result<Option<UserInfo>, StatusError> {
        match parts.extensions.get::<PeerCertificates>() {
            Some(peer) if !peer.chain.is_empty() => self.user(peer, UnixTime::now()).map(Some),
            _ => Ok(None),
        }
    }
}

/// The last common name is the user, as Go's `pkix.Name` keeps it; without one there is no user.
fn user_of_subject(subject: &X509Name<'_>) -> Option<UserInfo> {
    let name = subject.iter_common_name().last()?.as_str().ok()?;
    let groups: Vec<&str> = subject.iter_organization().filter_map(|o| o.as_str().ok()).collect();
    (!name.is_empty()).then(|| UserInfo::authenticated(name, groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 128);
        [&[tag, length], content].concat()
    }

    /// A distinguished name in DER: `attribute` is the last arc of 2.5.4, 3 for CN and 10 for O.
    fn subject(attributes: &[(u8, &str)]) -> Vec<u8> {
        let one = |(arc, value): &(u8, &str)| {
            let pair = [tagged(0x06, &[0x55, 0x04, *arc]), tagged(0x0c, value.as_bytes())].concat();
            tagged(0x31, &tagged(0x30, &pair))
        };
        tagged(0x30, &attributes.iter().flat_map(one).collect::<Vec<u8>>())
    }

    fn user(attributes: &[(u8, &str)]) -> Option<UserInfo> {
        let der = subject(attributes);
        user_of_subject(&X509Name::from_der(&der).unwrap().1)
    }

    #[test]
    fn subject_every_organization_is_a_group() {
        let user = user(&[(10, "dev"), (3, "jane"), (10, "ops")]).unwrap();
        assert_eq!(user, UserInfo::authenticated("jane", ["dev", "ops"]));
    }

    #[test]
    fn subject_last_common_name_counts_and_none_is_nobody() {
        assert_eq!(user(&[(3, "first"), (3, "second")]).unwrap().name, "second");
        assert_eq!(user(&[(10, "system:masters")]), None);
        assert_eq!(user(&[(3, ""), (10, "system:masters")]), None);
    }
}
