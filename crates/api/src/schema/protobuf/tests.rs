//! Bodies in both directions: what Go clients send, special types, broken bytes, and every kind there and back.

use serde_json::json;

use super::decode::{Wire, elements, int_or_string, quantity, raw, time, value};
use super::message::{self, Content, Fields, Kind, Other};
use super::*;
use crate::kinds;
use crate::schema::{definitions, long_name, wire};

/// `kubectl create deployment web2 --image=x`, as kubectl 1.32 sends it.
const DEPLOYMENT: &str = "\
    6b387300 0a150a07 61707073 2f763112 0a446570 6c6f796d 656e7412 a7010a21 0a047765 62321200 1a002200 2a003200 \
    38004200 5a0b0a03 61707012 04776562 32127408 01120d0a 0b0a0361 70701204 77656232 1a590a1d 0a001200 1a002200 \
    2a003200 38004200 5a0b0a03 61707012 04776562 32123812 1a0a0178 1201782a 0042006a 00720080 01008801 00900100 \
    a201001a 00320042 004a0052 00580060 00680082 01008a01 009a0100 c2010022 020a0028 0038001a 0c080010 00180020 \
    00280038 001a0022 00";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A field of a message in wire form.
fn tagged(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(number < 16 && content.len() < 128);
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [tagged(1, api_version.as_bytes()), tagged(2, kind.as_bytes())].concat();
    [PREFIX.to_vec(), tagged(1, &meta), tagged(2, raw)].concat()
}

#[test]
fn wire_every_object_can_be_read() {
    // The version of the server and events of watches have a form of their own.
    const OTHERS: [&str; 2] =
        ["io.k8s.apimachinery.pkg.version.Info", "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"];
    let unread: Vec<String> = definitions()
        .into_iter()
        .filter(|(_, definition)| definition.get("properties").is_some())
        .map(|(name, _)| name)
        .filter(|name| message::of_definition(name).is_none() && !OTHERS.contains(&name.as_str()))
        .collect();
    assert!(unread.is_empty(), "types without a row in schema/wire: {unread:?}");
}

#[test]
fn wire_every_field_of_every_definition_has_its_number() {
    let definitions = definitions();
    for (short, _) in wire::messages() {
        let Some(definition) = definitions.get(&long_name(short)) else { continue };
        let mut names = Vec::new();
        collect(message::of_definition(&long_name(short)).unwrap(), &mut names);
        let properties = definition["properties"].as_object().into_iter().flatten();
        let missing: Vec<&String> = properties
            .map(|(name, _)| name)
            .filter(|name| !names.contains(name) && !matches!(name.as_str(), "apiVersion" | "kind"))
            .collect();
        assert!(missing.is_empty(), "{short}: {missing:?}");
    }
}

fn collect<'a>(fields: &'a Fields, names: &mut Vec<&'a String>) {
    for slot in fields {
        match &slot.content {
            Content::Field { name, .. } => names.push(name),
            Content::Inline(inner) => collect(inner, names),
        }
    }
}

#[test]
fn wire_every_kind_of_the_table_can_be_read() {
    for row in kinds::all() {
        let api_version = row.api_version();
        let value = decode(&body(&api_version, row.kind, &tagged(1, &tagged(1, b"n")))).unwrap();
        assert_eq!(
            value,
            json!({ "apiVersion": api_version, "kind": row.kind, "metadata": { "name": "n" } })
        );
    }
}

#[test]
fn wire_every_body_of_a_subresource_can_be_read() {
    for row in kinds::all() {
        for subresource in row.subresources.iter().filter(|s| !s.kind.ends_with("Options")) {
            let (group, version) = match subresource.version {
                "" => (row.group, row.version),
                version => (subresource.group, version),
            };
            let api_version =
                if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            let known = message::of_kind(&api_version, subresource.kind).is_some();
            assert!(
                known,
                "{}/{}: {api_version} {}",
                row.plural, subresource.name, subresource.kind
            );
        }
    }
}

#[test]
fn decode_reads_what_kubectl_sends() {
    let labels = json!({ "app": "web2" });
    assert_eq!(
        decode(&bytes(DEPLOYMENT)).unwrap(),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web2", "labels": labels },
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "x", "image": "x", "resources": {} }] },
                },
                "strategy": {},
            },
            "status": {},
        })
    );
}

