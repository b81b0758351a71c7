//! What `kubectl` prints, word by word and column by column.

use testkit::kubectl::{Kubectl, cells, is_age};
use testkit::observe;
use testkit::suite::Test;

use crate::manifests::{self, HELLO};

pub const TESTS: &[Test] = testkit::tests![
    every: [
        out_01_nodes_have_their_columns,
        out_02_deployments_have_their_columns,
        out_03_pods_have_their_columns,
        out_04_services_have_their_columns,
        out_05_configmaps_and_secrets_have_their_columns,
        out_07_created_objects_are_named_with_their_group,
        out_09_deleted_objects_are_named,
        out_10_an_empty_list_says_so,
        out_11_describe_configmap,
        out_12_describe_secret_shows_sizes_only,
        out_13_describe_pod_shows_everything,
        out_20_yaml_keys_are_sorted,
        out_21_watch_prints_one_header_and_a_row_per_change,
        out_25_errors_have_their_prefixes,
        describe_deployment_shows_the_rollout,
        get_all_shows_every_kind_of_the_category,
    ],
    once: [],
];

/// Checks a table's header and returns its rows.
#[track_caller]
fn rows(table: &str, header: &[&str]) -> Vec<Vec<String>> {
    let mut rows = cells(table);
    assert!(!rows.is_empty(), "an empty table");
    assert_eq!(rows.remove(0), header, "{table}");
    rows
}

fn out_01_nodes_have_their_columns(k: &Kubectl<'_>) {
    let rows = rows(&k.ok("get nodes"), &["NAME", "STATUS", "ROLES", "AGE", "VERSION"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0][..3],
        [k.cluster().node_names()[0].clone(), "Ready".into(), "<none>".into()]
    );
    assert!(is_age(&rows[0][3]), "{rows:?}");
    assert!(rows[0][4].starts_with("v1.36."), "{rows:?}");
    let wide = cells(&k.ok("get nodes -o wide"));
    let more = ["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"];
    assert_eq!(wide[0][5..], more, "{wide:?}");
    assert_eq!(wide[1][6], "<none>", "{wide:?}");
}

fn out_02_deployments_have_their_columns(k: &Kubectl<'_>) {
    k.ok(&format!("create deployment kubia --image={HELLO} --replicas=2"));
    k.ok("wait --for=condition=Available deployment/kubia --timeout=60s");
    let header = ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"];
    let table = rows(&k.ok("get deployments"), &header);
    assert_eq!(table[0][..4], ["kubia", "2/2", "2", "2"]);
    let wide = cells(&k.ok("get deploy -o wide"));
    assert_eq!(wide[0][5..], ["CONTAINERS", "IMAGES", "SELECTOR"]);
    assert_eq!(wide[1][5..], ["hello", HELLO, "app=kubia"]);
    let header = ["NAME", "DESIRED", "CURRENT", "READY", "AGE"];
    let sets = rows(&k.ok("get rs"), &header);
    assert_eq!(sets[0][1..4], ["2", "2", "2"]);
    assert!(sets[0][0].starts_with("kubia-"), "{sets:?}");
}

fn out_03_pods_have_their_columns(k: &Kubectl<'_>) {
    k.ok(&format!("run kubia --image={HELLO}"));
    k.ok("wait --for=condition=Ready pod/kubia --timeout=60s");
    let header = ["NAME", "READY", "STATUS", "RESTARTS", "AGE"];
    let table = rows(&k.ok("get pods"), &header);
    assert_eq!(table[0][..4], ["kubia", "1/1", "Running", "0"]);
    assert!(is_age(&table[0][4]), "{table:?}");
    let wide = cells(&k.ok("get pods -o wide"));
    assert_eq!(wide[0][5..], ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]);
    let node = k.cluster().node_names()[0].clone();
    let ip = k.value("pod kubia", ".status.podIP");
    assert_eq!(wide[1][5..], [ip, node, "<none>".into(), "<none>".into()]);
}

fn out_04_services_have_their_columns(k: &Kubectl<'_>) {
    let header = ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"];
    k.ok("create service clusterip web --tcp=80:8080");
    let table = rows(&k.ok("get services"), &header);
    assert_eq!(table[0][..2], ["web", "ClusterIP"]);
    assert_eq!(table[0][3..5], ["<none>", "80/TCP"]);
}

fn out_05_configmaps_and_secrets_have_their_columns(k: &Kubectl<'_>) {
    k.ok("create configmap app-config --from-literal=a=1 --from-literal=b=2");
    k.ok("create secret generic app-secret --from-literal=a=1");
    let table = rows(&k.ok("get cm app-config"), &["NAME", "DATA", "AGE"]);
    assert_eq!(table[0][..2], ["app-config", "2"]);
    let table = rows(&k.ok("get secret app-secret"), &["NAME", "TYPE", "DATA", "AGE"]);
    assert_eq!(table[0][..3], ["app-secret", "Opaque", "1"]);
}

