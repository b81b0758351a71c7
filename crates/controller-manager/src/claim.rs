//! Which objects a controller manages: adoption of matching orphans, release of its own that no longer match.
//! Counterpart: `BaseControllerRefManager`.
//!
//! Invariants:
//! * An object with another controller is never touched.
//! * Nothing is adopted by, or released from, a controller that is being deleted.

use std::sync::Arc;

use apimachinery::labels::Selector;
use apimachinery::meta::controller_of;
use client::resource::HasMeta;
use client::{Action, Kind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

/// What became of the candidates.
#[derive(Debug)]
pub struct Claims<K> {
    /// Managed already.
    pub owned: Vec<Arc<K>>,
    /// Orphans that match.
    pub adoptable: Vec<Arc<K>>,
    /// Managed, but no longer matching.
    pub released: Vec<Arc<K>>,
}

/// Sorts `candidates` by what the controller `owner` with `selector` is to do with them.
pub fn claim<K: Kind>(
    owner: &ObjectMeta,
    selector: &Selector,
    candidates: impl IntoIterator<Item = Arc<K>>,
) -> Claims<K> {
    let mut claims = Claims { owned: Vec::new(), adoptable: Vec::new(), released: Vec::new() };
    let deleted = owner.deletion_timestamp.is_some();
    for candidate in candidates {
        let meta = candidate.object_meta();
        let matches = selector.matches_meta(meta);
        match controller_of(meta) {
            Some(controller) if Some(&controller.uid) != owner.uid.as_ref() => {}
            Some(_) if matches => claims.owned.push(candidate),
            Some(_) if !deleted => claims.released.push(candidate),
            Some(_) => {}
            None if matches && !deleted && meta.deletion_timestamp.is_none() => {
                claims.adoptable.push(candidate)
            }
            None => {}
        }
    }
    claims
}

/// Makes `owner` the controller of `object`, if it is still the same object.
pub fn adopt<Owner: Kind, K: Kind>(owner: &Owner, object: &K) -> Action {
    let meta = object.object_meta();
    Action::patch::<K>(
        meta,
        json!({"metadata": {"uid": meta.uid, "ownerReferences": [owner.controller_reference()]}}),
    )
}

/// Removes the owner with `owner_uid` from `object`, if it is still the same object.
pub fn release<K: Kind>(owner_uid: Option<&str>, object: &K) -> Action {
    let meta = object.object_meta();
    let reference = json!({"$patch": "delete", "uid": owner_uid});
    Action::patch::<K>(meta, json!({"metadata": {"uid": meta.uid, "ownerReferences": [reference]}}))
}
