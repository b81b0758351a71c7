//! How the lists and maps of `apps`, `autoscaling`, `batch`, `node.k8s.io`, `policy` and `scheduling.k8s.io` merge.
//!
//! Counterpart in Kubernetes: the merge marks on the Go types of those groups.

use super::Row;
use crate::schema::fact::{ATOMIC, ATOMIC_MAP, REPLACED, RETAIN_KEYS, SET, keyed, merged};

pub(super) const ROWS: &[Row] = &[
    ("apps.v1.DaemonSetStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("apps.v1.DeploymentSpec", &[("strategy", RETAIN_KEYS)]),
    ("apps.v1.DeploymentStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("apps.v1.ReplicaSetStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("apps.v1.StatefulSetSpec", &[("volumeClaimTemplates", ATOMIC)]),
    ("apps.v1.StatefulSetStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("autoscaling.v2.HPAScalingRules", &[("policies", ATOMIC)]),
    ("autoscaling.v2.HorizontalPodAutoscalerSpec", &[("metrics", ATOMIC)]),
    (
        "autoscaling.v2.HorizontalPodAutoscalerStatus",
        &[("conditions", merged("type").keyed(&["type"])), ("currentMetrics", ATOMIC)],
    ),
    ("batch.v1.CronJobStatus", &[("active", ATOMIC)]),
    ("batch.v1.JobStatus", &[("conditions", merged("type").atomic())]),
    ("batch.v1.PodFailurePolicy", &[("rules", ATOMIC)]),
    ("batch.v1.PodFailurePolicyOnExitCodesRequirement", &[("values", SET)]),
    ("batch.v1.PodFailurePolicyRule", &[("onPodConditions", ATOMIC)]),
    ("batch.v1.SuccessPolicy", &[("rules", ATOMIC)]),
    ("batch.v1.UncountedTerminatedPods", &[("failed", SET), ("succeeded", SET)]),
    ("node.v1.Scheduling", &[("nodeSelector", ATOMIC_MAP), ("tolerations", ATOMIC)]),
    ("policy.v1.PodDisruptionBudgetSpec", &[("selector", REPLACED)]),
    ("policy.v1.PodDisruptionBudgetStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("scheduling.v1alpha2.PodGroupSchedulingConstraints", &[("topology", ATOMIC)]),
    (
        "scheduling.v1alpha2.PodGroupSpec",
        &[("resourceClaims", merged("name").keyed(&["name"]).retaining())],
    ),
    (
        "scheduling.v1alpha2.PodGroupStatus",
        &[
            ("conditions", merged("type").keyed(&["type"])),
            ("resourceClaimStatuses", merged("name").keyed(&["name"]).retaining()),
        ],
    ),
    (
        "scheduling.v1alpha2.PodGroupTemplate",
        &[("resourceClaims", merged("name").keyed(&["name"]).retaining())],
    ),
    ("scheduling.v1alpha2.WorkloadSpec", &[("podGroupTemplates", keyed(&["name"]))]),
];
