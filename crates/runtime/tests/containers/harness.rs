//! A runtime of its own for each test, and a small image made of busybox.

use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::*;
use runtime::{NetworkError, PodNetwork, PodPort, Runtime, RuntimeConfig};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};

/// The test binary is also the shim: a constructor runs before the test harness, when there is one thread only.
#[used]
#[unsafe(link_section = ".init_array")]
static REEXEC: extern "C" fn() = {
    extern "C" fn reexec() {
        runtime::reexec();
    }
    reexec
};

/// Longest time anything in these tests may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The image of all tests.
pub const IMAGE: &str = "test.local/busybox:1";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A network that gives every pod the same address and changes nothing.
struct NoNetwork;

#[async_trait::async_trait]
impl PodNetwork for NoNetwork {
    async fn attach(
        &self,
        _id: &str,
        netns: &Path,
        _ports: &[PodPort],
    ) -> Result<Vec<IpAddr>, NetworkError> {
        std::fs::metadata(netns).map_err(|e| NetworkError(e.to_string()))?;
        Ok(vec![IpAddr::from([192, 0, 2, 7])])
    }
    async fn detach(&self, _id: &str) -> Result<(), NetworkError> {
        Ok(())
    }
}

/// A network that is never done.
pub struct EndlessNetwork;

#[async_trait::async_trait]
impl PodNetwork for EndlessNetwork {
    async fn attach(
        &self,
        _id: &str,
        _netns: &Path,
        _ports: &[PodPort],
    ) -> Result<Vec<IpAddr>, NetworkError> {
        std::future::pending().await
    }
    async fn detach(&self, _id: &str) -> Result<(), NetworkError> {
        Ok(())
    }
}

/// A node with a runtime and clients of its socket.
pub struct Node {
    pub client: RuntimeServiceClient<Channel>,
    pub cgroup: String,
    // Dropped in this order: the agent is told to end, everything is purged, the directory goes.
    stop: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<()>)>,
    _cleanup: Cleanup,
    pub directory: tempfile::TempDir,
}

/// Takes everything of a test away, also when it failed half-way.
struct Cleanup(PathBuf, String);

fn config(directory: &Path, cgroup: &str) -> RuntimeConfig {
    RuntimeConfig {
        root: directory.join("root"),
        state: directory.join("state"),
        cgroup_parent: cgroup.to_owned(),
        network: Arc::new(NoNetwork),
        log_limits: None,
    }
}

async fn connect(socket: PathBuf) -> Channel {
    let connector = tower::service_fn(move |_: http::Uri| {
        let socket = socket.clone();
        async move {
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(
                tokio::net::UnixStream::connect(socket).await?,
            ))
        }
    });
    Endpoint::from_static("http://cri")
        .connect_with_connector(connector)
        .await
        .expect("the CRI socket answers")
}

impl Node {
    /// Opens a runtime with the test image.
    pub async fn start() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("knarr-test-")
            .tempdir()
            .expect("a temporary directory");
        let cgroup = format!(
            "/knarr-test-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let cleanup = Cleanup(directory.path().to_owned(), cgroup.clone());
        let archive = directory.path().join("image.tar");
        write_image(&archive);
        let (client, stop) = Self::serve(config(directory.path(), &cgroup), Some(archive)).await;
        Self { client, cgroup, stop: Some(stop), _cleanup: cleanup, directory }
    }

