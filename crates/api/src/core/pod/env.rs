//! Environment variables of containers, and the fields and resources they can show.
//!
//! Counterpart in Kubernetes: `ValidateEnv`, `ValidateEnvFrom` and the selectors in `pkg/apis/core/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector,
    ResourceFieldSelector,
};

use super::volumes::no_backsteps;
use crate::quantities;
use crate::report::{Report, text};

/// Fields of a pod that a variable can show, besides single labels and annotations.
pub(super) const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of a pod that a file can show.
pub(super) const VOLUME_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// Fields that exist, though not everywhere.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTE_DIVISORS: &[&str] =
    &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
const RELAXED_NAME: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";
const ONE_SOURCE: &str = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";

/// Any printable ASCII but `=`: what an environment can carry.
fn relaxed_name(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    let printable = name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    if printable { Vec::new() } else { vec![RELAXED_NAME.to_owned()] }
}

pub(super) fn validate(vars: &[EnvVar], at: &Path, errors: &mut ErrorList) {
    for (i, var) in vars.iter().enumerate() {
        let at = at.index(i);
        if var.name.is_empty() {
            errors.required(&at.child("name"), "");
        } else {
            errors.invalid_all(&at.child("name"), &var.name, relaxed_name(&var.name));
        }
        if let Some(source) = &var.value_from {
            validate_source(source, text(&var.value), &at.child("valueFrom"), errors);
        }
    }
}

