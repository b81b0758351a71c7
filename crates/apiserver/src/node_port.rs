//! Ports that every node answers on, for Services.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/service/portallocator`. Who has which port is a matter of
//! [`crate::reservations`].

use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::sync::Arc;

use apimachinery::status::StatusError;
use store::Store;

use crate::reservations::{InUse, Reservations};

/// Reservations lie here.
const PREFIX: &str = "/knarr/nodeports/";
/// The range of ports (Kubernetes' default of `--service-node-port-range`).
const RANGE: RangeInclusive<u16> = 30000..=32767;
/// The first port that is given to those who wish for none. Those below are given last, so that wishes for them can be granted.
const DYNAMIC: u16 = 30086;

/// Why a port cannot be had.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum PortError {
    /// It is not inside the range.
    #[error("provided port is not in the valid range. The range of valid ports is {}-{}", RANGE.start(), RANGE.end())]
    OutOfRange,
    /// Another Service has it.
    #[error("provided port is already allocated")]
    Taken,
    /// There is no free one.
    #[error("range is full")]
    Full,
    /// The store failed.
    #[error("{0}")]
    Store(StatusError),
}

/// The allocator.
pub(crate) struct NodePorts(Reservations);

impl NodePorts {
    /// An allocator over a store.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self(Reservations::new(store, PREFIX))
    }

    /// Reserves a port for the Service with this uid: the wished one, or any free one.
    ///
    /// # Errors
    /// [`PortError`].
    pub(crate) async fn reserve(
        &self,
        wished: Option<i32>,
        uid: &str,
        in_use: &InUse<'_>,
    ) -> Result<u16, PortError> {
        let Some(wished) = wished else {
            let names = candidates(random()).map(|port| port.to_string());
            let found = self.0.reserve_any(names, uid, in_use).await.map_err(PortError::Store)?;
            return found.and_then(|name| name.parse().ok()).ok_or(PortError::Full);
        };
        let port = u16::try_from(wished).ok().filter(|port| RANGE.contains(port));
        let port = port.ok_or(PortError::OutOfRange)?;
        let reserved = self.0.try_reserve(&port.to_string(), uid, in_use).await;
        if reserved.map_err(PortError::Store)? { Ok(port) } else { Err(PortError::Taken) }
    }

    /// Gives a port back, if the Service with this uid holds it.
    ///
    /// # Errors
    /// `Status` for a failing store.
    pub(crate) async fn release(&self, port: u16, uid: &str) -> Result<(), StatusError> {
        self.0.release(&port.to_string(), uid).await
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// Every port, those from [`DYNAMIC`] up first, from a random one on, so that a port is not soon given to another Service.
fn candidates(dice: u64) -> impl Iterator<Item = u16> + Clone {
    let dynamic = RANGE.end() - DYNAMIC + 1;
    let start = DYNAMIC + u16::try_from(dice % u64::from(dynamic)).unwrap_or(0);
    (start..=*RANGE.end()).chain(DYNAMIC..start).chain(*RANGE.start()..DYNAMIC)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn node_ports_all_come_once_and_the_low_ones_last() {
        for dice in [0, 1, 2681, 2682, u64::MAX] {
            let ports: Vec<u16> = candidates(dice).collect();
            assert_eq!(ports.len(), RANGE.len());
            assert_eq!(ports.iter().copied().collect::<BTreeSet<_>>(), RANGE.collect());
            assert!(ports[..2682].iter().all(|port| *port >= DYNAMIC));
        }
    }
}
