//! What every Kubernetes object and request has in common, whatever its kind: identity, metadata, selectors, quantities,
//! patches, field errors and `Status`. The counterpart of `k8s.io/apimachinery`.
//!
//! Invariants: nothing here knows a single kind by name, nothing here does I/O, and every message a client can see is
//! worded as Kubernetes words it.

pub mod apply;
pub mod duration;
pub mod field;
pub mod fields;
pub mod gvk;
pub mod int_or_string;
pub mod labels;
pub mod meta;
pub mod names;
pub mod object;
pub mod patch;
pub mod quantity;
pub mod schema;
pub mod status;
pub mod time;
pub mod yaml;