    async fn serve(
        config: RuntimeConfig,
        archive: Option<PathBuf>,
    ) -> (RuntimeServiceClient<Channel>, (oneshot::Sender<()>, tokio::task::JoinHandle<()>)) {
        let socket = config.state.with_file_name("cri.sock");
        let runtime = Runtime::open(config).await.expect("the runtime opens");
        if let Some(archive) = archive {
            let images = runtime.images().clone();
            let import =
                move || images.import(&archive, &runtime::images::ImportOptions::default());
            tokio::task::spawn_blocking(import)
                .await
                .expect("the import ends")
                .expect("the image imports");
        }
        let (stop, stopped) = oneshot::channel();
        let (path, (ready, bound)) = (socket.clone(), oneshot::channel());
        let task = tokio::spawn(async move {
            let shutdown = async {
                // The server polls its shutdown only after it has bound the socket.
                let _unheard = ready.send(());
                let _dropped = stopped.await;
            };
            runtime.serve(&path, shutdown).await.expect("serves");
        });
        bound.await.expect("the server starts");
        let client = RuntimeServiceClient::new(connect(socket).await)
            .max_decoding_message_size(64 * 1024 * 1024);
        (client, (stop, task))
    }

    /// Ends the agent; containers go on.
    pub async fn stop_agent(&mut self) {
        if let Some((stop, task)) = self.stop.take() {
            let _gone = stop.send(());
            tokio::time::timeout(PATIENCE, task)
                .await
                .expect("the server ends")
                .expect("without a panic");
        }
    }

    /// Ends the agent and starts another on the same directories.
    pub async fn restart_agent(&mut self) {
        self.restart_agent_on(Arc::new(NoNetwork)).await;
    }

    /// Ends the agent and starts another whose pod network is `network`.
    pub async fn restart_agent_on(&mut self, network: Arc<dyn PodNetwork>) {
        self.stop_agent().await;
        let config = RuntimeConfig { network, ..config(self.directory.path(), &self.cgroup) };
        let (client, stop) = Self::serve(config, None).await;
        (self.client, self.stop) = (client, Some(stop));
    }

