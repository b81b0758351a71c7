//! Running, stopping and removing pod sandboxes.

use super::error::{EngineError, doing};
use super::{Engine, Result, Runtime, Sandbox, State, lock};
use crate::config::PodPort;
use crate::protocol::{Exit, Init, Op};
use crate::records::{self, SandboxRecord};
use crate::shim_client::ShimClient;
use k8s_cri::v1::{ContainerEventType, NamespaceMode, NamespaceOption, PodSandboxConfig, Protocol};
use prost::Message;
use rustix::fd::AsFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Size of a pod's `/dev/shm`, as containerd's default.
const SHM_BYTES: u64 = 64 * 1024 * 1024;
/// How long the end of a shim may take before its cgroup is killed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest hostname the kernel takes.
const MAX_HOSTNAME: usize = 64;
/// The only runtime handler there is, beside none.
const HANDLER: &str = "knarr";

/// The namespace options of a sandbox.
pub(super) fn namespaces(config: &PodSandboxConfig) -> NamespaceOption {
    config
        .linux
        .as_ref()
        .and_then(|l| l.security_context.as_ref())
        .and_then(|s| s.namespace_options.clone())
        .unwrap_or_default()
}

pub(super) fn host_network(config: &PodSandboxConfig) -> bool {
    namespaces(config).network == NamespaceMode::Node as i32
}

/// The name that makes a sandbox unique.
pub(super) fn name_of(config: &PodSandboxConfig) -> Result<String> {
    let metadata = config
        .metadata
        .as_ref()
        .ok_or_else(|| EngineError::Invalid("metadata: is required".into()))?;
    if metadata.name.is_empty() || metadata.uid.is_empty() {
        return Err(EngineError::Invalid("metadata: name and uid are required".into()));
    }
    Ok(format!(
        "sandbox {}_{}_{}_{}",
        metadata.name, metadata.namespace, metadata.uid, metadata.attempt
    ))
}

/// Refuses what the sandbox config asks for and is not done.
fn check(config: &PodSandboxConfig, handler: &str) -> Result<()> {
    if !handler.is_empty() && handler != HANDLER {
        return Err(EngineError::Invalid(format!("no runtime for {handler:?} is configured")));
    }
    let options = namespaces(config);
    if options.userns_options.as_ref().is_some_and(|u| u.mode == NamespaceMode::Pod as i32) {
        return Err(EngineError::Unimplemented(
            "user namespaces are not supported by this runtime".into(),
        ));
    }
    if config.windows.is_some() {
        return Err(EngineError::Unimplemented(
            "Windows pods are not supported by this runtime".into(),
        ));
    }
    if config.hostname.len() > MAX_HOSTNAME {
        return Err(EngineError::Invalid(format!("hostname: longer than {MAX_HOSTNAME} bytes")));
    }
    let (own_network, own_ipc) = (!host_network(config), options.ipc != NamespaceMode::Node as i32);
    for name in config.linux.iter().flat_map(|l| l.sysctls.keys()) {
        let dotted = name.replace('/', ".");
        let of_ipc =
            ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| dotted.starts_with(p))
                || dotted == "kernel.sem";
        let allowed = (dotted.starts_with("net.") && own_network) || (of_ipc && own_ipc);
        if !allowed {
            return Err(EngineError::Invalid(format!(
                "sysctl {name:?} is not of a namespace of this pod"
            )));
        }
    }
    Ok(())
}

fn sysctls(config: &PodSandboxConfig) -> BTreeMap<String, String> {
    let mut sysctls: BTreeMap<String, String> = BTreeMap::new();
    if !host_network(config) {
        // As containerd 2: low ports and ping need no capability inside a pod.
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
        sysctls.insert("net.ipv4.ping_group_range".into(), "0 2147483647".into());
    }
    sysctls.extend(config.linux.iter().flat_map(|l| l.sysctls.clone()));
    sysctls
}

fn ports(config: &PodSandboxConfig) -> Vec<PodPort> {
    let port = |number: i32| u16::try_from(number).unwrap_or(0);
    config
        .port_mappings
        .iter()
        .map(|p| PodPort {
            protocol: match p.protocol() {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            }
            .to_owned(),
            container_port: port(p.container_port),
            host_port: port(p.host_port),
            host_ip: p.host_ip.clone(),
        })
        .collect()
}

