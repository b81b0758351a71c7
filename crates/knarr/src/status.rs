//! `knarr status`: how a local cluster is, in the four lines of minikube and a line per node.
//!
//! Invariant: what is printed was just looked at; the exit code is 0 only when everything runs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::Api;

use crate::cli::ClusterArgs;
use crate::cluster::Cluster;
use crate::process::Process;
use crate::{kubeconfig, up};

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs `knarr status`.
///
/// # Errors
/// When there is no such cluster.
pub async fn run(args: ClusterArgs) -> Result<ExitCode> {
    let cluster = Cluster::existing(&args.name, args.data_dir.as_deref())?;
    let names = cluster.node_names();
    let runs = |file: PathBuf| Process::read(&file).is_some();
    let hosts = names.iter().filter(|node| runs(up::holder_pid(&cluster, node))).count();
    let kubelets = names.iter().filter(|node| runs(up::agent_pid(&cluster, node))).count();
    let answered = nodes(&cluster).await;
    let api = runs(up::server_pid(&cluster)) && answered.is_some();
    let configured = kubeconfig::user_path()
        .and_then(|path| kubeconfig::read(&path))
        .is_ok_and(|config| kubeconfig::leads_to(&config, &cluster.name, &cluster.api_url()));
    println!("host: {}", of(hosts, names.len()));
    println!("kubelet: {}", of(kubelets, names.len()));
    println!("apiserver: {}", if api { "Running" } else { "Stopped" });
    println!("kubeconfig: {}", if configured { "Configured" } else { "Misconfigured" });
    let answered = answered.unwrap_or_default();
    let mut ready = 0;
    for name in &names {
        let node = answered.iter().find(|node| node.metadata.name.as_ref() == Some(name));
        let state = match node {
            None => "Unknown",
            Some(node) if up::is_ready(node) => "Ready",
            Some(_) => "NotReady",
        };
        ready += usize::from(state == "Ready");
        println!("{name}: {state}");
    }
    let whole = api && configured && [hosts, kubelets, ready] == [names.len(); 3];
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn of(running: usize, all: usize) -> String {
    match running {
        0 => "Stopped".into(),
        n if n == all => "Running".into(),
        n => format!("{n} of {all} Running"),
    }
}

async fn nodes(cluster: &Cluster) -> Option<Vec<Node>> {
    let nodes: Api<Node> = Api::all(up::client(cluster).ok()?);
    let all = kube::api::ListParams::default();
    tokio::time::timeout(PATIENCE, nodes.list(&all)).await.ok()?.ok().map(|list| list.items)
}
