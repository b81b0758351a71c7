//! The way through to the kubelets: `pods/log`, `pods/exec`, `pods/attach`, `pods/portforward`, `nodes/proxy`.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/{pod,node}/rest` and `apimachinery/pkg/util/proxy`. Where a request goes
//! is decided by pure functions in [`location`]; here it is dialled and carried. Invariants: the API server speaks to
//! kubelets only over TLS, verified, with its own certificate; no credential of the client is passed on; bytes are
//! streamed both ways and never gathered; a tunnel ends when either side, or the server, ends.

mod dial;
pub mod location;
mod tunnel;

use std::sync::Arc;

use api::kinds;
use apimachinery::gvk::GroupResource;
use apimachinery::status::StatusError;
use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HOST, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::sync::Semaphore;

use crate::discovery::prepared::built;
use crate::request_info::RequestInfo;
use crate::server::{Shutdown, TlsError, client_config};
use crate::{ApiServer, Body, KubeletTls};
use location::{Location, Stream};

pub use dial::DialError;

/// How much of a kubelet's error text is read; Kubernetes reads as much.
const MAX_ERROR_BYTES: usize = 50_000;

/// Tunnels open at once; each holds two connections and 64 KiB, so this caps them near 64 MiB. They are counted apart
/// because an upgraded connection has left the server's own limit.
const MAX_TUNNELS: usize = 1024;
/// When a client whose tunnel was refused should try again.
const RETRY_AFTER_SECONDS: i32 = 5;

/// Headers of the client that an upgrade passes on; everything else, credentials first, stays here.
const UPGRADE_HEADERS: [&str; 7] = [
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "x-stream-protocol-version",
];

/// Where the proxy finds pods and nodes.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// The current pod.
    ///
    /// # Errors
    /// `NotFound`.
    async fn pod(&self, namespace: &str, name: &str) -> Result<Pod, StatusError>;

    /// The current node.
    ///
    /// # Errors
    /// `NotFound`.
    async fn node(&self, name: &str) -> Result<Node, StatusError>;
}

#[async_trait]
impl Lookup for ApiServer {
    async fn pod(&self, namespace: &str, name: &str) -> Result<Pod, StatusError> {
        decode(&self.get_json(kinds::of::<Pod>(), namespace, name).await?)
    }

    async fn node(&self, name: &str) -> Result<Node, StatusError> {
        decode(&self.get_json(kinds::of::<Node>(), "", name).await?)
    }
}

