//! Test clusters, fakes and builders shared by the tests of all crates.
//!
//! Invariant: everything a test starts lives in a network namespace without an uplink and is gone when the test has
//! ended, whether it passed, failed or was killed.

pub mod cluster;
pub mod command;
pub mod http;
pub mod images;
pub mod kubectl;
pub mod leftovers;
pub mod netns;
pub mod observe;
pub mod suite;
