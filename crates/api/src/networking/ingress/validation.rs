//! The rules of an Ingress.
//!
//! Counterpart in Kubernetes: `ValidateIngressCreate` and its relatives in `pkg/apis/networking/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
};

use super::CLASS_ANNOTATION;
use crate::net;
use crate::networking::validate_reference;
use crate::report::{Report, list, text};

const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
const BAD_SEQUENCES: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const BAD_SUFFIXES: [&str; 2] = ["/..", "/."];
const ABSOLUTE: &str = "must be an absolute path";
const NOT_AN_ADDRESS: &str = "must be a DNS name, not an IP address";

/// What an Ingress that was accepted by older rules may keep.
#[derive(Default)]
struct Lenience {
    secret_names: bool,
    wildcard_rules: bool,
}

/// Rules for a new Ingress.
pub(super) fn validate_create(ingress: &Ingress, errors: &mut ErrorList) {
    validate_spec(ingress, &Lenience::default(), errors);
    let class = ingress.spec.as_ref().and_then(|s| s.ingress_class_name.as_ref());
    if let (Some(annotated), Some(class)) = (class_annotation(ingress), class)
        && annotated != class
    {
        let at = Path::new("annotations").child(CLASS_ANNOTATION);
        errors.invalid(&at, annotated, "must match `ingressClassName` when both are specified");
    }
}

/// Rules for a change; what was wrong before may stay so.
pub(super) fn validate_update(new: &Ingress, old: &Ingress, errors: &mut ErrorList) {
    let spec = old.spec.clone().unwrap_or_default();
    let bad_secret = |name: &str| !name.is_empty() && !names::is_dns1123_subdomain(name).is_empty();
    let bad_rule = |rule: &IngressRule| {
        let mut problems = ErrorList::new();
        validate_rule_value(rule, &Path::nil(), &mut problems);
        text(&rule.host).contains('*') && !problems.is_empty()
    };
    let lenience = Lenience {
        secret_names: list(&spec.tls).iter().any(|tls| bad_secret(text(&tls.secret_name))),
        wildcard_rules: list(&spec.rules).iter().any(bad_rule),
    };
    validate_spec(new, &lenience, errors);
}

/// The value of the annotation that names the class.
pub(super) fn class_annotation(ingress: &Ingress) -> Option<&String> {
    ingress.metadata.annotations.as_ref().and_then(|a| a.get(CLASS_ANNOTATION))
}

fn validate_spec(ingress: &Ingress, lenience: &Lenience, errors: &mut ErrorList) {
    let spec = ingress.spec.clone().unwrap_or_default();
    let (at, rules) = (Path::new("spec"), list(&spec.rules));
    if rules.is_empty() && spec.default_backend.is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.invalid(&at, serde_json::Value::Null, detail);
    }
    if let Some(backend) = &spec.default_backend {
        validate_backend(backend, &at.child("defaultBackend"), errors);
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = at.child("rules").index(i);
        validate_rule_host(text(&rule.host), &at.child("host"), errors);
        if !text(&rule.host).contains('*') || !lenience.wildcard_rules {
            validate_rule_value(rule, &at, errors);
        }
    }
    validate_tls(&spec, lenience, &at.child("tls"), errors);
    if let Some(class) = &spec.ingress_class_name {
        errors.dns_subdomain(&at.child("ingressClassName"), class);
    }
}

fn validate_tls(spec: &IngressSpec, lenience: &Lenience, at: &Path, errors: &mut ErrorList) {
    for (i, tls) in list(&spec.tls).iter().enumerate() {
        let at = at.index(i);
        for (j, host) in list(&tls.hosts).iter().enumerate() {
            validate_host(host, &at.child("hosts").index(j), errors);
        }
        let secret = text(&tls.secret_name);
        if !secret.is_empty() && !lenience.secret_names {
            errors.dns_subdomain(&at.child("secretName"), secret);
        }
    }
}

fn validate_rule_host(host: &str, at: &Path, errors: &mut ErrorList) {
    if host.is_empty() {
        return;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        errors.invalid(at, host, NOT_AN_ADDRESS);
    }
    validate_host(host, at, errors);
}

