//! Read-modify-write with retries, and writing a status. Counterpart: client-go's `retry.RetryOnConflict`.
//!
//! Invariant: a status is only written when it differs from the one that is stored.

use http::Method;
use kube::{Client, Error};

use crate::backoff::Backoff;
use crate::error::ApiErrorExt;
use crate::request;
use crate::resource::{Kind, ObjectKey};

/// Attempts before a conflict is given back to the caller; client-go's `DefaultRetry` has five.
const MAX_ATTEMPTS: u32 = 5;

/// Runs `attempt` again, after a short pause, while it ends in a conflict.
///
/// # Errors
/// Any other error at once; the conflict itself after five attempts.
pub async fn retry_on_conflict<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut failures = 0;
    loop {
        match attempt().await {
            Err(error) if error.is_conflict() && failures + 1 < MAX_ATTEMPTS => {
                tokio::time::sleep(Backoff::CONFLICT.jittered(failures)).await;
                failures += 1;
            }
            result => return result,
        }
    }
}

/// Reads the object, lets `change` alter its status, and writes it to `/status` if that changed anything.
///
/// # Errors
/// The API's error, a conflict only after retries.
pub async fn apply_status<K: Kind + PartialEq>(
    client: &Client,
    key: &ObjectKey,
    change: impl Fn(&mut K),
) -> Result<K, Error> {
    let resource = K::resource_type();
    retry_on_conflict(|| async {
        let current: K = request::get(client, &resource, key).await?;
        let mut wanted = current.clone();
        change(&mut wanted);
        if wanted == current {
            return Ok(current);
        }
        let body = serde_json::to_vec(&wanted).map_err(Error::SerdeError)?;
        request::send(
            client,
            Method::PUT,
            &format!("{}/status", resource.object_path(key)),
            request::JSON,
            body,
        )
        .await
    })
    .await
}
