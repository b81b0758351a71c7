//! The kind table: one row per resource, the only place where a resource's names are written.
//!
//! Counterpart in Kubernetes: the scheme, the `NewREST` constructors of `pkg/registry` and the REST mapper together.
//! Routes, discovery, OpenAPI paths, RBAC names, garbage collection and namespace deletion are derived from these rows.
//!
//! A resource has one row for each version it is served in; one of them is stored, the others are converted (see [`versions`]).
//!
//! Invariants: `(group, version, plural)` and `(group, version, kind)` are unique; each resource is stored in one version; rows never
//! change while the process runs.
//!
//! [`versions`]: crate::versions

use std::borrow::Cow;
use std::sync::LazyLock;

use apimachinery::gvk::{GroupKind, GroupResource, GroupVersionKind, GroupVersionResource};
use apimachinery::object::{Codec, KubeObject};
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;

use crate::strategy::{KindStrategy, Strategy, erased, unstored};
use crate::versions::Conversion;

/// Where the objects of a resource live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Objects live in a namespace.
    Namespaced,
    /// Objects belong to the whole cluster.
    Cluster,
}

/// A path below an object, such as `pods/x/status`, that the API server answers.
#[derive(Clone, Copy, Debug)]
pub struct Subresource {
    /// The last path segment, e.g. `status`.
    pub name: &'static str,
    /// Group of the body's kind; empty together with an empty `version` means the group of the parent.
    pub group: &'static str,
    /// Version of the body's kind; empty means the version of the parent.
    pub version: &'static str,
    /// Kind of the request's body.
    pub kind: &'static str,
    /// Verbs in discovery's order.
    pub verbs: &'static [&'static str],
}

/// One column of a resource's Table, as `kubectl get` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Heading, e.g. `Ready`.
    pub name: &'static str,
    /// OpenAPI type of the cells: `string`, `integer`.
    pub type_: &'static str,
    /// OpenAPI format; `name` marks the column with the object's name.
    pub format: &'static str,
    /// A sentence for people.
    pub description: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// A row of the table.
pub struct Resource {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// API version inside the group.
    pub version: &'static str,
    /// Kind, e.g. `Pod`.
    pub kind: &'static str,
    /// Kind of a list of these, e.g. `PodList`; empty for what cannot be listed.
    pub list_kind: &'static str,
    /// Resource name in paths, e.g. `pods`.
    pub plural: &'static str,
    /// Singular name that command lines accept.
    pub singular: &'static str,
    /// Abbreviations that command lines accept.
    pub short_names: &'static [&'static str],
    /// Groups of resources that command lines accept, e.g. `all`.
    pub categories: &'static [&'static str],
    /// Namespaced or cluster-wide.
    pub scope: Scope,
    /// Verbs in discovery's order.
    pub verbs: &'static [&'static str],
    /// Paths below an object.
    pub subresources: &'static [Subresource],
    /// Field selectors that lists and watches accept; [`Strategy::fields`] gives their values.
    pub selectable: &'static [&'static str],
    /// Columns of the Table; [`Strategy::row`] gives the cells.
    pub columns: &'static [Column],
    /// How bytes become objects of this kind.
    pub codec: &'static dyn Codec,
    /// What this kind does differently from every other, over objects of the stored version.
    pub strategy: &'static dyn Strategy,
    /// Name of the kind's OpenAPI definition.
    pub schema_name: &'static str,
    /// How objects become those of the stored version; `None` when this is it.
    pub conversion: Option<&'static dyn Conversion>,
}

impl Resource {
    /// Group, version and plural.
    pub fn gvr(&self) -> GroupVersionResource {
        GroupVersionResource {
            group: Cow::Borrowed(self.group),
            version: Cow::Borrowed(self.version),
            resource: Cow::Borrowed(self.plural),
        }
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind {
            group: Cow::Borrowed(self.group),
            version: Cow::Borrowed(self.version),
            kind: Cow::Borrowed(self.kind),
        }
    }

    /// Group and plural, as error messages name the resource.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: Cow::Borrowed(self.group), resource: Cow::Borrowed(self.plural) }
    }

    /// Group and kind, as validation errors name it.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: Cow::Borrowed(self.group), kind: Cow::Borrowed(self.kind) }
    }

    /// The `apiVersion` of the objects: `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The path below which the version's resources are: `/api/v1`, `/apis/apps/v1`.
    pub fn root(&self) -> String {
        let root = if self.group.is_empty() { "api" } else { "apis" };
        format!("/{root}/{}", self.api_version())
    }

    /// Prefix of the storage keys of all objects of this resource, with a slash at the end.
    pub fn storage_prefix(&self) -> String {
        let group = if self.group.is_empty() { "core" } else { self.group };
        format!("/registry/{group}/{}/", self.plural)
    }

    /// Whether objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

/// Verbs of a resource without limits.
pub(crate) const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of namespaces, which go one by one.
pub(crate) const NAMESPACE_VERBS: &[&str] =
    &["create", "delete", "get", "list", "patch", "update", "watch"];
/// Verbs of `proxy`.
pub(crate) const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];
/// Verbs of a part of an object: `status`, `scale`.
pub(crate) const PART_VERBS: &[&str] = &["get", "patch", "update"];
/// Verbs of subresources that become streams: `exec`, `attach`.
pub(crate) const STREAM_VERBS: &[&str] = &["create", "get"];

/// A subresource whose body is of a kind in the parent's group and version.
pub(crate) const fn sub(
    name: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, group: "", version: "", kind, verbs }
}

/// A subresource whose body is of a kind in another group.
pub(crate) const fn foreign(
    name: &'static str,
    group: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, group, version: "v1", kind, verbs }
}

