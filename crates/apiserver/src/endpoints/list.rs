//! Lists: a snapshot of the watch cache, cut into a page, sent as stored bytes.
//!
//! Counterpart in Kubernetes: `endpoints/handlers/get.go` and `storage/cacher/delegator`.
//! Invariant: every page of a list shows the state at the first page's revision, or the list ends with 410.

use std::sync::Arc;

use api::kinds::Resource;
use apimachinery::field::{self, ErrorList, Path};
use apimachinery::status::StatusError;
use apimachinery::{fields, labels};
use bytes::Bytes;
use http::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;
use store::StoreError;

use super::Call;
use super::options::{Query, refuse};
use super::page::{self, Continue, Page};
use crate::negotiation::{As, Format};
use crate::responses::{self, Items, ListBody, ProtobufList};
use crate::storage::{Encoded, status_of};
use crate::table::{self, Columns, Form, IncludeObject, ListMeta};
use crate::watch_cache::{CacheError, Predicate, Snapshot, TooLarge, WatchCache};
use crate::{ApiServer, Body};

/// What a list or a watch asks for.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    pub(crate) labels: labels::Selector,
    pub(crate) fields: fields::Selector,
    pub(crate) limit: Option<usize>,
    pub(crate) continue_token: String,
    /// `None` for an empty resourceVersion.
    pub(crate) revision: Option<u64>,
    pub(crate) revision_match: RevisionMatch,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) allow_watch_bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
}

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevisionMatch {
    Unset,
    Exact,
    NotOlderThan,
}

impl ListOptions {
    /// Reads them from the query.
    pub(crate) fn parse(call: &Call) -> Result<Self, StatusError> {
        let query = &call.query;
        let watch = call.info.verb == "watch";
        let bad = |error: labels::SelectorError| StatusError::bad_request(error.to_string());
        let labels = labels::Selector::parse(query.text("labelSelector")).map_err(bad)?;
        let fields = fields::Selector::parse(query.text("fieldSelector")).map_err(bad)?;
        let limit = query
            .integer("limit")?
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0);
        let timeout =
            query.integer("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
        let send_initial_events = query.boolean("sendInitialEvents");
        refuse("ListOptions", if watch { validate_watch(query) } else { validate_list(query) })?;
        check_fields(call.served, &fields)?;
        check_name(call, &fields)?;
        Ok(Self {
            labels,
            fields: with_name(call, stored_fields(call, fields)),
            limit,
            continue_token: query.text("continue").to_owned(),
            revision: parse_revision(query.text("resourceVersion"))?,
            revision_match: revision_match(query.text("resourceVersionMatch")),
            timeout_seconds: timeout.filter(|seconds| *seconds > 0),
            allow_watch_bookmarks: query.boolean("allowWatchBookmarks").unwrap_or(false),
            send_initial_events,
        })
    }

    /// Which objects are wanted.
    pub(crate) fn predicate(&self, call: &Call) -> Predicate {
        let name = self.fields.requires_exact_match("metadata.name");
        let namespace = call.namespace();
        Predicate::new(call.resource, namespace).select(
            namespace,
            name,
            self.labels.clone(),
            self.fields.clone(),
        )
    }
}

fn revision_match(text: &str) -> RevisionMatch {
    match text {
        "Exact" => RevisionMatch::Exact,
        "NotOlderThan" => RevisionMatch::NotOlderThan,
        _ => RevisionMatch::Unset,
    }
}

const MATCH: &str = "resourceVersionMatch";
const UNLESS_REVISION: &str =
    "resourceVersionMatch is forbidden unless resourceVersion is provided";
const WITH_CONTINUE: &str = "resourceVersionMatch is forbidden when continue is provided";
const EXACT_ZERO: &str = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
const NOT_FOR_LIST: &str = "sendInitialEvents is forbidden for list";
const NEEDS_MATCH: &str = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
const NEEDS_INITIAL_EVENTS: &str =
    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";

fn validate_list(query: &Query) -> ErrorList {
    let (wanted, revision) = (query.text(MATCH), query.text("resourceVersion"));
    let at = Path::new(MATCH);
    let mut errors = ErrorList::new();
    if !wanted.is_empty() {
        if revision.is_empty() {
            errors.push(field::forbidden(&at, UNLESS_REVISION));
        }
        if !query.text("continue").is_empty() {
            errors.push(field::forbidden(&at, WITH_CONTINUE));
        }
        if !matches!(wanted, "Exact" | "NotOlderThan") {
            errors.push(field::not_supported(&at, wanted, &["Exact", "NotOlderThan", ""]));
        }
        if wanted == "Exact" && revision == "0" {
            errors.push(field::forbidden(&at, EXACT_ZERO));
        }
    }
    if query.boolean("sendInitialEvents").is_some() {
        errors.push(field::forbidden(&Path::new("sendInitialEvents"), NOT_FOR_LIST));
    }
    errors
}

