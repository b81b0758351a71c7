//! Attacks by class, each named after the best known CVE of it. Where runc has the same interface it runs the same attack, as the oracle.

use crate::harness::*;
use crate::oracle::Bundle;
use k8s_cri::v1::*;
use std::path::Path;

fn volume(node: &Node, name: &str) -> std::path::PathBuf {
    let path = node.directory.path().join(name);
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

fn bind(host: &Path, container: &str) -> Mount {
    Mount {
        host_path: host.to_string_lossy().into_owned(),
        container_path: container.into(),
        ..Default::default()
    }
}

/// Not a test of the node: this runs inside a container as the container's program, through the image's symlink to `/proc/self/exe`.
#[test]
#[ignore = "runs inside a container, started by another test"]
fn inside_overwrite_own_binary() {
    use std::os::unix::fs::OpenOptionsExt;
    for path in ["/proc/self/exe", "/proc/thread-self/exe", "/self"] {
        for flags in [0, libc::O_TRUNC] {
            let result = std::fs::OpenOptions::new().write(true).custom_flags(flags).open(path);
            println!("\nopen {path} {flags}: {:?}", result.err().and_then(|e| e.raw_os_error()));
        }
    }
    let file = std::fs::File::open("/proc/self/exe").expect("readable");
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let result = std::fs::OpenOptions::new().write(true).open(again);
    println!("\nreopen: {:?}", result.err().and_then(|e| e.raw_os_error()));
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2019_5736_binary_of_the_node_cannot_be_overwritten() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("exe").await;
    let inside = [
        "/self",
        "--exact",
        "attacks::inside_overwrite_own_binary",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ];
    let before = std::fs::metadata("/proc/self/exe").expect("our binary").len();
    let (_, log) = node.script_with(&sandbox, container("c", &inside)).await;
    let answers: Vec<&str> =
        log.lines().filter(|l| l.starts_with("open ") || l.starts_with("reopen")).collect();
    assert_eq!(answers.len(), 7, "{log}");
    // Truncation is refused for the mount is read-only; a mere open is refused before that for as long as the program runs.
    let (read_only, busy) = (format!("Some({})", libc::EROFS), format!("Some({})", libc::ETXTBSY));
    for answer in &answers {
        let truncates = answer.contains(&format!(" {}: ", libc::O_TRUNC));
        assert!(answer.ends_with(&read_only) || (!truncates && answer.ends_with(&busy)), "{log}");
    }
    // As a process of exec, which joins a container that may be hostile already.
    let id = node.run(&sandbox, shell("d", "sleep 1000")).await;
    let output = node.exec(&id, &inside).await;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.matches(&read_only).count() + output.matches(&busy).count(), 7, "{output}");
    assert!(output.matches(&read_only).count() >= 3, "{output}");
    assert_eq!(std::fs::metadata("/proc/self/exe").expect("our binary").len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2019_5736_process_that_joins_cannot_be_looked_into() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("join").await;
    // Whatever this sees of a process before it has become the container's program it may not open.
    let watcher = "while :; do for p in /proc/[0-9]*; do n=$(readlink $p/exe 2>/dev/null)
        case \"$n\" in *containers-*|*memfd*|*knarr*) echo seen $n;; esac; done; done";
    let id = node.run(&sandbox, shell("c", watcher)).await;
    for _ in 0..20 {
        node.exec(&id, &["true"]).await;
    }
    let status = node.status(&id).await;
    assert_eq!(node.log_text(&status), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_30465_symlinks_in_volumes_do_not_move_mounts_out() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("symlink").await;
    let (evil, marker) = (volume(&node, "evil"), volume(&node, "marker"));
    std::fs::write(marker.join("knarr-marker"), "x").expect("a file");
    std::os::unix::fs::symlink("/", evil.join("root")).expect("a symlink");
    std::os::unix::fs::symlink("../../../../../..", evil.join("up")).expect("a symlink");
    let mounts = vec![
        bind(&evil, "/evil"),
        bind(&marker, "/evil/root/landed-1"),
        bind(&marker, "/evil/up/landed-2"),
        bind(&marker, "/escape/landed-3"),
    ];
    let config = ContainerConfig { mounts, ..shell("c", "ls /landed-1 /landed-2 /landed-3") };
    let (_, log) = node.script_with(&sandbox, config).await;
    assert_eq!(log.matches("knarr-marker").count(), 3, "{log}");
    for landed in ["/landed-1", "/landed-2", "/landed-3"] {
        assert!(!Path::new(landed).exists(), "{landed} came into being on the node");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_30465_swapping_a_mount_target_never_reaches_the_node() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("swap").await;
    let (shared, marker) = (volume(&node, "shared"), volume(&node, "marker"));
    std::fs::write(marker.join("knarr-marker"), "x").expect("a file");
    let swapper = "mkdir -p /v/a; ln -s / /v/b; while :; do mv /v/a /v/t; mv /v/b /v/a; mv /v/a /v/b; mv /v/t /v/a; done 2>/dev/null";
    node.run(
        &sandbox,
        ContainerConfig { mounts: vec![bind(&shared, "/v")], ..shell("swapper", swapper) },
    )
    .await;
    let mut started = 0;
    for round in 0..20 {
        let mounts = vec![bind(&shared, "/v"), bind(&marker, "/v/a/knarr-swapped")];
        let config = ContainerConfig { mounts, ..shell(&format!("victim-{round}"), "true") };
        let id = node.create(&sandbox, config).await;
        // To lose the race is an error, never an escape.
        started += u32::from(node.try_start(&id).await.is_ok());
        assert!(!Path::new("/knarr-swapped").exists(), "it came into being on the node");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains("knarr-swapped"));
    }
    println!("{started} of 20 started");
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_21626_working_directory_on_a_descriptor_stays_inside() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("cwd").await;
    let inside = "pwd; cd ../../../../../..; cat etc/passwd | head -1; ls -d work-of-the-node 2>/dev/null; echo end";
    for number in 3..16 {
        let config = ContainerConfig {
            working_dir: format!("/proc/self/fd/{number}"),
            ..shell(&format!("c{number}"), inside)
        };
        let id = node.create(&sandbox, config).await;
        match node.try_start(&id).await {
            Err(error) => assert!(error.message().contains("working directory"), "{error}"),
            Ok(()) => {
                let status = node.wait_exit(&id).await;
                let log = node.log_text(&status);
                assert!(log.contains("root:x:0:0:root:/root:/bin/sh\nend"), "{number}: {log}");
            }
        }
    }
    let config = ContainerConfig { working_dir: "/proc/self/fd/7".into(), ..shell("o", inside) };
    let id = node.create(&sandbox, config).await;
    let bundle = Bundle::new(node.spec(&id).await, &node.cgroup);
    let (theirs, succeeded) =
        tokio::task::spawn_blocking(move || bundle.run()).await.expect("runc ends");
    assert!(!succeeded || theirs.contains("end"), "{theirs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_21626_no_descriptor_leaks_into_exec() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("fds").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    let look = "for f in /proc/self/fd/*; do readlink $f; done; ls /proc/1/fd | wc -l";
    let output = node.exec(&id, &["sh", "-c", look]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let leaked: Vec<&str> = text
        .lines()
        .filter(|l| !l.starts_with("pipe:") && *l != "/dev/null" && *l != "3")
        .collect();
    assert_eq!(leaked, Vec::<&str>::new(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_31133_masks_do_not_depend_on_the_containers_null() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("null").await;
    let dev = volume(&node, "dev");
    std::os::unix::fs::symlink("/proc/sys/kernel/core_pattern", dev.join("null"))
        .expect("a symlink");
    let secret = volume(&node, "secret");
    std::fs::write(secret.join("file"), "secret").expect("a file");
    let config = secured(
        ContainerConfig {
            mounts: vec![bind(&dev, "/dev"), bind(&secret, "/secret")],
            ..shell("c", "")
        },
        |s| {
            s.masked_paths = vec!["/secret/file".into(), "/proc/keys".into()];
            s.readonly_paths = vec!["/proc/sys".into()];
        },
    );
    let script = "exec 2>&1; stat -c '%t:%T %F' /secret/file /proc/keys; echo x > /proc/sys/kernel/core_pattern; echo x > /secret/file; echo end";
    let config =
        ContainerConfig { command: vec!["/bin/sh".into(), "-c".into(), script.into()], ..config };
    let (_, log) = node.script_with(&sandbox, config).await;
    assert!(log.starts_with("1:3 character special file\n1:3 character special file\n"), "{log}");
    assert!(log.contains("core_pattern: Read-only file system") && log.ends_with("end\n"), "{log}");
    assert_eq!(std::fs::read_to_string(secret.join("file")).expect("a file"), "secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_52565_terminal_of_a_foreign_devpts_is_refused() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("console").await;
    let pts = volume(&node, "pts");
    std::os::unix::fs::symlink("/proc/sys/kernel/core_pattern", pts.join("ptmx"))
        .expect("a symlink");
    let config =
        ContainerConfig { tty: true, mounts: vec![bind(&pts, "/dev/pts")], ..shell("c", "true") };
    let id = node.create(&sandbox, config).await;
    let error = node.try_start(&id).await.expect_err("there is no real /dev/pts");
    assert!(error.message().contains("no /dev/pts of its own"), "{error}");
    let id = node
        .run(
            &sandbox,
            ContainerConfig { mounts: vec![bind(&pts, "/dev/pts")], ..shell("d", "sleep 1000") },
        )
        .await;
    std::fs::remove_file(pts.join("ptmx")).expect("removed");
    std::fs::write(pts.join("ptmx"), "a plain file").expect("a file");
    let request = ExecRequest {
        container_id: id,
        cmd: vec!["true".into()],
        tty: true,
        stdin: true,
        stdout: true,
        stderr: false,
    };
    let url = node.client.exec(request).await.expect("a url").into_inner().url;
    let status = crate::streams::final_status(&url).await;
    assert!(
        status["message"].as_str().is_some_and(|m| m.contains("not a pseudo terminal")),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_52881_false_proc_is_refused() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("proc").await;
    let fake = volume(&node, "proc");
    std::fs::create_dir_all(fake.join("self")).expect("directories");
    std::fs::write(fake.join("self/oom_score_adj"), "untouched").expect("a file");
    for (name, target) in [("a", "/proc"), ("b", "/proc/sys"), ("c", "/proc/self")] {
        let config = limited(
            ContainerConfig { mounts: vec![bind(&fake, target)], ..shell(name, "true") },
            |r| r.oom_score_adj = 500,
        );
        let id = node.create(&sandbox, config.clone()).await;
        let error = node.try_start(&id).await.expect_err("it is inside /proc");
        assert!(error.message().contains("it is inside /proc"), "{target}: {error}");
        let bundle = Bundle::new(node.spec(&id).await, &node.cgroup);
        let (theirs, succeeded) =
            tokio::task::spawn_blocking(move || bundle.run()).await.expect("runc ends");
        assert!(!succeeded, "{target}: {theirs}");
    }
    assert_eq!(
        std::fs::read_to_string(fake.join("self/oom_score_adj")).expect("a file"),
        "untouched"
    );
    let score = node
        .script_with(
            &sandbox,
            limited(shell("d", "cat /proc/self/oom_score_adj"), |r| r.oom_score_adj = 500),
        )
        .await
        .1;
    assert_eq!(score, "500\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn account_files_that_lead_out_of_the_image_are_not_read() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("accounts").await;
    // The node has a user "daemon"; the image has none.
    let config = secured(shell("c", "id"), |s| s.run_as_username = "daemon".into());
    let error = node.try_create(&sandbox, config).await.expect_err("no such user in the image");
    assert!(error.message().contains("unable to find user daemon"), "{error}");
}
