//! Bearer tokens known beforehand: the counterpart of `token/tokenfile` and `request/bearertoken`.
//!
//! Only SHA-256 digests are kept, and digests are compared in constant time, so neither memory nor timing
//! gives a token away.

use apimachinery::status::StatusError;
use async_trait::async_trait;
use http::header::AUTHORIZATION;
use ring::digest;

use super::{Authenticator, UserInfo, unauthorized};

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// A line has fewer than the three columns token, user, uid.
    #[error("token file line {line}: expected `token,user,uid[,\"group1,group2\"]`")]
    TooFewColumns {
        /// Line number from 1.
        line: usize,
    },
    /// A line has an empty token.
    #[error("token file line {line}: the token is empty")]
    EmptyToken {
        /// Line number from 1.
        line: usize,
    },
}

/// A fixed set of tokens and the users they stand for.
#[derive(Default)]
pub struct StaticTokens {
    entries: Vec<(Digest, UserInfo)>,
}

type Digest = [u8; digest::SHA256_OUTPUT_LEN];

impl StaticTokens {
    /// An empty set, which authenticates nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a token for `user`; `system:authenticated` is added to its groups.
    pub fn insert(&mut self, token: &str, user: UserInfo) {
        let groups = user.groups.clone();
        let user = UserInfo { groups: UserInfo::authenticated("", groups).groups, ..user };
        self.entries.push((hash(token), user));
    }

    /// Reads Kubernetes' token file: one `token,user,uid[,"group1,group2"]` per line.
    ///
    /// # Errors
    /// When a line has fewer than three columns or an empty token.
    pub fn from_csv(text: &str) -> Result<Self, TokenFileError> {
        let mut tokens = Self::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let columns: Vec<&str> =
                line.splitn(4, ',').map(|c| c.trim().trim_matches('"')).collect();
            let [token, name, uid, rest @ ..] = columns.as_slice() else {
                return Err(TokenFileError::TooFewColumns { line: index + 1 });
            };
            if token.is_empty() {
                return Err(TokenFileError::EmptyToken { line: index + 1 });
            }
            let groups =
                rest.iter().flat_map(|g| g.split(',')).map(str::trim).filter(|g| !g.is_empty());
            let user =
                UserInfo { uid: (*uid).to_owned(), ..UserInfo::authenticated(*name, groups) };
            tokens.insert(token, user);
        }
        Ok(tokens)
    }

    /// The user `token` stands for. Every entry is compared, whichever matches.
    pub fn find(&self, token: &str) -> Option<&UserInfo> {
        let wanted = hash(token);
        self.entries
            .iter()
            .fold(None, |found, (have, user)| found.or(same(have, &wanted).then_some(user)))
    }
}

#[async_trait]
impl Authenticator for StaticTokens {
    async fn authenticate(
        &self,
        parts: &http::request::Parts,
    ) -> Result<Option<UserInfo>, StatusError> {
        match bearer_token(parts) {
            None => Ok(None),
            Some(token) => self.find(token).cloned().map(Some).ok_or_else(unauthorized),
        }
    }
}

/// The bearer token of the `Authorization` header, or, for WebSocket clients in browsers, of the
/// subprotocol `base64url.bearer.authorization.k8s.io.…` (not taken yet: such clients get a 401).
pub fn bearer_token(parts: &http::request::Parts) -> Option<&str> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn hash(token: &str) -> Digest {
    let mut out = Digest::default();
    out.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    out
}

/// Compares without branching on the contents.
fn same(a: &Digest, b: &Digest) -> bool {
    let difference = a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(header: Option<&str>) -> http::request::Parts {
        let mut request = http::Request::builder().uri("/api/v1/pods");
        if let Some(value) = header {
            request = request.header(AUTHORIZATION, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn tokens() -> StaticTokens {
        StaticTokens::from_csv("t0k3n,jane,u1,\"dev,ops\"\n\nother,joe,u2\n").unwrap()
    }

    #[tokio::test]
    async fn bearer_token_known_gives_its_user() {
        for header in ["Bearer t0k3n", "bearer  t0k3n "] {
            let user = tokens().authenticate(&parts(Some(header))).await.unwrap().unwrap();
            assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", "u1"));
            assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        }
    }

    #[tokio::test]
    async fn bearer_token_absent_is_nobody() {
        for header in [None, Some("Basic amFuZTpqYW5l"), Some("Bearer "), Some("Bearer")] {
            assert_eq!(tokens().authenticate(&parts(header)).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn bearer_token_unknown_is_unauthorized() {
        for header in ["Bearer t0k3", "Bearer t0k3nn", "Bearer jane"] {
            let error = tokens().authenticate(&parts(Some(header))).await.unwrap_err();
            assert_eq!(error.code(), 401);
            assert_eq!(error.0.message.as_deref(), Some("Unauthorized"));
            assert_eq!(error.0.reason.as_deref(), Some("Unauthorized"));
        }
    }

    #[test]
    fn token_file_bad_lines_are_refused_with_their_number() {
        assert!(matches!(
            StaticTokens::from_csv("a,b"),
            Err(TokenFileError::TooFewColumns { line: 1 })
        ));
        assert!(matches!(
            StaticTokens::from_csv("a,b,c\n,b,c"),
            Err(TokenFileError::EmptyToken { line: 2 })
        ));
    }
}
