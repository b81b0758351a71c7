//! Tables: events of the newer version in; events as stored, as shown, and errors out.

use apimachinery::field::ErrorList;
use apimachinery::object::{FieldValidation, Object};
use expect_test::expect;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::events::v1::Event;
use serde_json::{Value, json};

use crate::kinds;
use crate::testing::text;
use crate::versions::Version;

fn accepted(value: Value) -> Object {
    let row = kinds::of::<Event>();
    let decoded = row.codec.from_value(value, FieldValidation::Strict).expect("an event");
    row.accept(decoded.object)
}

fn errors(value: Value, old: Option<Value>) -> String {
    let row = kinds::of::<Event>();
    let (mut new, old) = (accepted(value), old.map(accepted));
    new.meta_mut().namespace = Some("default".to_owned());
    let mut errors = row.strategy.validate(new.as_ref());
    row.validate(new.as_ref(), old.as_deref(), &mut errors);
    text(&errors)
}

fn plain() -> Value {
    json!({
        "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000001Z", "type": "Normal", "action": "Bind", "reason": "Bound",
        "note": "a note", "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "reportingController": "x.io/y",
        "reportingInstance": "y-1", "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"},
    })
}

#[test]
fn rows_say_what_discovery_of_kubernetes_says() {
    expect!["events event ev events.k8s.io/v1 namespaced Event create,delete,deletecollection,get,list,patch,update,watch "].assert_eq(&crate::testing::listing(&super::rows()));
}

#[test]
fn event_is_stored_under_the_names_of_the_core_group_and_shown_under_its_own() {
    let stored = accepted(plain());
    expect![[r#"{"action":"Bind","apiVersion":"v1","eventTime":"2026-01-01T00:00:00.000001Z","involvedObject":{"kind":"Pod","name":"p","namespace":"default"},"kind":"Event","message":"a note","metadata":{"name":"e"},"reason":"Bound","reportingComponent":"x.io/y","reportingInstance":"y-1","series":{"count":2,"lastObservedTime":"2026-01-01T00:00:01.000000Z"},"source":{},"type":"Normal"}"#]].assert_eq(&stored.to_value().to_string());
    expect![[r#"{"action":"Bind","apiVersion":"events.k8s.io/v1","deprecatedSource":{},"eventTime":"2026-01-01T00:00:00.000001Z","kind":"Event","metadata":{"name":"e"},"note":"a note","reason":"Bound","regarding":{"kind":"Pod","name":"p","namespace":"default"},"reportingController":"x.io/y","reportingInstance":"y-1","series":{"count":2,"lastObservedTime":"2026-01-01T00:00:01.000000Z"},"type":"Normal"}"#]].assert_eq(&kinds::of::<Event>().show(stored).to_value().to_string());
    let without_time = json!({"metadata": {"name": "e"}, "series": {"count": 1}});
    let stored = accepted(without_time);
    assert_eq!(stored.to_value()["series"], json!({"count": 1}));
    let shown = kinds::of::<Event>().show(stored).to_value();
    assert_eq!(shown["series"]["lastObservedTime"], "0001-01-01T00:00:00.000000Z");
}

#[test]
fn event_of_the_newer_version_is_judged_strictly_and_the_older_leniently() {
    assert_eq!(errors(plain(), None), "");
    let wrong = json!({
        "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000001Z", "type": "Odd",
        "deprecatedCount": 1, "deprecatedSource": {"host": "h"}, "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z",
        "deprecatedLastTimestamp": "2026-01-01T00:00:00Z", "regarding": {}, "series": {"count": 1},
    });
    expect![[r#"
        reportingController: Required value
        reportingController: Invalid value: "": name part must be non-empty
        reportingController: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        reportingInstance: Required value
        action: Required value
        reason: Required value
        series.count: Invalid value: "": should be at least 2
        series.lastObservedTime: Required value
        type: Invalid value: "": has invalid value: Odd
        firstTimestamp: Invalid value: "": needs to be unset
        lastTimestamp: Invalid value: "": needs to be unset
        count: Invalid value: "": needs to be unset
        source: Invalid value: "": needs to be unset"#]].assert_eq(&errors(wrong, None));
    expect![[r#"
        eventTime: Required value
        type: Invalid value: "": has invalid value: "#]]
    .assert_eq(&errors(json!({"metadata": {"name": "e"}}), None));
}

#[test]
fn event_of_the_newer_version_changes_its_series_only() {
    let mut new = plain();
    new["series"]["count"] = json!(3);
    assert_eq!(errors(new, Some(plain())), "");
    let mut new = plain();
    for field in ["action", "reason", "note", "type", "reportingController", "reportingInstance"] {
        new[field] = json!("other");
    }
    new["series"]["count"] = json!(1);
    new["eventTime"] = json!("2026-01-01T00:00:00.000002Z");
    new["regarding"]["name"] = json!("q");
    expect![[r#"
        series.count: Invalid value: "": should be at least 2
        involvedObject: Invalid value: {"kind":"Pod","name":"q","namespace":"default"}: field is immutable
        reason: Invalid value: "other": field is immutable
        message: Invalid value: "other": field is immutable
        type: Invalid value: "other": field is immutable
        eventTime: Invalid value: "2026-01-01T00:00:00.000002Z": field is immutable
        action: Invalid value: "other": field is immutable
        reportingController: Invalid value: "other": field is immutable
        reportingInstance: Invalid value: "other": field is immutable"#]].assert_eq(&errors(new, Some(plain())));
}

#[test]
fn event_fields_are_selected_by_the_names_of_the_version() {
    let row = kinds::of::<Event>();
    assert_eq!(row.stored_field("regarding.name"), "involvedObject.name");
    assert!(!row.selectable.contains(&"involvedObject.name"));
    let core = kinds::of::<core::Event>();
    assert!(std::ptr::eq(row.stored(), core));
    let mut none = ErrorList::new();
    Event::validate(&core::Event::default(), None, &mut none);
    assert!(!none.is_empty());
}
