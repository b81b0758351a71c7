//! Tokens of ServiceAccounts: who issues them, what they say, and whom they stand for.
//!
//! Counterpart in Kubernetes: `pkg/serviceaccount` (`claims.go`, `jwt.go`, `openidmetadata.go`).
//!
//! Invariants:
//! - A token is good only as long as its ServiceAccount, and the Pod, Secret or Node it is bound to, exist with the uid it
//!   names.
//! - The key may still be in the making when the server starts: whoever needs it waits for it, and nobody else does.

mod key;
mod metadata;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::kinds;
use apimachinery::field;
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::ApiServer;
use crate::authn::UserInfo;
pub use key::{KeyError, SigningKey};
pub(crate) use metadata::{PATHS, handle};

/// Who tokens are from, and for whom when they do not say: the API's name inside of the cluster, as kubeadm has it.
pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The user of a ServiceAccount is this, its namespace, a colon and its name.
const USER_PREFIX: &str = "system:serviceaccount:";
/// The group of all ServiceAccounts.
pub const GROUP_SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// How long what a token is bound to counts after it should have been gone, since clocks differ.
const LEEWAY_SECONDS: i64 = 60;

/// Issues tokens, and knows its own again.
#[derive(Debug)]
pub struct TokenIssuer {
    /// Who the tokens say they are from; also their audience when they name none.
    pub issuer: String,
    /// Where the public keys are published.
    pub jwks_uri: String,
    key: watch::Receiver<Option<Arc<SigningKey>>>,
}

/// Where a key goes that is made while the server already runs.
#[derive(Debug)]
pub struct KeySlot(watch::Sender<Option<Arc<SigningKey>>>);

impl KeySlot {
    /// Gives the issuer its key.
    pub fn set(self, key: SigningKey) {
        self.0.send_replace(Some(Arc::new(key)));
    }
}

impl TokenIssuer {
    /// An issuer whose key is still to come. When the slot is dropped empty, no token can be issued or verified.
    pub fn new(issuer: impl Into<String>, jwks_uri: impl Into<String>) -> (Self, KeySlot) {
        let (slot, key) = watch::channel(None);
        (Self { issuer: issuer.into(), jwks_uri: jwks_uri.into(), key }, KeySlot(slot))
    }

    /// The key if it is there.
    fn key_now(&self) -> Option<Arc<SigningKey>> {
        self.key.borrow().clone()
    }

    async fn key(&self) -> Result<Arc<SigningKey>, StatusError> {
        let mut key = self.key.clone();
        let there = key.wait_for(Option::is_some).await;
        there
            .ok()
            .and_then(|key| key.clone())
            .ok_or_else(|| StatusError::internal("there is no key that signs tokens"))
    }

    /// A signed token.
    ///
    /// # Errors
    /// When there is no key.
    pub(crate) async fn sign(&self, claims: &Claims) -> Result<String, StatusError> {
        let key = self.key().await?;
        let header =
            Header { typ: None, kid: Some(key.id.clone()), ..Header::new(Algorithm::RS256) };
        let signed = jsonwebtoken::encode(&header, claims, &key.private);
        signed.map_err(|error| StatusError::internal(format!("failed to generate token: {error}")))
    }

    /// Whether a token says it is from this issuer. Nothing of it is verified.
    fn claims_to_be_ours(&self, token: &str) -> bool {
        #[derive(Deserialize)]
        struct Unverified {
            iss: String,
        }
        let parsed = jsonwebtoken::dangerous::insecure_decode::<Unverified>(token);
        parsed.is_ok_and(|token| token.claims.iss == self.issuer)
    }

    /// What a token says, if its signature, its issuer and its times are good.
    async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let key = self.key().await.map_err(|_| TokenError::NoKey)?;
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&[&self.issuer]);
        rules.validate_nbf = true;
        // The audience is compared with what the caller wants, which may be several.
        rules.validate_aud = false;
        rules.leeway = LEEWAY_SECONDS.unsigned_abs();
        let token = jsonwebtoken::decode::<Claims>(token, &key.public, &rules)?;
        Ok(token.claims)
    }
}

