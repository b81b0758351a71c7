//! Applies and updates of small objects, in text and out; and a property: applies do what a plain model does.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::{FieldSchema, ListType, ScalarType, SchemaSet, Shape, TypeSchema};

/// A clock that the tests drive.
fn at(seconds: i64) -> Time {
    Time(Timestamp::from_second(seconds).unwrap())
}

fn scalar(kind: ScalarType) -> FieldSchema {
    FieldSchema { scalar: kind, ..FieldSchema::of(Shape::Scalar) }
}

fn list(item: Shape, list_type: ListType, keys: &[&str]) -> FieldSchema {
    FieldSchema {
        list_type: Some(list_type),
        list_map_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        scalar: ScalarType::String,
        ..FieldSchema::of(Shape::List(Box::new(item)))
    }
}

fn labels() -> FieldSchema {
    let strings = Shape::Map(Box::new(Shape::Scalar));
    FieldSchema { scalar: ScalarType::String, ..FieldSchema::of(strings) }
}

fn object(name: &str) -> Shape {
    Shape::Object(name.to_owned())
}

fn embedded(name: &str) -> FieldSchema {
    FieldSchema { zero: Some(json!({})), ..FieldSchema::of(object(name)) }
}

/// A kind with one field of every sort.
fn schema() -> TypedSchema {
    let text = || scalar(ScalarType::String);
    let required = |zero: Value, kind| FieldSchema {
        zero: Some(zero.clone()),
        default: Some(zero),
        ..scalar(kind)
    };
    let protocol = FieldSchema { default: Some(json!("TCP")), ..text() };
    let meta = vec![
        ("name", text()),
        ("namespace", text()),
        ("uid", text()),
        ("labels", labels()),
        ("annotations", labels()),
        ("finalizers", list(Shape::Scalar, ListType::Set, &[])),
    ];
    let spec = vec![
        ("replicas", scalar(ScalarType::Number)),
        ("paused", scalar(ScalarType::Boolean)),
        ("selector", FieldSchema { atomic: true, ..labels() }),
        ("args", list(Shape::Scalar, ListType::Atomic, &[])),
        ("ports", list(object("Port"), ListType::Map, &["port", "protocol"])),
        (
            "boxes",
            FieldSchema {
                zero: Some(Value::Null),
                ..list(object("Box"), ListType::Map, &["name"])
            },
        ),
        ("template", FieldSchema::of(object("Spec"))),
        ("reference", FieldSchema::of(object("Reference"))),
        ("anything", FieldSchema::of(Shape::Any)),
    ];
    let boxed = vec![
        ("name", required(json!(""), ScalarType::String)),
        ("image", text()),
        ("resources", embedded("Resources")),
    ];
    let port = vec![
        ("port", required(json!(0), ScalarType::Number)),
        ("protocol", protocol),
        ("name", text()),
    ];
    let types = [
        (
            "Kind",
            vec![
                ("apiVersion", text()),
                ("kind", text()),
                ("metadata", embedded("Meta")),
                ("spec", embedded("Spec")),
                ("status", embedded("Status")),
            ],
        ),
        ("Meta", meta),
        ("Spec", spec),
        ("Status", vec![("phase", text()), ("count", scalar(ScalarType::Number))]),
        ("Box", boxed),
        ("Port", port),
        ("Resources", vec![("limits", labels())]),
        ("Reference", vec![("name", text()), ("key", text())]),
    ];
    let types = types.into_iter().map(|(name, fields)| {
        let fields = fields.into_iter().map(|(name, field)| (name.to_owned(), field)).collect();
        (name.to_owned(), TypeSchema { fields, atomic: name == "Reference" })
    });
    TypedSchema::compile(&SchemaSet { types: types.collect() })
}

/// An object with its managers, and the requests that change it.
struct World {
    schema: TypedSchema,
    object: Option<Value>,
    managed: Managed,
    second: i64,
}

const VERSION: &str = "apps/v1";

impl World {
    fn new() -> Self {
        Self { schema: schema(), object: None, managed: Managed::default(), second: 0 }
    }

