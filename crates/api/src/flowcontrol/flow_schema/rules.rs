//! What a rule of a FlowSchema matches: who asks, and for what.
//!
//! Counterpart in Kubernetes: `ValidateFlowSchemaPolicyRulesWithSubjects` in `pkg/apis/flowcontrol/validation`.

use apimachinery::field::{self, ErrorList, Path};
use apimachinery::names;
use k8s_openapi::api::flowcontrol::v1::{
    NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, ServiceAccountSubject,
    Subject,
};

use crate::report::{Report, list};

const ALL: &str = "*";
const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const KINDS: &[&str] = &["Group", "ServiceAccount", "User"];

pub(super) fn validate(rule: &PolicyRulesWithSubjects, at: &Path, errors: &mut ErrorList) {
    if rule.subjects.is_empty() {
        errors.required(&at.child("subjects"), "subjects must contain at least one value");
    }
    for (i, subject) in rule.subjects.iter().enumerate() {
        validate_subject(subject, &at.child("subjects").index(i), errors);
    }
    let (resources, others) = (list(&rule.resource_rules), list(&rule.non_resource_rules));
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.required(at, detail);
    }
    for (i, rule) in resources.iter().enumerate() {
        validate_resources(rule, &at.child("resourceRules").index(i), errors);
    }
    for (i, rule) in others.iter().enumerate() {
        validate_urls(rule, &at.child("nonResourceRules").index(i), errors);
    }
}

fn validate_subject(subject: &Subject, at: &Path, errors: &mut ErrorList) {
    let kind = subject.kind.as_str();
    if !KINDS.contains(&kind) {
        return errors.not_supported(&at.child("kind"), kind, KINDS);
    }
    let user = subject.user.as_ref().map(|user| user.name.as_str());
    let group = subject.group.as_ref().map(|group| group.name.as_str());
    match kind {
        "ServiceAccount" => validate_account(subject, &at.child("serviceAccount"), errors),
        "User" => validate_name(user, "user", kind, at, errors),
        _ => validate_name(group, "group", kind, at, errors),
    }
    for (field, set, wanted) in [
        ("serviceAccount", subject.service_account.is_some(), "ServiceAccount"),
        ("user", user.is_some(), "User"),
        ("group", group.is_some(), "Group"),
    ] {
        if set && wanted != kind {
            let detail = format!("{field} is forbidden when subject kind is not '{wanted}'");
            errors.forbidden(&at.child(field), detail);
        }
    }
}

fn validate_name(name: Option<&str>, field: &str, kind: &str, at: &Path, errors: &mut ErrorList) {
    let at = at.child(field);
    match name {
        None => {
            let detail = format!("{field} is required when subject kind is '{kind}'");
            errors.required(&at, &detail);
        }
        Some(name) => errors.non_empty(&at.child("name"), name),
    }
}

fn validate_account(subject: &Subject, at: &Path, errors: &mut ErrorList) {
    let Some(ServiceAccountSubject { name, namespace }) = &subject.service_account else {
        let detail = "serviceAccount is required when subject kind is 'ServiceAccount'";
        return errors.required(at, detail);
    };
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    } else if name != ALL {
        errors.dns_subdomain(&at.child("name"), name);
    }
    if namespace.is_empty() {
        let detail = "must specify namespace for service account";
        errors.required(&at.child("namespace"), detail);
    } else {
        errors.dns_label(&at.child("namespace"), namespace);
    }
}

fn has_all(items: &[String]) -> bool {
    items.iter().any(|item| item == ALL)
}

/// `*` stands alone.
fn alone(items: &[String], what: &str, at: &Path, errors: &mut ErrorList) {
    if items.len() > 1 && has_all(items) {
        let detail = format!("if '*' is present, must not specify other {what}");
        errors.invalid(at, items, detail);
    }
}

fn validate_verbs(verbs: &[String], at: &Path, errors: &mut ErrorList) {
    if verbs.is_empty() {
        errors.required(at, "verbs must contain at least one value");
    } else if has_all(verbs) {
        alone(verbs, "verbs", at, errors);
    } else if !verbs.iter().all(|verb| VERBS.contains(&verb.as_str())) {
        errors.push(field::not_supported(at, verbs, VERBS));
    }
}

fn validate_resources(rule: &ResourcePolicyRule, at: &Path, errors: &mut ErrorList) {
    validate_verbs(&rule.verbs, &at.child("verbs"), errors);
    for (field, items, one, others) in [
        ("apiGroups", &rule.api_groups, "api group", "api groups"),
        ("resources", &rule.resources, "resource", "resources"),
    ] {
        let at = at.child(field);
        if items.is_empty() {
            let detail = format!("resource rules must supply at least one {one}");
            errors.required(&at, &detail);
        }
        alone(items, others, &at, errors);
    }
    let (namespaces, at) = (list(&rule.namespaces), at.child("namespaces"));
    if namespaces.is_empty() && rule.cluster_scope != Some(true) {
        let detail =
            "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(&at, detail);
    } else if has_all(namespaces) {
        alone(namespaces, "namespaces", &at, errors);
    } else {
        for (i, namespace) in namespaces.iter().enumerate() {
            for problem in names::is_dns1123_label(namespace) {
                let detail =
                    format!("each member of this list must be '*' or a DNS-1123 label; {problem}");
                errors.invalid(&at.index(i), namespace, detail);
            }
        }
    }
}

fn validate_urls(rule: &NonResourcePolicyRule, at: &Path, errors: &mut ErrorList) {
    validate_verbs(&rule.verbs, &at.child("verbs"), errors);
    let (urls, at) = (&rule.non_resource_urls, at.child("nonResourceURLs"));
    if urls.is_empty() {
        errors.required(&at, "nonResourceURLs must contain at least one value");
    } else if has_all(urls) {
        alone(urls, "non-resource URLs", &at, errors);
    } else {
        for (i, url) in urls.iter().enumerate() {
            if let Some(problem) = url_problem(url) {
                errors.invalid(&at.index(i), url, problem);
            }
        }
    }
}

fn url_problem(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || (stars == 1 && !url.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}
