//! What the kubelet says about its machine: the Node object.
//!
//! Counterpart in Kubernetes: `kubelet_node_status.go` and `nodestatus/setters.go`. Invariants: everything here is pure; `Ready`
//! stands last among the conditions; a condition's transition time moves only with its status.

pub mod agent;
pub mod allocatable;
pub mod facts;
pub mod lease;

use std::collections::BTreeMap;
use std::net::IpAddr;

use apimachinery::quantity;
use jiff::Timestamp;
use k8s_cri::v1 as cri;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeSpec, NodeStatus, NodeSwapStatus, NodeSystemInfo, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

pub use facts::Facts;

/// Images a Node tells of at most, the largest first; Kubernetes' `nodeStatusMaxImages`.
const MAX_IMAGES: usize = 50;
/// Names of one image a Node tells of at most.
const MAX_NAMES_PER_IMAGE: usize = 5;
/// Memory that is kept from pods, and below which the node is under pressure: Kubernetes' `memory.available` threshold.
pub const RESERVED_MEMORY_BYTES: u64 = 100 << 20;
/// The share of the disk that is kept from pods, in percent: Kubernetes' `nodefs.available` threshold.
pub const RESERVED_DISK_PERCENT: u64 = 10;
/// Free bytes with which a disk is never under pressure, however large it is: a tenth of a large disk is no shortage, and as long
/// as nothing is evicted the condition would only keep pods off a node that could run them. Kind and minikube go further and
/// switch the threshold off.
pub const ENOUGH_DISK_BYTES: u64 = 5 << 30;
/// Says that the attach/detach controller looks after this node's volumes.
const ATTACH_DETACH: &str = "volumes.kubernetes.io/controller-managed-attach-detach";

/// What identifies a node and stays as it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name of the Node object.
    pub name: String,
    /// The host's name.
    pub hostname: String,
    /// Its addresses, the primary one first.
    pub ips: Vec<IpAddr>,
    /// Labels beside the usual ones.
    pub labels: BTreeMap<String, String>,
    /// Taints the node is registered with.
    pub taints: Vec<Taint>,
    /// Pods it accepts.
    pub max_pods: u32,
    /// Where its kubelet serves.
    pub port: u16,
    /// `v1.36.2+knarr.0.1.0`.
    pub version: String,
}

/// What changes while the kubelet runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// Name and version of the runtime, `knarr://0.1.0`.
    pub runtime_version: String,
    /// Why pods cannot run; empty when they can.
    pub errors: Vec<String>,
    /// Too little memory is left.
    pub memory_pressure: bool,
    /// Too little room is left on the disk.
    pub disk_pressure: bool,
    /// What the runtime has.
    pub images: Vec<cri::Image>,
}

/// Labels every node of this kind carries.
pub fn labels(identity: &Identity, facts: &Facts) -> BTreeMap<String, String> {
    let usual = [
        ("beta.kubernetes.io/arch", facts.architecture.as_str()),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", facts.architecture.as_str()),
        ("kubernetes.io/hostname", identity.hostname.as_str()),
        ("kubernetes.io/os", "linux"),
    ];
    let own = identity.labels.clone().into_iter();
    own.chain(usual.map(|(key, value)| (key.to_owned(), value.to_owned()))).collect()
}

/// The object a node registers with.
pub fn new_node(identity: &Identity, facts: &Facts, live: &Live, now: Timestamp) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(identity.name.clone()),
            labels: Some(labels(identity, facts)),
            annotations: Some([(ATTACH_DETACH.to_owned(), "true".to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: Some(identity.taints.clone()).filter(|taints| !taints.is_empty()),
            ..NodeSpec::default()
        }),
        status: Some(status(&NodeStatus::default(), identity, facts, live, now)),
    }
}

