//! Tables for the rules of `ObjectMeta`.

use k8s_openapi::api::core::v1::{Pod, Secret};

use super::*;
use crate::time;

fn meta() -> ObjectMeta {
    ObjectMeta {
        name: Some("a".into()),
        namespace: Some("default".into()),
        resource_version: Some("1".into()),
        uid: Some("u".into()),
        ..ObjectMeta::default()
    }
}

fn owner(kind: &str, name: &str) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".into(),
        kind: kind.into(),
        name: name.into(),
        uid: "x".into(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

fn texts(errors: ErrorList) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn created(change: impl Fn(&mut ObjectMeta)) -> Vec<String> {
    let mut meta = meta();
    change(&mut meta);
    texts(validate_object_meta(&meta, Namespaced::Yes, name_is_dns_subdomain, &"metadata".into()))
}

fn updated(change: impl Fn(&mut ObjectMeta, &mut ObjectMeta)) -> Vec<String> {
    let (mut new, mut old) = (meta(), meta());
    change(&mut new, &mut old);
    texts(validate_object_meta_update(&new, &old, &"metadata".into()))
}

#[test]
fn new_metadata_checked_field_by_field() {
    let none: Vec<String> = vec![];
    assert_eq!(created(|_| ()), none);
    assert_eq!(created(|m| m.generate_name = Some("web-".into())), none);
    assert_eq!(
        created(|m| m.name = None),
        ["metadata.name: Required value: name or generateName is required"]
    );
    assert!(
        created(|m| m.name = Some("A".into()))[0]
            .starts_with("metadata.name: Invalid value: \"A\": a lowercase")
    );
    assert!(
        created(|m| m.generate_name = Some("AB-".into()))[0]
            .starts_with("metadata.generateName: Invalid value")
    );
    assert_eq!(created(|m| m.namespace = None), ["metadata.namespace: Required value"]);
    assert!(created(|m| m.namespace = Some("a.b".into()))[0].ends_with("must not contain dots"));
    assert_eq!(
        created(|m| m.generation = Some(-1)),
        ["metadata.generation: Invalid value: -1: must be greater than or equal to 0"]
    );
    assert_eq!(
        created(|m| m.labels = Some([("a b".to_owned(), "c d".to_owned())].into())).len(),
        2
    );
    assert_eq!(
        created(|m| m.annotations = Some([("A".to_owned(), "x".repeat(256 * 1024))].into())),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"]
    );
    assert_eq!(
        created(|m| m.finalizers = Some(vec!["orphan".into(), "foregroundDeletion".into()])),
        [
            "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set"
        ]
    );
}

#[test]
fn cluster_scoped_metadata_with_namespace_refused() {
    let errors =
        validate_object_meta(&meta(), Namespaced::No, name_is_dns_subdomain, &"metadata".into());
    assert_eq!(texts(errors), ["metadata.namespace: Forbidden: not allowed on this type"]);
}

#[test]
fn owner_references_must_be_complete_with_one_controller() {
    let errors = created(|m| {
        m.owner_references = Some(vec![owner("ReplicaSet", "a"), owner("ReplicaSet", "b")])
    });
    assert_eq!(errors.len(), 1);
    assert!(errors[0].ends_with(
        "Only one reference can have Controller set to true. Found \"true\" in references for ReplicaSet/a and ReplicaSet/b"
    ));
    let errors = created(|m| m.owner_references = Some(vec![OwnerReference::default()]));
    assert_eq!(
        errors,
        [
            "metadata.ownerReferences.apiVersion: Invalid value: \"\": version must not be empty",
            "metadata.ownerReferences.kind: Invalid value: \"\": must not be empty",
            "metadata.ownerReferences.name: Invalid value: \"\": must not be empty",
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
        ]
    );
}

#[test]
fn identity_cannot_be_updated() {
    assert_eq!(updated(|_, _| ()), Vec::<String>::new());
    assert_eq!(
        updated(|new, _| new.name = Some("b".into())),
        ["metadata.name: Invalid value: \"b\": field is immutable"]
    );
    assert_eq!(
        updated(|new, _| new.uid = None),
        ["metadata.uid: Invalid value: \"\": field is immutable"]
    );
    assert_eq!(
        updated(|_, old| old.creation_timestamp = Some(time::now())),
        ["metadata.creationTimestamp: Invalid value: null: field is immutable"]
    );
    assert_eq!(
        updated(|new, _| new.deletion_grace_period_seconds = Some(3)),
        ["metadata.deletionGracePeriodSeconds: Invalid value: 3: field is immutable"]
    );
    assert_eq!(
        updated(|new, _| new.resource_version = None),
        ["metadata.resourceVersion: Invalid value: \"\": must be specified for an update"]
    );
    assert_eq!(
        updated(|_, old| old.generation = Some(2)),
        ["metadata.generation: Invalid value: 0: must not be decremented"]
    );
}

#[test]
fn finalizers_cannot_be_added_while_deleting() {
    let errors = updated(|new, old| {
        new.deletion_timestamp = Some(time::parse("2026-01-02T03:04:05Z").unwrap());
        old.deletion_timestamp = new.deletion_timestamp.clone();
        new.finalizers = Some(vec!["example.com/a".into()]);
    });
    assert_eq!(
        errors,
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/a\"}"
        ]
    );
}

#[test]
fn controller_found_by_reference() {
    let pod = Pod { metadata: meta(), ..Pod::default() };
    let reference = new_controller_ref(&pod);
    assert_eq!((reference.api_version.as_str(), reference.kind.as_str()), ("v1", "Pod"));
    let secret = Secret {
        metadata: ObjectMeta { owner_references: Some(vec![reference.clone()]), ..meta() },
        ..Secret::default()
    };
    assert_eq!(controller_of(&secret.metadata), Some(&reference));
    assert!(owned_by(&secret.metadata, "u") && controlled_by(&secret.metadata, "u"));
    assert!(!owned_by(&secret.metadata, "other"));
}

#[test]
fn generated_name_fits_a_label() {
    let name = generate_name(&"x".repeat(100));
    assert_eq!(name.len(), 63);
    assert!(name[58..].bytes().all(|byte| SAFE_CHARACTERS.contains(&byte)));
    assert_ne!(generate_name("web-"), generate_name("web-"));
    assert_eq!(safe_encode_string("0123456789"), "456789bcdf");
}

#[test]
fn prefix_may_end_with_a_dash() {
    assert!(name_is_dns_subdomain("web-", NameUse::Prefix).is_empty());
    assert!(!name_is_dns_subdomain("web-", NameUse::Whole).is_empty());
    assert!(!name_is_dns_subdomain("-", NameUse::Prefix).is_empty());
}