/// Answers a request for a subresource that leads to a kubelet.
///
/// # Errors
/// As [`NodeProxy::handle`]; 405 for verbs the subresource does not have and for proxies that are not to nodes.
pub(crate) async fn handle(
    server: &Arc<ApiServer>,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, StatusError> {
    let row = kinds::find(&info.api_group, &info.api_version, &info.resource);
    let subresource = row.and_then(|row| row.subresource(&info.subresource));
    if !subresource.is_some_and(|s| s.verbs.contains(&info.verb.as_str())) {
        return Err(StatusError::method_not_allowed());
    }
    server.node_proxy.handle(server.as_ref(), info, request).await
}

fn decode<K: serde::de::DeserializeOwned>(json: &[u8]) -> Result<K, StatusError> {
    serde_json::from_slice(json).map_err(StatusError::internal)
}

/// Carries requests to kubelets.
pub struct NodeProxy {
    tls: Option<Arc<rustls::ClientConfig>>,
    tunnels: Arc<Semaphore>,
}

impl NodeProxy {
    /// A proxy that presents this certificate; without one every request is refused with `ServiceUnavailable`.
    ///
    /// # Errors
    /// When certificate and key do not fit.
    pub fn new(tls: Option<&KubeletTls>) -> Result<Self, TlsError> {
        let tls =
            tls.map(|t| client_config(&t.ca, t.cert.clone(), t.key.clone_key())).transpose()?;
        Ok(Self { tls, tunnels: Arc::new(Semaphore::new(MAX_TUNNELS)) })
    }

    /// Answers a request for one of the subresources that lead to a kubelet.
    ///
    /// # Errors
    /// The `Status` Kubernetes gives: unknown pod, container or node, no node yet, kubelet unreachable.
    pub async fn handle(
        &self,
        lookup: &dyn Lookup,
        info: &RequestInfo,
        request: Request<Body>,
    ) -> Result<Response<Body>, StatusError> {
        if let Some(stream) = Stream::of(&info.resource, &info.subresource) {
            let pod = lookup.pod(&info.namespace, &info.name).await?;
            return self.pod(lookup, &pod, stream, request).await;
        }
        if info.resource != Node::URL_PATH_SEGMENT {
            let resource =
                GroupResource::new("", format!("{}/{}", info.resource, info.subresource));
            return Err(StatusError::method_not_supported(&resource, &info.verb));
        }
        let target = location::node_proxy_target(&info.name)?;
        let node = lookup.node(target.node).await?;
        let location = location::node_proxy(&node, target.port, request.uri())?;
        self.forward(location, request).await
    }

    async fn pod(
        &self,
        lookup: &dyn Lookup,
        pod: &Pod,
        stream: Stream,
        request: Request<Body>,
    ) -> Result<Response<Body>, StatusError> {
        let query = request.uri().query().unwrap_or_default();
        let path = location::pod_path(pod, stream, query)?;
        let Some(node_name) = location::node_of(pod) else { return unscheduled(pod, stream) };
        let node = lookup.node(node_name).await?;
        let location = Location { authority: location::kubelet(&node)?, path };
        match stream {
            Stream::Log => self.log(pod, location).await,
            Stream::Exec | Stream::Attach | Stream::PortForward
                if !tunnel::is_upgrade(request.headers()) =>
            {
                Err(StatusError::bad_request("Upgrade request required"))
            }
            Stream::Exec | Stream::Attach | Stream::PortForward => {
                self.upgrade(location, request).await
            }
        }
    }

    /// Streams a log, as the kubelet sends it.
    async fn log(&self, pod: &Pod, location: Location) -> Result<Response<Body>, StatusError> {
        let request =
            kubelet_request(http::Method::GET, &location, HeaderMap::new(), Body::empty())?;
        let answer =
            self.send(&location, request).await.map_err(|e| plain_error(&e.of_get(&location)))?;
        if !answer.status().is_success() {
            return Err(kubelet_error(pod, answer).await);
        }
        Ok(built(
            Response::builder().header(CONTENT_TYPE, "text/plain"),
            Body::new(answer.into_body()),
        ))
    }

    /// Upgrades both connections and joins them.
    async fn upgrade(
        &self,
        location: Location,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, StatusError> {
        let permit = Arc::clone(&self.tunnels).try_acquire_owned().map_err(|_| {
            StatusError::too_many_requests(
                "Too many streams, please try again later.",
                RETRY_AFTER_SECONDS,
            )
        })?;
        let client = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let head = kubelet_request(
            parts.method.clone(),
            &location,
            upgrade_headers(&parts.headers),
            Body::empty(),
        )?;
        let mut answer = self.send(&location, head).await.map_err(|e| plain_error(&e.dialing()))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return refused_upgrade(answer);
        }
        let headers = upgrade_headers_of_answer(answer.headers());
        let (kubelet, shutdown) = (hyper::upgrade::on(&mut answer), shutdown(&parts));
        tokio::spawn(async move {
            let _permit = permit;
            tunnel::run(client, kubelet, shutdown).await;
        });
        let mut response =
            built(Response::builder().status(StatusCode::SWITCHING_PROTOCOLS), Body::empty());
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Passes a plain request on, and its answer back.
    async fn forward(
        &self,
        location: Location,
        request: Request<Body>,
    ) -> Result<Response<Body>, StatusError> {
        if tunnel::is_upgrade(request.headers()) {
            return self.upgrade(location, request).await;
        }
        let (parts, body) = request.into_parts();
        let request = kubelet_request(parts.method, &location, end_to_end(&parts.headers), body)?;
        let answer = self.send(&location, request).await.map_err(|e| plain_error(&e.dialing()))?;
        let (parts, body) = answer.into_parts();
        let mut response = built(Response::builder().status(parts.status), Body::new(body));
        *response.headers_mut() = end_to_end(&parts.headers);
        Ok(response)
    }

    async fn send(
        &self,
        location: &Location,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, DialError> {
        let tls = self.tls.as_ref().ok_or(DialError::NoCertificate)?;
        dial::send(Arc::clone(tls), location, request).await
    }
}

fn shutdown(parts: &Parts) -> tokio_util::sync::CancellationToken {
    parts.extensions.get::<Shutdown>().map_or_else(Default::default, |s| s.0.clone())
}

/// A pod without a node has an empty log, and nothing else.
fn unscheduled(pod: &Pod, stream: Stream) -> Result<Response<Body>, StatusError> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    match stream {
        Stream::Log => {
            Ok(built(Response::builder().header(CONTENT_TYPE, "text/plain"), Body::empty()))
        }
        Stream::Exec | Stream::Attach | Stream::PortForward => {
            Err(StatusError::bad_request(format!("pod {name} does not have a host assigned")))
        }
    }
}

fn kubelet_request(
    method: http::Method,
    location: &Location,
    headers: HeaderMap,
    body: Body,
) -> Result<Request<Body>, StatusError> {
    let uri: Uri = location
        .path
        .parse()
        .map_err(|_| StatusError::bad_request("the path cannot be passed on"))?;
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header(HOST, location.authority.to_string())
        .body(body)
        .map_err(StatusError::internal)?;
    request.headers_mut().extend(headers);
    Ok(request)
}

fn upgrade_headers(headers: &HeaderMap) -> HeaderMap {
    UPGRADE_HEADERS
        .iter()
        .map(|name| HeaderName::from_static(name))
        .flat_map(|name| {
            headers.get_all(&name).iter().map(move |value| (name.clone(), value.clone()))
        })
        .collect()
}

fn upgrade_headers_of_answer(headers: &HeaderMap) -> HeaderMap {
    let mut kept = upgrade_headers(headers);
    kept.extend(
        headers
            .get("sec-websocket-accept")
            .map(|v| (HeaderName::from_static("sec-websocket-accept"), v.clone())),
    );
    kept
}

/// Headers that are about the message and not about one connection, without the client's credentials.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const DROPPED: [&str; 10] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "authorization",
    ];
    let kept = headers.iter().filter(|(name, _)| !DROPPED.contains(&name.as_str()));
    let mut result = HeaderMap::new();
    for (name, value) in kept {
        result.append(name.clone(), value.clone());
    }
    result
}

