//! Content digests (`sha256:` and 64 hexadecimal digits) and readers that compute them.
//!
//! The counterpart of opencontainers/go-digest. Invariant: a [`Digest`] is well formed, so its hexadecimal part is safe as a file name.
//! Only SHA-256 is accepted: it is what every registry uses, and two algorithms would give one content two names.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{self, Read};

/// A SHA-256 digest in the form `sha256:<hex>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// The text is not a digest this store can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a sha256 digest")]
pub struct DigestError(pub String);

const PREFIX: &str = "sha256:";
const HEX_LEN: usize = 64;

impl Digest {
    /// Parses `sha256:<64 lower-case hexadecimal digits>`.
    ///
    /// # Errors
    /// [`DigestError`] for anything else, other algorithms included.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        match text.strip_prefix(PREFIX) {
            Some(hex) if is_hex64(hex) => Ok(Self(text.to_owned())),
            _ => Err(DigestError(text.to_owned())),
        }
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(Sha256::digest(bytes).as_slice())
    }

    /// The hexadecimal part.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_hash(hash: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(PREFIX.len() + HEX_LEN);
        text.push_str(PREFIX);
        for byte in hash {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }
}

/// Whether `text` is 64 lower-case hexadecimal digits.
pub fn is_hex64(text: &str) -> bool {
    text.len() == HEX_LEN && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// Computes a digest piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        Digest::from_hash(self.0.finalize().as_slice())
    }
}

/// Hashes and counts what is read through it, and stops with an error at a limit.
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
    bytes: u64,
    limit: u64,
}

/// More bytes came than the limit allows; found inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} bytes")]
pub struct LimitExceeded {
    /// The limit in bytes.
    pub limit: u64,
}

impl<R: Read> HashingReader<R> {
    /// Reads at most `limit` bytes from `inner`.
    pub fn new(inner: R, limit: u64) -> Self {
        Self { inner, hasher: Hasher::default(), bytes: 0, limit }
    }

    /// Reads what is left, then gives the digest and the length of everything.
    ///
    /// # Errors
    /// What the inner reader answers, or [`LimitExceeded`].
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((self.hasher.finish(), self.bytes))
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.bytes += n as u64;
        if self.bytes > self.limit {
            return Err(io::Error::other(LimitExceeded { limit: self.limit }));
        }
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digest_only_sha256_lower_hex_is_accepted() {
        assert!(Digest::parse(EMPTY).is_ok());
        for bad in [
            "",
            "sha256:",
            "sha256:../../x",
            "sha512:00",
            &EMPTY[7..],
            &EMPTY.to_uppercase(),
            &format!("{EMPTY}0"),
        ] {
            assert_eq!(Digest::parse(bad), Err(DigestError(bad.to_owned())));
        }
    }

    #[test]
    fn hashing_reader_gives_digest_and_stops_at_limit() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        let (digest, bytes) = HashingReader::new(&b"abc"[..], 3).finish().unwrap();
        assert_eq!((digest, bytes), (Digest::of(b"abc"), 3));
        let error = HashingReader::new(&b"abcd"[..], 3).finish().unwrap_err();
        assert!(error.get_ref().is_some_and(|e| e.is::<LimitExceeded>()));
    }
}