/// What has to change in the metadata of a Node that was there before, as a merge patch.
pub fn metadata_patch(old: &ObjectMeta, wanted: &ObjectMeta) -> Option<serde_json::Value> {
    let missing = |old: &Option<BTreeMap<String, String>>,
                   wanted: &Option<BTreeMap<String, String>>| {
        let differs = |(key, value): &(&String, &String)| {
            old.as_ref().and_then(|old| old.get(*key)) != Some(*value)
        };
        wanted
            .iter()
            .flatten()
            .filter(differs)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    let labels = missing(&old.labels, &wanted.labels);
    let annotations = missing(&old.annotations, &wanted.annotations);
    let needed = !labels.is_empty() || !annotations.is_empty();
    needed.then(|| serde_json::json!({"metadata": {"labels": labels, "annotations": annotations}}))
}

/// The status that follows `old`. Fields of others, such as attached volumes, stay.
pub fn status(
    old: &NodeStatus,
    identity: &Identity,
    facts: &Facts,
    live: &Live,
    now: Timestamp,
) -> NodeStatus {
    let port = DaemonEndpoint { port: i32::from(identity.port) };
    NodeStatus {
        addresses: Some(addresses(identity)),
        capacity: Some(capacity(identity, facts)),
        allocatable: Some(allocatable(identity, facts)),
        conditions: Some(conditions(old, live, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(port) }),
        images: Some(images(&live.images)),
        node_info: Some(node_info(identity, facts, live)),
        ..old.clone()
    }
}

fn addresses(identity: &Identity) -> Vec<NodeAddress> {
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    let ips = identity.ips.iter().map(|ip| address("InternalIP", ip.to_string()));
    ips.chain([address("Hostname", identity.hostname.clone())]).collect()
}

fn node_info(identity: &Identity, facts: &Facts, live: &Live) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: facts.architecture.clone(),
        boot_id: facts.boot_id.clone(),
        container_runtime_version: live.runtime_version.clone(),
        kernel_version: facts.kernel_version.clone(),
        // Deprecated and empty in Kubernetes since 1.33.
        kube_proxy_version: String::new(),
        kubelet_version: identity.version.clone(),
        machine_id: facts.machine_id.clone(),
        operating_system: "linux".into(),
        os_image: facts.os_image.clone(),
        swap: facts.swap_bytes.map(|bytes| NodeSwapStatus { capacity: i64::try_from(bytes).ok() }),
        system_uuid: facts.system_uuid.clone(),
    }
}

/// A quantity in its canonical form.
fn canonical(text: String) -> Quantity {
    let mut quantity = Quantity(text);
    // Numbers with a binary suffix always parse.
    let _ = quantity::canonicalize(&mut quantity);
    quantity
}

fn kibibytes(bytes: u64) -> Quantity {
    canonical(format!("{}Ki", bytes >> 10))
}

fn hugepages(facts: &Facts) -> impl Iterator<Item = (String, Quantity)> {
    facts.hugepages.iter().map(|(page_bytes, total_bytes)| {
        let name = format!("hugepages-{}", kibibytes(*page_bytes).0);
        (name, if *total_bytes == 0 { Quantity("0".into()) } else { kibibytes(*total_bytes) })
    })
}

fn capacity(identity: &Identity, facts: &Facts) -> BTreeMap<String, Quantity> {
    let fixed = [
        ("cpu".to_owned(), Quantity(facts.cpus.to_string())),
        ("ephemeral-storage".to_owned(), kibibytes(facts.disk_bytes)),
        ("memory".to_owned(), kibibytes(facts.memory_bytes)),
        ("pods".to_owned(), Quantity(identity.max_pods.to_string())),
    ];
    fixed.into_iter().chain(hugepages(facts)).collect()
}

/// What pods may use: the capacity without what keeps the node itself alive.
pub fn allocatable(identity: &Identity, facts: &Facts) -> BTreeMap<String, Quantity> {
    let mut list = capacity(identity, facts);
    let huge: u64 = facts.hugepages.values().sum();
    let memory = facts.memory_bytes.saturating_sub(RESERVED_MEMORY_BYTES).saturating_sub(huge);
    list.insert("memory".into(), kibibytes(memory));
    let disk = facts.disk_bytes - facts.disk_bytes / 100 * RESERVED_DISK_PERCENT;
    list.insert("ephemeral-storage".into(), canonical(disk.to_string()));
    list
}

