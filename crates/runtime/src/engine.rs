//! The runtime: sandboxes and containers of one node.
//!
//! The counterpart of containerd's CRI plugin. Invariants: what a client was told exists is on disk; a container's state only moves from
//! created over running to exited; operations on one sandbox or container happen one after another, on different ones at once; everything
//! can be found and removed from the disk state alone.

mod containers;
mod error;
mod exec;
mod node;
mod recovery;
mod sandboxes;
mod stats;
mod status;

pub(crate) use error::EngineError;
pub(crate) use exec::{ExecStreams, Wanted, receiver, sender};

use crate::cgroups::{self, Cgroups};
use crate::images::{ImageStore, RegistryConfig};
use crate::protocol::{Event, Exit};
use crate::records::{ContainerRecord, SandboxRecord};
use crate::reexec::Binary;
use crate::shim_client::ShimClient;
use crate::snapshots::Snapshots;
use crate::spec::NodeFacts;
use crate::streaming::Tokens;
use crate::{PodsCgroup, RuntimeConfig, RuntimeError};
use k8s_cri::v1::{ContainerConfig, ContainerEventResponse, ContainerEventType, PodSandboxConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Events a slow listener may be behind before it has to list anew.
const EVENT_BACKLOG: usize = 1024;

pub(crate) type Result<T> = std::result::Result<T, EngineError>;

/// The state of a container in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    Running { pid: i32 },
    Exited(Exit),
}

pub(crate) struct Sandbox {
    pub id: String,
    pub config: PodSandboxConfig,
    pub directory: PathBuf,
    pub record: Mutex<SandboxRecord>,
    /// `None` when the shim is gone.
    pub shim: Mutex<Option<ShimClient>>,
    /// Held while the sandbox is changed.
    pub busy: tokio::sync::Mutex<()>,
}

pub(crate) struct Container {
    pub id: String,
    pub config: ContainerConfig,
    pub directory: PathBuf,
    pub record: Mutex<ContainerRecord>,
    pub state: watch::Sender<State>,
    /// Held while the container is changed.
    pub busy: tokio::sync::Mutex<()>,
    /// Time and CPU nanoseconds of the last sample, for the rate.
    pub last_cpu: Mutex<Option<(i64, u64)>>,
}

impl Sandbox {
    pub fn record(&self) -> SandboxRecord {
        lock(&self.record).clone()
    }

    pub fn shim(&self) -> Result<ShimClient> {
        lock(&self.shim).clone().ok_or_else(|| {
            EngineError::FailedPrecondition(format!("sandbox {} is not running", self.id))
        })
    }

    pub fn is_ready(&self) -> bool {
        let record = lock(&self.record);
        record.complete && !record.stopped && lock(&self.shim).is_some()
    }

    /// Changes the record in memory and on disk.
    pub fn update(&self, change: impl FnOnce(&mut SandboxRecord)) -> Result<()> {
        let mut record = lock(&self.record);
        change(&mut record);
        Ok(crate::records::write_json(&self.directory.join("record.json"), &*record)?)
    }
}

impl Container {
    pub fn record(&self) -> ContainerRecord {
        lock(&self.record).clone()
    }

    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub fn update(&self, change: impl FnOnce(&mut ContainerRecord)) -> Result<()> {
        let mut record = lock(&self.record);
        change(&mut record);
        Ok(crate::records::write_json(&self.directory.join("record.json"), &*record)?)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All that is known.
#[derive(Default)]
pub(crate) struct Known {
    pub sandboxes: BTreeMap<String, Arc<Sandbox>>,
    pub containers: BTreeMap<String, Arc<Container>>,
    /// Names in use, also by what is being made; name to id.
    pub names: BTreeMap<String, String>,
}

pub(crate) struct Engine {
    pub config: RuntimeConfig,
    pub cgroups: Box<dyn Cgroups>,
    pub binary: Binary,
    pub images: ImageStore,
    pub snapshots: Snapshots,
    pub node: NodeFacts,
    pub known: Mutex<Known>,
    pub execs: Mutex<BTreeMap<u64, oneshot::Sender<i32>>>,
    pub next_exec: AtomicU64,
    pub events: broadcast::Sender<ContainerEventResponse>,
    pub tokens: Tokens,
}

/// The container runtime of one node.
///
/// Dropping it leaves every container running; [`Runtime::open`] finds them again.
pub struct Runtime {
    pub(crate) engine: Arc<Engine>,
    tasks: Arc<Mutex<tokio::task::JoinSet<()>>>,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        lock(&self.tasks).abort_all();
    }
}

impl Runtime {
    /// Recovers everything from disk, reconnects to the running shims and removes what nobody owns.
    ///
    /// # Errors
    /// When the directories cannot be used or the machine lacks what containers need.
    pub async fn open(config: RuntimeConfig) -> std::result::Result<Self, RuntimeError> {
        Self::open_with_registries(config, RegistryConfig::default()).await
    }

