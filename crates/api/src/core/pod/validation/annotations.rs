//! Annotations that mean something for pods: mirror pods, the cost of deletion, and what fields say today (seccomp, AppArmor,
//! tolerations).
//!
//! Counterpart in Kubernetes: `ValidatePodSpecificAnnotations` in `pkg/apis/core/validation`.

use std::collections::BTreeMap;

use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::volumes::local_descending;
use super::super::{containers as walk, scheduling};
use super::MIRROR;
use crate::report::{Report, text};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub(in super::super) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const RUNTIME_DEFAULT: &str = "runtime/default";
const DOCKER_DEFAULT: &str = "docker/default";
const UNCONFINED: &str = "unconfined";
const LOCALHOST: &str = "localhost/";

pub(super) fn validate(meta: &ObjectMeta, spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    let Some(annotations) = &meta.annotations else { return };
    if let Some(value) = annotations.get(MIRROR).filter(|_| text(&spec.node_name).is_empty()) {
        errors.invalid(
            &at.key(MIRROR),
            value,
            "must set spec.nodeName if mirror pod annotation is set",
        );
    }
    if let Some(value) = annotations.get(TOLERATIONS).filter(|v| !v.is_empty()) {
        match serde_json::from_str::<Vec<Toleration>>(value) {
            Ok(tolerations) => {
                scheduling::validate_tolerations(&tolerations, &at.child(TOLERATIONS), errors)
            }
            Err(error) => errors.invalid(at, TOLERATIONS, error.to_string()),
        }
    }
    if let Some(cost) = annotations.get(DELETION_COST).filter(|c| !is_cost(c)) {
        errors.invalid(&at.key(DELETION_COST), cost, "must be a 32bit integer");
    }
    for (key, value) in annotations {
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            validate_seccomp(value, &at.child(key), errors);
        }
        if let Some(container) = key.strip_prefix(APP_ARMOR) {
            validate_app_armor(container, value, spec, &at.key(key), errors);
        }
    }
}

/// A number of 32 bits without plus sign and leading zeros.
fn is_cost(cost: &str) -> bool {
    let digits = cost.strip_prefix('-').unwrap_or(cost);
    cost.parse::<i32>().is_ok()
        && !digits.starts_with('+')
        && (cost == "0" || !digits.starts_with('0'))
}

fn validate_seccomp(profile: &str, at: &Path, errors: &mut ErrorList) {
    if let Some(path) = profile.strip_prefix(LOCALHOST) {
        local_descending(path, at, errors);
    } else if ![RUNTIME_DEFAULT, DOCKER_DEFAULT, UNCONFINED].contains(&profile) {
        errors.invalid(at, profile, "must be a valid seccomp profile");
    }
}

fn validate_app_armor(
    container: &str,
    profile: &str,
    spec: &PodSpec,
    at: &Path,
    errors: &mut ErrorList,
) {
    if !walk::names(spec).any(|name| name == container) {
        errors.invalid(at, container, "container not found");
    }
    if !["", RUNTIME_DEFAULT, UNCONFINED].contains(&profile) && !profile.starts_with(LOCALHOST) {
        errors.invalid(at, profile, format!("invalid AppArmor profile name: \"{profile}\""));
    }
}

/// Where an annotation and a field say the same thing, they must agree.
pub(super) fn validate_against_fields(
    meta: &ObjectMeta,
    spec: &PodSpec,
    at: &Path,
    errors: &mut ErrorList,
) {
    let Some(annotations) = &meta.annotations else { return };
    let pod = spec.security_context.as_ref();
    if let (Some(profile), Some(told)) =
        (pod.and_then(|p| p.seccomp_profile.as_ref()), annotations.get(SECCOMP_POD))
    {
        let at = at.child("securityContext").child("seccompProfile");
        same_seccomp(told, profile, &at, errors);
    }
    let windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    for (container, at) in walk::all(spec, at) {
        let own = container.security_context.as_ref();
        let at = at.child("securityContext");
        let told = annotations.get(&format!("{SECCOMP_CONTAINER}{}", container.name));
        if let (Some(profile), Some(told)) = (own.and_then(|c| c.seccomp_profile.as_ref()), told) {
            same_seccomp(told, profile, &at.child("seccompProfile"), errors);
        }
        let profile = own
            .and_then(|c| c.app_armor_profile.as_ref())
            .or(pod.and_then(|p| p.app_armor_profile.as_ref()));
        if let Some(profile) = profile.filter(|_| !windows) {
            same_app_armor(
                annotations,
                &container.name,
                profile,
                &at.child("appArmorProfile"),
                errors,
            );
        }
    }
}

fn same_seccomp(told: &str, profile: &SeccompProfile, at: &Path, errors: &mut ErrorList) {
    let same_type = match profile.type_.as_str() {
        "Unconfined" => told == UNCONFINED,
        "RuntimeDefault" => told == RUNTIME_DEFAULT || told == DOCKER_DEFAULT,
        "Localhost" => told.starts_with(LOCALHOST),
        _ => true,
    };
    if !same_type {
        errors.forbidden(&at.child("type"), "seccomp type in annotation and field must match");
    } else if profile.type_ == "Localhost"
        && told.strip_prefix(LOCALHOST) != profile.localhost_profile.as_deref()
    {
        errors.forbidden(
            &at.child("localhostProfile"),
            "seccomp profile in annotation and field must match",
        );
    }
}

fn same_app_armor(
    annotations: &BTreeMap<String, String>,
    container: &str,
    profile: &AppArmorProfile,
    at: &Path,
    errors: &mut ErrorList,
) {
    let Some(told) = annotations.get(&format!("{APP_ARMOR}{container}")) else { return };
    let same_type = match profile.type_.as_str() {
        "Unconfined" => told == UNCONFINED,
        "RuntimeDefault" => told == RUNTIME_DEFAULT,
        "Localhost" => told.starts_with(LOCALHOST),
        _ => true,
    };
    if !same_type {
        errors.forbidden(&at.child("type"), "apparmor type in annotation and field must match");
    } else if profile.type_ == "Localhost"
        && told.strip_prefix(LOCALHOST) != profile.localhost_profile.as_deref()
    {
        errors.forbidden(
            &at.child("localhostProfile"),
            "apparmor profile in annotation and field must match",
        );
    }
}