#[test]
fn decode_maps_hold_bytes_and_texts() {
    let entry = [tagged(1, b"k"), tagged(2, b"\xffv")].concat();
    let secret =
        decode(&body("v1", "Secret", &[tagged(2, &entry), tagged(3, b"Opaque")].concat())).unwrap();
    assert_eq!((&secret["data"]["k"], &secret["type"]), (&json!("/3Y="), &json!("Opaque")));
    let no_value = tagged(1, b"k");
    let map = decode(&body("v1", "ConfigMap", &tagged(2, &no_value))).unwrap();
    assert_eq!(map["data"], json!({ "k": "" }));
}

#[test]
fn decode_special_types_take_their_json_forms() {
    assert_eq!(int_or_string("f", &[0x08, 1, 0x1a, 2, b'4', b'%']), Ok(json!("4%")));
    assert_eq!(int_or_string("f", &[0x08, 0, 0x10, 80, 0x1a, 0]), Ok(json!(80)));
    assert_eq!(quantity("f", &tagged(1, b"100m")), Ok(json!("100m")));
    assert_eq!(time(&[0x08, 60], "%Y-%m-%dT%H:%M:%SZ"), Ok(json!("1970-01-01T00:01:00Z")));
    assert_eq!(time(&[0x08, 60, 0x10, 0xe8, 7], "%H:%M:%S.%6fZ"), Ok(json!("00:01:00.000001Z")));
    assert_eq!(time(&[], "%S"), Ok(Value::Null));
    assert_eq!(raw("f", &tagged(1, b"{\"f:a\":{}}")), Ok(json!({ "f:a": {} })));
}

#[test]
fn decode_keeps_zero_where_the_type_tells_it_from_nothing() {
    // DeploymentSpec: replicas (1) is told apart from nothing, minReadySeconds (5) is not.
    let spec = decode(&body("apps/v1", "Deployment", &tagged(2, &[0x08, 0, 0x28, 0]))).unwrap();
    assert_eq!(spec["spec"], json!({ "replicas": 0 }));
}

#[test]
fn decode_integers_come_one_by_one_or_packed_and_may_be_negative() {
    let one = value("f", &Kind::Integer, Wire::Varint(u64::MAX), 0);
    assert_eq!(one, Ok(json!(-1)));
    assert_eq!(
        elements("f", &Kind::Integer, Wire::Bytes(&[1, 0x80, 1]), 0),
        Ok(vec![json!(1), json!(128)])
    );
}

#[test]
fn decode_broken_bodies_are_refused() {
    let whole = bytes(DEPLOYMENT);
    assert_eq!(decode(b"{}"), Err(ProtobufError::Prefix));
    assert_eq!(decode(&whole[..whole.len() - 1]), Err(ProtobufError::Truncated));
    assert_eq!(decode(&[PREFIX, &[0x80; 11]].concat()), Err(ProtobufError::Malformed));
    assert_eq!(decode(&[PREFIX, &[0x0f]].concat()), Err(ProtobufError::Malformed));
    let kind = decode(&body("v1", "Nope", &[])).unwrap_err();
    assert_eq!(kind.to_string(), "no kind \"Nope\" is registered for version \"v1\"");
    let number = decode(&body("v1", "Pod", &[0x08, 1])).unwrap_err();
    assert_eq!(number.to_string(), "proto: wrong wireType = 0 for field metadata");
    let text = decode(&body("v1", "Pod", &tagged(1, &tagged(1, b"\xff")))).unwrap_err();
    assert_eq!(text, ProtobufError::Text("name".to_owned()));
    let compressed = [PREFIX.to_vec(), tagged(3, b"gzip")].concat();
    assert_eq!(decode(&compressed), Err(ProtobufError::Encoding));
}

#[test]
fn decode_prefixes_of_a_body_never_panic() {
    let whole = bytes(DEPLOYMENT);
    for end in 0..whole.len() {
        let _ = decode(&whole[..end]);
    }
    for index in 4..whole.len() {
        let mut flipped = whole.clone();
        flipped[index] ^= 0xff;
        let _ = decode(&flipped);
    }
}