/// The subresource of kinds that have a number of replicas.
pub(crate) const SCALE: Subresource = foreign("scale", "autoscaling", "Scale", PART_VERBS);

/// Names by which command lines know a resource besides the plural.
pub(crate) struct Names {
    singular: &'static str,
    short: &'static [&'static str],
    categories: &'static [&'static str],
}

/// Singular, short names, categories.
pub(crate) const fn names(
    singular: &'static str,
    short: &'static [&'static str],
    categories: &'static [&'static str],
) -> Names {
    Names { singular, short, categories }
}

/// A row with the facts that the Rust type already knows.
pub(crate) fn row<K: KindStrategy>(
    names: Names,
    verbs: &'static [&'static str],
    subresources: &'static [Subresource],
    schema_name: &'static str,
) -> Resource {
    Resource {
        group: K::GROUP,
        version: K::VERSION,
        kind: K::KIND,
        list_kind: K::LIST_KIND,
        plural: K::URL_PATH_SEGMENT,
        singular: names.singular,
        short_names: names.short,
        categories: names.categories,
        scope: K::SCOPE,
        verbs,
        subresources,
        selectable: K::SELECTABLE,
        columns: K::COLUMNS,
        codec: apimachinery::object::codec::<K>(),
        strategy: erased::<K>(),
        schema_name,
        conversion: None,
    }
}

/// The row of a question: it can be created, which asks it, and nothing else.
pub(crate) fn question<K>(names: Names, scope: Scope, schema_name: &'static str) -> Resource
where
    K: k8s_openapi::Resource + Metadata<Ty = ObjectMeta> + KubeObject + DeserializeOwned + Default,
{
    Resource {
        group: K::GROUP,
        version: K::VERSION,
        kind: K::KIND,
        list_kind: "",
        plural: K::URL_PATH_SEGMENT,
        singular: names.singular,
        short_names: names.short,
        categories: names.categories,
        scope,
        verbs: &["create"],
        subresources: &[],
        selectable: crate::fields::METADATA,
        columns: crate::columns::NAME_AND_AGE,
        codec: apimachinery::object::codec::<K>(),
        strategy: unstored::<K>(),
        schema_name,
        conversion: None,
    }
}

/// The category of what `kubectl get all` shows.
pub(crate) const ALL: &[&str] = &["all"];

/// In the order in which discovery lists the groups.
static TABLE: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    [
        crate::core::rows(),
        crate::apps::rows(),
        crate::events::rows(),
        crate::batch::rows(),
        crate::coordination::rows(),
        crate::admissionregistration::rows(),
        crate::authentication::rows(),
        crate::authorization::rows(),
        crate::certificates::rows(),
        crate::discovery::rows(),
        crate::flowcontrol::rows(),
        crate::networking::rows(),
        crate::node::rows(),
        crate::policy::rows(),
        crate::rbac::rows(),
        crate::scheduling::rows(),
        crate::storage::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
});

/// Every row.
pub fn all() -> &'static [Resource] {
    &TABLE
}

/// The rows whose objects are stored: one for each resource.
pub fn stored() -> impl Iterator<Item = &'static Resource> {
    all().iter().filter(|row| row.conversion.is_none())
}

/// The row of a path's group, version and plural.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    all().iter().find(|r| r.plural == plural && r.group == group && r.version == version)
}

/// The row of a body's group, version and kind.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Resource> {
    all().iter().find(|r| r.kind == kind && r.group == group && r.version == version)
}

/// The row of a Rust type.
///
/// # Panics
/// When the type has no row, which is a mistake in the program.
pub fn of<K: k8s_openapi::Resource>() -> &'static Resource {
    by_kind(K::GROUP, K::VERSION, K::KIND).expect("the type has a row in the kind table")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{all, by_kind, find, stored};

    #[test]
    fn rows_are_unique_and_found_by_path_and_by_kind() {
        let mut names = BTreeSet::new();
        for row in all() {
            assert!(names.insert((row.group, row.version, row.plural)), "{}", row.plural);
            assert!(row.stored().conversion.is_none(), "{}", row.plural);
            assert_eq!(find(row.group, row.version, row.plural).map(|r| r.kind), Some(row.kind));
            assert_eq!(
                by_kind(row.group, row.version, row.kind).map(|r| r.plural),
                Some(row.plural)
            );
        }
        assert!(find("", "v1", "widgets").is_none());
        let mut resources = BTreeSet::new();
        assert!(stored().all(|row| resources.insert((row.group, row.plural))));
    }

    #[test]
    fn rows_have_a_cell_for_every_column_and_a_value_for_every_field() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        for row in all() {
            let object = row.accept(row.codec.empty());
            assert_eq!(
                row.strategy.row(object.as_ref(), now).len(),
                row.columns.len(),
                "{}",
                row.kind
            );
            let fields: BTreeSet<_> =
                row.strategy.fields(object.as_ref()).into_iter().map(|(name, _)| name).collect();
            assert_eq!(fields, row.stored().selectable.iter().copied().collect(), "{}", row.kind);
            assert!(row.selectable.iter().all(|name| fields.contains(row.stored_field(name))));
        }
    }

    #[test]
    fn default_and_conversion_of_every_kind_twice_are_as_once() {
        for row in all() {
            let mut object = row.accept(row.codec.empty());
            let once = object.to_value();
            row.strategy.default(object.as_mut());
            assert_eq!(object.to_value(), once, "{}", row.kind);
            let shown = row.show(object);
            assert_eq!(shown.api_version(), row.api_version());
            assert_eq!(row.accept(shown).to_value(), once, "{}", row.kind);
        }
    }
}
