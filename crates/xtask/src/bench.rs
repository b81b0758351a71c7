//! `cargo xtask bench`: builds for release what measures and what is measured, and runs it.
//!
//! The measuring itself is the binary `bench` of `testkit`, so that the other chores need not wait for its dependencies.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// A running cluster, instead of one of its own
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A tenth of the work, to see whether it runs
    #[arg(long)]
    quick: bool,
}

/// Measures and prints a Markdown table.
///
/// # Errors
/// When something cannot be built or measured.
pub fn run(args: &BenchArgs) -> Result<()> {
    // One build of both, so that what they share is built once.
    let both = ["--package", "knarr", "--package", "testkit", "--bin", "knarr", "--bin", "bench"];
    run_to_end(Command::new(env!("CARGO")).args(["build", "--release", "--locked"]).args(both))?;
    let mut bench = Command::new(release_dir()?.join("bench"));
    if let Some(path) = &args.kubeconfig {
        bench.arg("--kubeconfig").arg(std::path::absolute(path)?);
    }
    if args.quick {
        bench.arg("--quick");
    }
    run_to_end(&mut bench)
}

/// Where cargo puts release builds: beside the directory this program was built into.
fn release_dir() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let profiles = own.parent().and_then(Path::parent).context("this program has no directory")?;
    Ok(profiles.join("release"))
}

fn run_to_end(command: &mut Command) -> Result<()> {
    let status = command.current_dir(crate::root()).status()?;
    if !status.success() {
        bail!("{} failed: {status}", command.get_program().display());
    }
    Ok(())
}
