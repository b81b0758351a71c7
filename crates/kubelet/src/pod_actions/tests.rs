//! Tables of [`super::compute_pod_actions`].

use super::*;
use crate::fixtures::{at, container, observed, pod, sandbox, with_policy};
use ContainerState::{Created, Exited, Running, Unknown};

fn actions(pod: &Pod, status: &PodRuntimeStatus) -> PodActions {
    compute_pod_actions(pod, status, &Backoffs::default(), at(1_000))
}

fn starts(actions: &PodActions) -> Vec<(usize, u32)> {
    actions.start.iter().map(|start| (start.index, start.restart_count)).collect()
}

#[test]
fn new_pod_gets_sandbox_and_all_containers() {
    let done = actions(&pod(&["a", "b"]), &PodRuntimeStatus::default());
    assert!(done.create_sandbox && done.kill_pod);
    assert_eq!((done.attempt, starts(&done)), (0, vec![(0, 0), (1, 0)]));
}

#[test]
fn running_pod_needs_nothing() {
    let status = observed(vec![container("a", 0, Running, 0), container("b", 3, Running, 0)]);
    assert!(actions(&pod(&["a", "b"]), &status).is_empty());
}

/// TERM-01: what happens to a container that ended, by policy and exit code.
#[test]
fn term_01_restart_follows_policy() {
    let cases = [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 0, false),
        ("Never", 1, false),
    ];
    for (policy, code, restarts) in cases {
        let status = observed(vec![container("b", 0, Running, 0), container("a", 2, Exited, code)]);
        let done = actions(&with_policy(pod(&["a", "b"]), policy), &status);
        assert_eq!(starts(&done), if restarts { vec![(0, 3)] } else { vec![] }, "{policy} {code}");
        assert!(!done.kill_pod, "{policy} {code}: b still runs");
    }
}

#[test]
fn created_and_unknown_containers_are_started_again() {
    let status = observed(vec![container("a", 0, Created, 0), container("b", 1, Unknown, 0)]);
    let done = actions(&with_policy(pod(&["a", "b"]), "Never"), &status);
    assert_eq!(starts(&done), [(0, 1), (1, 2)]);
    assert_eq!(done.kill.iter().map(|kill| kill.id.as_str()).collect::<Vec<_>>(), ["b-1"]);
}

#[test]
fn changed_image_restarts_only_that_container() {
    let mut changed = pod(&["a", "b"]);
    changed.spec.as_mut().expect("spec").containers[1].image = Some("app:2".into());
    let status = observed(vec![container("a", 0, Running, 0), container("b", 0, Running, 0)]);
    let done = actions(&changed, &status);
    assert_eq!(starts(&done), [(1, 1)]);
    assert_eq!(done.kill[0].message, "Container b definition changed, will be restarted");
}

/// TERM-04: the words of a waiting container.
#[test]
fn term_04_crash_loop_waits_with_message() {
    let pod = pod(&["a"]);
    let mut backoffs = Backoffs::default();
    let key = crash_key(&pod.spec.as_ref().expect("spec").containers[0]);
    backoffs.crashes.next(&key, at(50), at(50));
    backoffs.crashes.next(&key, at(60), at(60));
    let status = observed(vec![container("a", 1, Exited, 1)]);
    let done = compute_pod_actions(&pod, &status, &backoffs, at(110));
    assert!(done.is_empty());
    assert_eq!(
        done.wait[0].message,
        "back-off 20s restarting failed container=a pod=web_default(u1)"
    );
    assert_eq!(done.wait[0].event, "Back-off restarting failed container a in pod web_default(u1)");
    assert_eq!(done.requeue_at(), Some(at(122)));
    assert_eq!(starts(&compute_pod_actions(&pod, &status, &backoffs, at(122))), [(0, 2)]);
}

#[test]
fn finished_pod_is_killed_and_stays_without_sandbox() {
    let pod = with_policy(pod(&["a"]), "Never");
    let ended = observed(vec![container("a", 0, Exited, 3)]);
    assert!(actions(&pod, &ended).kill_pod);
    let stopped = PodRuntimeStatus { sandboxes: vec![sandbox(0, false)], ..ended };
    let done = actions(&pod, &stopped);
    assert!(done.kill_pod && !done.create_sandbox && done.start.is_empty());
}

#[test]
fn lost_sandbox_is_replaced_and_successes_are_not_repeated() {
    let gone = |containers| PodRuntimeStatus { sandboxes: vec![sandbox(4, false)], containers };
    let records = || vec![container("a", 0, Exited, 0), container("b", 0, Exited, 137)];
    let done = actions(&with_policy(pod(&["a", "b"]), "OnFailure"), &gone(records()));
    assert!(done.create_sandbox && done.kill_pod);
    assert_eq!((done.attempt, starts(&done)), (5, vec![(1, 1)]));
    let done = actions(&pod(&["a", "b"]), &gone(records()));
    assert_eq!(starts(&done), [(0, 1), (1, 1)]);
    let done = actions(&with_policy(pod(&["a", "b"]), "Never"), &gone(records()));
    assert!(!done.create_sandbox && done.start.is_empty());
    let done = actions(&with_policy(pod(&["a", "b"]), "Never"), &gone(vec![]));
    assert!(done.create_sandbox, "nothing ever ran, so the sandbox is tried again");
}

#[test]
fn sandbox_without_address_or_with_a_twin_is_replaced() {
    let mut bare = sandbox(0, true);
    bare.ips.clear();
    let status = PodRuntimeStatus { sandboxes: vec![bare], containers: vec![] };
    assert!(actions(&pod(&["a"]), &status).create_sandbox);
    let twins = PodRuntimeStatus {
        sandboxes: vec![sandbox(1, true), sandbox(0, true)],
        containers: vec![],
    };
    assert_eq!(actions(&pod(&["a"]), &twins).attempt, 2);
}
