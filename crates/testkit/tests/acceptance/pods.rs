//! Pods: isolation, sharing, environment, status.

use serde_json::json;
use testkit::kubectl::Kubectl;
use testkit::observe::{self, in_phase};
use testkit::suite::Test;

use crate::manifests::{
    self, BUSYBOX, ENTRYPOINT, HELLO, USER, WAIT, container, once, pod, pod_of,
};

pub const TESTS: &[Test] = testkit::tests![
    every: [],
    once: [
        pod_01_minimal_manifest_runs,
        pod_03_processes_and_network_of_other_pods_are_invisible,
        pod_04_two_containers_share_localhost,
        pod_05_hostname_is_the_name_of_the_pod,
        pod_08_pod_is_reachable_from_its_node_and_other_pods,
        pod_10_source_address_is_that_of_the_asking_pod,
        pod_11_phases_follow_the_containers,
        pod_12_conditions_are_all_true_when_ready,
        pod_13_status_has_addresses_times_and_class,
        pod_14_container_states_tell_times_and_codes,
        pod_20_container_names_must_be_unique,
        ctr_01_command_and_args_override_the_image,
        ctr_02_missing_executable_is_told,
        ctr_12_main_process_is_pid_1_and_cannot_be_killed_from_inside,
        ctr_14_stdin_is_closed_unless_asked_for,
        ctr_16_root_filesystem_is_new_after_a_restart,
        ctr_17_only_default_capabilities_are_granted,
        ctr_19_environment_keeps_dots_and_expands_references,
        image_config_gives_user_directory_and_environment,
        security_context_sets_user_and_read_only_root,
        resources_become_limits_of_the_cgroup,
        fields_of_later_issues_are_refused_with_an_event,
        host_network_and_hostname_are_honoured,
    ],
];

fn ready(k: &Kubectl<'_>, pod: &serde_json::Value) {
    k.ok_with("apply -f -", &pod.to_string());
    k.ok(&format!(
        "wait --for=condition=Ready pod/{} --timeout=60s",
        pod["metadata"]["name"].as_str().unwrap()
    ));
}

/// Runs a pod to its end and returns what it said.
fn output(k: &Kubectl<'_>, pod: &serde_json::Value) -> String {
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    k.ok_with("apply -f -", &pod.to_string());
    observe::pod(k.cluster(), k.namespace(), &name, "has ended", |pod| {
        in_phase(pod, "Succeeded") || in_phase(pod, "Failed")
    });
    k.ok(&format!("logs {name}"))
}

fn pod_01_minimal_manifest_runs(k: &Kubectl<'_>) {
    let yaml = format!(
        "apiVersion: v1\nkind: Pod # comment\nmetadata:\n  name: kubia\nspec:\n  containers:\n  - name: kubia\n    image: {HELLO}\n    ports:\n    - containerPort: 8080\n"
    );
    assert_eq!(k.ok_with("apply -f -", &yaml), "pod/kubia created\n");
    k.ok("wait --for=condition=Ready pod/kubia --timeout=60s");
    let pod = k.json("pod kubia");
    assert_eq!(pod["spec"]["restartPolicy"], "Always");
    assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
    assert_eq!(pod["spec"]["nodeName"], k.cluster().node_names()[0]);
}

fn pod_03_processes_and_network_of_other_pods_are_invisible(k: &Kubectl<'_>) {
    ready(k, &pod("other", "trap 'exit 0' TERM; sleep 98765 & wait"));
    ready(k, &pod("app", WAIT));
    let ps = k.ok("exec app -- ps");
    assert!(!ps.contains("98765"), "{ps}");
    let links = k.ok("exec app -- ip -o link");
    let names: Vec<&str> = links.lines().filter_map(|l| l.split(": ").nth(1)).collect();
    let names: Vec<&str> = names.iter().map(|n| n.split('@').next().unwrap()).collect();
    assert!(names.contains(&"lo") && names.contains(&"eth0"), "{links}");
    assert!(
        !names.iter().any(|name| name.starts_with("veth") || name.starts_with("kn")),
        "{links}"
    );
}

fn pod_04_two_containers_share_localhost(k: &Kubectl<'_>) {
    let spec = json!({ "containers": [
        { "name": "web", "image": HELLO },
        container("client", WAIT),
    ]});
    ready(k, &pod_of("app", spec));
    let text = k.ok("exec app -c client -- wget -qO- http://localhost:8080/");
    assert!(text.starts_with("Hey there, this is app."), "{text}");
    let taken = json!({ "containers": [
        { "name": "web", "image": HELLO }, { "name": "second", "image": HELLO },
    ]});
    k.ok_with("apply -f -", &pod_of("taken", taken).to_string());
    observe::pod(k.cluster(), k.namespace(), "taken", "fails to bind twice", |pod| {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        statuses.into_iter().flatten().any(|status| status.restart_count > 0)
    });
}

