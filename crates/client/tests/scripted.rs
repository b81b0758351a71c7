//! Informers and the driver against an API server that does exactly what the test says.
//!
//! Invariant: a request that the test did not foresee hangs, so nothing can pass by luck.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::controller::{self, Controller};
use client::{Action, Caches, CancellationToken, Client, Informers, ObjectKey, Plan, Watches};
use futures::StreamExt;
use futures::channel::mpsc;
use http::{Method, Request, Response};
use http_body_util::StreamBody;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

type Frame = http_body::Frame<Bytes>;

const PATIENCE: Duration = Duration::from_secs(60);

type Lines = mpsc::UnboundedReceiver<Result<Frame, Infallible>>;

/// One foreseen request: method, text its path contains, and the answer.
struct Step {
    method: Method,
    path: &'static str,
    status: u16,
    body: Lines,
}

#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<Step>>>);

/// Sends lines of a watch that stays open until dropped.
struct Watch(mpsc::UnboundedSender<Result<Frame, Infallible>>);

impl Watch {
    fn send(&self, event: Value) {
        self.0.unbounded_send(Ok(Frame::data(Bytes::from(format!("{event}\n"))))).unwrap();
    }
}

impl Script {
    fn open(&self, method: Method, path: &'static str, status: u16) -> Watch {
        let (sender, body) = mpsc::unbounded();
        self.0.lock().unwrap().push_back(Step { method, path, status, body });
        Watch(sender)
    }

    /// Foresees a request and its whole answer.
    fn answer(&self, method: Method, path: &'static str, status: u16, body: Value) {
        self.open(method, path, status).send(body);
    }

    fn client(&self) -> Client {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<client::kube::client::Body>| {
            let script = script.clone();
            async move {
                match script.take(&request) {
                    Some(step) => Ok::<_, Infallible>(
                        Response::builder()
                            .status(step.status)
                            .body(StreamBody::new(step.body.boxed()))
                            .unwrap(),
                    ),
                    None => std::future::pending().await,
                }
            }
        });
        Client::new(service, "default")
    }

    fn take<B>(&self, request: &Request<B>) -> Option<Step> {
        let path = request.uri().to_string();
        let mut steps = self.0.lock().unwrap();
        let index = steps
            .iter()
            .position(|step| step.method == *request.method() && path.contains(step.path))?;
        steps.remove(index)
    }
}

fn object(kind: &str, name: &str, revision: u64) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": revision.to_string()}})
}

fn list(revision: u64, items: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": revision.to_string()}, "items": items})
}

fn gone() -> Value {
    json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version"})
}

async fn soon(what: &str, condition: impl Future<Output = ()>) {
    assert!(tokio::time::timeout(PATIENCE, condition).await.is_ok(), "{what}: in vain");
}

#[tokio::test]
async fn informer_lists_resumes_and_lists_anew_when_the_revision_is_gone() {
    let script = Script::default();
    let shutdown = CancellationToken::new();
    script.answer(
        Method::GET,
        "/configmaps?resourceVersion=0&resourceVersionMatch=NotOlderThan",
        200,
        list(5, &[object("ConfigMap", "a", 3), object("ConfigMap", "b", 4)]),
    );
    let first =
        script.open(Method::GET, "watch=true&allowWatchBookmarks=true&resourceVersion=5&", 200);
    let maps = Informers::new(script.client(), shutdown.clone()).store::<ConfigMap>();
    soon("the list", maps.synced()).await;
    assert_eq!((maps.len(), maps.revision()), (2, 5));

    first.send(json!({"type": "MODIFIED", "object": object("ConfigMap", "a", 7)}));
    first.send(json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}}}));
    soon("the bookmark", maps.reached(9)).await;
    let second = script.open(Method::GET, "resourceVersion=9&", 200);
    drop(first);
    second.send(json!({"type": "DELETED", "object": object("ConfigMap", "b", 11)}));
    soon("the resumed watch", maps.reached(11)).await;
    assert_eq!(maps.len(), 1);

    let changes = maps.subscribe();
    changes.next().await;
    script.answer(
        Method::GET,
        "/configmaps?resourceVersion=11&resourceVersionMatch=NotOlderThan",
        410,
        gone(),
    );
    script.answer(
        Method::GET,
        "/api/v1/configmaps",
        200,
        list(30, &[object("ConfigMap", "c", 20)]),
    );
    let third = script.open(Method::GET, "resourceVersion=30&", 200);
    second.send(json!({"type": "ERROR", "object": gone()}));
    soon("the new list", maps.reached(30)).await;
    let mut seen = [changes.next().await, changes.next().await];
    seen.sort_by_key(|change| change.new.is_some());
    assert_eq!(
        seen[0].old.as_ref().unwrap().metadata.name.as_deref(),
        Some("a"),
        "what the list lacks is told as deleted"
    );
    assert_eq!(seen[1].new.as_ref().unwrap().metadata.name.as_deref(), Some("c"));
    shutdown.cancel();
    drop(third);
}

/// Makes one Secret for each ConfigMap that has none, and counts its runs.
struct Mirror(Arc<AtomicUsize>);

impl Controller for Mirror {
    const NAME: &'static str = "mirror";
    type Key = ObjectKey;
    type Observed = (ObjectKey, bool);

    fn watches(&self) -> Watches<ObjectKey> {
        Watches::new().own::<ConfigMap>().read::<Secret>()
    }

    fn observe(&self, caches: &Caches, key: &ObjectKey) -> Option<Self::Observed> {
        Some((key.clone(), caches.of::<Secret>().get(key).is_some()))
    }

    fn reconcile(&self, (key, present): &Self::Observed, _now: Timestamp) -> Plan {
        self.0.fetch_add(1, Ordering::SeqCst);
        if *present {
            return Plan::nothing();
        }
        let mut secret = Secret::default();
        (secret.metadata.namespace, secret.metadata.name) =
            (Some(key.namespace.clone()), Some(key.name.clone()));
        Action::create(&secret).into()
    }
}

#[tokio::test]
async fn key_is_held_until_the_cache_has_seen_its_own_write() {
    let script = Script::default();
    let (shutdown, runs) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    script.answer(
        Method::GET,
        "/configmaps?resourceVersion=0",
        200,
        list(5, &[object("ConfigMap", "a", 3)]),
    );
    let maps_watch = script.open(Method::GET, "/configmaps?watch", 200);
    script.answer(Method::GET, "/secrets?resourceVersion=0", 200, list(5, &[]));
    let secrets_watch = script.open(Method::GET, "/secrets?watch", 200);
    let created = script.open(Method::POST, "/namespaces/ns/secrets", 201);
    let client = script.client();
    let informers = Informers::new(client.clone(), shutdown.clone());
    let (maps, secrets) = (informers.store::<ConfigMap>(), informers.store::<Secret>());
    tokio::spawn(controller::run(Mirror(runs.clone()), client, informers, shutdown.clone()));
    created.send(object("Secret", "a", 20));
    drop(created);
    maps_watch.send(json!({"type": "MODIFIED", "object": object("ConfigMap", "a", 21)}));
    maps_watch.send(json!({"type": "MODIFIED", "object": object("ConfigMap", "a", 22)}));
    soon("the changes", maps.reached(22)).await;
    // A second POST is not foreseen: a run before the cache has revision 20 would ask for it, and count.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1, "one run; the key is held");
    secrets_watch.send(json!({"type": "ADDED", "object": object("Secret", "a", 20)}));
    soon("the own write", secrets.reached(20)).await;
    soon("the held changes", async {
        while runs.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(runs.load(Ordering::SeqCst), 2, "both changes are one run");
    shutdown.cancel();
}