/// Why a token is refused. The client only hears 401; TokenReview tells the reason.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is no key to verify it with.
    #[error("invalid signature, no keys found")]
    NoKey,
    /// It is damaged, forged, expired or not valid yet.
    #[error("{0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// It is for somebody else.
    #[error(
        "token audiences {} is invalid for the target audiences {}",
        quoted(found),
        quoted(wanted)
    )]
    OtherAudience {
        /// Whom it is for.
        found: Vec<String>,
        /// Who asks.
        wanted: Vec<String>,
    },
    /// What it stands for, or is bound to, is gone.
    #[error("{0}")]
    Gone(String),
}

/// A list as Go's `%q` prints it.
fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| field::quote(item)).collect();
    format!("[{}]", items.join(" "))
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) bound: Bound,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// Whom a token stands for, and what it ends with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Named>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Named>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Named>,
    pub(crate) serviceaccount: Named,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) warnafter: Option<i64>,
}

/// An object by name and uid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

impl Named {
    /// An object as tokens name it.
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Self { name: text(&meta.name), uid: text(&meta.uid) }
    }
}

/// The user that a ServiceAccount is.
pub(crate) fn user_name(namespace: &str, name: &str) -> String {
    format!("{USER_PREFIX}{namespace}:{name}")
}

/// The user that a token stands for.
fn user_of(claims: &Claims) -> UserInfo {
    let (bound, account) = (&claims.bound, &claims.bound.serviceaccount);
    let namespace = &bound.namespace;
    let groups =
        [GROUP_SERVICE_ACCOUNTS.to_owned(), format!("{GROUP_SERVICE_ACCOUNTS}:{namespace}")];
    let user = UserInfo::authenticated(user_name(namespace, &account.name), groups);
    let mut extra = BTreeMap::new();
    let mut add = |key: &str, value: String| {
        if !value.is_empty() {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
        }
    };
    if !claims.jti.is_empty() {
        add("credential-id", format!("JTI={}", claims.jti));
    }
    for (what, named) in [("pod", &bound.pod), ("node", &bound.node)] {
        let Some(named) = named else { continue };
        add(&format!("{what}-name"), named.name.clone());
        add(&format!("{what}-uid"), named.uid.clone());
    }
    UserInfo { uid: account.uid.clone(), extra, ..user }
}