fn out_07_created_objects_are_named_with_their_group(k: &Kubectl<'_>) {
    assert_eq!(k.ok("create configmap app"), "configmap/app created\n");
    assert_eq!(k.ok(&format!("run kubia --image={HELLO}")), "pod/kubia created\n");
    let said = k.ok(&format!("create deployment kubia --image={HELLO} --replicas=0"));
    assert_eq!(said, "deployment.apps/kubia created\n");
    assert_eq!(k.ok("create serviceaccount robot"), "serviceaccount/robot created\n");
}

fn out_09_deleted_objects_are_named(k: &Kubectl<'_>) {
    k.ok("create configmap app");
    k.ok(&format!("create deployment kubia --image={HELLO} --replicas=0"));
    assert_eq!(k.ok("delete cm app"), "configmap \"app\" deleted\n");
    assert_eq!(k.ok("delete deploy kubia"), "deployment.apps \"kubia\" deleted\n");
}

fn out_10_an_empty_list_says_so(k: &Kubectl<'_>) {
    let output = k.run("get pods");
    assert_eq!(output.code, Some(0));
    assert_eq!(output.stdout, "");
    assert_eq!(output.stderr, format!("No resources found in {} namespace.\n", k.namespace()));
    let output = k.run("get pods --all-namespaces -l no=such");
    assert_eq!(output.stderr, "No resources found\n");
}

fn out_11_describe_configmap(k: &Kubectl<'_>) {
    k.ok("create configmap app-config --from-literal=APP_COLOR=blue --from-literal=APP_NAME=myapp");
    let text = k.ok("describe configmap app-config");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(lines[0], "Name:         app-config");
    assert_eq!(lines[1], format!("Namespace:    {}", k.namespace()));
    assert_eq!(lines[2], "Labels:       <none>");
    assert_eq!(lines[3], "Annotations:  <none>");
    assert_eq!(lines[4..7], ["", "Data", "===="]);
    // The client walks a map, in whatever order.
    let mut keys: Vec<&str> =
        lines.iter().copied().filter(|line| line.starts_with("APP_")).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["APP_COLOR:", "APP_NAME:"], "{text}");
    let color = lines.iter().position(|line| *line == "APP_COLOR:").unwrap();
    assert_eq!(lines[color..color + 3], ["APP_COLOR:", "----", "blue"]);
}

fn out_12_describe_secret_shows_sizes_only(k: &Kubectl<'_>) {
    k.ok("create secret generic app-secret --from-literal=DB_User=root --from-literal=DB_Host=mysql-host");
    let text = k.ok("describe secret app-secret");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert!(lines.contains(&"Type:  Opaque"), "{text}");
    let data = lines.iter().position(|line| *line == "Data").unwrap();
    assert_eq!(lines[data..data + 2], ["Data", "===="]);
    let mut keys = lines[data + 2..data + 4].to_vec();
    // The client walks a map, in whatever order.
    keys.sort_unstable();
    assert_eq!(keys, ["DB_Host:  10 bytes", "DB_User:  4 bytes"]);
    assert!(!text.contains("mysql-host"), "{text}");
}

fn out_13_describe_pod_shows_everything(k: &Kubectl<'_>) {
    k.ok(&format!("run kubia --image={HELLO} --port=8080"));
    k.ok("wait --for=condition=Ready pod/kubia --timeout=60s");
    observe::event(k.cluster(), k.namespace(), "kubia", "Started");
    let text = k.ok("describe pod kubia");
    let node = &k.cluster().node_names()[0];
    let wanted = [
        "Name:             kubia|Name:         kubia".to_string(),
        format!("Namespace:        {0}|Namespace:    {0}", k.namespace()),
        format!("Node:             {node}/10.41.|Node:         {node}/10.41."),
        "Status:           Running|Status:       Running".into(),
        "Labels:           run=kubia|Labels:       run=kubia".into(),
        "    Container ID:   ".into(),
        format!("    Image:          {HELLO}"),
        "    Image ID:       ".into(),
        "    Port:           8080/TCP".into(),
        "    Host Port:      0/TCP".into(),
        "    State:          Running".into(),
        "      Started:      ".into(),
        "    Ready:          True".into(),
        "    Restart Count:  0".into(),
        "    Environment:    <none>".into(),
    ];
    for part in wanted {
        assert!(part.split('|').any(|form| text.contains(form)), "{part} in\n{text}");
    }
    let class = text.lines().find_map(|line| line.strip_prefix("QoS Class:")).map(str::trim);
    assert_eq!(class, Some("BestEffort"));
    let conditions: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("Conditions:"))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        conditions,
        [
            "Type",
            "PodReadyToStartContainers",
            "Initialized",
            "Ready",
            "ContainersReady",
            "PodScheduled"
        ]
    );
    let events: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("Events:")).collect();
    let columns: Vec<&str> = events[1].split_whitespace().collect();
    assert_eq!(columns, ["Type", "Reason", "Age", "From", "Message"]);
    for part in [
        format!("default-scheduler  Successfully assigned {}/kubia to {node}", k.namespace()),
        format!("Container image \"{HELLO}\" already present on machine"),
        "Container created".into(),
        "Container started".into(),
    ] {
        assert!(events.iter().any(|line| line.contains(&part)), "{part} in\n{text}");
    }
}

