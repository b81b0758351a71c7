//! How objects lie in the store: keys, the encoding of values, and conditional writes.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/storage/etcd3`.
//!
//! A value is a small header followed by the object's JSON without `metadata.resourceVersion`. The header says where the
//! resourceVersion belongs (it is the revision of the store that holds the value, known only after the write), and repeats the
//! labels and the selectable fields, so that reading, listing and watching need no decoding.
//!
//! Invariants:
//! - Every write is conditional on the revision that was read; a lost race decides again on the current state.
//! - The JSON of a value begins with `apiVersion`, `kind` and `metadata`, and never carries a resourceVersion.

mod layout;
mod owners;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::kinds::{self, Resource};
use api::schema::protobuf::{self, ProtobufError};
use apimachinery::object::{FieldValidation, KubeObject, Object};
use apimachinery::status::StatusError;
use bytes::{Bytes, BytesMut};
use k8s_openapi::api::core::v1::Event;
use store::{At, Entry as StoreEntry, Expect, Key, Put, Revision, Store, StoreError};

/// The first byte of every value.
const FORMAT: u8 = 1;
/// Format byte, length of the header, splice offset, identity of the fields' names.
const FIXED_HEADER_BYTES: usize = 13;
/// How often a lost race is decided again before the client is told of the conflict; with 64 writers of one object each
/// round lets one of them win.
pub(crate) const MAX_UPDATE_ATTEMPTS: usize = 128;

/// Why a stored value cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CorruptValue {
    /// Written by something else, or by a newer version.
    #[error("value of {key} has unknown format {format}")]
    Format {
        /// The key of the value.
        key: Key,
        /// The first byte.
        format: u8,
    },
    /// The header points outside of the value.
    #[error("value of {key} is cut off")]
    Truncated {
        /// The key of the value.
        key: Key,
    },
    /// The JSON is not an object of the kind that lives under the key.
    #[error("value of {key} is no valid object: {reason}")]
    Object {
        /// The key of the value.
        key: Key,
        /// What the decoder says.
        reason: String,
    },
}

/// What stands before the place of the resourceVersion.
const METADATA: &[u8] = b"\"metadata\":{";

/// The key of an object; `namespace` is empty for cluster-scoped resources.
pub fn key(resource: &Resource, namespace: &str, name: &str) -> Key {
    let prefix = resource.storage_prefix();
    if namespace.is_empty() {
        format!("{prefix}{name}").into()
    } else {
        format!("{prefix}{namespace}/{name}").into()
    }
}

/// The prefix of the keys of a collection: of a namespace, or of everything when `namespace` is empty.
pub fn collection_prefix(resource: &Resource, namespace: &str) -> String {
    let prefix = resource.storage_prefix();
    if namespace.is_empty() { prefix } else { format!("{prefix}{namespace}/") }
}

/// Encodes an object, whose `metadata.resourceVersion` must be unset, as a stored value. The object stays as it is; its managed
/// fields are only taken out for as long as the rest is written.
pub fn encode(resource: &Resource, object: &mut dyn KubeObject) -> Bytes {
    let (json, splice) = written(object);
    let mut header = Vec::with_capacity(256 + json.len());
    header.extend_from_slice(&[0; FIXED_HEADER_BYTES]);
    let labels = object.meta().labels.as_ref();
    put_count(&mut header, labels.map_or(0, std::collections::BTreeMap::len));
    for (name, value) in labels.into_iter().flatten() {
        put_text(&mut header, name);
        put_text(&mut header, value);
    }
    let fields = resource.strategy.fields(object);
    put_count(&mut header, fields.len());
    for (_, value) in &fields {
        put_text(&mut header, value);
    }
    header[0] = FORMAT;
    let header_len = u32::try_from(header.len()).unwrap_or(u32::MAX);
    header[1..5].copy_from_slice(&header_len.to_le_bytes());
    header[5..9].copy_from_slice(&u32::try_from(splice).unwrap_or(u32::MAX).to_le_bytes());
    header[9..13].copy_from_slice(&fields_identity(resource).to_le_bytes());
    header.extend_from_slice(&json);
    header.into()
}

/// The JSON of an object without resourceVersion, and the place of the resourceVersion in it.
fn written(object: &mut dyn KubeObject) -> (Vec<u8>, usize) {
    let managed = object.meta_mut().managed_fields.take();
    let (mut json, splice) =
        layout::metadata_first(object.to_vec(), object.api_version(), object.kind());
    if let Some(entries) = &managed {
        owners::write(&mut json, splice, entries);
    }
    object.meta_mut().managed_fields = managed;
    (json, splice)
}

