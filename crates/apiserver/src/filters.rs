//! The request path, in one place: identify, catch panics, authenticate, authorize, limit, route.
//!
//! Counterpart in Kubernetes: `DefaultBuildHandlerChain` of `k8s.io/apiserver/pkg/server`.
//!
//! Invariants:
//! - Every request passes the same stations in the same order, whether it comes from the network or from this process.
//! - What fails becomes a `Status`, also a panic; nothing is answered without authentication but the open paths of [`authn`].

mod flow;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::kinds::{self, Resource};
use apimachinery::duration;
use apimachinery::status::StatusError;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant as Deadline;

use crate::admission::Admission;
use crate::authn::{self, UserInfo};
use crate::authz::{self, Attributes};
use crate::discovery::Discovery;
use crate::metrics::{Metrics, RequestKind};
use crate::node_port::NodePorts;
use crate::node_proxy::NodeProxy;
use crate::openapi::OpenApi;
use crate::request_info::RequestInfo;
use crate::server::TlsError;
use crate::service_ip::ServiceAddresses;
use crate::storage::{self, Storage};
use crate::watch_cache::{CacheError, WatchCache};
use crate::{
    Body, Config, bootstrap, discovery, endpoints, health, kubernetes_service, metrics,
    negotiation, openapi, responses, service_account,
};
use flow::FlowControl;

