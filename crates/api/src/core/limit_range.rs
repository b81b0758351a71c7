//! LimitRange: bounds and defaults for what things in a namespace ask for.
//!
//! Counterpart in Kubernetes: `pkg/registry/core/limitrange` and `ValidateLimitRange` in `pkg/apis/core/validation`.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use crate::columns;
use crate::kinds::Column;
use crate::quantities::{self, Amount, ResourceList, amount, overcommit_allowed, round_list};
use crate::report::Report;
use crate::strategy::KindStrategy;

const POD: &str = "Pod";
const CONTAINER: &str = "Container";
const CLAIM: &str = "PersistentVolumeClaim";
const NOT_FOR_PODS: &str = "may not be specified when `type` is 'Pod'";

impl KindStrategy for LimitRange {
    const COLUMNS: &'static [Column] = columns::NAME_AND_CREATED;
    const ALLOW_CREATE_ON_UPDATE: bool = true;

    fn default_fields(&mut self) {
        for item in &mut self.spec.get_or_insert_default().limits {
            if item.type_ == CONTAINER {
                default_container(item);
            }
            round_list(&mut item.max);
            round_list(&mut item.min);
            round_list(&mut item.default);
            round_list(&mut item.default_request);
            round_list(&mut item.max_limit_request_ratio);
        }
    }

    fn validate(&self, errors: &mut ErrorList) {
        let at = Path::new("spec").child("limits");
        let mut types = BTreeSet::new();
        for (i, item) in self.spec.iter().flat_map(|s| &s.limits).enumerate() {
            let at = at.index(i);
            validate_type(&item.type_, &at.child("type"), errors);
            if !types.insert(&item.type_) {
                errors.duplicate(&at.child("type"), &item.type_);
            }
            validate_item(item, &at, errors);
        }
    }

    fn row(&self, _now: Timestamp) -> Vec<Value> {
        columns::name_and_created(&self.metadata)
    }
}

/// Limits are the greatest allowed where nothing is said; requests follow limits, then the smallest allowed.
fn default_container(item: &mut LimitRangeItem) {
    let fill = |into: &mut ResourceList, from: &Option<ResourceList>| {
        for (name, quantity) in from.iter().flatten() {
            into.entry(name.clone()).or_insert_with(|| quantity.clone());
        }
    };
    fill(item.default.get_or_insert_default(), &item.max);
    let limits = item.default.clone();
    let requests = item.default_request.get_or_insert_default();
    fill(requests, &limits);
    fill(requests, &item.min);
}

fn validate_type(type_: &str, at: &Path, errors: &mut ErrorList) {
    let before = errors.len();
    errors.qualified_name(at, type_);
    let standard = type_.contains('/') || [POD, CONTAINER, CLAIM].contains(&type_);
    if errors.len() == before && !standard {
        errors.invalid(at, type_, "must be a standard limit type or fully qualified");
    }
}

fn validate_item(item: &LimitRangeItem, at: &Path, errors: &mut ErrorList) {
    let pod = item.type_ == POD;
    validate_names(item, "max", &item.max, at, errors);
    validate_names(item, "min", &item.min, at, errors);
    for (name, defaults) in [("default", &item.default), ("defaultRequest", &item.default_request)]
    {
        if !pod {
            validate_names(item, name, defaults, at, errors);
        } else if defaults.as_ref().is_some_and(|d| !d.is_empty()) {
            errors.forbidden(&at.child(name), NOT_FOR_PODS);
        }
    }
    let bounded =
        |list: &Option<ResourceList>| list.as_ref().is_some_and(|l| l.contains_key("storage"));
    if item.type_ == CLAIM && !bounded(&item.min) && !bounded(&item.max) {
        let detail =
            "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&at.child("limits"), detail);
    }
    validate_names(item, "maxLimitRequestRatio", &item.max_limit_request_ratio, at, errors);
    let defaults = [&item.default, &item.default_request].into_iter().filter(|_| !pod);
    let lists = [&item.max, &item.min, &item.max_limit_request_ratio].into_iter().chain(defaults);
    let names: BTreeSet<_> = lists.flatten().flat_map(|list| list.keys()).collect();
    for name in names {
        validate_order(&Bounds::of(item, name), name, at, errors);
    }
}

