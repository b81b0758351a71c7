//! Tables of the ReplicaSet controller's decisions.

use super::*;
use crate::testing::{at, describe, label, meta, pod};
use k8s_openapi::api::apps::v1::ReplicaSetSpec;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

fn replica_set(replicas: i32) -> ReplicaSet {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: label("app", "web"), ..ObjectMeta::default() }),
        spec: None,
    };
    let selector = LabelSelector { match_labels: label("app", "web"), ..LabelSelector::default() };
    let spec = ReplicaSetSpec {
        replicas: Some(replicas),
        selector,
        template: Some(template),
        min_ready_seconds: None,
    };
    ReplicaSet { metadata: meta("web"), spec: Some(spec), status: None }
}

fn observed(replica_set: ReplicaSet, candidates: Vec<Arc<Pod>>) -> Observed {
    Observed {
        replica_set: Arc::new(replica_set),
        related: candidates.clone(),
        candidates,
        alive: Liveness::Alive,
    }
}

fn owned(name: &str) -> crate::testing::PodBuilder {
    pod(name).of("ReplicaSet", "web").node("n").ready_at(0)
}

fn status(plan: &Plan) -> ReplicaSetStatus {
    let manifest = plan.actions.iter().find_map(|action| match action {
        Action::UpdateStatus(manifest) => manifest.decode::<ReplicaSet>(),
        _ => None,
    });
    manifest.and_then(|set| set.status).expect("a status is written")
}

#[test]
fn dep_11_missing_pods_are_created_with_generated_names() {
    let plan = observed(replica_set(3), vec![owned("a").build()]).reconcile(at(0));
    assert_eq!(
        describe(&plan.actions),
        ["create pods ns/", "create pods ns/", "status replicasets.apps ns/web"]
    );
    let Action::Create(create) = &plan.actions[0] else { panic!("a creation") };
    let created: Pod = create.manifest.decode().unwrap();
    assert_eq!(created.metadata.generate_name.as_deref(), Some("web-"));
    assert_eq!(created.metadata.labels, label("app", "web"));
    assert_eq!(
        created.metadata.owner_references,
        Some(vec![replica_set(3).controller_reference()])
    );
    assert_eq!(create.report.as_ref().unwrap().success, ("SuccessfulCreate", "Created pod: "));
}

#[test]
fn dep_08_ended_and_deleted_pods_are_replaced() {
    let pods =
        vec![owned("a").phase("Failed").build(), owned("b").deleted().build(), owned("c").build()];
    let plan = observed(replica_set(2), pods).reconcile(at(0));
    assert_eq!(describe(&plan.actions), ["create pods ns/", "status replicasets.apps ns/web"]);
    assert_eq!((status(&plan).replicas, status(&plan).terminating_replicas), (1, Some(1)));
}

#[test]
fn dep_11_surplus_pods_are_deleted_worst_first() {
    let pods = vec![
        owned("good").build(),
        owned("starting").phase("Pending").build(),
        pod("lost").of("ReplicaSet", "web").build(),
    ];
    let plan = observed(replica_set(1), pods).reconcile(at(9));
    assert_eq!(describe(&plan.actions)[..2], ["delete pods ns/lost", "delete pods ns/starting"]);
}

#[test]
fn burst_is_bounded() {
    let plan = observed(replica_set(5000), vec![]).reconcile(at(0));
    assert_eq!(plan.actions.len(), BURST_REPLICAS + 1);
}

#[test]
fn orphans_that_match_are_adopted_and_count() {
    let pods = vec![
        pod("orphan").ready_at(0).build(),
        pod("other").labels(label("app", "x")).build(),
        pod("foreign").of("ReplicaSet", "y").build(),
    ];
    let plan = observed(replica_set(1), pods).reconcile(at(0));
    let lines = describe(&plan.actions);
    assert!(
        lines[0].starts_with("patch pods ns/orphan")
            && lines[0].contains("\"uid\": String(\"orphan\")"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2);
    assert_eq!(status(&plan).ready_replicas, Some(1));
}

#[test]
fn own_pods_that_no_longer_match_are_released_and_replaced() {
    let plan = observed(replica_set(1), vec![owned("a").labels(label("app", "debug")).build()])
        .reconcile(at(0));
    let lines = describe(&plan.actions);
    assert!(lines[0].starts_with("patch pods ns/a") && lines[0].contains("$patch"), "{lines:?}");
    assert_eq!(lines[1], "create pods ns/");
}

#[test]
fn replica_set_being_deleted_neither_creates_nor_adopts() {
    let mut set = replica_set(3);
    set.metadata.deletion_timestamp = Some(Time(at(0)));
    let plan = observed(set, vec![pod("orphan").build()]).reconcile(at(0));
    assert_eq!(describe(&plan.actions), ["status replicasets.apps ns/web"]);
}

#[test]
fn steady_state_does_nothing() {
    let pods = vec![owned("a").build()];
    let first = observed(replica_set(1), pods.clone()).reconcile(at(0));
    let settled = ReplicaSet { status: Some(status(&first)), ..replica_set(1) };
    let plan = observed(settled, pods).reconcile(at(0));
    assert!(plan.actions.is_empty() && plan.requeue_after.is_none(), "{plan:?}");
}

#[test]
fn min_ready_seconds_delays_availability_and_asks_for_a_later_look() {
    let mut set = replica_set(1);
    set.spec.as_mut().unwrap().min_ready_seconds = Some(10);
    let plan = observed(set, vec![owned("a").build()]).reconcile(at(4));
    assert_eq!((status(&plan).ready_replicas, status(&plan).available_replicas), (Some(1), None));
    assert_eq!(plan.requeue_after, Some(Duration::from_secs(6)));
}

#[test]
fn failed_creation_is_told_in_a_condition_until_it_is_over() {
    let plan = observed(replica_set(1), vec![]).reconcile(at(0));
    let failure =
        Failure { message: "pods \"web-\" is forbidden: quota".into(), already_exists: false };
    let actions = plan.on_failure.unwrap()(&failure);
    let failed = status(&Plan::from(actions));
    let condition = &failed.conditions.as_ref().unwrap()[0];
    assert_eq!(
        (condition.type_.as_str(), condition.reason.as_deref()),
        ("ReplicaFailure", Some("FailedCreate"))
    );
    assert_eq!(condition.message.as_deref(), Some("pods \"web-\" is forbidden: quota"));
    let recovered =
        observed(ReplicaSet { status: Some(failed), ..replica_set(1) }, vec![owned("a").build()])
            .reconcile(at(9));
    assert_eq!(status(&recovered).conditions, None);
}

#[test]
fn replica_set_that_is_gone_by_the_servers_word_does_nothing() {
    let stale =
        Observed { alive: Liveness::Gone, ..observed(replica_set(3), vec![owned("a").build()]) };
    assert!(stale.needs_liveness());
    assert!(stale.reconcile(at(0)).actions.is_empty());
    let complete = observed(replica_set(1), vec![owned("a").build()]);
    assert!(!complete.needs_liveness(), "a steady state asks nothing");
}
