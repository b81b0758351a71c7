//! What pods ask for and nodes have, in whole units.
//!
//! Counterpart in Kubernetes: `k8s.io/component-helpers/resource` and the scheduler's `framework.Resource`.
//!
//! A pod's request is the sum over its containers, but at least what any init container needs while it runs beside the
//! sidecars started before it, plus overhead. A pod-level request replaces the sum for the resources it names.

use std::collections::BTreeMap;

use apimachinery::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;

/// What a container without a request counts as when nodes are compared (never when they are filtered).
const DEFAULT_MILLI_CPU: i64 = 100;
/// The same for memory: 200 MiB.
const DEFAULT_MEMORY: i64 = 200 << 20;

/// Amounts by resource name: millis for `cpu`, units for all others.
pub type Amounts = BTreeMap<String, i64>;

/// Reads a resource list; what cannot be read counts as nothing, since the API server admits only what can.
pub fn amounts(list: Option<&BTreeMap<String, WireQuantity>>) -> Amounts {
    let read = |(name, quantity): (&String, &WireQuantity)| {
        let quantity = Quantity::from_wire(quantity).ok()?;
        let amount = if name == "cpu" { quantity.milli_value() } else { quantity.value() };
        Some((name.clone(), amount))
    };
    list.into_iter().flatten().filter_map(read).collect()
}

/// What a pod reserves on its node.
pub fn requests(spec: &PodSpec) -> Amounts {
    requests_by(spec, |container| {
        amounts(container.resources.as_ref().and_then(|r| r.requests.as_ref()))
    })
}

/// What a pod counts as when nodes are compared: like [`requests`], with a default for containers without any.
pub fn nonzero_requests(spec: &PodSpec) -> Amounts {
    requests_by(spec, |container| {
        let mut own = amounts(container.resources.as_ref().and_then(|r| r.requests.as_ref()));
        own.entry("cpu".into()).or_insert(DEFAULT_MILLI_CPU);
        own.entry("memory".into()).or_insert(DEFAULT_MEMORY);
        own
    })
}

fn requests_by(spec: &PodSpec, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            raise(&mut peak, &sidecars);
        } else {
            let mut with_sidecars = sidecars.clone();
            add(&mut with_sidecars, &own);
            raise(&mut peak, &with_sidecars);
        }
    }
    raise(&mut total, &peak);
    let pod_level = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    total.extend(amounts(pod_level));
    add(&mut total, &amounts(spec.overhead.as_ref()));
    total
}

/// Adds amounts to others.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

/// Takes amounts from others.
pub fn subtract(from: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        if let Some(rest) = from.get_mut(name) {
            *rest = rest.saturating_sub(*amount);
        }
    }
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let at = to.entry(name.clone()).or_default();
        *at = (*at).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> PodSpec {
        serde_json::from_value(json).unwrap()
    }

    fn cpu(amount: &str) -> serde_json::Value {
        serde_json::json!({"name": "c", "resources": {"requests": {"cpu": amount}}})
    }

    #[test]
    fn requests_follow_the_order_in_which_containers_run() {
        let sidecar = |amount| {
            let mut container = cpu(amount);
            container["restartPolicy"] = "Always".into();
            container
        };
        use serde_json::json;
        let table = [
            (json!({"containers": [cpu("100m"), cpu("0.2")]}), 300),
            (json!({"containers": [cpu("100m")], "initContainers": [cpu("1")]}), 1000),
            (json!({"containers": [cpu("100m")], "initContainers": [sidecar("200m")]}), 300),
            (
                json!({"containers": [cpu("1m")], "initContainers": [sidecar("200m"), cpu("1")]}),
                1200,
            ),
            (
                json!({"containers": [cpu("1m")], "initContainers": [cpu("1"), sidecar("200m")]}),
                1000,
            ),
            (json!({"containers": [cpu("1")], "overhead": {"cpu": "250m"}}), 1250),
            (json!({"containers": [cpu("1")], "resources": {"requests": {"cpu": "2"}}}), 2000),
        ];
        for (pod, expected) in table {
            assert_eq!(requests(&spec(pod.clone())).get("cpu"), Some(&expected), "{pod}");
        }
    }

    #[test]
    fn containers_without_requests_weigh_something_when_nodes_are_compared() {
        let pod = spec(serde_json::json!({"containers": [{"name": "a"}, {"name": "b"}]}));
        assert!(requests(&pod).is_empty());
        assert_eq!(nonzero_requests(&pod)["cpu"], 2 * DEFAULT_MILLI_CPU);
    }
}
