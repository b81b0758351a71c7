//! Kinds of the group `events.k8s.io`: the Event of the core group under newer names and stricter rules.

pub mod event;

use k8s_openapi::api::events::v1::Event;

use crate::kinds::{ALL_VERBS, Resource, names};
use crate::versions::version;

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![version::<Event>(
        names("event", &["ev"], &[]),
        ALL_VERBS,
        &[],
        "io.k8s.api.events.v1.Event",
    )]
}

#[cfg(test)]
mod tests;
