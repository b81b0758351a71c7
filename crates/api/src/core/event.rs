//! Event: something that happened to an object, told to people. Events go away by themselves after an hour.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/event`. Validation is the lenient one of core/v1.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde_json::Value;

use crate::columns::{self, column, wide};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, text};
use crate::strategy::KindStrategy;

/// Bytes in `reportingInstance`, `action` and `reason`: they are for machines.
const WORD_LIMIT: usize = 128;
/// Bytes in `message`: a few lines in a terminal.
const MESSAGE_LIMIT: usize = 1024;

impl KindStrategy for Event {
    const SELECTABLE: &'static [&'static str] = &[
        "metadata.name",
        "metadata.namespace",
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ];
    const COLUMNS: &'static [Column] = &[
        column("Last Seen", "string", "Time since the event was last seen."),
        column("Type", "string", "Normal or Warning."),
        column("Reason", "string", "A word for machines."),
        column("Object", "string", "What the event is about."),
        wide("Subobject", "string", "Part of the object that the event is about."),
        wide("Source", "string", "Component that reports the event."),
        column("Message", "string", "A sentence for people."),
        wide("First Seen", "string", "Time since the event was first seen."),
        wide("Count", "string", "How often the event was seen."),
        Column { priority: 1, ..columns::NAME },
    ];
    const ALLOW_CREATE_ON_UPDATE: bool = true;

    fn default_fields(&mut self) {
        self.source.get_or_insert_default();
        self.reporting_component.get_or_insert_default();
        self.reporting_instance.get_or_insert_default();
    }

    fn validate(&self, errors: &mut ErrorList) {
        validate_namespace(self, errors);
        if self.event_time.is_some() {
            validate_new_fields(self, errors);
        }
        let namespace = text(&self.metadata.namespace);
        errors.invalid_all(
            &Path::new("namespace"),
            namespace,
            names::is_dns1123_subdomain(namespace),
        );
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let object = &self.involved_object;
        let mut all = fields::metadata(&self.metadata, Scope::Namespaced);
        all.extend(
            [
                ("involvedObject.kind", text(&object.kind)),
                ("involvedObject.namespace", text(&object.namespace)),
                ("involvedObject.name", text(&object.name)),
                ("involvedObject.uid", text(&object.uid)),
                ("involvedObject.apiVersion", text(&object.api_version)),
                ("involvedObject.resourceVersion", text(&object.resource_version)),
                ("involvedObject.fieldPath", text(&object.field_path)),
                ("reason", text(&self.reason)),
                ("reportingComponent", text(&self.reporting_component)),
                ("source", component(self)),
                ("type", text(&self.type_)),
            ]
            .map(|(k, v)| (k, v.to_owned())),
        );
        all
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let (first, last) = seen(self, now);
        vec![
            last.into(),
            text(&self.type_).into(),
            text(&self.reason).into(),
            target(self).into(),
            text(&self.involved_object.field_path).into(),
            source(self).into(),
            text(&self.message).trim().into(),
            first.into(),
            count(self).into(),
            columns::name(&self.metadata),
        ]
    }
}

/// The event lives where its object lives; events of objects without a namespace live in `default`, or, when they are of the
/// new form, in `kube-system` too.
fn validate_namespace(event: &Event, errors: &mut ErrorList) {
    let (home, of_object) =
        (text(&event.metadata.namespace), text(&event.involved_object.namespace));
    let matches = match (event.event_time.is_some(), of_object.is_empty()) {
        (false, true) => home.is_empty() || home == "default",
        (false, false) => home == of_object,
        (true, true) => home == "default" || home == "kube-system",
        (true, false) => true,
    };
    if !matches {
        let at = Path::new("involvedObject").child("namespace");
        errors.invalid(&at, of_object, "does not match event.namespace");
    }
}

/// Who sets `eventTime` must fill the fields that came with it.
fn validate_new_fields(event: &Event, errors: &mut ErrorList) {
    let reporter = Path::new("reportingComponent");
    errors.non_empty(&reporter, text(&event.reporting_component));
    errors.qualified_name(&reporter, text(&event.reporting_component));
    for (name, value) in [
        ("reportingInstance", &event.reporting_instance),
        ("action", &event.action),
        ("reason", &event.reason),
    ] {
        errors.non_empty(&Path::new(name), text(value));
        at_most(name, value, WORD_LIMIT, errors);
    }
    at_most("message", &event.message, MESSAGE_LIMIT, errors);
}

fn at_most(name: &str, value: &Option<String>, limit: usize, errors: &mut ErrorList) {
    if text(value).len() > limit {
        errors.invalid(&Path::new(name), "", format!("can have at most {limit} characters"));
    }
}

/// When the event was first and last seen, as people read it.
fn seen(event: &Event, now: Timestamp) -> (String, String) {
    let since = |t: Timestamp| columns::human_since(t, now);
    let first =
        event.first_timestamp.as_ref().map(|t| t.0).or(event.event_time.as_ref().map(|t| t.0));
    let first = first.map_or_else(|| "<unknown>".to_owned(), since);
    let last = match &event.series {
        Some(series) => series
            .last_observed_time
            .as_ref()
            .map_or_else(|| "<unknown>".to_owned(), |t| since(t.0)),
        None => event.last_timestamp.as_ref().map_or_else(|| first.clone(), |t| since(t.0)),
    };
    (first, last)
}

fn count(event: &Event) -> i32 {
    match &event.series {
        Some(series) => series.count.unwrap_or(0),
        None => event.count.filter(|n| *n != 0).unwrap_or(1),
    }
}

fn target(event: &Event) -> String {
    let kind = text(&event.involved_object.kind).to_lowercase();
    match text(&event.involved_object.name) {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn component(event: &Event) -> &str {
    let of_source = event.source.as_ref().map(|s| text(&s.component)).unwrap_or_default();
    if of_source.is_empty() { text(&event.reporting_component) } else { of_source }
}

fn source(event: &Event) -> String {
    let host = event.source.as_ref().map(|s| text(&s.host)).unwrap_or_default();
    let instance = if host.is_empty() { text(&event.reporting_instance) } else { host };
    if instance.is_empty() {
        component(event).to_owned()
    } else {
        format!("{}, {instance}", component(event))
    }
}
