//! The decision: filter, score, choose.
//!
//! Counterpart in Kubernetes: `schedulePod` and `FitError`.
//!
//! Invariant: pure. Among equally good nodes the pod's uid chooses, so that equal pods spread without randomness.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::plugins::{FILTERS, MAX_SCORE, Normalize, PodInfo, Refusal, SCORES, unsupported};
use crate::snapshot::{NodeInfo, Snapshot};

/// Where a pod goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To this node.
    Node(String),
    /// Nowhere, and why, in Kubernetes' words.
    Unschedulable(String),
}

/// Decides where a pod goes.
pub fn schedule(pod: PodInfo<'_>, snapshot: &Snapshot) -> Decision {
    let all = snapshot.nodes().len();
    if all == 0 {
        return Decision::Unschedulable("no nodes available to schedule pods".into());
    }
    if let Some(field) = unsupported::field(pod.pod) {
        let message = format!("0/{all} nodes are available: {field} is not supported yet.");
        return Decision::Unschedulable(message);
    }
    let (mut fitting, mut refused) = (Vec::new(), Vec::new());
    for (name, node) in snapshot.nodes() {
        match FILTERS.iter().find_map(|filter| filter(pod, node)) {
            None => fitting.push((name, node)),
            Some(refusal) => refused.push((refusal, node)),
        }
    }
    match best(pod, &fitting) {
        Some(name) => Decision::Node(name.to_owned()),
        None => Decision::Unschedulable(message(pod, all, &refused)),
    }
}

