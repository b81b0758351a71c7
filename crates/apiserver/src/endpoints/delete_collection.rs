//! DELETE of a collection: every object that selectors match.
//!
//! Counterpart in Kubernetes: `DeleteCollection` of `registry/generic/registry`. The answer is the list of what was found.

use apimachinery::status::StatusError;
use futures::{StreamExt, TryStreamExt};
use http::Response;

use super::list::{self, ListOptions};
use super::options::mode;
use super::{Call, delete, update};
use crate::Body;

/// Deletions in flight for one request: enough to share disk syncs, few enough to leave room for others.
const WORKERS: usize = 32;

/// Answers a DELETE of a collection.
pub(crate) async fn delete_collection(
    call: &Call,
    body: Body,
) -> Result<Response<Body>, StatusError> {
    let options = delete::options(call, body).await?;
    let list_options = ListOptions::parse(call)?;
    let predicate = list_options.predicate(call);
    let (page, meta) = list::fetch(&call.server, call.resource, &predicate, &list_options).await?;
    let mode = mode(options.dry_run.as_deref().unwrap_or_default());
    let options = &options;
    let deletions = page.items.clone().into_iter().map(|object| async move {
        let name = object.key().rsplit('/').next().unwrap_or_default();
        match delete::run(call, object.key(), name, options, mode).await {
            Ok(updated) => {
                update::settle(call, updated, mode).await;
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    });
    futures::stream::iter(deletions).buffer_unordered(WORKERS).try_collect::<Vec<()>>().await?;
    list::render(call, page, &meta).await
}
