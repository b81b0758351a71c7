//! Resource limits and what is told about use.

use crate::harness::*;
use k8s_cri::v1::*;
use std::path::{Path, PathBuf};

/// The file of a container's cgroup in the hierarchy of `controller`, on v1 or v2.
fn cgroup_file(node: &Node, controller: &str, pod: &str, id: &str, file: &str) -> PathBuf {
    let base = Path::new("/sys/fs/cgroup");
    let v1 = base.join(controller);
    let root = if v1.is_dir() { v1 } else { base.to_owned() };
    root.join(node.cgroup.trim_start_matches('/'))
        .join("kubepods")
        .join(format!("pod-{pod}"))
        .join(id)
        .join(file)
}

fn is_v1() -> bool {
    Path::new("/sys/fs/cgroup/memory").is_dir()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_limit_exceeded_is_an_oom_kill() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("oom").await;
    let config =
        limited(container("c", &["tail", "/dev/zero"]), |r| r.memory_limit_in_bytes = 32 << 20);
    let (status, _) = node.script_with(&sandbox, config).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_reach_the_kernel_and_can_be_changed() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("limits").await;
    let config = limited(shell("c", "sleep 1000"), |r| {
        (r.memory_limit_in_bytes, r.cpu_shares, r.cpu_quota, r.cpu_period) =
            (64 << 20, 512, 20_000, 100_000);
        r.cpuset_cpus = "0".into();
    });
    let id = node.run(&sandbox, config).await;
    if !is_v1() {
        return;
    }
    let read = |controller: &str, file: &str| {
        std::fs::read_to_string(cgroup_file(&node, controller, "limits", &id, file))
            .expect(file)
            .trim()
            .to_owned()
    };
    assert_eq!(read("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(
        (read("cpu", "cpu.shares"), read("cpu", "cpu.cfs_quota_us")),
        ("512".into(), "20000".into())
    );
    assert_eq!(read("cpuset", "cpuset.cpus"), "0");
    assert!(!read("devices", "devices.list").contains("a *:*"));
    let linux = LinuxContainerResources {
        memory_limit_in_bytes: 96 << 20,
        cpu_shares: 256,
        ..Default::default()
    };
    let request = UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(linux),
        windows: None,
        annotations: Default::default(),
    };
    node.client.update_container_resources(request).await.expect("updated");
    let read = |controller: &str, file: &str| {
        std::fs::read_to_string(cgroup_file(&node, controller, "limits", &id, file))
            .expect(file)
            .trim()
            .to_owned()
    };
    assert_eq!(
        (read("memory", "memory.limit_in_bytes"), read("cpu", "cpu.shares")),
        ((96 << 20).to_string(), "256".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_tell_what_is_used() {
    let mut node = Node::start().await;
    let sandbox = node.sandbox("stats").await;
    let id =
        node.run(&sandbox, shell("c", "head -c 300000 /dev/zero > /tmp/file; sleep 1000")).await;
    node.exec(
        &id,
        &["sh", "-c", "while [ $(stat -c %s /tmp/file) -lt 300000 ]; do sleep 0.02; done"],
    )
    .await;
    let stats = node
        .client
        .container_stats(ContainerStatsRequest { container_id: id.clone() })
        .await
        .expect("stats");
    let stats = stats.into_inner().stats.expect("stats");
    let number = |v: Option<UInt64Value>| v.map_or(0, |v| v.value);
    assert!(number(stats.cpu.expect("cpu").usage_core_nano_seconds) > 0);
    let memory = stats.memory.expect("memory");
    assert!(
        number(memory.working_set_bytes) > 0
            && number(memory.usage_bytes) >= number(memory.working_set_bytes)
    );
    assert!(number(stats.writable_layer.expect("a layer").used_bytes) >= 300_000);
    let pods = node
        .client
        .list_pod_sandbox_stats(ListPodSandboxStatsRequest { filter: None })
        .await
        .expect("stats")
        .into_inner()
        .stats;
    let linux = pods[0].linux.clone().expect("linux");
    assert!(number(linux.process.expect("processes").process_count) >= 1);
    assert_eq!(linux.containers.len(), 1);
    let all = node
        .client
        .list_container_stats(ListContainerStatsRequest { filter: None })
        .await
        .expect("stats")
        .into_inner()
        .stats;
    assert_eq!(all.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_version_tell_who_serves() {
    let mut node = Node::start().await;
    let version = node
        .client
        .version(VersionRequest { version: "v1".into() })
        .await
        .expect("a version")
        .into_inner();
    assert_eq!(
        (version.runtime_name.as_str(), version.runtime_api_version.as_str()),
        ("knarr", "v1")
    );
    let status = node
        .client
        .status(StatusRequest { verbose: false })
        .await
        .expect("a status")
        .into_inner()
        .status
        .expect("a status");
    assert!(status.conditions.iter().all(|c| c.status));
    let mut images = node.images().await;
    let listed = images.list_images(ListImagesRequest { filter: None }).await.expect("images");
    let tags: Vec<String> =
        listed.into_inner().images.into_iter().flat_map(|image| image.repo_tags).collect();
    assert!(tags.iter().any(|tag| tag == IMAGE), "{tags:?}");
    let error = node
        .client
        .checkpoint_container(CheckpointContainerRequest::default())
        .await
        .expect_err("not done");
    assert_eq!(error.code(), tonic::Code::Unimplemented);
}
