//! The `knarr` binary: local clusters, servers and nodes, from one command line.
//!
//! Invariants:
//! - The first thing `main` does is to ask whether this process is one of the runtime's single-threaded helpers.
//! - Namespaces are entered before the first thread is made.
//! - Errors are one line on standard error that says the way out; the exit code is 1.

mod agent;
mod cgroup;
mod cli;
mod cluster;
mod down;
mod host_network;
mod image;
mod join;
mod kubeconfig;
mod node_namespace;
mod node_shell;
mod pki;
mod pod_network;
mod process;
mod progress;
mod server;
mod status;
mod token;
mod up;
mod version;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use cli::{Cli, Command, NodeCommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What `--version`, `/version` and the nodes say.
pub const VERSION: &str = concat!("v1.36.2+knarr.", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    runtime::reexec();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::HoldNode => node_namespace::hold()?,
        Command::Agent(args) => {
            if let Some(pid) = args.in_node {
                node_namespace::enter(pid)?;
                node_namespace::own_logs(&args.data_dir.join("log"), &args.log_dir)?;
            }
            let level = args.log_level.clone();
            serve(&level, |shutdown| agent::run(args, shutdown))?;
        }
        Command::Server(args) => {
            let level = args.log_level.clone();
            serve(&level, |shutdown| server::run(args, shutdown))?;
        }
        Command::Node(NodeCommand::Shell { cluster, node, command }) => {
            node_shell::run(&cluster, &node, &command)?;
        }
        Command::Up(args) => block_on(up::run(args))?,
        Command::Down(args) => block_on(down::run(args))?,
        Command::Status(args) => return block_on(status::run(args)),
        Command::Image(command) => block_on(image::run(command))?,
        Command::Version => println!("knarr {VERSION}"),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "knarr", &mut std::io::stdout());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(work)
}

/// Runs a server until SIGTERM or SIGINT.
fn serve<F: Future<Output = Result<()>>>(
    log_level: &str,
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<()> {
    let filter = EnvFilter::try_new(log_level)
        .with_context(|| format!("--log-level {log_level:?} is not a level or a filter"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            stop.cancel();
        });
        work(shutdown).await
    })
}
