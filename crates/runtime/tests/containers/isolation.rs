//! What a container can see and do: identity, capabilities, filters, files, devices, namespaces.

use crate::harness::*;
use k8s_cri::v1::*;
use std::collections::BTreeMap;

/// The lines `Key: value` of a status file.
fn status_lines(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|l| l.split_once(':'))
        .map(|(k, v)| (k.to_owned(), v.trim().to_owned()))
        .collect()
}

const STATUS: &str = "cat /proc/self/status";
/// containerd's default capabilities as bits.
const DEFAULT_CAPABILITIES: &str = "00000000a80425fb";

#[tokio::test(flavor = "multi_thread")]
async fn container_default_identity_capabilities_and_filter() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("default").await;
    let id = node.run(&sandbox, shell("c", &format!("{STATUS}; sleep 1000"))).await;
    let log = std::path::Path::new(&node.status(&id).await.log_path).to_owned();
    crate::lifecycle::wait_for_line(&log, "nonvoluntary_ctxt_switches").await;
    let status = node.status(&id).await;
    let in_container = node.log_text(&status);
    let in_exec = String::from_utf8(node.exec(&id, &["cat", "/proc/self/status"]).await.stdout)
        .expect("text");
    for text in [in_container, in_exec] {
        let status = status_lines(&text);
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(status[set], DEFAULT_CAPABILITIES, "{set}");
        }
        // CVE-2022-29162: nothing may be inheritable.
        assert_eq!(
            (status["CapInh"].as_str(), status["CapAmb"].as_str()),
            ("0000000000000000", "0000000000000000")
        );
        assert_eq!((status["Seccomp"].as_str(), status["NoNewPrivs"].as_str()), ("2", "0"));
        assert_eq!(status["Uid"], "0\t0\t0\t0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn container_security_context_is_applied() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("context").await;
    let config =
        secured(shell("c", &format!("{STATUS}; touch /x 2>&1; touch /tmp/y 2>&1; id")), |s| {
            s.run_as_user = Some(Int64Value { value: 1000 });
            s.supplemental_groups = vec![77];
            s.no_new_privs = true;
            s.readonly_rootfs = true;
            s.capabilities =
                Some(Capability { drop_capabilities: vec!["ALL".into()], ..Default::default() });
            s.seccomp = Some(SecurityProfile { profile_type: 1, ..Default::default() });
        });
    let (status, log) = node.script_with(&sandbox, config).await;
    let lines = status_lines(&log);
    assert_eq!(
        (lines["CapBnd"].as_str(), lines["CapEff"].as_str()),
        ("0000000000000000", "0000000000000000")
    );
    assert_eq!((lines["Seccomp"].as_str(), lines["NoNewPrivs"].as_str()), ("0", "1"));
    assert!(
        log.contains("touch: /x: Read-only file system")
            && log.contains("touch: /tmp/y: Read-only file system"),
        "{log}"
    );
    assert!(log.contains("uid=1000(app) gid=1000(app) groups=50(extra),77,1000(app)"), "{log}");
    let user = status.user.and_then(|u| u.linux).expect("a user");
    assert_eq!((user.uid, user.gid, user.supplemental_groups), (1000, 1000, vec![1000, 50, 77]));
}

