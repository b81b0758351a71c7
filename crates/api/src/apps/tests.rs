//! Tables: workloads in; defaults, errors, columns out.

mod sets;

use apimachinery::field::ErrorList;
use apimachinery::object::KubeObject;
use expect_test::{Expect, expect};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use serde_json::{Value, json};

use crate::kinds;
use crate::strategy::KindStrategy;

/// A workload with defaults.
fn workload<K: KindStrategy>(spec: Value) -> K {
    let meta =
        json!({"name": "w", "namespace": "default", "resourceVersion": "1", "generation": 1});
    let mut workload: K =
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).expect("a workload");
    kinds::of::<K>().strategy.default(&mut workload);
    workload
}

fn plain() -> Value {
    json!({"selector": {"matchLabels": {"app": "w"}},
           "template": {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}})
}

fn with(pointer: &str, value: Value) -> Value {
    let mut spec = plain();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    spec.pointer_mut(parent).expect("the parent")[field] = value;
    spec
}

fn report(errors: &ErrorList, expected: Expect) {
    expected.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

fn validate<K: KindStrategy>(spec: Value) -> ErrorList {
    kinds::of::<K>().strategy.validate(&workload::<K>(spec))
}

#[test]
fn default_of_deployment_is_what_kubernetes_fills() {
    expect![[r#"{"progressDeadlineSeconds":600,"replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"w"}},"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"},"template":{"metadata":{"labels":{"app":"w"}},"spec":{"containers":[{"image":"i","imagePullPolicy":"Always","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}}"#]].assert_eq(&workload::<Deployment>(plain()).to_value()["spec"].to_string());
    assert_eq!(validate::<Deployment>(plain()), ErrorList::new());
    assert_eq!(validate::<ReplicaSet>(plain()), ErrorList::new());
}

#[test]
fn validate_of_workloads_wants_a_selector_that_matches_the_template() {
    report(
        &validate::<Deployment>(with("/selector", json!({}))),
        expect![[r#"
        spec.selector: Required value
        spec.template.metadata.labels: Invalid value: {"app":"w"}: `selector` does not match template `labels`"#]],
    );
    let labels = json!({"app": "x"});
    report(
        &validate::<Deployment>(with("/template/metadata/labels", labels.clone())),
        expect![[
            r#"spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`"#
        ]],
    );
    report(
        &validate::<ReplicaSet>(with("/template/metadata/labels", labels)),
        expect![[
            r#"spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`"#
        ]],
    );
    report(
        &validate::<ReplicaSet>(with("/template/spec/restartPolicy", json!("Never"))),
        expect![[
            r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#
        ]],
    );
}

#[test]
fn validate_of_deployment_tells_all_errors_at_once() {
    let mut spec = with("/template/spec/containers", json!([{"name": "C"}]));
    spec["replicas"] = json!(-1);
    spec["minReadySeconds"] = json!(600);
    spec["revisionHistoryLimit"] = json!(-1);
    spec["strategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}});
    report(
        &validate::<Deployment>(spec),
        expect![[r#"
        spec.replicas: Invalid value: -1: must be greater than or equal to 0
        spec.template.spec.containers[0].name: Invalid value: "C": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.template.spec.containers[0].image: Required value
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0
        spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
        spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"#]],
    );
    report(
        &validate::<Deployment>(with(
            "/strategy",
            json!({"type": "Recreate", "rollingUpdate": {}}),
        )),
        expect![
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"
        ],
    );
    let rolling = json!({"rollingUpdate": {"maxSurge": "x", "maxUnavailable": "101%"}});
    report(
        &validate::<Deployment>(with("/strategy", rolling)),
        expect![[r#"
        spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%"#]],
    );
}

#[test]
fn update_of_the_selector_is_refused() {
    let both = json!({"app": "w", "b": "c"});
    let mut spec = with("/template/metadata/labels", both.clone());
    spec["selector"]["matchLabels"] = both;
    let (old, new) = (workload::<Deployment>(plain()), workload::<Deployment>(spec.clone()));
    report(
        &kinds::of::<Deployment>().strategy.validate_update(&new, &old),
        expect![[
            r#"spec.selector: Invalid value: {"matchLabels":{"app":"w","b":"c"}}: field is immutable"#
        ]],
    );
    let (old, new) = (workload::<ReplicaSet>(plain()), workload::<ReplicaSet>(spec));
    report(
        &kinds::of::<ReplicaSet>().strategy.validate_update(&new, &old),
        expect![[
            r#"spec.selector: Invalid value: {"matchLabels":{"app":"w","b":"c"}}: field is immutable"#
        ]],
    );
}

#[test]
fn update_counts_generations_of_specs_and_of_a_deployments_annotations() {
    let old = workload::<Deployment>(plain());
    let strategy = kinds::of::<Deployment>().strategy;
    let mut same = old.clone();
    strategy.prepare_update(&mut same, &old);
    assert_eq!(same.metadata.generation, Some(1));
    let mut annotated = old.clone();
    annotated.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
    strategy.prepare_update(&mut annotated, &old);
    assert_eq!(annotated.metadata.generation, Some(2));
    let mut scaled = old.clone();
    strategy.set_replicas(&mut scaled, 3);
    strategy.prepare_update(&mut scaled, &old);
    assert_eq!(scaled.metadata.generation, Some(2));
}

#[test]
fn rows_read_as_in_kubernetes() {
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut deployment = workload::<Deployment>(with("/replicas", json!(3)));
    deployment.status = serde_json::from_value(
        json!({"readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}),
    )
    .expect("a status");
    assert_eq!(
        kinds::of::<Deployment>().strategy.row(&deployment, now),
        [
            json!("w"),
            json!("2/3"),
            json!(1),
            json!(2),
            json!("<unknown>"),
            json!("c"),
            json!("i"),
            json!("app=w")
        ]
    );
    let mut set = workload::<ReplicaSet>(plain());
    set.status =
        serde_json::from_value(json!({"replicas": 1, "readyReplicas": 1})).expect("a status");
    assert_eq!(
        kinds::of::<ReplicaSet>().strategy.row(&set, now),
        [
            json!("w"),
            json!(1),
            json!(1),
            json!(1),
            json!("<unknown>"),
            json!("c"),
            json!("i"),
            json!("app=w")
        ]
    );
}

#[test]
fn status_counters_agree_with_each_other() {
    let mut set = workload::<ReplicaSet>(plain());
    set.status = serde_json::from_value(json!({"replicas": 1, "readyReplicas": 2, "availableReplicas": 3, "fullyLabeledReplicas": -1}))
        .expect("a status");
    report(
        &kinds::of::<ReplicaSet>().strategy.validate_status_update(&set, &set),
        expect![[r#"
        status.fullyLabeledReplicas: Invalid value: -1: must be greater than or equal to 0
        status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas"#]],
    );
}

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect![[r#"
        controllerrevisions controllerrevision  apps/v1 namespaced ControllerRevision create,delete,deletecollection,get,list,patch,update,watch 
        daemonsets daemonset ds apps/v1 namespaced DaemonSet create,delete,deletecollection,get,list,patch,update,watch all
          status DaemonSet get,patch,update
        deployments deployment deploy apps/v1 namespaced Deployment create,delete,deletecollection,get,list,patch,update,watch all
          scale autoscaling/Scale get,patch,update
          status Deployment get,patch,update
        replicasets replicaset rs apps/v1 namespaced ReplicaSet create,delete,deletecollection,get,list,patch,update,watch all
          scale autoscaling/Scale get,patch,update
          status ReplicaSet get,patch,update
        statefulsets statefulset sts apps/v1 namespaced StatefulSet create,delete,deletecollection,get,list,patch,update,watch all
          scale autoscaling/Scale get,patch,update
          status StatefulSet get,patch,update"#]].assert_eq(&crate::testing::listing(&super::rows()));
}
