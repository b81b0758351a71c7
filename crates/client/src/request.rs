//! Single requests for resources that are known by their [`ResourceType`] only. Counterpart: client-go's dynamic and
//! metadata clients. Where the type is known, `kube::Api` is the typed client.
//!
//! Invariant: every write asks for JSON and every answer of an error status becomes `kube::Error::Api`.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use kube::{Client, Error};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ApiErrorExt;
use crate::resource::{ObjectKey, PartialObject, ResourceType};

/// Content type of a plain object.
pub const JSON: &str = "application/json";
/// Content type of a JSON merge patch.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Content type of a strategic merge patch.
pub const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
/// Content type of a JSON patch.
pub const JSON_PATCH: &str = "application/json-patch+json";
/// Asks for metadata of one object; a server that cannot answers with the whole object.
pub const ACCEPT_PARTIAL: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// Asks for metadata of a list; a server that cannot answers with the whole objects.
pub const ACCEPT_PARTIAL_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// Builds a request with a body and an accepted type.
///
/// # Errors
/// When the path is not one (an object name with odd characters).
pub fn build(
    method: Method,
    path: &str,
    accept: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<Request<Vec<u8>>, Error> {
    let mut request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, content_type);
    }
    request.body(body).map_err(Error::HttpError)
}

/// Sends a body and decodes the answer.
///
/// # Errors
/// The API's error or the transport's.
pub async fn send<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<T, Error> {
    client.request(build(method, path, JSON, content_type, body)?).await
}

/// Reads one object.
///
/// # Errors
/// The API's error or the transport's.
pub async fn get<T: DeserializeOwned>(
    client: &Client,
    resource: &ResourceType,
    key: &ObjectKey,
) -> Result<T, Error> {
    send(client, Method::GET, &resource.object_path(key), JSON, Vec::new()).await
}

/// Reads the metadata of one object; `None` when it does not exist.
///
/// # Errors
/// The API's error or the transport's.
pub async fn get_metadata(
    client: &Client,
    resource: &ResourceType,
    key: &ObjectKey,
) -> Result<Option<PartialObject>, Error> {
    match client
        .request(build(Method::GET, &resource.object_path(key), ACCEPT_PARTIAL, JSON, Vec::new())?)
        .await
    {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
struct MetadataList {
    #[serde(default)]
    items: Option<Vec<PartialObject>>,
}

/// Lists the metadata of a resource, in its newest state: of one namespace, or of all when `namespace` is empty. A resource
/// that is no longer served, or cannot be listed, is empty.
///
/// # Errors
/// The API's error or the transport's.
pub async fn list_metadata(
    client: &Client,
    resource: &ResourceType,
    namespace: &str,
) -> Result<Vec<PartialObject>, Error> {
    let path = resource.collection_path(namespace);
    let request = build(Method::GET, &path, ACCEPT_PARTIAL_LIST, JSON, Vec::new())?;
    match client.request::<MetadataList>(request).await {
        Ok(list) => Ok(list.items.unwrap_or_default()),
        Err(error) if error.is_not_found() || error.is_method_not_supported() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Deletes one object with the given options; the answer (the object or a Status) is not kept.
///
/// # Errors
/// The API's error or the transport's.
pub async fn delete(client: &Client, path: &str, options: &DeleteOptions) -> Result<(), Error> {
    let body = serde_json::to_vec(options).map_err(Error::SerdeError)?;
    send::<serde::de::IgnoredAny>(client, Method::DELETE, path, JSON, body).await.map(|_| ())
}
