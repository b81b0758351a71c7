//! The operations of this server, derived from the kind table, before they are written as v2 or v3.
//!
//! Counterpart in Kubernetes: `endpoints/installer.go` and `endpoints/openapi`. Invariants: operation ids are unique
//! and those of Kubernetes; each verb of a row gives exactly the operations Kubernetes gives it.

use std::collections::{BTreeMap, BTreeSet};

use api::kinds::{self, Resource, Subresource};
use k8s_openapi::Resource as _;
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};

use super::parameters;

/// Definition of `DeleteOptions`.
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
/// Kinds whose deletion answers with the object and not with a `Status`.
const RETURNED_WHEN_DELETED: [&str; 3] = [Pod::KIND, Service::KIND, ServiceAccount::KIND];

/// What an operation takes and gives, as media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// An object, as JSON or YAML.
    Object,
    /// A list, which may be a watch.
    Stream,
    /// A container's log.
    Log,
    /// Anything.
    Any,
    /// JSON alone.
    Json,
}

/// A request body.
#[derive(Clone, Debug)]
pub(super) struct RequestBody {
    pub(super) definition: String,
    pub(super) required: bool,
    /// The patch types instead of any media type.
    pub(super) patch: bool,
}

/// One method of one path.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) id: String,
    pub(super) tag: String,
    pub(super) description: String,
    pub(super) action: Option<&'static str>,
    /// Group, version and kind; `None` for discovery.
    pub(super) gvk: Option<(&'static str, &'static str, &'static str)>,
    pub(super) parameters: Vec<&'static str>,
    pub(super) body: Option<RequestBody>,
    /// Definition of the answer; `None` for text.
    pub(super) answer: Option<String>,
    pub(super) codes: &'static [u16],
    pub(super) media: Media,
}

/// The operations of each document, by the document's name: `api/v1`, `apis/apps/v1`, `apis/apps`, `version`, …
pub(super) fn documents() -> BTreeMap<String, Vec<Operation>> {
    let mut documents: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    let mut add = |name: String, operations: Vec<Operation>| {
        documents.entry(name).or_default().extend(operations)
    };
    let meta = |name: &str| format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}");
    add("api".into(), vec![discovery("/api/", "getCoreAPIVersions", "core", meta("APIVersions"))]);
    add("apis".into(), vec![discovery("/apis/", "getAPIVersions", "apis", meta("APIGroupList"))]);
    let version = "io.k8s.apimachinery.pkg.version.Info".to_owned();
    let version = discovery("/version/", "getCodeVersion", "version", version);
    add("version".into(), vec![Operation { media: Media::Json, ..version }]);
    for row in kinds::all() {
        let scope = Scope::of(row);
        add(scope.document.clone(), operations(row, &scope));
    }
    for (group, version) in group_versions() {
        let (document, tag) = (document(group, version), tag(group, version));
        let id = format!("get{}{}APIResources", title(group), capitalized(version));
        add(
            document.clone(),
            vec![discovery(&format!("/{document}/"), &id, &tag, meta("APIResourceList"))],
        );
    }
    for group in group_versions()
        .into_iter()
        .map(|(group, _)| group)
        .filter(|g| !g.is_empty())
        .collect::<BTreeSet<_>>()
    {
        let (id, tag) =
            (format!("get{}APIGroup", title(group)), operation_word(trimmed(group), false));
        add(
            format!("apis/{group}"),
            vec![discovery(&format!("/apis/{group}/"), &id, &tag, meta("APIGroup"))],
        );
    }
    documents
}

fn group_versions() -> BTreeSet<(&'static str, &'static str)> {
    kinds::all().iter().map(|row| (row.group, row.version)).collect()
}

/// A GET of what the server says about itself.
fn discovery(path: &str, id: &str, tag: &str, definition: String) -> Operation {
    Operation {
        method: "get",
        path: path.to_owned(),
        id: id.to_owned(),
        tag: tag.to_owned(),
        description: "Says what is available here.".to_owned(),
        action: None,
        gvk: None,
        parameters: Vec::new(),
        body: None,
        answer: Some(definition),
        codes: &[200],
        media: Media::Object,
    }
}

