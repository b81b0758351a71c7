//! Tables of the Deployment controller's decisions.

use std::collections::BTreeMap;

use super::*;
use crate::testing::{at, controlled_by, describe, label, meta};
use k8s_openapi::api::apps::v1::{
    DeploymentSpec, DeploymentStatus, DeploymentStrategy, ReplicaSetSpec, ReplicaSetStatus,
    RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

fn amount(text: &str) -> Option<IntOrString> {
    Some(text.parse().map_or_else(|_| IntOrString::String(text.into()), IntOrString::Int))
}

fn pod_template(image: &str) -> PodTemplateSpec {
    let container =
        Container { name: "c".into(), image: Some(image.into()), ..Container::default() };
    let metadata = ObjectMeta { labels: label("app", "web"), ..ObjectMeta::default() };
    PodTemplateSpec {
        metadata: Some(metadata),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

/// A rolling Deployment `web` of image `new`.
pub fn deployment(replicas: i32, surge: &str, unavailable: &str) -> Deployment {
    let rolling =
        RollingUpdateDeployment { max_surge: amount(surge), max_unavailable: amount(unavailable) };
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        selector: LabelSelector { match_labels: label("app", "web"), ..LabelSelector::default() },
        strategy: Some(DeploymentStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: Some(rolling),
        }),
        template: pod_template("new"),
        revision_history_limit: Some(10),
        progress_deadline_seconds: Some(600),
        ..DeploymentSpec::default()
    };
    Deployment { metadata: meta("web"), spec: Some(spec), status: None }
}

struct Set(ReplicaSet);

/// A ReplicaSet of the Deployment with an image, a size and available pods.
fn set(image: &str, replicas: i32, available: i32) -> Set {
    let mut template = pod_template(image);
    template
        .metadata
        .as_mut()
        .unwrap()
        .labels
        .as_mut()
        .unwrap()
        .insert(template::POD_TEMPLATE_HASH.into(), image.into());
    let spec = ReplicaSetSpec {
        replicas: Some(replicas),
        template: Some(template),
        ..ReplicaSetSpec::default()
    };
    let status = ReplicaSetStatus {
        replicas,
        ready_replicas: Some(available),
        available_replicas: Some(available),
        observed_generation: Some(1),
        terminating_replicas: Some(0),
        ..ReplicaSetStatus::default()
    };
    let metadata = ObjectMeta {
        labels: label("app", "web"),
        owner_references: controlled_by("Deployment", "web"),
        ..meta(&format!("web-{image}"))
    };
    Set(ReplicaSet { metadata, spec: Some(spec), status: Some(status) })
}

impl Set {
    fn revision(mut self, revision: &str) -> Self {
        self.0
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(revision::REVISION.into(), revision.into());
        self
    }

    /// The annotations of a Deployment of that size.
    fn sized(mut self, desired: i32, max: i32) -> Self {
        revision::set_replicas_annotations(&mut self.0, desired, max);
        self
    }

    fn created_at(mut self, seconds: i64) -> Self {
        self.0.metadata.creation_timestamp = Some(Time(at(seconds)));
        self
    }

    fn running(mut self, replicas: i32) -> Self {
        self.0.status.as_mut().unwrap().replicas = replicas;
        self
    }
}

fn observed(deployment: Deployment, sets: Vec<Set>) -> Observed {
    let candidates: Vec<Arc<ReplicaSet>> = sets.into_iter().map(|set| Arc::new(set.0)).collect();
    let taken = candidates.iter().filter_map(|set| set.metadata.name.clone()).collect();
    Observed {
        deployment: Arc::new(deployment),
        candidates,
        with_running_pods: Vec::new(),
        names: Names { taken, inherited: Vec::new() },
        alive: Liveness::Alive,
    }
}

fn plan(deployment: Deployment, sets: Vec<Set>) -> Plan {
    observed(deployment, sets).reconcile(at(0))
}

fn written(plan: &Plan) -> Deployment {
    let found = plan.actions.iter().find_map(|action| match action {
        Action::UpdateStatus(manifest) => manifest.decode::<Deployment>(),
        _ => None,
    });
    found.expect("a status is written")
}

fn status_of(plan: &Plan) -> DeploymentStatus {
    written(plan).status.unwrap()
}

fn condition_of(plan: &Plan, type_: &str) -> (String, String, String) {
    let status = status_of(plan);
    let condition = status
        .conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == type_)
        .expect("the condition is set");
    (condition.status, condition.reason.unwrap(), condition.message.unwrap())
}