fn out_20_yaml_keys_are_sorted(k: &Kubectl<'_>) {
    k.ok("create configmap app --from-literal=b=1 --from-literal=a=2");
    let text = k.ok("get cm app -o yaml");
    let keys: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with([' ', '-']))
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(keys, ["apiVersion", "data", "kind", "metadata"]);
    assert!(text.contains("data:\n  a: \"2\"\n  b: \"1\"\n"), "{text}");
    let time = text.lines().find(|line| line.contains("creationTimestamp")).unwrap();
    let time = time.trim().trim_start_matches("creationTimestamp: ");
    assert!(time.starts_with('"') && time.ends_with("Z\"") && time.len() == 22, "{time}");
}

fn out_21_watch_prints_one_header_and_a_row_per_change(k: &Kubectl<'_>) {
    let mut watch = k.start("get pods -w");
    let image = manifests::BUSYBOX;
    // Once this one is shown, the watch is under way and misses nothing.
    k.ok(&format!("run early --image={image} --restart=Never --overrides='{{\"spec\":{{\"nodeSelector\":{{\"no\":\"such\"}}}}}}'"));
    watch.wait_for_text("early");
    k.ok(&format!("run kubia --image={image} --restart=Never -- sleep 1"));
    watch.wait_for_text("Completed");
    let said = watch.said().to_owned();
    assert_eq!(said.matches("NAME ").count(), 1, "{said}");
    for word in ["Pending", "ContainerCreating", "Running", "Completed"] {
        assert!(said.contains(word), "{word} in\n{said}");
    }
}

fn out_25_errors_have_their_prefixes(k: &Kubectl<'_>) {
    let client = k.fails("get containers");
    assert_eq!(client, "error: the server doesn't have a resource type \"containers\"\n");
    let server = k.fails("get pods --field-selector=spec.nope=1");
    assert!(server.starts_with("Error from server (BadRequest): "), "{server}");
    assert!(server.contains("field label not supported: spec.nope"), "{server}");
    let mut pod = manifests::pod("app", "exit 0");
    pod["spec"]["containers"][0]["image"] = "".into();
    let invalid = k.fails_with("create -f -", &pod.to_string());
    let wanted = "The Pod \"app\" is invalid: spec.containers[0].image: Required value\n";
    assert_eq!(invalid, wanted);
}

fn describe_deployment_shows_the_rollout(k: &Kubectl<'_>) {
    k.ok(&format!("create deployment kubia --image={HELLO} --replicas=2"));
    k.ok("wait --for=condition=Available deployment/kubia --timeout=60s");
    observe::event(k.cluster(), k.namespace(), "kubia", "ScalingReplicaSet");
    let text = k.ok("describe deployment kubia");
    for part in [
        "Name:                   kubia",
        "Selector:               app=kubia",
        "Replicas:               2 desired | 2 updated | 2 total | 2 available | 0 unavailable",
        "StrategyType:           RollingUpdate",
        "RollingUpdateStrategy:  25% max unavailable, 25% max surge",
        "  Available      True    MinimumReplicasAvailable",
        "  Progressing    True    NewReplicaSetAvailable",
        "OldReplicaSets:  <none>",
        "NewReplicaSet:   kubia-",
        "(2/2 replicas created)",
        "deployment-controller  Scaled up replica set kubia-",
        "deployment.kubernetes.io/revision: 1",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

fn get_all_shows_every_kind_of_the_category(k: &Kubectl<'_>) {
    k.ok(&format!("create deployment kubia --image={HELLO}"));
    k.ok("wait --for=condition=Available deployment/kubia --timeout=60s");
    let text = k.ok("get all");
    for part in ["pod/kubia-", "deployment.apps/kubia ", "replicaset.apps/kubia-"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("event/"), "{text}");
}
