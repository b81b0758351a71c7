//! The verbs of `kubectl`.

use testkit::kubectl::Kubectl;
use testkit::observe::{self, in_phase};
use testkit::suite::Test;

use crate::manifests::{self, HELLO};

pub const TESTS: &[Test] = testkit::tests![
    every: [
        kctl_04_cluster_info_names_the_control_plane,
        kctl_06_get_takes_every_form_of_type_and_name,
        kctl_07_namespace_flag_selects_the_namespace,
        kctl_08_json_and_yaml_are_machine_readable,
        kctl_08_other_output_forms_work,
        kctl_09_watch_prints_changes_as_they_happen,
        kctl_10_create_deployment_makes_running_pods,
        kctl_12_scale_goes_up_down_and_to_zero,
        kctl_13_set_image_starts_a_rollout,
        kctl_15_apply_creates_configures_and_leaves_unchanged,
        kctl_15_apply_removes_what_left_the_manifest,
        kctl_16_files_and_directories_are_applied_together,
        kctl_19_create_refuses_what_exists,
        kctl_20_create_configmap_from_literals_and_files,
        kctl_21_create_secret_from_literals,
        kctl_24_delete_takes_names_selectors_files_and_all,
        kctl_26_delete_waits_unless_told_not_to,
        kctl_28_explain_shows_types_and_fields,
        kctl_30_unreachable_server_is_named,
        edit_changes_an_object_through_an_editor,
        label_and_annotate_add_change_and_remove,
        patch_takes_strategic_merge_and_json,
        replace_swaps_the_whole_object,
        version_shows_client_and_server,
        wait_sees_conditions_and_deletion,
    ],
    once: [
        kctl_22_run_makes_a_pod,
        kctl_23_dry_run_changes_nothing,
        kctl_27_grace_period_of_a_delete_is_kept,
        api_22_create_token_makes_one_that_the_server_believes,
        api_22_tokens_are_asked_for_and_verified_in_the_open,
        kctl_29_a_file_is_sent_object_by_object,
        cascade_orphan_leaves_the_dependents,
        wait_sees_json_paths,
    ],
];

fn kctl_04_cluster_info_names_the_control_plane(k: &Kubectl<'_>) {
    let text = k.ok("cluster-info");
    let text = text.replace("\x1b[0;32m", "").replace("\x1b[0;33m", "").replace("\x1b[0m", "");
    let name = "Kubernetes control plane";
    let url = k.cluster().access().url.to_string();
    let url = url.trim_end_matches('/');
    assert!(text.contains(&format!("{name} is running at {url}")), "{text}");
}

