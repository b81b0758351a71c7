//! Builders and readers for the tables of the controllers' tests.
//!
//! Invariant: times are seconds after [`at`]`(0)`, uids are the names.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::Action;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

/// A moment of the tests' time.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

/// Metadata of an object in namespace `ns` whose uid is its name.
pub fn meta(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("ns".into()),
        uid: Some(name.into()),
        resource_version: Some("1".into()),
        generation: Some(1),
        creation_timestamp: Some(Time(at(0))),
        ..ObjectMeta::default()
    }
}

/// A controlling owner reference to the object whose uid is `name`.
pub fn controlled_by(kind: &str, name: &str) -> Option<Vec<OwnerReference>> {
    let reference = OwnerReference {
        api_version: "apps/v1".into(),
        kind: kind.into(),
        name: name.into(),
        uid: name.into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Some(vec![reference])
}

/// One label.
pub fn label(key: &str, value: &str) -> Option<BTreeMap<String, String>> {
    Some(BTreeMap::from([(key.to_owned(), value.to_owned())]))
}

/// Builds a pod.
pub struct PodBuilder(Pod);

/// A pod with label `app=web`, pending, without a node.
pub fn pod(name: &str) -> PodBuilder {
    let metadata = ObjectMeta { labels: label("app", "web"), ..meta(name) };
    PodBuilder(Pod { metadata, spec: Some(PodSpec::default()), status: Some(PodStatus::default()) })
        .phase("Pending")
}

impl PodBuilder {
    fn status(&mut self) -> &mut PodStatus {
        self.0.status.get_or_insert_default()
    }

    pub fn node(mut self, node: &str) -> Self {
        self.0.spec.get_or_insert_default().node_name = Some(node.into());
        self
    }

    pub fn phase(mut self, phase: &str) -> Self {
        self.status().phase = Some(phase.into());
        self
    }

    pub fn ready_at(mut self, seconds: i64) -> Self {
        let condition = PodCondition {
            type_: "Ready".into(),
            status: "True".into(),
            last_transition_time: Some(Time(at(seconds))),
            ..PodCondition::default()
        };
        self.status().conditions = Some(vec![condition]);
        self.phase("Running")
    }

    pub fn created_at(mut self, seconds: i64) -> Self {
        self.0.metadata.creation_timestamp = Some(Time(at(seconds)));
        self
    }

    pub fn deleted(mut self) -> Self {
        self.0.metadata.deletion_timestamp = Some(Time(at(0)));
        self
    }

    pub fn cost(mut self, cost: &str) -> Self {
        self.0.metadata.annotations = label("controller.kubernetes.io/pod-deletion-cost", cost);
        self
    }

    pub fn restarts(mut self, count: i32) -> Self {
        self.status().container_statuses =
            Some(vec![ContainerStatus { restart_count: count, ..ContainerStatus::default() }]);
        self
    }

    pub fn labels(mut self, labels: Option<BTreeMap<String, String>>) -> Self {
        self.0.metadata.labels = labels;
        self
    }

    pub fn of(mut self, kind: &str, owner: &str) -> Self {
        self.0.metadata.owner_references = controlled_by(kind, owner);
        self
    }

    pub fn build(self) -> Arc<Pod> {
        Arc::new(self.0)
    }
}

/// One line per action, for comparison.
pub fn describe(actions: &[Action]) -> Vec<String> {
    actions.iter().map(describe_one).collect()
}

fn describe_one(action: &Action) -> String {
    match action {
        Action::Create(create) => {
            format!("create {} {}", create.manifest.resource, create.manifest.key)
        }
        Action::Update(manifest) => format!("update {} {}", manifest.resource, manifest.key),
        Action::UpdateStatus(manifest) => format!("status {} {}", manifest.resource, manifest.key),
        Action::UpdateSubresource(name, manifest) => {
            format!("{name} {} {}", manifest.resource, manifest.key)
        }
        Action::Patch(patch) => format!("patch {} {} {:?}", patch.resource, patch.key, patch.body),
        Action::Delete(delete) => format!("delete {} {}", delete.resource, delete.key),
        Action::DeleteCollection { resource, namespace } => {
            format!("deletecollection {resource} {namespace}")
        }
        Action::Event { reason, message, .. } => format!("event {reason}: {message}"),
    }
}
