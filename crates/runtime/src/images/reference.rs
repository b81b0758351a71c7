//! Image references: `busybox` is `docker.io/library/busybox:latest`.
//!
//! The counterpart of distribution/reference as containerd uses it (`ParseDockerRef`). Invariant: a [`Reference`] is normalised, has a tag or
//! a digest but not both, and its parts match the grammar, so they are safe in URLs and as keys.

use super::digest::{Digest, is_hex64};
use std::fmt;

/// Docker Hub, the registry of names without one.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// An older name of Docker Hub.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// Docker Hub's namespace of names without one.
const OFFICIAL_NAMESPACE: &str = "library";
/// The tag of names without tag and digest.
pub const DEFAULT_TAG: &str = "latest";
/// Longest repository path: distribution/reference's `NameTotalLengthMax`.
const MAX_NAME_BYTES: usize = 255;
/// Longest tag by the grammar.
const MAX_TAG_BYTES: usize = 128;

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name {name:?}: {reason}")]
pub struct ReferenceError {
    /// The text.
    pub name: String,
    /// What is wrong with it, in distribution/reference's words.
    pub reason: &'static str,
}

const INVALID_FORMAT: &str = "invalid reference format";
const NOT_LOWERCASE: &str = "invalid reference format: repository name must be lowercase";
const IS_HEX: &str = "invalid repository name, cannot specify 64-byte hexadecimal strings";
const TOO_LONG: &str = "repository name must not be more than 255 characters";
const BAD_DIGEST: &str = "invalid checksum digest format";

/// A normalised image reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    version: Version,
}

/// Which image of a repository is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    Tag(String),
    Digest(Digest),
}

impl Reference {
    /// Parses and normalises `text`. Of a name with tag and digest the digest counts.
    ///
    /// # Errors
    /// [`ReferenceError`] with the rule that is broken.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|reason| ReferenceError { name: text.to_owned(), reason })
    }

    /// The registry as written in the name: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path in the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Registry and path.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The digest, if the reference has one.
    pub fn digest(&self) -> Option<&Digest> {
        match &self.version {
            Version::Digest(digest) => Some(digest),
            Version::Tag(_) => None,
        }
    }

    /// The tag, if the reference has no digest.
    pub fn tag(&self) -> Option<&str> {
        match &self.version {
            Version::Tag(tag) => Some(tag),
            Version::Digest(_) => None,
        }
    }

    /// Tag or digest, as a registry's manifest URL wants it.
    pub fn version(&self) -> &str {
        match &self.version {
            Version::Tag(tag) => tag,
            Version::Digest(digest) => digest.as_str(),
        }
    }

    /// The same repository by digest.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            domain: self.domain.clone(),
            path: self.path.clone(),
            version: Version::Digest(digest),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (domain, path) = (&self.domain, &self.path);
        match &self.version {
            Version::Tag(tag) => write!(f, "{domain}/{path}:{tag}"),
            Version::Digest(digest) => write!(f, "{domain}/{path}@{digest}"),
        }
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if is_hex64(text) {
        return Err(IS_HEX);
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
        None => (text, None),
    };
    let (domain, remainder) = split_domain(rest);
    let (path, tag) = match remainder.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (remainder, None),
    };
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(NOT_LOWERCASE);
    }
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    let path = if official { format!("{OFFICIAL_NAMESPACE}/{path}") } else { path.to_owned() };
    if !is_domain(domain) || !path.split('/').all(is_path_component) || !tag.is_none_or(is_tag) {
        return Err(INVALID_FORMAT);
    }
    if path.len() > MAX_NAME_BYTES {
        return Err(TOO_LONG);
    }
    let version = match digest {
        Some(digest) => Version::Digest(digest),
        None => Version::Tag(tag.unwrap_or(DEFAULT_TAG).to_owned()),
    };
    Ok(Reference { domain: domain.to_owned(), path, version })
}

fn parse_digest(text: &str) -> Result<Digest, &'static str> {
    let (algorithm, hex) = text.split_once(':').ok_or(INVALID_FORMAT)?;
    let plausible =
        !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if !plausible {
        return Err(INVALID_FORMAT);
    }
    Digest::parse(text).map_err(|_| BAD_DIGEST)
}