/// Identifies the names and order of a resource's selectable fields (FNV-1a), so that values written by a version with
/// other fields are recognized.
fn fields_identity(resource: &Resource) -> u32 {
    let bytes = resource.selectable.iter().flat_map(|name| name.bytes().chain([0]));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// A stored object with its resourceVersion in place: what the watch cache holds and what responses are made of.
#[derive(Clone, Debug)]
pub struct Encoded {
    key: Key,
    revision: Revision,
    /// Header and JSON in one piece.
    buffer: Bytes,
    json_at: u32,
    splice: u32,
    /// How long it is in protobuf as the item of a list, once somebody has asked.
    protobuf_bytes: OnceLock<u32>,
}

impl Encoded {
    /// Reads a stored value and splices the revision in as resourceVersion.
    ///
    /// # Errors
    /// [`CorruptValue`] when the value was not written by [`encode`].
    pub fn new(
        resource: &Resource,
        key: Key,
        value: &Bytes,
        revision: Revision,
    ) -> Result<Self, CorruptValue> {
        match read_header(&key, value)? {
            (json_at, splice, identity) if identity == fields_identity(resource) => {
                Ok(Self::spliced(key, value, revision, json_at, splice))
            }
            (json_at, ..) => {
                let json = &value[json_at..];
                let splice = read_header(&key, value)?.1;
                let mut object = decode(resource, &key, json, splice)?;
                let value = encode(resource, object.as_mut());
                let (json_at, splice, _) = read_header(&key, &value)?;
                Ok(Self::spliced(key, &value, revision, json_at, splice))
            }
        }
    }

    fn spliced(key: Key, value: &[u8], revision: Revision, json_at: usize, splice: usize) -> Self {
        let fragment = fragment(revision);
        let at = json_at + splice;
        let mut buffer = BytesMut::with_capacity(value.len() + fragment.len());
        buffer.extend_from_slice(&value[..at]);
        buffer.extend_from_slice(fragment.as_bytes());
        buffer.extend_from_slice(&value[at..]);
        Self {
            key,
            revision,
            buffer: buffer.freeze(),
            json_at: u32::try_from(json_at).unwrap_or(u32::MAX),
            splice: u32::try_from(splice).unwrap_or(u32::MAX),
            protobuf_bytes: OnceLock::new(),
        }
    }

    /// The same object with another resourceVersion, as a DELETED event shows it.
    #[must_use]
    pub fn at_revision(&self, revision: Revision) -> Self {
        let (json_at, splice) = (self.json_at as usize, self.splice as usize);
        let at = json_at + splice;
        let mut value = Vec::with_capacity(self.buffer.len());
        value.extend_from_slice(&self.buffer[..at]);
        value.extend_from_slice(&self.buffer[at + fragment(self.revision).len()..]);
        Self::spliced(self.key.clone(), &value, revision, json_at, splice)
    }

    /// The object as a row's version shows it: stored bytes with another `apiVersion`, or converted. It is for showing only: labels
    /// and fields are those of the stored object.
    ///
    /// # Errors
    /// [`CorruptValue::Object`].
    pub fn shown_as(&self, served: &'static Resource) -> Result<Cow<'_, Self>, CorruptValue> {
        if served.conversion.is_none() {
            return Ok(Cow::Borrowed(self));
        }
        let header = [0; FIXED_HEADER_BYTES + 4];
        if served.same_shape() {
            let (api_version, kind) = (served.api_version(), served.kind);
            let head = format!("{{\"apiVersion\":\"{api_version}\",\"kind\":\"{kind}\",");
            return Ok(Cow::Owned(Self {
                key: self.key.clone(),
                revision: self.revision,
                buffer: [&header, head.as_bytes(), self.item_tail()].concat().into(),
                json_at: u32::try_from(header.len()).unwrap_or(u32::MAX),
                splice: u32::try_from(head.len() + METADATA.len()).unwrap_or(u32::MAX),
                protobuf_bytes: OnceLock::new(),
            }));
        }
        let mut object = served.show(self.decode(served.stored())?);
        object.meta_mut().resource_version = None;
        let (json, splice) = written(object.as_mut());
        let value = [&header[..], &json].concat();
        Ok(Cow::Owned(Self::spliced(self.key.clone(), &value, self.revision, header.len(), splice)))
    }

    /// The storage key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The resourceVersion.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The object as JSON.
    pub fn json(&self) -> Bytes {
        self.buffer.slice(self.json_at as usize..)
    }

    /// The object as JSON, without its managed fields.
    pub fn json_without_owners(&self) -> Bytes {
        let json = self.json();
        match owners::place(&json, self.splice as usize) {
            Some(place) => [&json[..place.start], &json[place.end..]].concat().into(),
            None => json,
        }
    }

    /// Whether two states of an object are the same but for their managed fields.
    fn same_but_owners(&self, other: &Self) -> bool {
        self.json_without_owners() == other.json_without_owners()
    }

    /// The object as an item of a list, which names no `apiVersion` and `kind`: `{"metadata":…`, without the opening brace.
    pub fn item_tail(&self) -> &[u8] {
        &self.buffer[(self.json_at + self.splice) as usize - METADATA.len()..]
    }

    /// The object in protobuf, as an item of a list.
    ///
    /// # Errors
    /// When the object is not of its kind's types.
    pub fn protobuf_item(&self) -> Result<Vec<u8>, ProtobufError> {
        protobuf::encode_item(&self.json())
    }

    /// How many bytes that is; worked out once.
    ///
    /// # Errors
    /// As [`Self::protobuf_item`].
    pub fn protobuf_bytes(&self) -> Result<usize, ProtobufError> {
        if let Some(bytes) = self.protobuf_bytes.get() {
            return Ok(*bytes as usize);
        }
        let bytes = self.protobuf_item()?.len();
        self.protobuf_bytes.get_or_init(|| u32::try_from(bytes).unwrap_or(u32::MAX));
        Ok(bytes)
    }

    /// Bytes held in memory.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        let mut reader = Reader(&self.buffer[FIXED_HEADER_BYTES..self.json_at as usize]);
        (0..reader.count())
            .map(|_| (reader.text(), reader.text()))
            .find(|(key, _)| *key == name)
            .map(|pair| pair.1)
    }

    /// The labels in order.
    pub fn labels(&self) -> Vec<(&str, &str)> {
        let mut reader = Reader(&self.buffer[FIXED_HEADER_BYTES..self.json_at as usize]);
        (0..reader.count()).map(|_| (reader.text(), reader.text())).collect()
    }

    /// The value of a selectable field of the resource.
    pub fn field(&self, resource: &Resource, name: &str) -> Option<&str> {
        let index = resource.selectable.iter().position(|field| *field == name)?;
        let mut reader = Reader(&self.buffer[FIXED_HEADER_BYTES..self.json_at as usize]);
        for _ in 0..reader.count() * 2 {
            reader.text();
        }
        let count = reader.count();
        (0..count).map(|_| reader.text()).nth(index)
    }

    /// Decodes the object, resourceVersion included.
    ///
    /// # Errors
    /// [`CorruptValue::Object`].
    pub fn decode(&self, resource: &Resource) -> Result<Object, CorruptValue> {
        decode(resource, &self.key, &self.json(), self.splice as usize)
    }
}

/// Decodes an object; its managed fields keep their text, see [`apimachinery::apply`].
fn decode(
    resource: &Resource,
    key: &Key,
    json: &[u8],
    splice: usize,
) -> Result<Object, CorruptValue> {
    let corrupt = |reason| CorruptValue::Object { key: key.clone(), reason };
    let decoded = |json: &[u8]| {
        let decoded = resource.codec.decode(json, FieldValidation::Ignore);
        decoded.map(|decoded| decoded.object).map_err(|error| corrupt(error.to_string()))
    };
    let Some(place) = owners::place(json, splice) else { return decoded(json) };
    let mut object = decoded(&[&json[..place.start], &json[place.end..]].concat())?;
    let entries = owners::read(&json[place]).map_err(|error| corrupt(error.to_string()))?;
    object.meta_mut().managed_fields = Some(entries);
    Ok(object)
}

/// What is spliced in; nothing for a revision of zero, which a dry-run creation has.
fn fragment(revision: Revision) -> String {
    if revision == 0 { String::new() } else { format!("\"resourceVersion\":\"{revision}\",") }
}

/// Offset of the JSON, offset of the splice inside it, identity of the fields.
fn read_header(key: &Key, value: &[u8]) -> Result<(usize, usize, u32), CorruptValue> {
    let truncated = || CorruptValue::Truncated { key: key.clone() };
    let format = *value.first().ok_or_else(truncated)?;
    if format != FORMAT {
        return Err(CorruptValue::Format { key: key.clone(), format });
    }
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?))
    };
    let parts = (number(1), number(5), number(9));
    let (Some(json_at), Some(splice), Some(identity)) = parts else {
        return Err(truncated());
    };
    let (json_at, splice) = (json_at as usize, splice as usize);
    if json_at < FIXED_HEADER_BYTES || json_at + splice > value.len() {
        return Err(truncated());
    }
    Ok((json_at, splice, identity))
}

