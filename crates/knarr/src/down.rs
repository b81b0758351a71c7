//! `knarr down`: ends a local cluster and removes what it made.
//!
//! Invariants: it works from what is written down, whatever of the cluster still runs; it may be killed and run again;
//! it forgets the cluster last.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use runtime::{Runtime, RuntimeConfig};

use crate::cli::DownArgs;
use crate::cluster::Cluster;
use crate::pod_network::NoNetwork;
use crate::process::Process;
use crate::{cgroup, host_network, kubeconfig, up};

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// What survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The cluster's state, so that `up` brings it back.
    Data,
    /// Nothing.
    Nothing,
}

/// Runs `knarr down`.
///
/// # Errors
/// When something cannot be removed.
pub async fn run(args: DownArgs) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("nodes need root; run `sudo knarr down`");
    }
    let name = &args.cluster.name;
    let Some(cluster) = Cluster::find(name, args.cluster.data_dir.as_deref())? else {
        println!("there is no cluster {name:?}");
        return Ok(());
    };
    let keep = if args.keep_data { Keep::Data } else { Keep::Nothing };
    remove(&cluster, keep).await?;
    match keep {
        Keep::Data => {
            println!("cluster {name:?} is down; its state is in {}", cluster.data_dir.display())
        }
        Keep::Nothing => println!("cluster {name:?} is gone"),
    }
    Ok(())
}

/// Ends the cluster's processes and removes its network, cgroups and files.
///
/// # Errors
/// When something cannot be removed; the rest is still there, to be tried again.
pub async fn remove(cluster: &Cluster, keep: Keep) -> Result<()> {
    let nodes = cluster.node_names();
    for node in &nodes {
        stop(&up::agent_pid(cluster, node))?;
    }
    stop(&up::server_pid(cluster))?;
    for node in &nodes {
        end_pods(cluster, node).await.with_context(|| format!("cannot end the pods of {node}"))?;
        cgroup::remove(&cluster.node_cgroup(node))?;
        stop(&up::holder_pid(cluster, node))?;
    }
    cgroup::remove(&format!("/knarr/{}", cluster.name))?;
    cgroup::remove_empty("/knarr");
    host_network::tear_down(cluster)?;
    forget_kubeconfig(cluster)?;
    if keep == Keep::Nothing {
        remove_dir(&cluster.data_dir)?;
    }
    remove_dir(&cluster.run_dir())
}

/// Ends every container of a node, with its shims, mounts and cgroups, whatever state its agent left them in.
async fn end_pods(cluster: &Cluster, node: &str) -> Result<()> {
    let state = cluster.run_dir().join("nodes").join(node).join("runtime");
    if !state.exists() {
        return Ok(());
    }
    let config = RuntimeConfig {
        root: cluster.node_dir(node).join("runtime"),
        state,
        cgroup_parent: cluster.node_cgroup(node),
        network: Arc::new(NoNetwork),
        log_limits: None,
    };
    Ok(Runtime::open(config).await?.purge().await?)
}

fn stop(pid_file: &Path) -> Result<()> {
    if let Some(process) = Process::read(pid_file) {
        process.stop(GRACE)?;
    }
    Ok(())
}

fn forget_kubeconfig(cluster: &Cluster) -> Result<()> {
    let path = kubeconfig::user_path()?;
    if !path.exists() {
        return Ok(());
    }
    let before = kubeconfig::read(&path)?;
    let mut after = before.clone();
    kubeconfig::remove_from(&mut after, &cluster.name);
    match after == before {
        true => Ok(()),
        false => kubeconfig::write(&path, &after),
    }
}

fn remove_dir(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