fn pod_05_hostname_is_the_name_of_the_pod(k: &Kubectl<'_>) {
    let spec = json!({ "containers": [container("one", WAIT), container("two", WAIT)] });
    ready(k, &pod_of("app", spec));
    for name in ["one", "two"] {
        assert_eq!(k.ok(&format!("exec app -c {name} -- hostname")), "app\n");
        let hosts = k.ok(&format!("exec app -c {name} -- cat /etc/hosts"));
        let ip = k.value("pod app", ".status.podIP");
        assert!(hosts.contains(&format!("{ip}\tapp")), "{hosts}");
    }
}

fn pod_08_pod_is_reachable_from_its_node_and_other_pods(k: &Kubectl<'_>) {
    k.ok(&format!("run kubia --image={HELLO}"));
    k.ok("wait --for=condition=Ready pod/kubia --timeout=60s");
    let ip = k.value("pod kubia", ".status.podIP");
    let answer = k.cluster().http_get(format!("{ip}:8080").parse().unwrap(), "/").unwrap();
    assert_eq!(answer.status, 200);
    ready(k, &pod("client", WAIT));
    let text = k.ok(&format!("exec client -- wget -qO- http://{ip}:8080/"));
    assert!(text.starts_with("Hey there, this is kubia."), "{text}");
}

fn pod_10_source_address_is_that_of_the_asking_pod(k: &Kubectl<'_>) {
    k.ok(&format!("run kubia --image={HELLO}"));
    ready(k, &pod("client", WAIT));
    k.ok("wait --for=condition=Ready pod/kubia --timeout=60s");
    let (ip, own) = (k.value("pod kubia", ".status.podIP"), k.value("pod client", ".status.podIP"));
    let text = k.ok(&format!("exec client -- wget -qO- http://{ip}:8080/"));
    assert!(text.contains(&format!("Your IP is {own}.")), "{text}");
}

fn pod_11_phases_follow_the_containers(k: &Kubectl<'_>) {
    for (name, script, phase) in [("good", "exit 0", "Succeeded"), ("bad", "exit 3", "Failed")] {
        k.ok_with("apply -f -", &once(name, script).to_string());
        observe::pod(k.cluster(), k.namespace(), name, phase, |pod| in_phase(pod, phase));
    }
    let table = k.ok("get pods");
    assert!(table.contains("Completed") && table.contains("Error"), "{table}");
    let mut nowhere = pod("nowhere", WAIT);
    nowhere["spec"]["nodeSelector"] = json!({"no": "such"});
    k.ok_with("apply -f -", &nowhere.to_string());
    observe::event(k.cluster(), k.namespace(), "nowhere", "FailedScheduling");
    assert_eq!(k.value("pod nowhere", ".status.phase"), "Pending");
}

fn pod_12_conditions_are_all_true_when_ready(k: &Kubectl<'_>) {
    ready(k, &pod("app", WAIT));
    let status = k.json("pod app")["status"].take();
    for wanted in
        ["PodScheduled", "Initialized", "ContainersReady", "Ready", "PodReadyToStartContainers"]
    {
        let found = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == wanted);
        let found = found.unwrap_or_else(|| panic!("{wanted} in {}", status["conditions"]));
        assert_eq!(found["status"], "True", "{wanted}");
        assert!(found["lastTransitionTime"].is_string() && found["lastProbeTime"].is_null());
    }
}

fn pod_13_status_has_addresses_times_and_class(k: &Kubectl<'_>) {
    let mut app = pod("app", WAIT);
    app["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "100m", "memory": "64Mi"}, "requests": {"cpu": "50m"}});
    ready(k, &app);
    let pod = k.json("pod app");
    let status = &pod["status"];
    assert_eq!(status["qosClass"], "Burstable");
    assert_eq!(status["phase"], "Running");
    assert!(status["startTime"].is_string());
    assert_eq!(status["hostIPs"][0]["ip"], status["hostIP"]);
    assert_eq!(status["podIPs"][0]["ip"], status["podIP"]);
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["memory"], "64Mi");
}

fn pod_14_container_states_tell_times_and_codes(k: &Kubectl<'_>) {
    k.ok_with("apply -f -", &once("app", "exit 3").to_string());
    let pod =
        observe::pod(k.cluster(), k.namespace(), "app", "failed", |pod| in_phase(pod, "Failed"));
    let status = observe::container(&pod, None).unwrap();
    let ended = status.state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (3, Some("Error")));
    assert!(ended.started_at.is_some() && ended.finished_at >= ended.started_at);
    assert_eq!(status.image, BUSYBOX);
    assert!(status.image_id.contains("sha256:"), "{}", status.image_id);
    assert!(status.container_id.as_deref().unwrap_or_default().contains("://"));
    assert!(!status.ready && status.started == Some(false));
}

