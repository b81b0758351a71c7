//! Tables for YAML 1.1 and its traps, and a round trip.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Value {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}")).value
}

fn refused(text: &str) -> String {
    parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn plain_scalars_resolved_as_yaml_1_1() {
    let table = [
        ("yes", json!(true)),
        ("off", json!(false)),
        ("n", json!(false)),
        ("True", json!(true)),
        ("tRue", json!("tRue")),
        ("~", json!(null)),
        ("", json!(null)),
        ("1", json!(1)),
        ("-1", json!(-1)),
        ("+1", json!(1)),
        ("0777", json!(511)),
        ("0o17", json!(15)),
        ("0x1F", json!(31)),
        ("0b11", json!(3)),
        ("08", json!(8)),
        ("1_000", json!(1000)),
        ("18446744073709551615", json!(18446744073709551615u64)),
        ("1.5", json!(1.5)),
        ("3.0", json!(3)),
        ("1e3", json!(1000)),
        (".5", json!(0.5)),
        ("1.2.3", json!("1.2.3")),
        ("12:30", json!("12:30")),
        ("2026-01-02", json!("2026-01-02")),
        ("100m", json!("100m")),
        ("-", json!([null])),
        ("'yes'", json!("yes")),
        ("\"1\"", json!("1")),
        ("!!str 1", json!("1")),
        ("!!int '1'", json!(1)),
        ("!custom 1", json!("1")),
        ("!!binary aGk=", json!("hi")),
        ("|\n  yes\n", json!("yes\n")),
    ];
    for (text, want) in table {
        assert_eq!(read(text), want, "{text}");
    }
}

#[test]
fn documents_read() {
    assert_eq!(
        read("a: 1\nb:\n- x\n- z: [1, {c: d}]\n"),
        json!({"a": 1, "b": ["x", {"z": [1, {"c": "d"}]}]})
    );
    assert_eq!(read("1: a\ntrue: b\n1.5: c\n"), json!({"1": "a", "true": "b", "1.5": "c"}));
    assert_eq!(read("y: 1\n"), json!({"true": 1}));
    assert_eq!(read("{\"a\": [1, 2], \"b\": null}"), json!({"a": [1, 2], "b": null}));
    assert_eq!(
        read("# head\na: 1 # tail\n# foot\nb: # of a list\n- x\n"),
        json!({"a": 1, "b": ["x"]})
    );
    let all = parse_all(b"---\na: 1\n---\n# nothing\n---\nb: 2\n...\n").unwrap();
    assert_eq!(
        all.into_iter().map(|document| document.value).collect::<Vec<_>>(),
        [json!({"a": 1}), json!({"b": 2})]
    );
}

#[test]
fn anchors_and_merges_expanded() {
    assert_eq!(read("a: &x {b: 1}\nc: *x\n"), json!({"a": {"b": 1}, "c": {"b": 1}}));
    assert_eq!(
        read("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n"),
        json!({"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}})
    );
    assert!(parse(b"a: &x {b: 1}\nd:\n  <<: *x\n  b: 3\n").unwrap().duplicates.is_empty());
    assert!(refused("<<: 1").ends_with("map merge requires map or sequence of maps as the value"));
}

#[test]
fn repeated_key_reported_and_last_one_wins() {
    let document = parse(b"a: 1\nb: 2\na: 3\n").unwrap();
    assert_eq!(document.value, json!({"a": 3, "b": 2}));
    assert_eq!(
        document.strict_error().unwrap(),
        "yaml: unmarshal errors:\n  line 3: key \"a\" already set in map"
    );
    assert_eq!(parse(b"a: 1\n").unwrap().strict_error(), None);
}

#[test]
fn hostile_documents_refused() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for n in 1..9 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        laughs += &format!("a{n}: &a{n} [{aliases}]\n");
    }
    assert_eq!(refused(&laughs), "yaml: document contains excessive aliasing");
    assert!(refused(&("[".repeat(200) + &"]".repeat(200))).contains("exceeded max depth"));
    assert!(parse(&[b"[".repeat(100_000), b"]".repeat(100_000)].concat()).is_err());
    assert!(parse(b"a: &x [*x]\n").is_err());
    assert!(parse(b"a: *nowhere\n").is_err());
    assert!(parse(b"a: b: c\n").is_err());
    assert!(parse(b"a: [1\n").is_err());
    assert!(parse(b"\xff\xfe").is_err());
    assert!(parse(b"a: .inf\n").is_err());
    assert!(parse(b"? [1]\n: 2\n").is_err());
}

#[test]
fn written_yaml_looks_like_kubernetes() {
    let value = json!({"apiVersion": "v1", "data": {"a": "1", "b": "yes", "c": "x\ny\n"}, "list": [{"a": 1, "b": []}], "m": {}});
    let want = "apiVersion: v1\ndata:\n  a: \"1\"\n  b: \"yes\"\n  c: |\n    x\n    y\nlist:\n- a: 1\n  b: []\nm: {}\n";
    assert_eq!(to_string(&value).replace('\'', "\""), want);
}

/// Strings that YAML takes for something else when written without care.
const TRAPS: &[&str] = &[
    "yes",
    "y",
    "n",
    "off",
    "null",
    "~",
    "",
    " ",
    "1",
    "1_000",
    "0777",
    "0x1",
    "1e3",
    ".5",
    ".inf",
    "<<",
    "a: b",
    "# x",
    "- x",
    "-",
    "[",
    "{a",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "`a",
    "a\nb",
    "a\n",
    "\n",
    "\ta",
    "a ",
    "'",
    "\"",
    "\\",
    "a:",
    "2026-01-02",
    "12:30",
    "---",
    "...",
    "é",
    "\u{0}",
    "\u{85}",
    "\u{2028}",
    "a #b",
    "? a",
    "| a",
    "> a",
    "=",
    ",",
    " \n a",
    "\n a",
    "1.",
    "+1",
    "0b1",
    "0o7",
    "08",
];

#[test]
fn traps_survive_the_round_trip() {
    for trap in TRAPS {
        for value in [json!({"a": trap}), json!([trap]), json!({(*trap): trap}), json!(trap)] {
            let written = to_string(&value);
            let back = parse(written.as_bytes()).map(|document| document.value);
            assert_eq!(back, Ok(value), "{trap:?} written as {written:?}");
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[ -~\\n]{0,90}".prop_map(Value::from),
        "[-+0-9._eExob]{1,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ -~]{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn written_yaml_read_back_equal(value in any_json()) {
        let written = to_string(&value);
        prop_assert_eq!(parse(written.as_bytes()).map(|document| document.value), Ok(value), "{}", written);
    }
}
