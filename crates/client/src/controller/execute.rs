//! Carrying out a plan. Counterpart: the clients inside Kubernetes' controllers, and `slowStartBatch`.
//!
//! Invariants:
//! * Decides nothing but what each action's own policy says about the API's answer.
//! * Every successful write is recorded, also when a later action fails.

use std::ops::ControlFlow;

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use kube::{Client, Error};
use serde::de::IgnoredAny;

use super::plan::{
    Action, Create, Delete, Failure, IfAbsent, IfExists, Manifest, Patch, PatchBody, Plan, Report,
};
use crate::error::ApiErrorExt;
use crate::events::{EventRecorder, EventType};
use crate::request::{self, JSON, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH};
use crate::resource::{ObjectKey, PartialObject, ResourceType, revision_of};

/// First batch of neighbouring creations; each next one is twice as large, as in Kubernetes, so that a hundred
/// creations that must all fail (a quota, an admission plugin) cost one request and not a hundred.
const SLOW_START_INITIAL_BATCH_SIZE: usize = 1;
/// Deletions in flight at once for one key; enough to hide latency, few enough not to starve other keys.
const MAX_PARALLEL_DELETIONS: usize = 64;

/// Why a plan could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The API server refused, or could not be reached.
    #[error("{}", .0.message())]
    Api(#[from] Error),
    /// The object could not be encoded.
    #[error("{key}: cannot be encoded: {reason}")]
    Encode {
        /// The object.
        key: ObjectKey,
        /// Why.
        reason: String,
    },
}

impl ActionError {
    fn failure(&self) -> Failure {
        Failure {
            message: self.to_string(),
            already_exists: matches!(self, Self::Api(error) if error.is_already_exists()),
        }
    }
}

/// What a cache must show before a write counts as seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This revision of the store.
    Revision(u64),
    /// The object gone, replaced or marked as being deleted.
    Deletion {
        /// Of the deleted object.
        uid: Option<String>,
    },
}

/// A write that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The resource.
    pub resource: ResourceType,
    /// The object.
    pub key: ObjectKey,
    /// What the cache of the resource must show.
    pub expected: Expected,
}

/// Neighbouring actions that are carried out together.
enum Step {
    Creates(Vec<Create>),
    Deletes(Vec<Delete>),
    Single(Box<Action>),
}

/// Who has to know of a failed step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The plan's `on_failure`.
    InPlan,
    /// Nobody: it is repeated.
    Nobody,
}

impl Step {
    fn told(&self) -> Told {
        match self {
            Self::Creates(_) | Self::Deletes(_) => Told::InPlan,
            Self::Single(action) if matches!(**action, Action::DeleteCollection { .. }) => {
                Told::InPlan
            }
            Self::Single(_) => Told::Nobody,
        }
    }
}

fn into_steps(actions: Vec<Action>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for action in actions {
        match (action, steps.last_mut()) {
            (Action::Create(create), Some(Step::Creates(batch))) => batch.push(create),
            (Action::Create(create), _) => steps.push(Step::Creates(vec![create])),
            (Action::Delete(delete), Some(Step::Deletes(batch))) => batch.push(delete),
            (Action::Delete(delete), _) => steps.push(Step::Deletes(vec![delete])),
            (action, _) => steps.push(Step::Single(Box::new(action))),
        }
    }
    steps
}

/// Carries out plans with one client.
#[derive(Clone)]
pub struct Executor {
    client: Client,
    recorder: EventRecorder,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Executor")
    }
}

/// Whether the plan goes on after an action that did not fail.
type Flow = ControlFlow<()>;