fn pod_20_container_names_must_be_unique(k: &Kubectl<'_>) {
    let spec = json!({ "containers": [container("same", WAIT), container("same", WAIT)] });
    let said = k.fails_with("create -f -", &pod_of("app", spec).to_string());
    let wanted = "The Pod \"app\" is invalid: spec.containers[1].name: Duplicate value: \"same\"\n";
    assert_eq!(said, wanted);
}

fn ctr_01_command_and_args_override_the_image(k: &Kubectl<'_>) {
    let table = [
        ("neither", json!({}), "entrypoint cmd\n"),
        ("args", json!({"args": ["mine"]}), "entrypoint mine\n"),
        ("command", json!({"command": ["/bin/echo", "own"]}), "own\n"),
        (
            "both",
            json!({"command": ["/bin/echo", "own"], "args": ["and", "args"]}),
            "own and args\n",
        ),
        (
            "array",
            json!({"command": ["sh", "-c"], "args": ["echo $0 $HOME; echo two"]}),
            "sh /root\ntwo\n",
        ),
    ];
    for (name, fields, wanted) in table {
        let mut container = json!({ "name": "main", "image": ENTRYPOINT });
        container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let pod = pod_of(name, json!({ "containers": [container], "restartPolicy": "Never" }));
        assert_eq!(output(k, &pod), wanted, "{name}");
    }
}

fn ctr_02_missing_executable_is_told(k: &Kubectl<'_>) {
    let mut app = once("app", "");
    app["spec"]["containers"][0]["command"] = json!(["sleep2.0"]);
    k.ok_with("apply -f -", &app.to_string());
    let pod =
        observe::pod(k.cluster(), k.namespace(), "app", "failed", |pod| in_phase(pod, "Failed"));
    let state = observe::container(&pod, None).unwrap().state.as_ref().unwrap();
    let ended = state.terminated.as_ref().unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (128, Some("StartError")));
    let event = observe::event(k.cluster(), k.namespace(), "app", "Failed");
    let message = event.message.unwrap_or_default();
    assert!(message.starts_with("Error: ") && message.contains("sleep2.0"), "{message}");
}

fn ctr_12_main_process_is_pid_1_and_cannot_be_killed_from_inside(k: &Kubectl<'_>) {
    ready(k, &pod("app", WAIT));
    let ps = k.ok("exec app -- ps -o pid,args");
    let first = ps.lines().nth(1).unwrap_or_default();
    assert!(first.trim().starts_with("1 /bin/sh -c"), "{ps}");
    k.ok("exec app -- kill -KILL 1");
    assert_eq!(k.ok("exec app -- echo alive"), "alive\n");
    assert_eq!(k.value("pod app", ".status.containerStatuses[0].restartCount"), "0");
}

fn ctr_14_stdin_is_closed_unless_asked_for(k: &Kubectl<'_>) {
    assert_eq!(output(k, &once("none", "read x || echo end of input")), "end of input\n");
    let mut open = once("open", "read -t 2 x; echo status $?");
    open["spec"]["containers"][0]["stdin"] = true.into();
    let said = output(k, &open);
    assert!(said.starts_with("status ") && said != "status 0\n", "{said}");
}

fn ctr_16_root_filesystem_is_new_after_a_restart(k: &Kubectl<'_>) {
    let script = "test -e /marker && echo found || echo new; touch /marker; exit 1";
    k.ok_with("apply -f -", &pod("app", script).to_string());
    observe::pod(k.cluster(), k.namespace(), "app", "restarted", |pod| observe::restarts(pod) >= 1);
    assert_eq!(k.ok("logs app --tail=1"), "new\n");
    assert_eq!(k.ok("logs app --previous"), "new\n");
}

fn ctr_17_only_default_capabilities_are_granted(k: &Kubectl<'_>) {
    let script = "grep CapEff /proc/self/status; ip link add d type dummy 2>/dev/null && echo added; mount -t tmpfs t /tmp 2>/dev/null && echo mounted; true";
    let said = output(k, &once("plain", script));
    assert_eq!(said, "CapEff:\t00000000a80425fb\n");
    let mut less = once("less", "grep CapEff /proc/self/status");
    less["spec"]["containers"][0]["securityContext"] =
        json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}});
    assert_eq!(output(k, &less), "CapEff:\t0000000000000400\n");
}

