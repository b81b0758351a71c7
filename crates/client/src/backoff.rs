//! The one exponential back-off of the project's clients. Counterpart: client-go's `ItemExponentialFailureRateLimiter`
//! and `wait.Backoff`.
//!
//! Invariant: delays never decrease with the number of failures and never pass the maximum.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// A delay that doubles with every failure, from a first one up to a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Delay after the first failure.
    pub base: Duration,
    /// Longest delay.
    pub max: Duration,
}

impl Backoff {
    /// Kubernetes' default for work queues: 5 ms doubling up to 1000 s.
    pub const WORK_QUEUE: Self =
        Self { base: Duration::from_millis(5), max: Duration::from_secs(1000) };
    /// For lists and watches that fail: a server that starts is found quickly, a broken one is not hammered.
    pub const LIST_WATCH: Self =
        Self { base: Duration::from_millis(50), max: Duration::from_secs(30) };
    /// For retries of a conflicting read-modify-write, as client-go's `DefaultBackoff`.
    pub const CONFLICT: Self =
        Self { base: Duration::from_millis(10), max: Duration::from_secs(1) };

    /// The delay after `failures` earlier failures (0 gives `base`).
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.base.checked_mul(factor).map_or(self.max, |delay| delay.min(self.max))
    }

    /// [`Self::delay`] lengthened by a random share of up to all of itself, so that many clients spread out.
    #[must_use]
    pub fn jittered(&self, failures: u32) -> Duration {
        self.delay(failures).mul_f64(1.0 + random_unit())
    }
}

/// A random number in `[0, 1)`; good enough for spreading load, never for secrets.
#[must_use]
pub fn random_unit() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_doubles_until_maximum() {
        let cases = [
            (0, 5),
            (1, 10),
            (2, 20),
            (10, 5120),
            (17, 655_360),
            (18, 1_000_000),
            (31, 1_000_000),
            (400, 1_000_000),
        ];
        for (failures, millis) in cases {
            assert_eq!(
                Backoff::WORK_QUEUE.delay(failures),
                Duration::from_millis(millis),
                "failures {failures}"
            );
        }
    }

    #[test]
    fn jittered_stays_between_once_and_twice_the_delay() {
        for failures in 0..40 {
            let delay = Backoff::LIST_WATCH.jittered(failures);
            assert!(
                delay >= Backoff::LIST_WATCH.delay(failures)
                    && delay <= 2 * Backoff::LIST_WATCH.delay(failures)
            );
        }
    }
}
