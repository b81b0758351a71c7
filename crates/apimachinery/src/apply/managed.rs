//! Who owns which fields of an object, and the entries of `metadata.managedFields` that say so.
//!
//! Counterpart: `managedfields/internal/managedfields.go`.
//!
//! In objects inside the server, `fieldsV1` holds the text of its JSON as one string: it is nearly always copied and hardly ever
//! looked into, and the order of its keys is not that of a `serde_json` map. Storage writes the text as it is, see
//! [`raw_fields`].
//!
//! Invariants: entries are identified as Kubernetes identifies them; an entry that nothing touched keeps its text, unparsed;
//! text that a client sent is parsed before it is taken over.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};
use serde_json::Value;

use super::field_set::FieldSet;
use crate::field::quote;

/// The only type of fields there is.
const FIELDS_TYPE: &str = "FieldsV1";

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By applying them.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What identifies an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// The name of the client.
    pub name: String,
    /// How it came to own the fields.
    pub operation: Operation,
    /// The version it writes; empty for appliers, who have one entry whatever the version.
    pub api_version: String,
    /// The subresource it writes; empty for the object itself.
    pub subresource: String,
}

impl Manager {
    /// The manager of that name, or `unknown`.
    pub fn new(name: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let api_version = if operation == Operation::Apply { "" } else { api_version };
        Self {
            name: if name.is_empty() { "unknown" } else { name }.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }
}

impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&quote(&self.name))?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {}", quote(&self.subresource))?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

/// What a manager owns.
#[derive(Clone, Debug)]
pub struct Owned {
    /// The version in which the fields are meant.
    pub api_version: String,
    /// When the manager last changed one of them.
    pub time: Option<Time>,
    text: OnceCell<String>,
    set: OnceCell<FieldSet>,
}

impl Owned {
    /// Those fields.
    pub fn new(api_version: &str, set: FieldSet, time: Option<Time>) -> Self {
        let set = OnceCell::from(set);
        Self { api_version: api_version.to_owned(), time, text: OnceCell::new(), set }
    }

    pub(super) fn stored(api_version: String, text: String, time: Option<Time>) -> Self {
        Self { api_version, time, text: OnceCell::from(text), set: OnceCell::new() }
    }

    /// The fields. Stored text is always valid; should it not be, it owns nothing.
    pub fn set(&self) -> &FieldSet {
        self.set.get_or_init(|| {
            let text = self.text.get().map(String::as_str).unwrap_or_default();
            FieldSet::from_json(text).unwrap_or_default()
        })
    }

    /// The fields as they are stored.
    pub fn text(&self) -> &str {
        self.text.get_or_init(|| self.set.get().map(FieldSet::to_json).unwrap_or_default())
    }

    /// The stored text, if it is known without effort.
    pub(super) fn known_text(&self) -> Option<&str> {
        self.text.get().map(String::as_str)
    }

    /// The same manager with other fields.
    pub(super) fn with(&self, set: FieldSet) -> Self {
        Self::new(&self.api_version, set, self.time.clone())
    }

    pub(super) fn is_empty(&self) -> bool {
        match self.set.get() {
            Some(set) => set.is_empty(),
            None => self.text() == "{}",
        }
    }
}

/// Every manager with what it owns.
#[derive(Clone, Debug, Default)]
pub struct Managed {
    /// The entries.
    pub entries: BTreeMap<Manager, Owned>,
}

/// Why entries are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ManagedError(pub String);

impl Managed {
    /// Reads the entries of an object as it was stored.
    ///
    /// # Errors
    /// If they are none.
    pub fn stored(entries: Option<&[ManagedFieldsEntry]>) -> Result<Self, ManagedError> {
        Self::decode(entries, |fields| match fields {
            Some(FieldsV1(Value::String(text))) => Ok(Ok(text.clone())),
            other => parsed(other).map(Err),
        })
    }

    /// Reads the entries of an object that a client sent.
    ///
    /// # Errors
    /// If they are none.
    pub fn sent(entries: Option<&[ManagedFieldsEntry]>) -> Result<Self, ManagedError> {
        Self::decode(entries, |fields| parsed(fields).map(Err))
    }

