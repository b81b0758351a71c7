//! `kubectl exec`.

use serde_json::json;
use testkit::kubectl::Kubectl;
use testkit::suite::Test;

use crate::manifests::{WAIT, container, pod, pod_of};

pub const TESTS: &[Test] = testkit::tests![
    every: [
        exec_01_command_runs_beside_the_main_process,
        exec_03_terminal_is_a_terminal,
        exec_05_container_is_chosen_by_name,
        exec_07_output_and_exit_code_come_back,
        exec_07_standard_input_is_passed_to_its_end,
        exec_07_megabytes_pass_in_both_directions,
    ],
    once: [
        exec_02_loopback_is_that_of_the_pod,
        exec_04_missing_dashes_are_an_error_of_newer_clients,
        exec_many_at_once_keep_apart,
        exec_missing_command_is_told,
    ],
];

fn app(k: &Kubectl<'_>) {
    k.ok_with("apply -f -", &pod("app", WAIT).to_string());
    k.ok("wait --for=condition=Ready pod/app --timeout=60s");
}

fn exec_01_command_runs_beside_the_main_process(k: &Kubectl<'_>) {
    app(k);
    let text = k.ok("exec app -- ps -o pid,args");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].trim().starts_with("1 /bin/sh -c"), "{text}");
    assert!(lines.last().unwrap().trim().ends_with("ps -o pid,args"), "{text}");
}

fn exec_02_loopback_is_that_of_the_pod(k: &Kubectl<'_>) {
    let spec = json!({ "containers": [
        { "name": "web", "image": crate::manifests::HELLO }, container("shell", WAIT),
    ]});
    k.ok_with("apply -f -", &pod_of("app", spec).to_string());
    k.ok("wait --for=condition=Ready pod/app --timeout=60s");
    let text = k.ok("exec app -c shell -- wget -qO- http://127.0.0.1:8080");
    assert!(text.contains("Your IP is 127.0.0.1."), "{text}");
}

fn exec_03_terminal_is_a_terminal(k: &Kubectl<'_>) {
    app(k);
    let mut shell = k.start_on_terminal("exec -it app -- sh");
    shell.wait_for_text("# ");
    shell.type_in("tty; stty size; echo pid $$ of $(hostname)\n");
    shell.wait_for_text("/dev/pts/");
    shell.wait_for_text("of app");
    shell.type_in("exit 5\n");
    let (status, said) = shell.wait();
    assert_eq!(status.code(), Some(5), "{said}");
}

fn exec_04_missing_dashes_are_an_error_of_newer_clients(k: &Kubectl<'_>) {
    app(k);
    let output = k.run("exec app echo hello");
    // 1.32 warns and accepts; 1.36 refuses. Both are the client's own decision.
    assert!(output.stdout == "hello\n" || output.code != Some(0), "{output}");
}

fn exec_05_container_is_chosen_by_name(k: &Kubectl<'_>) {
    let spec = json!({ "containers": [
        container("one", &format!("touch /one; {WAIT}")), container("two", &format!("touch /two; {WAIT}")),
    ]});
    k.ok_with("apply -f -", &pod_of("app", spec).to_string());
    k.ok("wait --for=condition=Ready pod/app --timeout=60s");
    assert_eq!(k.ok("exec app -c two -- ls /two"), "/two\n");
    let output = k.run("exec app -- ls /one");
    assert_eq!(output.stdout, "/one\n", "{output}");
    let said = if k.is_old() {
        "Defaulting container name to one."
    } else {
        "Defaulted container \"one\" out of: one, two"
    };
    assert!(output.stderr.contains(said), "{output}");
    let refused = k.fails("exec app -c nope -- true");
    assert!(
        refused.contains("container nope is not valid for pod app")
            || refused.contains("container not found"),
        "{refused}"
    );
}

fn exec_07_output_and_exit_code_come_back(k: &Kubectl<'_>) {
    app(k);
    let output = k.run("exec app -- sh -c 'echo out; echo err >&2; exit 7'");
    assert_eq!(output.code, Some(7), "{output}");
    assert_eq!(output.stdout, "out\n");
    assert!(output.stderr.starts_with("err\n"), "{output}");
    assert!(output.stderr.contains("command terminated with exit code 7"), "{output}");
    let killed = k.run("exec app -- sh -c 'kill -KILL $$'");
    assert_eq!(killed.code, Some(137), "{killed}");
    let missing = k.fails("exec nope -- true");
    assert!(missing.contains("(NotFound): pods \"nope\" not found"), "{missing}");
}

fn exec_07_standard_input_is_passed_to_its_end(k: &Kubectl<'_>) {
    app(k);
    assert_eq!(k.ok_with("exec -i app -- cat", "hello\nworld\n"), "hello\nworld\n");
    assert_eq!(k.ok_with("exec -i app -- sh -c 'cat >/dev/null; echo end'", ""), "end\n");
    let counted = k.ok_with("exec -i app -- wc -c", &"x".repeat(100_000));
    assert_eq!(counted.trim(), "100000");
}

fn exec_07_megabytes_pass_in_both_directions(k: &Kubectl<'_>) {
    app(k);
    let script = "head -c 8000000 /dev/urandom >big.$NAMESPACE && md5sum <big.$NAMESPACE && kubectl exec -i app -- tee /tmp/big <big.$NAMESPACE | md5sum && kubectl exec app -- md5sum /tmp/big";
    let text = k.shell(script).ok();
    let sums: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(sums.len(), 3, "{text}");
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{text}");
}

fn exec_many_at_once_keep_apart(k: &Kubectl<'_>) {
    app(k);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn(move || (n, k.ok(&format!("exec app -- sh -c 'sleep 0.2; echo {n}'"))))
            })
            .collect();
        for one in all {
            let (n, said) = one.join().unwrap();
            assert_eq!(said, format!("{n}\n"));
        }
    });
}

fn exec_missing_command_is_told(k: &Kubectl<'_>) {
    app(k);
    let output = k.run("exec app -- no-such-command");
    assert_ne!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("no-such-command"), "{output}");
    assert_eq!(k.ok("exec app -- echo alive"), "alive\n");
}
