//! Finding everything again after a restart, from the disk state alone, and removing what nobody owns.

use super::containers::name_of;
use super::{Container, Engine, Result, Runtime, Sandbox, State, lock};
use crate::cgroups::Cgroups;
use crate::protocol::{self, Exit, Hello, Op};
use crate::records::{self, ContainerRecord, SandboxRecord};
use crate::shim_client::ShimClient;
use crate::{RuntimeConfig, RuntimeError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// File in the state directory with the cgroups that were made for the runtime's own parent.
const MADE: &str = "cgroups.json";

/// How often a cgroup parent may vanish while it is made; each time takes another node that ends at this very moment.
const CREATE_ATTEMPTS: usize = 100;

fn failed(action: &str, error: &dyn std::fmt::Display) -> RuntimeError {
    RuntimeError::Unsupported(format!("{action}: {error}"))
}

/// Makes the cgroup parent, remembering what has to go with it.
pub(super) fn make_parent(
    config: &RuntimeConfig,
    cgroups: &dyn Cgroups,
) -> std::result::Result<(), RuntimeError> {
    let path = config.state.join(MADE);
    let made = create_parent(config, cgroups)?;
    let mut all: BTreeSet<String> = records::read_json(&path).ok().flatten().unwrap_or_default();
    all.extend(made);
    records::write_json(&path, &all)
        .map_err(|source| RuntimeError::Io { action: "writing cgroups.json".into(), source })
}

/// Creates the parent, anew when another node of this machine removes what both lie below just then.
fn create_parent(
    config: &RuntimeConfig,
    cgroups: &dyn Cgroups,
) -> std::result::Result<Vec<String>, RuntimeError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match cgroups.create(&config.cgroup_parent) {
            Err(error) if error.is_missing() && attempts < CREATE_ATTEMPTS => {}
            made => return made.map_err(|e| failed("creating the runtime's cgroup", &e)),
        }
    }
}

/// Removes what [`make_parent`] made, innermost first, as far as it is empty.
pub(super) fn remove_parent(
    config: &RuntimeConfig,
    cgroups: &dyn Cgroups,
) -> std::result::Result<(), RuntimeError> {
    let path = config.state.join(MADE);
    let all: BTreeSet<String> = records::read_json(&path).ok().flatten().unwrap_or_default();
    for made in all.iter().rev() {
        match cgroups.remove_empty(made) {
            // Other nodes of this machine live below it by now, and the last of them removes it.
            Err(error) if error.is_in_use() => break,
            removed => removed.map_err(|e| failed("removing the runtime's cgroup", &e))?,
        }
    }
    records::write_json(&path, &BTreeSet::<String>::new())
        .map_err(|source| RuntimeError::Io { action: "writing cgroups.json".into(), source })
}

impl Runtime {
    /// Reads the disk and reconnects.
    pub(super) async fn recover(&self) -> std::result::Result<(), RuntimeError> {
        let sandboxes = self.engine.config.state.join("sandboxes");
        let entries = std::fs::read_dir(&sandboxes).map_err(|source| RuntimeError::Io {
            action: "reading the state directory".into(),
            source,
        })?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !records::is_id(&name) {
                continue;
            }
            if let Err(error) = self.recover_sandbox(&entry.path()).await {
                tracing::error!(sandbox = name, %error, "recovering a sandbox");
            }
        }
        self.engine.drop_unowned_layers();
        Ok(())
    }

    async fn recover_sandbox(&self, directory: &Path) -> Result<()> {
        let Some(record) = records::read_json::<SandboxRecord>(&directory.join("record.json"))?
        else {
            // Never announced to anyone.
            std::fs::remove_dir_all(directory)?;
            return Ok(());
        };
        let sandbox = Arc::new(Sandbox {
            id: record.id.clone(),
            config: records::read_message(&directory.join("config.pb"))?,
            directory: directory.to_owned(),
            record: Mutex::new(record),
            shim: Mutex::new(None),
            busy: tokio::sync::Mutex::default(),
        });
        let record = sandbox.record();
        let alive = record.complete && !record.stopped;
        let connected = if alive { connect(directory).await } else { None };
        let hello = connected.as_ref().map(|(_, _, hello)| hello);
        let containers = recover_containers(&sandbox, hello)?;
        self.engine.know(&sandbox, containers);
        match connected {
            Some((client, events, _)) => {
                *lock(&sandbox.shim) = Some(client);
                self.follow(sandbox, events);
            }
            None => self.engine.end_sandbox(&sandbox).await?,
        }
        Ok(())
    }
}

