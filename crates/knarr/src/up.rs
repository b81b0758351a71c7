//! `knarr up`: makes a local cluster, or what is missing of it.
//!
//! Invariants:
//! - It converges: whatever runs is left alone, whatever does not is started, so a second `up` changes nothing and an
//!   `up` after a crash or a reboot repairs.
//! - A cluster that could not be started for the first time leaves nothing behind.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::runtime::watcher::{self, Event};

use crate::cli::UpArgs;
use crate::cluster::{Cluster, default_data_dir, name_flag};
use crate::kubeconfig::{self, Access, context_name};
use crate::pki::IdentityPaths;
use crate::process::{self, Process, Start};
use crate::progress::Progress;
use crate::{down, host_network, server};

/// How long the control plane or an agent may take to start.
const START_WAIT: Duration = Duration::from_secs(30);
/// Ports tried when 6443 is taken and none was asked for.
const PORTS_TRIED: u16 = 200;

/// Runs `knarr up`.
///
/// # Errors
/// When the cluster cannot be started; the message is for a person.
pub async fn run(args: UpArgs) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("nodes need root; run `sudo knarr up`");
    }
    let name = &args.cluster.name;
    let found = Cluster::find(name, args.cluster.data_dir.as_deref())?;
    if let Some(cluster) = &found {
        check_unchanged(cluster, &args)?;
        if missing(cluster).is_empty() {
            println!(
                "cluster {name:?} is already running; kubectl context {:?}",
                context_name(name)
            );
            return Ok(());
        }
    }
    let fresh = found.is_none();
    let cluster = found.map_or_else(|| plan(&args), Ok)?;
    let progress = Progress::start();
    let result = converge(&cluster, &args, &progress).await;
    if result.is_err() && fresh {
        progress.say("undoing what was started");
        down::remove(&cluster, down::Keep::Nothing).await?;
    }
    result?;
    progress.say(&format!(
        "cluster {name:?} is up after {}; kubectl now uses context {:?}",
        progress.total(),
        context_name(name)
    ));
    Ok(())
}

/// A new cluster, in ranges and on a port that nobody uses.
fn plan(args: &UpArgs) -> Result<Cluster> {
    let name = args.cluster.name.clone();
    let data_dir = match &args.cluster.data_dir {
        Some(dir) => std::path::absolute(dir)?,
        None => default_data_dir(&name),
    };
    let cluster = |slot, port| Cluster {
        name: name.clone(),
        slot,
        nodes: args.nodes.unwrap_or(1),
        port,
        uplink: !args.no_uplink,
        data_dir: data_dir.clone(),
    };
    let port = args.port.map_or_else(free_port, Ok)?;
    let slot = host_network::free_slot(|slot| cluster(slot, port))?;
    Ok(cluster(slot, port))
}

