//! Cluster addresses of Services.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/service/ipallocator`.
//!
//! An address belongs to the Service whose uid stands in the reservation `/knarr/serviceips/ADDRESS`, which is put with
//! `Expect::Absent`: two Services can never hold the same address, also not across a crash. A reservation whose Service was never
//! stored, or is gone, is taken over by the next allocation that meets it, but not before [`GRACE_SECONDS`]: until then the
//! request that made it may still store its Service.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use apimachinery::status::StatusError;
use bytes::Bytes;
use jiff::Timestamp;
use store::{Entry, Expect, Key, Page, Put, Store};

use crate::config::ServiceCidr;
use crate::storage::status_of;

/// Reservations lie here, outside of the objects.
const PREFIX: &str = "/knarr/serviceips/";
/// The first addresses of the range are left for static use (the API server's Service, DNS), as Kubernetes' allocator prefers
/// addresses above the lower band.
const STATIC_BAND: u32 = 16;
/// Longer than any request can last.
const GRACE_SECONDS: i64 = 120;
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
    store: Arc<dyn Store>,
    cidr: ServiceCidr,
}

impl ServiceAddresses {
    /// An allocator over this range.
    pub(crate) fn new(store: Arc<dyn Store>, cidr: ServiceCidr) -> Self {
        Self { store, cidr }
    }

    /// Reserves an address for the Service with this uid: the wished one, or any free one. `alive` says whether the Service of a
    /// reservation still exists.
    ///
    /// # Errors
    /// [`AddressError`].
    pub(crate) async fn reserve(
        &self,
        wished: Option<IpAddr>,
        uid: &str,
        alive: impl Fn(&str) -> bool,
    ) -> Result<IpAddr, AddressError> {
        match wished {
            Some(address) => self.reserve_one(address, uid, &alive).await,
            None => self.reserve_any(uid, &alive).await,
        }
    }

    /// Gives an address back, if the Service with this uid holds it.
    pub(crate) async fn release(&self, address: IpAddr, uid: &str) -> Result<(), StatusError> {
        let key = key(address);
        let held = self.store.get(&key).await.map_err(status_of)?.value;
        if let Some(entry) = held.filter(|entry| owner(entry).0 == uid) {
            self.store
                .delete(key, Expect::Revision(entry.mod_revision))
                .await
                .map_err(status_of)?;
        }
        Ok(())
    }

    /// Gives every address back that the Service with this uid holds.
    pub(crate) async fn release_all(&self, uid: &str) -> Result<(), StatusError> {
        let reserved = self.store.list(PREFIX, Page::default()).await.map_err(status_of)?.value;
        for entry in reserved.into_iter().filter(|entry| owner(entry).0 == uid) {
            let expect = Expect::Revision(entry.mod_revision);
            self.store.delete(entry.key, expect).await.map_err(status_of)?;
        }
        Ok(())
    }

    async fn reserve_one(
        &self,
        address: IpAddr,
        uid: &str,
        alive: &impl Fn(&str) -> bool,
    ) -> Result<IpAddr, AddressError> {
        if !self.contains(address) {
            return Err(AddressError::OutOfRange(address, self.range()));
        }
        if self.try_reserve(address, uid, alive).await? {
            Ok(address)
        } else {
            Err(AddressError::Taken)
        }
    }

    async fn reserve_any(
        &self,
        uid: &str,
        alive: &impl Fn(&str) -> bool,
    ) -> Result<IpAddr, AddressError> {
        let reserved = self.store.list(PREFIX, Page::default()).await.map_err(store_error)?.value;
        let taken: std::collections::BTreeSet<Key> =
            reserved.into_iter().filter(|e| held(e, alive)).map(|e| e.key).collect();
        for address in self.candidates() {
            if !taken.contains(&key(address)) && self.try_reserve(address, uid, alive).await? {
                return Ok(address);
            }
        }
        Err(AddressError::Full)
    }

    async fn try_reserve(
        &self,
        address: IpAddr,
        uid: &str,
        alive: &impl Fn(&str) -> bool,
    ) -> Result<bool, AddressError> {
        let value = Bytes::from(format!("{uid} {}", Timestamp::now().as_second()));
        let put = self
            .store
            .put(key(address), value.clone(), Expect::Absent, None)
            .await
            .map_err(store_error)?;
        match put {
            Put::Done(_) => Ok(true),
            Put::Lost(at) => match at.value {
                Some(entry) if !held(&entry, alive) => {
                    let expect = Expect::Revision(entry.mod_revision);
                    let put = self
                        .store
                        .put(entry.key, value, expect, None)
                        .await
                        .map_err(store_error)?;
                    Ok(matches!(put, Put::Done(_)))
                }
                _ => Ok(false),
            },
        }
    }

    fn bounds(&self) -> Option<(u32, u32)> {
        let IpAddr::V4(base) = self.cidr.base else { return None };
        let host_bits = 32_u32.checked_sub(u32::from(self.cidr.prefix_len))?;
        let size = 1_u32.checked_shl(host_bits).unwrap_or(MAX_ADDRESSES).min(MAX_ADDRESSES);
        Some((u32::from(base), size))
    }

    /// Usable addresses: not the network's, not the broadcast one; those above the static band first.
    fn candidates(&self) -> impl Iterator<Item = IpAddr> {
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

fn key(address: IpAddr) -> Key {
    format!("{PREFIX}{address}").into()
}

/// The uid of the Service that holds a reservation, and when it was made, in seconds since 1970.
fn owner(entry: &Entry) -> (&str, i64) {
    let text = std::str::from_utf8(&entry.value).unwrap_or_default();
    let (uid, made) = text.split_once(' ').unwrap_or((text, ""));
    (uid, made.parse().unwrap_or(0))
}

/// Whether a reservation still binds.
fn held(entry: &Entry, alive: &impl Fn(&str) -> bool) -> bool {
    let (uid, made) = owner(entry);
    alive(uid) || Timestamp::now().as_second() - made < GRACE_SECONDS
}

fn store_error(error: store::StoreError) -> AddressError {
    AddressError::Store(status_of(error))
}