fn ctr_19_environment_keeps_dots_and_expands_references(k: &Kubectl<'_>) {
    // Not through a shell, which drops names with dots.
    let mut app = once("app", "");
    app["spec"]["containers"][0]["command"] = json!(["/bin/env"]);
    app["spec"]["containers"][0]["env"] = json!([
        {"name": "discovery.type", "value": "single-node"},
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)2"},
        {"name": "C", "value": "$$(A) $(NOPE)"},
    ]);
    let wanted = "A=1\nB=12\nC=$(A) $(NOPE)\nHOSTNAME=app\ndiscovery.type=single-node\n";
    let said = output(k, &app);
    let known = ["A", "B", "C", "HOSTNAME", "discovery.type"];
    let ours = |line: &&str| line.split('=').next().is_some_and(|name| known.contains(&name));
    let mut lines: Vec<&str> = said.lines().filter(ours).collect();
    lines.sort_unstable();
    assert_eq!(lines.join("\n") + "\n", wanted);
}

fn image_config_gives_user_directory_and_environment(k: &Kubectl<'_>) {
    let mut app = once("app", "id -u; id -g; pwd; echo $FROM_IMAGE; touch /tmp/x && echo writable");
    app["spec"]["containers"][0]["image"] = USER.into();
    assert_eq!(output(k, &app), "1000\n1000\n/tmp\nyes\nwritable\n");
}

fn security_context_sets_user_and_read_only_root(k: &Kubectl<'_>) {
    let mut app = once(
        "app",
        "id -u; id -G; touch /x 2>/dev/null || echo read-only; grep NoNewPrivs /proc/self/status",
    );
    app["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 1234, "runAsGroup": 99, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false});
    app["spec"]["securityContext"] = json!({"supplementalGroups": [77]});
    assert_eq!(output(k, &app), "1234\n99 77\nread-only\nNoNewPrivs:\t1\n");
    let mut root = once("root", "echo ran");
    root["spec"]["securityContext"] = json!({"runAsNonRoot": true});
    k.ok_with("apply -f -", &root.to_string());
    observe::pod(k.cluster(), k.namespace(), "root", "refused", |pod| {
        observe::waiting_reason(pod) == Some("CreateContainerConfigError")
    });
}

fn resources_become_limits_of_the_cgroup(k: &Kubectl<'_>) {
    let mut app = pod("app", WAIT);
    app["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "500m", "memory": "64Mi"}});
    ready(k, &app);
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
    assert_eq!(k.ok(&format!("exec app -- sh -c '{script}'")), "67108864\n");
    let mut hungry = once("hungry", "dd if=/dev/zero of=/dev/null bs=200M count=1; echo survived");
    hungry["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "32Mi"}});
    hungry["spec"]["containers"][0]["command"] =
        json!(["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]);
    k.ok_with("apply -f -", &hungry.to_string());
    let pod =
        observe::pod(k.cluster(), k.namespace(), "hungry", "failed", |pod| in_phase(pod, "Failed"));
    let state = observe::container(&pod, None).unwrap().state.as_ref().unwrap();
    let ended = state.terminated.as_ref().unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (137, Some("OOMKilled")));
    let mut huge = pod_of("huge", json!({"containers": [container("main", WAIT)]}));
    huge["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1000"}});
    k.ok_with("apply -f -", &huge.to_string());
    let event = observe::event(k.cluster(), k.namespace(), "huge", "FailedScheduling");
    let message = event.message.unwrap_or_default();
    assert!(message.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{message}");
}

fn fields_of_later_issues_are_refused_with_an_event(k: &Kubectl<'_>) {
    let mut app = pod("app", WAIT);
    app["spec"]["containers"][0]["livenessProbe"] = json!({"exec": {"command": ["true"]}});
    k.ok_with("apply -f -", &app.to_string());
    let pod = observe::pod(k.cluster(), k.namespace(), "app", "refused", |pod| {
        in_phase(pod, "Failed")
            || observe::waiting_reason(pod).is_some_and(|r| r != "ContainerCreating")
    });
    let events = k.ok("get events --field-selector type=Warning -o custom-columns=M:.message");
    assert!(events.contains("livenessProbe"), "{events}\n{pod:?}");
}

fn host_network_and_hostname_are_honoured(k: &Kubectl<'_>) {
    let mut app = pod("named", WAIT);
    app["spec"]["hostname"] = "chosen".into();
    ready(k, &app);
    assert_eq!(k.ok("exec named -- hostname"), "chosen\n");
    let mut host = pod("host", WAIT);
    host["spec"]["hostNetwork"] = true.into();
    ready(k, &host);
    assert_eq!(k.value("pod host", ".status.podIP"), k.value("pod host", ".status.hostIP"));
    let _ = manifests::BUSYBOX;
}