/// The sizes that the plan gives to ReplicaSets, by name.
fn sizes(plan: &Plan) -> BTreeMap<String, i32> {
    let sets = plan.actions.iter().filter_map(|action| match action {
        Action::Update(manifest) => manifest.decode::<ReplicaSet>(),
        Action::Create(create) => create.manifest.decode::<ReplicaSet>(),
        _ => None,
    });
    sets.map(|set| (set.metadata.name.unwrap(), set.spec.unwrap().replicas.unwrap())).collect()
}

fn size(name: &str, replicas: i32) -> (String, i32) {
    (name.to_owned(), replicas)
}

fn events(plan: &Plan) -> Vec<String> {
    describe(&plan.actions).into_iter().filter(|line| line.starts_with("event")).collect()
}

#[test]
fn dep_03_first_rollout_creates_the_replica_set_at_full_size() {
    let plan = plan(deployment(3, "25%", "25%"), vec![]);
    let lines = describe(&plan.actions);
    let name = lines[0]
        .strip_prefix("create replicasets.apps ns/")
        .expect("a ReplicaSet is created")
        .to_owned();
    assert_eq!(
        lines[1],
        format!("event ScalingReplicaSet: Scaled up replica set {name} from 0 to 3")
    );
    assert_eq!(lines[2], "status deployments.apps ns/web");
    let Action::Create(create) = &plan.actions[0] else { unreachable!() };
    let set: ReplicaSet = create.manifest.decode().unwrap();
    let hash = name.strip_prefix("web-").unwrap();
    let spec = set.spec.unwrap();
    assert_eq!(spec.selector.match_labels.unwrap()[template::POD_TEMPLATE_HASH], hash);
    assert_eq!(
        spec.template.unwrap().metadata.unwrap().labels.unwrap()[template::POD_TEMPLATE_HASH],
        hash
    );
    assert_eq!(set.metadata.labels.unwrap()[template::POD_TEMPLATE_HASH], hash);
    let annotations = set.metadata.annotations.unwrap();
    assert_eq!(
        (
            annotations[revision::REVISION].as_str(),
            annotations[revision::DESIRED_REPLICAS].as_str(),
            annotations[revision::MAX_REPLICAS].as_str()
        ),
        ("1", "3", "4")
    );
    assert_eq!(written(&plan).metadata.annotations.unwrap()[revision::REVISION], "1");
    assert_eq!(
        condition_of(&plan, "Progressing"),
        (
            "True".into(),
            "NewReplicaSetCreated".into(),
            format!("Created new replica set \"{name}\"")
        )
    );
    assert_eq!(condition_of(&plan, "Available").1, "MinimumReplicasUnavailable");
}

/// Size and available pods of a ReplicaSet.
type Pods = (i32, i32);

