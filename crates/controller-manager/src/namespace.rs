//! Empties a namespace that is being deleted, then lets it go. Counterpart: `pkg/controller/namespace`.
//!
//! Invariants:
//! * What a namespace may contain comes from discovery, so a new kind needs nothing here.
//! * Pods go first: nothing else is taken away from under a running container.
//! * The finalizer is removed only after a look at every resource found nothing.

mod conditions;

use std::collections::BTreeMap;
use std::time::Duration;

use std::sync::Arc;

use client::controller::{Delete, Failure, Propagation};
use client::discovery::served_resources;
use client::informer::Change;
use client::resource::{HasMeta, PartialObject};
use client::{
    Action, ApiErrorExt, Caches, Client, Controller, Kind, ObjectKey, Plan, ResourceType, Watches,
    request,
};
use conditions::Findings;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};

use crate::pods;

/// The finalizer in `spec` that this controller removes.
const FINALIZER: &str = "kubernetes";
/// How long finalizers of others are given before the next look, and pods beyond the end of their grace period.
const FINALIZER_ESTIMATE: Duration = Duration::from_secs(15);
/// The next look when the server did not tell what it serves.
const DISCOVERY_RETRY: Duration = Duration::from_secs(5);

/// The namespace controller.
#[derive(Debug)]
pub struct NamespaceController;

/// What is left of one resource in a namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    resource: ResourceType,
    /// Whether all of it can be deleted by one request.
    delete_collection: bool,
    objects: Vec<PartialObject>,
}

/// A namespace that is being deleted, and what is in it.
#[derive(Debug)]
pub struct Observed {
    namespace: Arc<Namespace>,
    /// The longest grace period of its running pods, counted from the deletion of the namespace.
    longest_grace: Duration,
    /// Resources that are not empty, or why they are not known.
    contents: Result<Vec<Content>, String>,
}

impl Controller for NamespaceController {
    const NAME: &'static str = "namespace-controller";
    const WORKERS: usize = 10;
    type Key = ObjectKey;
    type Observed = Observed;

    fn watches(&self) -> Watches<ObjectKey> {
        Watches::new().own::<Namespace>().map::<Pod>(|caches, change| {
            namespace_losing_a_pod(caches, change).into_iter().collect()
        })
    }

    fn observe(&self, caches: &Caches, key: &ObjectKey) -> Option<Observed> {
        let namespace = caches.of::<Namespace>().get(key)?;
        if namespace.metadata.deletion_timestamp.is_none() || !has_finalizer(&namespace) {
            return None;
        }
        let pods = caches.of::<Pod>().in_namespace(&key.name);
        let running = pods.iter().filter(|pod| !pods::is_terminal(pod));
        let grace = running
            .filter_map(|pod| pod.spec.as_ref()?.termination_grace_period_seconds)
            .max()
            .unwrap_or(0);
        let longest_grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        Some(Observed { namespace, longest_grace, contents: Ok(Vec::new()) })
    }

    async fn complete(
        &self,
        mut observed: Observed,
        client: &Client,
    ) -> Result<Observed, client::Error> {
        let name = observed.namespace.metadata.name.clone().unwrap_or_default();
        observed.contents = match served_resources(client).await {
            Err(error) => Err(error.message()),
            Ok(served) => {
                let mut contents = Vec::new();
                for served in served.iter().filter(|served| {
                    served.resource.namespaced && served.offers(&["list", "delete"])
                }) {
                    let objects = request::list_metadata(client, &served.resource, &name).await?;
                    if !objects.is_empty() {
                        contents.push(Content {
                            resource: served.resource.clone(),
                            delete_collection: served.offers(&["deletecollection"]),
                            objects,
                        });
                    }
                }
                Ok(contents)
            }
        };
        Ok(observed)
    }

    fn reconcile(&self, observed: &Observed, now: Timestamp) -> Plan {
        observed.reconcile(now)
    }
}

fn has_finalizer(namespace: &Namespace) -> bool {
    namespace.spec.as_ref().is_some_and(|spec| {
        spec.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
    })
}

/// The end of a pod may be what its namespace waits for.
fn namespace_losing_a_pod(caches: &Caches, change: &Change<Pod>) -> Option<ObjectKey> {
    if change.new.is_some() {
        return None;
    }
    let key = ObjectKey::cluster(change.old.as_ref()?.object_meta().namespace.clone()?);
    let namespace = caches.of::<Namespace>().get(&key)?;
    namespace.metadata.deletion_timestamp.is_some().then_some(key)
}