fn version_shows_client_and_server(k: &Kubectl<'_>) {
    let text = k.ok("version");
    let server = text.lines().find(|line| line.starts_with("Server Version")).unwrap_or_default();
    assert!(server.contains("v1.36"), "{text}");
    assert!(server.contains("knarr"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&k.ok("version -o json")).unwrap();
    assert_eq!(json["serverVersion"]["major"], "1");
    assert_eq!(json["serverVersion"]["minor"], "36");
    assert_eq!(json["serverVersion"]["platform"], "linux/amd64");
}

fn kctl_06_get_takes_every_form_of_type_and_name(k: &Kubectl<'_>) {
    k.ok("create configmap app-config --from-literal=a=b");
    k.ok("create deployment kubia --image=knarr.local/hello:1.0 --replicas=0");
    for form in [
        "cm app-config",
        "configmap app-config",
        "configmaps app-config",
        "cm/app-config",
        "configmap/app-config",
        "configmaps/app-config",
        "ConfigMap app-config",
    ] {
        assert_eq!(k.ok(&format!("get {form} -o name")), "configmap/app-config\n", "{form}");
    }
    for form in [
        "deploy kubia",
        "deployment kubia",
        "deployment/kubia",
        "deployments.apps kubia",
        "deployments.v1.apps kubia",
        "deployment.apps/kubia",
    ] {
        assert_eq!(k.ok(&format!("get {form} -o name")), "deployment.apps/kubia\n", "{form}");
    }
    let both = k.ok("get cm/app-config deploy/kubia -o name");
    assert_eq!(both, "configmap/app-config\ndeployment.apps/kubia\n");
    let several = k.ok("get deploy,cm app-config kubia -o name --ignore-not-found");
    assert!(several.contains("configmap/app-config") && several.contains("deployment.apps/kubia"));
    let missing = k.fails("get cm nope");
    assert_eq!(missing, "Error from server (NotFound): configmaps \"nope\" not found\n");
    let missing = k.fails("get deploy nope");
    assert_eq!(missing, "Error from server (NotFound): deployments.apps \"nope\" not found\n");
}

fn kctl_07_namespace_flag_selects_the_namespace(k: &Kubectl<'_>) {
    k.ok("create configmap here --from-literal=a=b");
    let elsewhere = k.within("kube-public");
    assert!(!elsewhere.names("cm").contains(&"here".to_owned()));
    let all = k.ok("get cm --all-namespaces -o name");
    assert!(all.contains("configmap/here"), "{all}");
    let table = k.ok("get cm -A");
    assert!(table.starts_with("NAMESPACE "), "{table}");
    let missing = elsewhere.within("no-such-namespace").fails("create configmap x");
    let text = "namespaces \"no-such-namespace\" not found";
    assert!(missing.contains(text), "{missing}");
}

fn kctl_08_json_and_yaml_are_machine_readable(k: &Kubectl<'_>) {
    k.ok("create configmap app --from-literal=color=blue");
    let json = k.json("cm app");
    assert_eq!(json["apiVersion"], "v1");
    assert_eq!(json["kind"], "ConfigMap");
    assert_eq!(json["data"]["color"], "blue");
    let list = k.json("cm");
    assert_eq!(list["kind"], "List");
    // What get prints can be applied again.
    k.shell("kubectl get cm app -o yaml > app.$NAMESPACE.yaml && kubectl replace -f app.$NAMESPACE.yaml")
        .ok();
}

fn kctl_08_other_output_forms_work(k: &Kubectl<'_>) {
    k.ok("create configmap app --from-literal=color=blue --from-literal=size=big");
    assert_eq!(k.ok("get cm app -o name"), "configmap/app\n");
    assert_eq!(k.ok("get cm app -o jsonpath='{.data.color}'"), "blue");
    assert_eq!(k.ok("get cm app -o go-template='{{.data.size}}'"), "big");
    let custom = k.ok("get cm app -o custom-columns=NAME:.metadata.name,COLOR:.data.color");
    let lines: Vec<&str> = custom.lines().map(str::trim_end).collect();
    assert_eq!(lines, ["NAME   COLOR", "app    blue"]);
    let bare = k.ok("get cm app --no-headers");
    assert!(bare.starts_with("app "), "{bare}");
    let labels = k.ok("get cm app --show-labels");
    assert!(labels.lines().next().unwrap().ends_with("LABELS"), "{labels}");
    assert!(labels.trim_end().ends_with("<none>"), "{labels}");
    k.ok("label cm app tier=front");
    let column = k.ok("get cm app -L tier");
    assert!(column.lines().next().unwrap().ends_with("TIER"), "{column}");
    assert!(column.trim_end().ends_with("front"), "{column}");
    let sorted = k.ok("get cm --sort-by=.metadata.name -o name");
    assert!(sorted.starts_with("configmap/app\n"), "{sorted}");
}

fn kctl_09_watch_prints_changes_as_they_happen(k: &Kubectl<'_>) {
    let mut watch = k.start("get cm -w -l watched=yes -o name");
    k.ok_with(
        "apply -f -",
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"first","labels":{"watched":"yes"}}}"#,
    );
    watch.wait_for_text("configmap/first");
    k.ok("create cm other");
    k.ok("label cm other watched=yes");
    watch.wait_for_text("configmap/other");
    k.ok("annotate cm first a=b");
    watch.wait_for("first twice", |said| said.matches("configmap/first").count() >= 2);
}

fn kctl_10_create_deployment_makes_running_pods(k: &Kubectl<'_>) {
    let said = k.ok(&format!("create deployment kubia --image={HELLO}"));
    assert_eq!(said, "deployment.apps/kubia created\n");
    let waited = k.ok("wait --for=condition=Available deployment/kubia --timeout=60s");
    assert_eq!(waited, "deployment.apps/kubia condition met\n");
    let pods = k.json("pods -l app=kubia");
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0]["status"]["phase"], "Running");
    let address = format!("{}:8080", pods[0]["status"]["podIP"].as_str().unwrap());
    let answer = k.cluster().http_get(address.parse().unwrap(), "/").unwrap();
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    assert_eq!(answer.status, 200);
    assert!(
        answer.text().starts_with(&format!("Hey there, this is {name}. Your IP is ")),
        "{answer:?}"
    );
}

