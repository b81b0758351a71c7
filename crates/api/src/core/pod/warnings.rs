//! What the server says about a pod that is valid, and yet hardly what its author meant.
//!
//! Counterpart in Kubernetes: `pkg/api/pod/warnings.go`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use apimachinery::field::Path;
use apimachinery::names;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec,
    PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::containers as walk;
use crate::quantities::{ResourceList, amount};
use crate::report::{list, text};

/// Labels of nodes that have newer names.
const OLD_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// Annotations that do nothing any more.
const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const USE_SECCOMP_FIELD: &str =
    "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// Warnings about a new pod.
pub(super) fn pod_warnings(pod: &Pod) -> Vec<String> {
    let mut warnings = Vec::new();
    let messages = names::is_dns1123_label(pod.metadata.name.as_deref().unwrap_or_default());
    if !messages.is_empty() {
        warnings.push(format!("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]", messages.join(" ")));
    }
    if let Some(spec) = &pod.spec {
        of_spec(spec, &pod.metadata, &Path::default(), &mut warnings);
    }
    warnings
}

/// Warnings about the template of a workload.
pub(crate) fn template_warnings(template: &PodTemplateSpec) -> Vec<String> {
    template_warnings_at(template, &Path::new("spec").child("template"))
}

/// Warnings about a template at this place.
pub(crate) fn template_warnings_at(template: &PodTemplateSpec, at: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(spec) = &template.spec {
        let meta = template.metadata.clone().unwrap_or_default();
        of_spec(spec, &meta, at, &mut warnings);
    }
    warnings
}

fn of_spec(spec: &PodSpec, meta: &ObjectMeta, root: &Path, warnings: &mut Vec<String>) {
    let at = root.child("spec");
    let containers: Vec<_> = walk::all(spec, &at).collect();
    old_node_labels(spec, &at, warnings);
    spread(spec, &at, warnings);
    annotations(meta, spec, root, warnings);
    for (i, volume) in list(&spec.volumes).iter().enumerate() {
        old_volumes(volume, &at.child("volumes").index(i), warnings);
    }
    repeated_names(spec, &at, warnings);
    fractions(spec.overhead.as_ref(), &at.child("overhead"), warnings);
    for (container, at) in &containers {
        of_container(container, at, warnings);
    }
    ports(&containers, warnings);
    port_names(&containers, warnings);
    if spec.termination_grace_period_seconds.is_some_and(|s| s < 0) {
        let at = at.child("terminationGracePeriodSeconds");
        warnings.push(format!(
            "{at}: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    affinity(spec, &at.child("affinity"), warnings);
}

/// What to use instead of an old label of nodes.
pub(crate) fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, message)| *message)
}

fn old_node_labels(spec: &PodSpec, at: &Path, warnings: &mut Vec<String>) {
    for key in spec.node_selector.iter().flatten().map(|(key, _)| key) {
        if let Some(message) = old_label(key) {
            warnings.push(format!("{}: {message}", at.child("nodeSelector").key(key)));
        }
    }
    let Some(node) = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref()) else { return };
    let at = at.child("affinity").child("nodeAffinity");
    if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
        let at =
            at.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
        for (i, term) in required.node_selector_terms.iter().enumerate() {
            node_term(term, false, &at.index(i), warnings);
        }
    }
    let at = at.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in
        list(&node.preferred_during_scheduling_ignored_during_execution).iter().enumerate()
    {
        node_term(&term.preference, true, &at.index(i).child("preference"), warnings);
    }
}

fn node_term(term: &NodeSelectorTerm, check_values: bool, at: &Path, warnings: &mut Vec<String>) {
    for (i, expression) in list(&term.match_expressions).iter().enumerate() {
        let at = at.child("matchExpressions").index(i);
        if let Some(message) = old_label(&expression.key) {
            warnings.push(format!("{}: {} is {message}", at.child("key"), expression.key));
        }
        for (j, value) in list(&expression.values).iter().enumerate().filter(|_| check_values) {
            for message in names::is_label_value(value) {
                warnings.push(format!(
                    "{}: {value} is invalid, {message}",
                    at.child("values").index(j)
                ));
            }
        }
    }
}

