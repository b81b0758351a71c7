//! The fixed policy: who may do what before RBAC arrives.
//!
//! Its counterpart is the bootstrap policy of `plugin/pkg/auth/authorizer/rbac/bootstrappolicy` together with the
//! node authorizer. One table of rules per identity; everything not named is refused. What a node may do in general is
//! said here; which Secrets and ConfigMaps it may read is narrowed by `node`, and which pods, Nodes and Leases
//! it may write by the admission plugin `NodeRestriction`. Known limit: a node may read every pod.

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use k8s_openapi::api::authorization::v1::{
    NonResourceRule, ResourceRule, SelfSubjectAccessReview, SelfSubjectRulesReview,
    SubjectAccessReview,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount,
};

use super::{Attributes, Authorizer, Decision, Rules};
use crate::authn::{GROUP_AUTHENTICATED, GROUP_MASTERS, OPEN_PATHS, UserInfo, anonymous_allowed};
use crate::service_account::{self, GROUP_SERVICE_ACCOUNTS};

/// User of the controller manager.
pub const USER_CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
/// User of the scheduler.
pub const USER_SCHEDULER: &str = "system:kube-scheduler";
/// Group of every node's kubelet.
pub const GROUP_NODES: &str = "system:nodes";
/// Prefix of the users of kubelets; the node's name follows.
pub const NODE_USER_PREFIX: &str = "system:node:";
/// Namespace of the Leases that nodes renew.
pub const NAMESPACE_NODE_LEASE: &str = "kube-node-lease";

/// Admins may everything, the control plane's own identities what they need, nodes their own things; everyone
/// else is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedPolicy;

impl Authorizer for FixedPolicy {
    fn authorize(&self, attrs: &Attributes) -> Decision {
        if attrs.user.in_group(GROUP_MASTERS) || public(attrs) || asks_about_itself(attrs) {
            return Decision::Allow;
        }
        if attrs.user.in_group(GROUP_NODES) {
            return node(attrs);
        }
        decide(component(&attrs.user.name).iter().any(|rule| rule.allows(attrs)))
    }

    /// Rules of nodes are narrowed object by object, so theirs are not the whole truth.
    fn rules(&self, user: &UserInfo, _namespace: &str) -> Rules {
        let all = || vec!["*".to_owned()];
        if user.in_group(GROUP_MASTERS) {
            let resource = resource_rule(all(), all(), all());
            let other = NonResourceRule { verbs: all(), non_resource_urls: Some(all()) };
            return Rules {
                resource: vec![resource],
                non_resource: vec![other],
                incomplete: false,
            };
        }
        let node = user.in_group(GROUP_NODES);
        let own = if node { NODE } else { component(&user.name) };
        let asked = if user.in_group(GROUP_AUTHENTICATED) { BASIC_USER } else { &[] };
        let resource = asked.iter().chain(own).map(Rule::shown).collect();
        Rules { resource, non_resource: public_rules(user), incomplete: node }
    }
}

fn component(user: &str) -> &'static [Rule] {
    match user {
        USER_CONTROLLER_MANAGER => CONTROLLER_MANAGER,
        USER_SCHEDULER => SCHEDULER,
        _ => &[],
    }
}

fn resource_rule(verbs: Vec<String>, groups: Vec<String>, resources: Vec<String>) -> ResourceRule {
    ResourceRule {
        verbs,
        api_groups: Some(groups),
        resources: Some(resources),
        resource_names: None,
    }
}

/// What [`public`] says, as rules.
fn public_rules(user: &UserInfo) -> Vec<NonResourceRule> {
    let discovery: &[&str] = if user.in_group(GROUP_AUTHENTICATED) { &DISCOVERY } else { &[] };
    let roots = OPEN_PATHS.iter().chain(discovery);
    let urls = roots.flat_map(|root| [(*root).to_owned(), format!("{root}/*")]).collect();
    let verbs = ["get", "head"].map(str::to_owned).to_vec();
    vec![NonResourceRule { verbs, non_resource_urls: Some(urls) }]
}

/// Everybody who is somebody may ask who they are and what they may do.
fn asks_about_itself(attrs: &Attributes) -> bool {
    attrs.user.in_group(GROUP_AUTHENTICATED) && BASIC_USER.iter().any(|rule| rule.allows(attrs))
}

/// The name of the node that `user` speaks for.
pub fn node_name(user: &crate::authn::UserInfo) -> Option<&str> {
    let name = user.name.strip_prefix(NODE_USER_PREFIX).filter(|name| !name.is_empty())?;
    user.in_group(GROUP_NODES).then_some(name)
}

fn decide(allowed: bool) -> Decision {
    if allowed { Decision::Allow } else { Decision::no_opinion() }
}