    /// A client of the image service on the same socket.
    pub async fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(connect(self.directory.path().join("cri.sock")).await)
    }

    /// Runs a sandbox named `name`.
    pub async fn sandbox(&mut self, name: &str) -> String {
        let config = sandbox_config(self.directory.path(), name);
        self.sandbox_with(config).await
    }

    pub async fn sandbox_with(&mut self, config: PodSandboxConfig) -> String {
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        self.client
            .run_pod_sandbox(request)
            .await
            .expect("the sandbox runs")
            .into_inner()
            .pod_sandbox_id
    }

    /// Creates a container.
    pub async fn create(&mut self, sandbox: &str, config: ContainerConfig) -> String {
        self.try_create(sandbox, config).await.expect("the container is created")
    }

    pub async fn try_create(
        &mut self,
        sandbox: &str,
        config: ContainerConfig,
    ) -> Result<String, tonic::Status> {
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.into(),
            config: Some(config),
            sandbox_config: None,
        };
        Ok(self.client.create_container(request).await?.into_inner().container_id)
    }

    pub async fn try_start(&mut self, id: &str) -> Result<(), tonic::Status> {
        self.client
            .start_container(StartContainerRequest { container_id: id.into() })
            .await
            .map(drop)
    }

    /// Creates and starts a container.
    pub async fn run(&mut self, sandbox: &str, config: ContainerConfig) -> String {
        let id = self.create(sandbox, config).await;
        self.try_start(&id).await.expect("the container starts");
        id
    }

    /// Runs a shell script to its end in a container of its own; answers its status and log without the records' heads.
    pub async fn script(
        &mut self,
        sandbox: &str,
        name: &str,
        script: &str,
    ) -> (ContainerStatus, String) {
        self.script_with(sandbox, shell(name, script)).await
    }

    pub async fn script_with(
        &mut self,
        sandbox: &str,
        config: ContainerConfig,
    ) -> (ContainerStatus, String) {
        let id = self.run(sandbox, config).await;
        let status = self.wait_exit(&id).await;
        let log = self.log_text(&status);
        (status, log)
    }

    pub async fn status(&mut self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest { container_id: id.into(), verbose: false };
        self.client
            .container_status(request)
            .await
            .expect("a status")
            .into_inner()
            .status
            .expect("a status")
    }

    /// Waits until the container has exited, by the runtime's events.
    pub async fn wait_exit(&mut self, id: &str) -> ContainerStatus {
        let mut events = self
            .client
            .get_container_events(GetEventsRequest {})
            .await
            .expect("events")
            .into_inner();
        loop {
            let status = self.status(id).await;
            if status.state == ContainerState::ContainerExited as i32 {
                return status;
            }
            tokio::time::timeout(PATIENCE, events.message())
                .await
                .expect("the container exits in time")
                .expect("an event");
        }
    }

    /// The log of a container, as text without the records' heads.
    pub fn log_text(&self, status: &ContainerStatus) -> String {
        records(Path::new(&status.log_path))
            .into_iter()
            .map(|(_, tag, line)| if tag == 'F' { line + "\n" } else { line })
            .collect()
    }

    pub async fn exec(&mut self, id: &str, command: &[&str]) -> ExecSyncResponse {
        self.try_exec(id, command, 30).await.expect("the command runs")
    }

    pub async fn try_exec(
        &mut self,
        id: &str,
        command: &[&str],
        timeout: i64,
    ) -> Result<ExecSyncResponse, tonic::Status> {
        let cmd = command.iter().map(|s| (*s).to_owned()).collect();
        Ok(self
            .client
            .exec_sync(ExecSyncRequest { container_id: id.into(), cmd, timeout })
            .await?
            .into_inner())
    }

    pub async fn shim_pid(&mut self, sandbox: &str) -> i32 {
        let request = PodSandboxStatusRequest { pod_sandbox_id: sandbox.into(), verbose: true };
        let info =
            self.client.pod_sandbox_status(request).await.expect("a status").into_inner().info;
        let record: serde_json::Value = serde_json::from_str(&info["info"]).expect("json");
        record["shimPid"].as_i64().expect("a pid") as i32
    }

    /// The OCI spec of a container.
    pub async fn spec(&mut self, id: &str) -> serde_json::Value {
        let request = ContainerStatusRequest { container_id: id.into(), verbose: true };
        let info = self.client.container_status(request).await.expect("a status").into_inner().info;
        serde_json::from_str(&info["runtimeSpec"]).expect("json")
    }

    pub async fn remove_sandbox(&mut self, id: &str) {
        self.client
            .remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id.into() })
            .await
            .expect("the sandbox is removed");
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let config = config(&self.0, &self.1);
        // The test's own tokio runtime cannot be waited on here; a thread with another one can.
        let purge = std::thread::spawn(move || {
            let tokio =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio");
            tokio
                .block_on(async { Runtime::open(config).await.expect("opens again").purge().await })
        });
        let purged = purge.join();
        if !std::thread::panicking() {
            purged.expect("no panic").expect("everything is removed");
        }
    }
}

/// The records of a log: stream, tag, line.
pub fn records(path: &Path) -> Vec<(String, char, String)> {
    let text = std::fs::read_to_string(path).expect("the log");
    text.lines()
        .map(|line| {
            let mut parts = line.splitn(4, ' ');
            let time = parts.next().expect("a time");
            assert!(time.len() == 30 && time.ends_with('Z'), "{time}");
            let stream = parts.next().expect("a stream").to_owned();
            let tag = parts.next().and_then(|t| t.chars().next()).expect("a tag");
            (stream, tag, parts.next().unwrap_or_default().to_owned())
        })
        .collect()
}