impl Observed {
    fn reconcile(&self, now: Timestamp) -> Plan {
        let contents = match &self.contents {
            Ok(contents) => contents,
            Err(error) => {
                let findings =
                    Findings { discovery_error: Some(error.clone()), ..Findings::default() };
                return Plan {
                    actions: self.update_status(&findings, now),
                    requeue_after: Some(DISCOVERY_RETRY),
                    ..Plan::default()
                };
            }
        };
        let findings = findings(contents);
        let status = self.update_status(&findings, now);
        if contents.is_empty() {
            // A written status wakes the key again, with the revision that the finalization needs.
            return if status.is_empty() { self.finalize().into() } else { status.into() };
        }
        let mut actions = self.deletions(contents);
        // Most objects go at once when they are deleted: look again right after. Others take their time.
        let wait = if actions.is_empty() {
            self.estimate(contents, now) / 2 + Duration::from_secs(1)
        } else {
            Duration::ZERO
        };
        actions.extend(status);
        Plan {
            actions,
            on_failure: Some(self.failure_answer(findings, now)),
            requeue_after: Some(wait),
        }
    }

    /// Deletes what is not being deleted yet: pods, and when they are gone everything else.
    fn deletions(&self, contents: &[Content]) -> Vec<Action> {
        let pods = Pod::resource_type();
        let pods_left = contents.iter().any(|content| content.resource == pods);
        let now = contents.iter().filter(|content| !pods_left || content.resource == pods);
        now.flat_map(|content| self.deletions_of(content)).collect()
    }

    fn deletions_of(&self, content: &Content) -> Vec<Action> {
        let mut remaining = content
            .objects
            .iter()
            .filter(|object| object.metadata.deletion_timestamp.is_none())
            .peekable();
        if remaining.peek().is_none() {
            return Vec::new();
        }
        if content.delete_collection {
            let namespace = self.namespace.metadata.name.clone().unwrap_or_default();
            return vec![Action::DeleteCollection {
                resource: content.resource.clone(),
                namespace,
            }];
        }
        let delete = |object: &PartialObject| {
            Action::Delete(Delete {
                resource: content.resource.clone(),
                key: ObjectKey::of(&object.metadata),
                uid: object.metadata.uid.clone(),
                resource_version: None,
                propagation: Some(Propagation::Background),
                grace_period_seconds: None,
                report: None,
            })
        };
        remaining.map(delete).collect()
    }

    /// How long what is left is expected to stay.
    fn estimate(&self, contents: &[Content], now: Timestamp) -> Duration {
        let deleted_at =
            self.namespace.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
        let elapsed = Duration::try_from(now.duration_since(deleted_at)).unwrap_or(Duration::ZERO);
        let pods = contents.iter().any(|content| content.resource == Pod::resource_type());
        if pods && self.longest_grace > elapsed { self.longest_grace } else { FINALIZER_ESTIMATE }
    }

    fn with_status(&self, findings: &Findings, now: Timestamp) -> Namespace {
        let mut namespace = (*self.namespace).clone();
        let status = namespace.status.get_or_insert_default();
        status.phase = Some("Terminating".to_owned());
        conditions::update(status.conditions.get_or_insert_default(), findings, now);
        namespace
    }

    fn update_status(&self, findings: &Findings, now: Timestamp) -> Vec<Action> {
        let wanted = self.with_status(findings, now);
        if wanted == *self.namespace { Vec::new() } else { vec![Action::update_status(&wanted)] }
    }

    fn failure_answer(&self, findings: Findings, now: Timestamp) -> client::controller::OnFailure {
        let namespace = self.namespace.clone();
        Box::new(move |failure: &Failure| {
            let findings = Findings { deletion_error: Some(failure.message.clone()), ..findings };
            let observed =
                Self { namespace, longest_grace: Duration::ZERO, contents: Ok(Vec::new()) };
            observed.update_status(&findings, now)
        })
    }

    /// Removes this controller's finalizer; with the last one the namespace goes.
    fn finalize(&self) -> Action {
        let mut namespace = (*self.namespace).clone();
        if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut())
        {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        Action::UpdateSubresource("finalize", client::controller::Manifest::of(&namespace))
    }
}

fn findings(contents: &[Content]) -> Findings {
    let mut findings = Findings::default();
    for content in contents {
        let name = format!("{}.{}", content.resource.plural, content.resource.group);
        findings.remaining.insert(name, content.objects.len());
        for finalizer in
            content.objects.iter().flat_map(|object| object.metadata.finalizers.iter().flatten())
        {
            *findings.finalizers.entry(finalizer.clone()).or_insert(0) += 1;
        }
    }
    findings
}

/// Counts by name.
type Counts = BTreeMap<String, usize>;

#[cfg(test)]
mod tests;
