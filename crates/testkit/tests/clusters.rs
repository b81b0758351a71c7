//! Bringing clusters up and down: `up`, `status`, `down`, `node shell`, several nodes, several clusters, wrong starts.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use testkit::cluster::{Options, Role, TestCluster};
use testkit::kubectl::Version;
use testkit::leftovers;
use testkit::observe::{self, Objects};

fn version() -> Version {
    Version::available()[0]
}

#[test]
fn clu_03_up_starts_a_cluster_and_down_leaves_nothing() {
    let mut cluster = TestCluster::prepare(Options::default());
    let missing = cluster.knarr("status").failed();
    assert!(missing.starts_with("error: there is no cluster "), "{missing}");
    let up = cluster.up();
    assert_eq!(up.code, Some(0), "{up}");
    for step in ["control plane", "node ", "nodes ready", "is up after"] {
        assert!(up.stderr.contains(step), "{step} in {up}");
    }
    let k = cluster.kubectl(version());
    assert_eq!(k.ok("config current-context").trim(), format!("knarr-{}", cluster.name()));
    k.ok("create deployment kubia --image=knarr.local/hello:1.0 --replicas=2");
    k.ok("wait --for=condition=Available deployment/kubia --timeout=60s");
    assert!(!leftovers::cgroups(cluster.name()).is_empty(), "the check for leftovers sees cgroups");
    assert!(leftovers::processes(cluster.name(), cluster.netns()).len() >= 4, "and processes");
    // Down with pods still running.
    cluster.finish().unwrap();
    let config = std::fs::read_to_string(cluster.kubeconfig()).unwrap_or_default();
    assert!(!config.contains(cluster.name()), "{config}");
    let again = cluster.knarr("down").ok();
    assert!(again.contains("there is no cluster"), "{again}");
}

#[test]
fn clu_05_status_shows_what_runs() {
    let cluster = TestCluster::start(Options::default());
    let node = cluster.node_names().remove(0);
    let status = cluster.knarr("status").ok();
    let wanted = format!(
        "host: Running\nkubelet: Running\napiserver: Running\nkubeconfig: Configured\n{node}: Ready\n"
    );
    assert_eq!(status, wanted);
    cluster.kill_9(&Role::Agent(node.clone()));
    let output = cluster.knarr("status");
    assert_eq!(output.code, Some(1));
    assert!(output.stdout.contains("kubelet: Stopped\napiserver: Running\n"), "{output}");
    cluster.kill_9(&Role::Server);
    let output = cluster.knarr("status");
    assert!(output.stdout.contains("apiserver: Stopped\n"), "{output}");
    assert!(output.stdout.contains(&format!("{node}: Unknown\n")), "{output}");
}

#[test]
fn clu_03_second_up_changes_nothing() {
    let cluster = TestCluster::start(Options::default());
    let before: BTreeSet<String> =
        leftovers::processes(cluster.name(), cluster.netns()).into_iter().collect();
    let again = cluster.up();
    assert_eq!(again.code, Some(0), "{again}");
    assert!(again.stdout.contains("is already running"), "{again}");
    let after = leftovers::processes(cluster.name(), cluster.netns()).into_iter().collect();
    assert_eq!(before, after);
    let other = cluster.knarr("up --nodes 2 --no-uplink").failed();
    assert!(other.starts_with("error: ") && other.contains("--nodes 1"), "{other}");
}

#[test]
fn clu_03_down_keeps_data_when_asked() {
    let cluster = TestCluster::start(Options::default());
    let k = cluster.kubectl(version());
    k.ok("create configmap kept --from-literal=a=b");
    k.ok("create deployment kubia --image=knarr.local/hello:1.0");
    k.ok("wait --for=condition=Available deployment/kubia --timeout=60s");
    let uid = k.value("cm kept", ".metadata.uid");
    cluster.knarr("down --keep-data").ok();
    let left = cluster.leftovers();
    let data_only =
        left.iter().all(|what| what.starts_with("directory /tmp/") || what.contains("/data"));
    assert!(data_only, "{left:?}");
    cluster.up().ok();
    assert_eq!(k.value("cm kept", ".metadata.uid"), uid);
    // The pod's containers are gone with the node; the kubelet starts them again.
    observe::until(&cluster, "default", "a ready pod", |pods: &Objects<Pod>| {
        (pods.len() == 1 && pods.values().all(observe::is_ready)).then_some(())
    });
}

#[test]
fn clu_09_three_nodes_are_ready_and_run_pods() {
    let cluster = TestCluster::start(Options { nodes: 3, ..Options::default() });
    let k = cluster.kubectl(version());
    assert_eq!(k.names("nodes"), cluster.node_names());
    assert_eq!(k.ok("get nodes --no-headers").matches(" Ready ").count(), 3);
    let ranges: BTreeSet<String> = cluster
        .node_names()
        .iter()
        .map(|node| k.value(&format!("node {node}"), ".spec.podCIDR"))
        .collect();
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    k.ok("create deployment kubia --image=knarr.local/hello:1.0 --replicas=6");
    k.ok("wait --for=condition=Available deployment/kubia --timeout=90s");
    let pods = k.json("pods");
    let pods = pods["items"].as_array().unwrap();
    let nodes: BTreeSet<&str> =
        pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
    assert_eq!(nodes.len(), 3, "replicas are spread");
    for pod in pods {
        let address = format!("{}:8080", pod["status"]["podIP"].as_str().unwrap()).parse().unwrap();
        let answer = cluster.http_get(address, "/").unwrap();
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert!(answer.text().contains(name), "{answer:?}");
        assert!(k.ok(&format!("logs {name}")).lines().count() >= 1);
    }
    // Each node is its own network and mount namespace.
    let inside = |node: &str, what: &str| {
        cluster.knarr(&format!("node shell {node} -- readlink /proc/self/ns/{what}")).ok()
    };
    for what in ["net", "mnt"] {
        let all: BTreeSet<String> =
            cluster.node_names().iter().map(|node| inside(node, what)).collect();
        assert_eq!(all.len(), 3, "{what}");
    }
}

