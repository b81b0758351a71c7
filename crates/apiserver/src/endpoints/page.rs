//! Pages of a list: continue tokens, and which items a page has.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/storage/continue.go`.
//! A token is base64 of `{"v":"meta.k8s.io/v1","rv":REVISION,"start":"KEY\u0000"}`, the key relative to the list's prefix; a
//! revision of -1 continues at whatever is newest.

use std::ops::Bound;
use std::sync::Arc;

use apimachinery::status::StatusError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::storage::Encoded;
use crate::watch_cache::{Objects, Predicate};

const TOKEN_VERSION: &str = "meta.k8s.io/v1";
/// Tokens that were never handed out by this server are not worth decoding.
const MAX_TOKEN_BYTES: usize = 4096;

/// Where a list continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Continue {
    /// The revision of the first page; `None` for the newest.
    pub(super) revision: Option<u64>,
    /// The first key not to skip, absolute.
    pub(super) start: String,
}

#[derive(Deserialize, Serialize)]
struct Token {
    v: String,
    rv: i64,
    #[serde(default)]
    start: String,
}

impl Continue {
    /// Reads a token for a list with this prefix.
    ///
    /// # Errors
    /// `BadRequest` in Kubernetes' words.
    pub(super) fn decode(token: &str, prefix: &str) -> Result<Self, StatusError> {
        let invalid =
            |reason: &str| StatusError::bad_request(format!("continue key is not valid{reason}"));
        let bytes =
            if token.len() > MAX_TOKEN_BYTES { None } else { URL_SAFE_NO_PAD.decode(token).ok() };
        let token: Option<Token> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let token = token.ok_or_else(|| invalid(""))?;
        if token.v != TOKEN_VERSION {
            return Err(invalid(&format!(
                ": server does not recognize this encoded version {}",
                token.v
            )));
        }
        if token.rv == 0 {
            return Err(invalid(
                ": incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ));
        }
        if token.start.is_empty() {
            return Err(invalid(": encoded start key empty (version meta.k8s.io/v1)"));
        }
        let relative = token.start.strip_prefix('/').unwrap_or(&token.start);
        if relative.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid(&format!(": {}", token.start)));
        }
        Ok(Self { revision: u64::try_from(token.rv).ok(), start: format!("{prefix}{relative}") })
    }

    /// The token of a list with this prefix.
    pub(super) fn encode(&self, prefix: &str) -> String {
        let start = self.start.strip_prefix(prefix).unwrap_or(&self.start).to_owned();
        let rv = self.revision.map_or(-1, |revision| i64::try_from(revision).unwrap_or(i64::MAX));
        let token = Token { v: TOKEN_VERSION.to_owned(), rv, start };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }
}

/// A page of a list.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) items: Vec<Arc<Encoded>>,
    /// Where the next page starts, if there is one.
    pub(super) next: Option<String>,
    /// Items after this page, if nothing is filtered.
    pub(super) remaining: Option<i64>,
}

/// The items from `start` (or from the beginning) that a predicate wants, at most `limit` of them.
pub(super) fn cut(
    objects: &Objects,
    predicate: &Predicate,
    start: Option<&str>,
    limit: Option<usize>,
) -> Page {
    if let Some(key) = predicate.key() {
        let found = objects.get(key).filter(|object| predicate.matches(object));
        return Page { items: found.cloned().into_iter().collect(), ..Page::default() };
    }
    let from = start.unwrap_or(predicate.prefix());
    let range = (Bound::Included(from), Bound::<&str>::Unbounded);
    let in_prefix =
        objects.range::<_, str>(range).take_while(|(key, _)| key.starts_with(predicate.prefix()));
    let mut wanted =
        in_prefix.filter(|(_, object)| predicate.matches(object)).map(|(_, object)| object.clone());
    let Some(limit) = limit else {
        return Page { items: wanted.collect(), ..Page::default() };
    };
    let items: Vec<Arc<Encoded>> = wanted.by_ref().take(limit).collect();
    let rest = wanted.next().map(|_| 1 + wanted_count(wanted, predicate));
    let last = items.last().map(|item| format!("{}\0", item.key()));
    Page { next: rest.and(last), remaining: rest.filter(|_| predicate.is_everything()), items }
}

/// How many more there are, counted only when the count is told.
fn wanted_count(rest: impl Iterator, predicate: &Predicate) -> i64 {
    if predicate.is_everything() { i64::try_from(rest.count()).unwrap_or(i64::MAX) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continue_token_round_trips() {
        let at = Continue { revision: Some(7), start: "/registry/core/pods/a/b\0".to_owned() };
        let token = at.encode("/registry/core/pods/");
        assert_eq!(Continue::decode(&token, "/registry/core/pods/"), Ok(at));
    }

    #[test]
    fn continue_token_damaged_ones_answer() {
        let at = Continue { revision: Some(7), start: "/registry/core/pods/a/b\0".to_owned() };
        let token = at.encode("/registry/core/pods/");
        let json = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for place in 0..json.len() {
            for damage in [0x00, b'"', b'/', b'.', b'9', b'-', 0xff] {
                let mut json = json.clone();
                json[place] = damage;
                let token = URL_SAFE_NO_PAD.encode(&json);
                if let Ok(at) = Continue::decode(&token, "/registry/core/pods/") {
                    assert!(at.start.starts_with("/registry/core/pods/"), "{at:?}");
                    assert!(!at.start.contains("/../"), "{at:?}");
                }
            }
            assert!(Continue::decode(&token[..place], "/registry/core/pods/").is_err());
        }
    }

    #[test]
    fn continue_token_bad_ones_are_refused() {
        let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
        for (token, message) in [
            ("%%".to_owned(), "continue key is not valid"),
            (encode("{}"), "continue key is not valid"),
            (
                encode(r#"{"v":"x","rv":1,"start":"a"}"#),
                "continue key is not valid: server does not recognize this encoded version x",
            ),
            (
                encode(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#),
                "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (
                encode(r#"{"v":"meta.k8s.io/v1","rv":1}"#),
                "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)",
            ),
            (
                encode(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../secrets"}"#),
                "continue key is not valid: ../secrets",
            ),
        ] {
            let error = Continue::decode(&token, "/p/").expect_err("a bad token");
            assert_eq!((error.code(), error.message()), (400, message));
        }
    }
}
