//! Several authenticators asked one after another: the counterpart of `authentication/request/union`.

use std::sync::Arc;

use apimachinery::status::StatusError;
use async_trait::async_trait;

use super::{Authenticator, UserInfo};

/// Asks each authenticator in order; the first user wins. As in Kubernetes, a wrong credential of one kind
/// does not hide a right one of another; when none is right, the first failure is the answer.
pub struct Union(Vec<Arc<dyn Authenticator>>);

impl Union {
    /// A union that asks in the order given.
    pub fn new(authenticators: Vec<Arc<dyn Authenticator>>) -> Self {
        Self(authenticators)
    }
}

#[async_trait]
impl Authenticator for Union {
    async fn authenticate(
        &self,
        parts: &http::request::Parts,
    ) -> Result<Option<UserInfo>, StatusError> {
        let mut failure = None;
        for authenticator in &self.0 {
            match authenticator.authenticate(parts).await {
                Ok(Some(user)) => return Ok(Some(user)),
                Ok(None) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}
