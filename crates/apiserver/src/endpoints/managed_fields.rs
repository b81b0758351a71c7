//! Who owns the fields of the objects that requests write.
//!
//! Counterpart in Kubernetes: `RequestScope.FieldManager` and the `GetResetFields` of the registries' strategies.
//! Invariant: owners are found before admission and the kind's own rules run, of the object as the client wants it.

mod versions;

use std::sync::LazyLock;

use api::kinds::Resource;
use api::schema::typed_schema;
use apimachinery::apply::{self, FieldManager, Filter, Managed, Unconverted};
use apimachinery::object::{FieldValidation, KubeObject, Object};
use apimachinery::status::StatusError;
use apimachinery::time;
use http::header::USER_AGENT;
use serde_json::{Value, json};

use super::Call;
use crate::authz::{USER_CONTROLLER_MANAGER, USER_SCHEDULER};

use versions::Converted;

/// Whether a write still has to find out who owns what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// It has.
    Track,
    /// The object carries its owners already.
    Tracked,
}

/// The name of the client as a manager of fields: what it says it is, or its `User-Agent`.
pub(super) fn manager(call: &Call) -> String {
    let agent = call.parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    match (call.query.text("fieldManager"), agent) {
        ("", Some(agent)) => apply::user_agent_manager(agent),
        ("", None) => component(&call.user.name).to_owned(),
        (given, _) => given.to_owned(),
    }
}

/// The program of a component of the cluster, which may share its process with others and has no `User-Agent`.
fn component(user: &str) -> &'static str {
    match user {
        USER_CONTROLLER_MANAGER => "kube-controller-manager",
        USER_SCHEDULER => "kube-scheduler",
        "system:apiserver" => "kube-apiserver",
        node if node.starts_with("system:node:") => "kubelet",
        _ => "",
    }
}

/// Notes who owns what of a new object.
pub(super) fn track_create(call: &Call, object: &mut dyn KubeObject) {
    let sent = object.meta_mut().managed_fields.take();
    let managed = match apply::is_reset(sent.as_deref()) {
        true => Managed::default(),
        false => Managed::sent(sent.as_deref()).unwrap_or_default(),
    };
    let new = shown(call, object);
    let managed =
        of_resource(call.served, "", |fields| fields.update(None, &new, managed, &manager(call)));
    object.meta_mut().managed_fields = managed.encode();
}

/// Notes who owns what of an object that is to replace `old`.
pub(super) fn track_update(
    call: &Call,
    subresource: &str,
    new: &mut dyn KubeObject,
    old: &dyn KubeObject,
) {
    let sent = new.meta_mut().managed_fields.take();
    let live = || stored(old).unwrap_or_default();
    // Nobody can write the owners by way of a subresource.
    let managed = if !subresource.is_empty() {
        live()
    } else if apply::is_reset(sent.as_deref()) {
        Managed::default()
    } else {
        let sent = Managed::sent(sent.as_deref()).ok();
        sent.filter(|managed| !managed.is_empty()).unwrap_or_else(live)
    };
    if managed.is_empty() {
        // Nobody is begun with where nobody owned anything.
        return;
    }
    let (before, after) = (shown(call, old), shown(call, new));
    let managed = of_resource(call.served, subresource, |fields| {
        fields.update(Some(&before), &after, managed, &manager(call))
    });
    new.meta_mut().managed_fields = managed.encode();
}

/// The object that applying a configuration makes of `live`, defaulted, with its owners.
///
/// # Errors
/// Conflicts, and whatever is wrong with the configuration.
pub(super) fn applied(
    call: &Call,
    subresource: &str,
    live: Option<&dyn KubeObject>,
    config: &Value,
    force: bool,
) -> Result<Object, StatusError> {
    let resource = call.served;
    let managed = live.map_or(Ok(Managed::default()), stored)?;
    let before = match live {
        Some(live) => shown(call, live),
        None => json!({"apiVersion": api_version(resource), "kind": resource.kind}),
    };
    let applied = of_resource(resource, subresource, |fields| {
        fields.apply(&before, config, managed, &manager(call), force)
    });
    let applied = applied.map_err(|error| error.to_status())?;
    let decoded = resource.codec.from_value(applied.object, FieldValidation::Ignore);
    let object = decoded.map_err(|error| unconvertible(config, resource, &error))?.object;
    let mut object = resource.accept(object);
    object.meta_mut().managed_fields = applied.managed.encode();
    Ok(object)
}

