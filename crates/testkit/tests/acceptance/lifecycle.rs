//! Restart policies, back-off, termination.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use testkit::kubectl::Kubectl;
use testkit::observe::{self, in_phase};
use testkit::suite::Test;

use crate::manifests::{HELLO, WAIT, container, once, pod, pod_of};

pub const TESTS: &[Test] = testkit::tests![
    every: [term_04_crash_loop_is_shown_with_its_back_off],
    once: [
        term_01_restart_policy_decides_what_is_restarted,
        term_02_restart_is_a_new_container_with_events,
        term_03_back_off_doubles,
        term_05_one_of_two_ended_containers_shows_not_ready,
        term_06_grace_period_ends_with_kill,
        term_08_containers_end_in_parallel_and_object_goes_last,
        term_09_app_that_handles_term_ends_fast,
        term_10_container_that_is_not_restarted_stays_terminated,
        term_11_last_state_keeps_the_previous_end,
        term_12_phase_of_run_to_completion_pods,
        pod_16_deleted_pod_leaves_nothing_on_the_node,
        pod_15_running_container_is_kept_running,
    ],
];

fn term_01_restart_policy_decides_what_is_restarted(k: &Kubectl<'_>) {
    let table = [
        ("always-0", "Always", "exit 0", true),
        ("always-1", "Always", "exit 1", true),
        ("onfailure-0", "OnFailure", "exit 0", false),
        ("onfailure-1", "OnFailure", "exit 1", true),
        ("never-1", "Never", "exit 1", false),
    ];
    for (name, policy, script, _) in table {
        let mut pod = pod(name, script);
        pod["spec"]["restartPolicy"] = policy.into();
        k.ok_with("apply -f -", &pod.to_string());
    }
    for (name, _, _, restarts) in table {
        let ended = |pod: &Pod| in_phase(pod, "Succeeded") || in_phase(pod, "Failed");
        let pod = observe::pod(k.cluster(), k.namespace(), name, "ended or restarted", |pod| {
            if restarts { observe::restarts(pod) > 0 } else { ended(pod) }
        });
        assert_eq!(observe::restarts(&pod) > 0, restarts, "{name}");
    }
}

fn term_02_restart_is_a_new_container_with_events(k: &Kubectl<'_>) {
    k.ok(&format!("run kubia --image={HELLO}"));
    k.ok("wait --for=condition=Ready pod/kubia --timeout=60s");
    let before = k.value("pod kubia", ".status.containerStatuses[0].containerID");
    let ip = k.value("pod kubia", ".status.podIP");
    let address = format!("{ip}:8080").parse().unwrap();
    // The app ends while it answers, so the answer may be cut off.
    let _ = k.cluster().http_get(address, "/fail");
    let pod = observe::pod(k.cluster(), k.namespace(), "kubia", "restarted", |pod| {
        observe::restarts(pod) == 1 && observe::is_ready(pod)
    });
    let status = observe::container(&pod, None).unwrap();
    assert_ne!(status.container_id.as_deref(), Some(before.as_str()));
    assert_eq!(
        pod.status.as_ref().unwrap().pod_ip.as_deref(),
        Some(ip.as_str()),
        "the sandbox stays"
    );
    let ended = status.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (1, Some("Error")));
    let counted = |reason| observe::event(k.cluster(), k.namespace(), "kubia", reason);
    let pulled = counted("Pulled").message.unwrap();
    assert_eq!(
        pulled,
        format!(
            "Container image \"{HELLO}\" already present on machine and can be accessed by the pod"
        )
    );
    observe::until(k.cluster(), k.namespace(), "Started twice", |events| {
        let started =
            |e: &&k8s_openapi::api::core::v1::Event| e.reason.as_deref() == Some("Started");
        let count: i32 = events.values().filter(started).filter_map(|e| e.count).sum();
        (count == 2).then_some(())
    });
}

