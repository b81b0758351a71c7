//! The kind table: one row per resource, the only place where a resource's names are written.
//!
//! Counterpart in Kubernetes: the scheme, the `NewREST` constructors of `pkg/registry` and the REST mapper together.
//! Routes, discovery, OpenAPI paths, RBAC names, garbage collection and namespace deletion are derived from these rows.
//!
//! Invariants: `(group, plural)` and `(group, version, kind)` are unique; rows never change while the process runs.

use std::borrow::Cow;
use std::sync::LazyLock;

use apimachinery::gvk::{GroupKind, GroupResource, GroupVersionKind, GroupVersionResource};
use apimachinery::object::Codec;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount,
};

use crate::strategy::{KindStrategy, Strategy, erased};

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
    /// Kind of a list of these, e.g. `PodList`.
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
    /// What this kind does differently from every other.
    pub strategy: &'static dyn Strategy,
    /// Name of the kind's OpenAPI definition.
    pub schema_name: &'static str,
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

const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const NAMESPACE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];
const PART_VERBS: &[&str] = &["get", "patch", "update"];
const STREAM_VERBS: &[&str] = &["create", "get"];

/// A subresource whose body is of a kind in the parent's group and version.
const fn sub(
    name: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, group: "", version: "", kind, verbs }
}

/// A subresource whose body is of a kind in another group.
const fn foreign(
    name: &'static str,
    group: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, group, version: "v1", kind, verbs }
}

const SCALE: Subresource = foreign("scale", "autoscaling", "Scale", PART_VERBS);

/// Names by which command lines know a resource besides the plural.
struct Names {
    singular: &'static str,
    short: &'static [&'static str],
    categories: &'static [&'static str],
}

const fn names(
    singular: &'static str,
    short: &'static [&'static str],
    categories: &'static [&'static str],
) -> Names {
    Names { singular, short, categories }
}

/// A row with the facts that the Rust type already knows.
fn row<K: KindStrategy>(
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
    }
}

const ALL: &[&str] = &["all"];

static TABLE: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    vec![
        row::<Namespace>(
            names("namespace", &["ns"], &[]),
            NAMESPACE_VERBS,
            NAMESPACE_SUBRESOURCES,
            "io.k8s.api.core.v1.Namespace",
        ),
        row::<Node>(
            names("node", &["no"], &[]),
            ALL_VERBS,
            NODE_SUBRESOURCES,
            "io.k8s.api.core.v1.Node",
        ),
        row::<Pod>(
            names("pod", &["po"], ALL),
            ALL_VERBS,
            POD_SUBRESOURCES,
            "io.k8s.api.core.v1.Pod",
        ),
        row::<Service>(
            names("service", &["svc"], ALL),
            ALL_VERBS,
            SERVICE_SUBRESOURCES,
            "io.k8s.api.core.v1.Service",
        ),
        row::<ConfigMap>(
            names("configmap", &["cm"], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.core.v1.ConfigMap",
        ),
        row::<Secret>(names("secret", &[], &[]), ALL_VERBS, &[], "io.k8s.api.core.v1.Secret"),
        row::<ServiceAccount>(
            names("serviceaccount", &["sa"], &[]),
            ALL_VERBS,
            SERVICE_ACCOUNT_SUBRESOURCES,
            "io.k8s.api.core.v1.ServiceAccount",
        ),
        row::<Event>(names("event", &["ev"], &[]), ALL_VERBS, &[], "io.k8s.api.core.v1.Event"),
        row::<Lease>(names("lease", &[], &[]), ALL_VERBS, &[], "io.k8s.api.coordination.v1.Lease"),
        row::<Deployment>(
            names("deployment", &["deploy"], ALL),
            ALL_VERBS,
            DEPLOYMENT_SUBRESOURCES,
            "io.k8s.api.apps.v1.Deployment",
        ),
        row::<ReplicaSet>(
            names("replicaset", &["rs"], ALL),
            ALL_VERBS,
            REPLICA_SET_SUBRESOURCES,
            "io.k8s.api.apps.v1.ReplicaSet",
        ),
    ]
});

const NAMESPACE_SUBRESOURCES: &[Subresource] =
    &[sub("finalize", "Namespace", &["update"]), sub("status", "Namespace", PART_VERBS)];
const NODE_SUBRESOURCES: &[Subresource] =
    &[sub("proxy", "NodeProxyOptions", PROXY_VERBS), sub("status", "Node", PART_VERBS)];
const SERVICE_SUBRESOURCES: &[Subresource] =
    &[sub("proxy", "ServiceProxyOptions", PROXY_VERBS), sub("status", "Service", PART_VERBS)];
const SERVICE_ACCOUNT_SUBRESOURCES: &[Subresource] =
    &[foreign("token", "authentication.k8s.io", "TokenRequest", &["create"])];