impl Executor {
    /// An executor that writes with `client` and tells with `recorder`.
    #[must_use]
    pub fn new(client: Client, recorder: EventRecorder) -> Self {
        Self { client, recorder }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Carries out `plan`, adding each acknowledged write to `written`.
    ///
    /// # Errors
    /// The first action that failed, after the plan's own answer to the failure was carried out.
    pub async fn execute(&self, plan: Plan, written: &mut Vec<Written>) -> Result<(), ActionError> {
        let Err((error, told)) = self.perform(plan.actions, written).await else { return Ok(()) };
        if let Some(on_failure) = plan.on_failure.filter(|_| told == Told::InPlan) {
            let actions = on_failure(&error.failure());
            if let Err((second, _)) = self.perform(actions, written).await {
                tracing::debug!(error = %second, "could not report a failed plan");
            }
        }
        Err(error)
    }

    async fn perform(
        &self,
        actions: Vec<Action>,
        written: &mut Vec<Written>,
    ) -> Result<(), (ActionError, Told)> {
        for step in into_steps(actions) {
            let told = step.told();
            let flow = match step {
                Step::Creates(batch) => self.create_all(batch, written).await,
                Step::Deletes(batch) => self.delete_all(batch, written).await,
                Step::Single(action) => self.single(*action, written).await,
            };
            if flow.map_err(|error| (error, told))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Creates in batches of 1, 2, 4, …; stops after the first batch with an error.
    async fn create_all(
        &self,
        creates: Vec<Create>,
        written: &mut Vec<Written>,
    ) -> Result<Flow, ActionError> {
        let mut rest = creates.as_slice();
        let mut size = SLOW_START_INITIAL_BATCH_SIZE;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            size *= 2;
            let mut flow = Flow::Continue(());
            let mut first_error = None;
            for result in join_all(batch.iter().map(|create| self.create(create))).await {
                match result {
                    Ok(Created::Now(write)) => written.push(write),
                    Ok(Created::Before) => {}
                    Ok(Created::NamespaceTerminating) => flow = Flow::Break(()),
                    Err(error) => first_error = first_error.or(Some(error)),
                }
            }
            match first_error {
                Some(error) => return Err(error),
                None if flow.is_break() => return Ok(flow),
                None => {}
            }
        }
        Ok(Flow::Continue(()))
    }

    async fn create(&self, create: &Create) -> Result<Created, ActionError> {
        let path = create.manifest.resource.collection_path(&create.manifest.key.namespace);
        let result: Result<PartialObject, ActionError> =
            self.send(Method::POST, &path, &create.manifest).await;
        match result {
            Ok(object) => {
                self.tell(
                    create.report.as_ref(),
                    Ok(object.metadata.name.as_deref().unwrap_or_default()),
                );
                Ok(Created::Now(write_of(&create.manifest.resource, &object)))
            }
            // Nothing can be created any more, and all of it is going away: neither worth an event nor a retry.
            Err(ActionError::Api(error)) if error.is_namespace_terminating() => {
                Ok(Created::NamespaceTerminating)
            }
            Err(ActionError::Api(error))
                if error.is_already_exists() && create.if_exists == IfExists::Ignore =>
            {
                Ok(Created::Before)
            }
            Err(error) => {
                self.tell(create.report.as_ref(), Err(&error));
                Err(error)
            }
        }
    }

    async fn delete_all(
        &self,
        deletes: Vec<Delete>,
        written: &mut Vec<Written>,
    ) -> Result<Flow, ActionError> {
        let running = stream::iter(deletes).map(|delete| async move { self.delete(&delete).await });
        let results: Vec<_> = running.buffered(MAX_PARALLEL_DELETIONS).collect().await;
        let mut first_error = None;
        for result in results {
            match result {
                Ok(write) => written.extend(write),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(Flow::Continue(())), Err)
    }

    async fn delete(&self, delete: &Delete) -> Result<Option<Written>, ActionError> {
        match request::delete(
            &self.client,
            &delete.resource.object_path(&delete.key),
            &delete_options(delete),
        )
        .await
        {
            Ok(()) => {
                self.tell(delete.report.as_ref(), Ok(&delete.key.name));
                let expected = Expected::Deletion { uid: delete.uid.clone() };
                Ok(Some(Written {
                    resource: delete.resource.clone(),
                    key: delete.key.clone(),
                    expected,
                }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => {
                let error = ActionError::Api(error);
                self.tell(delete.report.as_ref(), Err(&error));
                Err(error)
            }
        }
    }

    async fn single(
        &self,
        action: Action,
        written: &mut Vec<Written>,
    ) -> Result<Flow, ActionError> {
        match action {
            Action::Update(manifest) => self.update(&manifest, "", written).await,
            Action::UpdateStatus(manifest) => self.update(&manifest, "/status", written).await,
            Action::UpdateSubresource(name, manifest) => {
                self.update(&manifest, &format!("/{name}"), written).await
            }
            Action::Patch(patch) => self.patch(&patch, written).await,
            Action::DeleteCollection { resource, namespace } => {
                self.delete_collection(&resource, &namespace).await
            }
            Action::Event { regarding, event_type, reason, message } => {
                self.recorder.record(&regarding, event_type, reason, &message);
                Ok(Flow::Continue(()))
            }
            Action::Create(create) => self.create_all(vec![create], written).await,
            Action::Delete(delete) => self.delete_all(vec![delete], written).await,
        }
    }

    /// Replaces an object. When it is gone the rest of the plan has no object any more, and ends.
    async fn update(
        &self,
        manifest: &Manifest,
        suffix: &str,
        written: &mut Vec<Written>,
    ) -> Result<Flow, ActionError> {
        let path = format!("{}{suffix}", manifest.resource.object_path(&manifest.key));
        match self.send(Method::PUT, &path, manifest).await {
            Ok(object) => {
                written.push(write_of(&manifest.resource, &object));
                Ok(Flow::Continue(()))
            }
            Err(ActionError::Api(error)) if error.is_not_found() => Ok(Flow::Break(())),
            Err(error) => Err(error),
        }
    }

    async fn patch(&self, patch: &Patch, written: &mut Vec<Written>) -> Result<Flow, ActionError> {
        let suffix = patch.subresource.map(|name| format!("/{name}")).unwrap_or_default();
        let path = format!("{}{suffix}", patch.resource.object_path(&patch.key));
        let (content_type, body) = match &patch.body {
            PatchBody::Merge(body) => (MERGE_PATCH, body),
            PatchBody::Strategic(body) => (STRATEGIC_MERGE_PATCH, body),
            PatchBody::Json(body) => (JSON_PATCH, body),
        };
        let result = request::send::<PartialObject>(
            &self.client,
            Method::PATCH,
            &path,
            content_type,
            body.to_string().into_bytes(),
        )
        .await;
        match result {
            Ok(object) => written.push(write_of(&patch.resource, &object)),
            // Invalid: the uid in the patch is not that of the object, so the object is another one by now.
            Err(error)
                if patch.if_absent == IfAbsent::Ignore
                    && (error.is_not_found() || error.is_invalid()) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Flow::Continue(()))
    }

    async fn delete_collection(
        &self,
        resource: &ResourceType,
        namespace: &str,
    ) -> Result<Flow, ActionError> {
        let options = DeleteOptions {
            propagation_policy: Some("Background".to_owned()),
            ..DeleteOptions::default()
        };
        let body = serde_json::to_vec(&options).map_err(Error::SerdeError)?;
        request::send::<IgnoredAny>(
            &self.client,
            Method::DELETE,
            &resource.collection_path(namespace),
            JSON,
            body,
        )
        .await?;
        Ok(Flow::Continue(()))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        manifest: &Manifest,
    ) -> Result<PartialObject, ActionError> {
        let body = manifest
            .body()
            .map_err(|reason| ActionError::Encode { key: manifest.key.clone(), reason })?;
        Ok(request::send(&self.client, method, path, JSON, body).await?)
    }

    fn tell(&self, report: Option<&Report>, result: Result<&str, &ActionError>) {
        let Some(report) = report else { return };
        let (event_type, (reason, beginning), end) = match result {
            Ok(name) => (EventType::Normal, report.success, name.to_owned()),
            Err(error) => (EventType::Warning, report.failure, error.to_string()),
        };
        self.recorder.record(&report.regarding, event_type, reason, &format!("{beginning}{end}"));
    }
}

enum Created {
    Now(Written),
    Before,
    NamespaceTerminating,
}

fn write_of(resource: &ResourceType, object: &PartialObject) -> Written {
    Written {
        resource: resource.clone(),
        key: ObjectKey::of(&object.metadata),
        expected: Expected::Revision(revision_of(&object.metadata)),
    }
}

fn delete_options(delete: &Delete) -> DeleteOptions {
    let preconditions = Preconditions {
        uid: delete.uid.clone(),
        resource_version: delete.resource_version.clone(),
    };
    DeleteOptions {
        preconditions: (preconditions != Preconditions::default()).then_some(preconditions),
        propagation_policy: delete.propagation.map(|policy| policy.as_str().to_owned()),
        grace_period_seconds: delete.grace_period_seconds,
        ..DeleteOptions::default()
    }
}
