//! Which node ports a Service needs, pure.
//!
//! Counterpart in Kubernetes: `initNodePorts`, `updateNodePorts` and `patchAllocatedValues` of
//! `pkg/registry/core/service/storage`. Ports with one number, of TCP and UDP say, share a node port when they are created.

use std::collections::{BTreeMap, BTreeSet};

use api::core::service::needs_health_check;
use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

/// Where a node port goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// To the port with this index.
    Port(usize),
    /// To `healthCheckNodePort`.
    HealthCheck,
}

/// A node port that is needed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PortWish {
    pub(super) slot: Slot,
    pub(super) wished: Option<i32>,
}

/// Whether Services of this type have node ports.
fn has_node_ports(spec: &ServiceSpec) -> bool {
    matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"))
}

/// Whether ports that wish for no node port get one.
fn allocates(spec: &ServiceSpec) -> bool {
    match spec.type_.as_deref() {
        Some("NodePort") => true,
        Some("LoadBalancer") => spec.allocate_load_balancer_node_ports.unwrap_or(true),
        _ => false,
    }
}

fn listed(spec: &ServiceSpec) -> &[ServicePort] {
    spec.ports.as_deref().unwrap_or_default()
}

fn number(port: &ServicePort) -> Option<i32> {
    port.node_port.filter(|number| *number != 0)
}

fn numbers(spec: &ServiceSpec) -> BTreeSet<i32> {
    listed(spec).iter().filter_map(number).collect()
}

fn health_check(spec: &ServiceSpec) -> Option<i32> {
    spec.health_check_node_port.filter(|number| *number != 0)
}

/// The node ports that a Service names.
pub(super) fn held_by(spec: &ServiceSpec) -> BTreeSet<u16> {
    let named = numbers(spec).into_iter().chain(health_check(spec));
    named.filter_map(|number| u16::try_from(number).ok()).collect()
}

/// Whether a Service of this type can hold a node port that it names.
pub(super) fn may_hold(spec: &ServiceSpec, port: u16) -> bool {
    let checks = health_check(spec) == Some(port.into()) && needs_health_check(spec);
    checks || (has_node_ports(spec) && numbers(spec).contains(&port.into()))
}

/// What a new Service needs.
pub(super) fn of_new(spec: &ServiceSpec) -> Vec<PortWish> {
    let mut wishes = Vec::new();
    if has_node_ports(spec) {
        let mut first: BTreeMap<i32, Option<i32>> = BTreeMap::new();
        for (index, port) in listed(spec).iter().enumerate() {
            let explicit = number(port);
            if explicit.is_none() && !allocates(spec) {
                continue;
            }
            let slot = Slot::Port(index);
            match first.get(&port.port) {
                None => {
                    let same = listed(spec).iter().filter(|other| other.port == port.port);
                    let wished = same.filter_map(number).next();
                    first.insert(port.port, wished);
                    wishes.push(PortWish { slot, wished });
                }
                Some(shared) if explicit.is_none() || explicit == *shared => {}
                Some(_) => wishes.push(PortWish { slot, wished: explicit }),
            }
        }
    }
    if needs_health_check(spec) {
        wishes.push(PortWish { slot: Slot::HealthCheck, wished: health_check(spec) });
    }
    wishes
}

/// Keeps the node ports of ports that an update names without them.
pub(super) fn keep(spec: &mut ServiceSpec, before: &ServiceSpec) {
    if has_node_ports(spec) && has_node_ports(before) {
        let taken: BTreeSet<i32> = numbers(spec).intersection(&numbers(before)).copied().collect();
        let known: BTreeMap<Option<&str>, i32> = listed(before)
            .iter()
            .filter_map(|port| Some((port.name.as_deref(), number(port)?)))
            .collect();
        for port in spec.ports.iter_mut().flatten().filter(|port| number(port).is_none()) {
            let old = known.get(&port.name.as_deref()).filter(|old| !taken.contains(*old));
            port.node_port = old.copied();
        }
    }
    if needs_health_check(spec) && needs_health_check(before) && health_check(spec).is_none() {
        spec.health_check_node_port = before.health_check_node_port;
    }
}