fn best<'a>(pod: PodInfo<'_>, nodes: &[(&'a str, &NodeInfo)]) -> Option<&'a str> {
    if let [(name, _)] = nodes {
        return Some(name);
    }
    let mut totals = vec![0; nodes.len()];
    for (score, weight, normalize) in SCORES {
        let mut grades: Vec<i64> = nodes.iter().map(|(_, node)| score(pod, node)).collect();
        normalized(&mut grades, *normalize);
        for (total, grade) in totals.iter_mut().zip(grades) {
            *total += grade * weight;
        }
    }
    let highest = totals.iter().copied().max()?;
    let equal = nodes.iter().zip(&totals).filter(|(_, total)| **total == highest);
    let equal: Vec<&str> = equal.map(|((name, _), _)| *name).collect();
    let uid = pod.pod.metadata.uid.as_deref().unwrap_or_default();
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(uid);
    equal.get(hash as usize % equal.len()).copied()
}

fn normalized(grades: &mut [i64], how: Normalize) {
    let highest = grades.iter().copied().max().unwrap_or(0);
    for grade in grades {
        *grade = match how {
            Normalize::No => *grade,
            Normalize::Best if highest == 0 => 0,
            Normalize::Best => *grade * MAX_SCORE / highest,
            Normalize::Reverse if highest == 0 => MAX_SCORE,
            Normalize::Reverse => MAX_SCORE - *grade * MAX_SCORE / highest,
        };
    }
}

/// How often each reason was given, and what pushing other pods out would do.
fn message(pod: PodInfo<'_>, all: usize, refused: &[(Refusal, &NodeInfo)]) -> String {
    let reasons = refused.iter().flat_map(|(refusal, _)| refusal.reasons.iter().cloned());
    let filters = histogram(reasons);
    let preemption = histogram(refused.iter().map(|(refusal, node)| {
        let victims = node.pods.values().any(|other| other.priority < pod.taken.priority);
        match (refusal.resolvable, victims) {
            (false, _) => "Preemption is not helpful for scheduling".to_owned(),
            (true, false) => "No preemption victims found for incoming pod".to_owned(),
            (true, true) => "Preemption is not supported yet".to_owned(),
        }
    }));
    format!(
        "0/{all} nodes are available: {filters}. \
         preemption: 0/{all} nodes are available: {preemption}."
    )
}

fn histogram(reasons: impl Iterator<Item = String>) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut lines: Vec<String> = counts.iter().map(|(r, count)| format!("{count} {r}")).collect();
    lines.sort();
    lines.join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;
    use crate::snapshot::Taken;

    fn node(name: &str, change: impl Fn(&mut Value)) -> Value {
        let mut node = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": {},
            "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}},
        });
        change(&mut node);
        node
    }

    fn cluster(nodes: &[Value]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for node in nodes {
            snapshot.set_node(Arc::new(serde_json::from_value(node.clone()).unwrap()));
        }
        snapshot
    }

    fn decide(snapshot: &Snapshot, uid: &str, spec: Value) -> Decision {
        let mut spec = spec;
        if spec["containers"].is_null() {
            spec["containers"] = json!([{"name": "c"}]);
        }
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": spec})).unwrap();
        let taken = Taken::by(pod.spec.as_ref().unwrap());
        schedule(PodInfo { pod: &pod, taken: &taken }, snapshot)
    }

    fn cpu(amount: &str) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": amount}}}]})
    }

    fn tainted(node: &mut Value) {
        node["spec"] = json!({"taints": [{"key": "dedicated", "effect": "NoSchedule"}]});
    }

    #[test]
    fn reasons_are_counted_in_kubernetes_words() {
        let snapshot = cluster(&[
            node("a", tainted),
            node("b", |_| ()),
            node("c", |n| n["spec"] = json!({"unschedulable": true})),
        ]);
        let expected = "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated \
                        taint(s), 1 node(s) were unschedulable. preemption: 0/3 nodes are \
                        available: 3 Preemption is not helpful for scheduling.";
        assert_eq!(decide(&snapshot, "u", cpu("3")), Decision::Unschedulable(expected.into()));
    }

    #[test]
    fn full_node_could_be_helped_by_preemption_if_there_were_victims() {
        let mut snapshot = cluster(&[node("a", |_| ())]);
        let spec = serde_json::from_value(cpu("800m")).unwrap();
        snapshot.place("other", "a", Taken::by(&spec));
        let expected = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are \
                        available: 1 No preemption victims found for incoming pod.";
        assert_eq!(decide(&snapshot, "u", cpu("500m")), Decision::Unschedulable(expected.into()));
    }

    #[test]
    fn nodes_are_chosen_by_what_the_pod_asks() {
        let snapshot = cluster(&[
            node("a", tainted),
            node("b", |n| n["metadata"]["labels"]["disk"] = "ssd".into()),
            node("c", |_| ()),
        ]);
        let affinity = |operator: &str, values: Value| {
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "disk", "operator": operator, "values": values}]}]}}}})
        };
        let table = [
            (json!({"nodeSelector": {"disk": "ssd"}}), "b"),
            (affinity("In", json!(["hdd", "ssd"])), "b"),
            (affinity("DoesNotExist", json!([])), "c"),
            (json!({"nodeName": "c"}), "c"),
            (json!({"tolerations": [{"operator": "Exists"}], "nodeName": "a"}), "a"),
        ];
        for (spec, expected) in table {
            let decision = decide(&snapshot, "u", spec.clone());
            assert_eq!(decision, Decision::Node(expected.into()), "{spec}");
        }
    }

    #[test]
    fn mn_01_equal_pods_spread_over_equal_nodes() {
        let names = ["a", "b", "c"];
        let mut snapshot = cluster(&names.map(|name| node(name, |_| ())));
        for n in 0..9 {
            let uid = format!("uid-{n}");
            let Decision::Node(name) = decide(&snapshot, &uid, json!({})) else { panic!() };
            let spec = serde_json::from_value(json!({"containers": [{"name": "c"}]})).unwrap();
            snapshot.place(&uid, &name, Taken::by(&spec));
        }
        for (name, info) in snapshot.nodes() {
            assert_eq!(info.pods.len(), 3, "{name}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_scheduled() {
        let snapshot = cluster(&[node("a", |_| ())]);
        let spec = json!({"affinity": {"podAntiAffinity": {}}});
        let Decision::Unschedulable(message) = decide(&snapshot, "u", spec) else { panic!() };
        assert!(message.contains("spec.affinity.podAntiAffinity is not supported"), "{message}");
    }

    #[test]
    fn empty_cluster_says_so() {
        let message = "no nodes available to schedule pods".to_owned();
        assert_eq!(decide(&cluster(&[]), "u", json!({})), Decision::Unschedulable(message));
    }
}
