//! JSON merge patch, RFC 7386: objects merge, `null` deletes, everything else replaces.

use serde_json::Value;

use super::PatchError;

/// Applies a merge patch.
///
/// # Errors
/// If the patch is not an object.
pub fn apply(original: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("Invalid JSON Patch".to_owned()));
    }
    let mut patched = original.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patch_applied() {
        let table = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": 1}), json!({"a": null}), json!({"b": 1})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (original, patch, want) in table {
            assert_eq!(apply(&original, &patch).unwrap(), want, "{original} + {patch}");
        }
    }

    #[test]
    fn merge_patch_that_is_no_object_refused() {
        for patch in [json!([]), json!("a"), json!(null)] {
            assert_eq!(apply(&json!({}), &patch).unwrap_err().to_status().code(), 400);
        }
    }
}
