//! Which events are new, which are repeats, which are too many. Counterpart: client-go's `EventCorrelator`.
//!
//! Invariants:
//! * Pure but for its own memory: time comes in, a verdict comes out.
//! * Its memory is bounded: beyond [`MAX_ENTRIES`] the entry that was used longest ago is forgotten, which at worst
//!   makes an event be counted anew.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;

use super::event_name;

/// Entries remembered per table; client-go's `maxLruCacheEntries`.
const MAX_ENTRIES: usize = 4096;
/// Similar events within the interval before they are combined.
const AGGREGATE_MAX_EVENTS: usize = 10;
/// The time over which similar events are counted.
const AGGREGATE_INTERVAL: SignedDuration = SignedDuration::from_secs(600);
/// Events one object may cause at once.
const SPAM_BURST: f64 = 25.0;
/// Events one object may cause per second in the long run: one in five minutes.
const SPAM_REFILL_PER_SECOND: f64 = 1.0 / 300.0;

/// What is to be done with an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing: its object causes too many.
    Drop,
    /// Create it.
    Create(Box<Event>),
    /// Write count, time and message of the event that exists under its name.
    Count(Box<Event>),
}

/// A table that forgets the entry used longest ago.
#[derive(Debug)]
struct Recent<V> {
    entries: BTreeMap<String, (u64, V)>,
    uses: BTreeMap<u64, String>,
    clock: u64,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), uses: BTreeMap::new(), clock: 0 }
    }
}