fn kctl_12_scale_goes_up_down_and_to_zero(k: &Kubectl<'_>) {
    k.ok(&format!("create deployment kubia --image={HELLO}"));
    for replicas in [3, 1, 0, 2] {
        let said = k.ok(&format!("scale deployment kubia --replicas={replicas}"));
        assert_eq!(said, "deployment.apps/kubia scaled\n");
        k.ok("rollout status deployment/kubia --timeout=60s");
        observe::until(k.cluster(), k.namespace(), "as many pods", |pods| {
            let ready = pods.values().filter(|pod| observe::is_ready(pod)).count();
            (ready == replicas && pods.len() == replicas).then_some(())
        });
    }
    let refused = k.fails("scale deployment kubia --current-replicas=7 --replicas=1");
    assert!(refused.contains("Expected replicas to be 7, was 2"), "{refused}");
}

fn kctl_13_set_image_starts_a_rollout(k: &Kubectl<'_>) {
    k.ok(&format!("create deployment kubia --image={HELLO}"));
    k.ok("wait --for=condition=Available deployment/kubia --timeout=60s");
    let before = k.names("rs");
    let refused = k.fails("set image deployment/kubia nginx=nginx:1.7.1");
    assert_eq!(refused, "error: unable to find container named \"nginx\"\n");
    let said = k.ok("set image deployment/kubia hello=knarr.local/hello:none");
    assert_eq!(said, "deployment.apps/kubia image updated\n");
    let new = observe::until(k.cluster(), k.namespace(), "a second ReplicaSet", |sets| {
        let new = |name: &&String| !before.contains(name);
        sets.iter().find(|(name, _)| new(name)).map(|(_, set): (_, &ReplicaSet)| set.clone())
    });
    let spec = new.spec.unwrap().template.unwrap().spec.unwrap();
    assert_eq!(spec.containers[0].image.as_deref(), Some("knarr.local/hello:none"));
}

use k8s_openapi::api::apps::v1::ReplicaSet;

fn kctl_15_apply_creates_configures_and_leaves_unchanged(k: &Kubectl<'_>) {
    let manifest = |replicas| manifests::deployment("kubia", replicas).to_string();
    assert_eq!(k.ok_with("apply -f -", &manifest(1)), "deployment.apps/kubia created\n");
    assert_eq!(k.ok_with("apply -f -", &manifest(1)), "deployment.apps/kubia unchanged\n");
    assert_eq!(k.ok_with("apply -f -", &manifest(2)), "deployment.apps/kubia configured\n");
    assert_eq!(k.value("deploy kubia", ".spec.replicas"), "2");
    let last = k.ok_with("apply view-last-applied -f -", &manifest(2));
    assert!(last.contains("replicas: 2"), "{last}");
    let diff = k.run_with("diff -f -", &manifest(3));
    assert_eq!(diff.code, Some(1), "{diff}");
    assert!(
        diff.stdout.contains("-  replicas: 2") && diff.stdout.contains("+  replicas: 3"),
        "{diff}"
    );
}

