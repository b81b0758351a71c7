//! Event of `events.k8s.io/v1`, stored as an Event of the core group.
//!
//! Counterpart in Kubernetes: `pkg/apis/events/v1/conversion.go` and the strict half of `pkg/apis/core/validation/events.go`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::time;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::report::{Report, text};
use crate::versions::Version;

const TYPES: [&str; 2] = ["Normal", "Warning"];
/// Fields of older clients, under the names that messages give them.
const UNSET: &str = "needs to be unset";

impl Version for Event {
    type Stored = core::Event;
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("metadata.name", "metadata.name"),
        ("metadata.namespace", "metadata.namespace"),
        ("reason", "reason"),
        ("regarding.kind", "involvedObject.kind"),
        ("regarding.namespace", "involvedObject.namespace"),
        ("regarding.name", "involvedObject.name"),
        ("regarding.uid", "involvedObject.uid"),
        ("regarding.apiVersion", "involvedObject.apiVersion"),
        ("regarding.resourceVersion", "involvedObject.resourceVersion"),
        ("regarding.fieldPath", "involvedObject.fieldPath"),
        ("reportingController", "reportingComponent"),
        ("type", "type"),
    ];

    fn into_stored(self) -> core::Event {
        core::Event {
            metadata: self.metadata,
            action: self.action,
            count: self.deprecated_count,
            event_time: self.event_time,
            first_timestamp: self.deprecated_first_timestamp,
            involved_object: self.regarding.unwrap_or_default(),
            last_timestamp: self.deprecated_last_timestamp,
            message: self.note,
            reason: self.reason,
            related: self.related,
            reporting_component: self.reporting_controller,
            reporting_instance: self.reporting_instance,
            series: self.series.map(stored_series),
            source: self.deprecated_source,
            type_: self.type_,
        }
    }

    fn from_stored(stored: core::Event) -> Self {
        Self {
            metadata: stored.metadata,
            action: stored.action,
            deprecated_count: stored.count,
            deprecated_first_timestamp: stored.first_timestamp,
            deprecated_last_timestamp: stored.last_timestamp,
            deprecated_source: stored.source,
            event_time: stored.event_time,
            note: stored.message,
            reason: stored.reason,
            regarding: Some(stored.involved_object),
            related: stored.related,
            reporting_controller: stored.reporting_component,
            reporting_instance: stored.reporting_instance,
            series: stored.series.map(shown_series),
            type_: stored.type_,
        }
    }

    /// The path of the controller has this version's name; that of everything else keeps the stored one.
    fn validate(new: &core::Event, old: Option<&core::Event>, errors: &mut ErrorList) {
        for error in errors.iter_mut().filter(|error| error.field == "reportingComponent") {
            error.field = "reportingController".to_owned();
        }
        match old {
            None => validate_new(new, errors),
            Some(old) => validate_change(new, old, errors),
        }
    }
}

/// A series whose time was left out carries Go's zero time, and the other way round.
fn stored_series(series: EventSeries) -> core::EventSeries {
    let seen = Some(series.last_observed_time).filter(|time| time.0 != zero_time());
    core::EventSeries {
        count: Some(series.count).filter(|count| *count != 0),
        last_observed_time: seen,
    }
}

fn shown_series(series: core::EventSeries) -> EventSeries {
    let seen = series.last_observed_time.unwrap_or_else(|| MicroTime(zero_time()));
    EventSeries { count: series.count.unwrap_or(0), last_observed_time: seen }
}

fn zero_time() -> Timestamp {
    time::parse("0001-01-01T00:00:00Z").map(|time| time.0).unwrap_or(Timestamp::MIN)
}

fn validate_new(event: &core::Event, errors: &mut ErrorList) {
    validate_series(event, errors);
    if event.event_time.is_none() {
        errors.required(&Path::new("eventTime"), "");
    }
    let type_ = text(&event.type_);
    if !TYPES.contains(&type_) {
        errors.invalid(&Path::new("type"), "", format!("has invalid value: {type_}"));
    }
    let source = event.source.as_ref();
    let named = source.is_some_and(|s| !text(&s.component).is_empty() || !text(&s.host).is_empty());
    for (name, set) in [
        ("firstTimestamp", event.first_timestamp.is_some()),
        ("lastTimestamp", event.last_timestamp.is_some()),
        ("count", event.count.unwrap_or(0) != 0),
        ("source", named),
    ] {
        if set {
            errors.invalid(&Path::new(name), "", UNSET);
        }
    }
}

fn validate_series(event: &core::Event, errors: &mut ErrorList) {
    let Some(series) = &event.series else { return };
    let at = Path::new("series");
    if series.count.unwrap_or(0) < 2 {
        errors.invalid(&at.child("count"), "", "should be at least 2");
    }
    if series.last_observed_time.is_none() {
        errors.required(&at.child("lastObservedTime"), "");
    }
}

/// Only the series of an event goes on.
fn validate_change(new: &core::Event, old: &core::Event, errors: &mut ErrorList) {
    if new.series != old.series {
        validate_series(new, errors);
    }
    let at = Path::new;
    errors.unchanged(&at("involvedObject"), &new.involved_object, &old.involved_object);
    errors.unchanged(&at("reason"), &new.reason, &old.reason);
    errors.unchanged(&at("message"), &new.message, &old.message);
    errors.unchanged(&at("source"), &new.source, &old.source);
    errors.unchanged(&at("firstTimestamp"), &new.first_timestamp, &old.first_timestamp);
    errors.unchanged(&at("lastTimestamp"), &new.last_timestamp, &old.last_timestamp);
    errors.unchanged(&at("count"), &new.count, &old.count);
    errors.unchanged(&at("type"), &new.type_, &old.type_);
    errors.unchanged(&at("eventTime"), &new.event_time, &old.event_time);
    errors.unchanged(&at("action"), &new.action, &old.action);
    errors.unchanged(&at("related"), &new.related, &old.related);
    errors.unchanged(
        &at("reportingController"),
        &new.reporting_component,
        &old.reporting_component,
    );
    errors.unchanged(&at("reportingInstance"), &new.reporting_instance, &old.reporting_instance);
}