/// A running cluster is not changed by other flags; say so instead of ignoring them.
fn check_unchanged(cluster: &Cluster, args: &UpArgs) -> Result<()> {
    let nodes = args.nodes.is_some_and(|nodes| nodes != cluster.nodes);
    let port = args.port.is_some_and(|port| port != cluster.port);
    if nodes || port || (args.no_uplink && cluster.uplink) {
        let (nodes, port, flag) = (cluster.nodes, cluster.port, name_flag(&cluster.name));
        bail!(
            "cluster {:?} exists with --nodes {nodes} --port {port}{}; remove it with \
             `knarr down{flag}` before it can be made anew",
            cluster.name,
            if cluster.uplink { "" } else { " --no-uplink" },
        );
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let found = (server::PORT..server::PORT + PORTS_TRIED).find(free);
    found.context("no free port near 6443; choose one with --port")
}

/// The processes of a cluster that do not run, by their pid files.
pub fn missing(cluster: &Cluster) -> Vec<std::path::PathBuf> {
    let mut files = vec![server_pid(cluster)];
    for node in cluster.node_names() {
        files.extend([holder_pid(cluster, &node), agent_pid(cluster, &node)]);
    }
    files.retain(|file| Process::read(file).is_none());
    files
}

/// The pid file of the control plane.
pub fn server_pid(cluster: &Cluster) -> std::path::PathBuf {
    cluster.run_dir().join("server.pid")
}

/// The pid file of the process that is a node.
pub fn holder_pid(cluster: &Cluster, node: &str) -> std::path::PathBuf {
    cluster.run_dir().join("nodes").join(node).join("node.pid")
}

/// The pid file of a node's agent.
pub fn agent_pid(cluster: &Cluster, node: &str) -> std::path::PathBuf {
    cluster.run_dir().join("nodes").join(node).join("agent.pid")
}

async fn converge(cluster: &Cluster, args: &UpArgs, progress: &Progress) -> Result<()> {
    cluster.save()?;
    progress.step("network", async { host_network::set_up(cluster) }).await?;
    progress.step("control plane", async { start_server(cluster, args) }).await?;
    for (n, node) in (1..).zip(cluster.node_names()) {
        let what = format!("node {node}");
        progress.step(&what, async { start_node(cluster, args, n, &node) }).await?;
    }
    progress.step("kubeconfig", async { write_kubeconfig(cluster) }).await?;
    if !args.wait.is_zero() {
        progress.step("nodes ready", wait_ready(cluster, args.wait)).await?;
    }
    Ok(())
}

fn start_server(cluster: &Cluster, args: &UpArgs) -> Result<()> {
    let pid_file = server_pid(cluster);
    if Process::read(&pid_file).is_some() {
        return Ok(());
    }
    let args = [
        ("server", String::new()),
        ("--name", cluster.name.clone()),
        ("--data-dir", cluster.server_dir().display().to_string()),
        ("--bind-address", Ipv4Addr::LOCALHOST.to_string()),
        ("--bind-address", cluster.gateway().to_string()),
        ("--port", cluster.port.to_string()),
        ("--cluster-cidr", cluster.pod_cidr().to_string()),
        ("--service-cidr", cluster.service_cidr().to_string()),
        ("--log-level", args.log_level.clone()),
    ];
    let log = cluster.data_dir.join("logs/server.log");
    process::start(&Start { args: flat(&args), log, pid_file, wait: START_WAIT })?;
    Ok(())
}

fn start_node(cluster: &Cluster, args: &UpArgs, n: u8, node: &str) -> Result<()> {
    let logs = cluster.data_dir.join("logs");
    let (pid_file, wait) = (holder_pid(cluster, node), START_WAIT);
    let holder = match Process::read(&pid_file) {
        Some(holder) => holder,
        None => {
            let log = logs.join(format!("{node}-node.log"));
            process::start(&Start { args: vec!["hold-node".into()], log, pid_file, wait })?
        }
    };
    host_network::connect_node(cluster, n, holder.pid())?;
    let pid_file = agent_pid(cluster, node);
    if Process::read(&pid_file).is_some() {
        return Ok(());
    }
    let (args, log) =
        (agent_args(cluster, args, n, node, &holder), logs.join(format!("{node}.log")));
    process::start(&Start { args, log, pid_file, wait })?;
    Ok(())
}

fn agent_args(
    cluster: &Cluster,
    args: &UpArgs,
    n: u8,
    node: &str,
    holder: &Process,
) -> Vec<String> {
    let run_dir = cluster.run_dir().join("nodes").join(node);
    let mut list = flat(&[
        ("agent", String::new()),
        ("--in-node", holder.pid().to_string()),
        ("--server", format!("https://{}:{}", cluster.gateway(), cluster.port)),
        ("--token-file", cluster.server_dir().join("token").display().to_string()),
        ("--node-name", node.to_owned()),
        ("--node-ip", cluster.node_ip(n).to_string()),
        ("--data-dir", cluster.node_dir(node).display().to_string()),
        ("--run-dir", run_dir.display().to_string()),
        ("--cgroup", cluster.node_cgroup(node)),
        ("--log-level", args.log_level.clone()),
    ]);
    if !cluster.uplink {
        list.push("--no-uplink".into());
    }
    list
}

fn flat(args: &[(&str, String)]) -> Vec<String> {
    let words = args.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]);
    words.filter(|word| !word.is_empty()).collect()
}

fn write_kubeconfig(cluster: &Cluster) -> Result<()> {
    let access = access(cluster)?;
    let path = kubeconfig::user_path()?;
    let mut config = kubeconfig::read(&path)?;
    access.merge_into(&mut config);
    kubeconfig::write(&path, &config)
}

/// How the cluster's administrator reaches it.
fn access(cluster: &Cluster) -> Result<Access> {
    let dir = cluster.server_dir().join("pki");
    let admin = IdentityPaths::new(&dir, "admin").read()?;
    Ok(Access {
        cluster: cluster.name.clone(),
        server: cluster.api_url(),
        ca: std::fs::read_to_string(dir.join("ca.crt")).context("the cluster has no authority")?,
        admin: admin.context("the cluster has no administrator's certificate")?,
    })
}

/// A client of the cluster, as its administrator.
///
/// # Errors
/// When it was never started.
pub fn client(cluster: &Cluster) -> Result<client::Client> {
    use client::connect::{Credentials, Endpoint};
    let access = access(cluster)?;
    let endpoint = Endpoint { url: access.server, ca_pem: access.ca.into() };
    let credentials = Credentials::Certificate {
        certificate_pem: access.admin.certificate.into(),
        key_pem: access.admin.key.into(),
    };
    Ok(client::connect::connect(&endpoint, &credentials)?)
}

/// Waits until every node is ready, and leads the machine to their pods.
async fn wait_ready(cluster: &Cluster, wait: Duration) -> Result<()> {
    let mut waiting = cluster.node_names();
    let nodes: Api<Node> = Api::all(client(cluster)?);
    let all = async {
        let mut events = Box::pin(watcher::watcher(nodes, watcher::Config::default()));
        while let Some(event) = events.try_next().await? {
            let (Event::Apply(node) | Event::InitApply(node)) = event else { continue };
            if is_ready(&node) {
                let name = node.metadata.name.as_deref().unwrap_or_default();
                route(cluster, name, &node)?;
                waiting.retain(|waiting| waiting != name);
            }
            if waiting.is_empty() {
                return anyhow::Ok(());
            }
        }
        Ok(())
    };
    let done = tokio::time::timeout(wait, all).await;
    done.with_context(|| {
        let logs = cluster.data_dir.join("logs");
        format!("nodes not ready after {} s; their logs are in {}", wait.as_secs(), logs.display())
    })?
}

/// Whether a node's condition Ready is True.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn route(cluster: &Cluster, name: &str, node: &Node) -> Result<()> {
    let range = node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_deref());
    let position = cluster.node_names().iter().position(|known| known == name);
    let (Some(range), Some(position)) = (range, position) else { return Ok(()) };
    host_network::route_pods(cluster, position as u8 + 1, range.parse()?)
}