/// Surge, unavailability, the old and the new ReplicaSet, and the sizes that are written.
type RollingStep<'a> = (&'a str, &'a str, Pods, Pods, &'a [(&'a str, i32)]);

#[test]
fn dep_05_new_grows_then_old_shrinks_within_the_limits() {
    // (surge, unavailable, old (size, available), new (size, available), sizes afterwards)
    let table: [RollingStep; 8] = [
        ("3", "2", (10, 10), (0, 0), &[("web-new", 3)]),
        ("3", "2", (10, 10), (3, 0), &[("web-old", 8)]),
        ("3", "2", (8, 8), (5, 0), &[]),
        ("3", "2", (8, 8), (5, 2), &[("web-old", 6)]),
        ("3", "2", (8, 7), (5, 0), &[]),
        ("3", "2", (8, 5), (5, 5), &[("web-old", 3)]),
        ("0", "2", (10, 10), (0, 0), &[("web-old", 8)]),
        ("0", "2", (0, 0), (10, 10), &[]),
    ];
    for (surge, unavailable, old, new, expected) in table {
        let (max, deployment) =
            (10 + surge.parse::<i32>().unwrap(), deployment(10, surge, unavailable));
        let plan = plan(
            deployment,
            vec![
                set("old", old.0, old.1).revision("1").sized(10, max),
                set("new", new.0, new.1).revision("2").sized(10, max).created_at(5),
            ],
        );
        let expected: BTreeMap<String, i32> =
            expected.iter().map(|(name, replicas)| size(name, *replicas)).collect();
        assert_eq!(
            sizes(&plan),
            expected,
            "surge {surge} unavailable {unavailable} old {old:?} new {new:?}"
        );
    }
}

#[test]
fn dep_11_change_of_size_scales_the_only_active_replica_set() {
    let plan = plan(deployment(5, "25%", "25%"), vec![set("new", 3, 3).revision("1").sized(3, 4)]);
    assert_eq!(sizes(&plan), BTreeMap::from([size("web-new", 5)]));
    assert_eq!(
        events(&plan),
        ["event ScalingReplicaSet: Scaled up replica set web-new from 3 to 5"]
    );
}

/// Size before and after, surge, and the ReplicaSets before and after.
type Resize = (i32, i32, i32, [i32; 3], [i32; 3]);

#[test]
fn change_of_size_in_a_rollout_is_spread_by_share() {
    // (size before, after, sizes before, sizes after), surge 0 or 10 as noted: Kubernetes' own example tables.
    let table: [Resize; 6] = [
        (10, 12, 0, [5, 5, 0], [6, 6, 0]),
        (10, 5, 0, [5, 5, 0], [3, 2, 0]),
        (20, 60, 0, [10, 5, 5], [30, 15, 15]),
        (80, 10, 0, [40, 30, 10], [5, 4, 1]),
        (6, 0, 0, [3, 2, 1], [0, 0, 0]),
        (30, 36, 2, [16, 10, 6], [19, 12, 7]),
    ];
    for (before, after, surge, old, expected) in table {
        let sets = ["new", "old1", "old2"].iter().zip(old).zip([30, 20, 10]).map(
            |((image, replicas), age)| {
                set(image, replicas, 0).revision("1").sized(before, before + surge).created_at(age)
            },
        );
        let plan = plan(deployment(after, &surge.to_string(), "1"), sets.collect());
        let after_all: Vec<i32> = ["web-new", "web-old1", "web-old2"]
            .iter()
            .zip(old)
            .map(|(name, size)| sizes(&plan).get(*name).copied().unwrap_or(size))
            .collect();
        assert_eq!(after_all, expected, "{before} to {after}");
    }
}

#[test]
fn dep_06_recreate_waits_for_old_pods_then_creates_all() {
    let mut recreate = deployment(3, "0", "0");
    recreate.spec.as_mut().unwrap().strategy =
        Some(DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None });
    let down = plan(recreate.clone(), vec![set("old", 3, 3).revision("1").sized(3, 3)]);
    assert_eq!(sizes(&down), BTreeMap::from([size("web-old", 0)]));
    let mut waiting = observed(recreate.clone(), vec![set("old", 0, 0).revision("1")]);
    waiting.with_running_pods = vec!["web-old".into()];
    assert!(sizes(&waiting.reconcile(at(0))).is_empty());
    let counted = plan(recreate.clone(), vec![set("old", 0, 0).running(1).revision("1")]);
    assert!(sizes(&counted).is_empty());
    let up = plan(recreate, vec![set("old", 0, 0).revision("1")]);
    assert_eq!(sizes(&up).into_values().collect::<Vec<_>>(), [3]);
}

#[test]
fn dep_07_undo_gives_the_old_replica_set_a_new_revision() {
    let sets = vec![
        set("new", 0, 0).revision("1").sized(3, 4),
        set("bad", 3, 3).revision("2").sized(3, 4).created_at(5),
    ];
    let plan = plan(deployment(3, "25%", "25%"), sets);
    assert_eq!(sizes(&plan), BTreeMap::from([size("web-new", 1)]));
    let Action::Update(manifest) = &plan.actions[0] else {
        panic!("the ReplicaSet is updated first")
    };
    let annotations = manifest.decode::<ReplicaSet>().unwrap().metadata.annotations.unwrap();
    assert_eq!(
        (
            annotations[revision::REVISION].as_str(),
            annotations["deployment.kubernetes.io/revision-history"].as_str()
        ),
        ("3", "1")
    );
    assert_eq!(written(&plan).metadata.annotations.unwrap()[revision::REVISION], "3");
}

fn progressed(mut deployment: Deployment, reason: &str, updated_at: i64) -> Deployment {
    let sets = vec![set("new", 3, 1).revision("1").sized(3, 4)];
    let mut status = status_of(&plan(deployment.clone(), sets));
    let progressing = status
        .conditions
        .as_mut()
        .unwrap()
        .iter_mut()
        .find(|condition| condition.type_ == "Progressing")
        .unwrap();
    progressing.reason = Some(reason.into());
    progressing.last_update_time = Some(Time(at(updated_at)));
    deployment.status = Some(status);
    deployment.metadata.annotations = label(revision::REVISION, "1");
    deployment
}

#[test]
fn dep_10_finished_rollout_is_available_and_progressed() {
    let plan = plan(
        progressed(deployment(3, "25%", "25%"), "ReplicaSetUpdated", 0),
        vec![set("new", 3, 3).revision("1").sized(3, 4)],
    );
    let status = status_of(&plan);
    assert_eq!(
        (
            status.replicas,
            status.updated_replicas,
            status.ready_replicas,
            status.available_replicas
        ),
        (Some(3), Some(3), Some(3), Some(3))
    );
    assert_eq!((status.unavailable_replicas, status.terminating_replicas), (None, Some(0)));
    assert_eq!(
        condition_of(&plan, "Available"),
        (
            "True".into(),
            "MinimumReplicasAvailable".into(),
            "Deployment has minimum availability.".into()
        )
    );
    assert_eq!(
        condition_of(&plan, "Progressing"),
        (
            "True".into(),
            "NewReplicaSetAvailable".into(),
            "ReplicaSet \"web-new\" has successfully progressed.".into()
        )
    );
    assert_eq!(plan.requeue_after, None);
    let settled = Deployment {
        metadata: written(&plan).metadata,
        status: Some(status),
        ..deployment(3, "25%", "25%")
    };
    let again = self::plan(settled, vec![set("new", 3, 3).revision("1").sized(3, 4)]);
    assert!(again.actions.is_empty(), "{again:?}");
}

#[test]
fn stuck_rollout_is_looked_at_again_and_times_out() {
    let stuck = progressed(deployment(3, "25%", "25%"), "ReplicaSetUpdated", 0);
    let sets = || vec![set("new", 3, 1).revision("1").sized(3, 4)];
    let early = observed(stuck.clone(), sets()).reconcile(at(100));
    assert!(early.actions.is_empty(), "{early:?}");
    assert_eq!(early.requeue_after.unwrap().as_secs(), 501);
    let late = observed(stuck, sets()).reconcile(at(601));
    assert_eq!(
        condition_of(&late, "Progressing"),
        (
            "False".into(),
            "ProgressDeadlineExceeded".into(),
            "ReplicaSet \"web-new\" has timed out progressing.".into()
        )
    );
}

#[test]
fn paused_deployment_scales_but_does_not_roll() {
    let mut paused = deployment(5, "25%", "25%");
    paused.spec.as_mut().unwrap().paused = Some(true);
    let plan = plan(paused, vec![set("old", 3, 3).revision("1").sized(3, 4)]);
    assert_eq!(sizes(&plan), BTreeMap::from([size("web-old", 5)]));
    assert_eq!(
        condition_of(&plan, "Progressing"),
        ("Unknown".into(), "DeploymentPaused".into(), "Deployment is paused".into())
    );
    let mut resumed = progressed(deployment(3, "25%", "25%"), "DeploymentPaused", 0);
    resumed.status.as_mut().unwrap().replicas = Some(3);
    let plan = self::plan(resumed, vec![set("new", 3, 1).revision("1").sized(3, 4)]);
    assert_eq!(condition_of(&plan, "Progressing").1, "DeploymentResumed");
}

#[test]
fn history_beyond_the_limit_is_deleted_oldest_first() {
    let mut done = progressed(deployment(3, "25%", "25%"), "NewReplicaSetAvailable", 0);
    done.spec.as_mut().unwrap().revision_history_limit = Some(1);
    let status = done.status.as_mut().unwrap();
    (status.replicas, status.updated_replicas, status.available_replicas) =
        (Some(3), Some(3), Some(3));
    let sets = vec![
        set("new", 3, 3).revision("9").sized(3, 4),
        set("r3", 0, 0).revision("3"),
        set("r1", 0, 0).revision("1"),
        set("r2", 0, 0).running(1).revision("2"),
    ];
    let lines = describe(&plan(done, sets).actions);
    assert!(lines.contains(&"delete replicasets.apps ns/web-r1".to_owned()), "{lines:?}");
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("delete")).count(),
        1,
        "one with pods and the newest old one stay: {lines:?}"
    );
}

