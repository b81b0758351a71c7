//! The `binding` subresource: a pod gets its node, once and for all.
//!
//! Counterpart in Kubernetes: `BindingREST` in `pkg/registry/core/pod/storage`.

use apimachinery::field::{self, ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::report::{Report, list, text};

/// Why a pod cannot be bound; toward the client each of these is a Conflict.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The pod is on its way out.
    #[error("pod {name} is being deleted, cannot be assigned to a host")]
    Deleted {
        /// Name of the pod.
        name: String,
    },
    /// The pod has its node.
    #[error("pod {name} is already assigned to node \"{node}\"")]
    Assigned {
        /// Name of the pod.
        name: String,
        /// Name of the node it has.
        node: String,
    },
    /// The pod waits for its gates.
    #[error("pod {name} has non-empty .spec.schedulingGates")]
    Gated {
        /// Name of the pod.
        name: String,
    },
}

/// Every reason why the binding itself is wrong.
pub fn validate(binding: &Binding) -> ErrorList {
    let at = Path::new("target");
    let mut errors = ErrorList::new();
    let kind = text(&binding.target.kind);
    if !kind.is_empty() && kind != "Node" {
        errors.push(field::not_supported(&at.child("kind"), kind, &["Node", "<empty>"]));
    }
    errors.non_empty(&at.child("name"), text(&binding.target.name));
    errors
}

/// Puts the pod on the node that the binding names: `spec.nodeName`, the condition `PodScheduled`, and the binding's labels and
/// annotations. The generation stays, for nothing about the containers has changed.
///
/// # Errors
/// See [`BindError`]; the pod is then unchanged.
pub fn bind(pod: &mut Pod, binding: &Binding, now: Timestamp) -> Result<(), BindError> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let spec = pod.spec.get_or_insert_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(BindError::Deleted { name });
    }
    if let Some(node) = spec.node_name.clone().filter(|n| !n.is_empty()) {
        return Err(BindError::Assigned { name, node });
    }
    if !list(&spec.scheduling_gates).is_empty() {
        return Err(BindError::Gated { name });
    }
    spec.node_name.clone_from(&binding.target.name);
    let (meta, from) = (&mut pod.metadata, &binding.metadata);
    for (annotations, given) in
        [(&mut meta.annotations, &from.annotations), (&mut meta.labels, &from.labels)]
    {
        if let Some(given) = given {
            annotations.get_or_insert_default().extend(given.clone());
        }
    }
    let status = pod.status.get_or_insert_default();
    status.nominated_node_name = None;
    set_scheduled(status.conditions.get_or_insert_default(), now);
    Ok(())
}

/// The condition `PodScheduled` is true from now on.
fn set_scheduled(conditions: &mut Vec<PodCondition>, now: Timestamp) {
    let mut condition = PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "True".to_owned(),
        ..PodCondition::default()
    };
    match conditions.iter_mut().find(|c| c.type_ == condition.type_) {
        Some(old) => {
            let since = old.last_transition_time.take().filter(|_| old.status == condition.status);
            condition.last_transition_time = since.or(Some(Time(now)));
            *old = condition;
        }
        None => {
            condition.last_transition_time = Some(Time(now));
            conditions.push(condition);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{BindError, bind, validate};

    fn binding() -> k8s_openapi::api::core::v1::Binding {
        let value = json!({"metadata": {"name": "p", "labels": {"zone": "a"}}, "target": {"kind": "Node", "name": "n1"}});
        serde_json::from_value(value).expect("a binding")
    }

    #[test]
    fn bind_of_pending_pod_sets_node_and_condition() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut pod =
            serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": []}}))
                .expect("a pod");
        bind(&mut pod, &binding(), now).expect("bound");
        let value = serde_json::to_value(&pod).expect("JSON");
        assert_eq!(value["spec"]["nodeName"], "n1");
        assert_eq!(value["metadata"]["labels"]["zone"], "a");
        assert_eq!(
            value["status"]["conditions"],
            json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}])
        );
        let again = bind(&mut pod, &binding(), now).expect_err("bound already");
        assert_eq!(again, BindError::Assigned { name: "p".into(), node: "n1".into() });
        assert_eq!(again.to_string(), "pod p is already assigned to node \"n1\"");
    }

    #[test]
    fn bind_without_target_is_refused() {
        let binding =
            serde_json::from_value(json!({"metadata": {"name": "p"}, "target": {"kind": "Pod"}}))
                .expect("a binding");
        let errors: Vec<_> = validate(&binding).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                r#"target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>""#,
                "target.name: Required value"
            ]
        );
    }
}
