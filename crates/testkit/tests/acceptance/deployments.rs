//! Deployments and ReplicaSets.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use testkit::kubectl::Kubectl;
use testkit::observe::{self, Objects};
use testkit::suite::Test;

use crate::manifests::{HELLO, deployment};

pub const TESTS: &[Test] = testkit::tests![
    every: [dep_14_rollout_status_history_and_undo],
    once: [
        dep_01_defaults_and_ignored_template_name,
        dep_02_selector_must_match_the_template,
        dep_03_names_follow_deployment_and_replica_set,
        dep_05_rolling_update_replaces_pods_and_keeps_serving,
        dep_06_recreate_ends_old_pods_first,
        dep_08_deleted_pods_are_replaced,
        dep_09_delete_cascades_to_replica_sets_and_pods,
        dep_10_status_counts_are_kept,
        dep_11_replica_set_alone_keeps_its_number,
        clu_17_namespace_deletion_removes_everything,
    ],
];

fn available(k: &Kubectl<'_>, object: &serde_json::Value) {
    k.ok_with("apply -f -", &object.to_string());
    let name = object["metadata"]["name"].as_str().unwrap();
    k.ok(&format!("rollout status deployment/{name} --timeout=90s"));
}

fn dep_01_defaults_and_ignored_template_name(k: &Kubectl<'_>) {
    let mut object = deployment("kubia", 1);
    object["spec"].as_object_mut().unwrap().remove("replicas");
    object["spec"]["template"]["metadata"]["name"] = "ignored".into();
    available(k, &object);
    let found = k.json("deploy kubia");
    assert_eq!(found["spec"]["replicas"], 1);
    assert_eq!(found["spec"]["revisionHistoryLimit"], 10);
    assert_eq!(found["spec"]["progressDeadlineSeconds"], 600);
    assert_eq!(
        found["spec"]["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert!(k.names("pods")[0].starts_with("kubia-"));
}

fn dep_02_selector_must_match_the_template(k: &Kubectl<'_>) {
    let mut object = deployment("myapp-deployment", 1);
    object["spec"]["selector"]["matchLabels"]["app"] = "front-end".into();
    let refused = k.fails_with("apply -f -", &object.to_string());
    assert!(refused.starts_with("The Deployment \"myapp-deployment\" is invalid: spec.template.metadata.labels: Invalid value: "), "{refused}");
    assert!(refused.contains("`selector` does not match template `labels`"), "{refused}");
    let object = deployment("kubia", 0);
    k.ok_with("apply -f -", &object.to_string());
    let refused = k.fails(r#"patch deploy kubia --type=json -p '[{"op":"replace","path":"/spec/selector/matchLabels","value":{"x":"y"}}]'"#);
    assert!(refused.contains("field is immutable"), "{refused}");
}

fn dep_03_names_follow_deployment_and_replica_set(k: &Kubectl<'_>) {
    available(k, &deployment("kubia", 1));
    let set = k.names("rs").remove(0);
    let pod = k.names("pods").remove(0);
    let hash = k.value(&format!("rs {set}"), ".metadata.labels.pod-template-hash");
    assert_eq!(set, format!("kubia-{hash}"));
    assert!(pod.starts_with(&format!("{set}-")) && pod.len() == set.len() + 6, "{pod}");
    let owner = k.json(&format!("pod {pod}"))["metadata"]["ownerReferences"][0].take();
    assert_eq!(
        (owner["kind"].as_str(), owner["name"].as_str()),
        (Some("ReplicaSet"), Some(set.as_str()))
    );
    assert_eq!(
        (owner["controller"].as_bool(), owner["blockOwnerDeletion"].as_bool()),
        (Some(true), Some(true))
    );
}

/// The least number of pods that were ready, and the greatest that existed, until the rollout was over.
fn extremes(k: &Kubectl<'_>, replicas: usize) -> (usize, usize) {
    let (mut least, mut most) = (usize::MAX, 0);
    let old: Vec<String> = k.names("pods");
    k.ok("set env deployment/kubia VERSION=2");
    observe::until(k.cluster(), k.namespace(), "only new pods", |pods: &Objects<Pod>| {
        let ready =
            |pod: &&Pod| observe::is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
        let ready = pods.values().filter(ready).count();
        least = least.min(ready);
        most =
            most.max(pods.values().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count());
        let new = pods.keys().all(|name| !old.contains(name));
        (new && ready == replicas && pods.len() == replicas).then_some(())
    });
    (least, most)
}

fn dep_05_rolling_update_replaces_pods_and_keeps_serving(k: &Kubectl<'_>) {
    available(k, &deployment("kubia", 4));
    let (least, most) = extremes(k, 4);
    assert!(least >= 3, "at most a quarter may be unavailable, {least} of 4 were ready");
    assert!(most <= 5, "at most a quarter more, {most} were there");
    k.ok("rollout status deployment/kubia --timeout=60s");
    let sets = k.json("rs");
    let mut counts: Vec<i64> = sets["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["spec"]["replicas"].as_i64().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 4], "the old ReplicaSet stays for an undo");
}

fn dep_06_recreate_ends_old_pods_first(k: &Kubectl<'_>) {
    let mut object = deployment("kubia", 2);
    object["spec"]["strategy"] = json!({"type": "Recreate"});
    available(k, &object);
    let (least, most) = extremes(k, 2);
    assert_eq!((least, most), (0, 2));
}

fn dep_08_deleted_pods_are_replaced(k: &Kubectl<'_>) {
    available(k, &deployment("kubia", 2));
    let old = k.names("pods");
    k.ok("delete pods --all");
    observe::until(k.cluster(), k.namespace(), "two new pods", |pods: &Objects<Pod>| {
        let new = pods.iter().filter(|(name, pod)| !old.contains(name) && observe::is_ready(pod));
        (new.count() == 2 && pods.len() == 2).then_some(())
    });
}

fn dep_09_delete_cascades_to_replica_sets_and_pods(k: &Kubectl<'_>) {
    available(k, &deployment("kubia", 2));
    k.ok("delete deployment kubia");
    observe::until(k.cluster(), k.namespace(), "no ReplicaSet", |sets: &Objects<ReplicaSet>| {
        sets.is_empty().then_some(())
    });
    observe::until(k.cluster(), k.namespace(), "no pod", |pods: &Objects<Pod>| {
        pods.is_empty().then_some(())
    });
}

fn dep_10_status_counts_are_kept(k: &Kubectl<'_>) {
    available(k, &deployment("kubia", 2));
    let status = k.json("deploy kubia")["status"].take();
    for key in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        assert_eq!(status[key], 2, "{key} in {status}");
    }
    assert_eq!(status["observedGeneration"], 1);
    k.ok("scale deployment kubia --replicas=3");
    observe::until(k.cluster(), k.namespace(), "three available", |all: &Objects<Deployment>| {
        let status = all.get("kubia")?.status.as_ref()?;
        (status.available_replicas == Some(3) && status.observed_generation == Some(2))
            .then_some(())
    });
    let mut broken = deployment("broken", 1);
    broken["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.invalid/none:1".into();
    k.ok_with("apply -f -", &broken.to_string());
    observe::until(
        k.cluster(),
        k.namespace(),
        "an unavailable replica",
        |all: &Objects<Deployment>| {
            let status = all.get("broken")?.status.as_ref()?;
            (status.unavailable_replicas == Some(1)).then_some(())
        },
    );
    assert!(k.ok("get deploy broken --no-headers").contains("0/1 "));
}

fn dep_11_replica_set_alone_keeps_its_number(k: &Kubectl<'_>) {
    let mut object = deployment("web", 2);
    object["kind"] = "ReplicaSet".into();
    k.ok_with("apply -f -", &object.to_string());
    let ready = |wanted: usize| {
        observe::until(
            k.cluster(),
            k.namespace(),
            "as many pods as asked for",
            |pods: &Objects<Pod>| {
                (pods.len() == wanted && pods.values().all(observe::is_ready)).then_some(())
            },
        );
    };
    ready(2);
    k.ok("scale rs web --replicas=4");
    ready(4);
    k.ok("scale rs web --replicas=1");
    ready(1);
    // A pod that loses its label is let go and replaced.
    let pod = k.names("pods").remove(0);
    k.ok(&format!("label pod {pod} app=free --overwrite"));
    ready(2);
    assert_eq!(k.value(&format!("pod {pod}"), ".metadata.ownerReferences"), "");
}

fn dep_14_rollout_status_history_and_undo(k: &Kubectl<'_>) {
    k.ok(&format!("create deployment kubia --image={HELLO}"));
    let said = k.ok("rollout status deployment/kubia --timeout=60s");
    assert!(said.ends_with("deployment \"kubia\" successfully rolled out\n"), "{said}");
    k.ok("set env deployment/kubia VERSION=2");
    k.ok("rollout status deployment/kubia --timeout=60s");
    let history = k.ok("rollout history deployment/kubia");
    assert!(
        history.contains("REVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n"),
        "{history}"
    );
    assert_eq!(k.ok("rollout undo deployment/kubia"), "deployment.apps/kubia rolled back\n");
    k.ok("rollout status deployment/kubia --timeout=60s");
    let history = k.ok("rollout history deployment/kubia");
    assert!(history.contains("2         <none>\n3         <none>\n"), "{history}");
    assert_eq!(k.value("deploy kubia", ".spec.template.spec.containers[0].env"), "");
    k.ok("rollout restart deployment/kubia");
    k.ok("rollout status deployment/kubia --timeout=60s");
    k.ok("rollout pause deployment/kubia");
    k.ok("set env deployment/kubia VERSION=4");
    assert_eq!(k.names("rs").len(), 3, "a paused rollout makes no ReplicaSet");
    k.ok("rollout resume deployment/kubia");
    k.ok("rollout status deployment/kubia --timeout=60s");
}

fn clu_17_namespace_deletion_removes_everything(k: &Kubectl<'_>) {
    let doomed = format!("{}-doomed", &k.namespace()[..20.min(k.namespace().len())]);
    k.ok(&format!("create namespace {doomed}"));
    let inside = k.within(&doomed);
    available(&inside, &deployment("kubia", 2));
    inside.ok("create configmap app");
    k.ok(&format!("delete namespace {doomed}"));
    k.fails(&format!("get namespace {doomed}"));
    assert_eq!(inside.ok("get all,cm,secrets,sa -o name"), "");
}