fn validate_source(source: &EnvVarSource, value: &str, at: &Path, errors: &mut ErrorList) {
    let mut sources = 0;
    if let Some(field) = &source.field_ref {
        sources += 1;
        validate_field_ref(field, ENV_FIELDS, &at.child("fieldRef"), errors);
    }
    if let Some(resource) = &source.resource_field_ref {
        sources += 1;
        validate_resource_ref(resource, &at.child("resourceFieldRef"), errors);
    }
    if let Some(key) = &source.config_map_key_ref {
        sources += 1;
        validate_key(&key.name, &key.key, &at.child("configMapKeyRef"), errors);
    }
    if let Some(key) = &source.secret_key_ref {
        sources += 1;
        validate_key(&key.name, &key.key, &at.child("secretKeyRef"), errors);
    }
    if let Some(file) = &source.file_key_ref {
        sources += 1;
        validate_file_key(file, &at.child("fileKeyRef"), errors);
    }
    if sources == 0 {
        errors.invalid(at, "", ONE_SOURCE);
    } else if !value.is_empty() {
        errors.invalid(at, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(at, "", "may not have more than one field specified at a time");
    }
}

/// A field of the pod, `metadata.labels['key']` for one label.
pub(super) fn validate_field_ref(
    field: &ObjectFieldSelector,
    known: &[&str],
    at: &Path,
    errors: &mut ErrorList,
) {
    let version = text(&field.api_version);
    if version.is_empty() {
        return errors.required(&at.child("apiVersion"), "");
    }
    if field.field_path.is_empty() {
        return errors.required(&at.child("fieldPath"), "");
    }
    let (path, subscript) = split_subscript(&field.field_path);
    if let Err(problem) = known_field(version, &field.field_path, path, subscript) {
        let detail = format!("error converting fieldPath: {problem}");
        return errors.invalid(&at.child("fieldPath"), &field.field_path, detail);
    }
    match (path, subscript) {
        ("metadata.annotations", Some(key)) => {
            errors.invalid_all(at, key, names::is_qualified_name(&key.to_lowercase()));
        }
        (_, Some(key)) => errors.qualified_name(at, key),
        // A path without subscript is empty in this message, as in Kubernetes.
        (path, None) if !known.contains(&path) => {
            errors.not_supported(&at.child("fieldPath"), path, known)
        }
        _ => {}
    }
}

/// `metadata.labels['key']` is the path and the key.
fn split_subscript(path: &str) -> (&str, Option<&str>) {
    path.strip_suffix("']")
        .and_then(|p| p.split_once("['"))
        .map_or((path, None), |(p, key)| (p, Some(key)))
}

fn known_field(
    version: &str,
    whole: &str,
    path: &str,
    subscript: Option<&str>,
) -> Result<(), String> {
    if version != "v1" {
        return Err(format!("unsupported pod version: {version}"));
    }
    match subscript {
        Some(_) if matches!(path, "metadata.annotations" | "metadata.labels") => Ok(()),
        Some(_) => Err(format!("field label does not support subscript: {whole}")),
        None if KNOWN_FIELDS.contains(&path) => Ok(()),
        None => Err(format!("field label not supported: {whole}")),
    }
}

/// A request or limit of a container.
pub(super) fn validate_resource_ref(
    field: &ResourceFieldSelector,
    at: &Path,
    errors: &mut ErrorList,
) {
    if field.resource.is_empty() {
        errors.required(&at.child("resource"), "");
    } else if !RESOURCES.contains(&field.resource.as_str()) && !is_huge_pages(&field.resource) {
        errors.not_supported(&at.child("resource"), &field.resource, RESOURCES);
    }
    validate_divisor(field, at, errors);
}

fn is_huge_pages(resource: &str) -> bool {
    resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-")
}

/// The unit in which the resource is shown.
pub(super) fn validate_divisor(field: &ResourceFieldSelector, at: &Path, errors: &mut ErrorList) {
    const ALL: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let Some(divisor) = field
        .divisor
        .as_ref()
        .filter(|d| quantities::amount(d).is_none_or(|d| quantities::is_positive(&d)))
    else {
        return;
    };
    let (known, what): (&[&str], _) = match field.resource.as_str() {
        "limits.cpu" | "requests.cpu" => {
            (&["1m", "1"], "1m and 1 are supported with the cpu resource".to_owned())
        }
        "limits.memory" | "requests.memory" => {
            (BYTE_DIVISORS, format!("{ALL} are supported with the memory resource"))
        }
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (
            BYTE_DIVISORS,
            format!("{ALL} are supported with the local ephemeral storage resource"),
        ),
        resource if is_huge_pages(resource) => {
            (BYTE_DIVISORS, format!("{ALL} are supported with the hugepages resource"))
        }
        _ => return,
    };
    if !known.contains(&divisor.0.as_str()) {
        errors.invalid(
            &at.child("divisor"),
            &field.resource,
            format!("only divisor's values {what}"),
        );
    }
}

fn validate_key(name: &str, key: &str, at: &Path, errors: &mut ErrorList) {
    errors.dns_subdomain(&at.child("name"), name);
    if key.is_empty() {
        errors.required(&at.child("key"), "");
    } else {
        errors.invalid_all(&at.child("key"), key, names::is_config_map_key(key));
    }
}

fn validate_file_key(file: &FileKeySelector, at: &Path, errors: &mut ErrorList) {
    if file.key.is_empty() {
        errors.required(&at.child("key"), "");
    } else {
        errors.invalid_all(&at.child("key"), &file.key, relaxed_name(&file.key));
    }
    if file.volume_name.is_empty() {
        errors.required(&at.child("volumeName"), "");
    } else {
        errors.dns_label(&at.child("volumeName"), &file.volume_name);
    }
    if file.path.is_empty() {
        errors.required(&at.child("path"), "");
    } else {
        no_backsteps(&file.path, &at.child("path"), errors);
    }
}

/// Variables taken from all keys of a ConfigMap or Secret.
pub(super) fn validate_from(sources: &[EnvFromSource], at: &Path, errors: &mut ErrorList) {
    for (i, source) in sources.iter().enumerate() {
        let at_item = at.index(i);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            errors.invalid_all(&at_item.child("prefix"), prefix, relaxed_name(prefix));
        }
        if let Some(config_map) = &source.config_map_ref {
            validate_from_name(&config_map.name, &at_item.child("configMapRef"), errors);
        }
        if let Some(secret) = &source.secret_ref {
            validate_from_name(&secret.name, &at_item.child("secretRef"), errors);
        }
        match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => {
                errors.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`")
            }
            (Some(_), Some(_)) => {
                errors.invalid(at, "", "may not have more than one field specified at a time")
            }
            _ => {}
        }
    }
}

fn validate_from_name(name: &str, at: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    } else {
        errors.dns_subdomain(&at.child("name"), name);
    }
}
