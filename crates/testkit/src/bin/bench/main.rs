//! What `cargo xtask bench` runs: the numbers of `docs/benchmarks.md`, as a Markdown table.
//!
//! It measures a release build in a network namespace of its own, or any cluster that a kubeconfig leads to, stock
//! Kubernetes included: then only what a client can see from outside.
//!
//! Invariants: what is measured is what a client sees; a missed target is printed, not hidden.

mod load;
mod pods;
mod process;
mod report;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use report::Report;
use testkit::cluster::{Options, TestCluster};
use testkit::http::Access;

/// Measures Knarr, or any Kubernetes, and prints a Markdown table.
#[derive(Debug, Parser)]
struct Arguments {
    /// A running cluster, instead of one of its own
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A tenth of the work, to see whether it runs
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut report = Report::default();
    match &arguments.kubeconfig {
        Some(kubeconfig) => from_outside(kubeconfig, &arguments, &mut report)?,
        None => from_the_start(&arguments, &mut report)?,
    }
    print!("{report}");
    Ok(())
}

/// Everything, on clusters of its own.
fn from_the_start(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let rounds = if arguments.quick { 1 } else { 5 };
    process::startup(rounds, report)?;
    let cluster = TestCluster::start(Options { log_level: "warn", ..Options::default() });
    process::idle(&cluster, arguments.quick, report)?;
    let (kubeconfig, quick) = (cluster.kubeconfig(), arguments.quick);
    cluster.netns().run(|| -> Result<()> {
        let runtime = runtime()?;
        runtime.block_on(pods::measure(&kubeconfig, quick, report))?;
        let access = Access::from_kubeconfig(&kubeconfig)?;
        runtime.block_on(load::measure(&access, quick, report))
    })?;
    process::memory_after_load(&cluster, report)
}

/// What a client sees of a cluster that somebody else started.
fn from_outside(kubeconfig: &Path, arguments: &Arguments, report: &mut Report) -> Result<()> {
    let runtime = runtime()?;
    let access = Access::from_kubeconfig(kubeconfig).context("the kubeconfig cannot be used")?;
    runtime.block_on(load::measure(&access, arguments.quick, report))
}

/// The client gets one thread for its requests and one for its clock, so that it does not crowd out the server.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
