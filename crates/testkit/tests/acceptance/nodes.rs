//! Node objects: what the kubelet registers and keeps true.

use k8s_openapi::api::coordination::v1::Lease;
use testkit::kubectl::Kubectl;
use testkit::observe;
use testkit::suite::Test;

use crate::manifests::{self, WAIT};

pub const TESTS: &[Test] = testkit::tests![
    every: [node_13_describe_node_has_its_sections],
    once: [
        clu_15_node_shell_runs_a_command_inside_the_node,
        node_01_node_is_registered_and_may_be_labelled,
        node_02_pods_get_addresses_from_the_node_range,
        node_04_addresses_are_internal_ip_and_hostname,
        node_05_capacity_and_allocatable_are_told,
        node_06_conditions_say_why_in_kubernetes_words,
        node_08_lease_is_renewed_and_transition_time_stays,
        node_09_kubelet_endpoint_is_10250,
        node_10_images_of_the_node_are_listed,
        node_11_node_info_describes_the_machine,
        node_12_well_known_labels_and_annotations_are_there,
        node_16_start_of_the_kubelet_is_told,
        node_16_allocatable_is_enforced,
        node_cordon_keeps_new_pods_away,
    ],
];

fn node(k: &Kubectl<'_>) -> serde_json::Value {
    k.json(&format!("node {}", k.cluster().node_names()[0]))
}

fn clu_15_node_shell_runs_a_command_inside_the_node(k: &Kubectl<'_>) {
    let node = &k.cluster().node_names()[0];
    let output = k.cluster().knarr(&format!("node shell {node} -- ip -o -4 addr show dev eth0"));
    let text = output.ok();
    let ip =
        k.value(&format!("node {node}"), ".status.addresses[?(@.type==\"InternalIP\")].address");
    assert!(text.contains(&format!("inet {ip}/")), "{text}");
    let failed = k.cluster().knarr(&format!("node shell {node} -- sh -c exit\\ 7")).code;
    assert_ne!(failed, Some(0));
    let missing = k.cluster().knarr("node shell nope -- true").failed();
    assert!(missing.starts_with("error: there is no node \"nope\""), "{missing}");
}

fn node_01_node_is_registered_and_may_be_labelled(k: &Kubectl<'_>) {
    let name = &k.cluster().node_names()[0];
    k.ok(&format!("label node {name} disk=ssd"));
    assert_eq!(k.names("nodes -l disk=ssd"), [name.as_str()]);
    k.ok(&format!("label node {name} disk-"));
}

fn node_02_pods_get_addresses_from_the_node_range(k: &Kubectl<'_>) {
    let spec = node(k)["spec"].take();
    let range = spec["podCIDR"].as_str().unwrap();
    assert_eq!(spec["podCIDRs"], serde_json::json!([range]));
    let prefix = range.strip_suffix(".0/24").unwrap_or_else(|| panic!("{range}"));
    k.ok_with("apply -f -", &manifests::pod("app", WAIT).to_string());
    k.ok("wait --for=condition=Ready pod/app --timeout=60s");
    let ip = k.value("pod app", ".status.podIP");
    assert!(ip.starts_with(&format!("{prefix}.")), "{ip} in {range}");
    assert_eq!(k.value("pod app", ".status.podIPs[*].ip"), ip);
}

fn node_04_addresses_are_internal_ip_and_hostname(k: &Kubectl<'_>) {
    let node = node(k);
    let addresses = node["status"]["addresses"].as_array().unwrap();
    let types: Vec<&str> = addresses.iter().filter_map(|a| a["type"].as_str()).collect();
    assert_eq!(types, ["InternalIP", "Hostname"]);
    assert_eq!(addresses[1]["address"], node["metadata"]["name"]);
}

fn node_05_capacity_and_allocatable_are_told(k: &Kubectl<'_>) {
    let status = node(k)["status"].take();
    for list in ["capacity", "allocatable"] {
        for resource in ["cpu", "memory", "ephemeral-storage", "hugepages-2Mi", "pods"] {
            assert!(status[list][resource].is_string(), "{list} {resource}: {}", status[list]);
        }
        assert_eq!(status[list]["pods"], "110");
    }
    let cores = std::thread::available_parallelism().unwrap().get().to_string();
    assert_eq!(status["capacity"]["cpu"], cores);
    assert!(status["capacity"]["memory"].as_str().unwrap().ends_with("Ki"));
}

fn node_06_conditions_say_why_in_kubernetes_words(k: &Kubectl<'_>) {
    let node = node(k);
    let conditions = node["status"]["conditions"].as_array().unwrap();
    let mut words: Vec<[&str; 4]> = conditions
        .iter()
        .map(|c| ["type", "status", "reason", "message"].map(|key| c[key].as_str().unwrap()))
        .collect();
    let wanted = [
        [
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ],
        ["DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"],
        ["PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"],
        ["Ready", "True", "KubeletReady", "kubelet is posting ready status"],
    ];
    // Whether the disk of the machine that runs the tests is full is not the kubelet's fault.
    if words[1] == ["DiskPressure", "True", "KubeletHasDiskPressure", "kubelet has disk pressure"] {
        words[1] = wanted[1];
    }
    assert_eq!(words, wanted);
}

