//! Resources of containers and of pods as a whole: defaults, sums, validation.
//!
//! Counterpart in Kubernetes: `k8s.io/component-helpers/resource` and the resource parts of `pkg/apis/core/validation`.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::field::{self, ErrorList, Path};
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::columns::is_sidecar;
use crate::quantities::{self, Amount, ResourceList, amount, is_huge_page, overcommit_allowed};
use crate::report::{Report, list};

type Sums = BTreeMap<String, Amount>;

/// Which of the two lists of a container is meant.
#[derive(Clone, Copy)]
enum Side {
    Requests,
    Limits,
}

fn side(container: &Container, side: Side) -> impl Iterator<Item = (&String, Amount)> {
    let resources = container.resources.as_ref();
    let list = match side {
        Side::Requests => resources.and_then(|r| r.requests.as_ref()),
        Side::Limits => resources.and_then(|r| r.limits.as_ref()),
    };
    list.into_iter().flatten().filter_map(|(name, quantity)| Some((name, amount(quantity)?)))
}

fn add<'a>(sums: &mut Sums, amounts: impl Iterator<Item = (&'a String, Amount)>) {
    for (name, amount) in amounts {
        let sum = sums.entry(name.clone()).or_default();
        *sum = sum.add(amount);
    }
}

/// What a pod needs at its neediest moment: all containers together, or one init container with the sidecars before it.
fn aggregate(spec: &PodSpec, which: Side) -> Sums {
    let (mut total, mut sidecars, mut most) = (Sums::new(), Sums::new(), Sums::new());
    for container in &spec.containers {
        add(&mut total, side(container, which));
    }
    for container in list(&spec.init_containers) {
        let mut moment = sidecars.clone();
        add(&mut moment, side(container, which));
        if is_sidecar(container) {
            add(&mut total, side(container, which));
            sidecars.clone_from(&moment);
        }
        raise(&mut most, moment);
    }
    raise(&mut total, most);
    total
}

fn raise(sums: &mut Sums, others: Sums) {
    for (name, other) in others {
        let sum = sums.entry(name).or_default();
        if *sum < other {
            *sum = other;
        }
    }
}

fn supported_for_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_page(name)
}

/// Fills the resources of the pod as a whole where its author gave only a part of them.
pub(super) fn default_pod_level(spec: &mut PodSpec) {
    let Some(resources) = spec.resources.clone() else { return };
    let (limits, requests) =
        (resources.limits.unwrap_or_default(), resources.requests.unwrap_or_default());
    if limits.is_empty() && requests.is_empty() {
        return;
    }
    let limits = default_huge_page_limits(aggregate(spec, Side::Limits), limits, &requests);
    let requests = if limits.is_empty() {
        requests
    } else {
        default_requests(aggregate(spec, Side::Requests), requests, &limits)
    };
    let resources = spec.resources.get_or_insert_default();
    resources.limits = Some(limits).filter(|l| !l.is_empty());
    resources.requests = Some(requests).filter(|r| !r.is_empty());
}

fn default_huge_page_limits(
    containers: Sums,
    mut limits: ResourceList,
    requests: &ResourceList,
) -> ResourceList {
    for (name, amount) in containers.into_iter().filter(|(name, _)| is_huge_page(name)) {
        if !requests.contains_key(&name) {
            limits.entry(name).or_insert_with(|| Quantity(amount.to_string()));
        }
    }
    limits
}

