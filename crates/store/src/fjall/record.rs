//! How changes and live keys are written as bytes.
//!
//! Invariants: all numbers are big-endian, so that keys sort by revision; the value is the tail of a record, so that
//! reading it copies nothing.

use bytes::Bytes;

use crate::contract::{Entry, EventKind, Key, Revision, StoreError};

/// Bytes before the key of a record: kind, creation, replaced, key length.
const RECORD_HEAD: usize = 1 + 8 + 8 + 4;

/// One change of one key, as `records` keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub revision: Revision,
    pub kind: EventKind,
    pub key: Key,
    /// Empty for a delete.
    pub value: Bytes,
    pub create_revision: Revision,
    /// The revision of the put that this change replaced or deleted; zero for a creation.
    pub replaced: Revision,
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RECORD_HEAD + self.key.len() + self.value.len());
        out.push(match self.kind {
            EventKind::Put => 0,
            EventKind::Delete => 1,
        });
        out.extend(self.create_revision.to_be_bytes());
        out.extend(self.replaced.to_be_bytes());
        out.extend((self.key.len() as u32).to_be_bytes());
        out.extend(self.key.as_bytes());
        out.extend(&self.value);
        out
    }

    pub(super) fn decode(revision: Revision, bytes: Bytes) -> Result<Self, StoreError> {
        let head = bytes.get(..RECORD_HEAD).ok_or_else(corrupt)?;
        let kind = match head[0] {
            0 => EventKind::Put,
            1 => EventKind::Delete,
            _ => return Err(corrupt()),
        };
        let create_revision = revision_of(&head[1..9])?;
        let replaced = revision_of(&head[9..17])?;
        let length = u32::from_be_bytes(head[17..21].try_into().map_err(|_| corrupt())?) as usize;
        let end = RECORD_HEAD + length;
        let key = key_of(bytes.get(RECORD_HEAD..end).ok_or_else(corrupt)?)?;
        Ok(Self { revision, kind, key, value: bytes.slice(end..), create_revision, replaced })
    }

    /// The state of the key after this change; `None` after a delete.
    pub(super) fn into_entry(self) -> Option<Entry> {
        let Self { key, value, create_revision, revision, .. } = self;
        (self.kind == EventKind::Put).then_some(Entry {
            key,
            value,
            create_revision,
            mod_revision: revision,
        })
    }
}

/// Where a key stands, as `live` keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// The revision of its latest put.
    pub revision: Revision,
    pub create_revision: Revision,
    /// When it expires, in milliseconds since 1970; zero for never.
    pub deadline_ms: u64,
}

impl Live {
    pub(super) fn encode(&self) -> Vec<u8> {
        [self.revision, self.create_revision, self.deadline_ms].map(u64::to_be_bytes).concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        if bytes.len() != 24 {
            return Err(corrupt());
        }
        Ok(Self {
            revision: revision_of(&bytes[..8])?,
            create_revision: revision_of(&bytes[8..16])?,
            deadline_ms: revision_of(&bytes[16..])?,
        })
    }
}

pub(super) fn revision_of(bytes: &[u8]) -> Result<Revision, StoreError> {
    Ok(Revision::from_be_bytes(bytes.try_into().map_err(|_| corrupt())?))
}

pub(super) fn key_of(bytes: &[u8]) -> Result<Key, StoreError> {
    Ok(std::str::from_utf8(bytes).map_err(|_| corrupt())?.into())
}

fn corrupt() -> StoreError {
    StoreError::Io("a record on disk is not in the form this binary writes".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_round_trips_and_truncation_is_an_error() {
        let record = Record {
            revision: 7,
            kind: EventKind::Put,
            key: "/a/ü".into(),
            value: Bytes::from_static(b"value"),
            create_revision: 3,
            replaced: 5,
        };
        let bytes = record.encode();
        assert_eq!(Record::decode(7, bytes.clone().into()), Ok(record));
        for cut in 0..RECORD_HEAD + 4 {
            assert!(Record::decode(7, Bytes::copy_from_slice(&bytes[..cut])).is_err(), "{cut}");
        }
    }

    #[test]
    fn live_round_trips_and_a_wrong_length_is_an_error() {
        let live = Live { revision: 9, create_revision: 4, deadline_ms: 1 };
        assert_eq!(Live::decode(&live.encode()), Ok(live));
        assert!(Live::decode(&live.encode()[1..]).is_err());
    }
}