/// The hostname inside the pod.
pub(super) fn hostname(config: &PodSandboxConfig) -> String {
    if config.hostname.is_empty() || host_network(config) {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    config.hostname.clone()
}

/// `resolv.conf` for the pod; the node's when the kubelet says nothing.
fn resolv_conf(config: &PodSandboxConfig) -> String {
    let Some(dns) = &config.dns_config else {
        return std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    };
    let mut lines = Vec::new();
    if !dns.searches.is_empty() {
        lines.push(format!("search {}\n", dns.searches.join(" ")));
    }
    lines.extend(dns.servers.iter().map(|server| format!("nameserver {server}\n")));
    if !dns.options.is_empty() {
        lines.push(format!("options {}\n", dns.options.join(" ")));
    }
    lines.concat()
}

fn hosts(config: &PodSandboxConfig) -> String {
    if host_network(config)
        && let Ok(hosts) = std::fs::read_to_string("/etc/hosts")
    {
        return hosts;
    }
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned()
}

fn write_etc(directory: &Path, config: &PodSandboxConfig) -> std::io::Result<()> {
    let etc = directory.join("etc");
    std::fs::create_dir(&etc)?;
    records::write_file(&etc.join("hostname"), format!("{}\n", hostname(config)).as_bytes())?;
    records::write_file(&etc.join("hosts"), hosts(config).as_bytes())?;
    records::write_file(&etc.join("resolv.conf"), resolv_conf(config).as_bytes())
}

/// The pod's cgroup: the one the kubelet names, always below the runtime's own.
fn pod_cgroup(parent: &str, config: &PodSandboxConfig, id: &str) -> Result<String> {
    let asked = config.linux.as_ref().map_or("", |l| l.cgroup_parent.as_str());
    if asked.ends_with(".slice") {
        return Err(EngineError::Invalid(
            "cgroup_parent: systemd slices are not supported, use the cgroupfs driver".into(),
        ));
    }
    let parent = parent.trim_end_matches('/');
    let asked = asked.trim_end_matches('/');
    if asked.is_empty() || asked == parent {
        return Ok(format!("{parent}/pod-{id}"));
    }
    if asked.starts_with(&format!("{parent}/")) {
        return Ok(asked.to_owned());
    }
    Ok(format!("{parent}/{}", asked.trim_start_matches('/')))
}

impl Runtime {
    /// Makes and starts a sandbox; answers its id.
    pub(crate) async fn run_pod_sandbox(
        &self,
        config: PodSandboxConfig,
        handler: &str,
    ) -> Result<String> {
        check(&config, handler)?;
        let id = records::new_id()?;
        self.engine.reserve(&name_of(&config)?, &id)?;
        let made = self.make_sandbox(&id, config, handler).await;
        if made.is_err() {
            self.engine.release(&id);
        }
        made.map(|()| id)
    }

    async fn make_sandbox(&self, id: &str, config: PodSandboxConfig, handler: &str) -> Result<()> {
        let sandbox = Arc::new(self.engine.write_sandbox(id, config, handler)?);
        let _busy = sandbox.busy.lock().await;
        let started = self.start_sandbox(&sandbox).await;
        if let Err(error) = started {
            if let Err(clean_up) = self.engine.end_sandbox(&sandbox).await {
                tracing::error!(%id, %clean_up, "cleaning up after a sandbox that did not start");
            }
            self.engine.delete_sandbox(&sandbox)?;
            return Err(error);
        }
        sandbox.update(|record| record.complete = true)?;
        lock(&self.engine.known).sandboxes.insert(id.to_owned(), sandbox.clone());
        self.engine.tell(&sandbox, id, ContainerEventType::ContainerCreatedEvent);
        self.engine.tell(&sandbox, id, ContainerEventType::ContainerStartedEvent);
        Ok(())
    }

    async fn start_sandbox(&self, sandbox: &Arc<Sandbox>) -> Result<()> {
        let engine = &self.engine;
        engine.cgroups.create(&sandbox.record().cgroup)?;
        let pid = self.start_shim(sandbox).await?;
        sandbox.update(|record| record.shim_pid = Some(pid))?;
        if host_network(&sandbox.config) {
            return Ok(());
        }
        sandbox.update(|record| record.attached = true)?;
        let netns = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let ips =
            engine.config.network.attach(&sandbox.id, &netns, &ports(&sandbox.config)).await?;
        sandbox.update(|record| record.ips = ips.iter().map(ToString::to_string).collect())
    }

    async fn start_shim(&self, sandbox: &Arc<Sandbox>) -> Result<i32> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(std::io::Error::from)?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(sandbox.directory.join("shim.log"))?;
        let mut child = self
            .engine
            .binary
            .spawn_shim(&sandbox.id, theirs, log)
            .map_err(doing("starting the shim"))?;
        let pid = child.id() as i32;
        let pidfd = rustix::process::pidfd_open(
            rustix::process::Pid::from_child(&child),
            rustix::process::PidfdFlags::NONBLOCK,
        )
        .map_err(|e| doing("watching the shim")(e.into()))?;
        // Not one of the runtime's tasks: a shim that ends after the runtime was dropped must not stay a zombie.
        tokio::spawn(async move {
            if let Ok(fd) = crate::sys::async_fd(pidfd)
                && fd.readable().await.is_ok()
                && let Err(error) = child.wait()
            {
                tracing::warn!(pid, %error, "waiting for a shim");
            }
        });
        let (client, events) = ShimClient::new(ours)?;
        let directory = std::fs::File::open(&sandbox.directory)?;
        client.call(Op::Init(init(&sandbox.config)), &[directory.as_fd()]).await?;
        *lock(&sandbox.shim) = Some(client);
        self.follow(sandbox.clone(), events);
        Ok(pid)
    }

    /// Stops a sandbox and all in it; nothing happens if it is not there or stopped already.
    pub(crate) async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        let Ok(sandbox) = self.engine.sandbox(id) else { return Ok(()) };
        let _busy = sandbox.busy.lock().await;
        let was_ready = sandbox.is_ready();
        self.engine.end_sandbox(&sandbox).await?;
        if was_ready {
            self.engine.tell(&sandbox, &sandbox.id, ContainerEventType::ContainerStoppedEvent);
        }
        Ok(())
    }

    /// Stops a sandbox, then removes its containers and all traces of it.
    pub(crate) async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        let Ok(sandbox) = self.engine.sandbox(id) else { return Ok(()) };
        self.stop_pod_sandbox(&sandbox.id).await?;
        for container in self.engine.containers_of(&sandbox.id) {
            self.remove_container(&container.id).await?;
        }
        let _busy = sandbox.busy.lock().await;
        self.engine.delete_sandbox(&sandbox)?;
        lock(&self.engine.known).sandboxes.remove(&sandbox.id);
        self.engine.release(&sandbox.id);
        self.engine.tell(&sandbox, &sandbox.id, ContainerEventType::ContainerDeletedEvent);
        Ok(())
    }
}

