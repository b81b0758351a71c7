//! Creating, starting, stopping and removing containers.

use super::error::{EngineError, doing};
use super::{Container, Engine, Result, Runtime, Sandbox, State, lock, node, sandboxes};
use crate::protocol::{Exit, Op, PidMode, SHM_SOURCE, Start};
use crate::records::{self, ContainerRecord};
use crate::spec::{self, Input, SandboxFacts, SeccompChoice};
use crate::{inroot, snapshots, sys};
use k8s_cri::v1::security_profile::ProfileType;
use k8s_cri::v1::{
    ContainerConfig, ContainerEventType, LinuxContainerResources, LinuxContainerSecurityContext,
    MountPropagation, NamespaceMode,
};
use oci_spec::runtime::{LinuxDevice, Spec};
use prost::Message;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Largest account file of an image that is read.
const MAX_ACCOUNTS: usize = 4 * 1024 * 1024;
/// How long the kernel may take to end a killed container (it may be in uninterruptible sleep).
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a dead container's cgroup may stay busy, and how often that is looked at: v1 gives no event for it.
const CGROUP_RETRIES: u32 = 200;
const CGROUP_RETRY: Duration = Duration::from_millis(10);

fn security(config: &ContainerConfig) -> LinuxContainerSecurityContext {
    config.linux.as_ref().and_then(|l| l.security_context.clone()).unwrap_or_default()
}

pub(super) fn name_of(sandbox: &str, config: &ContainerConfig) -> Result<String> {
    let metadata = config.metadata.as_ref().filter(|m| !m.name.is_empty());
    let metadata =
        metadata.ok_or_else(|| EngineError::Invalid("metadata.name: is required".into()))?;
    Ok(format!("container {sandbox}_{}_{}", metadata.name, metadata.attempt))
}

fn seccomp_choice(security: &LinuxContainerSecurityContext) -> Result<SeccompChoice> {
    let Some(profile) = &security.seccomp else { return Ok(SeccompChoice::RuntimeDefault) };
    match profile.profile_type() {
        ProfileType::RuntimeDefault => Ok(SeccompChoice::RuntimeDefault),
        ProfileType::Unconfined => Ok(SeccompChoice::Unconfined),
        ProfileType::Localhost => {
            let content = std::fs::read(&profile.localhost_ref)
                .map_err(doing(format!("reading the seccomp profile {}", profile.localhost_ref)))?;
            let profile = serde_json::from_slice(&content)
                .map_err(|e| EngineError::Invalid(format!("seccomp profile: {e}")))?;
            Ok(SeccompChoice::Localhost(Box::new(profile)))
        }
    }
}

fn devices(config: &ContainerConfig) -> Result<Vec<LinuxDevice>> {
    let device = |d: &k8s_cri::v1::Device| {
        node::device(Path::new(&d.host_path), Path::new(&d.container_path))
            .map_err(doing(format!("device {}", d.host_path)))
    };
    config.devices.iter().map(device).collect()
}

/// The account files of the image, read without leaving its root.
fn accounts(root: &OwnedFd) -> (String, String) {
    let read = |path: &str| {
        let file = inroot::open(root.as_fd(), Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK);
        let content =
            file.and_then(|file| sys::read_all(file.as_fd(), MAX_ACCOUNTS)).unwrap_or_default();
        String::from_utf8_lossy(&content).into_owned()
    };
    (read("/etc/passwd"), read("/etc/group"))
}

/// The signal named by an image, as a number or `SIGTERM`-like name.
pub(super) fn signal_number(name: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 15] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CONT", 18),
        ("STOP", 19),
        ("WINCH", 28),
        ("PWR", 30),
    ];
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let plain = name.to_ascii_uppercase();
    let plain = plain.strip_prefix("SIG").unwrap_or(&plain);
    if let Some(real_time) = plain.strip_prefix("RTMIN+").and_then(|n| n.parse::<i32>().ok()) {
        return (0..=30).contains(&real_time).then_some(34 + real_time);
    }
    NAMES.iter().find(|(known, _)| *known == plain).map(|(_, number)| *number)
}

