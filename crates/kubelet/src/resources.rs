//! From requests and limits to the numbers the kernel takes.
//!
//! Counterpart in Kubernetes: `calculateLinuxResources`, `cm/helpers_linux.go`, `qos/policy.go` and
//! `apis/core/v1/helper/qos`. Invariant: pure; a quantity that does not parse counts as absent, as validation has refused it long before.

use std::collections::BTreeMap;

use apimachinery::quantity;
use k8s_cri::v1 as cri;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Length of the kernel's CPU accounting period.
const CFS_PERIOD_MICROS: i64 = 100_000;
/// The kernel refuses smaller quotas.
const MIN_QUOTA_MICROS: i64 = 1_000;
/// Limits of `cpu.shares`.
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
const SHARES_PER_CPU: i64 = 1_024;
/// Guaranteed containers are killed last.
const GUARANTEED_OOM: i64 = -997;
/// Best-effort containers are killed first.
const BEST_EFFORT_OOM: i64 = 1_000;

type ResourceList = BTreeMap<String, Quantity>;

/// `status.qosClass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has limits for CPU and memory and requests as much.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl QosClass {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "Guaranteed",
            QosClass::Burstable => "Burstable",
            QosClass::BestEffort => "BestEffort",
        }
    }
}

/// The whole value, rounded up; `None` when absent, unreadable or zero.
fn value(list: Option<&ResourceList>, name: &str) -> Option<i64> {
    let quantity = quantity::Quantity::parse(&list?.get(name)?.0).ok()?;
    Some(quantity.value()).filter(|value| *value > 0)
}

fn milli_value(list: Option<&ResourceList>, name: &str) -> Option<i64> {
    let quantity = quantity::Quantity::parse(&list?.get(name)?.0).ok()?;
    Some(quantity.milli_value()).filter(|value| *value > 0)
}

fn requests(container: &Container) -> Option<&ResourceList> {
    container.resources.as_ref().and_then(|resources| resources.requests.as_ref())
}

fn limits(container: &Container) -> Option<&ResourceList> {
    container.resources.as_ref().and_then(|resources| resources.limits.as_ref())
}

/// The class of a pod.
pub fn qos_class(spec: &PodSpec) -> QosClass {
    let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let any = |list: Option<&ResourceList>| {
        ["cpu", "memory"].iter().any(|name| milli_value(list, name).is_some())
    };
    if !containers().any(|container| any(requests(container)) || any(limits(container))) {
        return QosClass::BestEffort;
    }
    let equal = |container: &Container, name: &str| {
        let limit = milli_value(limits(container), name);
        let request = milli_value(requests(container), name).or(limit);
        limit.is_some() && limit == request
    };
    let guaranteed =
        containers().all(|container| equal(container, "cpu") && equal(container, "memory"));
    if guaranteed { QosClass::Guaranteed } else { QosClass::Burstable }
}

/// The kernel's numbers for a container on a node with this much memory.
pub fn linux_resources(
    spec: &PodSpec,
    container: &Container,
    memory_capacity_bytes: i64,
) -> cri::LinuxContainerResources {
    let cpu_limit = milli_value(limits(container), "cpu");
    let cpu_request = match requests(container).and_then(|list| list.get("cpu")) {
        Some(_) => milli_value(requests(container), "cpu"),
        None => cpu_limit,
    };
    cri::LinuxContainerResources {
        cpu_period: CFS_PERIOD_MICROS,
        cpu_quota: cpu_limit.map_or(0, quota),
        cpu_shares: cpu_request.map_or(MIN_SHARES, shares),
        memory_limit_in_bytes: value(limits(container), "memory").unwrap_or(0),
        oom_score_adj: oom_score_adj(spec, container, memory_capacity_bytes),
        hugepage_limits: hugepages(container),
        ..cri::LinuxContainerResources::default()
    }
}

fn shares(milli_cpu: i64) -> i64 {
    (milli_cpu * SHARES_PER_CPU / 1_000).clamp(MIN_SHARES, MAX_SHARES)
}

fn quota(milli_cpu: i64) -> i64 {
    (milli_cpu * CFS_PERIOD_MICROS / 1_000).max(MIN_QUOTA_MICROS)
}

/// Priority from which on a pod counts as critical for the node (`system-node-critical`).
const SYSTEM_NODE_CRITICAL: i32 = 2_000_001_000;

fn oom_score_adj(spec: &PodSpec, container: &Container, memory_capacity_bytes: i64) -> i64 {
    if spec.priority.is_some_and(|priority| priority >= SYSTEM_NODE_CRITICAL) {
        return GUARANTEED_OOM;
    }
    match qos_class(spec) {
        QosClass::Guaranteed => GUARANTEED_OOM,
        QosClass::BestEffort => BEST_EFFORT_OOM,
        QosClass::Burstable => {
            let request = value(requests(container), "memory").unwrap_or(0);
            let score = 1_000 - 1_000 * request / memory_capacity_bytes.max(1);
            score.clamp(1_000 + GUARANTEED_OOM, BEST_EFFORT_OOM - 1)
        }
    }
}

