//! Tables of the namespace controller's decisions.

use super::*;
use crate::testing::{at, describe, meta};
use k8s_openapi::api::core::v1::{ConfigMap, NamespaceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

fn observed(contents: Vec<Content>) -> Observed {
    let mut metadata = meta("ns");
    metadata.namespace = None;
    metadata.deletion_timestamp = Some(Time(at(0)));
    let spec = NamespaceSpec { finalizers: Some(vec![FINALIZER.into(), "other".into()]) };
    let namespace = Namespace { metadata, spec: Some(spec), status: None };
    Observed {
        namespace: Arc::new(namespace),
        longest_grace: Duration::from_secs(30),
        contents: Ok(contents),
    }
}

fn content<K: Kind>(names: &[&str], deleting: bool, finalizer: Option<&str>) -> Content {
    let object = |name: &&str| {
        let mut metadata = meta(name);
        metadata.deletion_timestamp = deleting.then(|| Time(at(0)));
        metadata.finalizers = finalizer.map(|finalizer| vec![finalizer.to_owned()]);
        PartialObject { metadata }
    };
    Content {
        resource: K::resource_type(),
        delete_collection: true,
        objects: names.iter().map(object).collect(),
    }
}

fn written(plan: &Plan) -> Namespace {
    let found = plan.actions.iter().find_map(|action| match action {
        Action::UpdateStatus(manifest) => manifest.decode::<Namespace>(),
        _ => None,
    });
    found.expect("a status is written")
}

fn condition(plan: &Plan, type_: &str) -> (String, String, String) {
    let conditions = written(plan).status.unwrap().conditions.unwrap();
    let found = conditions
        .into_iter()
        .find(|condition| condition.type_ == type_)
        .expect("the condition is there");
    (found.status, found.reason.unwrap(), found.message.unwrap())
}

#[test]
fn pods_are_deleted_before_everything_else() {
    let plan = observed(vec![
        content::<ConfigMap>(&["c"], false, None),
        content::<Pod>(&["p", "q"], false, None),
    ])
    .reconcile(at(0));
    assert_eq!(describe(&plan.actions), ["deletecollection pods ns", "status namespaces ns"]);
    assert_eq!(plan.requeue_after, Some(Duration::ZERO));
    assert_eq!(written(&plan).status.unwrap().phase.as_deref(), Some("Terminating"));
    let expected = "Some resources are remaining: configmaps. has 1 resource instances, pods. has 2 resource instances";
    assert_eq!(
        condition(&plan, "NamespaceContentRemaining"),
        ("True".into(), "SomeResourcesRemain".into(), expected.into())
    );
}

#[test]
fn pods_on_their_way_are_waited_for() {
    let plan = observed(vec![
        content::<ConfigMap>(&["c"], false, None),
        content::<Pod>(&["p"], true, None),
    ])
    .reconcile(at(3));
    assert_eq!(describe(&plan.actions), ["status namespaces ns"]);
    assert_eq!(plan.requeue_after, Some(Duration::from_secs(16)));
}

#[test]
fn finalizers_of_others_are_told_and_waited_for() {
    let plan =
        observed(vec![content::<ConfigMap>(&["c", "d"], true, Some("a.b/c"))]).reconcile(at(3));
    assert_eq!(plan.requeue_after, Some(Duration::from_millis(8500)));
    let expected =
        "Some content in the namespace has finalizers remaining: a.b/c in 2 resource instances";
    assert_eq!(
        condition(&plan, "NamespaceFinalizersRemaining"),
        ("True".into(), "SomeFinalizersRemain".into(), expected.into())
    );
}

#[test]
fn resources_without_deletecollection_are_deleted_one_by_one() {
    let single =
        Content { delete_collection: false, ..content::<ConfigMap>(&["c", "d"], false, None) };
    let plan = observed(vec![single]).reconcile(at(0));
    assert_eq!(describe(&plan.actions)[..2], ["delete configmaps ns/c", "delete configmaps ns/d"]);
}

#[test]
fn empty_namespace_is_finalized() {
    let told = observed(vec![]).reconcile(at(0));
    assert_eq!(describe(&told.actions), ["status namespaces ns"]);
    assert_eq!(condition(&told, "NamespaceContentRemaining").1, "ContentRemoved");
    assert_eq!(written(&told).status.unwrap().conditions.unwrap().len(), 5);
    let plan =
        Observed { namespace: Arc::new(written(&told)), ..observed(vec![]) }.reconcile(at(0));
    assert_eq!(describe(&plan.actions), ["finalize namespaces ns"]);
    let Action::UpdateSubresource(_, manifest) = &plan.actions[0] else { panic!("a finalization") };
    assert_eq!(
        manifest.decode::<Namespace>().unwrap().spec.unwrap().finalizers,
        Some(vec!["other".to_owned()])
    );
}

#[test]
fn failed_discovery_deletes_nothing_and_is_told() {
    let mut failed = observed(vec![]);
    failed.contents = Err("no answer".into());
    let plan = failed.reconcile(at(0));
    assert_eq!(describe(&plan.actions), ["status namespaces ns"]);
    assert_eq!(
        condition(&plan, "NamespaceDeletionDiscoveryFailure"),
        ("True".into(), "DiscoveryFailed".into(), "no answer".into())
    );
}

#[test]
fn failed_deletion_is_told() {
    let plan = observed(vec![content::<Pod>(&["p"], false, None)]).reconcile(at(0));
    let told = Plan::from(plan.on_failure.unwrap()(&Failure {
        message: "denied".into(),
        already_exists: false,
    }));
    let expected = "Failed to delete all resource types, 1 remaining: denied";
    assert_eq!(
        condition(&told, "NamespaceDeletionContentFailure"),
        ("True".into(), "ContentDeletionFailed".into(), expected.into())
    );
}