#[test]
fn clu_10_clusters_live_side_by_side() {
    let first = TestCluster::start(Options::default());
    let second = TestCluster::start(Options::default());
    first.kubectl(version()).ok("create configmap only-here");
    second.kubectl(version()).fails("get configmap only-here");
    drop(second);
    first.kubectl(version()).ok("get configmap only-here");
}

#[test]
fn clu_03_wrong_starts_say_the_way_out() {
    let cluster = TestCluster::start(Options::default());
    let data = cluster.data_dir().join("server").display().to_string();
    let one_line = |output: testkit::command::Output, part: &str| {
        let said = output.failed();
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(part), "{part} in {said}");
    };
    let scratch = cluster.scratch().join("other").display().to_string();
    one_line(
        cluster.binary(&["server", "--data-dir", &data, "--port", "7443"]),
        "another server uses",
    );
    one_line(
        cluster.binary(&[
            "server",
            "--data-dir",
            &scratch,
            "--bind-address",
            "127.0.0.1",
            "--port",
            "6443",
        ]),
        "port 6443 is taken; choose another with --port",
    );
    one_line(
        cluster.binary(&["server", "--data-dir", &scratch, "--log-level", "a=b=c"]),
        "--log-level",
    );
    let agent = |token: &str| {
        let url = cluster.access().url.to_string();
        let url = url.trim_end_matches('/');
        let run_dir = format!("{scratch}-run");
        let args = [
            "agent",
            "--server",
            url,
            "--token",
            token,
            "--node-name",
            "x",
            "--node-ip",
            "127.0.0.1",
            "--data-dir",
            &scratch,
            "--run-dir",
            &run_dir,
        ];
        cluster.binary(&args)
    };
    one_line(agent("nonsense"), "token");
    let token = std::fs::read_to_string(cluster.data_dir().join("server/token")).unwrap();
    let forged: String =
        token.trim().chars().rev().map(|c| if c == '0' { '1' } else { c }).rev().collect();
    let forged = format!("{}x", &forged[..forged.len() - 1]);
    one_line(agent(&forged), "token");
    let unprivileged = ["--reuid=65534", "--clear-groups", "--"];
    let mut command = cluster.command("setpriv");
    command.args(unprivileged).arg(testkit::cluster::built_binary()).arg("up");
    let output = testkit::command::run(command, "knarr up as nobody", b"");
    let said = output.clone().failed();
    assert!(said.contains("root") || said.contains("ermission denied"), "{output}");
}

#[test]
fn clu_03_failed_first_start_is_undone() {
    let mut cluster = TestCluster::prepare(Options::default());
    // Something that is no directory is where the server keeps its state.
    std::fs::create_dir_all(cluster.data_dir()).unwrap();
    std::fs::write(cluster.data_dir().join("server"), "in the way").unwrap();
    let said = cluster.knarr("up --no-uplink").failed();
    assert!(said.lines().last().unwrap_or_default().starts_with("error: "), "{said}");
    let left = cluster.leftovers();
    assert!(left.iter().all(|what| what.starts_with("directory /tmp")), "{left:?}");
    cluster.finish().unwrap_or_else(|problem| panic!("{problem}"));
}

#[test]
fn clu_01_server_and_agent_run_by_themselves() {
    let mut cluster = TestCluster::prepare(Options::default());
    let (data, node) = (cluster.scratch().join("server"), cluster.scratch().join("node"));
    let binary = testkit::cluster::built_binary();
    let mut server = cluster.command(&binary);
    server
        .args(["server", "--bind-address", "127.0.0.1", "--name", cluster.name(), "--data-dir"])
        .arg(&data);
    let mut server = testkit::command::Running::start(server, "knarr server");
    server.wait_for_text("serving");
    let token = std::fs::read_to_string(data.join("token")).unwrap();
    let run_dir = std::path::Path::new("/run/knarr").join(cluster.name());
    let mut agent = cluster.command("unshare");
    agent
        .args(["--mount"])
        .arg(&binary)
        .args([
            "agent",
            "--server",
            "https://127.0.0.1:6443",
            "--token",
            token.trim(),
            "--no-uplink",
        ])
        .args(["--node-name", "alone", "--node-ip", "127.0.0.1"])
        .args(["--cgroup", &format!("/knarr/{}", cluster.name()), "--data-dir"])
        .arg(&node)
        .arg("--log-dir")
        .arg(cluster.scratch().join("log"))
        .arg("--run-dir")
        .arg(&run_dir);
    let mut agent = testkit::command::Running::start(agent, "knarr agent");
    agent.wait_for_text("node started");
    std::fs::copy(data.join("admin.kubeconfig"), cluster.kubeconfig()).unwrap();
    let k = cluster.kubectl(version());
    k.ok("wait --for=condition=Ready node/alone --timeout=60s");
    let nodes = json!(["alone"]);
    assert_eq!(json!(k.names("nodes")), nodes);
    // A clean stop on SIGTERM.
    for mut process in [agent, server] {
        process.terminate();
        let (status, said) = process.wait();
        assert_eq!(status.code(), Some(0), "{said}");
    }
    // An operator's agent leaves its pod network, cgroup and sockets for its next start.
    cluster.accept_network();
    let _ = std::fs::remove_dir_all(run_dir);
    for cgroup in leftovers::cgroups(cluster.name()) {
        std::fs::remove_dir(cgroup).unwrap();
    }
}
