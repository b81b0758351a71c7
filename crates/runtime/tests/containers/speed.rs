//! How long a pod takes from nothing to running, and what its shim costs. A measurement, not a judgement: run with `--ignored`.

use crate::harness::*;
use std::time::{Duration, Instant};

/// Least and median.
fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("{:.1?}/{:.1?}", times[0], times[times.len() / 2])
}

/// Private memory of a process in KiB.
fn private_kib(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps");
    text.lines()
        .filter(|l| l.starts_with("Private_"))
        .filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn pod_start_is_measured() {
    let mut node = Node::start().await;
    let (mut sandboxes, mut creates, mut starts, mut totals) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut last = String::new();
    for round in 0..30 {
        let begin = Instant::now();
        let sandbox = node.sandbox(&format!("speed{round}")).await;
        let sandboxed = Instant::now();
        let id = node.create(&sandbox, container("c", &["sleep", "1000"])).await;
        let created = Instant::now();
        node.try_start(&id).await.expect("starts");
        let started = Instant::now();
        sandboxes.push(sandboxed - begin);
        creates.push(created - sandboxed);
        starts.push(started - created);
        totals.push(started - begin);
        if !last.is_empty() {
            node.remove_sandbox(&last).await;
        }
        last = sandbox;
    }
    let shim = node.shim_pid(&last).await;
    println!(
        "least/median: sandbox {}, create {}, start {}, all {}; shim private {} KiB",
        summary(sandboxes),
        summary(creates),
        summary(starts),
        summary(totals),
        private_kib(shim)
    );
}
