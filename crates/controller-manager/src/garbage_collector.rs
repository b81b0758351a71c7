//! Deletes what lost all its owners, and carries out foreground and orphaning deletion. Counterpart:
//! `pkg/controller/garbagecollector`.
//!
//! Invariants:
//! * Every resource that discovery offers with list, watch and delete is followed, by its metadata only; Events alone are
//!   left out, as they are many and own nothing.
//! * Nothing is deleted because the graph lacks an owner: an owner counts as absent when it was seen to go, or when the
//!   API server says so, asked by name and compared by uid.
//! * Every write carries the uid or the revision it was decided on.

mod decide;
mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::backoff::Backoff;
use client::controller::Runtime;
use client::discovery::{ServedResource, served_resources};
use client::informer::{Selection, Sink, follow};
use client::resource::PartialObject;
use client::{
    ApiErrorExt, CancellationToken, Client, Controller, Kind, ObjectKey, Plan, ResourceType,
    Watches, WorkQueue, request,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use tokio::sync::watch;

use decide::{Observed, OwnerState};
use graph::{Graph, Node};

/// What a resource must offer to be collected.
const NEEDED_VERBS: [&str; 3] = ["list", "watch", "delete"];

/// The garbage collector.
#[derive(Debug, Default)]
pub struct GarbageCollector {
    graph: Arc<Mutex<Graph>>,
    /// Resources by group and kind.
    kinds: Mutex<BTreeMap<(String, String), ResourceType>>,
    monitors: Mutex<Option<Monitors>>,
}

/// What is needed to follow one more resource.
struct Monitors {
    client: Client,
    queue: Arc<WorkQueue<String>>,
    shutdown: CancellationToken,
    followed: BTreeSet<ResourceType>,
    unsynced: watch::Sender<usize>,
}

impl std::fmt::Debug for Monitors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitors").field("followed", &self.followed).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Feeds the graph from one resource.
struct GraphFeed {
    graph: Arc<Mutex<Graph>>,
    queue: Arc<WorkQueue<String>>,
    resource: Arc<ResourceType>,
    unsynced: Mutex<Option<watch::Sender<usize>>>,
}

impl GraphFeed {
    fn enqueue(&self, uids: BTreeSet<String>) {
        uids.into_iter().for_each(|uid| self.queue.add(uid));
    }
}

impl Sink<PartialObject> for GraphFeed {
    fn replace(&self, items: Vec<PartialObject>, _revision: u64) {
        let nodes =
            items.into_iter().filter_map(|item| Node::new(self.resource.clone(), item.metadata));
        let affected = lock(&self.graph).replace(&self.resource, nodes);
        self.enqueue(affected);
        if let Some(unsynced) = lock(&self.unsynced).take() {
            unsynced.send_modify(|count| *count -= 1);
        }
    }

    fn upsert(&self, object: PartialObject) {
        let affected = Node::new(self.resource.clone(), object.metadata)
            .map(|node| lock(&self.graph).observe(node));
        self.enqueue(affected.unwrap_or_default());
    }

    fn remove(&self, object: PartialObject) {
        let affected = object.metadata.uid.map(|uid| lock(&self.graph).remove(&uid));
        self.enqueue(affected.unwrap_or_default());
    }

    fn bookmark(&self, _revision: u64) {}
}

impl Monitors {
    fn follow(&mut self, graph: &Arc<Mutex<Graph>>, resource: &ResourceType) {
        if !self.followed.insert(resource.clone()) {
            return;
        }
        self.unsynced.send_modify(|count| *count += 1);
        let feed = GraphFeed {
            graph: graph.clone(),
            queue: self.queue.clone(),
            resource: Arc::new(resource.clone()),
            unsynced: Mutex::new(Some(self.unsynced.clone())),
        };
        let selection = Selection { metadata_only: true, ..Selection::all(resource.clone()) };
        tokio::spawn(follow(self.client.clone(), selection, feed, self.shutdown.clone()));
    }
}

fn is_collected(served: &ServedResource) -> bool {
    let events = [
        k8s_openapi::api::core::v1::Event::resource_type(),
        k8s_openapi::api::events::v1::Event::resource_type(),
    ];
    let is_event = events.iter().any(|event| {
        event.group == served.resource.group && event.plural == served.resource.plural
    });
    served.offers(&NEEDED_VERBS) && !is_event
}

impl GarbageCollector {
    /// Learns what the server serves and follows what is new.
    async fn discover(&self, client: &Client) -> Result<(), client::Error> {
        let served = served_resources(client).await?;
        let kinds = served.iter().map(|served| {
            (
                (served.resource.group.to_string(), served.resource.kind.to_string()),
                served.resource.clone(),
            )
        });
        *lock(&self.kinds) = kinds.collect();
        if let Some(monitors) = lock(&self.monitors).as_mut() {
            served
                .iter()
                .filter(|served| is_collected(served))
                .for_each(|served| monitors.follow(&self.graph, &served.resource));
        }
        Ok(())
    }

    /// The resource of a kind; asks the server again when the kind is new.
    async fn resource_of(
        &self,
        client: &Client,
        reference: &OwnerReference,
    ) -> Result<Option<ResourceType>, client::Error> {
        let key = (group_of(&reference.api_version).to_owned(), reference.kind.clone());
        if let Some(known) = lock(&self.kinds).get(&key) {
            return Ok(Some(known.clone()));
        }
        self.discover(client).await?;
        Ok(lock(&self.kinds).get(&key).cloned())
    }

    /// Every object that names `node` as an owner, by the API server's word. The graph follows each resource on its own and
    /// may not know yet of a dependent that was there before the deletion began; waiting for it, or letting go of it, is a
    /// promise, so it is asked for once before the finalizer is removed.
    async fn live_dependents(
        &self,
        client: &Client,
        node: &Node,
    ) -> Result<Vec<Node>, client::Error> {
        let followed: Vec<ResourceType> = {
            let monitors = lock(&self.monitors);
            monitors.iter().flat_map(|monitors| monitors.followed.iter().cloned()).collect()
        };
        let visible = followed
            .into_iter()
            .filter(|resource| resource.namespaced || node.key.namespace.is_empty());
        let mut dependents = Vec::new();
        for resource in visible {
            let objects = request::list_metadata(client, &resource, &node.key.namespace).await?;
            let resource = Arc::new(resource);
            let nodes = objects
                .into_iter()
                .filter_map(|object| Node::new(resource.clone(), object.metadata));
            dependents
                .extend(nodes.filter(|dependent| {
                    dependent.owners.iter().any(|owner| owner.uid == node.uid)
                }));
        }
        Ok(dependents)
    }

    /// Asks the API server for an owner that the graph does not vouch for.
    async fn look_up(
        &self,
        client: &Client,
        node: &Node,
        reference: &OwnerReference,
    ) -> Result<OwnerState, client::Error> {
        let Some(resource) = self.resource_of(client, reference).await? else {
            return Ok(OwnerState::UnknownKind);
        };
        if resource.namespaced && node.key.namespace.is_empty() {
            return Ok(OwnerState::Invalid);
        }
        let namespace = if resource.namespaced { node.key.namespace.as_str() } else { "" };
        let owner = request::get_metadata(
            client,
            &resource,
            &ObjectKey::namespaced(namespace, &reference.name),
        )
        .await?;
        let owner = owner.filter(|owner| owner.metadata.uid.as_ref() == Some(&reference.uid));
        Ok(match owner {
            None => OwnerState::Absent,
            Some(owner) if graph::is_foreground(&owner.metadata) => OwnerState::WaitsForDependents,
            Some(_) => OwnerState::Solid,
        })
    }
}

impl Controller for GarbageCollector {
    const NAME: &'static str = "garbage-collector-controller";
    const WORKERS: usize = 20;
    type Key = String;
    type Observed = Observed;

    fn watches(&self) -> Watches<String> {
        Watches::new()
    }

    async fn start(self: &Arc<Self>, runtime: &Runtime<String>) {
        let (unsynced, mut synced) = watch::channel(0);
        let client = runtime.client.clone();
        *lock(&self.monitors) = Some(Monitors {
            client: client.clone(),
            queue: runtime.queue.clone(),
            shutdown: runtime.shutdown.clone(),
            followed: BTreeSet::new(),
            unsynced,
        });
        let mut failures = 0;
        while let Err(error) = self.discover(&client).await {
            tracing::warn!(error = %error.message(), "discovery failed");
            tokio::time::sleep(Backoff::LIST_WATCH.jittered(failures)).await;
            failures += 1;
        }
        let _sender_lives_in_monitors = synced.wait_for(|count| *count == 0).await;
    }

    fn observe(&self, _caches: &client::Caches, uid: &String) -> Option<Observed> {
        lock(&self.graph).neighbourhood(uid)
    }

    async fn complete(
        &self,
        mut observed: Observed,
        client: &Client,
    ) -> Result<Observed, client::Error> {
        for (reference, state) in &mut observed.owners {
            if *state == OwnerState::Unverified {
                *state = self.look_up(client, &observed.node, reference).await?;
            }
        }
        if observed.needs_all_dependents() {
            observed.add_dependents(self.live_dependents(client, &observed.node).await?);
        }
        if observed.needs_latest() {
            let live =
                request::get_metadata(client, &observed.node.resource, &observed.node.key).await?;
            observed.latest = live
                .map(|live| live.metadata)
                .filter(|live| live.uid.as_ref() == Some(&observed.node.uid));
        }
        Ok(observed)
    }

    fn reconcile(&self, observed: &Observed, _now: Timestamp) -> Plan {
        decide::decide(observed)
    }
}
