//! The network of one node's pods: what is allocated to whom, and the links that carry it.
//!
//! State on disk, all below one directory: `addresses/<ip>` holds the id of the sandbox it belongs to. The near end of
//! a sandbox's link is named after its id, so a leftover link is found from the id alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::cidr::Cidr;
use crate::link::{self, LinkError, Links, Pair};
use crate::nftables;

/// What pods call their interface.
const POD_INTERFACE: &str = "eth0";
/// The first addresses of a range are its name and its gateway.
const FIRST_POD: u32 = 2;
/// The greatest packet on the bridge; no tunnel takes from it.
const MTU: u32 = 1500;

/// What a node's network is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bridge's name, at most 15 bytes. Its own address is the first of `pod_cidr`.
    pub bridge: String,
    /// The range this node's pods get their addresses from.
    pub pod_cidr: Cidr,
    /// Where allocations are kept.
    pub state_dir: PathBuf,
    /// Whether pods reach the world behind the node's address.
    pub masquerade: bool,
    /// The ranges of the whole cluster: reached without masquerade, and unreachable where nobody owns them.
    pub cluster_cidrs: Vec<Cidr>,
}

/// Why a sandbox could not be connected.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The state could not be read or written.
    #[error("{path}: {source}")]
    State {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Every address is taken.
    #[error("no addresses available in {0}")]
    Exhausted(Cidr),
    /// A system setting or rule could not be made.
    #[error("{what}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A node's pod network. Clones share it.
#[derive(Clone)]
pub struct Network {
    config: Arc<Config>,
    addresses: Arc<Mutex<Addresses>>,
}

/// Which address belongs to which sandbox.
struct Addresses {
    taken: BTreeMap<Ipv4Addr, String>,
    /// The last one given: the next search starts behind it, so that an address is not reused at once.
    last: Option<Ipv4Addr>,
}

impl Network {
    /// Makes the bridge, routes and rules, and reads what is allocated. Blocks for some milliseconds.
    ///
    /// # Errors
    /// [`NetworkError`], with nothing half allocated.
    pub fn open(config: Config) -> Result<Self, NetworkError> {
        let dir = config.state_dir.join("addresses");
        std::fs::create_dir_all(&dir).map_err(state(&dir))?;
        let addresses = Addresses { taken: read_addresses(&dir)?, last: None };
        system_setting("net/ipv4/ip_forward", "1")?;
        link::in_namespace(None, async |links| set_up(links, &config).await)?;
        if config.masquerade {
            nftables::masquerade(&config.bridge, config.pod_cidr, &config.cluster_cidrs)
                .map_err(system("masquerade the pods' addresses"))?;
        }
        let addresses = Arc::new(Mutex::new(addresses));
        Ok(Self { config: Arc::new(config), addresses })
    }

    /// Connects the network namespace at `netns` and answers its addresses. A second call answers the same.
    ///
    /// # Errors
    /// [`NetworkError`]; what was made before the error is removed by [`Network::detach`].
    pub fn attach(&self, id: &str, netns: &Path) -> Result<Vec<IpAddr>, NetworkError> {
        let netns = link::open_namespace(netns)?;
        let address = self.allocate(id)?;
        let name = link_name(id);
        let bridge = &self.config.bridge;
        let pair =
            Pair { name: &name, peer: POD_INTERFACE, peer_netns: netns.as_fd(), bridge, mtu: MTU };
        let connected = link::in_namespace(Some(netns.as_fd()), async |links| {
            links.index(POD_INTERFACE).await
        })?;
        if connected.is_none() {
            link::in_namespace(None, async |links| {
                links.delete(&name).await?;
                links.add_pair(&pair).await
            })?;
        }
        let (range, gateway) = (self.config.pod_cidr, self.gateway());
        link::in_namespace(Some(netns.as_fd()), async |links| {
            links.up(links.existing("lo").await?).await?;
            let index = links.existing(POD_INTERFACE).await?;
            links.up(index).await?;
            links.ensure_address(index, address, range.prefix).await?;
            links.ensure_route(Cidr::new(Ipv4Addr::UNSPECIFIED, 0), gateway).await
        })?;
        Ok(vec![IpAddr::V4(address)])
    }

    /// Disconnects a sandbox and frees its address, whether or not its namespace still exists.
    ///
    /// # Errors
    /// [`NetworkError`]; it may be called again.
    pub fn detach(&self, id: &str) -> Result<(), NetworkError> {
        link::in_namespace(None, async |links| links.delete(&link_name(id)).await)?;
        let mut addresses = self.addresses.lock().expect("no holder panics");
        let owned: Vec<_> =
            addresses.taken.iter().filter(|(_, owner)| *owner == id).map(|(ip, _)| *ip).collect();
        for address in owned {
            remove_file(&self.address_file(address))?;
            addresses.taken.remove(&address);
        }
        Ok(())
    }

    /// The sandboxes that hold an address.
    pub fn attached(&self) -> Vec<String> {
        self.addresses.lock().expect("no holder panics").taken.values().cloned().collect()
    }

    /// Removes bridge, routes and rules. Sandboxes are detached before.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn teardown(&self) -> Result<(), NetworkError> {
        nftables::delete(&self.config.bridge).map_err(system("remove the masquerade rules"))?;
        let config = &self.config;
        link::in_namespace(None, async |links| {
            links.delete(&config.bridge).await?;
            for range in &config.cluster_cidrs {
                links.delete_unreachable(*range).await?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn gateway(&self) -> Ipv4Addr {
        gateway(self.config.pod_cidr)
    }

    fn address_file(&self, address: Ipv4Addr) -> PathBuf {
        self.config.state_dir.join("addresses").join(address.to_string())
    }

    fn allocate(&self, id: &str) -> Result<Ipv4Addr, NetworkError> {
        let mut addresses = self.addresses.lock().expect("no holder panics");
        if let Some((address, _)) = addresses.taken.iter().find(|(_, owner)| *owner == id) {
            return Ok(*address);
        }
        let range = self.config.pod_cidr;
        let address = addresses.next_free(range).ok_or(NetworkError::Exhausted(range))?;
        let file = self.address_file(address);
        std::fs::write(&file, id).map_err(state(&file))?;
        addresses.taken.insert(address, id.to_owned());
        addresses.last = Some(address);
        Ok(address)
    }
}

impl Addresses {
    /// The first free address behind the last one given, around the range; its first two and its last are not for pods.
    fn next_free(&self, range: Cidr) -> Option<Ipv4Addr> {
        let end = u32::try_from(range.size().saturating_sub(1)).ok()?;
        let last = self.last.or_else(|| self.taken.keys().next_back().copied());
        let offset = last.map_or(FIRST_POD, |ip| ip.to_bits() - range.address.to_bits() + 1);
        let mut candidates = (offset..end).chain(FIRST_POD..offset.min(end));
        candidates.find_map(|n| range.nth(n).filter(|ip| !self.taken.contains_key(ip)))
    }
}

fn gateway(range: Cidr) -> Ipv4Addr {
    Ipv4Addr::from_bits(range.address.to_bits() | 1)
}

/// The near end of a sandbox's link: 15 bytes at most, so a prefix of its random id.
fn link_name(id: &str) -> String {
    format!("veth{}", id.chars().filter(char::is_ascii_alphanumeric).take(11).collect::<String>())
}

async fn set_up(links: &Links, config: &Config) -> Result<(), LinkError> {
    let bridge = links.ensure_bridge(&config.bridge).await?;
    links.ensure_address(bridge, gateway(config.pod_cidr), config.pod_cidr.prefix).await?;
    for range in &config.cluster_cidrs {
        links.ensure_unreachable(*range).await?;
    }
    Ok(())
}

fn read_addresses(dir: &Path) -> Result<BTreeMap<Ipv4Addr, String>, NetworkError> {
    let mut taken = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(state(dir))? {
        let path = entry.map_err(state(dir))?.path();
        let address = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(address) = address {
            taken.insert(address, std::fs::read_to_string(&path).map_err(state(&path))?);
        }
    }
    Ok(taken)
}

fn remove_file(path: &Path) -> Result<(), NetworkError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(state(path)(error)),
        _ => Ok(()),
    }
}

fn system_setting(name: &str, value: &str) -> Result<(), NetworkError> {
    let path = Path::new("/proc/sys").join(name);
    if std::fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(state(&path))
}

fn state(path: &Path) -> impl FnOnce(std::io::Error) -> NetworkError {
    let path = path.to_owned();
    move |source| NetworkError::State { path, source }
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> NetworkError {
    move |source| NetworkError::System { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round_the_range_and_skip_what_is_taken() {
        let range: Cidr = "10.0.0.0/29".parse().unwrap();
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        let mut addresses = Addresses { taken: BTreeMap::new(), last: None };
        let mut given = Vec::new();
        while let Some(address) = addresses.next_free(range) {
            addresses.taken.insert(address, "x".into());
            addresses.last = Some(address);
            given.push(address);
        }
        assert_eq!(given, (2..7).map(ip).collect::<Vec<_>>());
        addresses.taken.remove(&ip(3));
        assert_eq!(addresses.next_free(range), Some(ip(3)));
        addresses.taken.clear();
        addresses.last = Some(ip(4));
        assert_eq!(addresses.next_free(range), Some(ip(5)), "not reused at once");
    }

    #[test]
    fn link_names_fit_the_kernel() {
        assert_eq!(link_name("0123456789abcdef"), "veth0123456789a");
        assert_eq!(link_name("0123456789abcdef").len(), 15);
    }
}
