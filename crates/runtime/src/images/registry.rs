//! Registries: how they are reached, and what can go wrong there.
//!
//! The counterpart of containerd's `remotes/docker`. Our own client on hyper rather than oci-client, because that one reads manifests and
//! error bodies of any length into memory, follows no policy of ours about plain HTTP by address, and falls back to public name servers when
//! the machine has none. Invariants: every body has a limit and every wait an end; credentials go to the registry and to the token server it
//! names, never to where a redirect leads; the C library's resolver is not used, as the binary is static.

pub(super) mod challenge;
pub(super) mod client;
mod connect;

use super::digest::Digest;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Docker Hub's registry is not at the address in its images' names.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    /// Registries (`host` or `host:port`) spoken to over plain HTTP. Loopback addresses and `localhost` need not be listed.
    pub insecure: BTreeSet<String>,
    /// PEM files with certificates of authorities to trust beside the system's.
    pub ca_files: Vec<PathBuf>,
}

impl RegistryConfig {
    /// Whether this registry is spoken to over plain HTTP.
    pub fn is_plain_http(&self, domain: &str) -> bool {
        let host = host_of(domain);
        let loopback =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        loopback || self.insecure.contains(domain)
    }

    /// The base URL of a registry's API.
    pub fn base_url(&self, domain: &str) -> String {
        let host =
            if domain == super::reference::DEFAULT_DOMAIN { DOCKER_HUB_HOST } else { domain };
        let scheme = if self.is_plain_http(domain) { "http" } else { "https" };
        format!("{scheme}://{host}/v2/")
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host_of(domain: &str) -> &str {
    match domain.strip_prefix('[').and_then(|d| d.split_once(']')) {
        Some((address, _)) => address,
        None => domain.split_once(':').map_or(domain, |(host, _)| host),
    }
}

/// Credentials for a pull.
#[derive(Clone, PartialEq, Eq)]
pub enum RegistryAuth {
    /// User name and password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// An OAuth2 identity token, exchanged for an access token.
    IdentityToken(String),
    /// A bearer token sent to the registry as it is.
    RegistryToken(String),
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "RegistryAuth::Basic(..)",
            Self::IdentityToken(_) => "RegistryAuth::IdentityToken(..)",
            Self::RegistryToken(_) => "RegistryAuth::RegistryToken(..)",
        })
    }
}

/// A step of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The manifest is known.
    Resolved {
        /// Digest of what the reference means.
        digest: Digest,
        /// Layer blobs that are not here yet, with their bytes.
        missing: Vec<(Digest, u64)>,
    },
    /// More of a blob has arrived.
    Fetching {
        /// The blob.
        digest: Digest,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A layer is unpacked.
    Unpacked {
        /// Its blob.
        digest: Digest,
    },
}

/// Receives the steps of a pull; must not block.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// What a registry, or the way to it, answered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such image or blob.
    #[error("{0}: not found")]
    NotFound(String),
    /// Not with these credentials, or not at all: registries do not tell.
    #[error("pull access denied, repository does not exist or may require authorization: {0}")]
    Denied(String),
    /// The token server refused.
    #[error("failed to authorize: {0}")]
    Unauthorized(String),
    /// Another status.
    #[error("unexpected status from GET request to {url}: {status}{}", detail(message))]
    Status {
        /// What was asked.
        url: String,
        /// The code and its phrase.
        status: http::StatusCode,
        /// What the registry says about it.
        message: String,
        /// Seconds after which the registry wants to be asked again.
        retry_after: Option<u64>,
    },
    /// The registry cannot be reached, or the connection broke.
    #[error("failed to do request: Get {url:?}: {reason}")]
    Transport {
        /// What was asked.
        url: String,
        /// Why it failed.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("failed to do request: Get {url:?}: no answer within {seconds} s")]
    Timeout {
        /// What was asked.
        url: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The registry sent something else than asked for.
    #[error("{what} has digest {actual}, expected {expected}")]
    DigestMismatch {
        /// What was asked for.
        what: String,
        /// Its digest.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The registry sent more than allowed or announced.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The registry breaks its protocol.
    #[error("{url}: {reason}")]
    Protocol {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Certificates of trusted authorities cannot be used.
    #[error("certificates: {0}")]
    Certificates(String),
    /// The blob cannot be written here.
    #[error("write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl RegistryError {
    /// Whether asking again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Timeout { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 429)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_url_is_plain_http_only_for_loopback_and_listed_registries() {
        let config = RegistryConfig {
            insecure: BTreeSet::from(["10.0.0.5:5000".to_owned()]),
            ca_files: Vec::new(),
        };
        for (domain, url) in [
            ("docker.io", "https://registry-1.docker.io/v2/"),
            ("quay.io", "https://quay.io/v2/"),
            ("localhost:5000", "http://localhost:5000/v2/"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/v2/"),
            ("[::1]:5000", "http://[::1]:5000/v2/"),
            ("10.0.0.5:5000", "http://10.0.0.5:5000/v2/"),
            ("10.0.0.5", "https://10.0.0.5/v2/"),
            ("10.0.0.6:5000", "https://10.0.0.6:5000/v2/"),
            ("localhost.example.com", "https://localhost.example.com/v2/"),
        ] {
            assert_eq!(config.base_url(domain), url);
        }
    }

    #[test]
    fn credentials_are_not_printed() {
        let auth = RegistryAuth::Basic { username: "u".to_owned(), password: "secret".to_owned() };
        assert_eq!(format!("{auth:?}"), "RegistryAuth::Basic(..)");
    }
}