fn validate_names(
    item: &LimitRangeItem,
    field: &str,
    amounts: &Option<ResourceList>,
    at: &Path,
    errors: &mut ErrorList,
) {
    for name in amounts.iter().flatten().map(|(name, _)| name) {
        let at = at.child(field).key(name);
        if [POD, CONTAINER].contains(&item.type_.as_str()) {
            quantities::validate_container_resource(name, &at, errors);
        } else {
            quantities::validate_resource(name, &at, errors);
        }
    }
}

/// What an item says about one resource.
struct Bounds<'a> {
    min: Option<&'a Quantity>,
    max: Option<&'a Quantity>,
    default: Option<&'a Quantity>,
    request: Option<&'a Quantity>,
    ratio: Option<&'a Quantity>,
}

impl<'a> Bounds<'a> {
    fn of(item: &'a LimitRangeItem, name: &str) -> Self {
        let of = |list: &'a Option<ResourceList>| list.as_ref().and_then(|l| l.get(name));
        let pod = item.type_ == POD;
        Self {
            min: of(&item.min),
            max: of(&item.max),
            default: of(&item.default).filter(|_| !pod),
            request: of(&item.default_request).filter(|_| !pod),
            ratio: of(&item.max_limit_request_ratio),
        }
    }
}

/// One rule: what must not be greater than what, and how both are called; then the field and the value that are told.
type Rule<'a> = (Option<&'a Quantity>, &'a str, Option<&'a Quantity>, &'a str, &'a str, bool);

fn validate_order(bounds: &Bounds, name: &str, at: &Path, errors: &mut ErrorList) {
    let Bounds { min, max, default, request, ratio } = *bounds;
    let rules: [Rule; 6] = [
        (min, "min", max, "max", "min", true),
        (min, "min", request, "default request", "defaultRequest", false),
        (request, "default request", max, "max", "defaultRequest", true),
        (request, "default request", default, "default limit", "defaultRequest", true),
        (min, "min", default, "default", "default", true),
        (default, "default", max, "max", "default", false),
    ];
    for (small, small_name, great, great_name, field, tells_small) in rules {
        let (Some(small), Some(great)) = (small, great) else { continue };
        if amount(small) > amount(great) {
            let detail = format!(
                "{small_name} value {} is greater than {great_name} value {}",
                small.0, great.0
            );
            let told = if tells_small { small } else { great };
            errors.invalid(&at.child(field).key(name), &told.0, detail);
        }
    }
    if let Some(ratio) = ratio {
        validate_ratio(ratio, bounds, &at.child("maxLimitRequestRatio").key(name), errors);
    }
    if let (Some(default), Some(request)) = (default, request)
        && !overcommit_allowed(name)
        && amount(default) != amount(request)
    {
        let detail = format!(
            "default value {} must equal to defaultRequest value {} in {name}",
            default.0, request.0
        );
        errors.invalid(&at.child("defaultRequest").key(name), &request.0, detail);
    }
}

fn validate_ratio(ratio: &Quantity, bounds: &Bounds, at: &Path, errors: &mut ErrorList) {
    let Some(value) = amount(ratio) else { return };
    if Some(value) < Amount::parse("1").ok() {
        errors.invalid(at, &ratio.0, format!("ratio {} is less than 1", ratio.0));
    }
    let bound = |quantity: Option<&Quantity>| quantity.and_then(amount).map(|a| a.to_f64());
    if let (Some(min), Some(max)) = (bound(bounds.min), bound(bounds.max))
        && value.to_f64() > max / min
    {
        let detail = format!("ratio {} is greater than max/min = {:.6}", ratio.0, max / min);
        errors.invalid(at, &ratio.0, detail);
    }
}
