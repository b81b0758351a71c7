//! Chores of the project: `cargo xtask ci`, `cargo xtask tidy`, `cargo xtask bench`.

mod bench;
mod ci;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Measure a release build and print the table of docs/benchmarks.md
    Bench(bench::BenchArgs),
    /// Everything a change must pass
    Ci,
    /// The rules of the house that a machine can check
    Tidy {
        /// Rewrite the list of long functions; it may only shrink
        #[arg(long)]
        bless: bool,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().chore {
        Chore::Bench(args) => bench::run(&args),
        Chore::Ci => ci::run(),
        Chore::Tidy { bless } => tidy::run(bless),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
