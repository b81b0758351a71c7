//! Tells the API server where a pod goes, or that it goes nowhere.
//!
//! Counterpart in Kubernetes: `DefaultBinder` and `updatePodCondition`.

use client::{Api, Client, Kind, ObjectKey, request};
use http::Method;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// Binds a pod to a node.
///
/// # Errors
/// The API's error: a conflict when the pod already has a node, not found when it is gone.
pub async fn bind(client: &Client, pod: &Pod, node: &str) -> Result<(), kube::Error> {
    let key = ObjectKey::of(&pod.metadata);
    let path = format!("{}/binding", Pod::resource_type().object_path(&key));
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": pod.metadata.uid},
        "target": {"kind": "Node", "name": node},
    });
    let body = binding.to_string().into_bytes();
    let sent = request::send::<serde_json::Value>(client, Method::POST, &path, request::JSON, body);
    sent.await.map(|_| ())
}

/// Notes in the pod's status why it is not scheduled, if that is news.
///
/// # Errors
/// The API's error.
pub async fn note_unschedulable(
    client: &Client,
    pod: &Pod,
    message: &str,
) -> Result<(), kube::Error> {
    let Some(condition) = condition(pod, message) else { return Ok(()) };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status =
        json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let patch = Patch::Strategic(status);
    pods.patch_status(name, &PatchParams::default(), &patch).await.map(|_| ())
}

/// The condition `PodScheduled` that the pod should have; `None` if it has it.
fn condition(pod: &Pod, message: &str) -> Option<PodCondition> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let old = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled");
    let same = |c: &PodCondition| {
        c.status == "False"
            && c.reason.as_deref() == Some("Unschedulable")
            && c.message.as_deref() == Some(message)
    };
    if old.is_some_and(same) {
        return None;
    }
    let since = old.filter(|c| c.status == "False").and_then(|c| c.last_transition_time.clone());
    Some(PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: Some("Unschedulable".into()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or_else(now)),
        ..PodCondition::default()
    })
}

fn now() -> Time {
    apimachinery::time::now()
}