    fn with<T>(&self, subresource: &str, ask: impl FnOnce(&FieldManager<'_>) -> T) -> T {
        let versions = Unconverted { api_version: VERSION, ty: self.schema.of("Kind") };
        let filter = match subresource {
            "" => Filter::except(&[&["status"]]),
            _ => Filter::except(&[&["spec"]]),
        };
        ask(&FieldManager {
            schema: &self.schema,
            versions: &versions,
            api_version: VERSION,
            kind: "Kind",
            subresource,
            filter: &filter,
            now: &at(self.second),
        })
    }

    fn update(&mut self, manager: &str, object: Value) {
        self.update_part(manager, "", object);
    }

    fn update_part(&mut self, manager: &str, subresource: &str, object: Value) {
        self.second += 1;
        let (object, managed) = (whole(object), self.managed.clone());
        self.managed = self.with(subresource, |fields| {
            fields.update(self.object.as_ref(), &object, managed, manager)
        });
        self.object = Some(object);
    }

    fn try_apply(&mut self, manager: &str, force: bool, config: Value) -> Result<(), ApplyError> {
        self.second += 1;
        let (config, managed) = (whole(config), self.managed.clone());
        let live = self.object.clone().unwrap_or_else(|| whole(json!({})));
        let applied =
            self.with("", |fields| fields.apply(&live, &config, managed, manager, force))?;
        (self.object, self.managed) = (Some(applied.object), applied.managed);
        Ok(())
    }

    #[track_caller]
    fn apply(&mut self, manager: &str, config: Value) {
        self.try_apply(manager, false, config).unwrap();
    }

    fn spec(&self) -> Value {
        self.object.as_ref().unwrap()["spec"].clone()
    }

    /// Every entry in short: who, how, when, what.
    fn owners(&self) -> Vec<String> {
        let line = |entry: &ManagedFieldsEntry| {
            let part = entry.subresource.clone().unwrap_or_default();
            format!(
                "{}{} {} @{} {}",
                entry.manager.as_deref().unwrap(),
                if part.is_empty() { part } else { format!("/{part}") },
                entry.operation.as_deref().unwrap(),
                entry.time.as_ref().map_or(-1, |time| time.0.as_second()),
                raw_fields(entry).unwrap().replace('"', "'").replace('\\', "")
            )
        };
        self.managed.encode().unwrap_or_default().iter().map(line).collect()
    }
}

/// An object with its type and name.
fn whole(mut object: Value) -> Value {
    object["apiVersion"] = json!(VERSION);
    object["kind"] = json!("Kind");
    object["metadata"]["name"] = json!("a");
    object
}

#[test]
fn create_owns_what_the_object_says_beyond_the_zero_value() {
    let mut world = World::new();
    world.update("kubectl-create", json!({
        "metadata": {"labels": {"app": "x"}, "uid": "u", "finalizers": ["a/b"]},
        "spec": {
            "replicas": 1,
            "args": ["a"],
            "selector": {"a": "b"},
            "reference": {"name": "r"},
            "boxes": [{"name": "z", "image": "i"}, {"name": "c", "resources": {"limits": {"cpu": "1"}}}],
            "ports": [{"port": 443}, {"port": 80, "protocol": "TCP"}],
            "template": {"replicas": 2},
            "anything": {"deep": {"er": [1]}},
        },
        "status": {"phase": "ignored"},
    }));
    assert_eq!(
        world.owners(),
        [concat!(
            "kubectl-create Update @1 {'f:metadata':{'f:finalizers':{'.':{},'v:'a/b'':{}},'f:labels':{'.':{},'f:app':{}}},",
            "'f:spec':{'f:anything':{'.':{},'f:deep':{'.':{},'f:er':{}}},'f:args':{},'f:boxes':{",
            "'k:{'name':'c'}':{'.':{},'f:name':{},'f:resources':{'.':{},'f:limits':{'.':{},'f:cpu':{}}}},",
            "'k:{'name':'z'}':{'.':{},'f:image':{},'f:name':{},'f:resources':{}}},",
            "'f:ports':{'.':{},'k:{'port':80,'protocol':'TCP'}':{'.':{},'f:port':{},'f:protocol':{}},",
            "'k:{'port':443,'protocol':'TCP'}':{'.':{},'f:port':{}}},'f:reference':{},'f:replicas':{},'f:selector':{},",
            "'f:template':{'.':{},'f:boxes':{},'f:replicas':{}}}}",
        )]
    );
}

#[test]
fn update_takes_what_it_changes_and_keeps_the_time_of_others() {
    let mut world = World::new();
    world.update("a", json!({"spec": {"replicas": 1, "paused": true}}));
    world.update("b", json!({"spec": {"replicas": 2, "paused": true}}));
    assert_eq!(
        world.owners(),
        ["a Update @1 {'f:spec':{'f:paused':{}}}", "b Update @2 {'f:spec':{'f:replicas':{}}}",]
    );
    world.update("b", json!({"spec": {"replicas": 2, "paused": true}}));
    assert_eq!(world.owners()[1], "b Update @2 {'f:spec':{'f:replicas':{}}}");
    world.update("b", json!({"spec": {"replicas": 2}}));
    assert_eq!(world.owners(), ["b Update @2 {'f:spec':{'f:replicas':{}}}"]);
}

#[test]
fn status_updates_own_the_status_only_and_have_an_entry_of_their_own() {
    let mut world = World::new();
    world.update("a", json!({"spec": {"replicas": 1}}));
    let changed = json!({"spec": {"replicas": 5}, "status": {"phase": "Up", "count": 1}});
    world.update_part("a", "status", changed);
    assert_eq!(
        world.owners(),
        [
            "a Update @1 {'f:spec':{'f:replicas':{}}}",
            "a/status Update @2 {'f:status':{'f:count':{},'f:phase':{}}}",
        ]
    );
}

#[test]
fn applied_fields_are_shared_taken_and_given_up() {
    let mut world = World::new();
    world.apply("a", json!({"spec": {"replicas": 1, "paused": false}}));
    assert_eq!(world.owners(), ["a Apply @1 {'f:spec':{'f:paused':{},'f:replicas':{}}}"]);
    world.apply("b", json!({"spec": {"replicas": 1}}));
    assert_eq!(world.owners()[0], "b Apply @-1 {'f:spec':{'f:replicas':{}}}");
    let refused = world.try_apply("b", false, json!({"spec": {"replicas": 3}})).unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"Apply failed with 1 conflict: conflict with "a": .spec.replicas"#
    );
    world.try_apply("b", true, json!({"spec": {"replicas": 3}})).unwrap();
    assert_eq!(
        world.owners(),
        ["a Apply @1 {'f:spec':{'f:paused':{}}}", "b Apply @4 {'f:spec':{'f:replicas':{}}}",]
    );
    world.apply("b", json!({"spec": {}}));
    assert_eq!(world.spec(), json!({"paused": false}));
    assert_eq!(
        world.owners(),
        ["a Apply @1 {'f:spec':{'f:paused':{}}}", "b Apply @5 {'f:spec':{}}"]
    );
}

