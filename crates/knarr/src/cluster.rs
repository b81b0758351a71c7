//! What a local cluster is made of, as `up` writes it down before it makes it.
//!
//! Invariants:
//! - Everything `up` makes outside the data directory is found from [`Cluster`] alone: links, routes, rules and cgroups
//!   are named by its slot and name, processes by their pid files.
//! - The file is written before the first thing it speaks of is made, and removed after the last is gone.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cni::Cidr;
use serde::{Deserialize, Serialize};

/// The cluster that commands mean when none is named.
pub const DEFAULT_NAME: &str = "default";
/// Where state is kept unless `--data-dir` says otherwise.
const DATA_ROOT: &str = "/var/lib/knarr";
/// Where what does not outlive a reboot is kept.
const RUN_ROOT: &str = "/run/knarr";
/// Local clusters on one machine at a time: each takes two /16 of 10.0.0.0/8, from 10.42 up.
pub const SLOTS: u8 = 100;
/// Nodes of a local cluster: their addresses share a /24, their pods' ranges a /16.
pub const MAX_NODES: u8 = 100;
/// Links have 15 bytes, cgroups and contexts carry the name: short, and plain.
const NAME_LIMIT: usize = 40;

/// A local cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Which ranges and links are its own, below [`SLOTS`].
    pub slot: u8,
    /// How many nodes it has.
    pub nodes: u8,
    /// Where the API server listens on loopback.
    pub port: u16,
    /// Whether pods reach the world.
    pub uplink: bool,
    /// Where its state is.
    pub data_dir: PathBuf,
}

impl Cluster {
    /// Where the cluster's sockets, logs of this boot and pid files are.
    pub fn run_dir(&self) -> PathBuf {
        run_dir(&self.name)
    }

    /// Where the server keeps its state.
    pub fn server_dir(&self) -> PathBuf {
        self.data_dir.join("server")
    }

    /// Where a node keeps its state.
    pub fn node_dir(&self, node: &str) -> PathBuf {
        self.data_dir.join("nodes").join(node)
    }

    /// The names of the nodes: `NAME-1` and so on, with `knarr` for the default cluster.
    pub fn node_names(&self) -> Vec<String> {
        (1..=self.nodes).map(|n| self.node_name(n)).collect()
    }

    fn node_name(&self, n: u8) -> String {
        match self.name.as_str() {
            DEFAULT_NAME => format!("knarr-{n}"),
            name => format!("{name}-{n}"),
        }
    }

    /// The range of the nodes' addresses.
    pub fn node_cidr(&self) -> Cidr {
        Cidr::new(Ipv4Addr::new(10, 41, self.slot, 0), 24)
    }

    /// The range of the pods' addresses.
    pub fn pod_cidr(&self) -> Cidr {
        Cidr::new(Ipv4Addr::new(10, 42 + 2 * self.slot, 0, 0), 16)
    }

    /// The range of the services' addresses.
    pub fn service_cidr(&self) -> Cidr {
        Cidr::new(Ipv4Addr::new(10, 43 + 2 * self.slot, 0, 0), 16)
    }