impl Runtime {
    /// Makes a container in a ready sandbox; answers its id.
    pub(crate) async fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
    ) -> Result<String> {
        let sandbox = self.engine.sandbox(sandbox)?;
        let _busy = sandbox.busy.lock().await;
        if !sandbox.is_ready() {
            return Err(EngineError::FailedPrecondition(format!(
                "sandbox container {:?} is not running",
                sandbox.id
            )));
        }
        let id = records::new_id()?;
        self.engine.reserve(&name_of(&sandbox.id, &config)?, &id)?;
        let (engine, in_sandbox, new_id) = (self.engine.clone(), sandbox.clone(), id.clone());
        let made = tokio::task::spawn_blocking(move || {
            engine.make_container(&in_sandbox, &new_id, config)
        })
        .await?;
        match made {
            Ok(container) => {
                lock(&self.engine.known).containers.insert(id.clone(), Arc::new(container));
                self.engine.tell(&sandbox, &id, ContainerEventType::ContainerCreatedEvent);
                Ok(id)
            }
            Err(error) => {
                self.engine.release(&id);
                self.engine.discard(&sandbox, &id);
                Err(error)
            }
        }
    }

    /// Runs a container that was created.
    pub(crate) async fn start_container(&self, id: &str) -> Result<()> {
        let container = self.engine.container(id)?;
        let _busy = container.busy.lock().await;
        if container.state() != State::Created {
            return Err(EngineError::FailedPrecondition(format!(
                "container {id} is not in created state"
            )));
        }
        let sandbox = self.engine.sandbox(&container.record().sandbox)?;
        let shim = sandbox.shim()?;
        container.update(|record| record.started_at = Some(crate::shim::now()))?;
        let (engine, prepared) = (self.engine.clone(), container.clone());
        let prepared = tokio::task::spawn_blocking(move || engine.prepare_start(&prepared)).await?;
        let started = match prepared {
            Ok((start, fds)) => {
                let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                shim.call(Op::Start(start), &fds).await.map_err(EngineError::from)
            }
            Err(error) => Err(error),
        };
        match started {
            Ok((answer, _)) => {
                let pid = answer.pid.unwrap_or(0);
                container.state.send_if_modified(|state| {
                    let created = *state == State::Created;
                    if created {
                        *state = State::Running { pid };
                    }
                    created
                });
                self.engine.tell(
                    &sandbox,
                    &container.id,
                    ContainerEventType::ContainerStartedEvent,
                );
                Ok(())
            }
            Err(error) => {
                self.engine.start_failed(&container, &error)?;
                Err(error)
            }
        }
    }

    /// Asks a container to stop, and kills it after `timeout_seconds`.
    pub(crate) async fn stop_container(&self, id: &str, timeout_seconds: i64) -> Result<()> {
        let Ok(container) = self.engine.container(id) else { return Ok(()) };
        if !matches!(container.state(), State::Running { .. }) {
            return Ok(());
        }
        let mut state = container.state.subscribe();
        if let Ok(grace @ 1..) = u64::try_from(timeout_seconds) {
            self.engine.signal(&container, container.record().stop_signal).await?;
            if tokio::time::timeout(Duration::from_secs(grace), exited(&mut state)).await.is_ok() {
                return Ok(());
            }
        }
        self.engine.signal(&container, libc::SIGKILL).await?;
        tokio::time::timeout(KILL_TIMEOUT, exited(&mut state)).await.map_err(|_| {
            EngineError::DeadlineExceeded(format!("container {id} did not end after SIGKILL"))
        })
    }

    /// Removes a container, killing it first if it runs.
    pub(crate) async fn remove_container(&self, id: &str) -> Result<()> {
        let Ok(container) = self.engine.container(id) else { return Ok(()) };
        self.stop_container(&container.id, 0).await?;
        let _busy = container.busy.lock().await;
        let record = container.record();
        self.engine.remove_cgroup(&record.cgroup).await?;
        let (snapshots, snapshot) = (self.engine.snapshots.clone(), container.id.clone());
        tokio::task::spawn_blocking(move || snapshots.remove(&snapshot)).await??;
        match std::fs::remove_dir_all(&container.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(doing("removing the container directory")(error));
            }
            _ => {}
        }
        lock(&self.engine.known).containers.remove(&container.id);
        self.engine.release(&container.id);
        if let Ok(sandbox) = self.engine.sandbox(&record.sandbox) {
            self.engine.tell(&sandbox, &container.id, ContainerEventType::ContainerDeletedEvent);
        }
        Ok(())
    }

    /// Changes the limits of a container, also for its next start.
    pub(crate) async fn update_resources(
        &self,
        id: &str,
        resources: &LinuxContainerResources,
    ) -> Result<()> {
        let container = self.engine.container(id)?;
        let _busy = container.busy.lock().await;
        if matches!(container.state(), State::Exited(_)) {
            return Err(EngineError::FailedPrecondition(format!("container {id} has ended")));
        }
        let mut oci = spec::resources(resources)?;
        oci.set_devices(None);
        if matches!(container.state(), State::Running { .. }) {
            self.engine.cgroups.apply(&container.record().cgroup, &oci)?;
        }
        let mut spec = container.spec()?;
        if let Some(linux) = spec.linux_mut() {
            let devices = linux.resources().as_ref().and_then(|r| r.devices().clone());
            oci.set_devices(devices);
            linux.set_resources(Some(oci));
        }
        Ok(records::write_json(&container.directory.join("spec.json"), &spec)?)
    }

    /// Opens the log of a running container anew.
    pub(crate) async fn reopen_log(&self, id: &str) -> Result<()> {
        let container = self.engine.container(id)?;
        if !matches!(container.state(), State::Running { .. }) {
            return Err(EngineError::FailedPrecondition("container is not running".into()));
        }
        let shim = self.engine.sandbox(&container.record().sandbox)?.shim()?;
        shim.call(Op::ReopenLog { container: container.id.clone() }, &[]).await?;
        Ok(())
    }
}