fn spread(spec: &PodSpec, at: &Path, warnings: &mut Vec<String>) {
    for (i, constraint) in list(&spec.topology_spread_constraints).iter().enumerate() {
        let at = at.child("topologySpreadConstraints").index(i);
        if let Some(message) = old_label(&constraint.topology_key) {
            warnings.push(format!(
                "{}: {} is {message}",
                at.child("topologyKey"),
                constraint.topology_key
            ));
        }
        if constraint.label_selector.is_none() {
            warnings.push(format!("{}: {NO_SELECTOR}", at.child("labelSelector")));
        }
    }
}

fn annotations(meta: &ObjectMeta, spec: &PodSpec, root: &Path, warnings: &mut Vec<String>) {
    let Some(annotations) = &meta.annotations else { return };
    let at = root.child("metadata").child("annotations");
    for (key, message) in OLD_ANNOTATIONS.iter().filter(|(key, _)| annotations.contains_key(*key)) {
        warnings.push(format!("{}: {message}", at.key(key)));
    }
    let has_field = spec.security_context.as_ref().is_some_and(|s| s.seccomp_profile.is_some());
    if !has_field && annotations.contains_key(SECCOMP_POD) {
        warnings.push(format!("{}: {USE_SECCOMP_FIELD}", at.key(SECCOMP_POD)));
    }
}

fn old_volumes(volume: &Volume, at: &Path, warnings: &mut Vec<String>) {
    for (name, set, since) in [
        (
            "photonPersistentDisk",
            volume.photon_persistent_disk.is_some(),
            "v1.11, non-functional in v1.16+",
        ),
        ("gitRepo", volume.git_repo.is_some(), "v1.11, and disabled by default in v1.33+"),
        ("scaleIO", volume.scale_io.is_some(), "v1.16, non-functional in v1.22+"),
        ("flocker", volume.flocker.is_some(), "v1.22, non-functional in v1.25+"),
        ("storageOS", volume.storageos.is_some(), "v1.22, non-functional in v1.25+"),
        ("quobyte", volume.quobyte.is_some(), "v1.22, non-functional in v1.25+"),
        ("glusterfs", volume.glusterfs.is_some(), "v1.25, non-functional in v1.26+"),
        ("cephfs", volume.cephfs.is_some(), "v1.28, non-functional in v1.31+"),
        ("rbd", volume.rbd.is_some(), "v1.28, non-functional in v1.31+"),
    ] {
        if set {
            warnings.push(format!("{}: deprecated in {since}", at.child(name)));
        }
    }
}

fn repeated_names(spec: &PodSpec, at: &Path, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (i, alias) in list(&spec.host_aliases).iter().enumerate() {
        if !seen.insert(&alias.ip) {
            warnings.push(format!(
                "{}: duplicate ip {:?}",
                at.child("hostAliases").index(i).child("ip"),
                alias.ip
            ));
        }
    }
    let at = at.child("imagePullSecrets");
    let mut seen = BTreeSet::new();
    for (i, secret) in list(&spec.image_pull_secrets).iter().enumerate() {
        if !seen.insert(&secret.name) {
            warnings.push(format!(
                "{}: duplicate name {:?}",
                at.index(i).child("name"),
                secret.name
            ));
        }
    }
    for (i, secret) in
        list(&spec.image_pull_secrets).iter().enumerate().filter(|(_, s)| s.name.is_empty())
    {
        warnings.push(format!(
            "{}: invalid empty name {:?}",
            at.index(i).child("name"),
            secret.name
        ));
    }
}

/// Nobody has half a byte.
fn fractions(list: Option<&ResourceList>, at: &Path, warnings: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        let Some(quantity) = list.and_then(|l| l.get(name)) else { continue };
        if amount(quantity).is_some_and(|a| a.milli_value() % 1000 != 0) {
            let at = at.key(name);
            warnings.push(format!(
                "{at}: fractional byte value {:?} is invalid, must be an integer",
                quantity.0
            ));
        }
    }
}

