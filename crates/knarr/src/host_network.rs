//! The machine's side of a local cluster's network: a bridge, a link to each node, routes to their pods.
//!
//! Invariants: everything is named by the cluster's slot; what is there is left as it is; the cluster's ranges are
//! unreachable where no node owns them.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use cni::link::{self, LinkError, Links, Pair};
use cni::{Cidr, nftables};

use crate::cluster::{Cluster, SLOTS};
use crate::node_namespace::network_of;

/// What a node calls its uplink.
const UPLINK: &str = "eth0";
/// The greatest packet between nodes.
const MTU: u32 = 1500;

/// The lowest slot whose bridge and ranges nobody uses on this machine.
///
/// # Errors
/// When all are taken, or links cannot be listed.
pub fn free_slot(probe: impl Fn(u8) -> Cluster + Sync) -> Result<u8> {
    let free = link::in_namespace(None, async |links| {
        for slot in 0..SLOTS {
            let cluster = probe(slot);
            let bridge = links.index(&cluster.bridge()).await?;
            if bridge.is_none() && !links.has_route(cluster.pod_cidr()).await? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    })?;
    match free {
        Some(slot) => Ok(slot),
        None => bail!("{SLOTS} clusters run here already; end one with `knarr down --name NAME`"),
    }
}

/// Makes the bridge, the routes and the rules.
///
/// # Errors
/// When the kernel refuses.
pub fn set_up(cluster: &Cluster) -> Result<()> {
    link::in_namespace(None, async |links| {
        links.up(links.existing("lo").await?).await?;
        let bridge = links.ensure_bridge(&cluster.bridge()).await?;
        links.ensure_address(bridge, cluster.gateway(), cluster.node_cidr().prefix).await?;
        links.ensure_unreachable(cluster.pod_cidr()).await?;
        links.ensure_unreachable(cluster.service_cidr()).await
    })?;
    if cluster.uplink {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
            .context("cannot let the machine forward packets; use --no-uplink to do without")?;
        nftables::masquerade(&cluster.bridge(), cluster.node_cidr(), &[cluster.node_cidr()])
            .context("cannot masquerade the nodes' addresses; use --no-uplink to do without")?;
    }
    Ok(())
}

/// Connects a node, whose holder has the id `pid`.
///
/// # Errors
/// When the kernel refuses.
pub fn connect_node(cluster: &Cluster, n: u8, pid: i32) -> Result<()> {
    let netns = link::open_namespace(&network_of(pid))?;
    let inside = Some(netns.as_fd());
    let connected = link::in_namespace(inside, async |links| links.index(UPLINK).await)?;
    if connected.is_none() {
        let (name, bridge) = (cluster.node_link(n), cluster.bridge());
        let peer_netns = netns.as_fd();
        link::in_namespace(None, async |links| {
            links.delete(&name).await?;
            let pair = Pair { name: &name, peer: UPLINK, peer_netns, bridge: &bridge, mtu: MTU };
            links.add_pair(&pair).await
        })?;
    }
    Ok(link::in_namespace(inside, async |links| configure_node(links, cluster, n).await)?)
}

async fn configure_node(links: &Links, cluster: &Cluster, n: u8) -> Result<(), LinkError> {
    let index = links.existing(UPLINK).await?;
    links.up(index).await?;
    links.ensure_address(index, cluster.node_ip(n), cluster.node_cidr().prefix).await?;
    if cluster.uplink {
        let all = Cidr::new(Ipv4Addr::UNSPECIFIED, 0);
        links.ensure_route(all, cluster.gateway()).await?;
    }
    Ok(())
}

/// Leads the machine to a node's pods.
///
/// # Errors
/// When the kernel refuses.
pub fn route_pods(cluster: &Cluster, n: u8, pods: Cidr) -> Result<()> {
    let node = cluster.node_ip(n);
    Ok(link::in_namespace(None, async |links| links.ensure_route(pods, node).await)?)
}

/// Removes all of it.
///
/// # Errors
/// When the kernel refuses.
pub fn tear_down(cluster: &Cluster) -> Result<()> {
    if cluster.uplink {
        nftables::delete(&cluster.bridge()).context("cannot remove the cluster's rules")?;
    }
    link::in_namespace(None, async |links| {
        for n in 1..=cluster.nodes {
            links.delete(&cluster.node_link(n)).await?;
        }
        links.delete(&cluster.bridge()).await?;
        links.delete_unreachable(cluster.pod_cidr()).await?;
        links.delete_unreachable(cluster.service_cidr()).await
    })?;
    Ok(())
}
