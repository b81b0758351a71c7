//! The datastore: etcd's contract, as small as Kubernetes uses it, and the engines that keep it.
//!
//! Counterpart in Kubernetes: etcd behind `k8s.io/apiserver/pkg/storage/etcd3`.
//!
//! Invariants:
//! - It knows bytes and revisions, nothing of Kubernetes.
//! - [`contract`] says what every engine must do; one test suite judges them all.

pub mod contract;
mod fjall;
mod memory;

pub use contract::{
    At, Entry, Event, EventKind, Events, Expect, Key, Page, Prefix, Put, Revision, Store,
    StoreError, Ttl,
};
pub use fjall::{FORMAT, Fjall};
pub use memory::Memory;