fn document(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn trimmed(group: &str) -> &str {
    if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) }
}

fn title(group: &str) -> String {
    operation_word(trimmed(group), true)
}

fn tag(group: &str, version: &str) -> String {
    format!("{}_{}", operation_word(trimmed(group), false), operation_word(version, false))
}

/// Letters and digits only, each piece after a separator with a capital.
fn operation_word(text: &str, capital: bool) -> String {
    let mut upper = capital;
    let mut word = String::new();
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            upper = true;
        } else {
            word.push(if upper { c.to_ascii_uppercase() } else { c });
            upper = false;
        }
    }
    word
}

fn capitalized(text: &str) -> String {
    operation_word(text, true)
}

/// Where a row's paths are and what its operation ids begin with.
struct Scope {
    document: String,
    tag: String,
    /// `AppsV1`.
    group_version: String,
    /// `Namespaced` or nothing.
    namespaced: &'static str,
    /// `/apis/apps/v1`.
    root: String,
    /// `/namespaces/{namespace}` or nothing.
    place: &'static str,
}

impl Scope {
    fn of(row: &Resource) -> Self {
        let document = document(row.group, row.version);
        Self {
            root: format!("/{document}"),
            tag: tag(row.group, row.version),
            group_version: format!("{}{}", title(row.group), capitalized(row.version)),
            namespaced: if row.namespaced() { "Namespaced" } else { "" },
            place: if row.namespaced() { "/namespaces/{namespace}" } else { "" },
            document,
        }
    }

    fn id(&self, verb: &str, rest: &str) -> String {
        format!("{verb}{}{rest}", self.group_version)
    }
}

fn operations(row: &'static Resource, scope: &Scope) -> Vec<Operation> {
    let collection = format!("{}{}/{}", scope.root, scope.place, row.plural);
    let item = format!("{collection}/{{name}}");
    let what = format!("{}{}", scope.namespaced, row.kind);
    let mut all = Vec::new();
    for verb in row.verbs {
        all.extend(whole(row, scope, verb, &collection, &item, &what));
    }
    for subresource in row.subresources {
        all.extend(part(row, scope, subresource, &item, &what));
    }
    all
}

/// An operation with what all operations of a row share.
fn base(
    row: &'static Resource,
    scope: &Scope,
    method: &'static str,
    path: String,
    id: String,
) -> Operation {
    Operation {
        method,
        path,
        id,
        tag: scope.tag.clone(),
        description: String::new(),
        action: Some(method),
        gvk: Some((row.group, row.version, row.kind)),
        parameters: vec!["pretty"],
        body: None,
        answer: Some(row.schema_name.to_owned()),
        codes: &[200],
        media: Media::Object,
    }
}

/// The operations that a verb gives the objects themselves.
fn whole(
    row: &'static Resource,
    scope: &Scope,
    verb: &str,
    collection: &str,
    item: &str,
    what: &str,
) -> Vec<Operation> {
    let kind = row.kind;
    match verb {
        "list" => lists(row, scope, collection, what),
        "watch" => watches(row, scope, what),
        "deletecollection" => vec![delete_collection(row, scope, collection, what)],
        "delete" => vec![delete(row, scope, item, what)],
        "create" => {
            let operation =
                base(row, scope, "post", collection.to_owned(), scope.id("create", what));
            vec![writing(operation, row.schema_name, format!("Creates a {kind}."))]
        }
        "get" => {
            let operation = base(row, scope, "get", item.to_owned(), scope.id("read", what));
            vec![Operation { description: format!("Reads a {kind}."), ..operation }]
        }
        "update" => {
            let operation = base(row, scope, "put", item.to_owned(), scope.id("replace", what));
            vec![writing(operation, row.schema_name, format!("Replaces a {kind}."))]
        }
        "patch" => {
            let operation = base(row, scope, "patch", item.to_owned(), scope.id("patch", what));
            vec![patching(operation, format!("Changes parts of a {kind}."))]
        }
        _ => Vec::new(),
    }
}

