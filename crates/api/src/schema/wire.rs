//! Field numbers of the protobuf form, which Go clients use for the bodies they send and the answers they ask for.
//!
//! Counterpart in Kubernetes: the `protobuf` tags on the Go types. One row per message: number and JSON name of each
//! field. `?` marks what the types hold by pointer: a scalar kept apart from its zero value, a message that may be
//! absent. `[]` marks lists that stand in a message of their own. `>` marks a message whose fields stand in
//! the JSON object of the message around it; `=` goes before the type where no definition tells it. A test checks that every field of every definition has its number.

mod auth;
mod core;
mod meta;
mod network;
mod resource;
mod server;
mod storage;
pub(super) mod unlisted;
mod workloads;

/// Message, then its fields.
pub(super) type Row = (&'static str, &'static str);

/// The rows of every family of groups.
const FAMILIES: &[&[Row]] = &[
    auth::ROWS,
    core::ROWS,
    meta::ROWS,
    network::ROWS,
    resource::ROWS,
    server::ROWS,
    storage::ROWS,
    unlisted::ROWS,
    workloads::ROWS,
];

/// Every row.
pub(super) fn messages() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().copied().flatten()
}