/// Reads the texts of a header; what is cut off reads as empty.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn count(&mut self) -> usize {
        match *self.take(2) {
            [low, high] => usize::from(u16::from_le_bytes([low, high])),
            _ => 0,
        }
    }

    fn text(&mut self) -> &'a str {
        let length = self.count();
        std::str::from_utf8(self.take(length)).unwrap_or_default()
    }
}

/// What a decision makes of the current state of an object.
pub enum Change {
    /// Store this instead; its resourceVersion is ignored.
    Put(Object),
    /// Delete it.
    Delete,
    /// Leave it as it is.
    Keep,
}

/// How an update ended.
pub enum Updated {
    /// The new state is stored.
    Put(Encoded),
    /// The object is gone; its last state, with the revision of the deletion.
    Deleted(Encoded),
    /// Nothing had to change.
    Kept(Encoded),
}

/// Whether a write is done or only checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is done.
    Commit,
    /// `dryRun=All`: everything but the write.
    DryRun,
}

/// Objects over the store.
pub struct Storage {
    store: Arc<dyn Store>,
    event_ttl: Duration,
}

/// An object as it was read, decoded, with its resourceVersion.
pub struct Current {
    /// The object.
    pub object: Object,
    /// As it is stored.
    pub encoded: Encoded,
}