fn with_parameters(mut operation: Operation, names: &[&'static str]) -> Operation {
    operation.parameters.extend(names);
    operation
}

fn writing(operation: Operation, definition: &str, description: String) -> Operation {
    let codes: &[u16] = if operation.method == "post" { &[200, 201, 202] } else { &[200, 201] };
    let body = RequestBody { definition: definition.to_owned(), required: true, patch: false };
    with_parameters(
        Operation { description, codes, body: Some(body), ..operation },
        parameters::WRITE,
    )
}

fn patching(operation: Operation, description: String) -> Operation {
    let body = RequestBody { definition: PATCH.to_owned(), required: true, patch: true };
    let operation = Operation { description, codes: &[200, 201], body: Some(body), ..operation };
    with_parameters(operation, parameters::PATCH)
}

fn delete(row: &'static Resource, scope: &Scope, item: &str, what: &str) -> Operation {
    let returned = RETURNED_WHEN_DELETED.contains(&row.kind);
    let operation = Operation {
        description: format!("Deletes a {}.", row.kind),
        body: Some(RequestBody {
            definition: DELETE_OPTIONS.to_owned(),
            required: false,
            patch: false,
        }),
        answer: Some(if returned { row.schema_name } else { STATUS }.to_owned()),
        codes: &[200, 202],
        ..base(row, scope, "delete", item.to_owned(), scope.id("delete", what))
    };
    with_parameters(operation, parameters::DELETE)
}

fn delete_collection(
    row: &'static Resource,
    scope: &Scope,
    collection: &str,
    what: &str,
) -> Operation {
    let operation = Operation {
        description: format!("Deletes every {} that the selectors keep.", row.kind),
        action: Some("deletecollection"),
        body: Some(RequestBody {
            definition: DELETE_OPTIONS.to_owned(),
            required: false,
            patch: false,
        }),
        answer: Some(STATUS.to_owned()),
        ..base(
            row,
            scope,
            "delete",
            collection.to_owned(),
            scope.id("delete", &format!("Collection{what}")),
        )
    };
    with_parameters(operation, parameters::DELETE_COLLECTION)
}

fn lists(row: &'static Resource, scope: &Scope, collection: &str, what: &str) -> Vec<Operation> {
    let list = |path: String, id: String| {
        let operation = Operation {
            description: format!("Lists or watches {} objects.", row.kind),
            action: Some("list"),
            answer: Some(api::schema::list_name(row)),
            media: Media::Stream,
            ..base(row, scope, "get", path, id)
        };
        with_parameters(operation, parameters::LIST)
    };
    let mut operations = vec![list(collection.to_owned(), scope.id("list", what))];
    if row.namespaced() {
        let id = scope.id("list", &format!("{}ForAllNamespaces", row.kind));
        operations.push(list(format!("{}/{}", scope.root, row.plural), id));
    }
    operations
}

/// The deprecated paths with `watch` in them.
fn watches(row: &'static Resource, scope: &Scope, what: &str) -> Vec<Operation> {
    let watch = |path: String, id: String, action: &'static str| {
        let operation = Operation {
            description: format!(
                "Watches {}. Deprecated in favour of the watch parameter of the list.",
                row.kind
            ),
            action: Some(action),
            answer: Some(WATCH_EVENT.to_owned()),
            media: Media::Stream,
            ..base(row, scope, "get", path, id)
        };
        with_parameters(operation, parameters::LIST)
    };
    let root = format!("{}/watch", scope.root);
    let collection = format!("{root}{}/{}", scope.place, row.plural);
    let mut operations = vec![
        watch(format!("{collection}/{{name}}"), scope.id("watch", what), "watch"),
        watch(collection, scope.id("watch", &format!("{what}List")), "watchlist"),
    ];
    if row.namespaced() {
        let id = scope.id("watch", &format!("{}ListForAllNamespaces", row.kind));
        operations.push(watch(format!("{root}/{}", row.plural), id, "watchlist"));
    }
    operations
}