    /// The host's address on the nodes' bridge: their gateway, and the API server's address for them.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.node_cidr().address.to_bits() + 1)
    }

    /// The address of the `n`-th node, counted from 1.
    pub fn node_ip(&self, n: u8) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.gateway().to_bits() + u32::from(n))
    }

    /// The bridge that connects the nodes, and the table of its rules.
    pub fn bridge(&self) -> String {
        format!("kn{}", self.slot)
    }

    /// The near end of a node's link.
    pub fn node_link(&self, n: u8) -> String {
        format!("kn{}n{n}", self.slot)
    }

    /// The cgroup of everything a node runs, below each hierarchy's root.
    pub fn node_cgroup(&self, node: &str) -> String {
        format!("/knarr/{}/{node}", self.name)
    }

    /// Where administrators reach the API server.
    pub fn api_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its URL.
    pub fn api_url(&self) -> String {
        format!("https://{}", self.api_address())
    }

    /// Writes the cluster down, in its data directory and, to be found by name, where running things are.
    ///
    /// # Errors
    /// When a directory cannot be written.
    pub fn save(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        for dir in [&self.data_dir, &self.run_dir()] {
            std::fs::create_dir_all(dir)
                .with_context(|| format!("cannot create {}", dir.display()))?;
            crate::pki::write_private(&dir.join("cluster.json"), &text)?;
        }
        Ok(())
    }

    /// A cluster by its name: a running one, or one whose state is in the given or the default directory.
    ///
    /// # Errors
    /// When a file is there but damaged.
    pub fn find(name: &str, data_dir: Option<&Path>) -> Result<Option<Self>> {
        let data_dir = data_dir.map_or_else(|| default_data_dir(name), Path::to_owned);
        for dir in [run_dir(name), data_dir] {
            let path = dir.join("cluster.json");
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let wrong = || format!("{} is damaged; remove it to start anew", path.display());
            return Ok(Some(serde_json::from_str(&text).with_context(wrong)?));
        }
        Ok(None)
    }

    /// Like [`Cluster::find`], for commands that need one.
    ///
    /// # Errors
    /// When there is none.
    pub fn existing(name: &str, data_dir: Option<&Path>) -> Result<Self> {
        let Some(cluster) = Self::find(name, data_dir)? else {
            bail!("there is no cluster {name:?}; start one with `knarr up{}`", name_flag(name));
        };
        Ok(cluster)
    }
}

/// How a command names a cluster.
pub fn name_flag(name: &str) -> String {
    match name {
        DEFAULT_NAME => String::new(),
        name => format!(" --name {name}"),
    }
}

/// Where a cluster's state is by default.
pub fn default_data_dir(name: &str) -> PathBuf {
    Path::new(DATA_ROOT).join(name)
}

/// Where a cluster's running things are.
pub fn run_dir(name: &str) -> PathBuf {
    Path::new(RUN_ROOT).join(name)
}

/// Accepts what can name a cluster: it becomes part of node names, which are DNS labels.
///
/// # Errors
/// When it is something else.
pub fn parse_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let fits = text.len() <= NAME_LIMIT && text.chars().all(plain);
    match fits && edge(text.chars().next()) && edge(text.chars().last()) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "a name is up to {NAME_LIMIT} lower-case letters, digits and dashes, such as \"dev-2\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str, slot: u8) -> Cluster {
        let data_dir = "/data".into();
        Cluster { name: name.into(), slot, nodes: 3, port: 6443, uplink: true, data_dir }
    }

    #[test]
    fn default_cluster_has_the_documented_places() {
        let cluster = cluster(DEFAULT_NAME, 0);
        assert_eq!(cluster.pod_cidr().to_string(), "10.42.0.0/16");
        assert_eq!(cluster.service_cidr().to_string(), "10.43.0.0/16");
        assert_eq!(cluster.node_names(), ["knarr-1", "knarr-2", "knarr-3"]);
        assert_eq!(cluster.gateway().to_string(), "10.41.0.1");
        assert_eq!(cluster.node_ip(1).to_string(), "10.41.0.2");
        assert_eq!(cluster.api_url(), "https://127.0.0.1:6443");
    }

    #[test]
    fn last_slot_and_last_node_stay_in_their_ranges() {
        let last = Cluster { nodes: MAX_NODES, ..cluster("x", SLOTS - 1) };
        assert!(last.node_cidr().contains(last.node_ip(MAX_NODES)));
        assert_eq!(last.service_cidr().to_string(), "10.241.0.0/16");
        assert!(last.node_link(MAX_NODES).len() <= 15);
    }

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "dev-2", "0"] {
            assert_eq!(parse_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "a-", "A", "a_b", "../x", "a/b", &"x".repeat(41)] {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
    }
}