/// An upgrade the kubelet did not make: its errors are passed on as they are.
fn refused_upgrade(answer: Response<Incoming>) -> Result<Response<Body>, StatusError> {
    let status = answer.status();
    if status.as_u16() < 400 {
        let message = format!("invalid upgrade response: status code {}", status.as_u16());
        return Err(StatusError::new(500, "", message, None));
    }
    let (parts, body) = answer.into_parts();
    let mut response = built(Response::builder().status(status), Body::new(body));
    *response.headers_mut() = end_to_end(&parts.headers);
    Ok(response)
}

/// A kubelet's refusal of a log, as the API server words it.
async fn kubelet_error(pod: &Pod, answer: Response<Incoming>) -> StatusError {
    let status = answer.status().as_u16();
    let text = match Limited::new(answer.into_body(), MAX_ERROR_BYTES).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => return StatusError::internal(error),
    };
    match status {
        400 => StatusError::bad_request(text),
        500 => StatusError::internal(text),
        _ => {
            let row = kinds::of::<Pod>();
            let resource = GroupResource {
                resource: format!("{}/log", row.plural).into(),
                ..row.group_resource()
            };
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            location::server_response(status, &resource, name, &text)
        }
    }
}

/// An error that Kubernetes does not classify.
fn plain_error(message: &str) -> StatusError {
    StatusError::new(500, "", message, None)
}

#[cfg(test)]
mod tests;