fn kctl_15_apply_removes_what_left_the_manifest(k: &Kubectl<'_>) {
    let first = manifests::config_map("app", serde_json::json!({"stays": "1", "goes": "2"}));
    k.ok_with("apply -f -", &first.to_string());
    k.ok(r#"patch cm app --type=merge -p '{"data":{"foreign":"3"}}'"#);
    let second = manifests::config_map("app", serde_json::json!({"stays": "1"}));
    assert_eq!(k.ok_with("apply -f -", &second.to_string()), "configmap/app configured\n");
    let data = k.json("cm app")["data"].take();
    assert_eq!(data, serde_json::json!({"stays": "1", "foreign": "3"}));
}

fn kctl_16_files_and_directories_are_applied_together(k: &Kubectl<'_>) {
    let dir = k.cluster().scratch().join(k.namespace());
    std::fs::create_dir_all(dir.join("more")).unwrap();
    let map = |name: &str| manifests::config_map(name, serde_json::json!({"a": "b"})).to_string();
    std::fs::write(dir.join("a.json"), map("a")).unwrap();
    std::fs::write(dir.join("b.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n")
        .unwrap();
    std::fs::write(dir.join("notes.txt"), "not a manifest").unwrap();
    std::fs::write(dir.join("more/c.yml"), map("c")).unwrap();
    let dir = dir.display();
    let said = k.ok(&format!("apply -f {dir}/a.json,{dir}/b.yaml"));
    assert_eq!(said, "configmap/a created\nconfigmap/b created\n");
    assert_eq!(k.ok(&format!("apply -f {dir}")), "configmap/a unchanged\nconfigmap/b unchanged\n");
    let said = k.ok(&format!("apply -R -f {dir}"));
    assert!(said.contains("configmap/c created"), "{said}");
    let said = k.ok(&format!("delete -f {dir}/a.json,{dir}/b.yaml"));
    assert_eq!(said, "configmap \"a\" deleted\nconfigmap \"b\" deleted\n");
}

fn kctl_19_create_refuses_what_exists(k: &Kubectl<'_>) {
    let map = manifests::config_map("app", serde_json::json!({"a": "b"})).to_string();
    assert_eq!(k.ok_with("create -f -", &map), "configmap/app created\n");
    let refused = k.fails_with("create -f -", &map);
    let text = "Error from server (AlreadyExists): error when creating \"STDIN\": configmaps \"app\" already exists\n";
    assert_eq!(refused, text);
}

fn kctl_20_create_configmap_from_literals_and_files(k: &Kubectl<'_>) {
    let file = k.cluster().scratch().join(format!("{}.properties", k.namespace()));
    std::fs::write(&file, "color=blue\nsize=big\n").unwrap();
    let said = k.ok(
        "create configmap app-config --from-literal=APP_COLOR=blue --from-literal=APP_NAME=myapp",
    );
    assert_eq!(said, "configmap/app-config created\n");
    let file = file.display();
    k.ok(&format!("create configmap files --from-file={file} --from-file=other={file}"));
    let data = k.json("cm files")["data"].take();
    assert_eq!(data["other"], "color=blue\nsize=big\n");
    assert_eq!(data[format!("{}.properties", k.namespace())], "color=blue\nsize=big\n");
}

fn kctl_21_create_secret_from_literals(k: &Kubectl<'_>) {
    let said = k.ok(
        "create secret generic app-secret --from-literal=DB_Host=mysql --from-literal=DB_User=root",
    );
    assert_eq!(said, "secret/app-secret created\n");
    let secret = k.json("secret app-secret");
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret["data"], serde_json::json!({"DB_Host": "bXlzcWw=", "DB_User": "cm9vdA=="}));
}

fn kctl_24_delete_takes_names_selectors_files_and_all(k: &Kubectl<'_>) {
    for name in ["a", "b", "c", "d"] {
        k.ok(&format!("create configmap {name}"));
    }
    k.ok("label cm c doomed=yes");
    assert_eq!(k.ok("delete cm a b"), "configmap \"a\" deleted\nconfigmap \"b\" deleted\n");
    assert_eq!(k.ok("delete cm -l doomed=yes"), "configmap \"c\" deleted\n");
    let said = k.ok("delete cm --all");
    assert!(said.contains("configmap \"d\" deleted"), "{said}");
    let missing = k.fails("delete cm a");
    assert_eq!(missing, "Error from server (NotFound): configmaps \"a\" not found\n");
    assert_eq!(k.ok("delete cm a --ignore-not-found"), "");
    let without_type = k.fails("delete kubia-ssl");
    assert!(without_type.starts_with("error: "), "{without_type}");
}

fn kctl_26_delete_waits_unless_told_not_to(k: &Kubectl<'_>) {
    for name in ["waited-for", "left-alone"] {
        let mut pod = manifests::pod(name, "trap 'sleep 1; exit 0' TERM; sleep 1000 & wait; wait");
        pod["spec"]["terminationGracePeriodSeconds"] = 20.into();
        k.ok_with("apply -f -", &pod.to_string());
    }
    k.ok("wait --for=condition=Ready pod --all --timeout=60s");
    assert_eq!(k.ok("delete pod left-alone --wait=false"), "pod \"left-alone\" deleted\n");
    let status = k.ok("get pod left-alone --no-headers");
    assert!(status.contains("Terminating"), "{status}");
    assert_eq!(k.ok("delete pod waited-for"), "pod \"waited-for\" deleted\n");
    k.fails("get pod waited-for");
    observe::pod_gone(k.cluster(), k.namespace(), "left-alone");
}

fn kctl_27_grace_period_of_a_delete_is_kept(k: &Kubectl<'_>) {
    let mut pod = manifests::pod("stubborn", "trap '' TERM; while true; do sleep 1; done");
    pod["spec"]["terminationGracePeriodSeconds"] = 600.into();
    k.ok_with("apply -f -", &pod.to_string());
    k.ok("wait --for=condition=Ready pod/stubborn --timeout=60s");
    k.ok("delete pod stubborn --grace-period 1");
    // Without a grace period the object goes at once.
    k.ok_with("apply -f -", &pod.to_string());
    k.ok("wait --for=condition=Ready pod/stubborn --timeout=60s");
    let said = k.run("delete pod stubborn --grace-period=0 --force");
    assert!(said.stdout.contains("pod \"stubborn\" force deleted"), "{said}");
    assert!(said.stderr.contains("mmediate deletion does not wait for confirmation"), "{said}");
    k.fails("get pod stubborn");
}

fn kctl_28_explain_shows_types_and_fields(k: &Kubectl<'_>) {
    let text = k.ok("explain pod.spec");
    for part in
        ["KIND:", "VERSION:", "DESCRIPTION:", "FIELDS:", "containers", "restartPolicy", "<string>"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = k.ok("explain nodes");
    assert!(text.contains("Node") && text.contains("v1"), "{text}");
    let text = k.ok("explain deployment.spec.replicas");
    assert!(text.contains("replicas") && text.contains("<integer>"), "{text}");
    let text = k.ok("explain deployment --recursive");
    assert!(text.contains("maxSurge") && text.contains("imagePullPolicy"), "{text}");
    let text = k.ok("explain pod.spec.volumes");
    assert!(text.contains("hostPath") && text.contains("<[]"), "{text}");
    let text = k.ok("explain deployment --api-version=apps/v1");
    assert!(text.contains("apps"), "{text}");
    let missing = k.fails("explain pod.spec.nope");
    assert!(missing.contains("field \"nope\" does not exist"), "{missing}");
}

fn kctl_30_unreachable_server_is_named(k: &Kubectl<'_>) {
    let said = k.shell("KUBECONFIG=/dev/null \"$KUBECTL\" get pods").failed();
    let wanted = "The connection to the server localhost:8080 was refused - did you specify the right host or port?";
    assert!(said.contains(wanted), "{said}");
}

fn api_22_create_token_makes_one_that_the_server_believes(k: &Kubectl<'_>) {
    k.ok("create serviceaccount robot");
    let token = k.ok("create token robot --duration=10m");
    let url = k.cluster().access().url.to_string();
    let asked = format!(
        "KUBECONFIG=/dev/null \"$KUBECTL\" --server={url} --insecure-skip-tls-verify --token={} get pods",
        token.trim()
    );
    let user = format!("User \"system:serviceaccount:{}:robot\" cannot list", k.namespace());
    let said = k.shell(&asked).failed();
    assert!(said.contains("Forbidden") && said.contains(&user), "{said}");
    k.ok("delete serviceaccount robot");
    let said = k.shell(&asked).failed();
    assert!(said.contains("must be logged in to the server"), "{said}");
}

fn api_22_tokens_are_asked_for_and_verified_in_the_open(k: &Kubectl<'_>) {
    let short = k.run("create token default --duration=1m").failed();
    assert!(short.contains("may not specify a duration less than 10 minutes"), "{short}");
    k.ok("create secret generic s");
    let bound = "create token default --bound-object-kind=Secret --bound-object-name=s";
    let token = k.ok(&format!("{bound} --audience=vault"));
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    let gone = k.run(&format!("{bound} --bound-object-uid=other")).failed();
    assert!(gone.contains("does not match the UID in record"), "{gone}");
    let raw = |path: &str| -> serde_json::Value {
        serde_json::from_str(&k.ok(&format!("get --raw {path}"))).unwrap()
    };
    let config = raw("/.well-known/openid-configuration");
    assert_eq!(config["issuer"], "https://kubernetes.default.svc.cluster.local");
    let keys = raw("/openid/v1/jwks");
    assert_eq!(keys["keys"][0]["kty"], "RSA");
}

fn edit_changes_an_object_through_an_editor(k: &Kubectl<'_>) {
    k.ok("create configmap app --from-literal=color=blue");
    let edit = |expression: &str| {
        k.shell(&format!("KUBE_EDITOR='sed -i -e {expression}' kubectl edit configmap app"))
    };
    assert_eq!(edit("s/blue/green/").ok(), "configmap/app edited\n");
    assert_eq!(k.value("cm app", ".data.color"), "green");
    let unchanged = edit("s/nothing/else/");
    assert_eq!(unchanged.code, Some(0), "{unchanged}");
    let said = unchanged.stdout + &unchanged.stderr;
    assert!(said.contains("Edit cancelled, no changes made"), "{said}");
    k.ok("create deployment kubia --image=knarr.local/hello:1.0 --replicas=0");
    let edit = "KUBE_EDITOR='sed -i -e s/replicas:.0/replicas:\\ 1/' kubectl edit deployment/kubia";
    assert_eq!(k.shell(edit).ok(), "deployment.apps/kubia edited\n");
    assert_eq!(k.value("deploy kubia", ".spec.replicas"), "1");
}

fn label_and_annotate_add_change_and_remove(k: &Kubectl<'_>) {
    k.ok("create configmap app");
    assert_eq!(k.ok("label cm app tier=front"), "configmap/app labeled\n");
    let refused = k.fails("label cm app tier=back");
    assert!(refused.contains("already has a value (front), and --overwrite is false"), "{refused}");
    k.ok("label cm app tier=back --overwrite");
    assert_eq!(k.value("cm app", ".metadata.labels.tier"), "back");
    assert_eq!(k.names("cm -l tier=back"), ["app"]);
    assert_eq!(k.names("cm -l 'tier in (back,middle)'"), ["app"]);
    assert!(k.names("cm -l 'tier notin (back)'").iter().all(|name| name != "app"));
    assert!(k.names("cm -l '!tier'").iter().all(|name| name != "app"));
    k.ok("label cm app tier-");
    assert_eq!(k.value("cm app", ".metadata.labels"), "");
    assert_eq!(k.ok("annotate cm app note='two words'"), "configmap/app annotated\n");
    assert_eq!(k.value("cm app", ".metadata.annotations.note"), "two words");
    k.ok("annotate cm app note-");
    assert_eq!(k.value("cm app", ".metadata.annotations"), "");
    let refused = k.fails("label cm app 'bad key=x'");
    assert!(refused.starts_with("error: ") || refused.contains("Invalid"), "{refused}");
}

fn patch_takes_strategic_merge_and_json(k: &Kubectl<'_>) {
    let mut object = manifests::deployment("kubia", 0);
    object["spec"]["template"]["spec"]["containers"][0]["env"] =
        serde_json::json!([{"name": "A", "value": "1"}]);
    k.ok_with("apply -f -", &object.to_string());
    // Strategic: the list of env is merged by name.
    let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"hello","env":[{"name":"B","value":"2"}]}]}}}}"#;
    assert_eq!(
        k.ok(&format!("patch deploy kubia -p '{patch}'")),
        "deployment.apps/kubia patched\n"
    );
    let env = ".spec.template.spec.containers[0].env[*].name";
    assert_eq!(k.value("deploy kubia", env), "B A");
    assert_eq!(
        k.ok(&format!("patch deploy kubia -p '{patch}'")),
        "deployment.apps/kubia patched (no change)\n"
    );
    // Merge: the list is replaced.
    let patch = r#"{"metadata":{"labels":{"app":null,"new":"yes"}}}"#;
    k.ok(&format!("patch deploy kubia --type=merge -p '{patch}'"));
    assert_eq!(k.json("deploy kubia")["metadata"]["labels"], serde_json::json!({"new": "yes"}));
    // JSON: by position, with a test.
    let patch = r#"[{"op":"test","path":"/spec/replicas","value":0},{"op":"replace","path":"/spec/replicas","value":1}]"#;
    k.ok(&format!("patch deploy kubia --type=json -p '{patch}'"));
    let refused = k.fails(&format!("patch deploy kubia --type=json -p '{patch}'"));
    let words = [
        "the server rejected our request due to an error in our request",
        "The request is invalid",
    ];
    assert!(refused.contains(words[usize::from(k.is_old())]), "{refused}");
    assert_eq!(k.value("deploy kubia", ".spec.replicas"), "1");
}