fn term_03_back_off_doubles(k: &Kubectl<'_>) {
    k.ok_with("apply -f -", &pod("app", "exit 1").to_string());
    for wanted in [
        "back-off 10s restarting failed container=main",
        "back-off 20s restarting failed container=main",
    ] {
        observe::pod(k.cluster(), k.namespace(), "app", wanted, |pod| {
            let state = observe::container(pod, None).and_then(|status| status.state.as_ref());
            let waiting = state.and_then(|state| state.waiting.as_ref());
            let message = waiting.and_then(|waiting| waiting.message.as_deref());
            message.is_some_and(|message| message.starts_with(wanted))
        });
    }
}

fn term_04_crash_loop_is_shown_with_its_back_off(k: &Kubectl<'_>) {
    k.ok_with("apply -f -", &pod("app", "exit 0").to_string());
    observe::pod(k.cluster(), k.namespace(), "app", "backs off", |pod| {
        observe::waiting_reason(pod) == Some("CrashLoopBackOff")
    });
    let table = k.ok("get pod app");
    assert!(table.contains("0/1 ") && table.contains("CrashLoopBackOff"), "{table}");
    let event = observe::event(k.cluster(), k.namespace(), "app", "BackOff");
    let message = event.message.unwrap();
    let wanted = "Back-off restarting failed container main in pod app_";
    assert!(message.starts_with(wanted), "{message}");
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    let text = k.ok("describe pod app");
    for part in [
        "    State:          Waiting\n      Reason:       CrashLoopBackOff",
        "    Last State:     Terminated\n      Reason:       Completed\n      Exit Code:    0",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

fn term_05_one_of_two_ended_containers_shows_not_ready(k: &Kubectl<'_>) {
    let spec = json!({ "containers": [container("ends", "exit 0"), container("stays", WAIT)], "restartPolicy": "OnFailure" });
    k.ok_with("apply -f -", &pod_of("app", spec).to_string());
    observe::pod(k.cluster(), k.namespace(), "app", "half ended", |pod| {
        let ended = observe::container(pod, Some("ends"))
            .and_then(|s| s.state.as_ref()?.terminated.as_ref());
        let runs =
            observe::container(pod, Some("stays")).and_then(|s| s.state.as_ref()?.running.as_ref());
        ended.is_some() && runs.is_some()
    });
    let table = k.ok("get pod app");
    assert!(table.contains("1/2") && table.contains("NotReady"), "{table}");
}

fn term_06_grace_period_ends_with_kill(k: &Kubectl<'_>) {
    let mut app = once("stubborn", "trap '' TERM; while true; do sleep 1; done");
    app["spec"]["terminationGracePeriodSeconds"] = 2.into();
    k.ok_with("apply -f -", &app.to_string());
    k.ok("wait --for=condition=Ready pod/stubborn --timeout=60s");
    let mut watch = k.start("get pod stubborn -w -o json --output-watch-events");
    watch.wait_for_text("Ready");
    let started = Instant::now();
    k.ok("delete pod stubborn");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1900) && took < Duration::from_secs(8), "{took:?}");
    watch.wait_for_text("\"exitCode\":137");
}

fn term_08_containers_end_in_parallel_and_object_goes_last(k: &Kubectl<'_>) {
    let slow = "trap 'sleep 2; exit 0' TERM; sleep 1000 & wait; wait";
    let spec = json!({
        "containers": [container("a", slow), container("b", slow), container("c", slow)],
        "terminationGracePeriodSeconds": 30,
    });
    k.ok_with("apply -f -", &pod_of("app", spec).to_string());
    k.ok("wait --for=condition=Ready pod/app --timeout=60s");
    let started = Instant::now();
    k.ok("delete pod app");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1900) && took < Duration::from_secs(5), "{took:?}");
}

fn term_09_app_that_handles_term_ends_fast(k: &Kubectl<'_>) {
    k.ok(&format!("run kubia --image={HELLO}"));
    k.ok("wait --for=condition=Ready pod/kubia --timeout=60s");
    assert_eq!(k.value("pod kubia", ".spec.terminationGracePeriodSeconds"), "30");
    let started = Instant::now();
    k.ok("delete pod kubia");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let event = observe::event(k.cluster(), k.namespace(), "kubia", "Killing");
    assert_eq!(event.message.as_deref(), Some("Stopping container kubia"));
}

