//! Fields that Kubernetes always writes, because its Go types embed an object instead of pointing to one. Who owns a field
//! depends on it: what is always there was not added by anybody.
//!
//! Counterpart in Kubernetes: fields of struct type in `types.go`. `metadata`, `spec` and `status` are such fields everywhere;
//! this table has the others.

/// Type and field.
const EMBEDDED: &[(&str, &str)] = &[
    ("admissionregistration.v1.MutatingWebhook", "clientConfig"),
    ("admissionregistration.v1.ValidatingWebhook", "clientConfig"),
    ("apps.v1.DaemonSetSpec", "template"),
    ("apps.v1.DaemonSetSpec", "updateStrategy"),
    ("apps.v1.DeploymentSpec", "strategy"),
    ("apps.v1.DeploymentSpec", "template"),
    ("apps.v1.ReplicaSetSpec", "template"),
    ("apps.v1.StatefulSetSpec", "template"),
    ("apps.v1.StatefulSetSpec", "updateStrategy"),
    ("authentication.v1.SelfSubjectReviewStatus", "userInfo"),
    ("authentication.v1.TokenReviewStatus", "user"),
    ("autoscaling.v1.HorizontalPodAutoscalerSpec", "scaleTargetRef"),
    ("autoscaling.v2.ContainerResourceMetricSource", "target"),
    ("autoscaling.v2.ContainerResourceMetricStatus", "current"),
    ("autoscaling.v2.ExternalMetricSource", "metric"),
    ("autoscaling.v2.ExternalMetricSource", "target"),
    ("autoscaling.v2.ExternalMetricStatus", "current"),
    ("autoscaling.v2.ExternalMetricStatus", "metric"),
    ("autoscaling.v2.HorizontalPodAutoscalerSpec", "scaleTargetRef"),
    ("autoscaling.v2.ObjectMetricSource", "describedObject"),
    ("autoscaling.v2.ObjectMetricSource", "metric"),
    ("autoscaling.v2.ObjectMetricSource", "target"),
    ("autoscaling.v2.ObjectMetricStatus", "current"),
    ("autoscaling.v2.ObjectMetricStatus", "describedObject"),
    ("autoscaling.v2.ObjectMetricStatus", "metric"),
    ("autoscaling.v2.PodsMetricSource", "metric"),
    ("autoscaling.v2.PodsMetricSource", "target"),
    ("autoscaling.v2.PodsMetricStatus", "current"),
    ("autoscaling.v2.PodsMetricStatus", "metric"),
    ("autoscaling.v2.ResourceMetricSource", "target"),
    ("autoscaling.v2.ResourceMetricStatus", "current"),
    ("batch.v1.CronJobSpec", "jobTemplate"),
    ("batch.v1.JobSpec", "template"),
    ("core.v1.Binding", "target"),
    ("core.v1.Container", "resources"),
    ("core.v1.ContainerStatus", "lastState"),
    ("core.v1.ContainerStatus", "state"),
    ("core.v1.EphemeralContainer", "resources"),
    ("core.v1.Event", "involvedObject"),
    ("core.v1.Event", "source"),
    ("core.v1.NodeDaemonEndpoints", "kubeletEndpoint"),
    ("core.v1.NodeStatus", "daemonEndpoints"),
    ("core.v1.NodeStatus", "nodeInfo"),
    ("core.v1.PersistentVolumeClaimSpec", "resources"),
    ("core.v1.PodTemplate", "template"),
    ("core.v1.PreferredSchedulingTerm", "preference"),
    ("core.v1.ServiceStatus", "loadBalancer"),
    ("core.v1.WeightedPodAffinityTerm", "podAffinityTerm"),
    ("discovery.v1.Endpoint", "conditions"),
    ("events.v1.Event", "deprecatedSource"),
    ("events.v1.Event", "regarding"),
    ("flowcontrol.v1.FlowSchemaSpec", "priorityLevelConfiguration"),
    ("flowcontrol.v1.LimitedPriorityLevelConfiguration", "limitResponse"),
    ("networking.v1.HTTPIngressPath", "backend"),
    ("networking.v1.IngressServiceBackend", "port"),
    ("networking.v1.IngressStatus", "loadBalancer"),
    ("networking.v1.NetworkPolicySpec", "podSelector"),
    ("rbac.v1.ClusterRoleBinding", "roleRef"),
    ("rbac.v1.RoleBinding", "roleRef"),
    ("resource.v1.AllocationResult", "devices"),
    ("resource.v1.ResourceClaimSpec", "devices"),
    ("resource.v1.ResourceSliceSpec", "pool"),
    ("storage.v1.VolumeAttachmentSpec", "source"),
];

/// Whether the field of that definition, which holds an object, is always there.
pub(super) fn is_embedded(definition: &str, field: &str) -> bool {
    matches!(field, "metadata" | "spec" | "status")
        || EMBEDDED.iter().any(|(name, embedded)| {
            *embedded == field && definition.strip_prefix("io.k8s.api.") == Some(*name)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_fields_of_known_types_exist() {
        let set = crate::schema::schema_set();
        for (name, field) in EMBEDDED {
            let Some(schema) = set.get(&format!("io.k8s.api.{name}")) else { continue };
            assert!(schema.fields.contains_key(*field), "{name}.{field}");
        }
        assert!(is_embedded("io.k8s.api.core.v1.Container", "resources"));
        assert!(!is_embedded("io.k8s.api.core.v1.Container", "securityContext"));
    }
}