async fn exited(state: &mut watch::Receiver<State>) {
    // The sender lives as long as the container is known; if it goes, the container has ended as well.
    let _gone = state.wait_for(|state| matches!(state, State::Exited(_))).await;
}

impl Container {
    /// Its spec.
    pub fn spec(&self) -> Result<Spec> {
        let spec = records::read_json(&self.directory.join("spec.json"))?;
        spec.ok_or_else(|| EngineError::NotFound(format!("the spec of container {}", self.id)))
    }
}

impl Engine {
    /// Makes the writable layer, the spec and the directory of a container. Blocking.
    fn make_container(
        &self,
        sandbox: &Sandbox,
        id: &str,
        config: ContainerConfig,
    ) -> Result<Container> {
        let image_name = config.image.as_ref().map_or("", |i| i.image.as_str());
        let image = self.images.get(image_name)?;
        for mount in &config.mounts {
            std::fs::metadata(&mount.host_path)
                .map_err(doing(format!("mount source {}", mount.host_path)))?;
        }
        let rootfs = self.snapshots.prepare(&image, id)?;
        let root = snapshots::overlay(&rootfs).map_err(doing("mounting the image"))?;
        let (passwd, group) = accounts(&root);
        drop(root);
        let security = security(&config);
        let pod = sandbox.record();
        let cgroup = format!("{}/{id}", pod.cgroup);
        let image_config = image.config.config().clone();
        let facts = SandboxFacts {
            hostname: sandboxes::hostname(&sandbox.config),
            shim_pid: pod.shim_pid.unwrap_or(0),
            host_network: sandboxes::host_network(&sandbox.config),
            host_ipc: sandboxes::namespaces(&sandbox.config).ipc == NamespaceMode::Node as i32,
            etc: sandbox.directory.join("etc"),
        };
        let spec = spec::spec(&Input {
            config: &config,
            image: image_config.as_ref(),
            passwd: &passwd,
            group: &group,
            sandbox: &facts,
            node: &self.node,
            seccomp: seccomp_choice(&security)?,
            devices: devices(&config)?,
            cgroup: &cgroup,
            pid_namespace: None,
        })?;
        let user = spec.process().as_ref().map(|p| p.user().clone()).unwrap_or_default();
        let stop_signal =
            image_config.as_ref().and_then(|c| c.stop_signal().as_deref()).and_then(signal_number);
        let record = ContainerRecord {
            id: id.to_owned(),
            sandbox: sandbox.id.clone(),
            created_at: crate::shim::now(),
            started_at: None,
            image_ref: image.repo_digests.first().unwrap_or(&image.id).clone(),
            image_id: image.id,
            cgroup,
            log_path: log_path(&sandbox.config.log_directory, &config.log_path)?,
            stop_signal: stop_signal.unwrap_or(libc::SIGTERM),
            user: (user.uid(), user.gid(), user.additional_gids().clone().unwrap_or_default()),
        };
        let directory = sandbox.directory.join("containers").join(id);
        let write = || {
            std::fs::create_dir(&directory)?;
            records::write_file(&directory.join("config.pb"), &config.encode_to_vec())?;
            records::write_json(&directory.join("spec.json"), &spec)?;
            records::write_json(&directory.join("record.json"), &record)
        };
        write().map_err(doing("writing the container"))?;
        Ok(Container::new(id.to_owned(), config, directory, record, State::Created))
    }

    /// Takes back what [`Self::make_container`] made.
    fn discard(&self, sandbox: &Sandbox, id: &str) {
        if let Err(error) = self.snapshots.remove(id) {
            tracing::warn!(id, %error, "removing the layer of a container that was not created");
        }
        match std::fs::remove_dir_all(sandbox.directory.join("containers").join(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(id, %error, "removing a container's directory")
            }
            _ => {}
        }
    }

