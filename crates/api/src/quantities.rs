//! Resource quantities as fields: canonical forms, comparison, the rules for their names and values.
//!
//! Counterpart in Kubernetes: `pkg/apis/core/helper` and the resource parts of `pkg/apis/core/validation`.

use std::collections::BTreeMap;

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
pub(crate) use apimachinery::quantity::Quantity as Amount;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::report::Report;

/// Amounts by the name of the resource.
pub(crate) type ResourceList = BTreeMap<String, Quantity>;

/// What a text that is no quantity is told.
const NOT_A_QUANTITY: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/// Resources that count whole things.
const INTEGER_RESOURCES: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
/// Resources without a domain that are known besides those of containers.
const OTHER_STANDARD_RESOURCES: &[&str] = &[
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "storage",
    "requests.storage",
];
const CONTAINER_RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// The number a quantity stands for, unless it is no quantity.
pub(crate) fn amount(quantity: &Quantity) -> Option<Amount> {
    Amount::parse(&quantity.0).ok()
}

/// More than nothing.
pub(crate) fn is_positive(amount: &Amount) -> bool {
    amount.signum() > 0
}

/// Rounds up to thousandths; an empty list becomes absent. Quantities were brought to canonical form when they were read.
pub(crate) fn round_list(list: &mut Option<ResourceList>) {
    if list.as_ref().is_some_and(BTreeMap::is_empty) {
        *list = None;
    }
    for quantity in
        list.iter_mut().flat_map(BTreeMap::values_mut).filter(|q| q.0.ends_with(['n', 'u']))
    {
        if let Some(amount) = amount(quantity) {
            quantity.0 = Amount::from_milli(amount.milli_value()).to_string();
        }
    }
}

/// Huge pages are resources with the page size in their name.
pub(crate) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Resources of Kubernetes itself, as against those of vendors.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Requests and limits of overcommittable resources may differ.
pub(crate) fn overcommit_allowed(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::is_qualified_name(&format!("requests.{name}")).is_empty()
}

fn is_standard(name: &str) -> bool {
    is_huge_page(name)
        || name.starts_with("requests.hugepages-")
        || CONTAINER_RESOURCES.contains(&name)
        || OTHER_STANDARD_RESOURCES.contains(&name)
        || INTEGER_RESOURCES.contains(&name)
}

/// A known resource, or one in somebody's domain. True when the name is a name at all.
fn validate_name(name: &str, at: &Path, errors: &mut ErrorList) -> bool {
    let messages = names::is_qualified_name(name);
    let well_formed = messages.is_empty();
    errors.invalid_all(at, name, messages);
    if well_formed && !name.contains('/') && !is_standard(name) {
        errors.invalid(at, name, "must be a standard resource type or fully qualified");
        return false;
    }
    well_formed
}

/// A known resource, or one in somebody's domain.
pub(crate) fn validate_resource(name: &str, at: &Path, errors: &mut ErrorList) {
    validate_name(name, at, errors);
}

/// Whether quotas count the resource under this name.
pub(crate) fn is_standard_for_quota(name: &str) -> bool {
    name != "storage" && is_standard(name)
}

/// A resource that a quota can limit.
pub(crate) fn validate_quota_resource(name: &str, at: &Path, errors: &mut ErrorList) {
    validate_name(name, at, errors);
    if !name.contains('/') && !is_standard_for_quota(name) {
        errors.invalid(at, name, "must be a standard resource for quota");
    }
}

/// A resource that containers can ask for.
pub(crate) fn validate_container_resource(name: &str, at: &Path, errors: &mut ErrorList) {
    validate_name(name, at, errors);
    if !name.contains('/') {
        if !CONTAINER_RESOURCES.contains(&name) && !is_huge_page(name) {
            errors.invalid(at, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(at, name, "doesn't follow extended resource name standard");
    }
}

/// A resource that a pod as a whole can ask for.
pub(crate) fn validate_pod_resource(name: &str, at: &Path, errors: &mut ErrorList) {
    if validate_name(name, at, errors) && !matches!(name, "cpu" | "memory") && !is_huge_page(name) {
        errors.not_supported(at, name, &["cpu", "hugepages-", "memory"]);
    }
}

/// A quantity that is not negative, and whole where things are counted.
pub(crate) fn validate_value(name: &str, quantity: &Quantity, at: &Path, errors: &mut ErrorList) {
    let Some(amount) = validate_amount(quantity, at, errors) else { return };
    if (INTEGER_RESOURCES.contains(&name) || is_extended(name)) && amount.milli_value() % 1000 != 0
    {
        errors.invalid(at, &quantity.0, "must be an integer");
    }
}

/// A quantity that is not negative; returns what it stands for.
pub(crate) fn validate_amount(
    quantity: &Quantity,
    at: &Path,
    errors: &mut ErrorList,
) -> Option<Amount> {
    let Some(amount) = amount(quantity) else {
        errors.invalid(at, &quantity.0, NOT_A_QUANTITY);
        return None;
    };
    if amount.signum() < 0 {
        errors.invalid(at, &quantity.0, "must be greater than or equal to 0");
    }
    Some(amount)
}

/// An amount of huge pages is a whole number of pages.
pub(crate) fn validate_huge_pages(
    name: &str,
    quantity: &Quantity,
    at: &Path,
    errors: &mut ErrorList,
) {
    let Some(size) = name.strip_prefix("hugepages-") else { return };
    let whole = match (Amount::parse(size).map(|s| s.value()), amount(quantity)) {
        (Ok(size), Some(amount)) if size > 0 => amount.value() % size == 0,
        _ => false,
    };
    if !whole {
        errors.invalid(
            at,
            &quantity.0,
            format!("{} is not positive integer multiple of {name}", quantity.0),
        );
    }
}
