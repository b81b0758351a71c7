//! `kubectl apply --server-side`, and the owners of fields that it shows.

use serde_json::{Value, json};
use testkit::kubectl::Kubectl;
use testkit::suite::Test;

use crate::manifests;

pub const TESTS: &[Test] = testkit::tests![
    every: [
        kctl_15_server_side_apply_creates_changes_and_removes,
        kctl_15_server_side_apply_names_conflicts_until_forced,
        kctl_15_server_side_apply_takes_over_from_client_side_apply,
        kctl_15_scaled_replicas_conflict_with_an_apply,
    ],
    once: [kctl_15_managed_fields_are_shown_on_demand],
];

const APPLY: &str = "apply --server-side -f -";

fn map(data: Value) -> String {
    manifests::config_map("app", data).to_string()
}

/// Manager and operation of every entry.
fn owners(k: &Kubectl<'_>, object: &str) -> Vec<String> {
    let raw = k.ok(&format!("get {object} -o json --show-managed-fields=true"));
    let object: Value = serde_json::from_str(&raw).unwrap();
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let line = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("manager"), text("operation"))
    };
    entries.iter().map(line).collect()
}

fn kctl_15_server_side_apply_creates_changes_and_removes(k: &Kubectl<'_>) {
    let said = "configmap/app serverside-applied\n";
    assert_eq!(k.ok_with(APPLY, &map(json!({"a": "1", "b": "2"}))), said);
    k.ok(r#"patch cm app --type=merge -p '{"data":{"foreign":"3"}}'"#);
    assert_eq!(k.ok_with(APPLY, &map(json!({"a": "1"}))), said);
    assert_eq!(k.json("cm app")["data"], json!({"a": "1", "foreign": "3"}));
    let version = k.value("cm app", ".metadata.resourceVersion");
    assert_eq!(k.ok_with(APPLY, &map(json!({"a": "1"}))), said);
    assert_eq!(k.value("cm app", ".metadata.resourceVersion"), version);
}

fn kctl_15_server_side_apply_names_conflicts_until_forced(k: &Kubectl<'_>) {
    k.ok_with(&format!("{APPLY} --field-manager=first"), &map(json!({"a": "1", "b": "2"})));
    let second = format!("{APPLY} --field-manager=second");
    let refused = k.fails_with(&second, &map(json!({"a": "2"})));
    let conflict = r#"Apply failed with 1 conflict: conflict with "first": .data.a"#;
    assert!(refused.contains(conflict), "{refused}");
    assert!(refused.contains("--force-conflicts"), "{refused}");
    k.ok_with(&format!("{second} --force-conflicts"), &map(json!({"a": "2"})));
    assert_eq!(k.json("cm app")["data"], json!({"a": "2", "b": "2"}));
    let refused =
        k.fails_with(&format!("{APPLY} --field-manager=first"), &map(json!({"a": "1", "b": "2"})));
    assert!(refused.contains(r#"conflict with "second": .data.a"#), "{refused}");
    k.ok_with(&format!("{APPLY} --field-manager=first"), &map(json!({"b": "2"})));
    assert_eq!(k.json("cm app")["data"], json!({"a": "2", "b": "2"}));
}

fn kctl_15_server_side_apply_takes_over_from_client_side_apply(k: &Kubectl<'_>) {
    let manifest = |image: &str| {
        let mut object = manifests::deployment("app", 0);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        object.to_string()
    };
    k.ok_with("apply -f -", &manifest("knarr.local/hello:1"));
    let said = k.ok_with(APPLY, &manifest("knarr.local/hello:2"));
    assert_eq!(said, "deployment.apps/app serverside-applied\n");
    let image = ".spec.template.spec.containers[0].image";
    assert_eq!(k.value("deploy app", image), "knarr.local/hello:2");
    assert!(k.ok_with(APPLY, &manifest("knarr.local/hello:3")).contains("serverside-applied"));
    let last = k.ok("apply view-last-applied deploy/app -o json");
    assert!(last.contains("knarr.local/hello:3"), "{last}");
    let back = k.ok_with("apply -f -", &manifest("knarr.local/hello:4"));
    assert!(back.ends_with("deployment.apps/app configured\n"), "{back}");
    assert_eq!(k.value("deploy app", image), "knarr.local/hello:4");
}

fn kctl_15_scaled_replicas_conflict_with_an_apply(k: &Kubectl<'_>) {
    let manifest = |replicas: u32| {
        let mut object = manifests::deployment("app", replicas);
        object["spec"]["paused"] = json!(true);
        object.to_string()
    };
    k.ok_with(APPLY, &manifest(0));
    k.ok("scale deploy app --replicas=1");
    let refused = k.fails_with(APPLY, &manifest(0));
    assert!(refused.contains(" with subresource \"scale\" using apps/v1"), "{refused}");
    assert!(refused.contains(": .spec.replicas"), "{refused}");
    k.ok_with(&format!("{APPLY} --force-conflicts"), &manifest(0));
    assert_eq!(k.value("deploy app", ".spec.replicas"), "0");
}

fn kctl_15_managed_fields_are_shown_on_demand(k: &Kubectl<'_>) {
    k.ok_with(APPLY, &map(json!({"a": "1"})));
    k.ok(r#"label cm app x=y"#);
    assert!(!k.ok("get cm app -o yaml").contains("managedFields"));
    let shown = k.ok("get cm app -o yaml --show-managed-fields");
    assert!(shown.contains("  managedFields:\n  - apiVersion: v1\n    fieldsType: FieldsV1\n    fieldsV1:\n      f:data:\n        f:a: {}\n    manager: kubectl\n    operation: Apply\n"), "{shown}");
    assert_eq!(owners(k, "cm app"), ["kubectl Apply", "kubectl-label Update"]);
    k.ok("create deployment plain --image=knarr.local/hello:1.0 --replicas=0");
    k.ok("rollout status deploy plain --timeout=60s");
    // Their order is that of their times, which may be equal.
    let mut owners = owners(k, "deploy plain");
    owners.sort_unstable();
    assert_eq!(owners, ["kube-controller-manager Update", "kubectl-create Update"]);
}
