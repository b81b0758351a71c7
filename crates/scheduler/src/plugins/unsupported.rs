//! What a pod may ask of a scheduler that no plugin here understands yet: such a pod is held back, with the field named.

use k8s_openapi::api::core::v1::Pod;

/// The first field that asks for something unknown.
pub fn field(pod: &Pod) -> Option<&'static str> {
    let spec = pod.spec.as_ref()?;
    let affinity = spec.affinity.as_ref();
    let asked = [
        (affinity.is_some_and(|a| a.pod_affinity.is_some()), "spec.affinity.podAffinity"),
        (affinity.is_some_and(|a| a.pod_anti_affinity.is_some()), "spec.affinity.podAntiAffinity"),
        (
            spec.topology_spread_constraints.as_ref().is_some_and(|list| !list.is_empty()),
            "spec.topologySpreadConstraints",
        ),
        (spec.resource_claims.as_ref().is_some_and(|list| !list.is_empty()), "spec.resourceClaims"),
        (
            spec.volumes.iter().flatten().any(|v| v.persistent_volume_claim.is_some()),
            "spec.volumes[*].persistentVolumeClaim",
        ),
    ];
    asked.into_iter().find_map(|(asks, field)| asks.then_some(field))
}