fn node_08_lease_is_renewed_and_transition_time_stays(k: &Kubectl<'_>) {
    let name = k.cluster().node_names()[0].clone();
    let before = node(k)["status"]["conditions"].take();
    let renewed =
        |leases: &observe::Objects<Lease>| leases.get(&name)?.spec.as_ref()?.renew_time.clone();
    let first = observe::until(k.cluster(), "kube-node-lease", "a lease", renewed);
    observe::until(k.cluster(), "kube-node-lease", "a renewal", |leases| {
        renewed(leases).filter(|time| *time > first)
    });
    let holder =
        k.within("kube-node-lease").value(&format!("lease {name}"), ".spec.holderIdentity");
    assert_eq!(holder, name);
    let after = node(k)["status"]["conditions"].take();
    for (before, after) in before.as_array().unwrap().iter().zip(after.as_array().unwrap()) {
        assert_eq!(before["lastTransitionTime"], after["lastTransitionTime"]);
    }
}

fn node_09_kubelet_endpoint_is_10250(k: &Kubectl<'_>) {
    let endpoints = node(k)["status"]["daemonEndpoints"].take();
    assert_eq!(endpoints, serde_json::json!({"kubeletEndpoint": {"Port": 10250}}));
}

fn node_10_images_of_the_node_are_listed(k: &Kubectl<'_>) {
    // The list is refreshed with the node's status; a changed list is reported at once.
    let name = k.cluster().node_names()[0].clone();
    let found = k.cluster().with_client(async |client| {
        let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(client);
        let listed = |node: Option<&k8s_openapi::api::core::v1::Node>| {
            let images = node.and_then(|node| node.status.as_ref()?.images.as_ref());
            images.into_iter().flatten().any(|image| {
                let names = image.names.iter().flatten();
                image.size_bytes > Some(0) && names.into_iter().any(|name| name == manifests::HELLO)
            })
        };
        let waited = kube::runtime::wait::await_condition(nodes, &name, listed);
        tokio::time::timeout(testkit::cluster::PATIENCE, waited).await.is_ok()
    });
    assert!(found, "{}", node(k)["status"]["images"]);
}

fn node_11_node_info_describes_the_machine(k: &Kubectl<'_>) {
    let info = node(k)["status"]["nodeInfo"].take();
    for key in [
        "architecture",
        "bootID",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeletVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    ] {
        assert!(info[key].is_string(), "{key} in {info}");
    }
    assert_eq!(info["operatingSystem"], "linux");
    assert_eq!(info["architecture"], "amd64");
    assert!(info["containerRuntimeVersion"].as_str().unwrap().contains("://"), "{info}");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(info["kernelVersion"], kernel.trim());
}

fn node_12_well_known_labels_and_annotations_are_there(k: &Kubectl<'_>) {
    let meta = node(k)["metadata"].take();
    let name = meta["name"].clone();
    for (label, value) in [
        ("beta.kubernetes.io/arch", "amd64".into()),
        ("beta.kubernetes.io/os", "linux".into()),
        ("kubernetes.io/arch", "amd64".into()),
        ("kubernetes.io/os", "linux".into()),
        ("kubernetes.io/hostname", name),
    ] {
        assert_eq!(meta["labels"][label], value, "{label} in {meta}");
    }
}

fn node_13_describe_node_has_its_sections(k: &Kubectl<'_>) {
    let text = k.ok(&format!("describe node {}", k.cluster().node_names()[0]));
    let wanted = [
        "Name:",
        "Roles:",
        "Labels:",
        "Annotations:",
        "CreationTimestamp:",
        "Taints:",
        "Unschedulable:",
        "Lease:",
        "Conditions:",
        "Addresses:",
        "Capacity:",
        "Allocatable:",
        "System Info:",
        "PodCIDR:",
        "PodCIDRs:",
        "Non-terminated Pods:",
        "Allocated resources:",
        "Events:",
    ];
    let sections: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| wanted.iter().find(|section| line.starts_with(**section)).copied())
        .collect();
    assert_eq!(sections, wanted, "{text}");
    assert!(text.contains("  AcquireTime:     <unset>"), "{text}");
    assert!(
        text.contains("(Total limits may be over 100 percent, i.e., overcommitted.)"),
        "{text}"
    );
}

fn node_16_start_of_the_kubelet_is_told(k: &Kubectl<'_>) {
    let name = k.cluster().node_names()[0].clone();
    for reason in [
        "Starting",
        "NodeHasSufficientMemory",
        "NodeHasNoDiskPressure",
        "NodeHasSufficientPID",
        "NodeReady",
    ] {
        let event = observe::event(k.cluster(), "default", &name, reason);
        assert_eq!(event.involved_object.kind.as_deref(), Some("Node"), "{reason}");
        assert_eq!(event.source.as_ref().and_then(|s| s.component.as_deref()), Some("kubelet"));
    }
    let starting = observe::event(k.cluster(), "default", &name, "Starting");
    assert_eq!(starting.message.as_deref(), Some("Starting kubelet."));
}

fn node_16_allocatable_is_enforced(k: &Kubectl<'_>) {
    let name = k.cluster().node_names()[0].clone();
    let event = observe::event(k.cluster(), "default", &name, "NodeAllocatableEnforced");
    assert_eq!(event.message.as_deref(), Some("Updated Node Allocatable limit across pods"));
    assert_eq!(event.type_.as_deref(), Some("Normal"));
}

/// Cordoning changes the shared node, so the pods of this test ask for what only a cordon forbids.
fn node_cordon_keeps_new_pods_away(k: &Kubectl<'_>) {
    let mut pod = manifests::pod("picky", WAIT);
    pod["spec"]["nodeSelector"] = serde_json::json!({"disk-type": "none"});
    k.ok_with("apply -f -", &pod.to_string());
    let event = observe::event(k.cluster(), k.namespace(), "picky", "FailedScheduling");
    let message = event.message.unwrap_or_default();
    assert!(
        message.starts_with(
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        ),
        "{message}"
    );
    assert_eq!(
        k.value("pod picky", ".status.conditions[?(@.type==\"PodScheduled\")].reason"),
        "Unschedulable"
    );
}