#[tokio::test(flavor = "multi_thread")]
async fn container_cannot_reach_what_is_hidden_or_read_only() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("hidden").await;
    let script = "exec 2>&1; wc -c < /proc/keys; ls /sys/firmware | wc -l
        echo 1 > /proc/sys/kernel/panic; [ ! -e /proc/sysrq-trigger ] || echo h > /proc/sysrq-trigger
        for f in /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/memory/memory.limit_in_bytes; do
          [ -e $f ] && echo 1 2>/dev/null > $f && echo wrote $f; done
        touch /sys/x; mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk; unshare -n true; mount -t tmpfs none /tmp
        head -c 4 /dev/zero | wc -c; echo x > /dev/full; ls -1 /proc/self/fd | wc -l; echo end";
    let (_, log) = node.script(&sandbox, "c", script).await;
    assert!(log.starts_with("0\n0\n"), "{log}");
    for refused in [
        "can't create /proc/sys/kernel/panic: Read-only file system",
        "touch: /sys/x:",
        "head: /tmp/disk: Operation not permitted",
        "unshare: unshare(0x40000000): Operation not permitted",
        "mount: permission denied",
        "write error: No space left on device",
    ] {
        assert!(log.contains(refused), "{refused}\n{log}");
    }
    assert!(!log.contains("wrote"), "{log}");
    // 0, 1, 2 and the directory that ls reads: nothing of ours leaks (CVE-2024-21626).
    assert!(log.ends_with("4\nend\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_namespaces_are_shared_and_private_as_they_should() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("shared").await;
    let script = "for n in net ipc uts pid mnt cgroup; do readlink /proc/self/ns/$n; done; echo pid $$; ip link show lo | head -1";
    // The first one stays, so that its namespaces' numbers are not given to the second.
    let first = node
        .run(
            &sandbox,
            shell(
                "one",
                &format!("{script}; hostname; echo from-one > /dev/shm/x; echo end; sleep 1000"),
            ),
        )
        .await;
    let status = node.status(&first).await;
    crate::lifecycle::wait_for_line(std::path::Path::new(&status.log_path), "end").await;
    let one = node.log_text(&status);
    let (_, two) = node.script(&sandbox, "two", &format!("{script}; cat /dev/shm/x")).await;
    let (one, two): (Vec<_>, Vec<_>) = (one.lines().collect(), two.lines().collect());
    for (index, kind, shared) in
        [(0, "net", true), (1, "ipc", true), (2, "uts", true), (3, "pid", false), (4, "mnt", false)]
    {
        assert_eq!(one[index] == two[index], shared, "{kind}");
        let of_node = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a link");
        assert_ne!(one[index], of_node.to_string_lossy(), "{kind} is not the node's");
    }
    assert_eq!(one[6], "pid 1");
    assert!(one[7].contains("LOOPBACK,UP"), "{one:?}");
    assert_eq!((one[8], two[8]), ("shared", "from-one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pid_namespace_modes_share_as_asked() {
    let mut node = Node::start().await;
    let pid_mode = |config: ContainerConfig, mode: NamespaceMode, target: &str| {
        secured(config, |s| {
            s.namespace_options = Some(NamespaceOption {
                pid: mode as i32,
                target_id: target.into(),
                ..Default::default()
            });
        })
    };
    let mut config = sandbox_config(node.directory.path(), "pids");
    let options = NamespaceOption { pid: NamespaceMode::Pod as i32, ..Default::default() };
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
        .namespace_options = Some(options);
    let sandbox = node.sandbox_with(config).await;
    let first = node
        .run(&sandbox, pid_mode(container("first", &["sleep", "1234"]), NamespaceMode::Pod, ""))
        .await;
    let look = "ps -o args; echo pid $$";
    let (_, shared) =
        node.script_with(&sandbox, pid_mode(shell("second", look), NamespaceMode::Pod, "")).await;
    assert!(shared.contains("sleep 1234") && !shared.contains("pid 1\n"), "{shared}");
    let (_, targeted) = node
        .script_with(&sandbox, pid_mode(shell("third", look), NamespaceMode::Target, &first))
        .await;
    assert!(targeted.contains("sleep 1234"), "{targeted}");
    let (_, own) = node
        .script_with(&sandbox, pid_mode(shell("fourth", look), NamespaceMode::Container, ""))
        .await;
    assert!(!own.contains("sleep 1234") && own.contains("pid 1\n"), "{own}");
    let (_, of_node) = node
        .script_with(
            &sandbox,
            pid_mode(shell("fifth", "readlink /proc/self/ns/pid"), NamespaceMode::Node, ""),
        )
        .await;
    assert_eq!(
        of_node.trim(),
        std::fs::read_link("/proc/self/ns/pid").expect("a link").to_string_lossy()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn host_pid_container_leaves_no_process_behind() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("hostpid").await;
    let config = secured(shell("c", "sleep 4321 & echo child $!; exit 0"), |s| {
        s.namespace_options =
            Some(NamespaceOption { pid: NamespaceMode::Node as i32, ..Default::default() });
    });
    let (_, log) = node.script_with(&sandbox, config).await;
    let child: i32 = log.trim().strip_prefix("child ").and_then(|n| n.parse().ok()).expect("a pid");
    wait_for_end(child);
}

/// Waits for the end of a process that has been killed.
fn wait_for_end(pid: i32) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
        return;
    };
    let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).expect("poll");
    assert_eq!(ready, 1, "the process runs on");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_mounted_as_asked() {
    let mut node = Node::start().await;
    let volume = node.directory.path().join("volume");
    std::fs::create_dir_all(volume.join("sub")).expect("directories");
    std::fs::write(volume.join("file"), "content\n").expect("a file");
    let mount = |to: &str, change: &dyn Fn(&mut Mount)| {
        let mut mount = Mount {
            container_path: to.into(),
            host_path: volume.to_string_lossy().into_owned(),
            ..Default::default()
        };
        change(&mut mount);
        mount
    };
    let mounts = vec![
        mount("/data", &|_| {}),
        mount("/read/only", &|m| m.readonly = true),
        mount("/etc/one-file", &|m| m.host_path += "/file"),
    ];
    let sandbox = node.sandbox("volumes").await;
    let script = "exec 2>&1; cat /etc/one-file; echo new > /data/made; cat /read/only/made; touch /read/only/x; cat /etc/resolv.conf; cat /etc/hostname; ls -d /work; pwd";
    let config = ContainerConfig { mounts, working_dir: "/work/dir".into(), ..shell("c", script) };
    let (status, log) = node.script_with(&sandbox, config).await;
    assert!(log.contains("content\nnew\ntouch: /read/only/x: Read-only file system\n"), "{log}");
    assert!(log.ends_with("volumes\n/work\n/work/dir\n"), "{log}");
    assert_eq!(status.mounts.len(), 3);
    let missing = ContainerConfig {
        mounts: vec![Mount {
            container_path: "/x".into(),
            host_path: "/nonexistent/x".into(),
            ..Default::default()
        }],
        ..shell("d", "true")
    };
    let error = node.try_create(&sandbox, missing).await.expect_err("the source is missing");
    assert!(error.message().contains("/nonexistent/x"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_container_has_devices_and_all_we_have() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("privileged").await;
    let config = secured(
        shell(
            "c",
            &format!(
                "{STATUS}; ls /dev; touch /sys/fs/cgroup/x 2>&1; mount -t tmpfs none /tmp && echo mounted"
            ),
        ),
        |s| {
            s.privileged = true;
        },
    );
    let (_, log) = node.script_with(&sandbox, config).await;
    let own = status_lines(&std::fs::read_to_string("/proc/self/status").expect("a status"));
    let lines = status_lines(&log);
    assert_eq!(lines["CapEff"], own["CapBnd"]);
    assert_eq!(lines["Seccomp"], "0");
    assert!(log.contains("loop-control") && log.contains("mounted"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_limits_cut_what_is_asked_for() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("cut").await;
    let config =
        limited(shell("c", "cat /proc/self/oom_score_adj; ulimit -n"), |r| r.oom_score_adj = -998);
    let (_, log) = node.script_with(&sandbox, config).await;
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").expect("a score");
    assert_eq!(log.lines().next(), Some(own.trim()));
    let config = limited(shell("d", "cat /proc/self/oom_score_adj"), |r| r.oom_score_adj = 987);
    assert_eq!(node.script_with(&sandbox, config).await.1, "987\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn sysctls_of_the_pod_are_set_and_low_ports_are_free() {
    let mut node = Node::start().await;
    let mut config = sandbox_config(node.directory.path(), "sysctl");
    config.linux.get_or_insert_default().sysctls =
        [("net.core.somaxconn".to_owned(), "321".to_owned())].into();
    let sandbox = node.sandbox_with(config).await;
    let (_, log) = node
        .script(
            &sandbox,
            "c",
            "cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/ip_unprivileged_port_start",
        )
        .await;
    assert_eq!(log, "321\n0\n");
    let mut config = sandbox_config(node.directory.path(), "forbidden");
    config.linux.get_or_insert_default().sysctls =
        [("vm.swappiness".to_owned(), "1".to_owned())].into();
    let error = node
        .client
        .run_pod_sandbox(RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: String::new(),
        })
        .await;
    assert_eq!(error.expect_err("it is the node's").code(), tonic::Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_requests_are_refused_by_name() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("refused").await;
    let cdi = ContainerConfig {
        cdi_devices: vec![CdiDevice { name: "v/c=d".into() }],
        ..shell("c", "true")
    };
    let error = node.try_create(&sandbox, cdi).await.expect_err("refused");
    assert_eq!(
        (error.code(), error.message()),
        (tonic::Code::Unimplemented, "CDI_devices is not supported by this runtime")
    );
    let image = ContainerConfig {
        image: Some(ImageSpec { image: "none/such:1".into(), ..Default::default() }),
        ..shell("d", "true")
    };
    assert_eq!(
        node.try_create(&sandbox, image).await.expect_err("no image").code(),
        tonic::Code::NotFound
    );
}