/// How long a request may take that is neither a watch nor a stream (Kubernetes: 60 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Why an API server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read into memory.
    #[error("the objects in the store cannot be read: {0}")]
    Cache(#[from] CacheError),
    /// The objects every cluster has could not be made.
    #[error("the cluster's first objects cannot be created: {0}")]
    Bootstrap(StatusError),
    /// The certificate for kubelets cannot be used.
    #[error("the certificate for kubelets cannot be used: {0}")]
    KubeletTls(#[from] TlsError),
}

/// An API server. It is driven through [`ApiServer::handle`].
pub struct ApiServer {
    config: Config,
    pub(crate) storage: Storage,
    pub(crate) cache: Arc<WatchCache>,
    pub(crate) admission: Admission,
    pub(crate) addresses: ServiceAddresses,
    pub(crate) node_ports: NodePorts,
    flow: FlowControl,
    ready: AtomicBool,
    metrics: Metrics,
    pub(crate) discovery: Discovery,
    pub(crate) openapi: OpenApi,
    pub(crate) node_proxy: NodeProxy,
}

impl ApiServer {
    /// Reads the store into memory and creates what every cluster has.
    ///
    /// # Errors
    /// [`StartError`] when the store cannot be read or written.
    pub async fn start(config: Config) -> Result<Arc<Self>, StartError> {
        let cache = WatchCache::start(config.store.clone()).await?;
        let paths = discovery::other_paths(config.token_issuer.is_some());
        let server = Arc::new(Self {
            storage: Storage::new(config.store.clone(), config.event_ttl),
            admission: Admission::new(cache.clone()),
            addresses: ServiceAddresses::new(config.store.clone(), config.service_cidr),
            node_ports: NodePorts::new(config.store.clone()),
            flow: FlowControl::default(),
            ready: AtomicBool::new(false),
            metrics: Metrics::default(),
            discovery: Discovery::new(kinds::all(), &config.version, &paths),
            openapi: OpenApi::new(&config.version.git_version),
            node_proxy: NodeProxy::new(config.kubelet_client.as_ref())?,
            cache,
            config,
        });
        bootstrap::run(&server).await.map_err(StartError::Bootstrap)?;
        if let Some(advertised) = server.config.advertised {
            kubernetes_service::start(&server, advertised).await;
        }
        server.ready.store(true, Ordering::Release);
        Ok(server)
    }

    /// What the server was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The server's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether requests for objects can be answered.
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.cache.is_following()
    }

    /// The objects in memory.
    pub fn cache(&self) -> &Arc<WatchCache> {
        &self.cache
    }

    /// The current JSON of an object, every write answered before included.
    ///
    /// # Errors
    /// `NotFound`; `Timeout` when the cache does not catch up.
    pub async fn get_json(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Bytes, StatusError> {
        endpoints::get::read(self, resource, namespace, name).await.map(|object| object.json())
    }

    /// Answers a request. A `UserInfo` among the request's extensions says that it is authenticated already.
    pub async fn handle(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let audit_id = audit_id(request.headers());
        let headers = request.headers().clone();
        let accepted =
            negotiation::accept_for_error(&headers, request.uri().query().unwrap_or_default());
        let info = RequestInfo::parse(request.method(), request.uri());
        let counted =
            self.metrics.begin(info.as_ref().map_or(RequestKind::ReadOnly, RequestKind::of));
        let answered = match &info {
            Ok(info) => AssertUnwindSafe(self.answer(info, request))
                .catch_unwind()
                .await
                .unwrap_or_else(panicked),
            Err(error) => Err(StatusError::bad_request(error.to_string())),
        };
        let response = answered.unwrap_or_else(|error| responses::error(&error, &accepted));
        let mut response = responses::compress(&headers, response);
        responses::finish(&mut response, &audit_id);
        if let Ok(info) = &info {
            self.metrics.observe_request(info, response.status().as_u16(), started.elapsed());
        }
        metrics::until_sent(counted, response)
    }

    async fn answer(
        self: &Arc<Self>,
        info: &RequestInfo,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, StatusError> {
        let deadline = deadline(info, &request)?;
        let user = self.authenticate(&mut request).await?;
        self.authorize(info, &user).await?;
        let _turn = self.flow.admit(info, &user).await?;
        request.extensions_mut().insert(user);
        request.extensions_mut().insert(info.clone());
        if !info.resource_request {
            return self.answer_path(&request.into_parts().0);
        }
        let answer = endpoints::route(self, info, request);
        let Some(deadline) = deadline else {
            return answer.await;
        };
        tokio::time::timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// Answers for what is no resource: health, discovery, OpenAPI, metrics.
    fn answer_path(
        self: &Arc<Self>,
        parts: &http::request::Parts,
    ) -> Result<Response<Body>, StatusError> {
        let handlers = [
            health::handle,
            discovery::handle,
            openapi::handle,
            metrics::handle,
            service_account::handle,
        ];
        let answer = handlers.iter().find_map(|handler| handler(self, parts));
        answer.unwrap_or_else(|| Ok(responses::page_not_found()))
    }

    async fn authenticate(&self, request: &mut Request<Body>) -> Result<UserInfo, StatusError> {
        if let Some(user) = request.extensions_mut().remove::<UserInfo>() {
            return Ok(user);
        }
        // The body is not Sync, so the head travels alone.
        let (parts, body) = std::mem::take(request).into_parts();
        let user = self.identify(&parts).await;
        *request = Request::from_parts(parts, body);
        user
    }

    /// Who sent a request: whom the configured authenticator knows, else the ServiceAccount of the request's token.
    async fn identify(&self, parts: &http::request::Parts) -> Result<UserInfo, StatusError> {
        let known = authn::authenticate(self.config.authenticator.as_ref(), parts).await;
        let Some(token) = authn::bearer_token(parts) else { return known };
        if known.as_ref().is_ok_and(|user| !user.in_group(authn::GROUP_UNAUTHENTICATED)) {
            return known;
        }
        match self.service_account_of(token, &[]).await {
            Ok(Some((user, _))) => Ok(user),
            // Who shows a token that nobody knows is not let in as somebody without one.
            Ok(None) if self.config.token_issuer.is_some() => Err(authn::unauthorized()),
            Ok(None) => known,
            Err(error) => {
                tracing::info!(%error, "the token of a service account is refused");
                Err(authn::unauthorized())
            }
        }
    }

    async fn authorize(&self, info: &RequestInfo, user: &UserInfo) -> Result<(), StatusError> {
        let authorizer = self.config.authorizer.as_ref();
        let attributes = attributes(info, user);
        authz::check(authorizer, &attributes)?;
        if authz::node::narrows(&attributes) {
            self.authorize_node(&attributes).await?;
        }
        if info.verb == "get"
            && matches!(info.subresource.as_str(), "exec" | "attach" | "portforward")
        {
            // A WebSocket opens with GET, but to enter a container is to create something in it.
            authz::check(authorizer, &Attributes { verb: "create".to_owned(), ..attributes })?;
        }
        Ok(())
    }

    /// Narrows a node to what its pods name, every pod bound before this moment included.
    async fn authorize_node(&self, attributes: &Attributes) -> Result<(), StatusError> {
        let behind =
            |_| StatusError::service_unavailable("the pods in memory are behind the store");
        self.cache.read_your_writes().await.map_err(behind)?;
        authz::node::check_reads(attributes, |node, namespace| self.pods_on(node, namespace))
    }

    /// Refuses a question about what a node may read beyond what its pods name, as far as memory knows them.
    pub(crate) fn narrowed(&self, attributes: &Attributes) -> Result<(), StatusError> {
        if !authz::node::narrows(attributes) {
            return Ok(());
        }
        authz::node::check_reads(attributes, |node, namespace| self.pods_on(node, namespace))
    }

    /// The pods of a namespace that are bound to a node.
    fn pods_on(&self, node: &str, namespace: &str) -> Vec<Pod> {
        let row = kinds::of::<Pod>();
        let prefix = storage::collection_prefix(row, namespace);
        let snapshot = self.cache.snapshot(row);
        let bound = snapshot.objects.values().filter(|object| {
            object.key().starts_with(&prefix) && object.field(row, "spec.nodeName") == Some(node)
        });
        bound.filter_map(|object| serde_json::from_slice(&object.json()).ok()).collect()
    }

    /// Whether a group and version of the kind table begin this request's path.
    pub(crate) fn serves(&self, info: &RequestInfo) -> bool {
        kinds::all()
            .iter()
            .any(|row| row.group == info.api_group && row.version == info.api_version)
    }
}

/// What an authorizer is asked about a request.
pub(crate) fn attributes(info: &RequestInfo, user: &UserInfo) -> Attributes {
    Attributes {
        user: user.clone(),
        verb: info.verb.clone(),
        namespace: info.namespace.clone(),
        api_group: info.api_group.clone(),
        api_version: info.api_version.clone(),
        resource: info.resource.clone(),
        subresource: info.subresource.clone(),
        name: info.name.clone(),
        path: info.path.clone(),
        resource_request: info.resource_request,
    }
}

/// When a request must be answered: after the time its `timeout` parameter gives, or [`REQUEST_TIMEOUT`] if that is shorter
/// or the parameter is zero or absent. `None` for requests that may run on.
fn deadline<B>(info: &RequestInfo, request: &Request<B>) -> Result<Option<Deadline>, StatusError> {
    if info.is_long_running() {
        return Ok(None);
    }
    let query = endpoints::Query::parse(request.uri().query().unwrap_or_default());
    let wanted = match query.text("timeout") {
        "" => Duration::ZERO,
        text => requested_timeout(text)?,
    };
    let chosen = if wanted.is_zero() { REQUEST_TIMEOUT } else { wanted.min(REQUEST_TIMEOUT) };
    Ok(Some(Deadline::now() + chosen))
}

/// A `timeout` parameter; a negative one counts as none.
fn requested_timeout(text: &str) -> Result<Duration, StatusError> {
    let parsed = duration::parse(text).map_err(|error| {
        StatusError::bad_request(format!("invalid timeout specified in the request URL - {error}"))
    })?;
    Ok(Duration::try_from(parsed).unwrap_or_default())
}

/// The client's id for the request, or a new one.
fn audit_id(headers: &HeaderMap) -> String {
    let given = headers.get("audit-id").and_then(|value| value.to_str().ok());
    let usable = given.filter(|id| !id.is_empty() && id.len() <= 64);
    usable.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Result<Response<Body>, StatusError> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let message = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(message, "a request panicked");
    Err(StatusError::internal(
        "This request caused apiserver to panic. Look in the logs for details.",
    ))
}

fn too_slow() -> StatusError {
    StatusError::timeout("request did not complete within the allotted timeout", 0)
}