fn init(config: &PodSandboxConfig) -> Init {
    let options = namespaces(config);
    Init {
        network: !host_network(config),
        ipc: options.ipc != NamespaceMode::Node as i32,
        hostname: (!host_network(config)).then(|| hostname(config)),
        shared_pid: options.pid == NamespaceMode::Pod as i32,
        sysctls: sysctls(config),
        shm_bytes: SHM_BYTES,
    }
}

impl Engine {
    fn write_sandbox(&self, id: &str, config: PodSandboxConfig, handler: &str) -> Result<Sandbox> {
        let directory = self.config.state.join("sandboxes").join(id);
        let record = SandboxRecord {
            id: id.to_owned(),
            created_at: crate::shim::now(),
            cgroup: pod_cgroup(&self.config.cgroup_parent, &config, id)?,
            shim_pid: None,
            ips: Vec::new(),
            complete: false,
            stopped: false,
            attached: false,
            runtime_handler: handler.to_owned(),
        };
        let write = || {
            std::fs::create_dir(&directory)?;
            std::fs::create_dir(directory.join("containers"))?;
            write_etc(&directory, &config)?;
            records::write_file(&directory.join("config.pb"), &config.encode_to_vec())?;
            records::write_json(&directory.join("record.json"), &record)
        };
        write().map_err(doing("writing the sandbox"))?;
        Ok(Sandbox {
            id: id.to_owned(),
            config,
            directory,
            record: Mutex::new(record),
            shim: Mutex::new(None),
            busy: tokio::sync::Mutex::default(),
        })
    }

    /// Ends the shim with all containers, leaves the network. May be repeated.
    pub(super) async fn end_sandbox(&self, sandbox: &Sandbox) -> Result<()> {
        sandbox.update(|record| record.stopped = true)?;
        let shim = lock(&sandbox.shim).clone();
        if let Some(shim) = shim {
            let ended = tokio::time::timeout(SHUTDOWN_TIMEOUT, shim.call(Op::Shutdown, &[])).await;
            if !matches!(ended, Ok(Ok(_))) {
                tracing::warn!(sandbox = sandbox.id, "the shim did not end by itself");
            }
        }
        self.bury(sandbox)?;
        if sandbox.record().attached {
            self.config.network.detach(&sandbox.id).await?;
            sandbox.update(|record| record.attached = false)?;
        }
        Ok(())
    }

