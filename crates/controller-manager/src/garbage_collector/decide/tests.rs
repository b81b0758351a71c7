//! Tables of the collector: objects in a few letters, what the graph wakes, and what is decided.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::garbage_collector::graph::Graph;
use crate::testing::meta;
use client::Kind;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};

/// An object: `name`, the owners it has (`!` before those that it blocks), its finalizers, whether it is being deleted.
fn object(name: &str, owners: &[&str], finalizers: &[&str], deleting: bool) -> ObjectMeta {
    let reference = |owner: &&str| OwnerReference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        name: owner.trim_start_matches('!').into(),
        uid: owner.trim_start_matches('!').into(),
        block_owner_deletion: Some(owner.starts_with('!')),
        controller: None,
    };
    let mut meta = meta(name);
    meta.owner_references = (!owners.is_empty()).then(|| owners.iter().map(reference).collect());
    meta.finalizers =
        (!finalizers.is_empty()).then(|| finalizers.iter().map(ToString::to_string).collect());
    meta.deletion_timestamp = deleting.then(|| meta.creation_timestamp.clone().unwrap());
    meta
}

fn node(meta: ObjectMeta) -> Node {
    Node::new(Arc::new(ConfigMap::resource_type()), meta).unwrap()
}

fn graph(objects: &[ObjectMeta]) -> Graph {
    let mut graph = Graph::default();
    for meta in objects {
        graph.observe(node(meta.clone()));
    }
    graph
}

/// Decides about `name` when the API server knows exactly the objects of the graph.
fn decided(objects: &[ObjectMeta], name: &str) -> Vec<String> {
    let Some(mut observed) = graph(objects).neighbourhood(name) else {
        return vec!["nothing to observe".into()];
    };
    for (_, state) in &mut observed.owners {
        if *state == OwnerState::Unverified {
            *state = OwnerState::Absent;
        }
    }
    if observed.needs_latest() {
        observed.latest = objects.iter().find(|meta| meta.name.as_deref() == Some(name)).cloned();
    }
    decide(&observed).actions.iter().map(line).collect()
}

