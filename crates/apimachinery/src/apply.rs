//! Server-side apply, and who owns which field of an object; the counterpart of `k8s.io/apimachinery/pkg/util/managedfields`
//! and of `sigs.k8s.io/structured-merge-diff`.
//!
//! Everything here is pure: trees of JSON go in, trees of JSON and sets of fields come out.
//!
//! * [`PathElement`], [`FieldSet`]: fields of objects, and the form in which they are stored (`FieldsV1`).
//! * [`TypedSchema`]: what apply must know of types; walks over values (`typed`): the fields of a value, differences of two
//!   values, merging one into another, taking fields out.
//! * [`Managed`]: who owns what; [`FieldManager`]: what updates and applies make of it.
//!
//! Invariants: sets are sorted as Kubernetes sorts them; what an update does not touch keeps its stored text, unparsed.

mod created;
mod element;
mod field_set;
mod fields_v1;
mod last_applied;
mod managed;
mod manager;
mod scale;
mod schema;
mod typed;
mod updater;

pub use element::{PathElement, path_text};
pub use field_set::{FieldSet, Filter};
pub use fields_v1::FieldsError;
pub use managed::{Managed, ManagedError, Manager, Operation, Owned, is_reset, raw_fields};
pub use manager::{Applied, ApplyError, FieldManager, user_agent_manager};
pub use scale::{from_scale, to_scale};
pub use schema::{TypeId, TypedSchema};
pub use typed::{TypeErrors, field_set, validate};
pub use updater::{Conflict, Unconverted, Versions};

#[cfg(test)]
mod tests;