    /// Kills what a dead or deaf shim left, and gives every container an end.
    pub(super) fn bury(&self, sandbox: &Sandbox) -> Result<()> {
        self.kill_shim(sandbox);
        *lock(&sandbox.shim) = None;
        for container in self.containers_of(&sandbox.id) {
            let record = container.record();
            self.cgroups
                .kill(&record.cgroup)
                .or_else(|error| if self.exists(&record.cgroup) { Err(error) } else { Ok(()) })?;
            if let Some(exit) = records::read_exit(&container.directory)? {
                self.container_exited(&container.id, exit);
            } else if matches!(container.state(), State::Running { .. }) {
                let exit = Exit {
                    code: 255,
                    signal: None,
                    oom_killed: false,
                    finished_at: crate::shim::now(),
                    reason: Some("Unknown".into()),
                    message: Some("the sandbox's shim died".into()),
                };
                records::write_json(&container.directory.join("exit.json"), &exit)?;
                self.container_exited(&container.id, exit);
            }
        }
        Ok(())
    }

    fn exists(&self, cgroup: &str) -> bool {
        !self.cgroups.pids(cgroup).is_empty()
    }

    /// Kills a shim that is still the process its socket belongs to.
    fn kill_shim(&self, sandbox: &Sandbox) {
        let Ok(peer) = crate::shim_client::peer(&sandbox.directory) else { return };
        if let Err(error) = rustix::process::pidfd_send_signal(&peer, rustix::process::Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(sandbox = sandbox.id, %error, "killing a shim");
        }
    }

    /// Removes what is on disk and in the cgroup hierarchies.
    pub(super) fn delete_sandbox(&self, sandbox: &Sandbox) -> Result<()> {
        self.prune(&sandbox.record().cgroup);
        match std::fs::remove_dir_all(&sandbox.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(doing("removing the sandbox directory")(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a pod's cgroup, and the empty ones above it as far as they are the runtime's.
    fn prune(&self, cgroup: &str) {
        let parent = self.config.cgroup_parent.trim_end_matches('/');
        let mut path = cgroup;
        while path.len() > parent.len() && path.starts_with(parent) {
            if let Err(error) = self.cgroups.remove_empty(path) {
                tracing::debug!(path, %error, "a cgroup stays");
                return;
            }
            path = path.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }

    /// The connection to a shim has ended, wanted or not.
    pub(super) async fn shim_gone(&self, sandbox: &Sandbox) {
        let _busy = sandbox.busy.lock().await;
        if lock(&sandbox.shim).is_none() {
            return;
        }
        tracing::error!(sandbox = sandbox.id, "the sandbox's shim died");
        if let Err(error) = self.end_sandbox(sandbox).await {
            tracing::error!(sandbox = sandbox.id, %error, "cleaning up after a dead shim");
        }
        self.tell(sandbox, &sandbox.id, ContainerEventType::ContainerStoppedEvent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_cri::v1::LinuxPodSandboxConfig;

    #[test]
    fn pod_cgroup_is_always_below_the_runtimes() {
        let config = |parent: &str| PodSandboxConfig {
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: parent.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        for (asked, given) in [
            ("", "/knarr/n/pod-x"),
            ("/", "/knarr/n/pod-x"),
            ("/kubepods/pod1", "/knarr/n/kubepods/pod1"),
            ("/knarr/n/kubepods/pod1", "/knarr/n/kubepods/pod1"),
            ("/knarr/nothing", "/knarr/n/knarr/nothing"),
        ] {
            assert_eq!(pod_cgroup("/knarr/n", &config(asked), "x").expect(asked), given);
        }
        assert!(pod_cgroup("/knarr/n", &config("kubepods-pod1.slice"), "x").is_err());
    }

    #[test]
    fn check_sysctls_of_the_node_are_refused() {
        let config = |name: &str| PodSandboxConfig {
            linux: Some(LinuxPodSandboxConfig {
                sysctls: [(name.to_owned(), "1".to_owned())].into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        for (name, fine) in [
            ("net.core.somaxconn", true),
            ("kernel.shm_rmid_forced", true),
            ("kernel.panic", false),
            ("vm.swappiness", false),
        ] {
            assert_eq!(check(&config(name), "").is_ok(), fine, "{name}");
        }
    }
}