#[test]
fn hash_collision_is_counted_and_gives_another_name() {
    let first = plan(deployment(3, "25%", "25%"), vec![]);
    let name = sizes(&first).into_keys().next().unwrap();
    let mut collided = observed(deployment(3, "25%", "25%"), vec![]);
    collided.names.taken = vec![name.clone()];
    let plan = collided.reconcile(at(0));
    assert_eq!(
        (describe(&plan.actions), status_of(&plan).collision_count),
        (vec!["status deployments.apps ns/web".to_owned()], Some(1))
    );
    let mut next = deployment(3, "25%", "25%");
    next.status = Some(status_of(&plan));
    assert_ne!(sizes(&self::plan(next, vec![])).into_keys().next().unwrap(), name);
}

#[test]
fn name_that_a_predecessor_still_has_is_waited_for() {
    let name = sizes(&plan(deployment(3, "25%", "25%"), vec![])).into_keys().next().unwrap();
    let mut successor = observed(deployment(3, "25%", "25%"), vec![]);
    successor.names.inherited = vec![name];
    let plan = successor.reconcile(at(0));
    assert!(plan.actions.is_empty() && plan.requeue_after.is_none(), "{plan:?}");
}

#[test]
fn deployment_that_is_gone_by_the_servers_word_does_nothing() {
    let stale = Observed { alive: Liveness::Gone, ..observed(deployment(3, "25%", "25%"), vec![]) };
    assert!(stale.needs_liveness());
    assert!(stale.reconcile(at(0)).actions.is_empty());
    let settled = observed(deployment(3, "25%", "25%"), vec![set("new", 3, 3)]);
    assert!(!settled.needs_liveness(), "a steady state asks nothing");
}