impl ApiServer {
    /// Whom a ServiceAccount's token stands for, and for which of the wanted audiences; without wanted ones the server's own
    /// counts. `None` when the token is not from this server's issuer.
    ///
    /// # Errors
    /// [`TokenError`] for a token of this issuer that is not, or no longer, good.
    pub async fn service_account_of(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<(UserInfo, Vec<String>)>, TokenError> {
        let Some(issuer) = self.config().token_issuer.as_ref() else { return Ok(None) };
        if !issuer.claims_to_be_ours(token) {
            return Ok(None);
        }
        let claims = issuer.verify(token).await?;
        let own = std::slice::from_ref(&issuer.issuer);
        let wanted = if audiences.is_empty() { own } else { audiences };
        let shared: Vec<String> =
            claims.aud.iter().filter(|audience| wanted.contains(audience)).cloned().collect();
        if shared.is_empty() {
            let (found, wanted) = (claims.aud.clone(), wanted.to_vec());
            return Err(TokenError::OtherAudience { found, wanted });
        }
        self.check_bound(&claims.bound).await?;
        Ok(Some((user_of(&claims), shared)))
    }

    /// Checks that what a token stands for and is bound to is still the same.
    async fn check_bound(&self, bound: &Bound) -> Result<(), TokenError> {
        let namespace = bound.namespace.as_str();
        self.check_one::<ServiceAccount>(namespace, &bound.serviceaccount).await?;
        match (&bound.secret, &bound.pod, &bound.node) {
            (Some(secret), ..) => self.check_one::<Secret>(namespace, secret).await,
            (None, Some(pod), _) => self.check_one::<Pod>(namespace, pod).await,
            (None, None, Some(node)) => self.check_one::<Node>("", node).await,
            (None, None, None) => Ok(()),
        }
    }

    async fn check_one<K>(&self, namespace: &str, named: &Named) -> Result<(), TokenError>
    where
        K: Resource + KubeObject + serde::de::DeserializeOwned,
    {
        let invalidated = || TokenError::Gone("service account token has been invalidated".into());
        let row = kinds::of::<K>();
        let found = self.get_json(row, namespace, &named.name).await;
        let json = found.map_err(|error| match K::KIND {
            ServiceAccount::KIND => TokenError::Gone(error.to_string()),
            _ => invalidated(),
        })?;
        let object: K = serde_json::from_slice(&json).map_err(|_| invalidated())?;
        let uid = object.meta().uid.clone().unwrap_or_default();
        if uid != named.uid {
            let reason = format!("{} UID ({uid}) does not match claim ({})", K::KIND, named.uid);
            return Err(TokenError::Gone(reason));
        }
        let deleted = object.meta().deletion_timestamp.as_ref();
        let limit = Timestamp::now().as_second() - LEEWAY_SECONDS;
        match deleted.is_some_and(|at| at.0.as_second() < limit) {
            true => Err(invalidated()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(now: i64) -> Claims {
        let serviceaccount = Named { name: "robot".into(), uid: "u1".into() };
        let pod = Named { name: "p".into(), uid: "u2".into() };
        Claims {
            aud: vec!["api".into()],
            exp: now + 600,
            iat: now,
            iss: "https://issuer".into(),
            jti: "j".into(),
            bound: Bound {
                namespace: "default".into(),
                pod: Some(pod),
                serviceaccount,
                ..Bound::default()
            },
            nbf: now,
            sub: user_name("default", "robot"),
        }
    }

    fn issuer() -> (TokenIssuer, String) {
        let (issuer, slot) = TokenIssuer::new("https://issuer", "https://issuer/openid/v1/jwks");
        let pem = SigningKey::generate().unwrap();
        slot.set(SigningKey::from_pem(&pem).unwrap());
        (issuer, pem)
    }

    #[tokio::test]
    async fn tokens_are_known_again_until_they_expire_or_are_changed() {
        let (issuer, _) = issuer();
        let now = Timestamp::now().as_second();
        let token = issuer.sign(&claims(now)).await.unwrap();
        assert!(issuer.claims_to_be_ours(&token));
        assert_eq!(issuer.verify(&token).await.unwrap(), claims(now));
        let expired = issuer.sign(&claims(now - 1000)).await.unwrap();
        assert_eq!(issuer.verify(&expired).await.unwrap_err().to_string(), "ExpiredSignature");
        let future = issuer.sign(&claims(now + 1000)).await.unwrap();
        assert_eq!(issuer.verify(&future).await.unwrap_err().to_string(), "ImmatureSignature");
        let (head, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = head.split_once('.').unwrap();
        let other = issuer.sign(&claims(now + 1)).await.unwrap();
        let payload = other.split('.').nth(1).unwrap();
        let forged = format!("{header}.{payload}.{signature}");
        assert_eq!(issuer.verify(&forged).await.unwrap_err().to_string(), "InvalidSignature");
        for foreign in ["", "a.b", "a.b.c", "{}"] {
            assert!(!issuer.claims_to_be_ours(foreign), "{foreign}");
        }
    }

    #[tokio::test]
    async fn signing_waits_for_the_key_and_fails_when_none_comes() {
        let (issuer, slot) = TokenIssuer::new("https://issuer", "");
        drop(slot);
        assert_eq!(issuer.sign(&claims(0)).await.unwrap_err().code(), 500);
    }

    #[test]
    fn user_of_a_pod_bound_token_names_the_pod() {
        let user = user_of(&claims(0));
        assert_eq!(
            (user.name.as_str(), user.uid.as_str()),
            ("system:serviceaccount:default:robot", "u1")
        );
        let groups =
            ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"];
        assert_eq!(user.groups, groups);
        let extra: Vec<String> =
            user.extra.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        let wanted = [
            "authentication.kubernetes.io/credential-id=[\"JTI=j\"]",
            "authentication.kubernetes.io/pod-name=[\"p\"]",
            "authentication.kubernetes.io/pod-uid=[\"u2\"]",
        ];
        assert_eq!(extra, wanted);
    }
}