#[test]
fn apply_that_changes_nothing_keeps_its_time() {
    let mut world = World::new();
    world.apply("a", json!({"spec": {"replicas": 1}}));
    world.apply("a", json!({"spec": {"replicas": 1}}));
    assert_eq!(world.owners(), ["a Apply @1 {'f:spec':{'f:replicas':{}}}"]);
}

#[test]
fn items_nobody_owns_any_more_are_removed() {
    let mut world = World::new();
    let both = json!({
        "metadata": {"labels": {"a": "1", "b": "2"}},
        "spec": {"ports": [{"port": 80}, {"port": 81, "name": "x"}], "boxes": [{"name": "n", "image": "i"}]}
    });
    world.apply("a", both);
    world.apply("b", json!({"spec": {"ports": [{"port": 81}]}}));
    world.update("c", json!({
        "metadata": {"labels": {"a": "1", "b": "2", "c": "3"}},
        "spec": {"ports": [{"port": 80}, {"port": 81, "name": "x"}], "boxes": [{"name": "n", "image": "i"}]}
    }));
    world.apply("a", json!({"metadata": {"labels": {"a": "1"}}}));
    let object = world.object.clone().unwrap();
    assert_eq!(object["metadata"]["labels"], json!({"a": "1", "c": "3"}));
    assert_eq!(object["spec"], json!({"ports": [{"port": 81}]}));
}

#[test]
fn item_goes_with_its_applier_even_if_another_changed_a_field_of_it() {
    let mut world = World::new();
    world.apply("a", json!({"spec": {"paused": true, "boxes": [{"name": "n", "image": "i"}]}}));
    world.update("b", json!({"spec": {"paused": true, "boxes": [{"name": "n", "image": "j"}]}}));
    world.apply("a", json!({"spec": {"paused": true}}));
    assert_eq!(world.spec(), json!({"paused": true}));
    assert_eq!(world.managed.entries.len(), 1);
}

