//! Tables: DaemonSets, StatefulSets and their revisions in; defaults, errors, columns out.

use expect_test::expect;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::KindStrategy;
use crate::testing::{cells, create_errors, defaulted, text, update_errors};

fn with<K: KindStrategy>(more: Value) -> K {
    let mut spec = json!({"selector": {"matchLabels": {"app": "w"}},
        "template": {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}});
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    defaulted(json!({"metadata": {"name": "w"}, "spec": spec}))
}

fn without_template<K: KindStrategy>(set: &K) -> String {
    let mut spec = serde_json::to_value(set).expect("JSON")["spec"].take();
    spec.as_object_mut().expect("an object").remove("template");
    spec.to_string()
}

#[test]
fn defaults_of_sets_are_those_of_kubernetes() {
    expect![[r#"{"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"w"}},"updateStrategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":1},"type":"RollingUpdate"}}"#]].assert_eq(&without_template(&with::<DaemonSet>(json!({}))));
    expect![[r#"{"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"w"}},"updateStrategy":{"type":"OnDelete"}}"#]].assert_eq(&without_template(&with::<DaemonSet>(
        json!({"updateStrategy": {"type": "OnDelete"}, "minReadySeconds": 0}),
    )));
    let claims =
        json!({"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}], "ordinals": {}});
    expect![[r#"{"ordinals":{"start":0},"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Retain"},"podManagementPolicy":"OrderedReady","replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"w"}},"serviceName":"","updateStrategy":{"rollingUpdate":{"maxUnavailable":1,"partition":0},"type":"RollingUpdate"},"volumeClaimTemplates":[{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"d"},"spec":{"resources":{},"volumeMode":"Filesystem"},"status":{"phase":"Pending"}}]}"#]].assert_eq(&without_template(&with::<StatefulSet>(claims)));
    expect![[r#"{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Retain"},"podManagementPolicy":"OrderedReady","replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"w"}},"serviceName":"","updateStrategy":{"type":"RollingUpdate"}}"#]].assert_eq(&without_template(&with::<StatefulSet>(
        json!({"updateStrategy": {"type": "RollingUpdate"}}),
    )));
    assert_eq!(create_errors(with::<DaemonSet>(json!({}))), "");
    assert_eq!(create_errors(with::<StatefulSet>(json!({}))), "");
}

#[test]
fn daemon_set_with_everything_wrong_names_every_field() {
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [], "restartPolicy": "Never", "activeDeadlineSeconds": 1}});
    let rolling = json!({"rollingUpdate": {"maxSurge": "x", "maxUnavailable": "101%"}});
    let mut bad: DaemonSet = with(
        json!({"template": template, "minReadySeconds": -1, "revisionHistoryLimit": -1, "updateStrategy": rolling}),
    );
    bad.metadata.annotations =
        Some([("deprecated.daemonset.template.generation".to_owned(), "x".to_owned())].into());
    expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`
        spec.template.spec.containers: Required value
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported
        spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
        spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
        spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%
        spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
        metadata.annotations[deprecated.daemonset.template.generation]: Invalid value: "x": must be an integer"#]].assert_eq(&create_errors(bad));
    let rolling = |surge, unavailable| {
        with::<DaemonSet>(
            json!({"updateStrategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}),
        )
    };
    expect!["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"].assert_eq(&create_errors(rolling(1, 1)));
    expect!["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"].assert_eq(&create_errors(rolling(0, 0)));
    expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"w"}: `selector` does not match template `labels`
        spec.updateStrategy: Unsupported value: {"type":"Never"}: supported values: "RollingUpdate", "OnDelete""#]].assert_eq(&create_errors(with::<DaemonSet>(
        json!({"updateStrategy": {"type": "Never"}, "selector": {}}),
    )));
}

#[test]
fn daemon_set_counts_changes_of_its_template() {
    let strategy = kinds::of::<DaemonSet>().strategy;
    let count = |set: &DaemonSet| {
        set.metadata.annotations.as_ref().and_then(|a| a.values().next().cloned())
    };
    let mut old: DaemonSet = with(json!({}));
    strategy.prepare_create(&mut old);
    assert_eq!((count(&old).as_deref(), old.metadata.generation), (Some("1"), Some(1)));
    let mut new: DaemonSet = with(json!({"minReadySeconds": 1}));
    strategy.prepare_update(&mut new, &old);
    assert_eq!((count(&new).as_deref(), new.metadata.generation), (Some("1"), Some(2)));
    let template = json!({"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "c", "image": "j"}]}});
    let mut new: DaemonSet = with(json!({"template": template}));
    strategy.prepare_update(&mut new, &old);
    assert_eq!((count(&new).as_deref(), new.metadata.generation), (Some("2"), Some(2)));
    let other = json!({"selector": {"matchLabels": {"app": "w", "b": "c"}}, "template": {"metadata": {"labels": {"app": "w", "b": "c"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}});
    expect![[
        r#"spec.selector: Invalid value: {"matchLabels":{"app":"w","b":"c"}}: field is immutable"#
    ]]
    .assert_eq(&update_errors(with::<DaemonSet>(other), old));
}

#[test]
fn stateful_set_with_everything_wrong_names_every_field() {
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 1,
        "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "d", "mountPath": "/d"}, {"name": "e", "mountPath": "/e"}]}]}});
    let bad: StatefulSet = with(
        json!({"template": template, "replicas": -1, "minReadySeconds": -1, "revisionHistoryLimit": -1, "serviceName": "A",
        "podManagementPolicy": "Wild", "ordinals": {"start": -1}, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Keep", "whenScaled": "Keep"},
        "updateStrategy": {"rollingUpdate": {"partition": -1, "maxUnavailable": 0}}, "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]}),
    );
    let strategy = kinds::of::<StatefulSet>().strategy;
    expect!["spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"].assert_eq(&strategy.warnings(&bad, None).join("\n"));
    expect![[r#"
        spec.podManagementPolicy: Invalid value: "Wild": must be 'OrderedReady' or 'Parallel'
        spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0
        spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0
        spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Keep": supported values: "Retain", "Delete"
        spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Keep": supported values: "Retain", "Delete"
        spec.replicas: Invalid value: -1: must be greater than or equal to 0
        spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
        spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0
        spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required
        spec.volumeClaimTemplates[0].spec.resources[storage]: Required value
        spec.serviceName: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`
        spec.template.spec.containers[0].volumeMounts[1].name: Not found: "e"
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported"#]].assert_eq(&create_errors(bad));
    expect![[r#"
        spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'
        spec.selector: Required value
        spec.template.metadata.labels: Invalid value: {"app":"w"}: `selector` does not match template `labels`"#]].assert_eq(&create_errors(with::<StatefulSet>(
        json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {}}, "selector": {}}),
    )));
    expect![[r#"spec.updateStrategy: Invalid value: {"type":"Never"}: must be 'RollingUpdate' or 'OnDelete'"#]].assert_eq(&create_errors(with::<StatefulSet>(
        json!({"updateStrategy": {"type": "Never"}}),
    )));
}