fn term_10_container_that_is_not_restarted_stays_terminated(k: &Kubectl<'_>) {
    let spec = json!({ "containers": [container("ends", "exit 4"), container("stays", WAIT)], "restartPolicy": "Never" });
    k.ok_with("apply -f -", &pod_of("app", spec).to_string());
    let pod = observe::pod(k.cluster(), k.namespace(), "app", "half ended", |pod| {
        observe::container(pod, Some("ends"))
            .and_then(|s| s.state.as_ref()?.terminated.as_ref())
            .is_some()
            && observe::container(pod, Some("stays")).is_some_and(|status| status.ready)
    });
    assert!(in_phase(&pod, "Running"));
    assert_eq!(k.ok("exec app -c stays -- echo alive"), "alive\n");
}

fn term_11_last_state_keeps_the_previous_end(k: &Kubectl<'_>) {
    k.ok_with("apply -f -", &pod("app", "sleep 1; exit 9").to_string());
    let pod = observe::pod(k.cluster(), k.namespace(), "app", "restarted", |pod| {
        observe::restarts(pod) == 1
    });
    let status = observe::container(&pod, None).unwrap();
    let ended = status.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (9, Some("Error")));
    assert!(ended.container_id.is_some() && ended.finished_at > ended.started_at);
}

fn term_12_phase_of_run_to_completion_pods(k: &Kubectl<'_>) {
    let spec = |a, b| json!({ "containers": [container("a", a), container("b", b)], "restartPolicy": "Never" });
    k.ok_with("apply -f -", &pod_of("good", spec("exit 0", "exit 0")).to_string());
    k.ok_with("apply -f -", &pod_of("bad", spec("exit 0", "exit 1")).to_string());
    observe::pod(k.cluster(), k.namespace(), "good", "Succeeded", |pod| in_phase(pod, "Succeeded"));
    observe::pod(k.cluster(), k.namespace(), "bad", "Failed", |pod| in_phase(pod, "Failed"));
    let table = k.ok("get pod good");
    assert!(table.contains("0/2 ") && table.contains("Completed"), "{table}");
}

fn pod_16_deleted_pod_leaves_nothing_on_the_node(k: &Kubectl<'_>) {
    k.ok_with(
        "apply -f -",
        &pod("app", "echo hello; trap 'exit 0' TERM; sleep 1000 & wait").to_string(),
    );
    k.ok("wait --for=condition=Ready pod/app --timeout=60s");
    let uid = k.value("pod app", ".metadata.uid");
    let node = k.cluster().node_names()[0].clone();
    let grep = |what: &str| {
        let command = format!("node shell {node} -- grep -c {uid} {what}");
        k.cluster().knarr(&command).stdout.trim().parse::<u32>().unwrap_or(0)
    };
    let logs = || {
        let output = k.cluster().knarr(&format!("node shell {node} -- ls /var/log/pods"));
        output.stdout.matches(&uid).count()
    };
    assert_eq!(logs(), 1, "logs are where nodes keep them");
    k.ok("delete pod app");
    assert_eq!(logs(), 0, "logs go with the pod");
    assert_eq!(grep("/proc/self/mountinfo"), 0, "mounts go with the pod");
}

fn pod_15_running_container_is_kept_running(k: &Kubectl<'_>) {
    k.ok_with("apply -f -", &pod("app", WAIT).to_string());
    k.ok("wait --for=condition=Ready pod/app --timeout=60s");
    k.ok("label pod app changed=yes");
    k.ok("annotate pod app changed=yes");
    assert_eq!(k.value("pod app", ".status.containerStatuses[0].restartCount"), "0");
    let refused = k.fails(r#"patch pod app --type=json -p '[{"op":"replace","path":"/spec/containers/0/command","value":["true"]}]'"#);
    assert!(refused.contains("pod updates may not change fields other than"), "{refused}");
}