fn validate_watch(query: &Query) -> ErrorList {
    let wanted = query.text(MATCH);
    let initial_events = query.boolean("sendInitialEvents").is_some();
    let at = Path::new(MATCH);
    let mut errors = ErrorList::new();
    if initial_events && wanted != "NotOlderThan" {
        errors.push(field::forbidden(&at, NEEDS_MATCH));
    }
    if !wanted.is_empty() {
        if !initial_events {
            errors.push(field::forbidden(&at, NEEDS_INITIAL_EVENTS));
        }
        if wanted != "NotOlderThan" {
            errors.push(field::not_supported(&at, wanted, &["NotOlderThan"]));
        }
        if !query.text("continue").is_empty() {
            errors.push(field::forbidden(&at, WITH_CONTINUE));
        }
    }
    errors
}

/// Refuses fields that the resource does not let clients select by.
fn check_fields(resource: &Resource, selector: &fields::Selector) -> Result<(), StatusError> {
    const EVERYWHERE: [&str; 2] = ["metadata.name", "metadata.namespace"];
    let known = |name: &str| resource.selectable.contains(&name) || EVERYWHERE.contains(&name);
    let Some(unknown) =
        selector.requirements().iter().find(|requirement| !known(&requirement.field))
    else {
        return Ok(());
    };
    let own_fields = resource.selectable.iter().any(|name| !EVERYWHERE.contains(name));
    let name = &unknown.field;
    Err(StatusError::bad_request(if own_fields {
        format!("field label not supported: {name}")
    } else {
        format!(
            "{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )
    }))
}

/// A name in the path of a watch acts as a field selector, and must agree with the one given.
fn check_name(call: &Call, selector: &fields::Selector) -> Result<(), StatusError> {
    let selected = selector.requires_exact_match("metadata.name");
    let disagrees = !selector.is_everything() && selected != Some(call.info.name.as_str());
    if call.info.name_in_path && disagrees {
        return Err(StatusError::bad_request(
            "fieldSelector metadata.name doesn't match requested name",
        ));
    }
    Ok(())
}

/// The selector in the words of the stored version.
fn stored_fields(call: &Call, selector: fields::Selector) -> fields::Selector {
    if call.served.conversion.is_none() {
        return selector;
    }
    selector.renamed(|name| call.served.stored_field(name).to_owned())
}

fn with_name(call: &Call, selector: fields::Selector) -> fields::Selector {
    if call.info.name_in_path && selector.is_everything() {
        fields::Selector::equals("metadata.name", &call.info.name)
    } else {
        selector
    }
}

/// A resourceVersion; `None` if it is empty.
///
/// # Errors
/// `BadRequest` for anything but a number.
pub(crate) fn parse_revision(text: &str) -> Result<Option<u64>, StatusError> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| {
        StatusError::bad_request(format!(
            "invalid resource version: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

/// Waits until the cache is as fresh as a resourceVersion demands: `None` is every write answered before, zero is anything.
///
/// # Errors
/// `Timeout` with the cause `ResourceVersionTooLarge`.
pub(crate) async fn wait(cache: &WatchCache, revision: Option<u64>) -> Result<(), StatusError> {
    match revision {
        None => cache.read_your_writes().await,
        Some(0) => Ok(()),
        Some(revision) => cache.wait_for(revision).await,
    }
    .map_err(too_large)
}

fn too_large(error: TooLarge) -> StatusError {
    too_large_version(error.requested, error.current)
}

fn too_large_version(requested: u64, current: u64) -> StatusError {
    let message = format!("Too large resource version: {requested}, current: {current}");
    StatusError::timeout(&message, 1).with_cause(StatusCause {
        message: Some("Too large resource version".to_owned()),
        reason: Some("ResourceVersionTooLarge".to_owned()),
        ..StatusCause::default()
    })
}

/// Answers with a list.
pub(crate) async fn list(call: &Call) -> Result<Response<Body>, StatusError> {
    let options = ListOptions::parse(call)?;
    let predicate = options.predicate(call);
    let (page, meta) = fetch(&call.server, call.resource, &predicate, &options).await?;
    render(call, page, &meta).await
}

/// The page that options ask for, and its metadata.
pub(super) async fn fetch(
    server: &ApiServer,
    resource: &Resource,
    predicate: &Predicate,
    options: &ListOptions,
) -> Result<(Page, ListMeta), StatusError> {
    let start = decode_continue(options, predicate)?;
    let snapshot = snapshot(&server.cache, resource, predicate, options, start.as_ref()).await?;
    let from = start.as_ref().map(|start| start.start.as_str());
    let page = page::cut(&snapshot.objects, predicate, from, options.limit);
    let next = page.next.clone().map(|start| Continue { revision: Some(snapshot.revision), start });
    if let (Some(_), Some(cache)) = (&next, server.cache.of(resource)) {
        cache.keep_for_pages(&snapshot);
    }
    let meta = ListMeta {
        resource_version: snapshot.revision,
        continue_token: next.map(|next| next.encode(predicate.prefix())).unwrap_or_default(),
        remaining_item_count: page.remaining,
    };
    Ok((page, meta))
}

fn decode_continue(
    options: &ListOptions,
    predicate: &Predicate,
) -> Result<Option<Continue>, StatusError> {
    if options.continue_token.is_empty() {
        return Ok(None);
    }
    if options.revision.is_some_and(|revision| revision != 0) {
        return Err(StatusError::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    Continue::decode(&options.continue_token, predicate.prefix()).map(Some)
}

async fn snapshot(
    cache: &WatchCache,
    resource: &Resource,
    predicate: &Predicate,
    options: &ListOptions,
    start: Option<&Continue>,
) -> Result<Snapshot, StatusError> {
    if let Some(start) = start {
        let Some(revision) = start.revision else {
            return newest(cache, resource, None).await;
        };
        return cache
            .snapshot_at(resource, revision)
            .await
            .map_err(|error| continue_expired(error, start, predicate));
    }
    match exact_revision(options) {
        Some(revision) => {
            cache.snapshot_at(resource, revision).await.map_err(|error| expired(error, revision))
        }
        None => newest(cache, resource, options.revision).await,
    }
}

async fn newest(
    cache: &WatchCache,
    resource: &Resource,
    revision: Option<u64>,
) -> Result<Snapshot, StatusError> {
    wait(cache, revision).await?;
    Ok(cache.snapshot(resource))
}

/// The one revision a list must show: asked for, or meant by `limit` together with a resourceVersion.
fn exact_revision(options: &ListOptions) -> Option<u64> {
    let revision = options.revision.filter(|revision| *revision > 0)?;
    match options.revision_match {
        RevisionMatch::Exact => Some(revision),
        RevisionMatch::Unset if options.limit.is_some() => Some(revision),
        _ => None,
    }
}

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a \
     new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
     results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
     deleted between the time the first chunk was returned and now may show up in the list.";

fn continue_expired(error: CacheError, start: &Continue, predicate: &Predicate) -> StatusError {
    if !matches!(error, CacheError::Store(StoreError::Compacted { .. })) {
        return expired(error, start.revision.unwrap_or(0));
    }
    let inconsistent = Continue { revision: None, start: start.start.clone() };
    let mut status = StatusError::expired(CONTINUE_EXPIRED);
    status.0.metadata.continue_ = Some(inconsistent.encode(predicate.prefix()));
    status
}

fn expired(error: CacheError, requested: u64) -> StatusError {
    match error {
        CacheError::Store(StoreError::Compacted { oldest, .. }) => StatusError::expired(format!(
            "The resourceVersion for the provided list is too old: {requested} ({oldest})"
        )),
        CacheError::Store(StoreError::Future { newest, .. }) => {
            too_large_version(requested, newest)
        }
        CacheError::Store(error) => status_of(error),
        CacheError::Corrupt(error) => StatusError::internal(error),
    }
}

/// The response that shows a page.
pub(super) async fn render(
    call: &Call,
    page: Page,
    meta: &ListMeta,
) -> Result<Response<Body>, StatusError> {
    let version = call.accepted.meta_version;
    let body = match call.accepted.shown_as {
        As::Object => return plain(call, page, meta).await,
        As::Table => {
            let include = IncludeObject::parse(call.query.text("includeObject"))?;
            let form = Form { version, include, columns: Columns::Shown };
            table::render(call.served, &page.items, meta, form)?
        }
        As::PartialObjectMetadata => {
            let head = head("PartialObjectMetadataList", version.api_version(), meta);
            let items = items(call, page)?;
            if call.accepted.format == Format::Protobuf {
                return ProtobufList::respond(&head, items, Items::Metadata).await;
            }
            let items: Result<Vec<Bytes>, StatusError> =
                items.iter().map(|item| table::partial(item, version)).collect();
            Bytes::from([&head[..], &items?.join(&b","[..]), b"]}\n"].concat())
        }
    };
    Ok(responses::json(StatusCode::OK, body, call.accepted.format))
}

/// The items of a list as the version of the path shows them; they carry no `apiVersion`, so those of the same shape are as they are.
fn items(call: &Call, page: Page) -> Result<Vec<Arc<Encoded>>, StatusError> {
    if call.served.same_shape() {
        return Ok(page.items);
    }
    let mut shown = Vec::with_capacity(page.items.len());
    for item in &page.items {
        let item = item.shown_as(call.served).map_err(StatusError::internal)?;
        shown.push(Arc::new(item.into_owned()));
    }
    Ok(shown)
}

async fn plain(call: &Call, page: Page, meta: &ListMeta) -> Result<Response<Body>, StatusError> {
    let head = head(call.served.list_kind, &call.served.api_version(), meta);
    let items = items(call, page)?;
    if call.accepted.format == Format::Protobuf {
        return ProtobufList::respond(&head, items, Items::Whole).await;
    }
    let list = ListBody::new(head, items);
    Ok(match call.accepted.format {
        Format::Json => {
            responses::with_body(StatusCode::OK, Format::Json.media_type(), Body::new(list))
        }
        other => responses::json(StatusCode::OK, list.collect(), other),
    })
}

fn head(kind: &str, api_version: &str, meta: &ListMeta) -> Bytes {
    let meta = serde_json::to_string(meta).unwrap_or_default();
    format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{meta},"items":["#).into()
}