/// What a Service comes to need by an update.
pub(super) fn of_changed(spec: &ServiceSpec, before: &ServiceSpec) -> Vec<PortWish> {
    let mut wishes = Vec::new();
    let mut known = numbers(before);
    for (index, port) in listed(spec).iter().enumerate().filter(|_| has_node_ports(spec)) {
        let wished = number(port);
        let needed = match wished {
            Some(number) => known.insert(number),
            None => allocates(spec),
        };
        if needed {
            wishes.push(PortWish { slot: Slot::Port(index), wished });
        }
    }
    if needs_health_check(spec) && !needs_health_check(before) {
        wishes.push(PortWish { slot: Slot::HealthCheck, wished: health_check(spec) });
    }
    wishes
}

/// Writes node ports where they go.
pub(super) fn fill(spec: &mut ServiceSpec, granted: &[(Slot, u16)]) {
    let mut shared: BTreeMap<i32, i32> = BTreeMap::new();
    for (slot, granted) in granted {
        let granted = i32::from(*granted);
        match slot {
            Slot::HealthCheck => spec.health_check_node_port = Some(granted),
            Slot::Port(index) => {
                if let Some(port) = spec.ports.as_mut().and_then(|ports| ports.get_mut(*index)) {
                    port.node_port = Some(granted);
                    shared.entry(port.port).or_insert(granted);
                }
            }
        }
    }
    if allocates(spec) {
        for port in spec.ports.iter_mut().flatten().filter(|port| number(port).is_none()) {
            port.node_port = shared.get(&port.port).copied();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: Value) -> ServiceSpec {
        serde_json::from_value(value).expect("a spec")
    }

    fn wishes(wishes: &[PortWish]) -> String {
        let shown: Vec<String> = wishes
            .iter()
            .map(|wish| {
                let slot = match wish.slot {
                    Slot::Port(index) => index.to_string(),
                    Slot::HealthCheck => "health".to_owned(),
                };
                wish.wished.map_or_else(|| slot.clone(), |wished| format!("{slot}={wished}"))
            })
            .collect();
        shown.join(" ")
    }

    #[test]
    fn node_ports_of_a_new_service_are_those_its_type_needs() {
        let two = |first: i32, second: i32| json!([{"port": 53, "protocol": "UDP", "nodePort": first}, {"port": 53, "protocol": "TCP", "nodePort": second}]);
        for (service, expected) in [
            (json!({"type": "ClusterIP", "ports": two(0, 0)}), ""),
            (json!({"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}), "0 1"),
            (json!({"type": "NodePort", "ports": two(0, 0)}), "0"),
            (json!({"type": "NodePort", "ports": two(0, 30001)}), "0=30001"),
            (json!({"type": "NodePort", "ports": two(30001, 30001)}), "0=30001"),
            (json!({"type": "NodePort", "ports": two(30001, 30002)}), "0=30001 1=30002"),
            (json!({"type": "LoadBalancer", "ports": two(0, 0)}), "0"),
            (
                json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 1}, {"port": 2, "nodePort": 30003}]}),
                "1=30003",
            ),
            (
                json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 1}]}),
                "0 health",
            ),
        ] {
            assert_eq!(wishes(&of_new(&spec(service.clone()))), expected, "{service}");
        }
    }

    #[test]
    fn node_ports_of_a_changed_service_are_kept_by_name() {
        let before = spec(json!({"type": "NodePort", "ports": [
            {"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 30002}]}));
        for (service, kept, expected) in [
            (json!({"ports": [{"name": "b", "port": 9}]}), vec![Some(30002)], ""),
            (json!({"ports": [{"name": "c", "port": 1}]}), vec![None], "0"),
            (
                json!({"ports": [{"name": "c", "port": 1, "nodePort": 30001}, {"name": "a", "port": 3}]}),
                vec![Some(30001), None],
                "1",
            ),
            (
                json!({"ports": [{"name": "a", "port": 1, "nodePort": 30009}]}),
                vec![Some(30009)],
                "0=30009",
            ),
        ] {
            let mut new = spec(service.clone());
            new.type_ = Some("NodePort".to_owned());
            keep(&mut new, &before);
            let got: Vec<Option<i32>> = listed(&new).iter().map(|port| port.node_port).collect();
            assert_eq!(
                (got, wishes(&of_changed(&new, &before))),
                (kept, expected.to_owned()),
                "{service}"
            );
        }
    }

    #[test]
    fn node_ports_granted_are_shared_by_ports_with_one_number() {
        let mut new = spec(json!({"type": "NodePort", "ports": [
            {"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80}]}));
        fill(&mut new, &[(Slot::Port(0), 30100), (Slot::Port(2), 30101)]);
        assert_eq!(numbers(&new), BTreeSet::from([30100, 30101]));
        assert_eq!(listed(&new)[1].node_port, Some(30100));
    }
}
