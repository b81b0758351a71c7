//! Managers of an object as its Scale shows them, and back.
//!
//! Counterpart: `managedfields/scalehandler.go`. The number of replicas is the one field that the two share.

use super::element::PathElement;
use super::field_set::FieldSet;
use super::managed::{Managed, Manager, Operation, Owned};

/// The version of Scales.
const SCALE: &str = "autoscaling/v1";

/// `spec.replicas`, in every scalable kind and in its Scale.
fn replicas() -> [PathElement; 2] {
    [PathElement::field("spec"), PathElement::field("replicas")]
}

fn in_version(manager: &Manager, api_version: &str) -> Manager {
    let update = manager.operation == Operation::Update;
    let api_version = if update { api_version.to_owned() } else { String::new() };
    Manager { api_version, ..manager.clone() }
}

/// The managers of the Scale of an object: those that own the number of replicas.
#[must_use]
pub fn to_scale(managed: &Managed, is_served: impl Fn(&str) -> bool) -> Managed {
    let path = replicas();
    let owners = managed
        .entries
        .iter()
        .filter(|(_, owned)| is_served(&owned.api_version) && owned.set().has(&path))
        .map(|(manager, owned)| {
            let set = FieldSet::of([path.as_slice()]);
            (in_version(manager, SCALE), Owned::new(SCALE, set, owned.time.clone()))
        });
    Managed { entries: owners.collect() }
}

/// The managers of an object of that version after its Scale was written with these managers.
#[must_use]
pub fn from_scale(
    managed: &Managed,
    scale: &Managed,
    api_version: &str,
    is_served: impl Fn(&str) -> bool,
) -> Managed {
    let path = replicas();
    let only = FieldSet::of([path.as_slice()]);
    let mut scale = scale.clone();
    let mut entries = std::collections::BTreeMap::new();
    for (manager, owned) in managed.entries.iter().filter(|(_, o)| is_served(&o.api_version)) {
        let owned = match owned.set().has(&path) {
            true if scale.entries.remove(&in_version(manager, SCALE)).is_none() => {
                owned.with(owned.set().difference(&only))
            }
            _ => owned.clone(),
        };
        if !owned.is_empty() {
            entries.insert(manager.clone(), owned);
        }
    }
    for (manager, owned) in scale.entries {
        if owned.set().has(&path) {
            let time = managed.entries.get(&manager).and_then(|owned| owned.time.clone());
            let manager = in_version(&manager, api_version);
            entries.insert(manager, Owned::new(api_version, only.clone(), time));
        }
    }
    Managed { entries }
}
