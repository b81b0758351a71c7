//! `clusterIP` and `clusterIPs`, which clients of different age write one without the other, and the families of addresses.
//!
//! Counterpart in Kubernetes: `normalizeClusterIPs` in `pkg/registry/core/service/storage` and
//! `ValidateServiceClusterIPsRelatedFields` in `pkg/apis/core/validation`.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::core::v1::ServiceSpec;

use super::{EXTERNAL_NAME, NONE, is_headless};
use crate::net;
use crate::report::{Report, list, text};

const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const SINGLE_STACK: &str = "SingleStack";
const FIXED: &str = "may not change once set";

/// A new service by a client that knows only `clusterIP`.
pub(super) fn complete(spec: &mut ServiceSpec) {
    if let Some(ip) = &spec.cluster_ip
        && list(&spec.cluster_ips).is_empty()
    {
        spec.cluster_ips = Some(vec![ip.clone()]);
    }
}

/// What a client that changed only one of the two fields meant with the other.
pub(super) fn follow(spec: &mut ServiceSpec, before: &ServiceSpec) {
    let same_first = text(&spec.cluster_ip) == text(&before.cluster_ip);
    if list(&spec.cluster_ips).is_empty() && same_first {
        spec.cluster_ips.clone_from(&before.cluster_ips);
    }
    if !same_first && list(&spec.cluster_ips) == list(&before.cluster_ips) {
        spec.cluster_ips = spec.cluster_ip.clone().filter(|ip| !ip.is_empty()).map(|ip| vec![ip]);
    }
}

/// Rules for addresses and families, which services of type `ExternalName` do not have.
pub(super) fn validate(spec: &ServiceSpec, at: &Path, errors: &mut ErrorList) {
    let at_ips = at.child("clusterIPs");
    let (first, ips, families) =
        (text(&spec.cluster_ip), list(&spec.cluster_ips), list(&spec.ip_families));
    match ips.first() {
        None if !first.is_empty() => errors.required(&at_ips, ""),
        Some(_) if first.is_empty() => {
            errors.invalid(&at_ips, ips, "must be empty when `clusterIP` is not specified")
        }
        Some(ip) if ip != first => {
            errors.invalid(&at_ips, ips, "first value must match `clusterIP`")
        }
        _ => {}
    }
    validate_families(families, &at.child("ipFamilies"), errors);
    if let Some(policy) = &spec.ip_family_policy
        && !POLICIES.contains(&policy.as_str())
    {
        errors.not_supported(&at.child("ipFamilyPolicy"), policy, POLICIES);
    }
    if !validate_ips(ips, &at_ips, errors) {
        return;
    }
    if ips.len() > 1 && !net::is_dual_stack(ips.iter().map(String::as_str)) {
        errors.invalid(&at_ips, ips, "may specify no more than one IP for each IP family");
    }
    if !is_headless(spec) {
        match_families(ips, families, &at_ips, errors);
    }
}

fn validate_families(families: &[String], at: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (i, family) in families.iter().enumerate() {
        if !FAMILIES.contains(&family.as_str()) {
            errors.not_supported(&at.index(i), family, FAMILIES);
        }
        if !seen.insert(family) {
            errors.duplicate(&at.index(i), family);
        }
    }
}

/// True when every address is one, so that it makes sense to look at their families.
fn validate_ips(ips: &[String], at: &Path, errors: &mut ErrorList) -> bool {
    let mut valid = true;
    for (i, ip) in ips.iter().enumerate() {
        if i > 0 || ip != NONE {
            valid &= net::validate_ip(ip, &[], &at.index(i), errors);
        } else if ips.len() > 1 {
            valid = false;
            errors.invalid(at, ips, "'None' must be the first and only value");
        }
    }
    if ips.len() > 2 {
        errors.invalid(at, ips, "may only hold up to 2 values");
    }
    valid
}

fn match_families(ips: &[String], families: &[String], at: &Path, errors: &mut ErrorList) {
    for (i, (ip, family)) in ips.iter().zip(families).enumerate() {
        let actual = if net::is_ipv6(ip) { "IPv6" } else { "IPv4" };
        if family != actual && FAMILIES.contains(&family.as_str()) {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&at.index(i), ip, detail);
        }
    }
}

/// An address stays; a second one may come and go.
pub(super) fn validate_update(new: &ServiceSpec, old: &ServiceSpec, errors: &mut ErrorList) {
    if text(&new.type_) == EXTERNAL_NAME || text(&old.type_) == EXTERNAL_NAME {
        return;
    }
    let both_headless = is_headless(new) && is_headless(old);
    if !both_headless {
        validate_ips_update(new, old, errors);
    }
    if !is_headless(new) && !is_headless(old) {
        validate_families_update(new, old, errors);
    }
}

fn validate_ips_update(new: &ServiceSpec, old: &ServiceSpec, errors: &mut ErrorList) {
    let at = Path::new("spec").child("clusterIPs");
    let (now, before) = (list(&new.cluster_ips), list(&old.cluster_ips));
    if now.len() == before.len() {
        for (i, _) in now.iter().zip(before).enumerate().filter(|(_, (now, before))| now != before)
        {
            errors.invalid(&at.index(i), now, FIXED);
        }
        return;
    }
    match (now.first(), before.first()) {
        (None, Some(_)) => errors.invalid(&at.index(0), now, "primary clusterIP can not be unset"),
        (Some(first), Some(was)) if first != was => errors.invalid(&at.index(0), now, FIXED),
        _ => {}
    }
    if now.len() == 1 && before.len() > 1 {
        require_single_stack(new, "clusterIP", errors);
    }
}

fn validate_families_update(new: &ServiceSpec, old: &ServiceSpec, errors: &mut ErrorList) {
    let at = Path::new("spec").child("ipFamilies").index(0);
    let (now, before) = (list(&new.ip_families), list(&old.ip_families));
    if now.len() == before.len() {
        for _ in now.iter().zip(before).filter(|(now, before)| now != before) {
            errors.invalid(&at, now, FIXED);
        }
        return;
    }
    let ips = list(&new.cluster_ips);
    if now.len() < before.len() && ips.is_empty() {
        errors.invalid(&at, now, "primary ipFamily can not be unset");
    }
    if let (Some(first), Some(was)) = (now.first(), before.first())
        && first != was
    {
        errors.invalid(&at, ips, FIXED);
    }
    if now.len() == 1 && before.len() > 1 {
        require_single_stack(new, "ipFamily", errors);
    }
}

/// Who gives up the second address says so.
fn require_single_stack(spec: &ServiceSpec, released: &str, errors: &mut ErrorList) {
    if text(&spec.ip_family_policy) != SINGLE_STACK {
        let detail =
            format!("must be set to '{SINGLE_STACK}' when releasing the secondary {released}");
        errors.invalid(&Path::new("spec").child("ipFamilyPolicy"), &spec.ip_family_policy, detail);
    }
}
