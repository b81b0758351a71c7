//! Cluster addresses of Services.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/service/ipallocator`.
//!
//! Who has which address is a matter of [`crate::reservations`].

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use apimachinery::status::StatusError;
use store::Store;

use crate::config::ServiceCidr;
use crate::reservations::{InUse, Reservations};

/// Reservations lie here.
const PREFIX: &str = "/knarr/serviceips/";
/// The first addresses of the range are left for static use (the API server's Service, DNS), as Kubernetes' allocator prefers
/// addresses above the lower band.
const STATIC_BAND: u32 = 16;
/// The largest range that is searched; a /12 has about a million addresses.
const MAX_ADDRESSES: u32 = 1 << 20;

/// Why an address cannot be had.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum AddressError {
    /// It is not inside the range.
    #[error("the provided IP ({0}) is not in the valid range. The range of valid IPs is {1}")]
    OutOfRange(IpAddr, String),
    /// It is no address.
    #[error("not an IP address")]
    NotAnAddress,
    /// Another Service has it.
    #[error("provided IP is already allocated")]
    Taken,
    /// There is no free one.
    #[error("range is full")]
    Full,
    /// The store failed.
    #[error("{0}")]
    Store(StatusError),
}

/// The allocator.
pub(crate) struct ServiceAddresses {
    reservations: Reservations,
    cidr: ServiceCidr,
}

impl ServiceAddresses {
    /// An allocator over this range.
    pub(crate) fn new(store: Arc<dyn Store>, cidr: ServiceCidr) -> Self {
        Self { reservations: Reservations::new(store, PREFIX), cidr }
    }

    /// Reserves an address for the Service with this uid: the wished one, or any free one.
    ///
    /// # Errors
    /// [`AddressError`].
    pub(crate) async fn reserve(
        &self,
        wished: Option<IpAddr>,
        uid: &str,
        in_use: &InUse<'_>,
    ) -> Result<IpAddr, AddressError> {
        let Some(address) = wished else {
            let names = self.candidates().map(|address| address.to_string());
            let found = self.reservations.reserve_any(names, uid, in_use).await;
            let found = found.map_err(AddressError::Store)?;
            return found.and_then(|name| name.parse().ok()).ok_or(AddressError::Full);
        };
        if !self.contains(address) {
            return Err(AddressError::OutOfRange(address, self.range()));
        }
        let reserved = self.reservations.try_reserve(&address.to_string(), uid, in_use).await;
        if reserved.map_err(AddressError::Store)? { Ok(address) } else { Err(AddressError::Taken) }
    }

    /// Gives an address back, if the Service with this uid holds it.
    ///
    /// # Errors
    /// `Status` for a failing store.
    pub(crate) async fn release(&self, address: IpAddr, uid: &str) -> Result<(), StatusError> {
        self.reservations.release(&address.to_string(), uid).await
    }

    fn bounds(&self) -> Option<(u32, u32)> {
        let IpAddr::V4(base) = self.cidr.base else { return None };
        let host_bits = 32_u32.checked_sub(u32::from(self.cidr.prefix_len))?;
        let size = 1_u32.checked_shl(host_bits).unwrap_or(MAX_ADDRESSES).min(MAX_ADDRESSES);
        Some((u32::from(base), size))
    }

    /// Usable addresses: not the network's, not the broadcast one; those above the static band first.
    fn candidates(&self) -> impl Iterator<Item = IpAddr> + Clone + use<> {
        let (base, size) = self.bounds().unwrap_or((0, 0));
        let band = STATIC_BAND.min(size / 2).max(1);
        let last = size.saturating_sub(1);
        (band..last).chain(1..band).map(move |offset| IpAddr::V4(Ipv4Addr::from(base + offset)))
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (IpAddr::V4(address), Some((base, size))) = (address, self.bounds()) else {
            return false;
        };
        let offset = u32::from(address).wrapping_sub(base);
        offset > 0 && offset < size - 1
    }

    fn range(&self) -> String {
        format!("{}/{}", self.cidr.base, self.cidr.prefix_len)
    }
}