#[test]
fn atomic_values_have_one_owner() {
    let mut world = World::new();
    world.apply(
        "a",
        json!({"spec": {"args": ["x"], "selector": {"a": "b"}, "reference": {"name": "r"}}}),
    );
    let other = json!({"spec": {"args": ["y"], "selector": {"c": "d"}, "reference": {"key": "k"}}});
    let refused = world.try_apply("b", false, other.clone()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Apply failed with 3 conflicts: conflicts with \"a\":\n- .spec.args\n- .spec.reference\n- .spec.selector"
    );
    world.try_apply("b", true, other.clone()).unwrap();
    assert_eq!(world.spec(), other["spec"]);
    assert_eq!(world.managed.entries.len(), 1);
}

#[test]
fn sets_and_lists_merge_by_item() {
    let mut world = World::new();
    world.apply("a", json!({"metadata": {"finalizers": ["a/a", "b/b"]}, "spec": {"ports": [{"port": 1}, {"port": 2}]}}));
    world.apply("b", json!({"metadata": {"finalizers": ["c/c"]}, "spec": {"ports": [{"port": 2, "name": "two"}, {"port": 0, "protocol": "UDP"}]}}));
    let object = world.object.clone().unwrap();
    assert_eq!(object["metadata"]["finalizers"], json!(["a/a", "b/b", "c/c"]));
    assert_eq!(
        object["spec"]["ports"],
        json!([
        {"port": 1}, {"port": 2, "name": "two"}, {"port": 0, "protocol": "UDP"}])
    );
    world
        .apply("a", json!({"metadata": {"finalizers": ["b/b"]}, "spec": {"ports": [{"port": 1}]}}));
    let object = world.object.clone().unwrap();
    assert_eq!(object["metadata"]["finalizers"], json!(["b/b", "c/c"]));
    assert_eq!(object["spec"]["ports"].as_array().unwrap().len(), 3);
}

#[test]
fn objects_nobody_owned_belong_to_before_first_apply() {
    let mut world = World::new();
    world.object = Some(whole(json!({"spec": {"replicas": 1, "paused": true}})));
    world.update("x", json!({"spec": {"replicas": 2, "paused": true}}));
    assert_eq!(world.owners(), [""; 0]);
    let refused = world.try_apply("a", false, json!({"spec": {"replicas": 3}})).unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.replicas"#
    );
    world.apply("a", json!({"spec": {"replicas": 2}}));
    assert_eq!(
        world.owners(),
        [
            "a Apply @-1 {'f:spec':{'f:replicas':{}}}",
            "before-first-apply Update @3 {'f:spec':{'f:paused':{},'f:replicas':{}}}",
        ]
    );
}

#[test]
fn kubectl_takes_over_from_client_side_apply() {
    let last = json!({"apiVersion": VERSION, "kind": "Kind", "metadata": {"name": "a"}, "spec": {"replicas": 1, "args": ["x"]}});
    let annotations = json!({last_applied::ANNOTATION: last.to_string()});
    let created = json!({"metadata": {"annotations": annotations}, "spec": {"replicas": 1, "args": ["x"], "paused": true}});
    let mut world = World::new();
    world.update("kubectl-client-side-apply", created);
    let config = json!({"spec": {"replicas": 2, "args": ["x"]}});
    assert!(world.try_apply("other", false, config.clone()).is_err());
    world.apply("kubectl", config);
    let object = world.object.clone().unwrap();
    let annotation = object["metadata"]["annotations"][last_applied::ANNOTATION].as_str().unwrap();
    assert_eq!(
        annotation,
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"Kind\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"args\":[\"x\"],\"replicas\":2}}\n"
    );
    let paused = world.try_apply("kubectl", false, json!({"spec": {"paused": false}})).unwrap_err();
    assert_eq!(
        paused.to_string(),
        r#"Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.paused"#
    );
}

