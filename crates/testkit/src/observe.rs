//! Waiting for what a cluster does, by watching it: no sleeps, no polling.
//!
//! Invariant: what never happens fails the test after [`PATIENCE`] with the last state that was seen.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::TryStreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::Api;
use kube::runtime::watcher::{self, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::cluster::{PATIENCE, TestCluster};

/// Objects by name.
pub type Objects<K> = BTreeMap<String, K>;

/// Watches the objects of a namespace until `wanted` finds what it looks for in them.
///
/// # Panics
/// When that does not happen in time.
#[track_caller]
pub fn until<K, T>(
    cluster: &TestCluster,
    namespace: &str,
    what: &str,
    wanted: impl FnMut(&Objects<K>) -> Option<T> + Send,
) -> T
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + serde::Serialize
        + 'static,
    T: Send,
{
    let namespace = namespace.to_owned();
    let result = cluster.with_client(async move |client| {
        let mut objects = Objects::new();
        let found = watch(Api::namespaced(client, &namespace), &mut objects, wanted);
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.map_err(|_| serde_json::to_string_pretty(&objects).unwrap_or_default())
    });
    result.unwrap_or_else(|last| {
        panic!("not within {} s: {what}; last seen: {last}", PATIENCE.as_secs())
    })
}

async fn watch<K, T>(
    api: Api<K>,
    objects: &mut Objects<K>,
    mut wanted: impl FnMut(&Objects<K>) -> Option<T>,
) -> T
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = Box::pin(watcher(api, watcher::Config::default()));
    loop {
        // A watch that breaks is begun anew by the watcher itself.
        let Ok(event) = events.try_next().await else { continue };
        match event.expect("a watcher never ends") {
            watcher::Event::Init => {
                objects.clear();
                continue;
            }
            watcher::Event::InitApply(object) => {
                objects.insert(object.name_any(), object);
                continue;
            }
            watcher::Event::Apply(object) => drop(objects.insert(object.name_any(), object)),
            watcher::Event::Delete(object) => drop(objects.remove(&object.name_any())),
            watcher::Event::InitDone => {}
        }
        if let Some(found) = wanted(objects) {
            return found;
        }
    }
}

/// Waits until a pod is as `wanted` says, and returns it.
///
/// # Panics
/// When that does not happen in time.
#[track_caller]
pub fn pod(
    cluster: &TestCluster,
    namespace: &str,
    name: &str,
    what: &str,
    wanted: impl Fn(&Pod) -> bool + Send,
) -> Pod {
    let what = format!("pod {name} {what}");
    let found = move |pods: &Objects<Pod>| pods.get(name).filter(|pod| wanted(pod)).cloned();
    until(cluster, namespace, &what, found)
}

/// Waits until a pod is gone.
///
/// # Panics
/// When that does not happen in time.
#[track_caller]
pub fn pod_gone(cluster: &TestCluster, namespace: &str, name: &str) {
    until(cluster, namespace, &format!("pod {name} gone"), |pods: &Objects<Pod>| {
        (!pods.contains_key(name)).then_some(())
    });
}

/// Waits until something was told about an object, and returns the event.
///
/// # Panics
/// When that does not happen in time.
#[track_caller]
pub fn event(cluster: &TestCluster, namespace: &str, object: &str, reason: &str) -> Event {
    let what = format!("event {reason} of {object}");
    until(cluster, namespace, &what, |events: &Objects<Event>| {
        let about = |event: &&Event| event.involved_object.name.as_deref() == Some(object);
        let mut found = events.values().filter(about);
        found.find(|event| event.reason.as_deref() == Some(reason)).cloned()
    })
}

/// Whether a pod's phase is this one.
pub fn in_phase(pod: &Pod, phase: &str) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase)
}

/// Whether a pod is Ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// The status of a pod's container; the first one when no name is given.
pub fn container<'a>(pod: &'a Pod, name: Option<&str>) -> Option<&'a ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| name.is_none_or(|name| status.name == name))
}

/// Why a pod's first container waits, if it does.
pub fn waiting_reason(pod: &Pod) -> Option<&str> {
    let state = container(pod, None)?.state.as_ref()?;
    state.waiting.as_ref()?.reason.as_deref()
}

/// How often a pod's first container was restarted.
pub fn restarts(pod: &Pod) -> i32 {
    container(pod, None).map_or(0, |status| status.restart_count)
}

/// A pod's address.
pub fn pod_ip(pod: &Pod) -> Option<std::net::IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}
