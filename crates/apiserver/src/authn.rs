//! Who is asking: the counterpart of `k8s.io/apiserver/pkg/authentication`.
//!
//! An [`Authenticator`] looks at the head of a request and says who made it. `Ok(None)` means "no
//! credential of mine is here", `Err` means "there is one and it is wrong". Invariants: a wrong credential
//! is always a 401 and never falls back to `system:anonymous`; every authenticated user carries the group
//! `system:authenticated`; an anonymous one exists only for the open paths of [`anonymous_allowed`].

mod token;
mod union;
mod x509;

use std::collections::BTreeMap;

use apimachinery::status::StatusError;
use async_trait::async_trait;

pub use token::{StaticTokens, TokenFileError, bearer_token};
pub use union::Union;
pub use x509::{PeerCertificates, X509};

/// Group of every user that presented a valid credential.
pub const GROUP_AUTHENTICATED: &str = "system:authenticated";
/// Group of every request without a credential.
pub const GROUP_UNAUTHENTICATED: &str = "system:unauthenticated";
/// Group to which every authorizer here grants everything.
pub const GROUP_MASTERS: &str = "system:masters";
/// Name of the user of a request without a credential.
pub const USER_ANONYMOUS: &str = "system:anonymous";

/// The paths, with everything below them, that answer without a credential, as Kubernetes' default
/// bootstrap roles `system:public-info-viewer` and the health endpoints allow.
pub const OPEN_PATHS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// The user behind a request, as `user.Info` of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// Name that identifies the user among all active users.
    pub name: String,
    /// Identity that survives renaming; empty when the credential carries none.
    pub uid: String,
    /// Groups, in the order the credential named them.
    pub groups: Vec<String>,
    /// Further attributes an authenticator knows, by lower-case key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user with this name and these groups, and `system:authenticated` added.
    pub fn authenticated<G: Into<String>>(
        name: impl Into<String>,
        groups: impl IntoIterator<Item = G>,
    ) -> Self {
        let mut user = Self {
            name: name.into(),
            groups: groups.into_iter().map(Into::into).collect(),
            ..Self::default()
        };
        if !user.in_group(GROUP_AUTHENTICATED) {
            user.groups.push(GROUP_AUTHENTICATED.to_owned());
        }
        user
    }

    /// The user of a request without a credential.
    pub fn anonymous() -> Self {
        Self {
            name: USER_ANONYMOUS.to_owned(),
            groups: vec![GROUP_UNAUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// Whether the user belongs to `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// Says who made a request.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Looks at the head of a request. `Ok(None)` when no credential of this kind is present.
    ///
    /// # Errors
    /// A 401 `Status` when a credential is present and is not valid.
    async fn authenticate(
        &self,
        parts: &http::request::Parts,
    ) -> Result<Option<UserInfo>, StatusError>;
}

/// Whether `path` is one of [`OPEN_PATHS`] or below one.
pub fn anonymous_allowed(path: &str) -> bool {
    OPEN_PATHS.iter().any(|open| match path.strip_prefix(open) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    })
}

/// Runs `authenticator`; a request without a credential becomes `system:anonymous` on an open path and is
/// refused elsewhere.
///
/// # Errors
/// A 401 `Status` for a wrong credential, and for a missing one on a path that is not open.
pub async fn authenticate(
    authenticator: &dyn Authenticator,
    parts: &http::request::Parts,
) -> Result<UserInfo, StatusError> {
    match authenticator.authenticate(parts).await? {
        Some(user) => Ok(user),
        None if anonymous_allowed(parts.uri.path()) => Ok(UserInfo::anonymous()),
        None => Err(unauthorized()),
    }
}

/// The 401 every failed authentication answers with; the reason stays in the log.
pub fn unauthorized() -> StatusError {
    StatusError::unauthorized("Unauthorized")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_allowed_open_paths_and_below_only() {
        for path in ["/healthz", "/livez/ping", "/readyz", "/version", "/healthz/etcd"] {
            assert!(anonymous_allowed(path), "{path}");
        }
        for path in
            ["/", "/api", "/healthzz", "/versions", "/metrics", "/api/v1/pods", "/openapi/v2"]
        {
            assert!(!anonymous_allowed(path), "{path}");
        }
    }

    #[test]
    fn authenticated_user_carries_the_group_once() {
        let user = UserInfo::authenticated("jane", ["dev", GROUP_AUTHENTICATED]);
        assert_eq!(user.groups, ["dev", GROUP_AUTHENTICATED]);
        assert_eq!(UserInfo::authenticated("jane", ["dev"]).groups, ["dev", GROUP_AUTHENTICATED]);
    }
}
