//! `kubectl logs`.

use serde_json::json;
use testkit::kubectl::Kubectl;
use testkit::observe::{self, in_phase};
use testkit::suite::Test;

use crate::manifests::{WAIT, container, once, pod, pod_of};

pub const TESTS: &[Test] = testkit::tests![
    every: [
        log_02_logs_has_both_streams,
        log_03_follow_goes_on_until_the_container_ends,
        log_04_timestamps_are_rfc3339_with_nanoseconds,
        log_05_tail_and_since_limit_what_is_shown,
        log_06_previous_shows_the_instance_before,
        log_09_container_is_chosen_by_name,
    ],
    once: [
        log_01_log_files_are_where_nodes_keep_them,
        log_07_log_of_a_restarted_container_is_new,
        log_large_output_is_whole,
        log_of_a_waiting_container_is_refused,
    ],
];

fn done(k: &Kubectl<'_>, name: &str, script: &str) {
    k.ok_with("apply -f -", &once(name, script).to_string());
    observe::pod(k.cluster(), k.namespace(), name, "done", |pod| in_phase(pod, "Succeeded"));
}

fn log_01_log_files_are_where_nodes_keep_them(k: &Kubectl<'_>) {
    done(k, "app", "echo out; echo err >&2; printf unfinished");
    let (uid, node) = (k.value("pod app", ".metadata.uid"), &k.cluster().node_names()[0]);
    let file = format!("/var/log/pods/{}_app_{uid}/main/0.log", k.namespace());
    let text = k.cluster().knarr(&format!("node shell {node} -- cat {file}")).ok();
    let fields: Vec<Vec<&str>> = text.lines().map(|line| line.splitn(4, ' ').collect()).collect();
    assert!(fields.iter().any(|f| f[1..] == ["stdout", "F", "out"]), "{text}");
    assert!(fields.iter().any(|f| f[1..] == ["stderr", "F", "err"]), "{text}");
    assert!(fields.iter().any(|f| f[1] == "stdout" && f[3] == "unfinished"), "{text}");
    let links = k.cluster().knarr(&format!("node shell {node} -- ls /var/log/containers")).ok();
    assert!(links.contains(&format!("app_{}_main-", k.namespace())), "{links}");
}

fn log_02_logs_has_both_streams(k: &Kubectl<'_>) {
    done(k, "app", "echo out; echo err >&2");
    let mut lines: Vec<String> = k.ok("logs app").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
    assert_eq!(k.ok("logs pod/app").lines().count(), 2);
    let missing = k.fails("logs nope");
    let wanted = "(NotFound): pods \"nope\" not found";
    assert!(missing.contains(wanted), "{missing}");
}

fn log_03_follow_goes_on_until_the_container_ends(k: &Kubectl<'_>) {
    let script = "echo one; trap 'echo last; exit 0' TERM; sleep 1000 & wait";
    k.ok_with("apply -f -", &once("app", script).to_string());
    k.ok("wait --for=condition=Ready pod/app --timeout=60s");
    let mut logs = k.start("logs -f app");
    logs.wait_for_text("one\n");
    k.ok("exec app -- sh -c 'echo two >/proc/1/fd/1'");
    logs.wait_for_text("two\n");
    // The command may be ended with its container.
    k.run("exec app -- kill -TERM 1");
    let (status, said) = logs.wait();
    assert!(status.success());
    assert_eq!(said, "one\ntwo\nlast\n");
}

fn log_04_timestamps_are_rfc3339_with_nanoseconds(k: &Kubectl<'_>) {
    done(k, "app", "echo hello");
    let text = k.ok("logs app --timestamps");
    let (time, rest) = text.split_once(' ').unwrap();
    assert_eq!(rest, "hello\n");
    assert!(
        time.len() > 20 && time.contains('T') && (time.ends_with('Z') || time.contains('+')),
        "{time}"
    );
    assert!(time.contains('.'), "{time}");
}