#[test]
fn decode_delete_options_of_any_group() {
    for api_version in ["v1", "apps/v1", "policy/v1"] {
        let options = decode(&body(api_version, "DeleteOptions", &[0x08, 5])).unwrap();
        assert_eq!(options["gracePeriodSeconds"], 5);
    }
}

#[test]
fn encode_writes_what_kubectl_writes() {
    let whole = bytes(DEPLOYMENT);
    let tree = decode(&whole).unwrap();
    assert_eq!(encode(tree.to_string().as_bytes()).unwrap(), whole);
}

/// Makes values for every field of a message, a different one each time.
#[derive(Default)]
struct Filler {
    last: i64,
    /// The messages that are being filled; a schema inside a schema gets no more than its texts.
    open: Vec<usize>,
}

impl Filler {
    fn object(&mut self, fields: &Fields) -> Map<String, Value> {
        let mut object = Map::new();
        for slot in fields {
            match &slot.content {
                Content::Inline(inner) => object.extend(self.object(inner)),
                Content::Field { name, kind, .. } => {
                    object.insert(name.clone(), self.value(kind));
                }
            }
        }
        object
    }

    fn message(&mut self, place: usize) -> Value {
        if self.open.contains(&place) {
            return json!({ "description": "inner" });
        }
        self.open.push(place);
        let object = self.object(message::fields(place));
        self.open.pop();
        object.into()
    }

    fn value(&mut self, kind: &Kind) -> Value {
        self.last += 1;
        let number = self.last;
        match kind {
            Kind::Text => format!("text-{number}").into(),
            Kind::Bytes => "/wB6".into(),
            Kind::Integer => (if number % 2 == 0 { number } else { -number }).into(),
            Kind::Double => (number as f64 + 0.5).into(),
            Kind::Boolean => true.into(),
            Kind::Message(place) => self.message(*place),
            Kind::Quantity => format!("{number}m").into(),
            Kind::IntOrString if number % 2 == 0 => number.into(),
            Kind::IntOrString => format!("{number}%").into(),
            Kind::Time => "2024-02-29T12:34:56Z".into(),
            Kind::MicroTime => "2024-02-29T12:34:56.123456Z".into(),
            Kind::Raw => json!({ "raw": [number, { "nested": "value" }] }),
            Kind::SchemaOr(place, Other::Boolean) => self.message(*place),
            Kind::SchemaOr(place, Other::Schemas) => json!([self.message(*place)]),
            Kind::SchemaOr(_, Other::Texts) => json!(["a", "b"]),
            Kind::List(item) | Kind::Wrapped(item) => json!([self.value(item), self.value(item)]),
            Kind::Map(values) => json!({ "b": self.value(values), "a": self.value(values) }),
        }
    }
}

#[test]
fn encode_then_decode_keeps_every_field_of_every_message() {
    for (short, _) in wire::messages() {
        let Some(fields) = message::of_definition(&long_name(short)) else { continue };
        let filled = Filler::default().object(fields);
        let mut out = Vec::new();
        encode::message(&mut out, fields, Some(&filled)).unwrap();
        let mut read = Map::new();
        decode::message(fields, &out, &mut read, 0).unwrap();
        assert_eq!(read, filled, "{short}");
    }
}

#[test]
fn encode_lists_item_by_item_are_those_written_at_once() {
    let meta = json!({ "resourceVersion": "7", "remainingItemCount": 0 });
    let head = json!({ "apiVersion": "v1", "kind": "ConfigMapList", "metadata": meta });
    let typed = |mut object: Value| {
        object["apiVersion"] = "v1".into();
        object["kind"] = "ConfigMap".into();
        object
    };
    let items = [
        typed(json!({ "metadata": { "name": "a" } })),
        typed(json!({ "data": { "b": "c".repeat(200) } })),
    ];
    let written = items.clone().map(|item| encode_item(item.to_string().as_bytes()).unwrap());
    let lengths = written.iter().map(Vec::len);
    let frame = ListFrame::new(head.to_string().as_bytes(), lengths).unwrap();
    let mut bytes = frame.before.clone();
    written.iter().for_each(|item| frame.item(&mut bytes, item));
    bytes.extend_from_slice(&frame.after);
    let mut whole = head;
    whole["items"] = items.into();
    assert_eq!(encode(whole.to_string().as_bytes()).unwrap(), bytes);
    let read = decode(&bytes).unwrap();
    assert_eq!(read["metadata"], meta);
    assert_eq!(read["items"][0]["metadata"], json!({ "name": "a" }));
}

