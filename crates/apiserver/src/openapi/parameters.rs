//! The query and path parameters of operations: one table of names, types and what they mean.
//!
//! Counterpart in Kubernetes: `ListOptions`, `CreateOptions` and their siblings in `meta/v1`, and the pod options.

use serde_json::{Value, json};

/// A parameter in the query.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) description: &'static str,
}

const fn query(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind, description }
}

/// Every query parameter an operation can have, by name.
const QUERY: &[Parameter] = &[
    query(
        "allowWatchBookmarks",
        "boolean",
        "Asks a watch for BOOKMARK events, which carry only a resource version.",
    ),
    query(
        "command",
        "string",
        "A word of the command to run; repeat it for more words. No shell is involved.",
    ),
    query(
        "container",
        "string",
        "The container within the pod; may be left out when the pod has only one.",
    ),
    query(
        "continue",
        "string",
        "The token of the previous page of a list, to get the next one. It expires: then 410 is the answer.",
    ),
    query("dryRun", "string", "With All, everything is done but keeping the result."),
    query(
        "fieldManager",
        "string",
        "A name for who makes this change, at most 128 printable characters.",
    ),
    query(
        "fieldSelector",
        "string",
        "Keeps only objects whose fields match, such as metadata.name=x.",
    ),
    query(
        "fieldValidation",
        "string",
        "What to do about unknown and duplicate fields: Ignore, Warn or Strict.",
    ),
    query("follow", "boolean", "Keeps the log open and sends what is written from now on."),
    query(
        "force",
        "boolean",
        "Takes over fields that another manager owns; for apply patches only.",
    ),
    query(
        "gracePeriodSeconds",
        "integer",
        "Seconds the object gets to end in order; zero deletes at once.",
    ),
    query(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Deletes an object that can no longer be read from the store, skipping every check.",
    ),
    query(
        "insecureSkipTLSVerifyBackend",
        "boolean",
        "Asks not to verify the kubelet's certificate.",
    ),
    query(
        "labelSelector",
        "string",
        "Keeps only objects whose labels match, such as app=web,tier!=test.",
    ),
    query(
        "limit",
        "integer",
        "The most objects in one answer; more can be had with the continue token.",
    ),
    query("limitBytes", "integer", "The most bytes of the log to send."),
    query("orphanDependents", "boolean", "Deprecated in favour of propagationPolicy."),
    query("path", "string", "The path to ask for behind the proxy."),
    query("ports", "integer", "The ports to forward; needed by WebSocket clients."),
    query("pretty", "string", "With true, the answer is indented for people."),
    query("previous", "boolean", "The log of the container's previous, ended run."),
    query(
        "propagationPolicy",
        "string",
        "What becomes of dependents: Orphan, Background or Foreground.",
    ),
    query("resourceVersion", "string", "How fresh the answer must be, or where a watch begins."),
    query(
        "resourceVersionMatch",
        "string",
        "How resourceVersion is meant for a list: Exact or NotOlderThan.",
    ),
    query(
        "sendInitialEvents",
        "boolean",
        "Lets a watch begin with every object there is, then a bookmark.",
    ),
    query("shardSelector", "string", "Keeps only the objects of one shard."),
    query("sinceSeconds", "integer", "Only lines of the last so many seconds."),
    query("stderr", "boolean", "Connects standard error."),
    query("stdin", "boolean", "Connects standard input."),
    query("stdout", "boolean", "Connects standard output."),
    query("stream", "string", "Which output of the container: All, Stdout or Stderr."),
    query("tailLines", "integer", "Only so many lines from the end."),
    query("timeoutSeconds", "integer", "Ends a list or watch after so many seconds."),
    query("timestamps", "boolean", "Puts the time before every line."),
    query("tty", "boolean", "Gives the process a terminal."),
    query("watch", "boolean", "Sends changes as they happen instead of a list."),
];

/// Parameters of lists and watches. `shardSelector` is left out: this server does not shard.
pub(super) const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
/// Parameters of creations and replacements.
pub(super) const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
/// Parameters of patches.
pub(super) const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
/// Parameters of deletions.
pub(super) const DELETE: &[&str] =
    &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
/// Parameters of deletions of many.
pub(super) const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];
/// Parameters of a pod's log.
pub(super) const LOG: &[&str] = &[
    "container",
    "follow",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "stream",
    "tailLines",
    "timestamps",
];

/// Parameters of a subresource that connects.
pub(super) fn connect(subresource: &str) -> &'static [&'static str] {
    match subresource {
        "exec" => &["command", "container", "stderr", "stdin", "stdout", "tty"],
        "attach" => &["container", "stderr", "stdin", "stdout", "tty"],
        "portforward" => &["ports"],
        "proxy" => &["path"],
        _ => &[],
    }
}

/// The query parameter of that name.
pub(super) fn find(name: &str) -> &'static Parameter {
    QUERY.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("no parameter {name}"))
}

/// The description of a path parameter.
pub(super) fn of_path(name: &str) -> &'static str {
    match name {
        "namespace" => "The namespace of the object.",
        "name" => "The name of the object.",
        _ => "The rest of the path.",
    }
}

/// A parameter in v2 form.
pub(super) fn v2(name: &str, place: &str) -> Value {
    let mut value = json!({ "name": name, "in": place, "uniqueItems": true });
    describe(&mut value, name, place);
    value["type"] = kind(name, place).into();
    value
}

/// A parameter in v3 form.
pub(super) fn v3(name: &str, place: &str) -> Value {
    let mut value = json!({ "name": name, "in": place, "schema": { "type": kind(name, place), "uniqueItems": true } });
    describe(&mut value, name, place);
    value
}

fn describe(value: &mut Value, name: &str, place: &str) {
    if place == "path" {
        value["required"] = true.into();
        value["description"] = of_path(name).into();
    } else {
        value["description"] = find(name).description.into();
    }
}

fn kind(name: &str, place: &str) -> &'static str {
    if place == "path" { "string" } else { find(name).kind }
}