fn validate_host(host: &str, at: &Path, errors: &mut ErrorList) {
    if host.contains('*') {
        errors.invalid_all(at, host, names::is_wildcard_dns1123_subdomain(host));
    } else {
        errors.dns_subdomain(at, host);
    }
}

fn validate_rule_value(rule: &IngressRule, at: &Path, errors: &mut ErrorList) {
    let Some(http) = &rule.http else { return };
    let at = at.child("http").child("paths");
    if http.paths.is_empty() {
        errors.required(&at, "");
    }
    for (i, path) in http.paths.iter().enumerate() {
        validate_path(path, &at.index(i), errors);
    }
}

fn validate_path(path: &HTTPIngressPath, at: &Path, errors: &mut ErrorList) {
    let (value, at_path) = (text(&path.path), at.child("path"));
    match path.path_type.as_str() {
        "" => return errors.required(&at.child("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => validate_strict_path(value, &at_path, errors),
        "ImplementationSpecific" => {
            if !value.is_empty() && !value.starts_with('/') {
                errors.invalid(&at_path, value, ABSOLUTE);
            }
        }
        other => errors.not_supported(&at.child("pathType"), other, PATH_TYPES),
    }
    validate_backend(&path.backend, &at.child("backend"), errors);
}

fn validate_strict_path(value: &str, at: &Path, errors: &mut ErrorList) {
    if !value.starts_with('/') {
        errors.invalid(at, value, ABSOLUTE);
    }
    for bad in BAD_SEQUENCES.iter().filter(|bad| value.contains(*bad)) {
        errors.invalid(at, value, format!("must not contain '{bad}'"));
    }
    for bad in BAD_SUFFIXES.iter().filter(|bad| value.ends_with(*bad)) {
        errors.invalid(at, value, format!("cannot end with '{bad}'"));
    }
}

fn validate_backend(backend: &IngressBackend, at: &Path, errors: &mut ErrorList) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => {
            errors.invalid(at, "", "cannot set both resource and service backends");
        }
        (Some(resource), None) => {
            let group = resource.api_group.as_deref();
            let at = at.child("resource");
            validate_reference(group, &resource.kind, &resource.name, &at, errors);
        }
        (None, Some(service)) => validate_service(service, at, errors),
        (None, None) => errors.invalid(at, "", "resource or service backend is required"),
    }
}

fn validate_service(service: &IngressServiceBackend, at: &Path, errors: &mut ErrorList) {
    let at_service = at.child("service");
    let at_name = at_service.child("name");
    if service.name.is_empty() {
        errors.required(&at_name, "");
    } else {
        errors.dns_label(&at_name, &service.name);
    }
    let port = service.port.clone().unwrap_or_default();
    let at_port = at_service.child("port");
    match (text(&port.name), port.number.unwrap_or_default()) {
        ("", 0) => errors.required(at, "port name or number is required"),
        ("", number) => {
            let problems = names::is_valid_port_number(number.into());
            errors.invalid_all(&at_port.child("number"), number, problems);
        }
        (name, 0) => {
            errors.invalid_all(&at_port.child("name"), name, names::is_valid_port_name(name));
        }
        _ => errors.invalid(at, "", "cannot set both port name & port number"),
    }
}

/// Rules for a change of the status: where requests arrive.
pub(super) fn validate_status(new: &Ingress, old: &Ingress, errors: &mut ErrorList) {
    let points = |ingress: &Ingress| {
        let balancer = ingress.status.as_ref().and_then(|s| s.load_balancer.clone());
        balancer.and_then(|b| b.ingress).unwrap_or_default()
    };
    let before: Vec<_> = points(old).into_iter().filter_map(|point| point.ip).collect();
    let at = Path::new("status").child("loadBalancer").child("ingress");
    for (i, point) in points(new).iter().enumerate() {
        let at = at.index(i);
        if !text(&point.ip).is_empty() {
            net::validate_ip(text(&point.ip), &before, &at.child("ip"), errors);
        }
        let hostname = text(&point.hostname);
        if !hostname.is_empty() {
            let at = at.child("hostname");
            errors.dns_subdomain(&at, hostname);
            if hostname.parse::<std::net::IpAddr>().is_ok() {
                errors.invalid(&at, hostname, NOT_AN_ADDRESS);
            }
        }
    }
}
