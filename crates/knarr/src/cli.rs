//! The command line, as one table: help, completion and dispatch all come from it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::agent::AgentArgs;
use crate::cluster::{DEFAULT_NAME, MAX_NODES, parse_name};
use crate::server::ServerArgs;

/// Kubernetes, in one binary.
#[derive(Debug, Parser)]
#[command(name = "knarr", version = crate::VERSION, about, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  knarr up                      start a cluster of one node and point kubectl at it
  knarr up --name dev --nodes 3 start another one with three nodes
  knarr status                  see how it is
  knarr node shell knarr-1      look around inside a node
  knarr down                    remove everything again";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a local cluster, or what is missing of it
    Up(UpArgs),
    /// Stop a local cluster and remove it
    Down(DownArgs),
    /// Show how a local cluster is
    Status(ClusterArgs),
    /// Work with the nodes of a local cluster
    #[command(subcommand)]
    Node(NodeCommand),
    /// Work with the images on the nodes of a local cluster
    #[command(subcommand)]
    Image(ImageCommand),
    /// Run a control plane
    Server(ServerArgs),
    /// Run a node
    Agent(AgentArgs),
    /// Show the version
    Version,
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  source <(knarr completion bash)")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Hold the namespaces of a local cluster's node
    #[command(hide = true)]
    HoldNode,
}

/// Which local cluster.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Name of the cluster
    #[arg(long, default_value = DEFAULT_NAME, value_parser = parse_name)]
    pub name: String,
    /// Where its state is kept [default: /var/lib/knarr/NAME]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// `knarr up`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  knarr up\n  knarr up --name dev --nodes 3 --wait 120s")]
pub struct UpArgs {
    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How many nodes [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_NODES)))]
    pub nodes: Option<u8>,
    /// Port of the API server [default: 6443, or the next free one]
    #[arg(long)]
    pub port: Option<u16>,
    /// How long to wait for the nodes to be ready, such as 60s or 2m
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    pub wait: std::time::Duration,
    /// Give pods no way out of the machine
    #[arg(long)]
    pub no_uplink: bool,
    /// What server and agents log
    #[arg(long, default_value = "info")]
    pub log_level: String,
}

/// `knarr down`.
#[derive(Clone, Debug, Args)]
pub struct DownArgs {
    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Keep its state, so that `knarr up` brings it back
    #[arg(long)]
    pub keep_data: bool,
}

/// `knarr node …`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Run a shell, or a command, inside a node
    #[command(
        after_help = "Examples:\n  knarr node shell knarr-1\n  knarr node shell knarr-1 -- ip addr\n  knarr node shell --name dev dev-2"
    )]
    Shell {
        /// Which cluster
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Name of the node
        node: String,
        /// What to run [default: $SHELL]
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// `knarr image …`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List images
    Ls(ImageArgs),
    /// Import images from an archive (docker or OCI) or an OCI layout directory
    #[command(
        after_help = "Example:\n  docker save my-app:1.0 -o app.tar && knarr image import app.tar"
    )]
    Import {
        /// Where to
        #[command(flatten)]
        nodes: ImageArgs,
        /// Archive or directory
        path: PathBuf,
        /// Name to give the image, instead of those in the archive
        #[arg(long, value_name = "REFERENCE")]
        tag: Option<String>,
    },
    /// Pull an image from its registry
    Pull {
        /// Where to
        #[command(flatten)]
        nodes: ImageArgs,
        /// Such as nginx:1.27 or quay.io/org/app:1.0
        reference: String,
    },
    /// Remove an image
    Rm {
        /// Where from
        #[command(flatten)]
        nodes: ImageArgs,
        /// Name or id of the image
        reference: String,
    },
}

/// Which nodes' images.
#[derive(Clone, Debug, Args)]
pub struct ImageArgs {
    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Only this node [default: all]
    #[arg(long)]
    pub node: Option<String>,
}

/// Reads `60s`, `2m`, `1m30s`, or plain seconds.
///
/// # Errors
/// When it is something else.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(std::time::Duration::from_secs(seconds.into()));
    }
    let parsed = apimachinery::duration::parse(text).ok();
    parsed
        .and_then(|duration| duration.try_into().ok())
        .ok_or_else(|| format!("{text:?} is not a duration such as 60s or 2m"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn table_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_as_written() {
        for (text, seconds) in [("60s", 60), ("2m", 120), ("1h1m1s", 3661), ("5", 5), ("0s", 0)] {
            assert_eq!(parse_duration(text).map(|d| d.as_secs()), Ok(seconds), "{text}");
        }
        for text in ["", "s", "5x", "1m2", "-1s", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