async fn connect(
    directory: &Path,
) -> Option<(ShimClient, tokio::sync::mpsc::Receiver<protocol::Event>, Hello)> {
    let (client, events) = ShimClient::connect(directory).ok()?;
    let (answer, _) = client.call(Op::Hello, &[]).await.ok()?;
    let hello = answer.hello?;
    if hello.version != protocol::VERSION {
        tracing::error!(
            version = hello.version,
            "a shim speaks another version of the protocol; its sandbox is ended"
        );
        return None;
    }
    Some((client, events, hello))
}

fn recover_containers(sandbox: &Sandbox, hello: Option<&Hello>) -> Result<Vec<Container>> {
    let mut containers = Vec::new();
    for entry in std::fs::read_dir(sandbox.directory.join("containers"))?.flatten() {
        let directory = entry.path();
        let Some(record) = records::read_json::<ContainerRecord>(&directory.join("record.json"))?
        else {
            std::fs::remove_dir_all(&directory)?;
            continue;
        };
        let state =
            recovered_state(records::read_exit(&directory)?, &record, hello.map(|h| &h.running));
        if let (State::Exited(exit), None) = (&state, records::read_exit(&directory)?) {
            records::write_json(&directory.join("exit.json"), exit)?;
        }
        containers.push(Container::new(
            record.id.clone(),
            records::read_message(&directory.join("config.pb"))?,
            directory,
            record,
            state,
        ));
    }
    Ok(containers)
}

/// What a container is after a restart: ended if that is written down, running if its shim says so, else ended unseen if it was started.
fn recovered_state(
    exit: Option<Exit>,
    record: &ContainerRecord,
    running: Option<&BTreeMap<String, i32>>,
) -> State {
    if let Some(exit) = exit {
        return State::Exited(exit);
    }
    if let Some(pid) = running.and_then(|running| running.get(&record.id)) {
        return State::Running { pid: *pid };
    }
    if record.started_at.is_none() {
        return State::Created;
    }
    State::Exited(Exit {
        code: 255,
        signal: None,
        oom_killed: false,
        finished_at: crate::shim::now(),
        reason: Some("Unknown".into()),
        message: Some("it ended while nobody watched".into()),
    })
}

impl Engine {
    fn know(&self, sandbox: &Arc<Sandbox>, containers: Vec<Container>) {
        let mut known = lock(&self.known);
        if let Ok(name) = super::sandboxes::name_of(&sandbox.config) {
            known.names.insert(name, sandbox.id.clone());
        }
        known.sandboxes.insert(sandbox.id.clone(), sandbox.clone());
        for container in containers {
            if let Ok(name) = name_of(&sandbox.id, &container.config) {
                known.names.insert(name, container.id.clone());
            }
            known.containers.insert(container.id.clone(), Arc::new(container));
        }
    }

    /// Removes writable layers of containers that are not known: their creation was cut short.
    fn drop_unowned_layers(&self) {
        let layers = self.snapshots.list().unwrap_or_default();
        for id in layers.iter().filter(|id| !lock(&self.known).containers.contains_key(*id)) {
            if let Err(error) = self.snapshots.remove(id) {
                tracing::warn!(id, %error, "removing a writable layer nobody owns");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(started_at: Option<i64>) -> ContainerRecord {
        ContainerRecord {
            id: "c".into(),
            sandbox: "s".into(),
            created_at: 1,
            started_at,
            image_id: String::new(),
            image_ref: String::new(),
            cgroup: "/x/c".into(),
            log_path: None,
            stop_signal: 15,
            user: (0, 0, Vec::new()),
        }
    }

    #[test]
    fn recovered_state_trusts_the_disk_then_the_shim() {
        let exit = Exit {
            code: 3,
            signal: None,
            oom_killed: false,
            finished_at: 5,
            reason: None,
            message: None,
        };
        let running = BTreeMap::from([("c".to_owned(), 7)]);
        assert_eq!(
            recovered_state(Some(exit.clone()), &record(Some(1)), Some(&running)),
            State::Exited(exit)
        );
        assert_eq!(
            recovered_state(None, &record(Some(1)), Some(&running)),
            State::Running { pid: 7 }
        );
        assert_eq!(recovered_state(None, &record(None), Some(&BTreeMap::new())), State::Created);
        assert!(matches!(
            recovered_state(None, &record(Some(1)), None),
            State::Exited(Exit { code: 255, .. })
        ));
    }
}
