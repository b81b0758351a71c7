//! Join tokens: what a machine needs to become a node.
//!
//! Form: `K1<SHA-256 of the authority's certificate, hex>.<secret, hex>`. The first half lets the machine know the
//! server, the second lets the server know the machine.
//!
//! Invariants: secrets are compared without telling how far they agree; a token is never logged.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::pki;

/// A join token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The fingerprint of the authority.
    pub ca: String,
    /// The secret.
    pub secret: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(K1{}.***)", self.ca)
    }
}

impl Token {
    /// The token kept in a file, made there if it is missing or belongs to another authority.
    ///
    /// # Errors
    /// When the file cannot be written, or there is no randomness.
    pub fn open(path: &Path, authority: &pki::Authority) -> Result<Self> {
        let ca = authority.fingerprint()?;
        let kept = std::fs::read_to_string(path).ok().and_then(|text| Self::parse(&text).ok());
        if let Some(token) = kept.filter(|token| token.ca == ca) {
            return Ok(token);
        }
        let mut secret = [0; 24];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut secret)
            .map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
        let token = Self { ca, secret: pki::hex(&secret) };
        pki::write_private(path, &token.text())?;
        Ok(token)
    }

    /// Reads a token.
    ///
    /// # Errors
    /// When it is not of the form above.
    pub fn parse(text: &str) -> Result<Self> {
        let parts = text.trim().strip_prefix("K1").and_then(|rest| rest.split_once('.'));
        let hex = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_hexdigit());
        match parts {
            Some((ca, secret)) if ca.len() == 64 && hex(ca) && hex(secret) => {
                Ok(Self { ca: ca.to_owned(), secret: secret.to_owned() })
            }
            _ => bail!("this is not a join token; the server keeps it in DATA-DIR/server/token"),
        }
    }

    /// Reads a token from a file.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the token {}", path.display()))?;
        Self::parse(&text)
    }

    /// The token as text.
    pub fn text(&self) -> String {
        format!("K1{}.{}", self.ca, self.secret)
    }

    /// Whether a secret is this token's.
    pub fn admits(&self, secret: &str) -> bool {
        let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let (ours, theirs) = (digest(&self.secret), digest(secret));
        let differing = ours.as_ref().iter().zip(theirs.as_ref()).fold(0, |d, (a, b)| d | (a ^ b));
        differing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_kept_and_renewed_with_its_authority() {
        let dir = tempfile::tempdir().unwrap();
        let ca = pki::Authority::open(dir.path()).unwrap();
        let path = dir.path().join("token");
        let token = Token::open(&path, &ca).unwrap();
        assert_eq!(Token::open(&path, &ca).unwrap(), token);
        assert_eq!(Token::read(&path).unwrap(), token);
        assert!(token.admits(&token.secret.clone()));
        assert!(!token.admits("") && !token.admits(&token.secret[1..]));
        assert!(!format!("{token:?}").contains(&token.secret));
        let other = pki::Authority::open(&dir.path().join("other")).unwrap();
        assert_ne!(Token::open(&path, &other).unwrap().secret, token.secret);
    }

    #[test]
    fn nonsense_is_no_token() {
        for text in ["", "K1", "K1.", "K1abc.def", &format!("K1{}.", "a".repeat(64))] {
            assert!(Token::parse(text).is_err(), "{text}");
        }
    }
}
