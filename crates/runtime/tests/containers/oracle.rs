//! The same bundle by runc: what our container sees, runc's must see.
//!
//! The bundle is the spec our runtime made, with the pod's namespaces replaced by new ones, for runc has no sandbox here.

use crate::harness::*;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// runc, installed if the machine does not have it.
pub fn runc() -> PathBuf {
    static INSTALLED: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            let found = || {
                ["/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc"]
                    .map(PathBuf::from)
                    .into_iter()
                    .find(|p| p.exists())
            };
            found()
                .or_else(|| {
                    let apt = Command::new("apt-get")
                        .args(["install", "-y", "--no-install-recommends", "runc"])
                        .output();
                    assert!(apt.is_ok_and(|o| o.status.success()), "apt-get install runc");
                    found()
                })
                .expect("runc is installed")
        })
        .clone()
}

/// An OCI bundle for runc in a directory of its own.
pub struct Bundle {
    pub directory: tempfile::TempDir,
    id: String,
}

impl Bundle {
    /// From a spec of ours; `root` is a tar of the root file system.
    pub fn new(mut spec: serde_json::Value, cgroup: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("knarr-runc-")
            .tempdir()
            .expect("a temporary directory");
        let rootfs = directory.path().join("rootfs");
        let mut archive = std::io::Cursor::new(root_tar());
        tar::Archive::new(&mut archive).unpack(&rootfs).expect("the root unpacks");
        for namespace in spec["linux"]["namespaces"].as_array_mut().expect("namespaces") {
            namespace.as_object_mut().expect("an object").remove("path");
        }
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if mount["source"] == "/shm" {
                (mount["type"], mount["source"]) = ("tmpfs".into(), "shm".into());
                mount["options"] =
                    serde_json::json!(["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]);
            }
        }
        let id = format!(
            "oracle-{}",
            directory.path().file_name().and_then(|n| n.to_str()).expect("a name")
        );
        spec["linux"]["cgroupsPath"] = format!("{cgroup}/{id}").into();
        spec["hostname"] = "oracle".into();
        std::fs::write(directory.path().join("config.json"), spec.to_string()).expect("the bundle");
        Self { directory, id }
    }

    fn runc(&self, args: &[&str]) -> Output {
        let state = self.directory.path().join("runc");
        Command::new(runc())
            .arg("--root")
            .arg(state)
            .args(args)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("runc runs")
    }

    /// Runs the bundle to its end; answers both outputs and whether it started and succeeded.
    pub fn run(&self) -> (String, bool) {
        let bundle = self.directory.path().to_str().expect("a path");
        let output = self.runc(&["run", "--bundle", bundle, &self.id]);
        (
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
            output.status.success(),
        )
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.runc(&["delete", "--force", &self.id]);
    }
}

/// Runs the script in our runtime and in runc on the same spec; answers both outputs.
pub async fn both(
    node: &mut Node,
    sandbox: &str,
    config: k8s_cri::v1::ContainerConfig,
) -> (String, String) {
    let id = node.run(sandbox, config).await;
    let status = node.wait_exit(&id).await;
    let ours = node.log_text(&status);
    let bundle = Bundle::new(node.spec(&id).await, &node.cgroup);
    let (theirs, _) = tokio::task::spawn_blocking(move || bundle.run()).await.expect("runc ends");
    (ours, theirs)
}

/// What a container can find out about itself, without what differs by nature (names, numbers, times).
const PROBE: &str = "exec 2>&1
    grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):|^Umask' /proc/self/status
    cat /proc/self/oom_score_adj; ulimit -n; pwd; env | grep -v HOSTNAME | sort; ls -1 /proc/self/fd | wc -l
    for f in null zero full random urandom tty ptmx fd stdin core pts shm mqueue; do stat -c '%n %a %t:%T %F' /dev/$f; done
    for m in /proc /dev /dev/pts /dev/shm /dev/mqueue /sys /sys/fs/cgroup/memory /proc/sys /proc/bus /sys/firmware; do
        grep -E \"^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ $m \" /proc/self/mountinfo | cut -d' ' -f5,6 | tail -1; done
    echo 1 > /proc/sys/kernel/panic; touch /sys/x; mknod /tmp/d b 254 0; head -c 1 /tmp/d; unshare -n true; chroot / true && echo chroot
    cat /proc/keys | wc -c; ls /sys/firmware | wc -l; echo end";

#[tokio::test(flavor = "multi_thread")]
async fn default_container_sees_what_runcs_sees() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("oracle").await;
    let (ours, theirs) = both(&mut node, &sandbox, shell("c", PROBE)).await;
    similar(&ours, &theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_container_sees_what_runcs_sees() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("oracle").await;
    let config = secured(limited(shell("c", PROBE), |r| r.oom_score_adj = 500), |s| {
        s.run_as_user = Some(k8s_cri::v1::Int64Value { value: 1000 });
        s.no_new_privs = true;
        s.readonly_rootfs = true;
        s.capabilities = Some(k8s_cri::v1::Capability {
            drop_capabilities: vec!["ALL".into()],
            add_capabilities: vec!["NET_BIND_SERVICE".into()],
            ..Default::default()
        });
    });
    let (ours, theirs) = both(&mut node, &sandbox, config).await;
    similar(&ours, &theirs);
}

/// Both outputs are the same but for the order of groups.
fn similar(ours: &str, theirs: &str) {
    assert!(ours.ends_with("end\n"), "{ours}");
    let lines = |text: &str| text.lines().map(str::trim_end).map(str::to_owned).collect::<Vec<_>>();
    for (our, their) in lines(ours).iter().zip(lines(theirs).iter()) {
        assert_eq!(our, their, "ours first\n--- ours\n{ours}\n--- runc's\n{theirs}");
    }
    assert_eq!(lines(ours).len(), lines(theirs).len(), "--- ours\n{ours}\n--- runc's\n{theirs}");
}

#[test]
fn bundle_paths_are_absolute() {
    assert!(Path::new(&runc()).is_absolute());
}
