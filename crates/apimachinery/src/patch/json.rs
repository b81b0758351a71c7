//! JSON patch, RFC 6902: a list of operations that apply all or not at all.

use json_patch::PatchOperation;
use serde_json::Value;

use super::PatchError;

/// The most operations one patch may hold, as in Kubernetes: each of them walks the document.
pub const MAX_OPERATIONS: usize = 10_000;

/// How many bytes all `copy` operations of one patch may add, as in Kubernetes: a few of them can double a document often.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// Applies a JSON patch.
///
/// # Errors
/// [`PatchError::Malformed`] if the patch is no list of operations, [`PatchError::TooManyOperations`] if it is too long,
/// and [`PatchError::NotApplicable`] if an operation is unknown or fails, or if copies add too much.
pub fn apply(original: &Value, patch: &Value) -> Result<Value, PatchError> {
    let mut patched = original.clone();
    let mut copied_bytes = 0;
    for operation in operations(patch)? {
        copied_bytes += copied_size(&patched, &operation);
        if copied_bytes > MAX_COPIED_BYTES {
            return Err(PatchError::NotApplicable(format!(
                "Unable to copy, the accumulated size increase of copy is {copied_bytes}, exceeding the limit {MAX_COPIED_BYTES}"
            )));
        }
        if !tests_absence(&patched, &operation) {
            let applied = json_patch::patch_unsafe(&mut patched, std::slice::from_ref(&operation));
            applied.map_err(|error| PatchError::NotApplicable(error.to_string()))?;
        }
    }
    Ok(patched)
}

/// How many bytes a `copy` adds.
fn copied_size(document: &Value, operation: &PatchOperation) -> usize {
    match operation {
        PatchOperation::Copy(copy) => {
            document.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len())
        }
        _ => 0,
    }
}

/// True for a `test` that a key is `null` where an object does not have it; Kubernetes takes that for equal.
fn tests_absence(document: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    let path = test.path.as_str();
    let parent = path.rfind('/').map(|at| &path[..at]);
    test.value.is_null()
        && document.pointer(path).is_none()
        && parent.and_then(|parent| document.pointer(parent)).is_some_and(Value::is_object)
}

fn operations(patch: &Value) -> Result<Vec<PatchOperation>, PatchError> {
    let malformed = |found: &Value, wanted: &str| {
        let found = go_kind(found);
        PatchError::Malformed(format!(
            "json: cannot unmarshal {found} into Go value of type jsonpatch.{wanted}"
        ))
    };
    let items = patch.as_array().ok_or_else(|| malformed(patch, "Patch"))?;
    if let Some(item) = items.iter().find(|item| !item.is_object()) {
        return Err(malformed(item, "Operation"));
    }
    if items.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations { limit: MAX_OPERATIONS, count: items.len() });
    }
    items.iter().map(operation).collect()
}

/// One operation; a missing value means `null`, as in Kubernetes.
fn operation(item: &Value) -> Result<PatchOperation, PatchError> {
    let mut item = item.clone();
    if let Some(map) = item.as_object_mut() {
        map.entry("value").or_insert(Value::Null);
    }
    serde_json::from_value(item).map_err(|error| PatchError::NotApplicable(error.to_string()))
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The fields of operations that RFC 6902 does not know, for strict field validation.
pub fn strict_errors(patch: &Value) -> Vec<String> {
    let known = ["op", "path", "from", "value"];
    let items = patch.as_array().map(Vec::as_slice).unwrap_or_default().iter().enumerate();
    let unknown = items.flat_map(|(index, item)| {
        let keys = item.as_object().into_iter().flat_map(|map| map.keys());
        keys.filter(|key| !known.contains(&key.as_str())).map(move |key| (index, key))
    });
    unknown.map(|(index, key)| format!("json patch unknown field \"[{index}].{key}\"")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_applied_in_order() {
        let table = [
            (
                json!({"a": 1}),
                json!([{"op": "replace", "path": "/a", "value": 2}]),
                json!({"a": 2}),
            ),
            (
                json!({"a": [1]}),
                json!([{"op": "add", "path": "/a/-", "value": 2}]),
                json!({"a": [1, 2]}),
            ),
            (
                json!({"a": [1]}),
                json!([{"op": "add", "path": "/a/0", "value": 0}]),
                json!({"a": [0, 1]}),
            ),
            (json!({"a": 1, "b": 2}), json!([{"op": "remove", "path": "/a"}]), json!({"b": 2})),
            (json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), json!({"b": 1})),
            (
                json!({"a": 1}),
                json!([{"op": "copy", "from": "/a", "path": "/b"}]),
                json!({"a": 1, "b": 1}),
            ),
            (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 1}]), json!({"a": 1})),
            (
                json!({"x/y": 1}),
                json!([{"op": "replace", "path": "/x~1y", "value": 2}]),
                json!({"x/y": 2}),
            ),
        ];
        for (original, patch, want) in table {
            assert_eq!(apply(&original, &patch).unwrap(), want, "{patch}");
        }
    }

    #[test]
    fn failing_patch_answered_as_kubernetes_does() {
        let too_many =
            Value::Array(vec![json!({"op": "test", "path": "", "value": {}}); MAX_OPERATIONS + 1]);
        let table = [
            (json!({"op": "add"}), 400),
            (json!([1]), 400),
            (json!([{"op": "fly", "path": "/a"}]), 422),
            (json!([{"op": "test", "path": "/a", "value": 2}]), 422),
            (json!([{"op": "remove", "path": "/b"}]), 422),
            (json!([{"op": "replace", "path": "/b", "value": 1}]), 422),
            (json!([{"op": "add", "path": "/b/c", "value": 1}]), 422),
            (too_many, 413),
        ];
        for (patch, code) in table {
            assert_eq!(apply(&json!({"a": 1}), &patch).unwrap_err().to_status().code(), code);
        }
    }

    #[test]
    fn copies_that_grow_without_bound_refused() {
        let copies: Vec<Value> =
            (0..64).map(|n| json!({"op": "copy", "from": "", "path": format!("/a{n}")})).collect();
        let error = apply(&json!({"a": "xxxxxxxxxxxxxxxx"}), &Value::Array(copies)).unwrap_err();
        assert!(error.to_string().starts_with("Unable to copy"), "{error}");
        assert_eq!(error.to_status().code(), 422);
    }

    #[test]
    fn unknown_members_of_operations_found() {
        let patch = json!([{"op": "test", "path": "/a"}, {"op": "test", "path": "/a", "foo": 1}]);
        assert_eq!(strict_errors(&patch), ["json patch unknown field \"[1].foo\""]);
    }
}
