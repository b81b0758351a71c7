//! The key that signs tokens: RSA, kept as PKCS #8 in PEM.
//!
//! Counterpart in Kubernetes: `--service-account-signing-key-file` and `keyIDFromPublicKey`.
//! Invariant: the id of a key follows from the key alone, so that every server that has the key names it alike.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::digest;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};

/// The size that every verifier accepts, and that is good until at least 2030.
const KEY_BITS: usize = 2048;

/// Why a key cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[error("the key of the service accounts' tokens is not usable: {0}")]
pub struct KeyError(String);

impl KeyError {
    fn from_display(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A key that signs tokens.
pub struct SigningKey {
    /// What tokens call it.
    pub(super) id: String,
    pub(super) private: EncodingKey,
    pub(super) public: DecodingKey,
    modulus: String,
    exponent: String,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new key in PEM. It takes a moment: call it where waiting is allowed.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<String, KeyError> {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, KEY_BITS);
        let key = key.map_err(KeyError::from_display)?;
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(KeyError::from_display)?;
        Ok(pem.to_string())
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When it is no RSA key in PKCS #8.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = RsaPrivateKey::from_pkcs8_pem(pem).map_err(KeyError::from_display)?;
        let public = key.to_public_key();
        let der = public.to_public_key_der().map_err(KeyError::from_display)?;
        let id = digest::digest(&digest::SHA256, der.as_bytes());
        let (modulus, exponent) = (public.n().to_bytes_be(), public.e().to_bytes_be());
        Ok(Self {
            id: BASE64_URL_SAFE_NO_PAD.encode(id),
            private: EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(KeyError::from_display)?,
            public: DecodingKey::from_rsa_raw_components(&modulus, &exponent),
            modulus: BASE64_URL_SAFE_NO_PAD.encode(modulus),
            exponent: BASE64_URL_SAFE_NO_PAD.encode(exponent),
        })
    }

    /// The public half as a JSON Web Key.
    pub(super) fn jwk(&self) -> Value {
        json!({ "use": "sig", "kty": "RSA", "kid": self.id, "alg": "RS256", "n": self.modulus, "e": self.exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_published_without_its_private_half() {
        let pem = SigningKey::generate().unwrap();
        let (key, again) =
            (SigningKey::from_pem(&pem).unwrap(), SigningKey::from_pem(&pem).unwrap());
        assert_eq!(key.id, again.id);
        let jwk = key.jwk();
        let fields: Vec<&String> = jwk.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["alg", "e", "kid", "kty", "n", "use"]);
        assert_eq!(jwk["e"], "AQAB");
        assert!(!format!("{key:?}").contains("PRIVATE"));
        assert!(SigningKey::from_pem("nonsense").is_err());
    }
}