fn replace_swaps_the_whole_object(k: &Kubectl<'_>) {
    k.ok_with(
        "create -f -",
        &manifests::config_map("app", serde_json::json!({"a": "1"})).to_string(),
    );
    let new = manifests::config_map("app", serde_json::json!({"b": "2"}));
    assert_eq!(k.ok_with("replace -f -", &new.to_string()), "configmap/app replaced\n");
    assert_eq!(k.json("cm app")["data"], serde_json::json!({"b": "2"}));
    let mut stale = new.clone();
    stale["metadata"]["resourceVersion"] = "1".into();
    let refused = k.fails_with("replace -f -", &stale.to_string());
    let wanted = "Operation cannot be fulfilled on configmaps \"app\": the object has been modified; please apply your changes to the latest version and try again";
    assert!(refused.contains("(Conflict)") && refused.contains(wanted), "{refused}");
    let said = k.ok_with("replace --force -f -", &new.to_string());
    assert!(said.contains("configmap/app replaced"), "{said}");
    let missing = manifests::config_map("nope", serde_json::json!({}));
    let refused = k.fails_with("replace -f -", &missing.to_string());
    assert!(refused.contains("(NotFound)"), "{refused}");
}

fn wait_sees_conditions_and_deletion(k: &Kubectl<'_>) {
    let slow = "trap 'sleep 3; exit 0' TERM; sleep 1000 & wait";
    let mut pod = manifests::pod("app", slow);
    pod["spec"]["terminationGracePeriodSeconds"] = 30.into();
    k.ok_with("apply -f -", &pod.to_string());
    let said = k.ok("wait --for=condition=Ready pod/app --timeout=60s");
    assert_eq!(said, "pod/app condition met\n");
    let late = k.run("wait --for=delete pod/app --timeout=1s");
    assert_eq!(late.code, Some(1), "{late}");
    assert!(late.stderr.contains("timed out waiting for the condition"), "{late}");
    k.ok("delete pod app --wait=false");
    k.ok("wait --for=delete pod/app --timeout=60s");
}