    /// As [`Runtime::open`], reaching registries as `registries` says.
    ///
    /// # Errors
    /// As [`Runtime::open`].
    pub async fn open_with_registries(
        config: RuntimeConfig,
        registries: RegistryConfig,
    ) -> std::result::Result<Self, RuntimeError> {
        let io = |action: &str| {
            let action = action.to_owned();
            move |source| RuntimeError::Io { action, source }
        };
        let unsupported =
            |error: &dyn std::fmt::Display| RuntimeError::Unsupported(error.to_string());
        node::check().map_err(RuntimeError::Unsupported)?;
        make_private(&config.root).map_err(io("creating the root directory"))?;
        make_private(&config.state.join("sandboxes"))
            .map_err(io("creating the state directory"))?;
        let cgroups = cgroups::detect().map_err(|e| unsupported(&e))?;
        recovery::make_parent(&config, &*cgroups)?;
        let root = crate::image_root(&config.root);
        let images = tokio::task::spawn_blocking(move || {
            ImageStore::open(root).map(|store| store.with_registries(registries))
        })
        .await
        .map_err(|e| unsupported(&e))?
        .map_err(|e| unsupported(&e))?;
        let engine = Arc::new(Engine {
            cgroups,
            binary: Binary::protect().map_err(io("protecting the binary"))?,
            snapshots: Snapshots::new(&images),
            images,
            node: node::facts().map_err(io("reading the node's limits"))?,
            known: Mutex::default(),
            execs: Mutex::default(),
            next_exec: AtomicU64::new(node::random_number().map_err(io("reading random numbers"))?),
            events: broadcast::channel(EVENT_BACKLOG).0,
            tokens: Tokens::new(config.state.join("streaming.sock")),
            config,
        });
        let runtime = Self { engine, tasks: Arc::default() };
        runtime.recover().await?;
        Ok(runtime)
    }

    /// The images of this runtime.
    pub fn images(&self) -> &ImageStore {
        &self.engine.images
    }

    /// The cgroup that holds every pod.
    pub fn pods_cgroup(&self) -> PodsCgroup {
        PodsCgroup::new(self.engine.clone())
    }

    /// Serves the CRI on the unix socket at `path` until `shutdown` resolves; containers keep running.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub async fn serve(
        self,
        path: &Path,
        shutdown: impl Future<Output = ()> + Send,
    ) -> std::result::Result<(), RuntimeError> {
        crate::runtime_service::serve(&self, path, shutdown).await
    }

    /// Stops and removes every sandbox, then the cgroups that were made for this runtime. For the end of a node, not of an agent.
    ///
    /// # Errors
    /// What could not be removed.
    pub async fn purge(self) -> std::result::Result<(), RuntimeError> {
        let ids: BTreeSet<String> = lock(&self.engine.known).sandboxes.keys().cloned().collect();
        let mut first_error = None;
        for id in ids {
            if let Err(error) = self.remove_pod_sandbox(&id).await {
                tracing::error!(%id, %error, "removing a sandbox");
                first_error.get_or_insert(error);
            }
        }
        recovery::remove_parent(&self.engine.config, &*self.engine.cgroups)?;
        first_error.map_or(Ok(()), |error| {
            Err(RuntimeError::Unsupported(format!("a sandbox could not be removed: {error}")))
        })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        // Finished tasks are forgotten here, so the set stays as small as what runs.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub(crate) fn handle(&self) -> Self {
        // A handle has no tasks of its own to end when it is dropped.
        Self { engine: self.engine.clone(), tasks: Arc::default() }
    }

    /// Follows the events of a shim until it is gone.
    pub(crate) fn follow(&self, sandbox: Arc<Sandbox>, mut events: mpsc::Receiver<Event>) {
        let engine = self.engine.clone();
        self.spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    Event::Exited { container, exit } => engine.container_exited(&container, exit),
                    Event::ExecExited { exec, code } => engine.exec_exited(exec, code),
                }
            }
            engine.shim_gone(&sandbox).await;
        });
    }
}

impl Engine {
    pub fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>> {
        find(&lock(&self.known).sandboxes, id)
            .ok_or_else(|| EngineError::NotFound(format!("sandbox {id:?}")))
    }

    pub fn container(&self, id: &str) -> Result<Arc<Container>> {
        find(&lock(&self.known).containers, id)
            .ok_or_else(|| EngineError::NotFound(format!("container {id:?}")))
    }

    pub fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        lock(&self.known)
            .containers
            .values()
            .filter(|c| lock(&c.record).sandbox == sandbox)
            .cloned()
            .collect()
    }

    /// Takes a name for `id`.
    pub fn reserve(&self, name: &str, id: &str) -> Result<()> {
        let mut known = lock(&self.known);
        match known.names.get(name) {
            Some(owner) if owner != id => {
                Err(EngineError::AlreadyExists(format!("name {name:?} is reserved for {owner:?}")))
            }
            _ => {
                known.names.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        }
    }

    pub fn release(&self, id: &str) {
        lock(&self.known).names.retain(|_, owner| owner != id);
    }

    /// Tells the listeners that something happened to a container or sandbox.
    pub fn tell(&self, sandbox: &Sandbox, id: &str, kind: ContainerEventType) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let event = ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind as i32,
            created_at: crate::shim::now(),
            pod_sandbox_status: Some(self.sandbox_status(sandbox)),
            containers_statuses: self
                .containers_of(&sandbox.id)
                .iter()
                .map(|c| self.container_status(c))
                .collect(),
        };
        // Nobody may be listening any more.
        let _unheard = self.events.send(event);
    }
}

/// By id, or by the beginning of one if it fits only one.
fn find<T>(map: &BTreeMap<String, Arc<T>>, id: &str) -> Option<Arc<T>> {
    if let Some(found) = map.get(id) {
        return Some(found.clone());
    }
    if id.is_empty() {
        return None;
    }
    let mut matching = map.range(id.to_owned()..).take_while(|(known, _)| known.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some((_, found)), None) => Some(found.clone()),
        _ => None,
    }
}

fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(path)
}