fn default_requests(
    containers: Sums,
    mut requests: ResourceList,
    limits: &ResourceList,
) -> ResourceList {
    for (name, amount) in containers {
        if supported_for_pods(&name) && overcommit_allowed(&name) {
            requests.entry(name).or_insert_with(|| Quantity(amount.to_string()));
        }
    }
    for (name, limit) in limits.iter().filter(|(name, _)| supported_for_pods(name)) {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    requests
}

/// How the name of a resource is checked.
type NameRule = fn(&str, &Path, &mut ErrorList);

/// Requests and limits of one container.
pub(super) fn validate_container(
    resources: &ResourceRequirements,
    claims: &BTreeSet<&str>,
    at: &Path,
    errors: &mut ErrorList,
) {
    validate(resources, quantities::validate_container_resource, at, errors);
    validate_claims(list(&resources.claims), claims, &at.child("claims"), errors);
}

/// Limits alone, as a runtime class has them for what it needs itself.
pub(crate) fn validate_limits(limits: &ResourceList, at: &Path, errors: &mut ErrorList) {
    let limits = Some(limits.clone());
    let resources = ResourceRequirements { limits, ..ResourceRequirements::default() };
    validate(&resources, quantities::validate_container_resource, at, errors);
}

fn validate(resources: &ResourceRequirements, rule: NameRule, at: &Path, errors: &mut ErrorList) {
    let empty = ResourceList::new();
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    let requests = resources.requests.as_ref().unwrap_or(&empty);
    let (at_limits, at_requests) = (at.child("limits"), at.child("requests"));
    for (name, limit) in limits {
        validate_entry(name, limit, rule, &at_limits.key(name), errors);
    }
    for (name, request) in requests {
        validate_entry(name, request, rule, &at_requests.key(name), errors);
        match limits.get(name) {
            Some(limit) => validate_request(name, request, limit, &at_requests, errors),
            None if !overcommit_allowed(name) => {
                errors.required(&at_limits, "Limit must be set for non overcommitable resources");
            }
            None => {}
        }
    }
    let mut names = limits.keys().chain(requests.keys());
    if names.clone().any(|n| is_huge_page(n))
        && !names.any(|n| matches!(n.as_str(), "cpu" | "memory"))
    {
        errors.forbidden(at, "HugePages require cpu or memory");
    }
}

fn validate_entry(
    name: &str,
    quantity: &Quantity,
    rule: NameRule,
    at: &Path,
    errors: &mut ErrorList,
) {
    rule(name, at, errors);
    quantities::validate_value(name, quantity, at, errors);
    quantities::validate_huge_pages(name, quantity, at, errors);
}

fn validate_request(
    name: &str,
    request: &Quantity,
    limit: &Quantity,
    at: &Path,
    errors: &mut ErrorList,
) {
    let (Some(requested), Some(limited)) = (amount(request), amount(limit)) else { return };
    if requested != limited && !overcommit_allowed(name) {
        errors.invalid(at, &request.0, format!("must be equal to {name} limit of {}", limit.0));
    } else if requested > limited {
        errors.invalid(
            at,
            &request.0,
            format!("must be less than or equal to {name} limit of {}", limit.0),
        );
    }
}

/// Claims of a container name claims of the pod, each once, either as a whole or request by request.
fn validate_claims(
    claims: &[ResourceClaim],
    known: &BTreeSet<&str>,
    at: &Path,
    errors: &mut ErrorList,
) {
    let mut seen = BTreeSet::new();
    for (i, claim) in claims.iter().enumerate() {
        let at = at.index(i);
        let request = claim.request.as_deref().unwrap_or_default();
        if claim.name.is_empty() {
            errors.required(&at, "");
            continue;
        }
        if !request.is_empty() {
            errors.dns_label(&at.child("request"), request);
        }
        let whole = seen.contains(&(claim.name.as_str(), ""));
        let again = request.is_empty() && seen.iter().any(|(name, _)| *name == claim.name);
        if whole || again {
            errors.duplicate(&at, &claim.name);
        } else if !seen.insert((claim.name.as_str(), request)) {
            errors.duplicate(&at, format!("{}/{request}", claim.name));
        }
        if !known.contains(claim.name.as_str()) {
            errors.push(unknown_claim(&claim.name, known, &at));
        }
    }
}

fn unknown_claim(name: &str, known: &BTreeSet<&str>, at: &Path) -> field::Error {
    let mut error = field::not_found(at, name);
    error.detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
    if known.is_empty() {
        error.detail += " which is empty";
    } else {
        error.detail += ": ";
        error.detail += &known.iter().copied().collect::<Vec<_>>().join(", ");
    }
    error
}

/// Resources of the pod as a whole.
pub(super) fn validate_pod_level(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    let Some(resources) = &spec.resources else { return };
    let at = at.child("resources");
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return errors.forbidden(&at, "may not be set for a windows pod");
    }
    if resources.claims.is_some() {
        errors.forbidden(&at.child("claims"), "claims may not be set for Resources at pod-level");
    }
    validate(resources, quantities::validate_pod_resource, &at, errors);
    validate_sums(spec, resources, &at, errors);
}

/// The pod as a whole has at least what its containers have.
fn validate_sums(
    spec: &PodSpec,
    resources: &ResourceRequirements,
    at: &Path,
    errors: &mut ErrorList,
) {
    let empty = ResourceList::new();
    let requests = resources.requests.as_ref().unwrap_or(&empty);
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    for (name, sum) in aggregate(spec, Side::Requests) {
        at_least(requests.get(&name), &sum, "requests", &at.child("requests").key(&name), errors);
    }
    for (name, sum) in
        aggregate(spec, Side::Limits).into_iter().filter(|(name, _)| is_huge_page(name))
    {
        at_least(limits.get(&name), &sum, "limits", &at.child("limits").key(&name), errors);
    }
    for (i, container) in spec.containers.iter().enumerate() {
        for (name, limit) in side(container, Side::Limits) {
            let Some(of_pod) = limits.get(name).and_then(amount).filter(|of_pod| limit > *of_pod)
            else {
                continue;
            };
            let at = at.child("containers").index(i).key(name).child("limits");
            errors.invalid(
                &at,
                limit.to_string(),
                format!("must be less than or equal to pod limits of {of_pod}"),
            );
        }
    }
}

fn at_least(
    of_pod: Option<&Quantity>,
    sum: &Amount,
    what: &str,
    at: &Path,
    errors: &mut ErrorList,
) {
    let Some(of_pod) = of_pod.and_then(amount).filter(|of_pod| sum > of_pod) else { return };
    let detail = format!("must be greater than or equal to aggregate container {what} of {sum}");
    errors.invalid(at, of_pod.to_string(), detail);
}