#[test]
fn stateful_set_update_may_change_what_kubernetes_lets_it() {
    let old: StatefulSet = with(json!({}));
    let new = with(
        json!({"replicas": 3, "minReadySeconds": 1, "revisionHistoryLimit": 1, "ordinals": {"start": 1},
        "updateStrategy": {"type": "OnDelete"}, "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}),
    );
    assert_eq!(update_errors::<StatefulSet>(new, old.clone()), "");
    expect!["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"].assert_eq(&update_errors(with::<StatefulSet>(json!({"serviceName": "a"})), old));
}

#[test]
fn status_counters_of_sets_agree_with_each_other() {
    let mut set: StatefulSet = with(json!({}));
    set.metadata.resource_version = Some("1".to_owned());
    let mut old = set.clone();
    old.status =
        serde_json::from_value(json!({"replicas": 1, "collisionCount": 2})).expect("a status");
    set.status = serde_json::from_value(json!({"replicas": 1, "readyReplicas": 2, "availableReplicas": 3, "currentReplicas": -1, "collisionCount": 1})).expect("a status");
    expect![[r#"
        status.currentReplicas: Invalid value: -1: must be greater than or equal to 0
        status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas
        status.collisionCount: Invalid value: 1: cannot be decremented"#]]
    .assert_eq(&text(&kinds::of::<StatefulSet>().strategy.validate_status_update(&set, &old)));
    let mut set: DaemonSet = with(json!({}));
    set.metadata.resource_version = Some("1".to_owned());
    set.status = serde_json::from_value(json!({"currentNumberScheduled": -1, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": -1})).expect("a status");
    expect![[r#"
        status.currentNumberScheduled: Invalid value: -1: must be greater than or equal to 0
        status.numberReady: Invalid value: -1: must be greater than or equal to 0"#]]
    .assert_eq(&text(&kinds::of::<DaemonSet>().strategy.validate_status_update(&set, &set)));
}

fn revision(data: Value) -> ControllerRevision {
    defaulted(
        json!({"metadata": {"name": "r", "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "w", "uid": "u", "controller": true}]},
        "revision": 1, "data": data}),
    )
}

#[test]
fn revision_keeps_an_object_that_never_changes() {
    assert_eq!(create_errors(revision(json!({"a": 1}))), "");
    expect!["data: Required value: data must be a valid JSON object"]
        .assert_eq(&create_errors(revision(json!([]))));
    expect!["data: Required value: data is mandatory"]
        .assert_eq(&create_errors(revision(Value::Null)));
    let mut new = revision(json!({"a": 2}));
    new.revision = -1;
    expect![[r#"
        revision: Invalid value: -1: must be greater than or equal to 0
        data: Invalid value: {"a":2}: field is immutable"#]]
    .assert_eq(&update_errors(new, revision(json!({"a": 1}))));
}

#[test]
fn rows_of_sets_read_as_in_kubernetes() {
    let mut set: DaemonSet = with(json!({}));
    set.status = serde_json::from_value(json!({"currentNumberScheduled": 2, "numberMisscheduled": 0, "desiredNumberScheduled": 3, "numberReady": 1, "updatedNumberScheduled": 1})).expect("a status");
    expect!["w|3|2|1|1|0|<none>|<unknown>|c|i|app=w"].assert_eq(&cells(&set));
    let mut set: StatefulSet = with(json!({"replicas": 3}));
    set.status =
        serde_json::from_value(json!({"replicas": 2, "readyReplicas": 1})).expect("a status");
    expect!["w|1/3|<unknown>|c|i"].assert_eq(&cells(&set));
    expect!["r|statefulset.apps/w|1|<unknown>"].assert_eq(&cells(&revision(json!({}))));
    let scale = set.scale().expect("a scale");
    expect![[r#"[{"replicas":3},{"replicas":2,"selector":"app=w"}]"#]]
        .assert_eq(&json!([scale.spec, scale.status]).to_string());
}