fn line(action: &Action) -> String {
    match action {
        Action::Delete(delete) => {
            format!("delete {} {}", delete.key.name, delete.propagation.unwrap().as_str())
        }
        Action::Patch(patch) => {
            let PatchBody::Merge(body) = &patch.body else { panic!("a merge patch") };
            let metadata = &body["metadata"];
            assert_eq!(metadata["resourceVersion"], "1", "every patch says what it was decided on");
            let owners = metadata.get("ownerReferences").map(|owners| {
                let names = owners.as_array().into_iter().flatten().map(|owner| {
                    format!(
                        "{}{}",
                        if owner["blockOwnerDeletion"] == true { "!" } else { "" },
                        owner["name"].as_str().unwrap()
                    )
                });
                format!("owners={}", names.collect::<Vec<_>>().join(","))
            });
            let finalizers =
                metadata.get("finalizers").map(|finalizers| format!("finalizers={finalizers}"));
            format!("patch {} {}", patch.key.name, owners.or(finalizers).unwrap())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn dep_09_fate_follows_the_owners() {
    let object =
        |name: &str, owners: &[&str], finalizers: &[&str]| object(name, owners, finalizers, false);
    let waiting = |name: &str| super::tests::object(name, &[], &[FOREGROUND], true);
    let table: [(&str, Vec<ObjectMeta>, &[&str]); 10] = [
        ("owner exists", vec![object("o", &[], &[]), object("x", &["o"], &[])], &[]),
        ("owner is gone", vec![object("x", &["o"], &[])], &["delete x Background"]),
        (
            "one of two is gone",
            vec![object("o", &[], &[]), object("x", &["o", "p"], &[])],
            &["patch x owners=o"],
        ),
        ("both are gone", vec![object("x", &["o", "p"], &[])], &["delete x Background"]),
        ("its dependents are to stay", vec![object("x", &["o"], &[ORPHAN])], &["delete x Orphan"]),
        (
            "its dependents are to go first",
            vec![object("x", &["o"], &[FOREGROUND])],
            &["delete x Foreground"],
        ),
        ("owner waits", vec![waiting("o"), object("x", &["!o"], &[])], &["delete x Background"]),
        (
            "owner waits, it has dependents",
            vec![waiting("o"), object("x", &["!o"], &[]), object("y", &["x"], &[])],
            &["delete x Foreground"],
        ),
        (
            "owner waits, another exists",
            vec![waiting("o"), object("p", &[], &[]), object("x", &["!o", "p"], &[])],
            &["patch x owners=p"],
        ),
        (
            "circle",
            vec![
                super::tests::object("o", &["!x"], &[FOREGROUND], true),
                object("x", &["!o"], &[]),
            ],
            &["patch x owners=o", "delete x Foreground"],
        ),
    ];
    for (name, objects, expected) in table {
        assert_eq!(decided(&objects, "x"), expected, "{name}");
    }
}

#[test]
fn foreground_owner_waits_for_blocking_dependents_only() {
    let owner = || object("x", &[], &["other", FOREGROUND], true);
    assert!(decided(&[owner(), object("y", &["!x"], &[], true)], "x").is_empty());
    assert_eq!(
        decided(&[owner(), object("y", &["x"], &[], false)], "x"),
        ["patch x finalizers=[\"other\"]"]
    );
    assert_eq!(decided(&[object("x", &[], &[FOREGROUND], true)], "x"), ["patch x finalizers=null"]);
}

#[test]
fn orphaning_owner_lets_go_of_its_dependents_first() {
    let objects = [
        object("x", &[], &[ORPHAN], true),
        object("y", &["!x", "p"], &[], false),
        object("z", &["x"], &[], false),
    ];
    assert_eq!(
        decided(&objects, "x"),
        ["patch y owners=p", "patch z owners=", "patch x finalizers=null"]
    );
}

#[test]
fn object_being_deleted_is_left_alone() {
    assert_eq!(decided(&[object("x", &["o"], &["other"], true)], "x"), ["nothing to observe"]);
}

#[test]
fn owner_that_changed_meanwhile_saves_the_object() {
    let mut observed = graph(&[object("x", &["o"], &[], false)]).neighbourhood("x").unwrap();
    observed.owners[0].1 = OwnerState::Absent;
    observed.latest = Some(object("x", &["o", "new"], &[], false));
    assert!(decide(&observed).actions.is_empty());
}

#[test]
fn owner_with_other_coordinates_is_not_trusted() {
    let mut graph = graph(&[object("x", &["o"], &[], false)]);
    let mut namespace = meta("o");
    namespace.namespace = None;
    graph.observe(Node::new(Arc::new(Namespace::resource_type()), namespace).unwrap());
    let observed = graph.neighbourhood("x").unwrap();
    assert_eq!(observed.owners[0].1, OwnerState::Unverified);
}

#[test]
fn changes_wake_exactly_whom_they_concern() {
    let set = |uids: &[&str]| uids.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let mut graph = graph(&[
        object("o", &[], &[], false),
        object("x", &["!o"], &[], false),
        object("y", &["o"], &[], false),
    ]);
    assert_eq!(graph.observe(node(object("z", &[], &[], false))), set(&[]), "without owners");
    assert_eq!(
        graph.observe(node(object("o", &[], &[FOREGROUND], true))),
        set(&["o", "x", "y"]),
        "foreground"
    );
    assert_eq!(
        graph.observe(node(object("x", &["o"], &[], false))),
        set(&["o", "x"]),
        "blocks no more"
    );
    assert_eq!(graph.remove("x"), set(&["o"]), "a dependent is gone");
    assert_eq!(graph.remove("o"), set(&["y"]), "the owner is gone");
    assert_eq!(graph.neighbourhood("y").unwrap().owners[0].1, OwnerState::Absent);
    let left = [node(object("z", &[], &[], false))].into_iter();
    assert_eq!(graph.replace(&ConfigMap::resource_type(), left), set(&[]));
    assert!(graph.neighbourhood("y").is_none(), "what a new list lacks is gone");
}