    fn decode(
        entries: Option<&[ManagedFieldsEntry]>,
        read: impl Fn(Option<&FieldsV1>) -> Result<Result<String, FieldSet>, ManagedError>,
    ) -> Result<Self, ManagedError> {
        let mut managed = Self::default();
        for (at, entry) in entries.unwrap_or_default().iter().enumerate() {
            let manager = identity(at, entry)?;
            let api_version = entry.api_version.clone().unwrap_or_default();
            let owned = match read(entry.fields_v1.as_ref())? {
                Ok(text) => Owned::stored(api_version, text, entry.time.clone()),
                Err(set) => Owned::new(&api_version, set, entry.time.clone()),
            };
            managed.entries.insert(manager, owned);
        }
        Ok(managed)
    }

    /// The entries in Kubernetes' order; `None` if there are none.
    pub fn encode(&self) -> Option<Vec<ManagedFieldsEntry>> {
        let mut entries: Vec<ManagedFieldsEntry> =
            self.entries.iter().map(|(manager, owned)| entry(manager, owned)).collect();
        entries.sort_by(|a, b| order(a).cmp(&order(b)));
        (!entries.is_empty()).then_some(entries)
    }

    /// True when nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn parsed(fields: Option<&FieldsV1>) -> Result<FieldSet, ManagedError> {
    match fields {
        None | Some(FieldsV1(Value::Null)) => Ok(FieldSet::default()),
        Some(FieldsV1(value)) => {
            FieldSet::from_json(&value.to_string()).map_err(|error| ManagedError(error.to_string()))
        }
    }
}

fn identity(at: usize, entry: &ManagedFieldsEntry) -> Result<Manager, ManagedError> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let refused = |message: String| Err(ManagedError(message));
    let operation = match entry.operation.as_deref() {
        Some("Apply") => Operation::Apply,
        Some("Update") => Operation::Update,
        _ => return refused("operation must be `Apply` or `Update`".to_owned()),
    };
    let api_version = text(&entry.api_version);
    if api_version.is_empty() {
        return refused("apiVersion must not be empty".to_owned());
    }
    match text(&entry.fields_type).as_str() {
        FIELDS_TYPE => {}
        "" => return refused(format!("missing fieldsType in managed fields entry {at}")),
        other => {
            let other = quote(other);
            return refused(format!("invalid fieldsType {other} in managed fields entry {at}"));
        }
    }
    let api_version = if operation == Operation::Apply { String::new() } else { api_version };
    let (name, subresource) = (text(&entry.manager), text(&entry.subresource));
    Ok(Manager { name, operation, api_version, subresource })
}

fn entry(manager: &Manager, owned: &Owned) -> ManagedFieldsEntry {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ManagedFieldsEntry {
        api_version: text(&owned.api_version),
        fields_type: text(FIELDS_TYPE),
        fields_v1: Some(FieldsV1(Value::String(owned.text().to_owned()))),
        manager: text(&manager.name),
        operation: text(manager.operation.as_str()),
        subresource: text(&manager.subresource),
        time: owned.time.clone(),
    }
}

type Order<'e> =
    (&'e Option<String>, i64, &'e Option<String>, &'e Option<String>, &'e Option<String>);

fn order(entry: &ManagedFieldsEntry) -> Order<'_> {
    let seconds = entry.time.as_ref().map_or(0, |time| time.0.as_second());
    (&entry.operation, seconds, &entry.manager, &entry.api_version, &entry.subresource)
}

/// Whether a client asks for all entries to be dropped: by an empty list, or by one empty entry.
pub fn is_reset(entries: Option<&[ManagedFieldsEntry]>) -> bool {
    match entries {
        None => false,
        Some([]) => true,
        Some([one]) => *one == ManagedFieldsEntry::default(),
        Some(_) => false,
    }
}

/// The JSON of an entry's `fieldsV1`, however the entry holds it.
pub fn raw_fields(entry: &ManagedFieldsEntry) -> Option<Cow<'_, str>> {
    entry.fields_v1.as_ref().map(|FieldsV1(fields)| match fields {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        other => Cow::Owned(other.to_string()),
    })
}