fn images(images: &[cri::Image]) -> Vec<ContainerImage> {
    let mut sorted: Vec<_> = images.iter().collect();
    sorted.sort_by(|a, b| (b.size, &a.id).cmp(&(a.size, &b.id)));
    let named = sorted.into_iter().take(MAX_IMAGES).map(|image| {
        let names = image
            .repo_digests
            .iter()
            .chain(&image.repo_tags)
            .take(MAX_NAMES_PER_IMAGE)
            .cloned()
            .collect();
        ContainerImage { names: Some(names), size_bytes: i64::try_from(image.size).ok() }
    });
    named.collect()
}

/// A condition as it should be, without its times.
struct Wanted {
    type_: &'static str,
    status: bool,
    reason: &'static str,
    message: String,
}

fn wanted(live: &Live) -> [Wanted; 4] {
    let pressure = |type_, under: bool, yes: (&'static str, &str), no: (&'static str, &str)| {
        let (reason, message) = if under { yes } else { no };
        Wanted { type_, status: under, reason, message: message.to_owned() }
    };
    let ready = match live.errors.as_slice() {
        [] => ("KubeletReady", "kubelet is posting ready status".to_owned()),
        [one] => ("KubeletNotReady", one.clone()),
        many => ("KubeletNotReady", format!("[{}]", many.join(", "))),
    };
    [
        pressure(
            "MemoryPressure",
            live.memory_pressure,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        pressure(
            "DiskPressure",
            live.disk_pressure,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        // Kubernetes has no threshold for process ids unless it is configured.
        pressure(
            "PIDPressure",
            false,
            ("", ""),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        Wanted {
            type_: "Ready",
            status: live.errors.is_empty(),
            reason: ready.0,
            message: ready.1,
        },
    ]
}

fn conditions(old: &NodeStatus, live: &Live, now: Timestamp) -> Vec<NodeCondition> {
    let wanted = wanted(live);
    let foreign = old
        .conditions
        .iter()
        .flatten()
        .filter(|it| wanted.iter().all(|own| own.type_ != it.type_))
        .cloned();
    let own = wanted.iter().map(|own| {
        let status = if own.status { "True" } else { "False" };
        let before = condition(old, own.type_).filter(|before| before.status == status);
        NodeCondition {
            type_: own.type_.to_owned(),
            status: status.to_owned(),
            reason: Some(own.reason.to_owned()),
            message: Some(own.message.clone()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: before
                .and_then(|before| before.last_transition_time.clone())
                .or(Some(Time(now))),
        }
    });
    foreign.chain(own).collect()
}

/// The condition of a type, if there is one.
pub fn condition<'a>(status: &'a NodeStatus, type_: &str) -> Option<&'a NodeCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// Whether two statuses say different things; a heartbeat alone says nothing.
pub fn differs(a: &NodeStatus, b: &NodeStatus) -> bool {
    let timeless = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            (condition.last_heartbeat_time, condition.last_transition_time) = (None, None);
        }
        status
    };
    timeless(a) != timeless(b)
}

/// Reasons of the events that tell of what changed between two statuses.
pub fn transitions(old: &NodeStatus, new: &NodeStatus) -> Vec<&'static str> {
    let words = [
        ("MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
        ("DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
        ("PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID"),
        ("Ready", "NodeReady", "NodeNotReady"),
    ];
    let changed = words.into_iter().filter_map(|(type_, yes, no)| {
        let (before, after) = (condition(old, type_), condition(new, type_)?);
        // A node that has just come into being is not ready for a moment, which is nothing to tell.
        let news = match before {
            Some(before) => before.status != after.status,
            None => type_ != "Ready",
        };
        news.then_some(if after.status == "True" { yes } else { no })
    });
    changed.collect()
}

#[cfg(test)]
mod tests;
