//! Pods stay five minutes on a node that is not ready or not reachable.
//!
//! Counterpart in Kubernetes: `plugin/pkg/admission/defaulttolerationseconds`.

use apimachinery::status::StatusError;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, Toleration};

use super::{Creation, Plugin, Replacement};

/// Kubernetes' `--default-not-ready-toleration-seconds` and `--default-unreachable-toleration-seconds`.
const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub(super) struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    async fn create(&self, creation: &mut Creation<'_>) -> Result<(), StatusError> {
        if let Some(pod) = creation.typed() {
            tolerate(pod);
        }
        Ok(())
    }

    fn update(&self, replacement: &mut Replacement<'_>) -> Result<(), StatusError> {
        if let Some((pod, _)) = replacement.whole() {
            tolerate(pod);
        }
        Ok(())
    }
}

fn tolerate(pod: &mut Pod) {
    let tolerations = pod.spec.get_or_insert_default().tolerations.get_or_insert_default();
    let missing = TAINTS
        .map(|taint| (taint, !tolerations.iter().any(|toleration| covers(toleration, taint))));
    tolerations.extend(
        missing.into_iter().filter(|(_, missing)| *missing).map(|(taint, _)| toleration(taint)),
    );
}

fn covers(toleration: &Toleration, taint: &str) -> bool {
    let is = |field: &Option<String>, wanted: &str| {
        field.as_deref().is_none_or(|text| text.is_empty() || text == wanted)
    };
    is(&toleration.key, taint) && is(&toleration.effect, "NoExecute")
}

fn toleration(taint: &str) -> Toleration {
    Toleration {
        key: Some(taint.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(SECONDS),
        ..Toleration::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodSpec;

    fn keys(tolerations: Vec<Toleration>) -> Vec<String> {
        let mut pod = Pod {
            spec: Some(PodSpec { tolerations: Some(tolerations), ..PodSpec::default() }),
            ..Pod::default()
        };
        tolerate(&mut pod);
        let tolerations = pod.spec.and_then(|spec| spec.tolerations).unwrap_or_default();
        tolerations.into_iter().map(|toleration| toleration.key.unwrap_or_default()).collect()
    }

    #[test]
    fn tolerations_missing_ones_are_added_once() {
        assert_eq!(keys(vec![]), TAINTS);
        assert_eq!(keys(vec![toleration(TAINTS[1])]), [TAINTS[1], TAINTS[0]]);
        assert_eq!(
            keys(vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }]),
            [""]
        );
    }
}
