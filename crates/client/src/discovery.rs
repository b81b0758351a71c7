//! Which resources the server serves. Counterpart: client-go's `discovery`.
//!
//! Invariant: each resource appears once, in the version that the server prefers.

use std::borrow::Cow;
use std::collections::BTreeSet;

use kube::client::{APIGroupDiscovery, APIGroupDiscoveryList};
use kube::{Client, Error};

use crate::resource::ResourceType;

/// A resource and what can be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedResource {
    /// The resource.
    pub resource: ResourceType,
    /// Its verbs.
    pub verbs: BTreeSet<String>,
}

impl ServedResource {
    /// Whether all of `verbs` are offered.
    #[must_use]
    pub fn offers(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.contains(*verb))
    }
}

/// Every resource of the server, in its preferred version.
///
/// # Errors
/// When the server cannot be asked.
pub async fn served_resources(client: &Client) -> Result<Vec<ServedResource>, Error> {
    let core = client.list_core_api_versions_aggregated().await?;
    let groups = client.list_api_groups_aggregated().await?;
    Ok(preferred(core).into_iter().chain(preferred(groups)).collect())
}

fn preferred(list: APIGroupDiscoveryList) -> Vec<ServedResource> {
    list.items.into_iter().flat_map(preferred_of_group).collect()
}

/// Versions come in the order of preference.
fn preferred_of_group(group: APIGroupDiscovery) -> Vec<ServedResource> {
    let name = group.metadata.and_then(|meta| meta.name).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for version in group.versions {
        let version_name = version.version.unwrap_or_default();
        for resource in version.resources {
            let plural = resource.resource.unwrap_or_default();
            let kind = resource.response_kind.and_then(|kind| kind.kind).unwrap_or_default();
            if !seen.insert(plural.clone()) {
                continue;
            }
            let resource_type = ResourceType {
                group: Cow::Owned(name.clone()),
                version: Cow::Owned(version_name.clone()),
                kind: Cow::Owned(kind),
                plural: Cow::Owned(plural),
                namespaced: resource.scope.as_deref() == Some("Namespaced"),
            };
            found.push(ServedResource {
                resource: resource_type,
                verbs: resource.verbs.into_iter().collect(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferred_version_comes_once() {
        let json = serde_json::json!({"items": [{"metadata": {"name": "apps"}, "versions": [
            {"version": "v1", "resources": [{"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced", "verbs": ["list", "delete"]}]},
            {"version": "v1beta1", "resources": [{"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced", "verbs": ["list"]}]}
        ]}]});
        let found = preferred(serde_json::from_value(json).unwrap());
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].resource.api_version(), found[0].resource.namespaced),
            ("apps/v1".to_owned(), true)
        );
        assert!(found[0].offers(&["list", "delete"]) && !found[0].offers(&["watch"]));
    }
}
