//! The quality of service class of a pod, from the requests and limits of its containers.
//!
//! Counterpart in Kubernetes: `pkg/apis/core/v1/helper/qos`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};

use crate::quantities::{Amount, ResourceList, amount, is_positive};
use crate::report::list;

const COMPUTE: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed` when every container limits CPU and memory and requests just that, `BestEffort` when none asks for
/// anything, `Burstable` otherwise. Resources of the pod as a whole stand before those of its containers.
pub fn class(spec: &PodSpec) -> &'static str {
    let mut totals =
        Totals { requests: BTreeMap::new(), limits: BTreeMap::new(), all_limited: true };
    if let Some(pod) = &spec.resources {
        totals.add(pod);
    } else {
        for container in spec.containers.iter().chain(list(&spec.init_containers)) {
            totals.add(container.resources.as_ref().unwrap_or(&ResourceRequirements::default()));
        }
    }
    totals.class()
}

struct Totals {
    requests: BTreeMap<&'static str, Amount>,
    limits: BTreeMap<&'static str, Amount>,
    all_limited: bool,
}

impl Totals {
    fn add(&mut self, resources: &ResourceRequirements) {
        sum(&mut self.requests, &resources.requests);
        let limited = sum(&mut self.limits, &resources.limits);
        self.all_limited &= limited == COMPUTE.len();
    }

    fn class(&self) -> &'static str {
        if self.requests.is_empty() && self.limits.is_empty() {
            "BestEffort"
        } else if self.all_limited && self.requests == self.limits {
            "Guaranteed"
        } else {
            "Burstable"
        }
    }
}

/// Adds the positive amounts of CPU and memory; returns of how many of the two there were any.
fn sum(totals: &mut BTreeMap<&'static str, Amount>, list: &Option<ResourceList>) -> usize {
    let mut found = 0;
    for name in COMPUTE {
        let Some(amount) =
            list.as_ref().and_then(|l| l.get(name)).and_then(amount).filter(is_positive)
        else {
            continue;
        };
        found += 1;
        let total = totals.entry(name).or_default();
        *total = total.add(amount);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::class;

    #[test]
    fn class_follows_requests_and_limits() {
        let both = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1Gi"}});
        let table = [
            (json!([{"name": "a"}]), "BestEffort"),
            (json!([{"name": "a", "resources": {"requests": {"cpu": "0"}}}]), "BestEffort"),
            (
                json!([{"name": "a", "resources": {"requests": {"nvidia.com/gpu": "1"}}}]),
                "BestEffort",
            ),
            (json!([{"name": "a", "resources": {"requests": {"cpu": "1"}}}]), "Burstable"),
            (json!([{"name": "a", "resources": both}]), "Guaranteed"),
            (json!([{"name": "a", "resources": both}, {"name": "b"}]), "Burstable"),
        ];
        for (containers, expected) in table {
            let spec = serde_json::from_value(json!({"containers": containers})).expect("a spec");
            assert_eq!(class(&spec), expected, "{containers}");
        }
    }
}
