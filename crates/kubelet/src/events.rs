//! Where the kubelet tells people what it does.
//!
//! Counterpart in Kubernetes: the kubelet's `record.EventRecorder` and `events/event.go`. Invariant: a container id never appears
//! in an event, because repeats could not be counted then; the container's name stands in its place.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};

pub use client::EventType;

/// Takes events; never blocks.
pub trait EventSink: Send + Sync + 'static {
    /// One event about an object.
    fn event(&self, about: &ObjectReference, kind: EventType, reason: &str, message: &str);
}

impl EventSink for client::EventRecorder {
    fn event(&self, about: &ObjectReference, kind: EventType, reason: &str, message: &str) {
        self.record(about, kind, reason, message);
    }
}

/// The pod as the object of an event.
pub fn pod_reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        api_version: Some("v1".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// A container of the pod as the object of an event.
pub fn container_reference(pod: &Pod, container: &str) -> ObjectReference {
    ObjectReference {
        field_path: Some(format!("spec.containers{{{container}}}")),
        ..pod_reference(pod)
    }
}

/// The node as the object of an event; its uid is its name, as everywhere in Kubernetes.
pub fn node_reference(name: &str) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".into()),
        api_version: Some("v1".into()),
        name: Some(name.into()),
        uid: Some(name.into()),
        ..ObjectReference::default()
    }
}

/// Events about one pod.
pub struct PodEvents<'a> {
    /// Where they go.
    pub sink: &'a dyn EventSink,
    /// The pod.
    pub pod: &'a Pod,
}

impl PodEvents<'_> {
    /// About the pod itself.
    pub fn pod(&self, kind: EventType, reason: &str, message: &str) {
        self.sink.event(&pod_reference(self.pod), kind, reason, message);
    }

    /// About one of its containers; `id` is removed from the message.
    pub fn container(&self, name: &str, id: &str, kind: EventType, reason: &str, message: &str) {
        let message = if id.is_empty() { message.to_owned() } else { message.replace(id, name) };
        let known = self
            .pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .any(|container| container.name == name);
        let about =
            if known { container_reference(self.pod, name) } else { pod_reference(self.pod) };
        self.sink.event(&about, kind, reason, &message);
    }
}
