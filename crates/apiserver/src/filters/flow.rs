//! How many requests are worked on at once.
//!
//! Counterpart in Kubernetes: API Priority and Fairness, of which this is the part that protects the server: two limits, first
//! come first served, and a bounded queue. Administrators and streams do not queue, as there.

use std::sync::Arc;

use apimachinery::status::StatusError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::authn::{GROUP_MASTERS, UserInfo};
use crate::request_info::RequestInfo;

/// Reads worked on at once (Kubernetes: 400).
const MAX_READS: usize = 400;
/// Writes worked on at once (Kubernetes: 200; ours share one disk sync, so more of them are faster).
const MAX_WRITES: usize = 400;
/// Requests that may wait for each of the two; what comes on top is told to come back.
const MAX_WAITING: usize = 10_000;
/// When a refused client should try again.
const RETRY_AFTER_SECONDS: i32 = 1;

/// Limits on the requests in flight.
pub(super) struct FlowControl {
    reads: Lane,
    writes: Lane,
}

struct Lane {
    turns: Arc<Semaphore>,
    places: Semaphore,
}

impl Lane {
    fn new(turns: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), places: Semaphore::new(MAX_WAITING) }
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, StatusError> {
        if let Ok(turn) = self.turns.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let refused = || StatusError::too_many_requests(TOO_MANY, RETRY_AFTER_SECONDS);
        let _place = self.places.try_acquire().map_err(|_| refused())?;
        self.turns.clone().acquire_owned().await.map_err(|_| refused())
    }
}

const TOO_MANY: &str = "Too many requests, please try again later.";

impl Default for FlowControl {
    fn default() -> Self {
        Self { reads: Lane::new(MAX_READS), writes: Lane::new(MAX_WRITES) }
    }
}

impl FlowControl {
    /// Waits for the request's turn, which lasts as long as the permit. `None` for requests that are not limited.
    pub(super) async fn admit(
        &self,
        info: &RequestInfo,
        user: &UserInfo,
    ) -> Result<Option<OwnedSemaphorePermit>, StatusError> {
        if info.is_long_running() || user.in_group(GROUP_MASTERS) {
            return Ok(None);
        }
        let lane = if info.is_read_only() { &self.reads } else { &self.writes };
        lane.turn().await.map(Some)
    }
}
