//! Tables for the Node's status.

use super::*;
use crate::fixtures::at;

fn identity() -> Identity {
    Identity {
        name: "n1".into(),
        hostname: "host1".into(),
        ips: vec!["192.0.2.1".parse().expect("an address")],
        labels: [("disk".to_owned(), "ssd".to_owned())].into(),
        taints: Vec::new(),
        max_pods: 110,
        port: 10250,
        version: "v1.36.2".into(),
    }
}

fn facts() -> Facts {
    Facts {
        architecture: "amd64".into(),
        cpus: 2,
        memory_bytes: 1 << 30,
        disk_bytes: 100_000 << 10,
        hugepages: [(2 << 20, 0), (1 << 30, 0)].into(),
        ..Facts::default()
    }
}

fn made(old: &NodeStatus, errors: &[&str], second: i64) -> NodeStatus {
    let live =
        Live { errors: errors.iter().map(|text| (*text).to_owned()).collect(), ..Live::default() };
    status(old, &identity(), &facts(), &live, at(second))
}

#[test]
fn node_05_capacity_and_allocatable_name_every_resource() {
    let status = made(&NodeStatus::default(), &[], 1);
    let capacity = status.capacity.expect("capacity");
    let text = |name: &str| capacity[name].0.clone();
    assert_eq!(
        ["cpu", "ephemeral-storage", "hugepages-1Gi", "hugepages-2Mi", "memory", "pods"].map(text),
        ["2", "100000Ki", "0", "0", "1Gi", "110"]
    );
    let allocatable = status.allocatable.expect("allocatable");
    assert_eq!(allocatable["memory"].0, "924Mi");
    assert_eq!(allocatable["ephemeral-storage"].0, "92160k");
}

#[test]
fn node_06_07_conditions_speak_kubernetes_words_and_ready_is_last() {
    let status = made(&NodeStatus::default(), &[], 1);
    let words = |it: &NodeCondition| {
        (it.type_.clone(), it.status.clone(), it.reason.clone().unwrap_or_default())
    };
    let all: Vec<_> = status.conditions.iter().flatten().map(words).collect();
    let expected = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
        ("Ready", "True", "KubeletReady"),
    ];
    assert_eq!(all, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
}

#[test]
fn node_08_heartbeat_moves_and_transition_does_not() {
    let first = made(&NodeStatus::default(), &[], 1);
    let second = made(&first, &[], 9);
    let ready = condition(&second, "Ready").expect("ready");
    assert_eq!(ready.last_heartbeat_time, Some(Time(at(9))));
    assert_eq!(ready.last_transition_time, Some(Time(at(1))));
    assert!(!differs(&first, &second));
    let third = made(&second, &["a", "b"], 12);
    let ready = condition(&third, "Ready").expect("ready");
    assert_eq!(ready.message.as_deref(), Some("[a, b]"));
    assert_eq!(ready.last_transition_time, Some(Time(at(12))));
    assert!(differs(&second, &third));
}

#[test]
fn node_16_events_follow_transitions() {
    let none = NodeStatus::default();
    let broken = made(&none, &["x"], 1);
    assert_eq!(
        transitions(&none, &broken),
        ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"]
    );
    let well = made(&broken, &[], 2);
    assert_eq!(transitions(&broken, &well), ["NodeReady"]);
    assert_eq!(transitions(&well, &made(&well, &["x"], 3)), ["NodeNotReady"]);
    assert!(transitions(&well, &well).is_empty());
}

#[test]
fn node_12_labels_carry_old_and_new_names() {
    let labels = labels(&identity(), &facts());
    assert_eq!(labels["kubernetes.io/hostname"], "host1");
    assert_eq!(labels["beta.kubernetes.io/arch"], "amd64");
    assert_eq!(labels["disk"], "ssd");
    assert_eq!(labels.len(), 6);
}

#[test]
fn metadata_patch_names_only_what_is_missing() {
    let wanted = new_node(&identity(), &facts(), &Live::default(), at(1)).metadata;
    assert_eq!(metadata_patch(&wanted, &wanted), None);
    let mut old = wanted.clone();
    old.labels.as_mut().expect("labels").remove("disk");
    let patch = metadata_patch(&old, &wanted).expect("a patch");
    assert_eq!(
        patch,
        serde_json::json!({"metadata": {"labels": {"disk": "ssd"}, "annotations": {}}})
    );
}

#[test]
fn node_10_images_are_sorted_and_bounded() {
    let image = |id: &str, size| cri::Image {
        id: id.into(),
        size,
        repo_tags: vec![id.into()],
        ..cri::Image::default()
    };
    let many: Vec<_> = (0..60).map(|n| image(&format!("i{n}"), n)).collect();
    let shown = images(&many);
    assert_eq!((shown.len(), shown[0].size_bytes), (50, Some(59)));
}