#[test]
fn failed_creation_is_told() {
    let plan = plan(deployment(3, "25%", "25%"), vec![]);
    let failure = client::controller::Failure { message: "quota".into(), already_exists: false };
    let told = Plan::from(plan.on_failure.unwrap()(&failure));
    assert!(
        events(&told)[0]
            .starts_with("event ReplicaSetCreateError: Failed to create new replica set \"web-")
    );
    assert_eq!(condition_of(&told, "Progressing").1, "ReplicaSetCreateError");
}

#[test]
fn replica_failure_of_a_replica_set_becomes_the_deployments() {
    let mut failing = set("new", 3, 0).revision("1").sized(3, 4);
    let condition = k8s_openapi::api::apps::v1::ReplicaSetCondition {
        type_: "ReplicaFailure".into(),
        status: "True".into(),
        reason: Some("FailedCreate".into()),
        message: Some("quota".into()),
        last_transition_time: Some(Time(at(0))),
    };
    failing.0.status.as_mut().unwrap().conditions = Some(vec![condition]);
    let plan = plan(deployment(3, "25%", "25%"), vec![failing]);
    assert_eq!(
        condition_of(&plan, "ReplicaFailure"),
        ("True".into(), "FailedCreate".into(), "quota".into())
    );
}

#[test]
fn deployment_being_deleted_only_keeps_its_status() {
    let mut deleted = deployment(3, "25%", "25%");
    deleted.metadata.deletion_timestamp = Some(Time(at(0)));
    let plan = plan(deleted, vec![]);
    assert_eq!(describe(&plan.actions), ["status deployments.apps ns/web"]);
}

#[test]
fn selector_that_selects_all_is_refused() {
    let mut all = deployment(3, "25%", "25%");
    all.spec.as_mut().unwrap().selector = LabelSelector::default();
    assert!(
        events(&plan(all, vec![]))[0]
            .starts_with("event SelectingAll: This deployment is selecting all pods.")
    );
}
