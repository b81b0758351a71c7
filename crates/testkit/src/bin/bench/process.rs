//! Starting, and what an idle cluster costs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testkit::cluster::{Options, Role, TestCluster, built_binary};
use testkit::http::{Access, Connection};

use super::report::{Report, Target, percentile};

/// How long a cluster may be busy with its start before it counts as idle.
const SETTLE: Duration = Duration::from_secs(10);
/// How long its idle CPU time is watched.
const WATCH: Duration = Duration::from_secs(30);
/// Between two attempts to reach a server that is not listening yet; nothing tells when its port opens.
const RETRY: Duration = Duration::from_millis(1);
/// Clock ticks of `/proc/PID/stat` in a second; fixed in the kernel's interface.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes of a page in `/proc/PID/statm`.
const PAGE_BYTES: u64 = 4096;

/// Times from the start of processes to `/readyz` and to a Ready node.
///
/// # Errors
/// When one does not start.
pub fn startup(rounds: usize, report: &mut Report) -> Result<()> {
    let mut ready: Vec<Duration> = (0..rounds).map(|_| readyz()).collect::<Result<_>>()?;
    ready.sort_unstable();
    let seconds = |times: &[Duration]| percentile(times, 50).as_secs_f64();
    report.add("server start → /readyz, empty store", seconds(&ready), "s", Target::AtMost(0.3));
    let mut up: Vec<Duration> = (0..rounds).map(|_| up()).collect();
    up.sort_unstable();
    report.add("`knarr up` → node Ready", seconds(&up), "s", Target::AtMost(1.0));
    Ok(())
}

/// Starts a server on an empty directory and asks until it is ready.
fn readyz() -> Result<Duration> {
    let cluster = TestCluster::prepare(Options::default());
    let data = cluster.scratch().join("server");
    let mut command = cluster.netns().command(built_binary());
    command.args(["server", "--bind-address", "127.0.0.1", "--log-level", "error", "--data-dir"]);
    command.arg(&data).stderr(std::process::Stdio::null());
    let started = Instant::now();
    let mut server = command.spawn().context("the server does not start")?;
    let ready = cluster.block_on(async || wait_ready(&data).await);
    let took = started.elapsed();
    server.kill()?;
    server.wait()?;
    ready.map(|()| took)
}

async fn wait_ready(data: &std::path::Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match ask_ready(data).await {
            Ok(true) => return Ok(()),
            result if Instant::now() > deadline => {
                result.context("the server does not become ready")?;
            }
            _ => tokio::time::sleep(RETRY).await,
        }
    }
}

async fn ask_ready(data: &std::path::Path) -> Result<bool> {
    let access = Access::from_kubeconfig(&data.join("admin.kubeconfig"))?;
    Ok(Connection::open(&access).await?.get("/readyz").await?.status == 200)
}

fn up() -> Duration {
    let cluster = TestCluster::prepare(Options { log_level: "warn", ..Options::default() });
    let started = Instant::now();
    cluster.up().ok();
    started.elapsed()
}

/// Memory and CPU time of everything a cluster without pods runs.
///
/// # Errors
/// When a process cannot be read.
pub fn idle(cluster: &TestCluster, quick: bool, report: &mut Report) -> Result<()> {
    let scale = if quick { 10 } else { 1 };
    std::thread::sleep(SETTLE / scale);
    let before = cpu_ticks(cluster)?;
    std::thread::sleep(WATCH / scale);
    let used = (cpu_ticks(cluster)? - before) as f64 / TICKS_PER_SECOND;
    let share = 100.0 * used / (WATCH / scale).as_secs_f64();
    report.add(
        "idle memory of all processes (RSS)",
        memory_mb(cluster)?,
        "MB",
        Target::AtMost(80.0),
    );
    report.add("idle CPU, of one core", share, "%", Target::AtMost(1.0));
    Ok(())
}

/// Memory after everything else was measured.
///
/// # Errors
/// When a process cannot be read.
pub fn memory_after_load(cluster: &TestCluster, report: &mut Report) -> Result<()> {
    report.add("memory after all of this (RSS)", memory_mb(cluster)?, "MB", Target::None);
    Ok(())
}

/// Server, agents and the holders of the nodes' namespaces.
fn pids(cluster: &TestCluster) -> Vec<i32> {
    let nodes = cluster.node_names();
    let mut pids = vec![cluster.pid(&Role::Server)];
    pids.extend(nodes.iter().map(|node| cluster.pid(&Role::Agent(node.clone()))));
    pids.extend(nodes.into_iter().map(|node| cluster.pid(&Role::Node(node))));
    pids
}

fn memory_mb(cluster: &TestCluster) -> Result<f64> {
    let mut bytes = 0;
    for pid in pids(cluster) {
        let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
        let pages: u64 = text.split_whitespace().nth(1).context("statm")?.parse()?;
        bytes += pages * PAGE_BYTES;
    }
    Ok(bytes as f64 / 1e6)
}

fn cpu_ticks(cluster: &TestCluster) -> Result<u64> {
    let mut ticks = 0;
    for pid in pids(cluster) {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> =
            text.rsplit_once(')').context("stat")?.1.split_whitespace().collect();
        for field in [11, 12] {
            ticks += fields.get(field).context("stat")?.parse::<u64>()?;
        }
    }
    Ok(ticks)
}
