//! Golden tables: original, patch, result.

use serde_json::json;

use super::*;
use crate::schema::TypeSchema;

fn list(item: Shape, strategy: PatchStrategy, key: Option<&str>) -> FieldSchema {
    FieldSchema {
        patch_strategy: strategy,
        patch_merge_key: key.map(str::to_owned),
        ..FieldSchema::of(Shape::List(Box::new(item)))
    }
}

fn object(name: &str) -> Shape {
    Shape::Object(name.to_owned())
}

/// A small pod: merged lists of objects and scalars, a replaced list and object, a union, and a map.
fn schemas() -> SchemaSet {
    let types = [
        (
            "Pod",
            vec![
                ("spec", FieldSchema::of(object("Spec"))),
                ("labels", FieldSchema::of(Shape::Map(Box::new(Shape::Scalar)))),
                ("finalizers", list(Shape::Scalar, PatchStrategy::Merge, None)),
                ("name", FieldSchema::default()),
            ],
        ),
        (
            "Spec",
            vec![
                ("containers", list(object("Container"), PatchStrategy::Merge, Some("name"))),
                ("tolerations", list(object("Container"), PatchStrategy::Default, None)),
                (
                    "strategy",
                    FieldSchema { retain_keys: true, ..FieldSchema::of(object("Strategy")) },
                ),
                (
                    "fixed",
                    FieldSchema {
                        patch_strategy: PatchStrategy::Replace,
                        ..FieldSchema::of(object("Strategy"))
                    },
                ),
            ],
        ),
        (
            "Container",
            vec![
                ("name", FieldSchema::default()),
                ("image", FieldSchema::default()),
                ("args", list(Shape::Scalar, PatchStrategy::Default, None)),
                ("ports", list(object("Container"), PatchStrategy::Merge, Some("containerPort"))),
            ],
        ),
        (
            "Strategy",
            vec![
                ("type", FieldSchema::default()),
                ("rolling", FieldSchema::of(object("Strategy"))),
            ],
        ),
    ];
    let named = |(name, fields): (&str, Vec<(&str, FieldSchema)>)| {
        let fields = fields.into_iter().map(|(name, field)| (name.to_owned(), field)).collect();
        (name.to_owned(), TypeSchema { fields, atomic: false })
    };
    let types = types.into_iter().map(named);
    SchemaSet { types: types.collect() }
}

fn patched(original: &Value, patch: &Value) -> Result<Value, PatchError> {
    apply(original, patch, &schemas(), "Pod")
}

fn check(table: &[(Value, Value, Value)]) {
    for (original, patch, want) in table {
        let got = patched(original, patch).unwrap_or_else(|error| panic!("{patch}: {error}"));
        assert_eq!(&got, want, "{original} + {patch}");
    }
}

fn containers(items: Value) -> Value {
    json!({"spec": {"containers": items}})
}

#[test]
fn maps_merged_and_nulls_delete() {
    check(&[
        (json!({"name": "a"}), json!({"name": "b"}), json!({"name": "b"})),
        (json!({"name": "a"}), json!({"name": null}), json!({})),
        (
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"b": "2"}}),
            json!({"labels": {"a": "1", "b": "2"}}),
        ),
        (json!({"labels": {"a": "1"}}), json!({"labels": {"a": null}}), json!({"labels": {}})),
        (json!({}), json!({"labels": {"a": null, "b": "1"}}), json!({"labels": {"b": "1"}})),
        (json!({"name": "a"}), json!({"labels": null}), json!({"name": "a"})),
    ]);
}

#[test]
fn lists_of_objects_merged_by_key() {
    check(&[
        (
            containers(json!([{"name": "a", "image": "1"}])),
            containers(json!([{"name": "a", "image": "2"}])),
            containers(json!([{"name": "a", "image": "2"}])),
        ),
        (
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "c"}])),
            containers(json!([{"name": "c"}, {"name": "a"}, {"name": "b"}])),
        ),
        (
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "b", "image": "2"}])),
            containers(json!([{"name": "a"}, {"name": "b", "image": "2"}])),
        ),
        (
            containers(json!([{"name": "a", "ports": [{"containerPort": 80}]}])),
            containers(json!([{"name": "a", "ports": [{"containerPort": 80, "name": "http"}]}])),
            containers(json!([{"name": "a", "ports": [{"containerPort": 80, "name": "http"}]}])),
        ),
        (
            json!({"spec": {}}),
            containers(json!([{"name": "a"}])),
            containers(json!([{"name": "a"}])),
        ),
    ]);
}