/// Paths below which the server says what it serves.
const DISCOVERY: [&str; 3] = ["/api", "/apis", "/openapi"];

/// Health and version for all, discovery for every authenticated user.
fn public(attrs: &Attributes) -> bool {
    let reads = matches!(attrs.verb.as_str(), "get" | "head");
    let discovery = || {
        attrs.user.in_group(GROUP_AUTHENTICATED)
            && DISCOVERY.iter().any(|root| is_or_below(&attrs.path, root))
    };
    let verifies_tokens = || {
        let path = attrs.path.strip_suffix('/').unwrap_or(&attrs.path);
        attrs.user.in_group(GROUP_SERVICE_ACCOUNTS) && service_account::PATHS.contains(&path)
    };
    let open = || anonymous_allowed(&attrs.path) || discovery() || verifies_tokens();
    !attrs.resource_request && reads && open()
}

fn is_or_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A node: the static rules, and names where the request has one.
fn node(attrs: &Attributes) -> Decision {
    let Some(node) = node_name(&attrs.user) else {
        return Decision::NoOpinion {
            reason: format!("unknown node for user {:?}", attrs.user.name),
        };
    };
    if !NODE.iter().any(|rule| rule.allows(attrs)) {
        return Decision::no_opinion();
    }
    match not_its_own(attrs, node) {
        Some(reason) => Decision::NoOpinion { reason },
        None => Decision::Allow,
    }
}

/// Why a node that may do this in general may not do it to this object.
fn not_its_own(attrs: &Attributes, node: &str) -> Option<String> {
    let other = !attrs.name.is_empty() && attrs.name != node;
    match attrs.resource.as_str() {
        Node::URL_PATH_SEGMENT if other && writes(attrs) => {
            Some(format!("node '{node}' cannot modify node '{}'", attrs.name))
        }
        Lease::URL_PATH_SEGMENT if attrs.namespace != NAMESPACE_NODE_LEASE => {
            Some(format!("can only access leases in the {NAMESPACE_NODE_LEASE:?} system namespace"))
        }
        Lease::URL_PATH_SEGMENT if other => {
            Some("can only access node lease with the same name as the requesting node".to_owned())
        }
        _ => None,
    }
}

fn writes(attrs: &Attributes) -> bool {
    !matches!(attrs.verb.as_str(), "get" | "list" | "watch")
}

/// What one rule matches.
enum Target {
    /// One resource; `subresource` is empty for the object itself.
    Resource { group: &'static str, resource: &'static str, subresource: &'static str },
    /// Every resource and subresource except those that lead into containers and nodes.
    AllButStreams,
}

struct Rule {
    verbs: &'static [&'static str],
    target: Target,
}

/// Subresources that give access to a container or a node rather than to an object.
const STREAMS: [&str; 4] = ["attach", "exec", "portforward", "proxy"];

impl Rule {
    /// The rule as a SelfSubjectRulesReview has it.
    fn shown(&self) -> ResourceRule {
        let verbs = self.verbs.iter().map(|verb| (*verb).to_owned()).collect();
        let (group, resource) = match self.target {
            Target::AllButStreams => ("*", "*".to_owned()),
            Target::Resource { group, resource, subresource: "" } => (group, resource.to_owned()),
            Target::Resource { group, resource, subresource } => {
                (group, format!("{resource}/{subresource}"))
            }
        };
        resource_rule(verbs, vec![group.to_owned()], vec![resource])
    }

    fn allows(&self, attrs: &Attributes) -> bool {
        attrs.resource_request
            && self.verbs.contains(&attrs.verb.as_str())
            && self.target.matches(attrs)
    }
}

impl Target {
    fn matches(&self, attrs: &Attributes) -> bool {
        match *self {
            Self::AllButStreams => !STREAMS.contains(&attrs.subresource.as_str()),
            Self::Resource { group, resource, subresource } => {
                attrs.api_group == group
                    && attrs.resource == resource
                    && attrs.subresource == subresource
            }
        }
    }
}

const fn on<K: Resource>(verbs: &'static [&'static str]) -> Rule {
    part::<K>("", verbs)
}