/// What Kubernetes says when its types do not take what the configuration holds, such as a quantity that is none.
fn unconvertible(
    config: &Value,
    resource: &Resource,
    error: &dyn std::fmt::Display,
) -> StatusError {
    let text = |name: &str| config["metadata"][name].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let (group, version, kind) = (resource.group, resource.version, resource.kind);
    let message = format!(
        "failed to convert new object ({namespace}/{name}; {group}/{version}, Kind={kind}) to proper version: {error}"
    );
    StatusError::new(500, "", message, None)
}

/// The owners of a stored object.
pub(super) fn stored(object: &dyn KubeObject) -> Result<Managed, StatusError> {
    Managed::stored(object.meta().managed_fields.as_deref()).map_err(|error| {
        StatusError::new(500, "", format!("failed to decode managed fields: {error}"), None)
    })
}

/// A stored object as JSON in the version of the request, without its owners.
fn shown(call: &Call, object: &dyn KubeObject) -> Value {
    match call.served.conversion {
        Some(_) => plain(call.served.show(object.clone_object()).as_ref()),
        None => plain(object),
    }
}

/// The object as JSON, without its owners.
fn plain(object: &dyn KubeObject) -> Value {
    let mut value = object.to_value();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    value
}

/// The version of a row as objects write it.
pub(super) fn api_version(resource: &Resource) -> String {
    match resource.group {
        "" => resource.version.to_owned(),
        group => format!("{group}/{}", resource.version),
    }
}

fn of_resource<T>(
    resource: &'static Resource,
    subresource: &str,
    ask: impl FnOnce(&FieldManager<'_>) -> T,
) -> T {
    let (schema, api_version) = (typed_schema(), api_version(resource));
    ask(&FieldManager {
        schema,
        versions: &Converted::new(schema, resource, &api_version),
        api_version: &api_version,
        kind: resource.kind,
        subresource,
        filter: &filter(resource, subresource),
        now: &time::now(),
    })
}

/// Asks about objects of a definition that has one version.
pub(super) fn with<T>(
    definition: &str,
    api_version: &str,
    kind: &str,
    subresource: &str,
    filter: &Filter,
    ask: impl FnOnce(&FieldManager<'_>) -> T,
) -> T {
    let schema = typed_schema();
    let versions = Unconverted { api_version, ty: schema.of(definition) };
    let now = time::now();
    ask(&FieldManager {
        schema,
        versions: &versions,
        api_version,
        kind,
        subresource,
        filter,
        now: &now,
    })
}

static NOT_STATUS: LazyLock<Filter> = LazyLock::new(|| Filter::except(&[&["status"]]));
static NOT_SPEC: LazyLock<Filter> = LazyLock::new(|| Filter::except(&[&["spec"]]));

/// What can be owned by a request to the object, or to a subresource: what it cannot change, it cannot own.
fn filter(resource: &Resource, subresource: &str) -> Filter {
    let both = (resource.plural, subresource);
    match both {
        ("pods", "status") => Filter::except(&[
            &["spec"],
            &["metadata", "deletionTimestamp"],
            &["metadata", "ownerReferences"],
        ]),
        ("deployments", "status") => Filter::except(&[&["spec"], &["metadata", "labels"]]),
        ("certificatesigningrequests", "status") => {
            Filter::except(&[&["spec"], &["status", "conditions"]])
        }
        ("certificatesigningrequests", "approval") => {
            Filter::except(&[&["spec"], &["status", "certificate"]])
        }
        ("pods", "ephemeralcontainers") => Filter::only(&[&["spec", "ephemeralContainers"]]),
        ("pods", "resize") => Filter::only(&[
            &["spec", "containers", "*", "resources"],
            &["spec", "containers", "*", "resizePolicy"],
            &["spec", "initContainers", "*", "resources"],
            &["spec", "initContainers", "*", "resizePolicy"],
        ]),
        (_, "status") if STATUS_KEEPS_METADATA.contains(&resource.plural) => {
            Filter::except(&[&["spec"], &["metadata"]])
        }
        (_, "status") => NOT_SPEC.clone(),
        (_, "" | "finalize") if resource.subresource("status").is_some() => NOT_STATUS.clone(),
        _ => Filter::All,
    }
}

/// Kinds whose metadata cannot be changed by way of the status.
const STATUS_KEEPS_METADATA: [&str; 11] = [
    "devicetaintrules",
    "flowschemas",
    "podgroups",
    "prioritylevelconfigurations",
    "resourceclaims",
    "resourcepoolstatusrequests",
    "servicecidrs",
    "storageversionmigrations",
    "storageversions",
    "validatingadmissionpolicies",
    "volumeattachments",
];