/// The first part is a registry if it cannot be a Docker Hub namespace: it has a dot, a colon or an upper-case letter, or is `localhost`.
fn split_domain(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':', '['])
                || first == "localhost"
                || first.to_lowercase() != first =>
        {
            (if first == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { first }, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    }
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(at) if !text.ends_with(']') => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    };
    let port_ok = port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    port_ok && is_host(host)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    }
    host.split('.').all(|label| {
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = label.as_bytes();
        edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    })
}

/// Runs of `[a-z0-9]` separated by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let edges_ok =
        bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    let mut separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    edges_ok
        && separators.all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= MAX_TAG_BYTES
        && bytes.first().copied().is_some_and(word)
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn ctr_10_reference_names_are_normalised() {
        let by_digest = format!("busybox@sha256:{HEX}");
        let both = format!("quay.io/a/b:v1@sha256:{HEX}");
        for (text, expected) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("luksa/kubia:1.0", "docker.io/luksa/kubia:1.0".to_owned()),
            ("docker.io/busybox", "docker.io/library/busybox:latest".to_owned()),
            ("index.docker.io/library/x:1", "docker.io/library/x:1".to_owned()),
            ("quay.io/luksa/kubia:1.0", "quay.io/luksa/kubia:1.0".to_owned()),
            ("registry.gitlab.com/a/b/c/d", "registry.gitlab.com/a/b/c/d:latest".to_owned()),
            ("localhost/x", "localhost/x:latest".to_owned()),
            ("localhost:5000/x:y", "localhost:5000/x:y".to_owned()),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest".to_owned()),
            ("[::1]:5000/x", "[::1]:5000/x:latest".to_owned()),
            ("[fd00::1]/x", "[fd00::1]/x:latest".to_owned()),
            ("Registry/x", "Registry/x:latest".to_owned()),
            ("a--b/c__d/e.f_g:V_1.2-3", "docker.io/a--b/c__d/e.f_g:V_1.2-3".to_owned()),
            (&by_digest, format!("docker.io/library/busybox@sha256:{HEX}")),
            (&both, format!("quay.io/a/b@sha256:{HEX}")),
        ] {
            let reference = Reference::parse(text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(reference.to_string(), expected);
            assert_eq!(Reference::parse(&expected).unwrap(), reference, "normal form is stable");
        }
    }

    #[test]
    fn reference_bad_names_are_refused_with_the_reason() {
        let long = format!("quay.io/{}", "a".repeat(256));
        let sha512 = format!("x@sha512:{HEX}{HEX}");
        let short = format!("x@sha256:{}", &HEX[..40]);
        let tag = format!("x:{}", "t".repeat(129));
        for (text, reason) in [
            ("", INVALID_FORMAT),
            ("Busybox", NOT_LOWERCASE),
            ("luksa/Kubia:1.0", NOT_LOWERCASE),
            (HEX, IS_HEX),
            ("x:", INVALID_FORMAT),
            (":x", INVALID_FORMAT),
            ("x:y:z", INVALID_FORMAT),
            ("x@", INVALID_FORMAT),
            ("x@sha256:12", INVALID_FORMAT),
            ("../x", INVALID_FORMAT),
            ("quay.io//x", INVALID_FORMAT),
            ("quay.io/x/", INVALID_FORMAT),
            ("quay.io/x y", INVALID_FORMAT),
            ("quay.io/a___b", INVALID_FORMAT),
            ("-x", INVALID_FORMAT),
            ("https://quay.io/x", INVALID_FORMAT),
            ("quay.io:/x", INVALID_FORMAT),
            ("quay..io/x", INVALID_FORMAT),
            (&tag, INVALID_FORMAT),
            (&sha512, BAD_DIGEST),
            (&short, BAD_DIGEST),
            (&long, TOO_LONG),
        ] {
            let error = Reference::parse(text).expect_err(text);
            assert_eq!((error.name.as_str(), error.reason), (text, reason));
        }
    }
}