fn hugepages(container: &Container) -> Vec<cri::HugepageLimit> {
    let sizes = limits(container)
        .into_iter()
        .flatten()
        .filter_map(|(name, _)| name.strip_prefix("hugepages-").map(|size| (name, size)));
    let limit = |(name, size): (&String, &str)| cri::HugepageLimit {
        // The kernel says 2MB where Kubernetes says 2Mi.
        page_size: size.replace('i', "") + "B",
        limit: value(limits(container), name)
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or(0),
    };
    sizes.map(limit).collect()
}

/// The value of an `env.valueFrom.resourceFieldRef`: `limits.cpu`, `requests.memory`, … in units of the divisor, rounded up.
///
/// A limit or request that is not set counts as what the node has to give.
///
/// # Errors
/// When `resource` is not a field the API knows.
pub fn resource_field(
    container: &Container,
    resource: &str,
    divisor: Option<&Quantity>,
    allocatable: &ResourceList,
) -> Result<String, String> {
    let (kind, name) = resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {resource}"))?;
    let own = match kind {
        "limits" => limits(container),
        "requests" => requests(container),
        _ => return Err(format!("unsupported container resource : {resource}")),
    };
    let limited = kind == "limits";
    let node = Some(allocatable).filter(|_| limited);
    let divisor: Option<ResourceList> =
        divisor.map(|divisor| [(name.to_owned(), divisor.clone())].into());
    let divide = |amount: Option<i64>, by: Option<i64>, one: i64| {
        let by = by.unwrap_or(one);
        (amount.unwrap_or(0) + by - 1).div_euclid(by).to_string()
    };
    Ok(match name {
        "cpu" => divide(
            milli_value(own, name).or_else(|| milli_value(node, name)),
            milli_value(divisor.as_ref(), name),
            1_000,
        ),
        _ => {
            divide(value(own, name).or_else(|| value(node, name)), value(divisor.as_ref(), name), 1)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ResourceRequirements;

    fn list(pairs: &[(&str, &str)]) -> Option<ResourceList> {
        let pair = |(name, value): &(&str, &str)| (name.to_string(), Quantity(value.to_string()));
        (!pairs.is_empty()).then(|| pairs.iter().map(pair).collect())
    }

    fn spec(requests: &[(&str, &str)], limits: &[(&str, &str)]) -> PodSpec {
        let resources =
            ResourceRequirements { requests: list(requests), limits: list(limits), claims: None };
        PodSpec {
            containers: vec![Container { resources: Some(resources), ..Container::default() }],
            ..PodSpec::default()
        }
    }

    #[test]
    fn qos_class_follows_requests_and_limits() {
        let both = [("cpu", "500m"), ("memory", "64Mi")];
        assert_eq!(qos_class(&spec(&[], &[])), QosClass::BestEffort);
        assert_eq!(qos_class(&spec(&both, &both)), QosClass::Guaranteed);
        assert_eq!(qos_class(&spec(&[], &both)), QosClass::Guaranteed);
        assert_eq!(
            qos_class(&spec(&both, &[("cpu", "0.5"), ("memory", "65536Ki")])),
            QosClass::Guaranteed
        );
        assert_eq!(qos_class(&spec(&[("cpu", "1")], &[])), QosClass::Burstable);
        assert_eq!(qos_class(&spec(&[], &[("cpu", "1")])), QosClass::Burstable);
        assert_eq!(qos_class(&spec(&[("cpu", "0")], &[])), QosClass::BestEffort);
    }

    #[test]
    fn linux_resources_match_kubernetes() {
        let gib = 1 << 30;
        let of = |requests: &[_], limits: &[_]| {
            let spec = spec(requests, limits);
            let made = linux_resources(&spec, &spec.containers[0], 4 * gib);
            (made.cpu_shares, made.cpu_quota, made.memory_limit_in_bytes, made.oom_score_adj)
        };
        assert_eq!(of(&[], &[]), (2, 0, 0, 1000));
        assert_eq!(of(&[("cpu", "500m")], &[]), (512, 0, 0, 999));
        assert_eq!(
            of(&[("cpu", "100m"), ("memory", "1Gi")], &[("cpu", "2"), ("memory", "2Gi")]),
            (102, 200_000, 2 * gib, 750)
        );
        assert_eq!(of(&[], &[("cpu", "1m"), ("memory", "64Mi")]), (2, 1_000, 64 << 20, -997));
    }

    #[test]
    fn resource_field_divides_rounding_up() {
        let spec = spec(&[("memory", "33Mi")], &[("cpu", "1500m")]);
        let container = &spec.containers[0];
        let node = list(&[("cpu", "4"), ("memory", "8Gi")]).expect("list");
        let of = |field: &str, divisor: &str| {
            resource_field(container, field, Some(&Quantity(divisor.into())), &node)
        };
        assert_eq!(of("limits.cpu", "1"), Ok("2".into()));
        assert_eq!(of("limits.cpu", "1m"), Ok("1500".into()));
        assert_eq!(of("requests.memory", "32Mi"), Ok("2".into()));
        assert_eq!(of("limits.memory", "1Gi"), Ok("8".into()));
        assert_eq!(
            resource_field(container, "limits.memory", None, &node),
            Ok((8_i64 << 30).to_string())
        );
        assert!(of("cpu", "1").is_err());
    }
}
