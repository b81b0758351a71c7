//! Managed fields in stored JSON: the first thing in `metadata`, behind the resourceVersion, with the text of each entry's
//! fields as it is.
//!
//! Counterpart in Kubernetes: `metav1.FieldsV1` with its raw bytes. With a place of their own they are neither parsed nor
//! written anew when an object is read and written.

use std::ops::Range;

use apimachinery::apply::raw_fields;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::layout;

const VERSION: &[u8] = b"\"resourceVersion\":\"";
const NAME: &[u8] = b"\"managedFields\":";

/// An entry as it is stored.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields_type: Option<String>,
    #[serde(borrow, rename = "fieldsV1", skip_serializing_if = "Option::is_none")]
    fields_v1: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manager: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subresource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Time>,
}

/// Writes entries into an object's JSON, where its `metadata` opens.
pub(super) fn write(json: &mut Vec<u8>, splice: usize, entries: &[ManagedFieldsEntry]) {
    let mut text = NAME.to_vec();
    let raw: Vec<_> = entries.iter().map(raw_fields).collect();
    let stored: Vec<Entry<'_>> =
        entries.iter().zip(&raw).map(|(entry, raw)| stored(entry, raw.as_deref())).collect();
    serde_json::to_writer(&mut text, &stored).expect("entries of texts and times are written");
    text.push(b',');
    json.splice(splice..splice, text);
}

/// Text that is no JSON is left out: the rest of the object must stay readable.
fn stored<'a>(entry: &ManagedFieldsEntry, raw: Option<&'a str>) -> Entry<'a> {
    Entry {
        api_version: entry.api_version.clone(),
        fields_type: entry.fields_type.clone(),
        fields_v1: raw.and_then(|text| serde_json::from_str(text).ok()),
        manager: entry.manager.clone(),
        operation: entry.operation.clone(),
        subresource: entry.subresource.clone(),
        time: entry.time.clone(),
    }
}

/// Where the member is in an object's JSON, with the comma behind it; `splice` is where `metadata` opens.
pub(super) fn place(json: &[u8], splice: usize) -> Option<Range<usize>> {
    let mut start = splice;
    if json.get(start..)?.starts_with(VERSION) {
        let digits = start + VERSION.len();
        let end = json[digits..].iter().position(|byte| *byte == b'"')?;
        // Behind the closing quote and the comma.
        start = digits + end + 2;
    }
    if !json.get(start..)?.starts_with(NAME) {
        return None;
    }
    let end = layout::value_end(json, start + NAME.len());
    Some(start..(end + 1).min(json.len()))
}

/// Reads the member.
pub(super) fn read(member: &[u8]) -> serde_json::Result<Vec<ManagedFieldsEntry>> {
    let value = member.strip_prefix(NAME).unwrap_or(member);
    let value = value.strip_suffix(b",").unwrap_or(value);
    let entries: Vec<Entry<'_>> = serde_json::from_slice(value)?;
    let entry = |entry: Entry<'_>| ManagedFieldsEntry {
        api_version: entry.api_version,
        fields_type: entry.fields_type,
        fields_v1: entry.fields_v1.map(|raw| FieldsV1(Value::String(raw.get().to_owned()))),
        manager: entry.manager,
        operation: entry.operation,
        subresource: entry.subresource,
        time: entry.time,
    };
    Ok(entries.into_iter().map(entry).collect())
}

/// Whether two lists of entries are the same but for their times.
pub(super) fn only_times_differ(
    new: &Option<Vec<ManagedFieldsEntry>>,
    old: &Option<Vec<ManagedFieldsEntry>>,
) -> bool {
    let (Some(new), Some(old)) = (new, old) else { return false };
    let same = |(new, old): (&ManagedFieldsEntry, &ManagedFieldsEntry)| {
        new.manager == old.manager
            && new.operation == old.operation
            && new.api_version == old.api_version
            && new.subresource == old.subresource
            && raw_fields(new) == raw_fields(old)
    };
    new.len() == old.len() && new != old && new.iter().zip(old).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_written_found_and_read_back() {
        let entries = vec![ManagedFieldsEntry {
            api_version: Some("v1".to_owned()),
            fields_type: Some("FieldsV1".to_owned()),
            fields_v1: Some(FieldsV1(Value::String(r#"{"f:b":{},"f:a":{}}"#.to_owned()))),
            manager: Some("m".to_owned()),
            operation: Some("Update".to_owned()),
            ..ManagedFieldsEntry::default()
        }];
        let plain = r#"{"metadata":{"name":"a"},"x":1}"#;
        let splice = plain.find("\"name\"").unwrap();
        let mut json = plain.as_bytes().to_vec();
        write(&mut json, splice, &entries);
        let text = String::from_utf8(json.clone()).unwrap();
        assert_eq!(
            text,
            r#"{"metadata":{"managedFields":[{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:b":{},"f:a":{}},"manager":"m","operation":"Update"}],"name":"a"},"x":1}"#
        );
        let found = place(&json, splice).unwrap();
        assert_eq!(read(&json[found.clone()]).unwrap(), entries);
        assert_eq!([&json[..found.start], &json[found.end..]].concat(), plain.as_bytes());
        let versioned =
            text.replace("\"managedFields", "\"resourceVersion\":\"12\",\"managedFields");
        let found = place(versioned.as_bytes(), splice).unwrap();
        assert_eq!(read(&versioned.as_bytes()[found]).unwrap(), entries);
        assert_eq!(place(plain.as_bytes(), splice), None);
    }
}