/// The operations of a subresource.
fn part(
    row: &'static Resource,
    scope: &Scope,
    subresource: &'static Subresource,
    item: &str,
    what: &str,
) -> Vec<Operation> {
    let path = format!("{item}/{}", subresource.name);
    let what = format!("{what}{}", capitalized(subresource.name));
    if subresource.kind.ends_with("Options") {
        return connections(row, scope, subresource, &path, &what);
    }
    let (group, version) = kind_of(row, subresource);
    let definition = definition_of(group, version, subresource.kind);
    subresource
        .verbs
        .iter()
        .filter_map(|verb| {
            let (method, prefix) = method_of(verb)?;
            let operation = Operation {
                gvk: Some((group, version, subresource.kind)),
                answer: definition.clone(),
                ..base(row, scope, method, path.clone(), scope.id(prefix, &what))
            };
            Some(part_operation(operation, subresource, row, definition.as_deref()?))
        })
        .collect()
}

fn part_operation(
    operation: Operation,
    part: &Subresource,
    row: &Resource,
    definition: &str,
) -> Operation {
    let of = format!("the {} of a {}", part.name, row.kind);
    match operation.method {
        "put" => writing(operation, definition, format!("Replaces {of}.")),
        "post" => writing(operation, definition, format!("Creates {of}.")),
        "patch" => patching(operation, format!("Changes {of}.")),
        _ if part.name == "log" => {
            let operation = Operation {
                description: format!("Reads {of}."),
                answer: None,
                media: Media::Log,
                ..operation
            };
            with_parameters(operation, parameters::LOG)
        }
        _ => Operation { description: format!("Reads {of}."), ..operation },
    }
}

fn method_of(verb: &str) -> Option<(&'static str, &'static str)> {
    Some(match verb {
        "get" => ("get", "read"),
        "create" => ("post", "create"),
        "update" => ("put", "replace"),
        "patch" => ("patch", "patch"),
        "delete" => ("delete", "delete"),
        _ => return None,
    })
}

fn kind_of(row: &'static Resource, subresource: &Subresource) -> (&'static str, &'static str) {
    if subresource.version.is_empty() {
        (row.group, row.version)
    } else {
        (subresource.group, subresource.version)
    }
}

/// The definition of a kind: that of its row, or of a body that has none.
fn definition_of(group: &str, version: &str, kind: &str) -> Option<String> {
    let row = kinds::by_kind(group, version, kind).map(|row| row.schema_name);
    row.or_else(|| api::schema::body_definition(group, version, kind)).map(str::to_owned)
}

/// The operations of a subresource that is a connection and not an object.
fn connections(
    row: &'static Resource,
    scope: &Scope,
    subresource: &'static Subresource,
    path: &str,
    what: &str,
) -> Vec<Operation> {
    let proxy = subresource.name == "proxy";
    let methods: &[&str] = if proxy {
        &["delete", "get", "head", "options", "patch", "post", "put"]
    } else {
        &["get", "post"]
    };
    let (group, version) = kind_of(row, subresource);
    let one = |method: &'static str, path: String, suffix: &str| {
        let id = scope.id("connect", &format!("{}{what}{suffix}", capitalized(method)));
        Operation {
            description: format!("Connects to the {} of a {}.", subresource.name, row.kind),
            action: Some("connect"),
            gvk: Some((group, version, subresource.kind)),
            parameters: parameters::connect(subresource.name).to_vec(),
            answer: None,
            media: Media::Any,
            ..base(row, scope, method, path, id)
        }
    };
    let mut operations: Vec<Operation> =
        methods.iter().map(|m| one(m, path.to_owned(), "")).collect();
    if proxy {
        operations.extend(methods.iter().map(|m| one(m, format!("{path}/{{path}}"), "WithPath")));
    }
    operations
}
