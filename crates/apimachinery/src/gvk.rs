//! Names of API groups, versions, kinds and resources; the counterpart of `k8s.io/apimachinery/pkg/runtime/schema`.
//!
//! Invariant: the core group is the empty string, everywhere. `Display` prints what Kubernetes prints in its messages.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::Resource;

/// A name that is usually known at compile time, and is owned for custom resources.
pub type Name = Cow<'static, str>;

/// An API group and version, such as `apps/v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersion {
    /// The API group; empty for the core group.
    pub group: Name,
    /// The version, such as `v1`.
    pub version: Name,
}

/// A kind within a group, independent of version, such as `Deployment.apps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKind {
    /// The API group; empty for the core group.
    pub group: Name,
    /// The kind, such as `Deployment`.
    pub kind: Name,
}

/// A resource (lower-case plural) within a group, independent of version, such as `deployments.apps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupResource {
    /// The API group; empty for the core group.
    pub group: Name,
    /// The plural resource, such as `deployments`.
    pub resource: Name,
}

/// A kind in one version of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionKind {
    /// The API group; empty for the core group.
    pub group: Name,
    /// The version, such as `v1`.
    pub version: Name,
    /// The kind, such as `Deployment`.
    pub kind: Name,
}

/// A resource in one version of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionResource {
    /// The API group; empty for the core group.
    pub group: Name,
    /// The version, such as `v1`.
    pub version: Name,
    /// The plural resource, such as `deployments`.
    pub resource: Name,
}

impl GroupVersion {
    /// Builds a group and version.
    pub fn new(group: impl Into<Name>, version: impl Into<Name>) -> Self {
        Self { group: group.into(), version: version.into() }
    }

    /// Splits an `apiVersion`: `apps/v1` or, for the core group, `v1`. `None` if it has more than one slash.
    pub fn parse(api_version: &str) -> Option<Self> {
        match api_version.split_once('/') {
            None => Some(Self::new("", api_version.to_owned())),
            Some((_, version)) if version.contains('/') => None,
            Some((group, version)) => Some(Self::new(group.to_owned(), version.to_owned())),
        }
    }

    /// This group and version with a kind.
    pub fn with_kind(&self, kind: impl Into<Name>) -> GroupVersionKind {
        GroupVersionKind {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: kind.into(),
        }
    }

    /// This group and version with a resource.
    pub fn with_resource(&self, resource: impl Into<Name>) -> GroupVersionResource {
        GroupVersionResource {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: resource.into(),
        }
    }
}

impl GroupKind {
    /// Builds a group and kind.
    pub fn new(group: impl Into<Name>, kind: impl Into<Name>) -> Self {
        Self { group: group.into(), kind: kind.into() }
    }

    /// True when neither group nor kind is set.
    pub fn is_empty(&self) -> bool {
        self.group.is_empty() && self.kind.is_empty()
    }
}

impl GroupResource {
    /// Builds a group and resource.
    pub fn new(group: impl Into<Name>, resource: impl Into<Name>) -> Self {
        Self { group: group.into(), resource: resource.into() }
    }

    /// True when neither group nor resource is set.
    pub fn is_empty(&self) -> bool {
        self.group.is_empty() && self.resource.is_empty()
    }
}

impl GroupVersionKind {
    /// Builds a group, version and kind.
    pub fn new(group: impl Into<Name>, version: impl Into<Name>, kind: impl Into<Name>) -> Self {
        Self { group: group.into(), version: version.into(), kind: kind.into() }
    }

    /// The names of a compiled-in type.
    pub const fn of<K: Resource>() -> Self {
        Self {
            group: Cow::Borrowed(K::GROUP),
            version: Cow::Borrowed(K::VERSION),
            kind: Cow::Borrowed(K::KIND),
        }
    }

    /// The group and version.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }
    }

    /// The group and kind.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group.clone(), kind: self.kind.clone() }
    }

    /// The `apiVersion` an object of this kind carries, such as `apps/v1`.
    pub fn api_version(&self) -> String {
        self.group_version().to_string()
    }
}

impl GroupVersionResource {
    /// Builds a group, version and resource.
    pub fn new(
        group: impl Into<Name>,
        version: impl Into<Name>,
        resource: impl Into<Name>,
    ) -> Self {
        Self { group: group.into(), version: version.into(), resource: resource.into() }
    }

    /// The group and version.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }
    }

    /// The group and resource.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.group.clone(), resource: self.resource.clone() }
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.is_empty() {
            true => f.write_str(&self.version),
            false => write!(f, "{}/{}", self.group, self.version),
        }
    }
}

/// Writes `name` or, outside the core group, `name.group`.
fn dotted(f: &mut fmt::Formatter<'_>, name: &str, group: &str) -> fmt::Result {
    match group.is_empty() {
        true => f.write_str(name),
        false => write!(f, "{name}.{group}"),
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        dotted(f, &self.kind, &self.group)
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        dotted(f, &self.resource, &self.group)
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

impl fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Resource={}", self.group, self.version, self.resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_printed_as_kubernetes_does() {
        assert_eq!(GroupResource::new("apps", "deployments").to_string(), "deployments.apps");
        assert_eq!(GroupResource::new("", "pods").to_string(), "pods");
        assert_eq!(GroupKind::new("apps", "Deployment").to_string(), "Deployment.apps");
        assert_eq!(
            GroupVersionKind::new("apps", "v1", "Deployment").to_string(),
            "apps/v1, Kind=Deployment"
        );
        assert_eq!(GroupVersionResource::new("", "v1", "pods").to_string(), "/v1, Resource=pods");
    }

    #[test]
    fn api_version_parsed_and_printed_round_trip() {
        for text in ["v1", "apps/v1", "events.k8s.io/v1"] {
            assert_eq!(GroupVersion::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(GroupVersion::parse("a/b/c"), None);
    }
}
