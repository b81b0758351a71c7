//! The kinds Knarr serves: the kind table and, for each kind, its strategy.
//!
//! Counterpart in Kubernetes: `pkg/apis`, `pkg/registry/*/strategy.go` and `pkg/printers`. Everything here is pure: no clock, no
//! randomness, no I/O. What a resource is called stands in [`kinds`] and nowhere else.

pub mod admissionregistration;
pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod batch;
pub mod certificates;
pub mod columns;
mod conditions;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod events;
pub mod fields;
pub mod flowcontrol;
pub mod kinds;
mod net;
pub mod networking;
pub mod node;
pub mod policy;
mod quantities;
pub mod rbac;
mod report;
pub mod scale;
pub mod scheduling;
pub mod schema;
mod shares;
pub mod storage;
pub mod strategy;
#[cfg(test)]
mod testing;
pub mod versions;
