//! Walks over values of a type: which fields are in one, how two differ, merging one into another, taking fields out.
//!
//! Counterpart: the walkers of `structured-merge-diff/typed`.
//!
//! Two readings of objects are told apart. An applied configuration says what its text says. A stored object is what
//! Kubernetes' Go types would write: embedded objects and required fields are always there, and empty optional lists and maps
//! never are ([`Reading::Go`]).

mod compare;
mod fields;
mod items;
mod merge;
mod remove;
mod validate;

pub(super) use compare::{Reading, compare, is_omitted};
pub use fields::field_set;
pub(super) use items::identified;
pub(super) use merge::merge;
pub(super) use remove::remove;
pub use validate::{Duplicates, TypeErrors, validate};

use serde_json::Value;

use super::element::PathElement;
use super::schema::Atom;

/// Which of the forms of a type a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Map,
    Scalar,
    List,
}

/// The form of a value; of `null`, and of values the type does not allow, the first one the type has.
pub(super) fn form(atom: &Atom, value: Option<&Value>) -> Form {
    let is = match value {
        Some(Value::Object(_)) => Some(Form::Map),
        Some(Value::Array(_)) => Some(Form::List),
        Some(Value::Null) | None => None,
        Some(_) => Some(Form::Scalar),
    };
    let has = |form: Form| match form {
        Form::Map => atom.map.is_some(),
        Form::Scalar => atom.scalar.is_some(),
        Form::List => atom.list.is_some(),
    };
    is.into_iter()
        .chain([Form::Map, Form::Scalar, Form::List])
        .find(|form| has(*form))
        .unwrap_or(Form::Scalar)
}

/// The forms under which two values are looked at: one where they agree, else both.
fn forms(atom: &Atom, left: Option<&Value>, right: Option<&Value>) -> (Form, Option<Form>) {
    let (l, r) = (form(atom, left), form(atom, right));
    match (left, right) {
        (_, None) => (l, None),
        (None, Some(_)) => (r, None),
        (Some(_), Some(_)) if l == r => (r, None),
        (Some(_), Some(_)) => (l, Some(r)),
    }
}

fn is_empty_list(value: Option<&Value>) -> bool {
    value.and_then(Value::as_array).is_none_or(Vec::is_empty)
}
