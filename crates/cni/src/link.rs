//! Links, addresses and routes, by netlink, in this network namespace or in another.
//!
//! Invariants:
//! - Each [`in_namespace`] runs on a thread of its own that ends with it, so no other thread ever finds itself in
//!   another network namespace. (A network namespace belongs to a thread, unlike a mount namespace, so this is sound
//!   in a threaded process.)
//! - `ensure_*` makes what is missing and leaves what is there; `delete` of what is gone is fine.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkUnspec, LinkVeth, RouteMessageBuilder};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cidr::Cidr;

/// A route that only counts where no better one exists.
const LAST_RESORT: u32 = 4096;

/// Why the kernel did not do it.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A netlink request failed.
    #[error("{what}: {source}")]
    Netlink {
        /// What was to be done.
        what: String,
        /// What the kernel said.
        source: rtnetlink::Error,
    },
    /// The thread or its socket could not be made, or the namespace not entered.
    #[error("{what}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A link that must be there is not.
    #[error("there is no link {0}")]
    Missing(String),
}

/// The links of one network namespace.
pub struct Links {
    handle: Handle,
}

/// Runs `f` with the links of a network namespace, or of the caller's when `netns` is `None`. Blocks.
///
/// # Errors
/// What `f` answers, and [`LinkError::System`] when the namespace cannot be entered.
pub fn in_namespace<T: Send>(
    netns: Option<BorrowedFd<'_>>,
    f: impl AsyncFnOnce(&Links) -> Result<T, LinkError> + Send,
) -> Result<T, LinkError> {
    let work = || {
        if let Some(netns) = netns {
            move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
                .map_err(|errno| system("enter the network namespace")(errno.into()))?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(system("start a netlink thread"))?;
        runtime.block_on(async {
            let (connection, handle, _) =
                rtnetlink::new_connection().map_err(system("open a netlink socket"))?;
            let connection = tokio::spawn(connection);
            let result = f(&Links { handle }).await;
            connection.abort();
            result
        })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netlink".into())
            .spawn_scoped(scope, work)
            .map_err(system("start a netlink thread"))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Opens a network namespace by path.
///
/// # Errors
/// [`LinkError::System`] when there is none.
pub fn open_namespace(path: &std::path::Path) -> Result<OwnedFd, LinkError> {
    let file = std::fs::File::open(path).map_err(system("open the network namespace"))?;
    Ok(file.into())
}

/// Both ends of a pair of links.
pub struct Pair<'a> {
    /// The end that stays here.
    pub name: &'a str,
    /// The end that goes to another namespace, by its name there.
    pub peer: &'a str,
    /// That namespace.
    pub peer_netns: BorrowedFd<'a>,
    /// The bridge that the near end joins.
    pub bridge: &'a str,
    /// The greatest packet, in bytes.
    pub mtu: u32,
}

impl Links {
    /// The index of a link, if it exists.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub async fn index(&self, name: &str) -> Result<Option<u32>, LinkError> {
        let mut found = self.handle.link().get().match_name(name.to_owned()).execute();
        match found.try_next().await {
            Ok(link) => Ok(link.map(|link| link.header.index)),
            Err(error) if is(&error, rustix::io::Errno::NODEV) => Ok(None),
            Err(source) => Err(netlink(format!("look for link {name}"))(source)),
        }
    }

    /// The index of a link that must exist.
    ///
    /// # Errors
    /// [`LinkError::Missing`], [`LinkError::Netlink`].
    pub async fn existing(&self, name: &str) -> Result<u32, LinkError> {
        self.index(name).await?.ok_or_else(|| LinkError::Missing(name.to_owned()))
    }

    /// The names of the links of this namespace.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub async fn names(&self) -> Result<Vec<String>, LinkError> {
        let found = self.handle.link().get().execute().try_collect::<Vec<_>>().await;
        let links = found.map_err(netlink("list links".into()))?;
        let name = |attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        };
        Ok(links.into_iter().filter_map(|l| l.attributes.into_iter().find_map(name)).collect())
    }

    /// A bridge that is up.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub async fn ensure_bridge(&self, name: &str) -> Result<u32, LinkError> {
        let add = self.handle.link().add(LinkBridge::new(name).up().build()).execute().await;
        unless(add, rustix::io::Errno::EXIST, || format!("make bridge {name}"))?;
        let index = self.existing(name).await?;
        self.up(index).await?;
        Ok(index)
    }

    /// A veth pair from a bridge here to another namespace; both ends are new.
    ///
    /// # Errors
    /// [`LinkError::Netlink`], also when one of the names is taken.
    pub async fn add_pair(&self, pair: &Pair<'_>) -> Result<(), LinkError> {
        let peer = LinkUnspec::new_with_name(pair.peer)
            .setns_by_fd(pair.peer_netns.as_raw_fd())
            .mtu(pair.mtu)
            .build();
        let bridge = self.existing(pair.bridge).await?;
        let link = LinkVeth::new(pair.name, pair.peer)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .mtu(pair.mtu)
            .controller(bridge)
            .up()
            .build();
        let add = self.handle.link().add(link).execute().await;
        add.map_err(netlink(format!("make link {}", pair.name)))?;
        let port = LinkBridgePort::new(self.existing(pair.name).await?).hairpin(true).build();
        let set = self.handle.link().set_port(port).execute().await;
        set.map_err(netlink(format!("let {} answer itself", pair.name)))
    }

    /// Sets a link up.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub async fn up(&self, index: u32) -> Result<(), LinkError> {
        let set = self.handle.link().set(LinkUnspec::new_with_index(index).up().build());
        set.execute().await.map_err(netlink(format!("set link {index} up")))
    }

    /// Gives a link an address.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub async fn ensure_address(
        &self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), LinkError> {
        let add = self.handle.address().add(index, IpAddr::V4(address), prefix).execute().await;
        unless(add, rustix::io::Errno::EXIST, || format!("give link {index} the address {address}"))
    }

    /// A route to a range by a gateway.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub async fn ensure_route(&self, to: Cidr, gateway: Ipv4Addr) -> Result<(), LinkError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.address, to.prefix)
            .gateway(gateway)
            .build();
        let add = self.handle.route().add(route).replace().execute().await;
        add.map_err(netlink(format!("route {to} by {gateway}")))
    }

    /// Makes a range unreachable where no better route exists.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub async fn ensure_unreachable(&self, to: Cidr) -> Result<(), LinkError> {
        let add = self.handle.route().add(unreachable(to)).replace().execute().await;
        add.map_err(netlink(format!("make {to} unreachable")))
    }

    /// Takes back [`Links::ensure_unreachable`].
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub async fn delete_unreachable(&self, to: Cidr) -> Result<(), LinkError> {
        let delete = self.handle.route().del(unreachable(to)).execute().await;
        unless(delete, rustix::io::Errno::SRCH, || format!("delete the unreachable route to {to}"))
    }

    /// Whether any route but the default one leads to this very range.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub async fn has_route(&self, to: Cidr) -> Result<bool, LinkError> {
        use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute};
        let any = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes: Vec<_> = self
            .handle
            .route()
            .get(any)
            .execute()
            .try_collect()
            .await
            .map_err(netlink("list routes".into()))?;
        let destination = RouteAttribute::Destination(RouteAddress::Inet(to.address));
        let leads = |r: &rtnetlink::packet_route::route::RouteMessage| {
            r.header.destination_prefix_length == to.prefix && r.attributes.contains(&destination)
        };
        Ok(routes.iter().any(leads))
    }

    /// Deletes a link, and with it its peer.
    ///
    /// # Errors
    /// [`LinkError::Netlink`].
    pub async fn delete(&self, name: &str) -> Result<(), LinkError> {
        let Some(index) = self.index(name).await? else { return Ok(()) };
        let delete = self.handle.link().del(index).execute().await;
        unless(delete, rustix::io::Errno::NODEV, || format!("delete link {name}"))
    }
}

fn unreachable(to: Cidr) -> rtnetlink::packet_route::route::RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(to.address, to.prefix)
        .kind(RouteType::Unreachable)
        .scope(RouteScope::Universe)
        .priority(LAST_RESORT)
        .build()
}

fn is(error: &rtnetlink::Error, errno: rustix::io::Errno) -> bool {
    let code = |e: &rtnetlink::packet_core::ErrorMessage| e.raw_code().checked_neg();
    matches!(error, rtnetlink::Error::NetlinkError(e) if code(e) == Some(errno.raw_os_error()))
}

fn unless(
    result: Result<(), rtnetlink::Error>,
    fine: rustix::io::Errno,
    what: impl FnOnce() -> String,
) -> Result<(), LinkError> {
    match result {
        Err(error) if !is(&error, fine) => Err(netlink(what())(error)),
        _ => Ok(()),
    }
}

fn netlink(what: String) -> impl FnOnce(rtnetlink::Error) -> LinkError {
    move |source| LinkError::Netlink { what, source }
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> LinkError {
    move |source| LinkError::System { what, source }
}