fn log_05_tail_and_since_limit_what_is_shown(k: &Kubectl<'_>) {
    done(k, "app", "for i in 1 2 3 4 5; do echo $i; done");
    assert_eq!(k.ok("logs app --tail=2"), "4\n5\n");
    assert_eq!(k.ok("logs app --tail 0"), "");
    assert_eq!(k.ok("logs app --tail=-1").lines().count(), 5);
    assert_eq!(k.ok("logs app --since=10m").lines().count(), 5);
    assert_eq!(k.ok("logs app --since-time=2020-02-01T09:50:00Z").lines().count(), 5);
    assert_eq!(k.ok("logs app --since-time=2099-02-01T09:50:00Z"), "");
    assert_eq!(k.ok("logs app --limit-bytes=3"), "1\n2");
}

fn log_06_previous_shows_the_instance_before(k: &Kubectl<'_>) {
    let script = "echo instance $(cat /proc/uptime | cut -d. -f1); exit 1";
    k.ok_with("apply -f -", &pod("app", script).to_string());
    observe::pod(k.cluster(), k.namespace(), "app", "restarted", |pod| {
        observe::restarts(pod) == 1 && observe::waiting_reason(pod) == Some("CrashLoopBackOff")
    });
    let (now, before) = (k.ok("logs app"), k.ok("logs app --previous"));
    assert_eq!(k.ok("logs app -p"), before);
    assert!(now.starts_with("instance ") && before.starts_with("instance "), "{now}{before}");
    done(k, "first", "true");
    let refused = k.fails("logs first --previous");
    let wanted = "Error from server (BadRequest): previous terminated container \"main\" in pod \"first\" not found\n";
    assert_eq!(refused, wanted);
}

fn log_07_log_of_a_restarted_container_is_new(k: &Kubectl<'_>) {
    k.ok_with("apply -f -", &pod("app", "echo line; exit 1").to_string());
    observe::pod(k.cluster(), k.namespace(), "app", "restarted", |pod| observe::restarts(pod) >= 1);
    assert_eq!(k.ok("logs app"), "line\n");
}

fn log_09_container_is_chosen_by_name(k: &Kubectl<'_>) {
    let spec = json!({ "containers": [container("one", &format!("echo from one; {WAIT}")), container("two", &format!("echo from two; {WAIT}"))] });
    k.ok_with("apply -f -", &pod_of("app", spec).to_string());
    k.ok("wait --for=condition=Ready pod/app --timeout=60s");
    assert_eq!(k.ok("logs app -c two"), "from two\n");
    assert_eq!(k.ok("logs app --container=one"), "from one\n");
    let all = k.ok("logs app --all-containers --prefix");
    assert!(
        all.contains("[pod/app/one] from one\n") && all.contains("[pod/app/two] from two\n"),
        "{all}"
    );
    let refused = k.fails("logs app -c nope");
    assert!(refused.contains("container nope is not valid for pod app"), "{refused}");
    let output = k.run("logs app");
    if k.is_old() {
        assert!(
            output.stderr.contains(
                "a container name must be specified for pod app, choose one of: [one two]"
            ),
            "{output}"
        );
    } else {
        assert_eq!(output.stdout, "from one\n");
        assert!(output.stderr.contains("Defaulted container \"one\" out of: one, two"), "{output}");
    }
    assert_eq!(k.ok("logs -l app=app -c one"), "from one\n");
}

fn log_large_output_is_whole(k: &Kubectl<'_>) {
    done(
        k,
        "app",
        "i=0; while [ $i -lt 20000 ]; do echo \"line $i of a log that is long enough\"; i=$((i+1)); done; head -c 100000 /dev/zero | tr '\\0' x; echo",
    );
    let text = k.ok("logs app");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 20001);
    for (n, line) in lines[..20000].iter().enumerate() {
        assert_eq!(*line, format!("line {n} of a log that is long enough"));
    }
    assert_eq!(lines[20000].len(), 100_000, "a long line is put together again");
}

fn log_of_a_waiting_container_is_refused(k: &Kubectl<'_>) {
    let mut app = pod("app", WAIT);
    app["spec"]["containers"][0]["image"] = "knarr.local/none:1.0".into();
    app["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    k.ok_with("apply -f -", &app.to_string());
    observe::pod(k.cluster(), k.namespace(), "app", "has no image", |pod| {
        observe::waiting_reason(pod) == Some("ErrImageNeverPull")
    });
    let refused = k.fails("logs app");
    let wanted = "Error from server (BadRequest): container \"main\" in pod \"app\" is waiting to start: ErrImageNeverPull\n";
    assert_eq!(refused, wanted);
}
