//! Decoders under damaged input: whatever bytes come, they answer, and what they take they write and take again.
//!
//! Each subject begins with good samples and changes bytes of them, always in the same way, so that a failure comes again.

use apimachinery::apply::{FieldManager, FieldSet, Filter, Managed, TypedSchema, Unconverted};
use apimachinery::object::{FieldValidation, codec};
use apimachinery::patch::{json, merge, strategic};
use apimachinery::quantity::Quantity;
use apimachinery::schema::SchemaSet;
use apimachinery::{fields, labels, time, yaml};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// How many damaged forms of each sample are tried.
const ROUNDS: u64 = 1_500;

/// A small generator (xorshift), the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides.max(1)
    }
}

/// What damage puts in: bytes that mean something to some decoder.
const SPICE: &[&str] = &[
    "\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\\",
    "\n",
    "\t",
    "- ",
    "null",
    "-1",
    "1e999",
    "&a",
    "*a",
    "<<: ",
    "!",
    "|",
    "'",
    "#",
    "=",
    "in (",
    ")",
    "\0",
    "é",
    "\\ud800",
    "f:",
    "k:{",
    "$patch",
    "/",
    "~1",
    "18446744073709551616",
    "0x7f",
    "2026-01-01T00:00:00Z",
    "999999999Ki",
];

fn damaged(sample: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len() + 1);
        match dice.roll(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            1 if dice.roll(4) == 0 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, SPICE[dice.roll(SPICE.len())].bytes())),
            3 => {
                let end = (at + dice.roll(8)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            _ => {
                let end = (at + dice.roll(24)).min(bytes.len());
                let piece = bytes[at.min(end)..end].to_vec();
                let to = dice.roll(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

/// Gives every sample, and every damaged form of it, to a subject.
fn each(samples: &[&str], mut subject: impl FnMut(&[u8])) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for sample in samples {
        subject(sample.as_bytes());
        for _ in 0..ROUNDS {
            subject(&damaged(sample.as_bytes(), &mut dice));
        }
    }
}

fn each_text(samples: &[&str], mut subject: impl FnMut(&str)) {
    each(samples, |bytes| subject(&String::from_utf8_lossy(bytes)));
}

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"a":"b"},"creationTimestamp":"2026-01-01T00:00:00Z","managedFields":[{"manager":"m","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{}}}]},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"limits":{"cpu":"100m","memory":"1Gi"}},"livenessProbe":{"httpGet":{"port":"http"}}}],"tolerations":[{"operator":"Exists"}]}}"#;

const POD_YAML: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: &l {a: b, c: \"d\"}\nspec:\n  nodeSelector: *l\n  containers:\n  - name: c\n    image: 'i'\n    command: [sh, -c, \"true\"]\n    args:\n    - |\n      text\n    tty: yes\n";

#[test]
fn json_objects_read_written_and_read_again() {
    let codec = codec::<Pod>();
    each(&[POD], |bytes| {
        for validation in [FieldValidation::Ignore, FieldValidation::Strict] {
            match codec.decode(bytes, validation) {
                Err(error) => drop(error.to_status()),
                Ok(decoded) => {
                    let text = decoded.object.to_vec();
                    let again = codec.decode(&text, FieldValidation::Ignore);
                    let again = again.expect("what was written").object.to_vec();
                    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&text));
                }
            }
        }
    });
}

#[test]
fn yaml_read_or_refused() {
    let codec = codec::<Pod>();
    each(&[POD_YAML, POD, "a: &a [1, 2]\nb: [*a, *a]\n---\n- x\n"], |bytes| {
        drop(yaml::parse_all(bytes));
        drop(codec.decode_yaml(bytes, FieldValidation::Strict));
    });
}

#[test]
fn patches_applied_or_refused() {
    let object: Value = serde_json::from_str(POD).expect("a pod");
    let samples = [
        r#"[{"op":"replace","path":"/metadata/labels/a","value":"c"},{"op":"test","path":"/kind","value":"Pod"},{"op":"move","from":"/spec/containers/0","path":"/spec/containers/-"},{"op":"remove","path":"/spec/tolerations"}]"#,
        r#"{"metadata":{"labels":{"a":null,"b":"c"}},"spec":{"containers":[{"name":"c","$patch":"delete"}],"$setElementOrder/containers":[{"name":"c"}],"$retainKeys":["containers"]}}"#,
    ];
    let schema = SchemaSet::default();
    each(&samples, |bytes| {
        let Ok(patch) = serde_json::from_slice::<Value>(bytes) else { return };
        drop(json::strict_errors(&patch));
        drop(json::apply(&object, &patch));
        drop(merge::apply(&object, &patch));
        drop(strategic::apply(&object, &patch, &schema, "none"));
    });
}

#[test]
fn selectors_and_quantities_read_written_and_read_again() {
    let samples = ["a=b,c!=d,e in (f,g),h notin (i),!j,k,l>1", "x.io/app=web"];
    each_text(&samples, |text| {
        if let Ok(selector) = labels::Selector::parse(text) {
            let again = labels::Selector::parse(&selector.to_string()).expect("what was written");
            assert_eq!(again.to_string(), selector.to_string());
        }
    });
    each_text(&["metadata.name=a,spec.nodeName!=b\\,c", "status.phase==Running"], |text| {
        drop(fields::Selector::parse(text));
    });
    each_text(&["100m", "1.5Gi", "12e6", "-3", "0.000000001"], |text| {
        if let Ok(quantity) = Quantity::parse(text) {
            let wire = quantity.to_wire();
            let again = Quantity::from_wire(&wire).expect("what was written");
            assert_eq!(again.to_wire(), wire, "{text}");
        }
    });
    each_text(&["2026-01-01T00:00:00Z", "2026-12-31T23:59:59.123456+01:00"], |text| {
        drop(time::parse(text));
        drop(time::parse_micro(text));
    });
}

#[test]
fn owned_fields_read_written_and_read_again() {
    let samples = [
        r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}},"f:list":{"v:\"x\"":{},"i:3":{}}}}"#,
    ];
    each_text(&samples, |text| {
        if let Ok(set) = FieldSet::from_json(text) {
            let written = set.to_json();
            let again = FieldSet::from_json(&written).expect("what was written");
            assert_eq!(again.to_json(), written, "{text}");
        }
    });
}

#[test]
fn configurations_applied_or_refused() {
    let schema = TypedSchema::compile(&SchemaSet::default());
    let versions = Unconverted { api_version: "v1", ty: schema.of("none") };
    let (filter, now) = (Filter::default(), time::now());
    let fields = FieldManager {
        schema: &schema,
        versions: &versions,
        api_version: "v1",
        kind: "Pod",
        subresource: "",
        filter: &filter,
        now: &now,
    };
    let live =
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [1], "a": {"b": null}}});
    each(&[POD, POD_YAML], |bytes| {
        let Ok(document) = yaml::parse(bytes) else { return };
        if let Ok(applied) = fields.apply(&live, &document.value, Managed::default(), "m", true) {
            let managed = applied.managed.clone();
            let again = fields.apply(&applied.object, &document.value, managed, "m", false);
            assert_eq!(again.expect("what was applied").object, applied.object);
        }
    });
}