#[test]
fn the_oldest_of_more_than_ten_updaters_become_one() {
    let mut world = World::new();
    let mut spec = json!({"anything": {}});
    for n in 0..12 {
        spec["anything"][format!("field{n:02}")] = json!(n);
        world.update(&format!("m{n:02}"), json!({"spec": spec}));
    }
    let owners = world.owners();
    assert_eq!(owners.len(), 10);
    assert_eq!(
        owners[0],
        "ancient-changes Update @3 {'f:spec':{'f:anything':{'.':{},'f:field00':{},'f:field01':{},'f:field02':{}}}}"
    );
    assert!(owners[1].starts_with("m03 "), "{owners:?}");
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let mut world = World::new();
    let bad_type = "failed to create typed patch object (/a; apps/v1, Kind=Kind): ";
    let table = [
        (
            json!({"metadata": {"managedFields": []}}),
            "metadata.managedFields must be nil".to_owned(),
        ),
        (
            json!({"spec": {"nope": 1}}),
            format!("{bad_type}.spec.nope: field not declared in schema"),
        ),
        (
            json!({"spec": {"replicas": "1"}}),
            format!("{bad_type}.spec.replicas: expected numeric (int or float), got string"),
        ),
        (
            json!({"spec": {"paused": "yes"}}),
            format!("{bad_type}.spec.paused: expected boolean, got &{{yes}}"),
        ),
        (
            json!({"spec": {"args": [1]}}),
            format!(
                "{bad_type}.spec.args[0]: expected string, got &value.valueUnstructured{{Value:1}}"
            ),
        ),
        (
            json!({"spec": {"args": "x"}}),
            format!("{bad_type}.spec.args: expected list, got &{{x}}"),
        ),
        (json!({"spec": []}), format!("{bad_type}.spec: expected map, got &{{[]}}")),
        (
            json!({"spec": {"boxes": [{"name": "a"}, {"name": "a"}]}}),
            format!("{bad_type}.spec.boxes: duplicate entries for key [name=\"a\"]"),
        ),
        (
            json!({"spec": {"boxes": [null]}}),
            format!(
                "{bad_type}.spec.boxes: element 0: associative list with keys may not have a null element"
            ),
        ),
        (
            json!({"metadata": {"finalizers": ["x", "x"]}}),
            format!("{bad_type}.metadata.finalizers: duplicate entries for key [=\"x\"]"),
        ),
        (
            json!({"metadata": {"labels": {"a": 1, "b": true}}}),
            format!(
                "{bad_type}errors:\n  .metadata.labels.a: expected string, got &value.valueUnstructured{{Value:1}}\n  .metadata.labels.b: expected string, got &value.valueUnstructured{{Value:true}}"
            ),
        ),
    ];
    for (config, want) in table {
        let error = world.try_apply("a", false, config).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
    let other = json!({"apiVersion": "v1", "kind": "Pod"});
    let error = world.with("", |fields| {
        fields.apply(&json!({}), &other, Managed::default(), "a", false).unwrap_err()
    });
    assert_eq!(error.to_string(), "invalid object type: /v1, Kind=Pod");
}

#[test]
fn conflicts_become_causes() {
    let mut world = World::new();
    world.update("a", json!({"spec": {"replicas": 1, "boxes": [{"name": "n", "image": "i"}]}}));
    world.update_part("b", "status", json!({"metadata": {"labels": {"x": "y"}}, "spec": {"replicas": 1, "boxes": [{"name": "n", "image": "i"}]}}));
    let config = json!({"metadata": {"labels": {"x": "z"}}, "spec": {"replicas": 2, "boxes": [{"name": "n", "image": "j"}]}});
    let status = world.try_apply("c", false, config).unwrap_err().to_status();
    assert_eq!((status.code(), status.reason()), (409, "Conflict"));
    assert_eq!(
        status.message(),
        "Apply failed with 3 conflicts: conflicts with \"a\" using apps/v1:\n- .spec.replicas\n- .spec.boxes[name=\"n\"].image\n\
         conflicts with \"b\" with subresource \"status\" using apps/v1:\n- .metadata.labels.x"
    );
    let causes = status.0.details.unwrap().causes.unwrap();
    assert_eq!(causes[1].field.as_deref(), Some(".spec.boxes[name=\"n\"].image"));
    assert_eq!(causes[1].message.as_deref(), Some("conflict with \"a\" using apps/v1"));
    assert_eq!(causes[1].reason.as_deref(), Some("FieldManagerConflict"));
}

#[test]
fn entries_of_versions_that_are_gone_are_dropped() {
    let mut world = World::new();
    world.update("a", json!({"spec": {"replicas": 1}}));
    let old = Manager::new("old", Operation::Update, "apps/v0", "");
    let set = FieldSet::from_json(r#"{"f:spec":{"f:paused":{}}}"#).unwrap();
    world.managed.entries.insert(old, Owned::new("apps/v0", set, None));
    world.update("a", json!({"spec": {"replicas": 2}}));
    assert_eq!(world.managed.entries.len(), 1);
}

#[test]
fn entries_read_refused_and_reset() {
    let entry = |change: fn(&mut ManagedFieldsEntry)| {
        let mut entry: ManagedFieldsEntry = serde_json::from_value(json!({
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}, "manager": "m", "operation": "Update"
        }))
        .unwrap();
        change(&mut entry);
        entry
    };
    let refusal = |change| Managed::sent(Some(&[entry(change)])).unwrap_err().to_string();
    assert_eq!(refusal(|e| e.operation = None), "operation must be `Apply` or `Update`");
    assert_eq!(refusal(|e| e.api_version = None), "apiVersion must not be empty");
    assert_eq!(refusal(|e| e.fields_type = None), "missing fieldsType in managed fields entry 0");
    assert_eq!(
        refusal(|e| e.fields_type = Some("V2".into())),
        "invalid fieldsType \"V2\" in managed fields entry 0"
    );
    assert!(
        Managed::sent(Some(&[entry(|e| e.fields_v1.as_mut().unwrap().0 = json!("{}"))])).is_err()
    );
    let same = Managed::sent(Some(&[entry(|_| {})])).unwrap().encode().unwrap();
    assert_eq!(raw_fields(&same[0]).unwrap(), r#"{"f:a":{}}"#);
    assert!(is_reset(Some(&[])) && is_reset(Some(&[ManagedFieldsEntry::default()])));
    assert!(!is_reset(None) && !is_reset(Some(&[entry(|_| {})])));
}

#[test]
fn scale_shares_the_number_of_replicas() {
    let mut world = World::new();
    world.update("a", json!({"spec": {"replicas": 1, "paused": true}}));
    world.apply("b", json!({"spec": {"replicas": 1}}));
    let served = |version: &str| version == VERSION;
    let mut scale = to_scale(&world.managed, served);
    assert_eq!(scale.entries.len(), 2);
    scale.entries.retain(|manager, _| manager.operation == Operation::Apply);
    let set = FieldSet::from_json(r#"{"f:spec":{"f:replicas":{}}}"#).unwrap();
    let scaler = Manager::new("kubectl", Operation::Update, "autoscaling/v1", "scale");
    scale.entries.insert(scaler, Owned::new("autoscaling/v1", set, Some(at(9))));
    world.managed = from_scale(&world.managed, &scale, VERSION, served);
    assert_eq!(
        world.owners(),
        [
            "b Apply @-1 {'f:spec':{'f:replicas':{}}}",
            "kubectl/scale Update @-1 {'f:spec':{'f:replicas':{}}}",
            "a Update @1 {'f:spec':{'f:paused':{}}}",
        ]
    );
}

#[test]
fn user_agents_name_managers() {
    let long = "x".repeat(200);
    let table = [
        ("kubectl/v1.36.0 (linux/amd64)", "kubectl"),
        ("", ""),
        ("a\u{7}b c/d", "ab c"),
        (long.as_str(), &long[..128]),
    ];
    for (agent, want) in table {
        assert_eq!(user_agent_manager(agent), want);
    }
}

/// The model: leaves by path, each with a value; who applied and who updated which of them last. Leaves are labels (`m0`),
/// images of boxes (`b0`), and the boxes themselves (`i0`), without which there is no image.
#[derive(Clone, Debug, Default)]
struct Model {
    leaves: BTreeMap<String, i64>,
    applied: BTreeMap<usize, BTreeSet<String>>,
    updated: BTreeMap<usize, BTreeSet<String>>,
}

type Leaves = BTreeMap<String, i64>;

impl Model {
    fn owners<'m>(&'m self, leaf: &'m str) -> impl Iterator<Item = (bool, usize)> + 'm {
        let of = |applies: bool, sets: &'m BTreeMap<usize, BTreeSet<String>>| {
            let owners = sets.iter().filter(move |(_, set)| set.contains(leaf));
            owners.map(move |(manager, _)| (applies, *manager)).collect::<Vec<_>>()
        };
        of(true, &self.applied).into_iter().chain(of(false, &self.updated))
    }

    fn changed(&mut self, leaf: &str, but: (bool, usize)) {
        for (applies, sets) in [(true, &mut self.applied), (false, &mut self.updated)] {
            for (manager, set) in sets.iter_mut() {
                if (applies, *manager) != but {
                    set.remove(leaf);
                }
            }
        }
    }

    /// False if it conflicts.
    fn apply(&mut self, manager: usize, config: &Leaves, force: bool) -> bool {
        let changes = |leaf: &str, value: i64| self.leaves.get(leaf) != Some(&value);
        let conflict = config.iter().any(|(leaf, value)| {
            changes(leaf, *value) && self.owners(leaf).any(|owner| owner != (true, manager))
        });
        if conflict && !force {
            return false;
        }
        for (leaf, value) in config {
            if self.leaves.insert(leaf.clone(), *value) != Some(*value) {
                self.changed(leaf, (true, manager));
            }
        }
        let now: BTreeSet<String> = config.keys().cloned().collect();
        let before = self.applied.insert(manager, now.clone()).unwrap_or_default();
        for leaf in before.difference(&now) {
            if self.owners(leaf).next().is_none() {
                self.remove(leaf);
            }
        }
        true
    }

    /// A box that goes takes its image along.
    fn remove(&mut self, leaf: &str) {
        self.leaves.remove(leaf);
        if let Some(name) = leaf.strip_prefix('i') {
            let image = format!("b{name}");
            self.leaves.remove(&image);
            self.changed(&image, (false, usize::MAX));
        }
    }

    fn update(&mut self, manager: usize, object: &Leaves) {
        let all: BTreeSet<String> = self.leaves.keys().chain(object.keys()).cloned().collect();
        for leaf in all {
            let (old, new) = (self.leaves.get(&leaf), object.get(&leaf));
            if old == new {
                continue;
            }
            self.changed(&leaf, (false, usize::MAX));
            if new.is_some() {
                self.updated.entry(manager).or_default().insert(leaf);
            }
        }
        self.leaves = object.clone();
    }
}

/// The leaves with the boxes that images are in.
fn boxed(leaves: Leaves) -> Leaves {
    let boxes: Vec<String> =
        leaves.keys().filter_map(|leaf| Some(format!("i{}", leaf.strip_prefix('b')?))).collect();
    leaves.into_iter().chain(boxes.into_iter().map(|leaf| (leaf, 0))).collect()
}

/// The object that has those leaves.
fn built(leaves: &Leaves) -> Value {
    let mut object = json!({ "spec": { "paused": true } });
    let mut boxes = Vec::new();
    for (leaf, value) in leaves {
        match leaf.split_at(1) {
            ("m", name) => object["metadata"]["labels"][name] = json!(value.to_string()),
            ("b", name) => boxes.push(json!({"name": name, "image": value.to_string()})),
            _ => {}
        }
    }
    if !boxes.is_empty() {
        object["spec"]["boxes"] = boxes.into();
    }
    object
}

/// The leaves of an object.
fn leaves_of(object: &Value) -> Leaves {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    let labels = labels.filter_map(|(name, value)| Some((format!("m{name}"), number(value)?)));
    let mut leaves: Leaves = labels.collect();
    for item in object["spec"]["boxes"].as_array().into_iter().flatten() {
        let name = item["name"].as_str().unwrap_or("?");
        leaves.insert(format!("i{name}"), 0);
        leaves.extend(number(&item["image"]).map(|image| (format!("b{name}"), image)));
    }
    leaves
}

fn leaf_path(leaf: &str) -> Vec<PathElement> {
    let (group, name) = leaf.split_at(1);
    let field = |name: &str| PathElement::field(name);
    let key = || PathElement::key(vec![("name".into(), json!(name))]);
    match group {
        "m" => vec![field("metadata"), field("labels"), field(name)],
        "i" => vec![field("spec"), field("boxes"), key()],
        _ => vec![field("spec"), field("boxes"), key(), field("image")],
    }
}

#[derive(Clone, Debug)]
struct Step {
    manager: usize,
    apply: bool,
    force: bool,
    leaves: Leaves,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = (prop_oneof![Just("m"), Just("b")], 0..3_u8, 0..3_i64)
        .prop_map(|(group, name, value)| (format!("{group}{name}"), value));
    let leaves =
        prop::collection::vec(leaf, 0..5).prop_map(|pairs| boxed(pairs.into_iter().collect()));
    let step = (0..3_usize, any::<bool>(), any::<bool>(), leaves)
        .prop_map(|(manager, apply, force, leaves)| Step { manager, apply, force, leaves });
    prop::collection::vec(step, 1..12)
}

proptest! {
    #[test]
    fn applies_and_updates_do_what_the_model_does(steps in steps()) {
        let (mut world, mut model) = (World::new(), Model::default());
        world.update("creator", built(&Leaves::new()));
        for step in steps {
            let name = format!("m{}", step.manager);
            let object = built(&step.leaves);
            if step.apply {
                let done = world.try_apply(&name, step.force, object).is_ok();
                prop_assert_eq!(done, model.apply(step.manager, &step.leaves, step.force));
            } else {
                model.update(step.manager, &step.leaves);
                world.update(&name, object);
            }
            prop_assert_eq!(&leaves_of(world.object.as_ref().unwrap()), &model.leaves);
            for (operation, sets) in [(Operation::Apply, &model.applied), (Operation::Update, &model.updated)] {
                for (manager, leaves) in sets {
                    let manager = Manager::new(&format!("m{manager}"), operation, VERSION, "");
                    let owned = world.managed.entries.get(&manager);
                    for group in ["m", "b", "i"] {
                        for n in 0..3 {
                            let leaf = format!("{group}{n}");
                            let has = owned.is_some_and(|owned| owned.set().has(&leaf_path(&leaf)));
                            prop_assert_eq!(has, leaves.contains(&leaf), "{:?} {}", manager, leaf);
                        }
                    }
                }
            }
            let text = serde_json::to_string(&world.owners()).unwrap();
            let again = Managed::stored(world.managed.encode().as_deref()).unwrap();
            world.managed = again;
            prop_assert_eq!(serde_json::to_string(&world.owners()).unwrap(), text);
        }
    }
}

/// Any value of the fields of the kind, with what is empty, null and there twice.
fn specs() -> impl Strategy<Value = Value> {
    let text = prop_oneof![Just(""), Just("x"), Just("a b"), Just("q\"\\")];
    let labels = prop::collection::btree_map("[ab\"<]{1,2}", text.clone(), 0..3);
    let boxed = (text.clone(), prop::option::of(text.clone()), prop::option::of(labels.clone()))
        .prop_map(|(name, image, limits)| {
            let mut item = json!({ "name": name });
            item.as_object_mut().unwrap().extend(image.map(|i| ("image".into(), json!(i))));
            let limits = limits.map(|l| ("resources".into(), json!({ "limits": l })));
            item.as_object_mut().unwrap().extend(limits);
            item
        });
    let port =
        (0..3, prop::option::of(prop_oneof![Just("TCP"), Just("UDP")])).prop_map(|(n, p)| {
            let mut item = json!({ "port": n });
            item.as_object_mut().unwrap().extend(p.map(|p| ("protocol".into(), json!(p))));
            item
        });
    let fields = (
        prop::option::of(prop::collection::vec(boxed, 0..3)),
        prop::option::of(prop::collection::vec(port, 0..3)),
        prop::option::of(labels.clone()),
        prop::option::of(prop::collection::vec(text.clone(), 0..2)),
        prop::option::of(labels),
        prop::option::of(0..2),
        prop::option::of(text),
    );
    fields.prop_map(|(boxes, ports, selector, args, anything, replicas, key)| {
        let mut spec = serde_json::Map::new();
        spec.extend(boxes.map(|v| ("boxes".into(), json!(v))));
        spec.extend(ports.map(|v| ("ports".into(), json!(v))));
        spec.extend(selector.map(|v| ("selector".into(), json!(v))));
        spec.extend(args.map(|v| ("args".into(), json!(v))));
        spec.extend(anything.map(|v| ("anything".into(), json!(v))));
        spec.extend(replicas.map(|v| ("replicas".into(), json!(v))));
        spec.extend(key.map(|v| ("reference".into(), json!({ "key": v }))));
        Value::Object(spec)
    })
}

proptest! {
    #[test]
    fn creation_written_at_once_is_that_of_the_sets(
        spec in specs(), template in prop::option::of(specs()), labels in prop::collection::btree_map("[ab]", "x", 0..2)
    ) {
        let mut object = whole(json!({"metadata": {"labels": labels, "uid": "u"}, "spec": spec, "status": {"phase": "x"}}));
        if let Some(template) = template {
            object["spec"]["template"] = template;
        }
        let world = World::new();
        let lines = |managed: Managed| {
            World { managed, ..World::new() }.owners()
        };
        let (quick, slow) = world.with("", |fields| (
            fields.update(None, &object, Managed::default(), "m"),
            fields.track(super::schema::nothing(), &object, Managed::default(), "m"),
        ));
        prop_assert_eq!(lines(quick), lines(slow));
    }
}
