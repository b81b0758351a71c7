//! Columns and cells that many kinds share, and the durations people read in them.
//!
//! Counterpart in Kubernetes: `pkg/printers/internalversion` and `k8s.io/apimachinery/pkg/util/duration`.
//! Cells are made for `-o wide`; the server leaves it to the client to hide columns of priority 1.

use std::collections::BTreeMap;

use apimachinery::labels::Selector;
use apimachinery::time;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use serde_json::Value;

use crate::kinds::Column;

/// A column that is always shown.
pub(crate) const fn column(
    name: &'static str,
    type_: &'static str,
    description: &'static str,
) -> Column {
    Column { name, type_, format: "", description, priority: 0 }
}

/// A column that `-o wide` shows.
pub(crate) const fn wide(
    name: &'static str,
    type_: &'static str,
    description: &'static str,
) -> Column {
    Column { name, type_, format: "", description, priority: 1 }
}

/// The column of the object's name.
pub(crate) const NAME: Column = Column {
    name: "Name",
    type_: "string",
    format: "name",
    description: "Name of the object.",
    priority: 0,
};

/// The column of the time since creation.
pub(crate) const AGE: Column = column("Age", "string", "Time since the object was created.");

/// Columns of a kind that has nothing else to show.
pub const NAME_AND_AGE: &[Column] = &[NAME, AGE];

/// Cells for [`NAME_AND_AGE`].
pub fn name_and_age(meta: &ObjectMeta, now: Timestamp) -> Vec<Value> {
    vec![name(meta), age(meta, now)]
}

/// Columns of a kind for which Kubernetes has no columns of its own.
pub(crate) const NAME_AND_CREATED: &[Column] = &[
    NAME,
    Column {
        name: "Created At",
        type_: "date",
        format: "",
        description: "Time when the object was created.",
        priority: 0,
    },
];

/// Cells for [`NAME_AND_CREATED`].
pub(crate) fn name_and_created(meta: &ObjectMeta) -> Vec<Value> {
    let created = meta.creation_timestamp.as_ref().map(|t| time::format(t.0));
    vec![name(meta), Value::String(created.unwrap_or_else(|| "<unknown>".to_owned()))]
}

/// The first three of many texts, and how many are left out; `none` when there are none.
pub(crate) fn first_few(texts: impl Iterator<Item = String>, none: &str) -> String {
    const SHOWN: usize = 3;
    let all: Vec<_> = texts.collect();
    match all.len() {
        0 => none.to_owned(),
        count @ ..=SHOWN => all[..count].join(","),
        count => format!("{} + {} more...", all[..SHOWN].join(","), count - SHOWN),
    }
}

/// The cell for [`NAME`].
pub(crate) fn name(meta: &ObjectMeta) -> Value {
    Value::String(meta.name.clone().unwrap_or_default())
}

/// The cell for [`AGE`].
pub(crate) fn age(meta: &ObjectMeta, now: Timestamp) -> Value {
    Value::String(since(meta.creation_timestamp.as_ref(), now))
}

/// Time since a moment as people read it, `<unknown>` when there is no moment.
pub fn since(then: Option<&Time>, now: Timestamp) -> String {
    then.map_or_else(|| "<unknown>".to_owned(), |t| human_since(t.0, now))
}

/// [`human_duration`] of the whole seconds from `then` to `now`.
pub fn human_since(then: Timestamp, now: Timestamp) -> String {
    human_duration(now.duration_since(then).as_secs())
}

/// A text cell, `<none>` when empty.
pub(crate) fn or_none(text: Option<&str>) -> Value {
    Value::String(text.filter(|t| !t.is_empty()).unwrap_or("<none>").to_owned())
}

/// Seconds in two or three significant figures: `5s`, `3m20s`, `45m`, `5h7m`, `2d3h`, `400d`, `3y10d`.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds, MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds, HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds, DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds, YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// `seconds` in a large unit and the rest in a small one, which is left out when zero.
fn two(seconds: i64, large: i64, large_name: &str, small: i64, small_name: &str) -> String {
    let rest = seconds % large / small;
    let head = format!("{}{large_name}", seconds / large);
    if rest == 0 { head } else { format!("{head}{rest}{small_name}") }
}

/// Columns `Containers`, `Images` and `Selector` of the kinds that hold a pod template.
pub(crate) const CONTAINERS: Column =
    wide("Containers", "string", "Names of the containers in the pod template.");
/// See [`CONTAINERS`].
pub(crate) const IMAGES: Column =
    wide("Images", "string", "Images of the containers in the pod template.");
/// See [`CONTAINERS`].
pub(crate) const SELECTOR: Column =
    wide("Selector", "string", "Labels by which pods are selected.");

/// Cells for [`CONTAINERS`] and [`IMAGES`].
pub(crate) fn containers(containers: &[Container]) -> [Value; 2] {
    let names: Vec<_> = containers.iter().map(|c| c.name.as_str()).collect();
    let images: Vec<_> =
        containers.iter().map(|c| c.image.as_deref().unwrap_or_default()).collect();
    [Value::String(names.join(",")), Value::String(images.join(","))]
}

/// A cell of labels.
pub(crate) fn labels(labels: &BTreeMap<String, String>) -> String {
    let shown: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if shown.is_empty() { "<none>".to_owned() } else { shown.join(",") }
}

/// The cell for [`SELECTOR`]; `<invalid>` for a selector that does not parse.
pub(crate) fn selector(selector: &LabelSelector) -> String {
    Selector::from_label_selector(Some(selector))
        .map_or_else(|_| "<invalid>".to_owned(), |s| s.to_string())
}

#[cfg(test)]
mod tests {
    use super::human_duration;

    #[test]
    fn human_duration_every_range_reads_as_in_kubernetes() {
        let (m, h, d) = (60, 3600, 86_400);
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (10 * m, "10m"),
            (179 * m, "179m"),
            (3 * h, "3h"),
            (3 * h + 5 * m, "3h5m"),
            (8 * h, "8h"),
            (47 * h, "47h"),
            (2 * d, "2d"),
            (2 * d + 3 * h, "2d3h"),
            (8 * d, "8d"),
            (729 * d, "729d"),
            (730 * d, "2y"),
            (731 * d, "2y1d"),
            (8 * 365 * d, "8y"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }
}
