//! Tables of [`super::generate_pod_status`].

use super::*;
use crate::fixtures::{at, container, observed, pod, sandbox, with_policy};
use crate::runtime_status::ContainerState::{Created, Exited, Running};

fn generate(
    pod: &Pod,
    runtime: &PodRuntimeStatus,
    waiting: &[(&str, &str)],
    terminal: bool,
) -> PodStatus {
    let waiting = waiting
        .iter()
        .map(|(name, reason)| {
            (name.to_string(), WaitingReason { reason: reason.to_string(), message: "why".into() })
        })
        .collect();
    let input = StatusInput {
        pod,
        runtime,
        old: &PodStatus::default(),
        waiting: &waiting,
        terminal,
        rejection: None,
        node_ips: &["192.0.2.1".parse().expect("address")],
        runtime_name: "knarr",
        now: at(1_000),
    };
    generate_pod_status(&input)
}

fn truth(status: &PodStatus, type_: &str) -> (String, Option<String>, Option<String>) {
    let condition = condition(status, type_).expect("condition");
    (condition.status.clone(), condition.reason.clone(), condition.message.clone())
}

/// POD-11 and TERM-12: the phase for every mixture of states.
#[test]
fn pod_11_phase_follows_containers() {
    let run = |name| container(name, 0, Running, 0);
    let exit = |name, code| container(name, 0, Exited, code);
    let cases = [
        ("Always", vec![], false, "Pending"),
        ("Always", vec![run("a")], false, "Pending"),
        ("Always", vec![run("a"), run("b")], false, "Running"),
        ("Always", vec![run("a"), exit("b", 1)], false, "Running"),
        ("Always", vec![exit("a", 0), exit("b", 0)], false, "Running"),
        ("Always", vec![exit("a", 0), exit("b", 0)], true, "Succeeded"),
        ("Always", vec![exit("a", 143), exit("b", 0)], true, "Failed"),
        ("OnFailure", vec![exit("a", 0), exit("b", 1)], false, "Running"),
        ("OnFailure", vec![exit("a", 0), exit("b", 0)], false, "Succeeded"),
        ("Never", vec![exit("a", 0), exit("b", 1)], false, "Failed"),
        ("Never", vec![exit("a", 0), exit("b", 0)], false, "Succeeded"),
        ("Never", vec![run("a"), exit("b", 1)], false, "Running"),
    ];
    for (policy, records, terminal, expected) in cases {
        let text = format!("{policy} {records:?}");
        let status =
            generate(&with_policy(pod(&["a", "b"]), policy), &observed(records), &[], terminal);
        assert_eq!(status.phase.as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn pod_12_running_pod_is_ready() {
    let status = generate(&pod(&["a"]), &observed(vec![container("a", 0, Running, 0)]), &[], false);
    for type_ in KUBELET_CONDITIONS {
        assert_eq!(truth(&status, type_), ("True".into(), None, None), "{type_}");
    }
    assert_eq!(status.pod_ip.as_deref(), Some("10.42.0.5"));
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(status.observed_generation, Some(1));
    let container = &status.container_statuses.as_ref().expect("statuses")[0];
    assert_eq!(container.container_id.as_deref(), Some("knarr://a-0"));
    assert_eq!((container.ready, container.started), (true, Some(true)));
}

#[test]
fn pod_12_unready_containers_are_named() {
    let runtime = observed(vec![container("a", 0, Running, 0)]);
    let status = generate(&pod(&["a", "b", "c"]), &runtime, &[("b", "ErrImagePull")], false);
    let expected = (
        "False".to_owned(),
        Some("ContainersNotReady".to_owned()),
        Some("containers with unready status: [b c]".to_owned()),
    );
    assert_eq!(truth(&status, "Ready"), expected);
    assert_eq!(truth(&status, "ContainersReady"), expected);
    assert_eq!(truth(&status, "Initialized").0, "True");
}

#[test]
fn pod_12_completed_pod_says_so() {
    let pod = with_policy(pod(&["a"]), "Never");
    let runtime = PodRuntimeStatus {
        sandboxes: vec![sandbox(0, false)],
        containers: vec![container("a", 0, Exited, 0)],
    };
    let status = generate(&pod, &runtime, &[], false);
    assert_eq!(status.phase.as_deref(), Some("Succeeded"));
    assert_eq!(truth(&status, "Ready"), ("False".into(), Some("PodCompleted".into()), None));
    assert_eq!(truth(&status, "Initialized"), ("True".into(), Some("PodCompleted".into()), None));
    assert_eq!(truth(&status, "PodReadyToStartContainers").0, "False");
}

/// POD-14, TERM-11: waiting with a reason keeps the end of the previous attempt.
#[test]
fn term_11_last_state_is_previous_attempt() {
    let runtime = observed(vec![container("a", 2, Exited, 7), container("a", 1, Exited, 5)]);
    let status = generate(&pod(&["a"]), &runtime, &[("a", "CrashLoopBackOff")], false);
    let a = &status.container_statuses.as_ref().expect("statuses")[0];
    let waiting = a.state.as_ref().and_then(|state| state.waiting.as_ref()).expect("waiting");
    assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
    let last =
        a.last_state.as_ref().and_then(|state| state.terminated.as_ref()).expect("terminated");
    assert_eq!((last.exit_code, last.reason.as_deref(), a.restart_count), (7, Some("Error"), 2));

    let runtime = observed(vec![container("a", 3, Running, 0), container("a", 2, Exited, 7)]);
    let status = generate(&pod(&["a"]), &runtime, &[], false);
    let a = &status.container_statuses.as_ref().expect("statuses")[0];
    assert!(a.state.as_ref().is_some_and(|state| state.running.is_some()));
    let last =
        a.last_state.as_ref().and_then(|state| state.terminated.as_ref()).expect("terminated");
    assert_eq!((last.exit_code, a.restart_count), (7, 3));
}

#[test]
fn pod_14_created_container_waits() {
    let status = generate(
        &pod(&["a"]),
        &observed(vec![container("a", 0, Created, 0)]),
        &[("a", "RunContainerError")],
        false,
    );
    let a = &status.container_statuses.as_ref().expect("statuses")[0];
    let waiting = a.state.as_ref().and_then(|state| state.waiting.as_ref()).expect("waiting");
    assert_eq!(waiting.reason.as_deref(), Some("RunContainerError"));
    assert_eq!(status.phase.as_deref(), Some("Pending"));
}

#[test]
fn terminal_phase_is_kept_whatever_the_runtime_says() {
    let mut pod = pod(&["a"]);
    pod.status = Some(PodStatus {
        phase: Some("Failed".into()),
        reason: Some("Evicted".into()),
        ..PodStatus::default()
    });
    let input = StatusInput {
        pod: &pod,
        runtime: &observed(vec![container("a", 0, Running, 0)]),
        old: pod.status.as_ref().expect("status"),
        waiting: &BTreeMap::new(),
        terminal: false,
        rejection: None,
        node_ips: &[],
        runtime_name: "knarr",
        now: at(1),
    };
    let status = generate_pod_status(&input);
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("Evicted"))
    );
}

#[test]
fn transition_time_moves_only_with_status() {
    let pod = pod(&["a"]);
    let runtime = observed(vec![container("a", 0, Running, 0)]);
    let first = generate(&pod, &runtime, &[], false);
    let none = BTreeMap::new();
    let input = StatusInput {
        pod: &pod,
        runtime: &runtime,
        old: &first,
        waiting: &none,
        terminal: false,
        rejection: None,
        node_ips: &[],
        runtime_name: "knarr",
        now: at(2_000),
    };
    let second = generate_pod_status(&input);
    let time = |status: &PodStatus| {
        condition(status, "Ready").and_then(|it| it.last_transition_time.clone())
    };
    assert_eq!(time(&first), time(&second));
    assert_eq!(first.start_time, second.start_time);
}