    /// Makes cgroup, mounts and filters, and the request with the descriptors of all of them. Blocking.
    fn prepare_start(&self, container: &Container) -> Result<(Start, Vec<OwnedFd>)> {
        let record = container.record();
        let spec = container.spec()?;
        let linux = spec.linux().clone().unwrap_or_default();
        self.cgroups.create(&record.cgroup)?;
        if let Some(resources) = linux.resources() {
            self.cgroups.apply(&record.cgroup, resources)?;
        }
        let rootfs = self
            .snapshots
            .get(&container.id)?
            .ok_or_else(|| EngineError::NotFound("the container's writable layer".into()))?;
        let mut fds = vec![
            sys::sealed_file(c"spec", &serde_json::to_vec(&spec).map_err(io::Error::from)?)?,
            snapshots::overlay(&rootfs).map_err(doing("mounting the image"))?,
        ];
        let (log_directory, log) =
            open_log_directory(record.log_path.as_deref(), &container.directory)?;
        fds.push(log_directory);
        let programs =
            linux.seccomp().as_ref().map(spec::seccomp::programs).transpose()?.unwrap_or_default();
        for program in &programs {
            fds.push(sys::sealed_file(c"seccomp", program)?);
        }
        let oom = self.cgroups.oom_counter(&record.cgroup);
        let has_oom = oom.is_some();
        fds.extend(oom);
        let unified = self.cgroups.clone_into(&record.cgroup)?;
        let has_unified = unified.is_some();
        fds.extend(unified);
        let cgroups = self.cgroups.join_files(&record.cgroup)?;
        let cgroup_count = cgroups.len();
        fds.extend(cgroups);
        for mount in spec.mounts().iter().flatten().filter(|m| m.typ().as_deref() == Some("bind")) {
            let source = mount.source().clone().unwrap_or_default();
            if source != Path::new(SHM_SOURCE) {
                fds.push(
                    open_source(&source, &container.config)
                        .map_err(doing(format!("mount source {}", source.display())))?,
                );
            }
        }
        let start = Start {
            container: container.id.clone(),
            directory: format!("containers/{}", container.id),
            log,
            log_limit: self.config.log_limits.map(|l| (l.max_size_bytes, l.max_files)),
            pid: pid_mode(&container.config),
            terminal: container.config.tty,
            stdin: container.config.stdin,
            seccomp: programs.len(),
            oom: has_oom,
            unified: has_unified,
            cgroups: cgroup_count,
        };
        Ok((start, fds))
    }

    /// A container that could not run has ended, with the code and reason containerd gives.
    fn start_failed(&self, container: &Container, error: &EngineError) -> Result<()> {
        let exit = Exit {
            code: 128,
            signal: None,
            oom_killed: false,
            finished_at: crate::shim::now(),
            reason: Some("StartError".into()),
            message: Some(error.to_string()),
        };
        records::write_json(&container.directory.join("exit.json"), &exit)?;
        self.container_exited(&container.id, exit);
        Ok(())
    }

    /// Sends a signal; a container that has just ended is fine.
    pub(super) async fn signal(&self, container: &Container, signal: i32) -> Result<()> {
        let shim = self.sandbox(&container.record().sandbox)?.shim()?;
        match shim.call(Op::Signal { container: container.id.clone(), signal }, &[]).await {
            Err(crate::shim_client::ShimError::Refused(_))
                if !matches!(container.state(), State::Running { .. }) =>
            {
                Ok(())
            }
            Err(crate::shim_client::ShimError::Refused(reason))
                if reason.contains("is not running") =>
            {
                Ok(())
            }
            other => Ok(other.map(drop)?),
        }
    }

    /// A container has ended: remember, clean up, tell. Repeating it does nothing.
    pub(crate) fn container_exited(&self, id: &str, exit: Exit) {
        let Ok(container) = self.container(id) else { return };
        let first = container.state.send_if_modified(|state| {
            let first = !matches!(state, State::Exited(_));
            if first {
                *state = State::Exited(exit);
            }
            first
        });
        if !first {
            return;
        }
        let record = container.record();
        // Whatever the first process left behind (in the node's pid namespace) ends with it.
        if !self.cgroups.pids(&record.cgroup).is_empty()
            && let Err(error) = self.cgroups.kill(&record.cgroup)
        {
            tracing::warn!(id, %error, "killing what a container left behind");
        }
        if let Err(error) = self.cgroups.remove(&record.cgroup) {
            tracing::debug!(id, %error, "the cgroup is still busy and goes with the container");
        }
        if let Ok(sandbox) = self.sandbox(&record.sandbox) {
            self.tell(&sandbox, id, ContainerEventType::ContainerStoppedEvent);
        }
    }