pub fn sandbox_config(directory: &Path, name: &str) -> PodSandboxConfig {
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.into(),
            uid: format!("uid-{name}"),
            namespace: "default".into(),
            attempt: 0,
        }),
        hostname: name.into(),
        log_directory: directory.join("logs").join(name).to_string_lossy().into_owned(),
        labels: HashMap::from([("app".to_owned(), name.to_owned())]),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: format!("/kubepods/pod-{name}"),
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(NamespaceOption {
                    pid: NamespaceMode::Container as i32,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A container that runs `command`.
pub fn container(name: &str, command: &[&str]) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
        image: Some(ImageSpec { image: IMAGE.into(), ..Default::default() }),
        command: command.iter().map(|s| (*s).to_owned()).collect(),
        log_path: format!("{name}/0.log"),
        linux: Some(LinuxContainerConfig {
            resources: None,
            security_context: Some(LinuxContainerSecurityContext {
                namespace_options: Some(NamespaceOption {
                    pid: NamespaceMode::Container as i32,
                    ..Default::default()
                }),
                ..Default::default()
            }),
        }),
        ..Default::default()
    }
}

/// A container that runs a shell script.
pub fn shell(name: &str, script: &str) -> ContainerConfig {
    container(name, &["/bin/sh", "-c", script])
}

/// Changes the security context of a container.
pub fn secured(
    mut config: ContainerConfig,
    change: impl FnOnce(&mut LinuxContainerSecurityContext),
) -> ContainerConfig {
    change(config.linux.get_or_insert_default().security_context.get_or_insert_default());
    config
}

/// Changes the resources of a container.
pub fn limited(
    mut config: ContainerConfig,
    change: impl FnOnce(&mut LinuxContainerResources),
) -> ContainerConfig {
    change(config.linux.get_or_insert_default().resources.get_or_insert_default());
    config
}

/// Adds a directory entry.
fn add_directory(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(mode);
    header.set_size(0);
    tar.append_data(&mut header, path, std::io::empty()).expect("an entry");
}

fn add_file(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content).expect("an entry");
}

fn add_link(tar: &mut tar::Builder<Vec<u8>>, path: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_mode(0o777);
    header.set_size(0);
    tar.append_link(&mut header, path, target).expect("an entry");
}

/// The root file system of the test image: busybox with its applets, accounts, and traps for the attack tests.
pub fn root_tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for directory in ["bin", "etc", "dev", "proc", "sys", "root", "var", "var/lib"] {
        add_directory(&mut tar, directory, 0o755);
    }
    add_directory(&mut tar, "tmp", 0o1777);
    add_file(
        &mut tar,
        "bin/busybox",
        &std::fs::read("/bin/busybox").expect("busybox-static is installed"),
        0o755,
    );
    let applets = std::process::Command::new("/bin/busybox")
        .arg("--list")
        .output()
        .expect("busybox runs")
        .stdout;
    for applet in String::from_utf8_lossy(&applets).lines().filter(|a| *a != "busybox") {
        add_link(&mut tar, &format!("bin/{applet}"), "busybox");
    }
    add_file(
        &mut tar,
        "etc/passwd",
        b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home:/bin/sh\n",
        0o644,
    );
    add_file(&mut tar, "etc/group", b"root:x:0:\napp:x:1000:\nextra:x:50:app\n", 0o644);
    add_link(&mut tar, "etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
    add_link(&mut tar, "escape", "/../../../../../..");
    add_link(&mut tar, "self", "/proc/self/exe");
    tar.into_inner().expect("a tar")
}

/// Writes a docker archive of the test image.
fn write_image(path: &Path) {
    let layer = root_tar();
    let diff_id = format!("sha256:{}", hex(&layer));
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    let config = serde_json::to_vec(&config).expect("json");
    let config_name = format!("{}.json", hex(&config));
    let manifest = serde_json::json!([{ "Config": config_name, "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]);
    let mut archive = tar::Builder::new(Vec::new());
    add_file(&mut archive, &config_name, &config, 0o644);
    add_file(&mut archive, "layer.tar", &layer, 0o644);
    add_file(&mut archive, "manifest.json", &serde_json::to_vec(&manifest).expect("json"), 0o644);
    std::fs::write(path, archive.into_inner().expect("a tar")).expect("the archive");
}

fn hex(content: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect()
}
