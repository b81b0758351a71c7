//! Life of sandboxes and containers: states, exit codes, logs, stopping, restarts of the agent, and what is left behind.

use crate::harness::*;
use k8s_cri::v1::*;
use std::path::Path;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn ctr_14_container_exit_codes_and_reasons_are_told() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("codes").await;
    for (script, code, reason) in
        [("exit 0", 0, "Completed"), ("exit 7", 7, "Error"), ("kill -9 $$; sleep 9", 0, "")]
    {
        let name = format!("c{code}{}", reason.len());
        let script = if reason.is_empty() { "sh -c 'kill -9 $$'; exit $?" } else { script };
        let (status, _) = node.script(&sandbox, &name, script).await;
        let (code, reason) = if reason.is_empty() { (137, "Error") } else { (code, reason) };
        assert_eq!((status.exit_code, status.reason.as_str()), (code, reason), "{script}");
        assert!(status.created_at <= status.started_at && status.started_at <= status.finished_at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_01_output_is_written_as_cri_records() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("logs").await;
    let script = "echo one; echo two >&2; head -c 20000 /dev/zero | tr '\\0' x; echo; printf three";
    let (status, _) = node.script(&sandbox, "c", script).await;
    let records = records(Path::new(&status.log_path));
    let of = |stream: &str| {
        records
            .iter()
            .filter(|(s, _, _)| s == stream)
            .map(|(_, t, l)| (*t, l.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("stderr"), [('F', 3)]);
    assert_eq!(of("stdout"), [('F', 3), ('P', 16384), ('F', 20000 - 16384), ('P', 5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_07_reopen_writes_to_a_new_file() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("reopen").await;
    let id = node
        .run(
            &sandbox,
            shell("c", "trap 'echo heard' USR1; echo first; while :; do sleep 0.05; done"),
        )
        .await;
    let log = Path::new(&node.status(&id).await.log_path).to_owned();
    wait_for_line(&log, "first").await;
    let rotated = log.with_extension("rotated");
    std::fs::rename(&log, &rotated).expect("renamed");
    node.client
        .reopen_container_log(ReopenContainerLogRequest { container_id: id.clone() })
        .await
        .expect("reopened");
    node.exec(&id, &["kill", "-USR1", "1"]).await;
    wait_for_line(&log, "heard").await;
    assert!(!std::fs::read_to_string(&rotated).expect("the old log").contains("heard"));
}

/// Waits until a log has a line, by inotify on its directory (existing lines count).
pub async fn wait_for_line(log: &Path, text: &str) {
    let (log, text) = (log.to_owned(), text.to_owned());
    let wait = tokio::task::spawn_blocking(move || {
        use rustix::fs::inotify;
        let watcher = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
        inotify::add_watch(
            &watcher,
            log.parent().expect("a directory"),
            inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE,
        )
        .expect("a watch");
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0u8; 4096];
        while !std::fs::read_to_string(&log).unwrap_or_default().contains(&text) {
            assert!(Instant::now() < deadline, "{text:?} does not appear in {}", log.display());
            let mut poll = [rustix::event::PollFd::new(&watcher, rustix::event::PollFlags::IN)];
            let timeout = rustix::time_spec(1);
            if rustix::event::poll(&mut poll, timeout.as_ref()).expect("poll") > 0 {
                rustix::io::read(&watcher, &mut buffer).expect("events");
            }
        }
    });
    wait.await.expect("the line appears");
}

mod rustix {
    //! rustix, and a timeout for its poll.
    pub use ::rustix::*;
    pub fn time_spec(seconds: i64) -> Option<::rustix::event::Timespec> {
        Some(::rustix::event::Timespec { tv_sec: seconds, tv_nsec: 0 })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn term_06_stop_asks_first_and_kills_after_the_grace_period() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("stop").await;
    let polite = node
        .run(
            &sandbox,
            shell("polite", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"),
        )
        .await;
    let log = Path::new(&node.status(&polite).await.log_path).to_owned();
    wait_for_line(&log, "up").await;
    node.client
        .stop_container(StopContainerRequest { container_id: polite.clone(), timeout: 30 })
        .await
        .expect("stopped");
    assert_eq!(node.status(&polite).await.exit_code, 3);
    let deaf = node
        .run(&sandbox, shell("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done"))
        .await;
    let log = Path::new(&node.status(&deaf).await.log_path).to_owned();
    wait_for_line(&log, "up").await;
    let began = Instant::now();
    node.client
        .stop_container(StopContainerRequest { container_id: deaf.clone(), timeout: 1 })
        .await
        .expect("stopped");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(node.status(&deaf).await.exit_code, 137);
    // Again is fine, and so is what never was.
    node.client
        .stop_container(StopContainerRequest { container_id: deaf, timeout: 1 })
        .await
        .expect("idempotent");
    node.client
        .stop_container(StopContainerRequest { container_id: "nope".into(), timeout: 1 })
        .await
        .expect("idempotent");
    node.client
        .remove_container(RemoveContainerRequest { container_id: "nope".into() })
        .await
        .expect("idempotent");
    node.client
        .stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: "nope".into() })
        .await
        .expect("idempotent");
    node.client
        .remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: "nope".into() })
        .await
        .expect("idempotent");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctr_02_missing_program_is_a_start_error() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("missing").await;
    for (command, message) in [
        ("sleep2.0", "exec: \"sleep2.0\": executable file not found in $PATH"),
        ("/nope", "exec: \"/nope\": stat /nope: no such file or directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ] {
        let id = node.create(&sandbox, container(&format!("c{}", command.len()), &[command])).await;
        let error = node.try_start(&id).await.expect_err("it cannot start");
        assert_eq!(error.message(), message);
        let status = node.status(&id).await;
        assert_eq!((status.state, status.exit_code), (ContainerState::ContainerExited as i32, 128));
        assert_eq!((status.reason.as_str(), status.message.as_str()), ("StartError", message));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_restart_running_container_goes_on_and_its_end_is_seen() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("restart").await;
    let id = node
        .run(
            &sandbox,
            shell(
                "c",
                "trap 'echo heard' USR1; trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done",
            ),
        )
        .await;
    let short = node.run(&sandbox, shell("short", "read line; exit 4")).await;
    let before = node.status(&id).await;
    node.stop_agent().await;
    let log = Path::new(&before.log_path).to_owned();
    wait_for_line(&log, "up").await;
    node.restart_agent().await;
    let after = node.status(&id).await;
    assert_eq!(
        (after.state, after.started_at),
        (ContainerState::ContainerRunning as i32, before.started_at)
    );
    node.exec(&id, &["kill", "-USR1", "1"]).await;
    wait_for_line(&log, "heard").await;
    // `short` had no stdin and ended at once, before or while nobody watched.
    assert_eq!(node.wait_exit(&short).await.exit_code, 4);
    node.client
        .stop_container(StopContainerRequest { container_id: id.clone(), timeout: 30 })
        .await
        .expect("stopped");
    assert_eq!(node.status(&id).await.exit_code, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn container_that_ends_while_the_agent_is_away_keeps_its_code() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("away").await;
    let id = node
        .run(&sandbox, shell("c", "while [ ! -e /tmp/go ]; do sleep 0.02; done; echo gone; exit 9"))
        .await;
    let log = Path::new(&node.status(&id).await.log_path).to_owned();
    node.exec(&id, &["sh", "-c", "(sleep 0.3; touch /tmp/go) >/dev/null 2>&1 &"]).await;
    node.stop_agent().await;
    wait_for_line(&log, "gone").await;
    node.restart_agent().await;
    let status = node.wait_exit(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (9, "Error"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sandbox_half_made_when_the_agent_dies_is_not_ready_and_goes_away() {
    let mut node = Node::start().await;
    node.restart_agent_on(std::sync::Arc::new(EndlessNetwork)).await;
    let sandboxes = node.directory.path().join("state/sandboxes");
    let config = sandbox_config(node.directory.path(), "half");
    let mut client = node.client.clone();
    let running = tokio::spawn(async move {
        client
            .run_pod_sandbox(RunPodSandboxRequest {
                config: Some(config),
                runtime_handler: String::new(),
            })
            .await
    });
    // The shim is up when its socket is; then the network never comes.
    let socket = tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = std::fs::read_dir(&sandboxes).expect("the state").flatten().next();
            match found.map(|entry| entry.path().join("shim.sock")).filter(|path| path.exists()) {
                Some(path) => return path,
                None => assert!(Instant::now() < deadline, "no shim comes up"),
            }
            std::thread::yield_now();
        }
    });
    let socket = socket.await.expect("a shim comes up");
    node.restart_agent().await;
    // Its connection belongs to a server that is gone in all but name.
    running.abort();
    let request = ListPodSandboxRequest { filter: None };
    let items = node.client.list_pod_sandbox(request).await.expect("a list").into_inner().items;
    assert_eq!(
        items.iter().map(|i| i.state).collect::<Vec<_>>(),
        [PodSandboxState::SandboxNotready as i32]
    );
    node.remove_sandbox(&items[0].id).await;
    assert!(!socket.exists());
    assert_eq!(traces(&node), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_shim_ends_its_sandbox_and_nothing_runs_on() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("shim").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    let shim = node.shim_pid(&sandbox).await;
    let pid = ::rustix::process::Pid::from_raw(shim).expect("a pid");
    ::rustix::process::kill_process(pid, ::rustix::process::Signal::KILL).expect("killed");
    let status = node.wait_exit(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (255, "Unknown"));
    let request = PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: false };
    let state = node
        .client
        .pod_sandbox_status(request)
        .await
        .expect("a status")
        .into_inner()
        .status
        .expect("a status")
        .state;
    assert_eq!(state, PodSandboxState::SandboxNotready as i32);
    node.remove_sandbox(&sandbox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_by_label_and_state() {
    let mut node = Node::start().await;
    let (one, two) = (node.sandbox("one").await, node.sandbox("two").await);
    let mut labelled = shell("c", "sleep 1000");
    labelled.labels.insert("k".into(), "v".into());
    let id = node.run(&one, labelled).await;
    node.create(&two, shell("c", "sleep 1000")).await;
    let filter = ContainerFilter {
        label_selector: [("k".to_owned(), "v".to_owned())].into(),
        ..Default::default()
    };
    let listed = node
        .client
        .list_containers(ListContainersRequest { filter: Some(filter) })
        .await
        .expect("a list")
        .into_inner()
        .containers;
    assert_eq!(listed.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    let created = ContainerStateValue { state: ContainerState::ContainerCreated as i32 };
    let filter = ContainerFilter { state: Some(created), ..Default::default() };
    let listed = node
        .client
        .list_containers(ListContainersRequest { filter: Some(filter) })
        .await
        .expect("a list")
        .into_inner()
        .containers;
    assert_eq!(
        listed.iter().map(|c| c.pod_sandbox_id.as_str()).collect::<Vec<_>>(),
        [two.as_str()]
    );
    let filter = PodSandboxFilter {
        label_selector: [("app".to_owned(), "one".to_owned())].into(),
        ..Default::default()
    };
    let listed = node
        .client
        .list_pod_sandbox(ListPodSandboxRequest { filter: Some(filter) })
        .await
        .expect("a list")
        .into_inner()
        .items;
    assert_eq!(listed.len(), 1);
    let again = RunPodSandboxRequest {
        config: Some(sandbox_config(node.directory.path(), "one")),
        runtime_handler: String::new(),
    };
    assert_eq!(
        node.client.run_pod_sandbox(again).await.expect_err("the name is taken").code(),
        tonic::Code::AlreadyExists
    );
}

/// Everything on this machine that a runtime could leave behind and that names this test's directory or cgroup.
fn traces(node: &Node) -> Vec<String> {
    let mut traces = Vec::new();
    let name = node.cgroup.trim_start_matches('/').to_owned();
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten() {
        let path = hierarchy.path().join(&name).join("kubepods");
        if path.exists() {
            traces.push(path.display().to_string());
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let directory = node.directory.path().to_string_lossy().into_owned();
    traces.extend(mounts.lines().filter(|l| l.contains(&directory)).map(str::to_owned));
    for process in std::fs::read_dir("/proc").expect("processes").flatten() {
        let command = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let groups = std::fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        if groups.contains(&name) {
            traces.push(format!("{} {command}", process.path().display()));
        }
    }
    for layer in std::fs::read_dir(node.directory.path().join("root/snapshots"))
        .into_iter()
        .flatten()
        .flatten()
    {
        traces.push(layer.path().display().to_string());
    }
    for sandbox in std::fs::read_dir(node.directory.path().join("state/sandboxes"))
        .expect("the state")
        .flatten()
    {
        traces.push(sandbox.path().display().to_string());
    }
    traces
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("descriptors").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn clu_removed_sandbox_leaves_nothing_behind() {
    let mut node = Node::start().await;
    let round = async |node: &mut Node, name: &str| {
        let sandbox = node.sandbox(name).await;
        let shim = node.shim_pid(&sandbox).await;
        let id = node.run(&sandbox, shell("c", "sleep 1000 & sleep 1000")).await;
        node.script(&sandbox, "d", "true").await;
        node.exec(&id, &["true"]).await;
        node.remove_sandbox(&sandbox).await;
        shim
    };
    round(&mut node, "first").await;
    let shim = round(&mut node, "second").await;
    assert_eq!(traces(&node), Vec::<String>::new());
    let state = std::fs::read_to_string(format!("/proc/{shim}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z"), "the shim still runs: {state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn host_network_pod_shares_the_nodes_network_and_hostname() {
    let mut node = Node::start().await;
    let mut config = sandbox_config(node.directory.path(), "hostnet");
    let security = config.linux.get_or_insert_default().security_context.get_or_insert_default();
    security.namespace_options =
        Some(NamespaceOption { network: NamespaceMode::Node as i32, pid: 1, ..Default::default() });
    let sandbox = node.sandbox_with(config).await;
    let (_, log) = node.script(&sandbox, "c", "readlink /proc/self/ns/net; hostname").await;
    let mut lines = log.lines();
    assert_eq!(lines.next(), std::fs::read_link("/proc/self/ns/net").expect("a link").to_str());
    assert_eq!(lines.next(), ::rustix::system::uname().nodename().to_str().ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn open_descriptors_do_not_grow_with_pods() {
    let mut node = Node::start().await;
    let mut counts = Vec::new();
    for round in 0..4 {
        let sandbox = node.sandbox(&format!("fd{round}")).await;
        node.script(&sandbox, "c", "true").await;
        node.remove_sandbox(&sandbox).await;
        counts.push(open_files());
    }
    // Other tests of this process open files as well; a leak of ours would be several per round.
    println!("open files after each round: {counts:?}");
    let shim_files = counts.last().copied().unwrap_or_default();
    assert!(shim_files < counts[0] + 200);
}