impl<V> Recent<V> {
    fn entry(&mut self, key: &str, fresh: impl FnOnce() -> V) -> &mut V {
        self.clock += 1;
        if let Some((used, _)) = self.entries.get(key) {
            self.uses.remove(used);
        } else if self.entries.len() >= MAX_ENTRIES
            && let Some((_, oldest)) = self.uses.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses.insert(self.clock, key.to_owned());
        let entry = self.entries.entry(key.to_owned()).or_insert_with(|| (0, fresh()));
        entry.0 = self.clock;
        &mut entry.1
    }
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    fn take(&mut self, now: Timestamp) -> bool {
        let elapsed = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.tokens = (self.tokens + elapsed * SPAM_REFILL_PER_SECOND).min(SPAM_BURST);
        self.at = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[derive(Debug)]
struct Similar {
    messages: BTreeSet<String>,
    last: Timestamp,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    count: i32,
    name: String,
    first: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
    resource_version: Option<String>,
}

/// Remembers recent events.
#[derive(Debug, Default)]
pub struct Correlator {
    spam: Recent<Option<Bucket>>,
    similar: Recent<Option<Similar>>,
    seen: Recent<Seen>,
}

fn text(value: Option<&String>) -> &str {
    value.map_or("", String::as_str)
}

/// What distinguishes the object and the reporter of an event.
fn source_and_object(event: &Event) -> String {
    let source = event.source.clone().unwrap_or_default();
    let object = &event.involved_object;
    let parts = [
        &source.component,
        &source.host,
        &object.kind,
        &object.namespace,
        &object.name,
        &object.field_path,
        &object.uid,
        &object.api_version,
    ];
    parts.map(|part| text(part.as_ref())).join("\u{1f}")
}

/// Events that differ in their message only are similar.
fn similarity(event: &Event) -> String {
    let rest = [&event.type_, &event.reason, &event.reporting_component, &event.reporting_instance];
    format!(
        "{}\u{1f}{}",
        source_and_object(event),
        rest.map(|part| text(part.as_ref())).join("\u{1f}")
    )
}

impl Correlator {
    /// Decides about one event that happened `now`.
    pub fn correlate(&mut self, event: Event, now: Timestamp) -> Verdict {
        let (event, key) = self.aggregate(event, now);
        let allowed = self.allow(&event, now);
        let verdict = self.count(event, &key);
        if allowed { verdict } else { Verdict::Drop }
    }

    /// Remembers what the server made of an event that was sent.
    pub fn sent(&mut self, event: &Event) {
        let key = observation_key(event);
        let seen = self.seen.entry(&key, Seen::default);
        seen.name = event.metadata.name.clone().unwrap_or_default();
        seen.resource_version.clone_from(&event.metadata.resource_version);
        seen.count = event.count.unwrap_or(1);
        seen.first.clone_from(&event.first_timestamp);
    }

    fn allow(&mut self, event: &Event, now: Timestamp) -> bool {
        let bucket = self.spam.entry(&source_and_object(event), || None);
        bucket.get_or_insert(Bucket { tokens: SPAM_BURST, at: now }).take(now)
    }

    /// Combines the event with similar ones when there were too many of them; the key under which it is counted.
    fn aggregate(&mut self, mut event: Event, now: Timestamp) -> (Event, String) {
        let key = similarity(&event);
        let similar = self.similar.entry(&key, || None);
        let fresh = similar
            .as_ref()
            .is_none_or(|similar| now.duration_since(similar.last) > AGGREGATE_INTERVAL);
        if fresh {
            *similar = Some(Similar { messages: BTreeSet::new(), last: now });
        }
        let Some(similar) = similar else { return (event, key) };
        similar.last = now;
        similar.messages.insert(text(event.message.as_ref()).to_owned());
        if similar.messages.len() < AGGREGATE_MAX_EVENTS {
            let key = observation_key(&event);
            return (event, key);
        }
        similar.messages.pop_first();
        event.message = Some(format!("{COMBINED}{}", text(event.message.as_ref())));
        event.metadata.name = Some(event_name(&event.involved_object, now));
        (event, key)
    }

    fn count(&mut self, mut event: Event, key: &str) -> Verdict {
        let seen = self.seen.entry(key, Seen::default);
        let repeated = seen.count > 0;
        if repeated {
            event.metadata.name = Some(seen.name.clone());
            event.metadata.resource_version.clone_from(&seen.resource_version);
            event.first_timestamp.clone_from(&seen.first);
        }
        seen.count += 1;
        event.count = Some(seen.count);
        seen.name = event.metadata.name.clone().unwrap_or_default();
        seen.first.clone_from(&event.first_timestamp);
        let event = Box::new(event);
        if repeated { Verdict::Count(event) } else { Verdict::Create(event) }
    }
}

/// Beginning of the message of an event that stands for several.
const COMBINED: &str = "(combined from similar events): ";

/// The key under which an event's repeats are counted: combined ones without their message.
fn observation_key(event: &Event) -> String {
    let message = text(event.message.as_ref());
    if message.starts_with(COMBINED) {
        similarity(event)
    } else {
        format!("{}\u{1f}{message}", similarity(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{EventType, new_event};
    use k8s_openapi::api::core::v1::{EventSource, ObjectReference};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn event(message: &str, seconds: i64) -> Event {
        let source = EventSource { component: Some("test".into()), host: None };
        let pod = ObjectReference {
            name: Some("web".into()),
            namespace: Some("a".into()),
            ..ObjectReference::default()
        };
        new_event(&source, &pod, EventType::Normal, "Tested", message, at(seconds))
    }

    fn see(
        correlator: &mut Correlator,
        message: &str,
        seconds: i64,
    ) -> (&'static str, String, i32) {
        match correlator.correlate(event(message, seconds), at(seconds)) {
            Verdict::Drop => ("drop", String::new(), 0),
            Verdict::Create(event) => ("create", event.message.unwrap(), event.count.unwrap()),
            Verdict::Count(event) => ("count", event.message.unwrap(), event.count.unwrap()),
        }
    }

    #[test]
    fn evt_05_repeat_is_counted_under_its_first_name() {
        let mut correlator = Correlator::default();
        let Verdict::Create(first) = correlator.correlate(event("x", 0), at(0)) else {
            panic!("first is created")
        };
        let Verdict::Count(second) = correlator.correlate(event("x", 9), at(9)) else {
            panic!("second is counted")
        };
        assert_eq!(first.metadata.name.as_deref(), Some("web.17979cfe362a0000"));
        assert_eq!(second.metadata.name, first.metadata.name);
        assert_eq!(
            (
                second.count,
                second.first_timestamp.clone(),
                second.last_timestamp.clone().unwrap().0
            ),
            (Some(2), first.first_timestamp, at(9))
        );
    }

    #[test]
    fn similar_events_are_combined_from_the_tenth_on() {
        let mut correlator = Correlator::default();
        for n in 0..9 {
            assert_eq!(see(&mut correlator, &format!("m{n}"), n).0, "create");
        }
        assert_eq!(
            see(&mut correlator, "m9", 9),
            ("create", "(combined from similar events): m9".into(), 1)
        );
        assert_eq!(
            see(&mut correlator, "n0", 10),
            ("count", "(combined from similar events): n0".into(), 2)
        );
        assert_eq!(see(&mut correlator, "n1", 10 + 601), ("create", "n1".into(), 1));
    }

    #[test]
    fn flood_is_cut_to_its_burst_then_one_in_five_minutes() {
        let mut correlator = Correlator::default();
        let passed = (0..100).filter(|_| see(&mut correlator, "x", 0).0 != "drop").count();
        assert_eq!(passed, 25);
        assert_eq!(see(&mut correlator, "x", 299).0, "drop");
        assert_ne!(see(&mut correlator, "x", 301).0, "drop");
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent: Recent<u32> = Recent::default();
        for n in 0..MAX_ENTRIES + 10 {
            *recent.entry(&n.to_string(), || 0) += 1;
            recent.entry("0", || 7);
        }
        assert_eq!(recent.entries.len(), MAX_ENTRIES);
        assert_eq!(*recent.entry("0", || 7), 1, "what is used stays");
    }
}
