//! A server over the in-memory store, and requests to it as an administrator.

use std::sync::Arc;

use apimachinery::status::StatusError;
use apiserver::authn::{Authenticator, GROUP_MASTERS, UserInfo};
use apiserver::authz::FixedPolicy;
use apiserver::{ApiServer, Body, Config, DEFAULT_EVENT_TTL, DEFAULT_SERVICE_CIDR};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// Knows nobody, so that only requests with a user attached pass.
struct Nobody;

#[async_trait::async_trait]
impl Authenticator for Nobody {
    async fn authenticate(
        &self,
        _: &http::request::Parts,
    ) -> Result<Option<UserInfo>, StatusError> {
        Ok(None)
    }
}

/// A server under test.
#[derive(Clone)]
pub struct Server {
    pub api: Arc<ApiServer>,
    pub store: Arc<store::Memory>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// Code, reason and message of a `Status`.
    pub fn failure(&self) -> (u16, String, String) {
        let status = self.json();
        assert_eq!(status["kind"], "Status", "{status}");
        let text = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), text("reason"), text("message"))
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        self.json()
    }

    pub fn warnings(&self) -> Vec<String> {
        let values = self.headers.get_all("warning").iter();
        values.map(|value| value.to_str().unwrap_or_default().to_owned()).collect()
    }
}

pub fn config(store: Arc<dyn store::Store>) -> Config {
    Config {
        store,
        authenticator: Arc::new(Nobody),
        authorizer: Arc::new(FixedPolicy),
        kubelet_client: None,
        version: Default::default(),
        event_ttl: DEFAULT_EVENT_TTL,
        token_issuer: None,
        service_cidr: DEFAULT_SERVICE_CIDR,
        advertised: None,
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A server whose configuration was changed.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let store = Arc::new(store::Memory::default());
        let mut config = config(store.clone());
        change(&mut config);
        let api = ApiServer::start(config).await.expect("a server");
        let server = Self { api, store };
        for namespace in ["default", "kube-system"] {
            server.service_account(namespace).await;
        }
        server
    }

    /// What the ServiceAccount controller does for every namespace.
    pub async fn service_account(&self, namespace: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        self.post(&path, json!({"metadata": {"name": "default"}})).await.expect(201);
    }

    pub async fn namespace(&self, name: &str) {
        self.post("/api/v1/namespaces", json!({"metadata": {"name": name}})).await.expect(201);
        self.service_account(name).await;
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::new(Body::from(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path");
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().expect("a header");
            request.headers_mut().append(name, value.parse().expect("a value"));
        }
        self.dispatch(request).await
    }

    async fn dispatch(&self, request: Request<Body>) -> Answer {
        self.dispatch_as(admin(), request).await
    }

    /// Sends a request as another user.
    pub async fn send_as(&self, user: UserInfo, method: Method, path: &str, body: Value) -> Answer {
        let mut request = Request::new(Body::from(body.to_string()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path");
        self.dispatch_as(user, request).await
    }

    async fn dispatch_as(&self, user: UserInfo, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(user);
        collect(self.api.handle(request).await).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string())
            .await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, &[("content-type", "application/json")], body.to_string())
            .await
    }

    pub async fn patch(&self, path: &str, kind: &str, body: Value) -> Answer {
        let media_type = format!("application/{kind}+json");
        self.send(Method::PATCH, path, &[("content-type", &media_type)], body.to_string()).await
    }

    pub async fn delete(&self, path: &str, options: Value) -> Answer {
        let body = if options.is_null() { String::new() } else { options.to_string() };
        self.send(Method::DELETE, path, &[("content-type", "application/json")], body).await
    }

    /// Opens a watch.
    pub async fn watch(&self, path: &str) -> Watch {
        self.watch_as(path, "application/json").await
    }

    pub async fn watch_as(&self, path: &str, accept: &str) -> Watch {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().expect("a path");
        request.headers_mut().insert("accept", accept.parse().expect("a value"));
        request.extensions_mut().insert(admin());
        let response = self.api.handle(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        Watch { body: response.into_body(), rest: Vec::new() }
    }
}

pub async fn collect(response: http::Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub fn admin() -> UserInfo {
    UserInfo::authenticated("admin", [GROUP_MASTERS])
}

/// An open watch.
pub struct Watch {
    body: Body,
    rest: Vec<u8>,
}

impl Watch {
    /// The next event, or `None` when the watch ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("an event"));
            }
            let frame = self.body.frame().await?.expect("a frame");
            self.rest.extend_from_slice(&frame.into_data().expect("data"));
        }
    }

    /// Type and name of the next event.
    pub async fn short(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", event["type"].as_str().unwrap_or_default())
    }
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

pub fn labelled(name: &str, label: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": label}}})
}

pub fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

pub fn deployment(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}
