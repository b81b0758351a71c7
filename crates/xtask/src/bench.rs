//! `cargo xtask bench`: builds for release what measures and what is measured, and runs it.
//!
//! The measuring itself is the binary `bench` of `testkit`, so that the other chores need not wait for its dependencies.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

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
    cargo(&["build", "--release", "--locked", "--package", "knarr"].map(Into::into))?;
    let run = ["run", "--release", "--locked", "--package", "testkit", "--bin", "bench", "--"];
    let mut words: Vec<String> = run.map(Into::into).into();
    if let Some(path) = &args.kubeconfig {
        words.extend(["--kubeconfig".into(), std::path::absolute(path)?.display().to_string()]);
    }
    if args.quick {
        words.push("--quick".into());
    }
    cargo(&words)
}

fn cargo(words: &[String]) -> Result<()> {
    let status = Command::new(env!("CARGO")).args(words).current_dir(crate::root()).status()?;
    if !status.success() {
        bail!("cargo {} failed", words.join(" "));
    }
    Ok(())
}