const fn part<K: Resource>(subresource: &'static str, verbs: &'static [&'static str]) -> Rule {
    Rule {
        verbs,
        target: Target::Resource { group: K::GROUP, resource: K::URL_PATH_SEGMENT, subresource },
    }
}

const READ: &[&str] = &["get", "list", "watch"];
const CREATE: &[&str] = &["create"];
const CHANGE: &[&str] = &["patch", "update"];
const RECORD: &[&str] = &["create", "patch", "update"];
const TOKEN_REVIEWS: Rule = on::<TokenReview>(CREATE);
const ACCESS_REVIEWS: Rule = on::<SubjectAccessReview>(CREATE);

const BASIC_USER: &[Rule] = &[
    on::<SelfSubjectReview>(CREATE),
    on::<SelfSubjectAccessReview>(CREATE),
    on::<SelfSubjectRulesReview>(CREATE),
];

/// The garbage collector and the namespace controller read, change and delete everything; creations are named.
const CONTROLLER_MANAGER: &[Rule] = &[
    Rule {
        verbs: &["get", "list", "watch", "patch", "update", "delete", "deletecollection"],
        target: Target::AllButStreams,
    },
    on::<Event>(CREATE),
    on::<Lease>(CREATE),
    on::<Pod>(CREATE),
    part::<Pod>("eviction", CREATE),
    on::<ReplicaSet>(CREATE),
    on::<ConfigMap>(CREATE),
    on::<Secret>(CREATE),
    on::<ServiceAccount>(CREATE),
    part::<ServiceAccount>("token", CREATE),
    TOKEN_REVIEWS,
    ACCESS_REVIEWS,
];

const SCHEDULER: &[Rule] = &[
    on::<Event>(RECORD),
    on::<Lease>(&["create", "get", "list", "update", "watch"]),
    on::<Node>(READ),
    on::<Namespace>(READ),
    on::<Service>(READ),
    on::<ReplicaSet>(READ),
    on::<Pod>(&["delete", "get", "list", "watch"]),
    part::<Pod>("binding", CREATE),
    part::<Pod>("status", CHANGE),
    TOKEN_REVIEWS,
    ACCESS_REVIEWS,
];

const NODE: &[Rule] = &[
    on::<Node>(&["create", "get", "list", "patch", "update", "watch"]),
    part::<Node>("status", &["get", "patch", "update"]),
    on::<Lease>(&["create", "delete", "get", "patch", "update"]),
    on::<Event>(RECORD),
    on::<Service>(READ),
    on::<ConfigMap>(READ),
    on::<Secret>(READ),
    on::<ServiceAccount>(&["get"]),
    on::<Pod>(&["delete", "get", "list", "watch"]),
    part::<Pod>("status", &["get", "patch", "update"]),
    TOKEN_REVIEWS,
    ACCESS_REVIEWS,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::UserInfo;
    use crate::authz::{check, forbidden};

    fn resource(
        user: &UserInfo,
        verb: &str,
        path: &str,
        namespace: &str,
        name: &str,
    ) -> Attributes {
        let (group, resource) = path.split_once(':').unwrap_or(("", path));
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            user: user.clone(),
            verb: verb.into(),
            namespace: namespace.into(),
            api_group: group.into(),
            api_version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: name.into(),
            path: String::new(),
            resource_request: true,
        }
    }

    fn path(user: &UserInfo, verb: &str, path: &str) -> Attributes {
        Attributes {
            user: user.clone(),
            verb: verb.into(),
            path: path.into(),
            ..Attributes::default()
        }
    }

    fn allowed(attrs: &Attributes) -> bool {
        FixedPolicy.authorize(attrs) == Decision::Allow
    }

    fn node_user(name: &str) -> UserInfo {
        UserInfo::authenticated(format!("{NODE_USER_PREFIX}{name}"), [GROUP_NODES])
    }

    #[test]
    fn masters_may_everything() {
        let admin = UserInfo::authenticated("admin", [GROUP_MASTERS]);
        assert!(allowed(&resource(&admin, "create", "pods/exec", "default", "x")));
        assert!(allowed(&path(&admin, "post", "/anything")));
    }

    #[test]
    fn public_paths_are_open_to_whom_kubernetes_opens_them() {
        let jane = UserInfo::authenticated("jane", ["dev"]);
        let nobody = UserInfo::anonymous();
        for open in ["/healthz", "/readyz/ping", "/version"] {
            assert!(
                allowed(&path(&jane, "get", open)) && allowed(&path(&nobody, "get", open)),
                "{open}"
            );
        }
        for discovery in ["/api", "/apis/apps/v1", "/openapi/v3"] {
            assert!(allowed(&path(&jane, "get", discovery)), "{discovery}");
            assert!(!allowed(&path(&nobody, "get", discovery)), "{discovery}");
        }
        for closed in ["/metrics", "/", "/debug/pprof"] {
            assert!(!allowed(&path(&jane, "get", closed)), "{closed}");
        }
        assert!(!allowed(&path(&jane, "post", "/version")));
    }

    #[test]
    fn node_may_what_a_kubelet_needs() {
        let node = node_user("n1");
        for (verb, what, ns, name) in [
            ("create", "nodes", "", ""),
            ("patch", "nodes/status", "", "n1"),
            ("update", "coordination.k8s.io:leases", "kube-node-lease", "n1"),
            ("create", "coordination.k8s.io:leases", "kube-node-lease", ""),
            ("watch", "pods", "", ""),
            ("patch", "pods/status", "default", "p"),
            ("delete", "pods", "default", "p"),
            ("create", "events", "default", ""),
            ("list", "services", "", ""),
            ("get", "nodes", "", "n2"),
        ] {
            assert!(allowed(&resource(&node, verb, what, ns, name)), "{verb} {what}");
        }
    }

    #[test]
    fn node_is_refused_what_is_not_its_own() {
        let node = node_user("n1");
        for (verb, what, ns, name) in [
            ("patch", "nodes/status", "", "n2"),
            ("update", "nodes", "", "n2"),
            ("delete", "nodes", "", "n1"),
            ("update", "coordination.k8s.io:leases", "kube-node-lease", "n2"),
            ("get", "coordination.k8s.io:leases", "default", "n1"),
            ("delete", "secrets", "default", "s"),
            ("create", "pods", "default", ""),
            ("create", "pods/exec", "default", "p"),
            ("update", "pods", "default", "p"),
            ("create", "pods/binding", "default", "p"),
            ("create", "apps:deployments", "default", ""),
        ] {
            assert!(!allowed(&resource(&node, verb, what, ns, name)), "{verb} {what}");
        }
    }

    #[test]
    fn node_identity_needs_group_and_name() {
        let group_only = UserInfo::authenticated("jane", [GROUP_NODES]);
        assert_eq!(
            FixedPolicy.authorize(&resource(&group_only, "get", "nodes", "", "n1")),
            Decision::NoOpinion { reason: "unknown node for user \"jane\"".to_owned() }
        );
        let name_only = UserInfo::authenticated("system:node:n1", ["dev"]);
        assert!(!allowed(&resource(&name_only, "get", "nodes", "", "n1")));
    }

    #[test]
    fn control_plane_identities_have_their_own_powers_only() {
        let scheduler = UserInfo::authenticated::<&str>(USER_SCHEDULER, []);
        assert!(allowed(&resource(&scheduler, "create", "pods/binding", "default", "p")));
        assert!(allowed(&resource(&scheduler, "watch", "nodes", "", "")));
        assert!(!allowed(&resource(&scheduler, "create", "pods", "default", "")));
        assert!(!allowed(&resource(&scheduler, "get", "secrets", "default", "s")));
        let manager = UserInfo::authenticated::<&str>(USER_CONTROLLER_MANAGER, []);
        for (verb, what) in
            [("create", "pods"), ("delete", "apps:replicasets"), ("update", "namespaces/finalize")]
        {
            assert!(allowed(&resource(&manager, verb, what, "default", "")), "{verb} {what}");
        }
        for (verb, what) in
            [("get", "pods/exec"), ("create", "pods/exec"), ("create", "pods/binding")]
        {
            assert!(!allowed(&resource(&manager, verb, what, "default", "p")), "{verb} {what}");
        }
    }

    #[test]
    fn forbidden_messages_are_kubernetes_words() {
        let jane = UserInfo::authenticated("jane", ["dev"]);
        let cases = [
            (
                resource(&jane, "list", "pods", "default", ""),
                r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default""#,
            ),
            (
                resource(&jane, "patch", "apps:deployments/scale", "ns1", "web"),
                r#"deployments.apps "web" is forbidden: User "jane" cannot patch resource "deployments/scale" in API group "apps" in the namespace "ns1""#,
            ),
            (
                resource(&jane, "get", "nodes", "", "n1"),
                r#"nodes "n1" is forbidden: User "jane" cannot get resource "nodes" in API group "" at the cluster scope"#,
            ),
            (
                path(&jane, "get", "/metrics"),
                r#"forbidden: User "jane" cannot get path "/metrics""#,
            ),
        ];
        for (attrs, message) in cases {
            let status = check(&FixedPolicy, &attrs).unwrap_err().0;
            assert_eq!(status.message.as_deref(), Some(message));
            assert_eq!((status.code, status.reason.as_deref()), (Some(403), Some("Forbidden")));
            let details = status.details.unwrap_or_default();
            assert_eq!(details.kind.unwrap_or_default(), attrs.resource);
        }
    }

    #[test]
    fn forbidden_message_carries_the_reason_and_no_markup() {
        let eve = UserInfo::authenticated("<b>&eve", ["dev"]);
        let status = forbidden(&resource(&eve, "get", "nodes", "", ""), "because").0;
        assert_eq!(
            status.message.as_deref(),
            Some(
                r#"nodes is forbidden: User "&lt;b&gt;&amp;eve" cannot get resource "nodes" in API group "" at the cluster scope: because"#
            )
        );
    }
}