#[test]
fn encode_values_that_nobody_set_are_written_where_go_holds_them() {
    let hex = |json: Value, message: &str| {
        let mut out = Vec::new();
        let fields = message::of_definition(&long_name(message)).unwrap();
        encode::message(&mut out, fields, json.as_object()).unwrap();
        out.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let table = [
        // Texts, numbers and the size of a quantity are there; pointers, lists and maps are not.
        ("core.v1.ResourceFieldSelector", json!({}), "0a0012001a030a0130"),
        ("meta.v1.ListMeta", json!({}), "0a0012001a00"),
        ("core.v1.TCPSocketAction", json!({ "port": "" }), "0a06080110001a001200"),
        (
            "core.v1.NamespaceCondition",
            json!({ "lastTransitionTime": "0001-01-01T00:00:00Z" }),
            "0a00120022002a003200",
        ),
        (
            "core.v1.ConfigMap",
            json!({ "data": { "b": "", "a": null } }),
            "0a100a0012001a0022002a0032003800420012050a0161120012050a01621200",
        ),
    ];
    for (message, json, expected) in table {
        let written = hex(json, message);
        assert!(written.starts_with(expected), "{message}: {written}");
    }
}

#[test]
fn encode_kinds_without_a_form_and_values_of_other_types_are_refused() {
    let table = encode(br#"{"kind":"Table","apiVersion":"meta.k8s.io/v1"}"#).unwrap_err();
    assert!(matches!(table, ProtobufError::Kind { .. }));
    let wrong = encode(br#"{"kind":"ConfigMap","apiVersion":"v1","data":[]}"#).unwrap_err();
    assert_eq!(wrong, ProtobufError::Value("data".to_owned()));
    assert!(encode(b"[]").is_err());
}

#[test]
fn watch_frame_is_an_event_behind_its_length() {
    let frame = watch_frame("ADDED", b"k8s");
    assert_eq!(
        frame,
        [&[0, 0, 0, 14], &tagged(1, b"ADDED")[..], &tagged(2, &tagged(1, b"k8s"))].concat()
    );
}

#[test]
fn decode_lengths_that_lie_and_endless_nesting_are_refused() {
    let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(decode(&body("v1", "Pod", &huge)), Err(ProtobufError::Truncated));
    let overlong = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(decode(&body("v1", "Pod", &overlong)), Err(ProtobufError::Malformed));
    // JSONSchemaProps.not, again and again.
    let mut schema = Vec::new();
    for _ in 0..1000 {
        let mut outer = Vec::new();
        encode::bytes(&mut outer, 28, &schema);
        schema = outer;
    }
    let fields = message::of_definition(&long_name("apiextensions.v1.JSONSchemaProps")).unwrap();
    let read = decode::message(fields, &schema, &mut Map::new(), 0);
    assert_eq!(read, Err(ProtobufError::Depth));
}

#[test]
fn decode_unknown_fields_are_passed_over() {
    let unknown =
        [&tagged(15, b"x")[..], &[0x78 | 1, 1, 2, 3, 4, 5, 6, 7, 8], &tagged(1, &tagged(1, b"n"))]
            .concat();
    let read = decode(&body("v1", "ConfigMap", &unknown)).unwrap();
    assert_eq!(read["metadata"]["name"], "n");
}

#[test]
fn decode_broken_bytes_of_every_message_never_panic() {
    for (short, _) in wire::messages() {
        let Some(fields) = message::of_definition(&long_name(short)) else { continue };
        let mut whole = Vec::new();
        encode::message(&mut whole, fields, Some(&Filler::default().object(fields))).unwrap();
        // Some places in large messages, every place in small ones.
        for at in (0..whole.len()).step_by(whole.len() / 40 + 1) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            for broken in [&whole[..at], &flipped[..(at + 200).min(whole.len())]] {
                let _ = decode::message(fields, broken, &mut Map::new(), 0);
            }
        }
    }
}
