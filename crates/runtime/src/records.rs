//! What is kept on disk about sandboxes and containers: `<state>/sandboxes/ID/{config.pb,record.json}` and below it `containers/ID/…`.
//!
//! Invariants: a file appears whole or not at all (written beside, then renamed); a directory without a record was never announced and is
//! rubbish; ids are made here and are plain hexadecimal, so a path made of one stays where it belongs.

use crate::protocol::Exit;
use prost::Message;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// What is remembered about a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxRecord {
    /// Its id.
    pub id: String,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// cgroup below which its containers have theirs.
    pub cgroup: String,
    /// Pid of its shim, once it runs.
    pub shim_pid: Option<i32>,
    /// Addresses, the primary one first.
    pub ips: Vec<String>,
    /// Whether it was made completely; an agent that was killed on the way leaves a sandbox that is not.
    pub complete: bool,
    /// Whether it has been stopped or has died.
    pub stopped: bool,
    /// Whether the network was attached and not yet detached.
    pub attached: bool,
    /// Which runtime handler was asked for.
    pub runtime_handler: String,
}

/// What is remembered about a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRecord {
    /// Its id.
    pub id: String,
    /// Its sandbox's id.
    pub sandbox: String,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// Nanoseconds since 1970, once it was told to run.
    pub started_at: Option<i64>,
    /// Id of its image, `sha256:…`.
    pub image_id: String,
    /// How the image was found: a digest reference, or its id.
    pub image_ref: String,
    /// Its cgroup.
    pub cgroup: String,
    /// Where its log is, if it has one.
    pub log_path: Option<PathBuf>,
    /// The signal that asks it to stop.
    pub stop_signal: i32,
    /// User id, group id and groups it runs as.
    pub user: (u32, u32, Vec<u32>),
}

/// Writes a file so that it is either the old or the new one, never half.
pub fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    std::fs::write(&beside, content)?;
    std::fs::rename(&beside, path)
}

/// Writes `value` as JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write_file(path, &serde_json::to_vec(value)?)
}

/// Reads JSON; `None` when there is no such file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(serde_json::from_slice(&content)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a protobuf message.
pub fn read_message<T: Message + Default>(path: &Path) -> io::Result<T> {
    T::decode(&std::fs::read(path)?[..])
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// How a container ended, if it has.
pub fn read_exit(directory: &Path) -> io::Result<Option<Exit>> {
    read_json(&directory.join("exit.json"))
}

/// A new id: 64 hexadecimal digits, as containerd's.
pub fn new_id() -> io::Result<String> {
    let mut bytes = [0u8; 32];
    crate::sys::random(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Whether `name` can be one of our ids.
pub fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}
