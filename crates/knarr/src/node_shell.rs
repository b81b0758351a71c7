//! `knarr node shell`: a shell inside a node, as ssh gives one on a real machine.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result, bail};

use crate::cli::ClusterArgs;
use crate::cluster::{Cluster, name_flag};
use crate::process::Process;
use crate::{node_namespace, up};

/// Replaces this process by a command in the node's namespaces.
///
/// # Errors
/// When there is no such node, it does not run, or the command cannot be started.
pub fn run(args: &ClusterArgs, node: &str, command: &[String]) -> Result<()> {
    let cluster = Cluster::existing(&args.name, args.data_dir.as_deref())?;
    let names = cluster.node_names();
    if !names.iter().any(|name| name == node) {
        bail!("there is no node {node:?}; the nodes are {}", names.join(", "));
    }
    let Some(holder) = Process::read(&up::holder_pid(&cluster, node)) else {
        bail!("node {node:?} is not running; start it with `knarr up{}`", name_flag(&args.name));
    };
    node_namespace::enter(holder.pid())?;
    let shell = [std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".into())];
    let command = if command.is_empty() { &shell[..] } else { command };
    let error = std::process::Command::new(&command[0]).args(&command[1..]).exec();
    Err(error).with_context(|| format!("cannot run {}", command[0]))
}