#[test]
fn other_lists_replaced() {
    check(&[
        (
            containers(json!([{"name": "a", "args": ["x", "y"]}])),
            containers(json!([{"name": "a", "args": ["z"]}])),
            containers(json!([{"name": "a", "args": ["z"]}])),
        ),
        (
            json!({"spec": {"tolerations": [{"name": "a"}]}}),
            json!({"spec": {"tolerations": []}}),
            json!({"spec": {"tolerations": []}}),
        ),
    ]);
}

#[test]
fn scalar_lists_merged_as_sets() {
    check(&[
        (
            json!({"finalizers": ["a", "b"]}),
            json!({"finalizers": ["b", "c"]}),
            json!({"finalizers": ["a", "b", "c"]}),
        ),
        (
            json!({"finalizers": ["a", "b", "c"]}),
            json!({"$deleteFromPrimitiveList/finalizers": ["b"]}),
            json!({"finalizers": ["a", "c"]}),
        ),
        (json!({}), json!({"$deleteFromPrimitiveList/finalizers": ["b"]}), json!({})),
        (
            json!({"finalizers": ["a", "b"]}),
            json!({"$setElementOrder/finalizers": ["c", "b", "a"], "finalizers": ["c"]}),
            json!({"finalizers": ["c", "b", "a"]}),
        ),
    ]);
}

#[test]
fn patch_directives_carried_out() {
    check(&[
        (
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "a", "$patch": "delete"}])),
            containers(json!([{"name": "b"}])),
        ),
        (
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "c"}, {"$patch": "replace"}])),
            containers(json!([{"name": "c"}])),
        ),
        (
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"$patch": "replace", "b": "2"}}),
            json!({"labels": {"b": "2"}}),
        ),
        (
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"$patch": "delete"}}),
            json!({"labels": {}}),
        ),
        (json!({"name": "a"}), json!({"labels": {"$patch": "delete"}}), json!({"name": "a"})),
        (
            json!({"spec": {}}),
            containers(json!([{"name": "a", "$patch": "delete"}, {"name": "b"}])),
            containers(json!([{"name": "b"}])),
        ),
        (
            json!({"spec": {"fixed": {"type": "a", "rolling": {}}}}),
            json!({"spec": {"fixed": {"type": "b"}}}),
            json!({"spec": {"fixed": {"type": "b"}}}),
        ),
    ]);
}

#[test]
fn retain_keys_clears_the_rest() {
    check(&[(
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rolling": {"type": "x"}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
    )]);
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["rolling"], "type": "Recreate"}}});
    let error = patched(&json!({"spec": {"strategy": {}}}), &patch).unwrap_err();
    assert_eq!(error.to_string(), "invalid patch format of retainKeys");
    assert_eq!(error.to_status().code(), 400);
}

#[test]
fn element_order_set() {
    check(&[
        (
            containers(json!([{"name": "a"}, {"name": "server"}, {"name": "b"}])),
            json!({"spec": {
                "$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}],
                "containers": [{"name": "new"}]}}),
            containers(json!([{"name": "server"}, {"name": "b"}, {"name": "new"}, {"name": "a"}])),
        ),
        (
            containers(json!([{"name": "a"}, {"name": "b"}])),
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}),
            containers(json!([{"name": "b"}, {"name": "a"}])),
        ),
        (
            containers(json!([{"name": "a"}, {"name": "b"}])),
            json!({"spec": {
                "$setElementOrder/containers": [{"name": "b"}],
                "containers": [{"name": "a", "$patch": "delete"}]}}),
            containers(json!([{"name": "b"}])),
        ),
    ]);
    let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}});
    assert_eq!(patched(&containers(json!([])), &patch).unwrap_err().to_status().code(), 400);
}

#[test]
fn bad_patch_refused() {
    let table = [
        (json!({}), json!([]), 400, "invalid JSON document"),
        (
            json!({}),
            json!({"$deleteFromPrimitiveList": []}),
            400,
            "invalid patch format of primitive list",
        ),
        (
            json!({"finalizers": [["a"]]}),
            json!({"finalizers": [["b"]]}),
            422,
            "lists of lists are not supported",
        ),
        (
            json!({"labels": {}}),
            json!({"labels": {"$patch": "fly"}}),
            500,
            "unknown patch type: fly in map: map[]",
        ),
        (
            containers(json!([{"name": "a"}])),
            containers(json!([{"image": "x"}])),
            500,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            json!({"other": {}}),
            json!({"other": {"a": 1}}),
            500,
            "unable to find api field in struct Pod for the json field \"other\"",
        ),
    ];
    for (original, patch, code, message) in table {
        let error = patched(&original, &patch).unwrap_err();
        assert_eq!(
            (error.to_status().code(), error.to_string().as_str()),
            (code, message),
            "{patch}"
        );
    }
}
