//! The order of an object's parts in stored JSON: `apiVersion`, `kind`, `metadata`, then everything else.
//!
//! Counterpart in Kubernetes: the field order of its Go types. With `metadata` in front, the place of the resourceVersion and the
//! beginning of a list's item are known without reading the rest.

/// Moves `metadata` behind `apiVersion` and `kind`, where it is not there already; returns the JSON and the offset behind the
/// brace that opens `metadata`.
///
/// # Panics
/// When the JSON is not that of an object of this type, which is a mistake in its serializer.
pub(super) fn metadata_first(json: Vec<u8>, api_version: &str, kind: &str) -> (Vec<u8>, usize) {
    const METADATA: &[u8] = b"\"metadata\":";
    let types = format!("{{\"apiVersion\":\"{api_version}\",\"kind\":\"{kind}\",");
    assert!(json.starts_with(types.as_bytes()), "an encoded {kind} begins with its type");
    let head = types.len();
    let splice = head + METADATA.len() + 1;
    if json[head..].starts_with(METADATA) {
        return (json, splice);
    }
    let mut at = head;
    while !json[at..].starts_with(METADATA) {
        let key_end = value_end(&json, at);
        at = value_end(&json, key_end + 1) + 1;
        assert!(at < json.len(), "an encoded {kind} has metadata");
    }
    let end = value_end(&json, at + METADATA.len());
    let mut ordered = Vec::with_capacity(json.len());
    ordered.extend_from_slice(types.as_bytes());
    ordered.extend_from_slice(&json[at..end]);
    ordered.push(b',');
    // Without the comma in front of the metadata; behind it follows a comma or the end.
    ordered.extend_from_slice(&json[head..at - 1]);
    ordered.extend_from_slice(&json[end..]);
    (ordered, splice)
}

/// The offset behind the JSON value (or key) that begins at `at`, in compact and valid JSON.
pub(super) fn value_end(json: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = at;
    while at < json.len() {
        match json[at] {
            b'"' => at = text_end(json, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            _ if depth > 0 => at += 1,
            b':' => return at,
            _ => at += 1,
        }
        if depth == 0 && matches!(json.get(at), None | Some(b',' | b'}' | b']' | b':')) {
            return at;
        }
    }
    at
}

/// The offset behind the text that begins with the quote at `at`.
fn text_end(json: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < json.len() {
        match json[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::metadata_first;

    #[test]
    fn metadata_is_moved_in_front_and_the_rest_kept() {
        let table = [
            (r#""metadata":{"name":"a"}"#, r#""metadata":{"name":"a"}"#),
            (r#""metadata":{"name":"a"},"spec":{}"#, r#""metadata":{"name":"a"},"spec":{}"#),
            (
                r#""data":{"k":"v"},"metadata":{"name":"a"}"#,
                r#""metadata":{"name":"a"},"data":{"k":"v"}"#,
            ),
            (
                r#""data":{"}":"\"metadata\":{"},"n":[1,{"x":null}],"b":true,"metadata":{"l":{"a":"b"}},"z":"y""#,
                r#""metadata":{"l":{"a":"b"}},"data":{"}":"\"metadata\":{"},"n":[1,{"x":null}],"b":true,"z":"y""#,
            ),
        ];
        for (body, expected) in table {
            let whole =
                |body: &str| format!(r#"{{"apiVersion":"v1","kind":"K",{body}}}"#).into_bytes();
            let (ordered, splice) = metadata_first(whole(body), "v1", "K");
            assert_eq!(
                String::from_utf8_lossy(&ordered),
                String::from_utf8_lossy(&whole(expected))
            );
            assert!(ordered[..splice].ends_with(b"\"metadata\":{"));
        }
    }
}