    async fn remove_cgroup(&self, cgroup: &str) -> Result<()> {
        for attempt in 1.. {
            match self.cgroups.remove(cgroup) {
                Ok(()) => break,
                Err(error) if attempt >= CGROUP_RETRIES => return Err(error.into()),
                Err(_) => {
                    self.cgroups.kill(cgroup)?;
                    tokio::time::sleep(CGROUP_RETRY).await;
                }
            }
        }
        Ok(())
    }
}

impl Container {
    /// A container in memory.
    pub(super) fn new(
        id: String,
        config: ContainerConfig,
        directory: PathBuf,
        record: ContainerRecord,
        state: State,
    ) -> Self {
        Self {
            id,
            config,
            directory,
            record: Mutex::new(record),
            state: watch::Sender::new(state),
            busy: tokio::sync::Mutex::default(),
            last_cpu: Mutex::new(None),
        }
    }
}

fn pid_mode(config: &ContainerConfig) -> PidMode {
    let options = security(config).namespace_options;
    match spec::pid_mode(&security(config)) {
        // Nothing said means a namespace of its own; only a stated POD shares.
        NamespaceMode::Pod if options.is_none() => PidMode::Container,
        NamespaceMode::Pod => PidMode::Pod,
        NamespaceMode::Container => PidMode::Container,
        NamespaceMode::Node => PidMode::Node,
        NamespaceMode::Target => PidMode::Target(options.unwrap_or_default().target_id),
    }
}

fn log_path(directory: &str, path: &str) -> Result<Option<PathBuf>> {
    if directory.is_empty() || path.is_empty() {
        return Ok(None);
    }
    let plain = Path::new(path).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    if !plain || !Path::new(directory).is_absolute() {
        return Err(EngineError::Invalid(format!(
            "log_path: {path:?} is not a relative path below {directory:?}"
        )));
    }
    Ok(Some(Path::new(directory).join(path)))
}

/// The directory and name of the log; without a log some directory that exists.
fn open_log_directory(path: Option<&Path>, otherwise: &Path) -> Result<(OwnedFd, Option<String>)> {
    let (directory, name) = match path.and_then(|p| p.parent().zip(p.file_name())) {
        Some((directory, name)) => {
            std::fs::create_dir_all(directory).map_err(doing("creating the log directory"))?;
            (directory, Some(name.to_string_lossy().into_owned()))
        }
        None => (otherwise, None),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty())
        .map_err(|e| doing("opening the log directory")(e.into()))?;
    Ok((fd, name))
}

/// A detached clone of what is at `source` now, following symlinks as the CRI demands.
fn open_source(source: &Path, config: &ContainerConfig) -> io::Result<OwnedFd> {
    let bidirectional = config.mounts.iter().any(|m| {
        Path::new(&m.host_path) == source
            && m.propagation() == MountPropagation::PropagationBidirectional
    });
    if bidirectional && !is_shared(source)? {
        return Err(io::Error::other(
            "it is not on a shared mount, which bidirectional propagation needs",
        ));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, source, flags)?)
}

/// Whether the mount that `path` lies on is shared.
fn is_shared(path: &Path) -> io::Result<bool> {
    let path = std::fs::canonicalize(path)?;
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
    let best = mountinfo
        .lines()
        .filter_map(|line| {
            let (left, _) = line.split_once(" - ")?;
            let point = left.split(' ').nth(4)?;
            path.starts_with(point).then(|| {
                (point.len(), left.split(' ').skip(6).any(|field| field.starts_with("shared:")))
            })
        })
        .max_by_key(|(length, _)| *length);
    Ok(best.is_some_and(|(_, shared)| shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_number_names_and_numbers_are_understood() {
        for (name, number) in [
            ("SIGTERM", Some(15)),
            ("quit", Some(3)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("99", None),
            ("NOPE", None),
        ] {
            assert_eq!(signal_number(name), number, "{name}");
        }
    }

    #[test]
    fn log_path_stays_in_its_directory() {
        assert_eq!(log_path("/logs", "c/0.log").expect("fine"), Some("/logs/c/0.log".into()));
        assert_eq!(log_path("", "0.log").expect("none"), None);
        assert!(log_path("/logs", "../x").is_err());
        assert!(log_path("/logs", "/x").is_err());
    }
}
