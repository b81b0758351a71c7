//! Registries: configuration and credentials.

use std::collections::BTreeSet;
use std::sync::Arc;

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    /// Registries (`host` or `host:port`) spoken to over plain HTTP. Loopback addresses and `localhost` need not be listed.
    pub insecure: BTreeSet<String>,
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

/// A step of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The manifest is known: digests and sizes of the layers that must be fetched.
    Resolved {
        /// Layers as (digest, bytes).
        layers: Vec<(String, u64)>,
    },
    /// More of a layer has arrived.
    Fetching {
        /// The blob.
        digest: String,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A layer is unpacked.
    Unpacked {
        /// The blob.
        digest: String,
    },
}

/// Receives the steps of a pull.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;