fn wait_sees_json_paths(k: &Kubectl<'_>) {
    k.ok_with("apply -f -", &manifests::once("app", "exit 0").to_string());
    let said = k.ok("wait --for=jsonpath='{.status.phase}'=Succeeded pod/app --timeout=60s");
    assert_eq!(said, "pod/app condition met\n");
}

fn kctl_22_run_makes_a_pod(k: &Kubectl<'_>) {
    let image = manifests::BUSYBOX;
    let said = k.ok(&format!("run client --image={image} --restart=Never -- echo hello"));
    assert_eq!(said, "pod/client created\n");
    observe::pod(k.cluster(), k.namespace(), "client", "done", |pod| in_phase(pod, "Succeeded"));
    assert_eq!(k.ok("logs client"), "hello\n");
}

fn kctl_23_dry_run_changes_nothing(k: &Kubectl<'_>) {
    let yaml = k.ok(&format!("run kubia --image={HELLO} --dry-run=client -o yaml"));
    assert!(yaml.contains("image: knarr.local/hello:1.0"), "{yaml}");
    let said = k.ok("create configmap app --dry-run=server");
    assert_eq!(said, "configmap/app created (server dry run)\n");
    k.fails("get cm app");
    k.ok("create configmap app");
    assert_eq!(
        k.ok("delete cm app --dry-run=server"),
        "configmap \"app\" deleted (server dry run)\n"
    );
    k.ok("get cm app");
}

