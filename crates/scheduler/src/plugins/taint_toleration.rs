//! Keeps pods off nodes whose taints they do not tolerate. Counterpart: `TaintToleration`.

use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

use super::{PodInfo, Refusal};
use crate::snapshot::NodeInfo;

/// Refuses a node with a taint `NoSchedule` or `NoExecute` that the pod does not tolerate.
pub fn filter(pod: PodInfo<'_>, node: &NodeInfo) -> Option<Refusal> {
    let hard = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    match taints(node).filter(hard).any(|taint| !tolerates(pod.pod, taint)) {
        true => Refusal::fixed("node(s) had untolerated taint(s)"),
        false => None,
    }
}

/// How many taints `PreferNoSchedule` the pod does not tolerate; fewer is better.
pub fn score(pod: PodInfo<'_>, node: &NodeInfo) -> i64 {
    let soft = taints(node).filter(|taint| taint.effect == "PreferNoSchedule");
    soft.filter(|taint| !tolerates(pod.pod, taint)).count() as i64
}

fn taints(node: &NodeInfo) -> impl Iterator<Item = &Taint> {
    node.node.spec.iter().flat_map(|spec| spec.taints.iter().flatten())
}

/// Whether one of the pod's tolerations covers a taint.
pub fn tolerates(pod: &Pod, taint: &Taint) -> bool {
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    tolerations.into_iter().any(|toleration| covers(toleration, taint))
}

fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let any = |field: &Option<String>| field.as_deref().is_none_or(str::is_empty);
    let effect = any(&toleration.effect) || toleration.effect.as_deref() == Some(&taint.effect);
    let key = any(&toleration.key) || toleration.key.as_deref() == Some(&taint.key);
    let taint_value = taint.value.as_deref().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().ok();
    let matches = match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => value == taint_value,
        "Gt" => number(taint_value).zip(number(value)).is_some_and(|(taint, own)| taint > own),
        "Lt" => number(taint_value).zip(number(value)).is_some_and(|(taint, own)| taint < own),
        _ => false,
    };
    effect && key && matches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_cover_by_key_operator_value_and_effect() {
        let taint = |json| serde_json::from_value::<Taint>(json).unwrap();
        let toleration = |json| serde_json::from_value::<Toleration>(json).unwrap();
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let subject = taint(json(r#"{"key": "k", "value": "v", "effect": "NoSchedule"}"#));
        let table = [
            (r#"{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}"#, true),
            (r#"{"key": "k", "value": "v"}"#, true),
            (r#"{"key": "k", "value": "w"}"#, false),
            (r#"{"key": "k", "operator": "Exists"}"#, true),
            (r#"{"key": "other", "operator": "Exists"}"#, false),
            (r#"{"operator": "Exists"}"#, true),
            (r#"{"operator": "Exists", "effect": "NoExecute"}"#, false),
        ];
        for (text, expected) in table {
            assert_eq!(covers(&toleration(json(text)), &subject), expected, "{text}");
        }
    }
}
