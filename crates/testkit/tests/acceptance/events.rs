//! Events.

use testkit::kubectl::{Kubectl, cells, is_age};
use testkit::observe;
use testkit::suite::Test;

use crate::manifests::{HELLO, pod};

pub const TESTS: &[Test] = testkit::tests![
    every: [evt_06_events_of_a_pod_are_listed],
    once: [
        evt_03_event_has_every_field,
        evt_05_repeats_are_counted,
        evt_09_warnings_are_selected_by_type,
        evt_11_events_can_be_read_watched_and_deleted,
    ],
];

fn started(k: &Kubectl<'_>) {
    k.ok(&format!("run kubia --image={HELLO}"));
    k.ok("wait --for=condition=Ready pod/kubia --timeout=60s");
    observe::event(k.cluster(), k.namespace(), "kubia", "Started");
}

fn evt_03_event_has_every_field(k: &Kubectl<'_>) {
    started(k);
    let event = observe::event(k.cluster(), k.namespace(), "kubia", "Started");
    assert!(event.metadata.name.as_deref().unwrap_or_default().starts_with("kubia."));
    assert_eq!(event.type_.as_deref(), Some("Normal"));
    assert_eq!(event.involved_object.kind.as_deref(), Some("Pod"));
    assert_eq!(
        event.involved_object.uid.as_deref(),
        Some(k.value("pod kubia", ".metadata.uid").as_str())
    );
    assert_eq!(event.involved_object.field_path.as_deref(), Some("spec.containers{kubia}"));
    let source = event.source.unwrap();
    assert_eq!(source.component.as_deref(), Some("kubelet"));
    assert_eq!(source.host.as_deref(), Some(k.cluster().node_names()[0].as_str()));
    assert_eq!(event.count, Some(1));
    assert!(event.first_timestamp.is_some() && event.last_timestamp.is_some());
}

fn evt_05_repeats_are_counted(k: &Kubectl<'_>) {
    k.ok_with("apply -f -", &pod("app", "exit 1").to_string());
    observe::until(k.cluster(), k.namespace(), "a repeated event", |events| {
        let repeated = |event: &&k8s_openapi::api::core::v1::Event| event.count >= Some(2);
        events.values().find(repeated).cloned()
    });
    let table = k.ok("get events");
    assert!(table.contains(" (x") || cells(&table).len() > 2, "{table}");
}

fn evt_06_events_of_a_pod_are_listed(k: &Kubectl<'_>) {
    started(k);
    let rows = cells(&k.ok("get events"));
    assert_eq!(rows[0], ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
    let node = &k.cluster().node_names()[0];
    let assigned = format!("Successfully assigned {}/kubia to {node}", k.namespace());
    let present = format!(
        "Container image \"{HELLO}\" already present on machine and can be accessed by the pod"
    );
    for (reason, message) in [
        ("Scheduled", assigned.as_str()),
        ("Pulled", present.as_str()),
        ("Created", "Container created"),
        ("Started", "Container started"),
    ] {
        let row = rows.iter().find(|row| row[2] == reason);
        let row = row.unwrap_or_else(|| panic!("{reason} in {rows:?}"));
        assert_eq!(row[3], "pod/kubia");
        assert_eq!(row[1], "Normal");
        assert!(row[4].contains(message), "{row:?}");
        assert!(is_age(&row[0]), "{row:?}");
    }
    let wide = cells(&k.ok("get events -o wide"));
    assert_eq!(
        wide[0],
        [
            "LAST SEEN",
            "TYPE",
            "REASON",
            "OBJECT",
            "SUBOBJECT",
            "SOURCE",
            "MESSAGE",
            "FIRST SEEN",
            "COUNT",
            "NAME"
        ]
    );
}

fn evt_09_warnings_are_selected_by_type(k: &Kubectl<'_>) {
    started(k);
    k.ok_with("apply -f -", &pod("app", "exit 1").to_string());
    observe::event(k.cluster(), k.namespace(), "app", "BackOff");
    let warnings = k.json("events --field-selector type=Warning");
    let warnings = warnings["items"].as_array().unwrap();
    assert!(!warnings.is_empty() && warnings.iter().all(|event| event["type"] == "Warning"));
    let of_one =
        k.json("events --field-selector involvedObject.name=kubia,involvedObject.kind=Pod");
    let of_one = of_one["items"].as_array().unwrap();
    assert!(
        !of_one.is_empty() && of_one.iter().all(|event| event["involvedObject"]["name"] == "kubia")
    );
}

fn evt_11_events_can_be_read_watched_and_deleted(k: &Kubectl<'_>) {
    let mut watch = k.start("get events -w");
    started(k);
    watch.wait_for_text("Container started");
    let yaml = k.ok("get events -o yaml");
    assert!(yaml.contains("involvedObject:"), "{yaml}");
    let said = k.ok("delete events,all --all");
    assert!(said.contains("event \"kubia.") && said.contains("pod \"kubia\" deleted"), "{said}");
}