fn kctl_29_a_file_is_sent_object_by_object(k: &Kubectl<'_>) {
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n");
    let file = format!("{}---\n{}---\n{}", map("good"), map("Bad_Name"), map("also-good"));
    let output = k.run_with("apply -f -", &file);
    assert_eq!(output.code, Some(1), "{output}");
    assert_eq!(output.stdout, "configmap/good created\nconfigmap/also-good created\n");
    assert!(
        output
            .stderr
            .contains("The ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value"),
        "{output}"
    );
}

fn cascade_orphan_leaves_the_dependents(k: &Kubectl<'_>) {
    k.ok(&format!("create deployment kubia --image={HELLO}"));
    k.ok("wait --for=condition=Available deployment/kubia --timeout=60s");
    k.ok("delete deployment kubia --cascade=orphan");
    let set = observe::until(k.cluster(), k.namespace(), "an orphan", |sets| {
        sets.values().find(|set: &&ReplicaSet| set.metadata.owner_references.is_none()).cloned()
    });
    assert_eq!(k.names("pods").len(), 1);
    let name = set.metadata.name.unwrap();
    k.ok(&format!("delete rs {name} --cascade=foreground"));
    assert_eq!(k.ok("get pods -o name"), "", "a foreground delete waits for the dependents");
}