const DEPLOYMENT_SUBRESOURCES: &[Subresource] = &[SCALE, sub("status", "Deployment", PART_VERBS)];
const REPLICA_SET_SUBRESOURCES: &[Subresource] = &[SCALE, sub("status", "ReplicaSet", PART_VERBS)];
const POD_SUBRESOURCES: &[Subresource] = &[
    sub("attach", "PodAttachOptions", STREAM_VERBS),
    sub("binding", "Binding", &["create"]),
    sub("ephemeralcontainers", "Pod", PART_VERBS),
    foreign("eviction", "policy", "Eviction", &["create"]),
    sub("exec", "PodExecOptions", STREAM_VERBS),
    sub("log", "Pod", &["get"]),
    sub("portforward", "PodPortForwardOptions", STREAM_VERBS),
    sub("proxy", "PodProxyOptions", PROXY_VERBS),
    sub("resize", "Pod", PART_VERBS),
    sub("status", "Pod", PART_VERBS),
];

/// Every row.
pub fn all() -> &'static [Resource] {
    &TABLE
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

    use expect_test::expect;

    use super::{Resource, all, by_kind, find};

    /// The row as discovery of Kubernetes 1.36 tells it.
    fn line(row: &Resource) -> String {
        let subresources = row.subresources.iter().map(|s| {
            let kind = if s.group.is_empty() {
                s.kind.to_owned()
            } else {
                format!("{}/{}", s.group, s.kind)
            };
            format!("\n  {} {kind} {}", s.name, s.verbs.join(","))
        });
        let names = format!(
            "{} {} {} {}",
            row.plural,
            row.singular,
            row.short_names.join(","),
            row.api_version()
        );
        let scope = if row.namespaced() { "namespaced" } else { "cluster" };
        let rest = format!("{} {} {}", row.kind, row.verbs.join(","), row.categories.join(","));
        format!("{names} {scope} {rest}{}", subresources.collect::<String>())
    }

    #[test]
    fn table_says_what_discovery_of_kubernetes_says() {
        let table: Vec<_> = all().iter().map(line).collect();
        expect![[r#"
            namespaces namespace ns v1 cluster Namespace create,delete,get,list,patch,update,watch 
              finalize Namespace update
              status Namespace get,patch,update
            nodes node no v1 cluster Node create,delete,deletecollection,get,list,patch,update,watch 
              proxy NodeProxyOptions create,delete,get,patch,update
              status Node get,patch,update
            pods pod po v1 namespaced Pod create,delete,deletecollection,get,list,patch,update,watch all
              attach PodAttachOptions create,get
              binding Binding create
              ephemeralcontainers Pod get,patch,update
              eviction policy/Eviction create
              exec PodExecOptions create,get
              log Pod get
              portforward PodPortForwardOptions create,get
              proxy PodProxyOptions create,delete,get,patch,update
              resize Pod get,patch,update
              status Pod get,patch,update
            services service svc v1 namespaced Service create,delete,deletecollection,get,list,patch,update,watch all
              proxy ServiceProxyOptions create,delete,get,patch,update
              status Service get,patch,update
            configmaps configmap cm v1 namespaced ConfigMap create,delete,deletecollection,get,list,patch,update,watch 
            secrets secret  v1 namespaced Secret create,delete,deletecollection,get,list,patch,update,watch 
            serviceaccounts serviceaccount sa v1 namespaced ServiceAccount create,delete,deletecollection,get,list,patch,update,watch 
              token authentication.k8s.io/TokenRequest create
            events event ev v1 namespaced Event create,delete,deletecollection,get,list,patch,update,watch 
            leases lease  coordination.k8s.io/v1 namespaced Lease create,delete,deletecollection,get,list,patch,update,watch 
            deployments deployment deploy apps/v1 namespaced Deployment create,delete,deletecollection,get,list,patch,update,watch all
              scale autoscaling/Scale get,patch,update
              status Deployment get,patch,update
            replicasets replicaset rs apps/v1 namespaced ReplicaSet create,delete,deletecollection,get,list,patch,update,watch all
              scale autoscaling/Scale get,patch,update
              status ReplicaSet get,patch,update"#]].assert_eq(&table.join("\n"));
    }

    #[test]
    fn rows_are_unique_and_found_by_path_and_by_kind() {
        let mut names = BTreeSet::new();
        for row in all() {
            assert!(names.insert((row.group, row.plural)), "{}", row.plural);
            assert_eq!(find(row.group, row.version, row.plural).map(|r| r.kind), Some(row.kind));
            assert_eq!(
                by_kind(row.group, row.version, row.kind).map(|r| r.plural),
                Some(row.plural)
            );
        }
        assert!(find("", "v1", "widgets").is_none());
    }

    #[test]
    fn rows_have_a_cell_for_every_column_and_a_value_for_every_field() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        for row in all() {
            let mut object = row.codec.empty();
            row.strategy.default(object.as_mut());
            assert_eq!(
                row.strategy.row(object.as_ref(), now).len(),
                row.columns.len(),
                "{}",
                row.kind
            );
            let fields: BTreeSet<_> =
                row.strategy.fields(object.as_ref()).into_iter().map(|(name, _)| name).collect();
            assert_eq!(fields, row.selectable.iter().copied().collect(), "{}", row.kind);
        }
    }

    #[test]
    fn default_of_every_kind_twice_is_default_once() {
        for row in all() {
            let mut object = row.codec.empty();
            row.strategy.default(object.as_mut());
            let once = object.to_value();
            row.strategy.default(object.as_mut());
            assert_eq!(object.to_value(), once, "{}", row.kind);
        }
    }
}