fn of_container(container: &Container, at: &Path, warnings: &mut Vec<String>) {
    if let Some(resources) = &container.resources {
        fractions(resources.limits.as_ref(), &at.child("resources").child("limits"), warnings);
        fractions(resources.requests.as_ref(), &at.child("resources").child("requests"), warnings);
    }
    let mut seen = BTreeSet::new();
    for (i, var) in list(&container.env).iter().enumerate() {
        if !seen.insert(&var.name) && hides(var) {
            let at = at.child("env").index(i);
            warnings.push(format!(
                "{at}: hides previous definition of {:?}, which may be dropped when using apply",
                var.name
            ));
        }
    }
}

/// A second definition that builds on the first one, such as `PATH=$(PATH):/bin`, is meant.
fn hides(var: &EnvVar) -> bool {
    let reference = format!("$({})", var.name);
    let value = text(&var.value);
    var.value_from.is_some() || value == reference || !value.contains(&reference)
}

type Found<'a> = [(Cow<'a, Container>, Path)];

/// The same port twice, or almost.
fn ports(containers: &Found, warnings: &mut Vec<String>) {
    let mut seen: BTreeMap<(i32, &str), Vec<(Path, &ContainerPort)>> = BTreeMap::new();
    for (container, at) in containers {
        for (i, port) in list(&container.ports).iter().enumerate() {
            let at = at.child("ports").index(i);
            let others = seen.entry((port.container_port, text(&port.protocol))).or_default();
            for (other_at, other) in others.iter() {
                if let Some(what) = overlap(port, other) {
                    warnings.push(format!("{at}: {what} port definition with {other_at}"));
                }
            }
            others.push((at, port));
        }
    }
}

fn overlap(a: &ContainerPort, b: &ContainerPort) -> Option<&'static str> {
    let (a_port, b_port) = (a.host_port.unwrap_or(0), b.host_port.unwrap_or(0));
    let (a_ip, b_ip) = (text(&a.host_ip), text(&b.host_ip));
    if a_ip == b_ip && a_port == b_port {
        Some("duplicate")
    } else if a_port == 0 || b_port == 0 {
        Some("overlapping")
    } else if a_port == b_port && a_ip.is_empty() != b_ip.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

fn port_names(containers: &Found, warnings: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, Path> = BTreeMap::new();
    for (container, at) in containers {
        for (i, port) in list(&container.ports).iter().enumerate() {
            let (at, name) = (at.child("ports").index(i), text(&port.name));
            match seen.get(name) {
                _ if name.is_empty() => {}
                Some(first) => warnings.push(format!(
                    "{at}: duplicate port name {name:?} with {first}, services and probes that select ports by name will use {first}"
                )),
                None => drop(seen.insert(name, at)),
            }
        }
    }
}

fn affinity(spec: &PodSpec, at: &Path, warnings: &mut Vec<String>) {
    let Some(affinity) = &spec.affinity else { return };
    if let Some(pod) = &affinity.pod_affinity {
        let required = list(&pod.required_during_scheduling_ignored_during_execution);
        let preferred = list(&pod.preferred_during_scheduling_ignored_during_execution);
        let preferred = preferred.iter().map(|t| &t.pod_affinity_term);
        terms(required.iter(), preferred, &at.child("podAffinity"), warnings);
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        let required = list(&pod.required_during_scheduling_ignored_during_execution);
        let preferred = list(&pod.preferred_during_scheduling_ignored_during_execution);
        let preferred = preferred.iter().map(|t| &t.pod_affinity_term);
        terms(required.iter(), preferred, &at.child("podAntiAffinity"), warnings);
    }
}

fn terms<'a>(
    required: impl Iterator<Item = &'a PodAffinityTerm>,
    preferred: impl Iterator<Item = &'a PodAffinityTerm>,
    at: &Path,
    warnings: &mut Vec<String>,
) {
    let at_required = at.child("requiredDuringSchedulingIgnoredDuringExecution");
    for (i, _) in required.enumerate().filter(|(_, t)| t.label_selector.is_none()) {
        warnings.push(format!("{}: {NO_SELECTOR}", at_required.index(i).child("labelSelector")));
    }
    let at_preferred = at.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, _) in preferred.enumerate().filter(|(_, t)| t.label_selector.is_none()) {
        let at = at_preferred.index(i).child("podAffinityTerm").child("labelSelector");
        warnings.push(format!("{at}: {NO_SELECTOR}"));
    }
}
