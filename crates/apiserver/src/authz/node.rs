//! What a node may read of Secrets and ConfigMaps: those that pods bound to it name.
//!
//! Counterpart in Kubernetes: the graph of `plugin/pkg/auth/authorizer/node`, asked of the watch cache instead of kept.
//! Invariants: only single objects by name; a pod counts from the moment it is bound. Secrets named by volume drivers
//! are not followed yet, so nodes are refused those.

use std::collections::BTreeSet;

use apimachinery::status::StatusError;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec, Secret};

use super::{Attributes, forbidden, node_name};

/// Refuses a node's request for a Secret or ConfigMap that none of its pods names. `pods` gives the pods of a
/// namespace that are bound to a node.
///
/// # Errors
/// `Forbidden`, with the reason Kubernetes gives.
pub(crate) fn check_reads(
    attrs: &Attributes,
    pods: impl Fn(&str, &str) -> Vec<Pod>,
) -> Result<(), StatusError> {
    let (Some(node), Some(names)) = (node_name(&attrs.user), named_by(attrs)) else {
        return Ok(());
    };
    let reason = if attrs.namespace.is_empty() {
        "can only read namespaced object of this type".to_owned()
    } else if attrs.name.is_empty() {
        "No Object name found".to_owned()
    } else {
        let pods = pods(node, &attrs.namespace);
        if pods
            .iter()
            .filter_map(|pod| pod.spec.as_ref())
            .any(|spec| names(spec).contains(attrs.name.as_str()))
        {
            return Ok(());
        }
        format!("no relationship found between node '{node}' and this object")
    };
    Err(forbidden(attrs, &reason))
}

/// Whether [`check_reads`] has anything to say about a request, so that the pods must be up to date.
pub(crate) fn narrows(attrs: &Attributes) -> bool {
    named_by(attrs).is_some() && node_name(&attrs.user).is_some()
}

type Names = fn(&PodSpec) -> BTreeSet<&str>;

/// How pods name objects of the resource that is asked for; `None` for resources that are not narrowed.
fn named_by(attrs: &Attributes) -> Option<Names> {
    if !attrs.resource_request || !attrs.api_group.is_empty() {
        return None;
    }
    match attrs.resource.as_str() {
        Secret::URL_PATH_SEGMENT => Some(secrets),
        ConfigMap::URL_PATH_SEGMENT => Some(config_maps),
        _ => None,
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn secrets(spec: &PodSpec) -> BTreeSet<&str> {
    let pulls = spec.image_pull_secrets.iter().flatten().map(|s| s.name.as_str());
    let volumes = spec.volumes.iter().flatten();
    let mounted = volumes.clone().filter_map(|v| v.secret.as_ref()?.secret_name.as_deref());
    let projected = volumes
        .filter_map(|v| v.projected.as_ref()?.sources.as_deref())
        .flatten()
        .filter_map(|source| Some(source.secret.as_ref()?.name.as_str()));
    let whole = containers(spec)
        .flat_map(|c| c.env_from.iter().flatten())
        .filter_map(|source| Some(source.secret_ref.as_ref()?.name.as_str()));
    let single = containers(spec)
        .flat_map(|c| c.env.iter().flatten())
        .filter_map(|var| Some(var.value_from.as_ref()?.secret_key_ref.as_ref()?.name.as_str()));
    pulls.chain(mounted).chain(projected).chain(whole).chain(single).collect()
}

fn config_maps(spec: &PodSpec) -> BTreeSet<&str> {
    let volumes = spec.volumes.iter().flatten();
    let mounted = volumes.clone().filter_map(|v| Some(v.config_map.as_ref()?.name.as_str()));
    let projected = volumes
        .filter_map(|v| v.projected.as_ref()?.sources.as_deref())
        .flatten()
        .filter_map(|source| Some(source.config_map.as_ref()?.name.as_str()));
    let whole = containers(spec)
        .flat_map(|c| c.env_from.iter().flatten())
        .filter_map(|source| Some(source.config_map_ref.as_ref()?.name.as_str()));
    let single = containers(spec).flat_map(|c| c.env.iter().flatten()).filter_map(|var| {
        Some(var.value_from.as_ref()?.config_map_key_ref.as_ref()?.name.as_str())
    });
    mounted.chain(projected).chain(whole).chain(single).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::authn::UserInfo;
    use crate::authz::{GROUP_NODES, NODE_USER_PREFIX};

    fn pod() -> Pod {
        let spec = json!({
            "containers": [{
                "name": "c",
                "env": [
                    { "name": "A", "valueFrom": { "secretKeyRef": { "name": "env-secret", "key": "k" } } },
                    { "name": "B", "valueFrom": { "configMapKeyRef": { "name": "env-map", "key": "k" } } },
                ],
                "envFrom": [{ "secretRef": { "name": "from-secret" } }, { "configMapRef": { "name": "from-map" } }],
            }],
            "imagePullSecrets": [{ "name": "pull-secret" }],
            "volumes": [
                { "name": "s", "secret": { "secretName": "mounted-secret" } },
                { "name": "m", "configMap": { "name": "mounted-map" } },
                { "name": "p", "projected": { "sources": [
                    { "secret": { "name": "projected-secret" } }, { "configMap": { "name": "projected-map" } },
                ] } },
            ],
        });
        serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec })).unwrap()
    }

    fn check(user: &UserInfo, resource: &str, namespace: &str, name: &str) -> Result<(), String> {
        let attrs = Attributes {
            user: user.clone(),
            verb: "get".into(),
            namespace: namespace.into(),
            resource: resource.into(),
            name: name.into(),
            resource_request: true,
            ..Attributes::default()
        };
        let pods = |node: &str, namespace: &str| {
            if (node, namespace) == ("n1", "default") { vec![pod()] } else { Vec::new() }
        };
        check_reads(&attrs, pods).map_err(|error| error.message().to_owned())
    }

    fn node(name: &str) -> UserInfo {
        UserInfo::authenticated(format!("{NODE_USER_PREFIX}{name}"), [GROUP_NODES])
    }

    #[test]
    fn node_reads_what_its_pods_name() {
        for name in ["env", "from", "mounted", "projected"] {
            assert_eq!(check(&node("n1"), "secrets", "default", &format!("{name}-secret")), Ok(()));
            assert_eq!(check(&node("n1"), "configmaps", "default", &format!("{name}-map")), Ok(()));
        }
        assert_eq!(check(&node("n1"), "secrets", "default", "pull-secret"), Ok(()));
        assert_eq!(check(&node("n1"), "nodes", "", "n2"), Ok(()));
    }

    #[test]
    fn node_is_refused_what_no_pod_of_its_own_names() {
        let unrelated = "no relationship found between node";
        for (node_name, resource, namespace, name, reason) in [
            ("n1", "secrets", "default", "other", unrelated),
            ("n1", "secrets", "default", "env-map", unrelated),
            ("n1", "secrets", "other", "env-secret", unrelated),
            ("n2", "secrets", "default", "env-secret", unrelated),
            ("n1", "secrets", "default", "", "No Object name found"),
            ("n1", "configmaps", "", "", "can only read namespaced object of this type"),
        ] {
            let message = check(&node(node_name), resource, namespace, name).unwrap_err();
            assert!(
                message.contains(reason),
                "{node_name} {resource} {namespace}/{name}: {message}"
            );
        }
    }

    #[test]
    fn others_are_not_narrowed() {
        assert_eq!(
            check(&UserInfo::authenticated("jane", ["dev"]), "secrets", "default", "other"),
            Ok(())
        );
    }
}