impl Storage {
    /// Objects over a store; Events live for `event_ttl`.
    pub fn new(store: Arc<dyn Store>, event_ttl: Duration) -> Self {
        Self { store, event_ttl }
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn ttl(&self, resource: &Resource) -> Option<Duration> {
        (resource.gvr() == kinds::of::<Event>().gvr()).then_some(self.event_ttl)
    }

    /// Stores a new object. `Ok(Err(current))` when one of that name exists.
    ///
    /// # Errors
    /// `Status` for a failing store or a corrupt value.
    pub async fn create(
        &self,
        resource: &Resource,
        object: &mut dyn KubeObject,
        mode: Mode,
    ) -> Result<Result<Encoded, Encoded>, StatusError> {
        let meta = object.meta();
        let name = meta.name.as_deref().unwrap_or_default();
        let key = key(resource, meta.namespace.as_deref().unwrap_or_default(), name);
        let value = encode(resource, object);
        let put = match mode {
            Mode::Commit => {
                self.store.put(key.clone(), value.clone(), Expect::Absent, self.ttl(resource)).await
            }
            Mode::DryRun => self.try_create(&key).await,
        };
        match put.map_err(status_of)? {
            Put::Done(revision) => encoded(resource, key, &value, revision).map(Ok),
            Put::Lost(At { value: Some(entry), .. }) => from_entry(resource, entry).map(Err),
            Put::Lost(_) => Err(StatusError::internal(
                "the store refused a creation of a key that does not exist",
            )),
        }
    }

    async fn try_create(&self, key: &Key) -> Result<Put, StoreError> {
        let at = self.store.get(key).await?;
        Ok(if at.value.is_some() { Put::Lost(at) } else { Put::Done(0) })
    }

    /// The current state of an object, straight from the store.
    ///
    /// # Errors
    /// `Status` for a failing store or a corrupt value.
    pub async fn read(
        &self,
        resource: &Resource,
        key: &Key,
    ) -> Result<Option<Current>, StatusError> {
        let at = self.store.get(key).await.map_err(status_of)?;
        at.value.map(|entry| current(resource, entry)).transpose()
    }

    /// Reads, decides and writes until no other writer came in between. `decide` sees the current state (`None`: absent,
    /// where it can only return an error) and may be called again.
    ///
    /// # Errors
    /// What `decide` returns; `Conflict` after [`MAX_UPDATE_ATTEMPTS`] lost races; `Status` for a failing store.
    pub async fn update<F>(
        &self,
        resource: &Resource,
        key: &Key,
        mode: Mode,
        mut decide: F,
    ) -> Result<Updated, StatusError>
    where
        F: FnMut(Option<&Current>) -> Result<Change, StatusError>,
    {
        let mut now = self.read(resource, key).await?;
        for _ in 0..MAX_UPDATE_ATTEMPTS {
            let change = decide(now.as_ref())?;
            let Some(current) = now else {
                return Err(StatusError::internal("an absent object can only be refused"));
            };
            match self.apply(resource, current, change, mode).await? {
                Ok(updated) => return Ok(updated),
                Err(newer) => now = newer,
            }
        }
        let name = key.rsplit('/').next().unwrap_or_default();
        Err(StatusError::conflict(&resource.group_resource(), name, TOO_MANY_WRITERS))
    }

    async fn apply(
        &self,
        resource: &Resource,
        current: Current,
        change: Change,
        mode: Mode,
    ) -> Result<Result<Updated, Option<Current>>, StatusError> {
        match change {
            Change::Keep => Ok(Ok(Updated::Kept(current.encoded))),
            Change::Delete => self.remove(resource, current, mode).await,
            Change::Put(object) => self.replace(resource, current, object, mode).await,
        }
    }

    async fn remove(
        &self,
        resource: &Resource,
        current: Current,
        mode: Mode,
    ) -> Result<Result<Updated, Option<Current>>, StatusError> {
        let last = current.encoded;
        if mode == Mode::DryRun {
            return Ok(Ok(Updated::Deleted(last)));
        }
        let expect = Expect::Revision(last.revision);
        match self.store.delete(last.key.clone(), expect).await.map_err(status_of)? {
            Put::Done(revision) => Ok(Ok(Updated::Deleted(last.at_revision(revision)))),
            Put::Lost(at) => lost(resource, at).map(Err),
        }
    }

    async fn replace(
        &self,
        resource: &Resource,
        current: Current,
        mut object: Object,
        mode: Mode,
    ) -> Result<Result<Updated, Option<Current>>, StatusError> {
        object.meta_mut().resource_version = None;
        let value = encode(resource, object.as_mut());
        let last = current.encoded;
        let next = encoded(resource, last.key.clone(), &value, last.revision)?;
        let ttl = self.ttl(resource);
        let (new, old) = (object.meta(), current.object.meta());
        let rewritten = owners::only_times_differ(&new.managed_fields, &old.managed_fields);
        if rewritten && next.same_but_owners(&last) {
            // Writing again what is there is no change.
            return Ok(Ok(Updated::Kept(last)));
        }
        if mode == Mode::DryRun {
            return Ok(Ok(Updated::Put(next)));
        }
        if next.buffer == last.buffer && ttl.is_none() {
            return Ok(Ok(Updated::Kept(last)));
        }
        let expect = Expect::Revision(last.revision);
        match self
            .store
            .put(last.key.clone(), value.clone(), expect, ttl)
            .await
            .map_err(status_of)?
        {
            Put::Done(revision) => {
                Ok(Ok(Updated::Put(encoded(resource, last.key, &value, revision)?)))
            }
            Put::Lost(at) => lost(resource, at).map(Err),
        }
    }
}

const TOO_MANY_WRITERS: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

fn lost(resource: &Resource, at: At<Option<StoreEntry>>) -> Result<Option<Current>, StatusError> {
    at.value.map(|entry| current(resource, entry)).transpose()
}

fn encoded(
    resource: &Resource,
    key: Key,
    value: &Bytes,
    revision: Revision,
) -> Result<Encoded, StatusError> {
    Encoded::new(resource, key, value, revision).map_err(StatusError::internal)
}

fn from_entry(resource: &Resource, entry: StoreEntry) -> Result<Encoded, StatusError> {
    encoded(resource, entry.key, &entry.value, entry.mod_revision)
}

fn current(resource: &Resource, entry: StoreEntry) -> Result<Current, StatusError> {
    let encoded = from_entry(resource, entry)?;
    let object = encoded.decode(resource).map_err(StatusError::internal)?;
    Ok(Current { object, encoded })
}

/// What a client is told when the store cannot answer.
pub fn status_of(error: StoreError) -> StatusError {
    match error {
        StoreError::Closed => StatusError::service_unavailable("the server is shutting down"),
        other => StatusError::internal(other),
    }
}
