//! What both kinds of webhook are: a server that is asked, about which requests, and what becomes of them without an answer.
//!
//! Counterpart in Kubernetes: `validateValidatingWebhook` in `pkg/apis/admissionregistration/validation`, and
//! `k8s.io/apiserver/pkg/util/webhook`. The syntax of expressions in match conditions is not checked.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use apimachinery::{labels, names};
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, RuleWithOperations, ServiceReference, ValidatingWebhook,
    WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::rules;
use crate::report::{Report, list};

const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];
const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const DEFAULT_TIMEOUT_SECONDS: i32 = 10;
const DEFAULT_PORT: i32 = 443;
const MAX_CONDITIONS: usize = 64;

/// A webhook of either kind.
pub(super) struct Hook<'a> {
    name: &'a str,
    client: &'a WebhookClientConfig,
    rules: &'a [RuleWithOperations],
    failure_policy: Option<&'a str>,
    match_policy: Option<&'a str>,
    side_effects: &'a str,
    timeout: Option<i32>,
    selectors: [(&'static str, Option<&'a LabelSelector>); 2],
    versions: &'a [String],
    conditions: &'a [MatchCondition],
}

macro_rules! hook {
    ($type:ty) => {
        impl<'a> From<&'a $type> for Hook<'a> {
            fn from(hook: &'a $type) -> Self {
                Self {
                    name: &hook.name,
                    client: &hook.client_config,
                    rules: list(&hook.rules),
                    failure_policy: hook.failure_policy.as_deref(),
                    match_policy: hook.match_policy.as_deref(),
                    side_effects: &hook.side_effects,
                    timeout: hook.timeout_seconds,
                    selectors: [
                        ("namespaceSelector", hook.namespace_selector.as_ref()),
                        ("objectSelector", hook.object_selector.as_ref()),
                    ],
                    versions: &hook.admission_review_versions,
                    conditions: list(&hook.match_conditions),
                }
            }
        }
    };
}
hook!(ValidatingWebhook);
hook!(MutatingWebhook);

/// Fills what a webhook of either kind leaves out.
macro_rules! default_hook {
    ($hook:expr) => {
        $hook.failure_policy.get_or_insert_with(|| "Fail".to_owned());
        $hook.match_policy.get_or_insert_with(|| "Equivalent".to_owned());
        $hook.namespace_selector.get_or_insert_default();
        $hook.object_selector.get_or_insert_default();
        $crate::admissionregistration::hooks::default_rest(
            &mut $hook.timeout_seconds,
            &mut $hook.client_config,
            &mut $hook.rules,
        );
    };
}
pub(super) use default_hook;

/// What webhooks leave out and no macro is needed for.
pub(super) fn default_rest(
    timeout: &mut Option<i32>,
    client: &mut WebhookClientConfig,
    given: &mut Option<Vec<RuleWithOperations>>,
) {
    timeout.get_or_insert(DEFAULT_TIMEOUT_SECONDS);
    if let Some(service) = &mut client.service {
        service.port.get_or_insert(DEFAULT_PORT);
    }
    rules::default(given);
}

/// What webhooks that were accepted by older rules may keep.
struct Lenience {
    side_effects: bool,
    versions: bool,
    names: bool,
}

impl Lenience {
    fn of(old: &[Hook]) -> Self {
        let known = |hook: &Hook| {
            hook.versions.is_empty()
                || hook.versions.iter().any(|v| REVIEW_VERSIONS.contains(&v.as_str()))
        };
        let names: BTreeSet<_> = old.iter().map(|hook| hook.name).collect();
        Self {
            side_effects: !old.iter().all(|hook| NO_SIDE_EFFECTS.contains(&hook.side_effects)),
            versions: !old.iter().all(known),
            names: names.len() < old.len(),
        }
    }
}

/// Rules for webhooks; `old` are those they replace.
pub(super) fn validate(hooks: &[Hook], old: &[Hook], errors: &mut ErrorList) {
    let lenience = Lenience::of(old);
    let mut seen = BTreeSet::new();
    for (i, hook) in hooks.iter().enumerate() {
        let at = Path::new("webhooks").index(i);
        validate_name(hook.name, &at.child("name"), errors);
        for (j, rule) in hook.rules.iter().enumerate() {
            rules::validate(rule, &at.child("rules").index(j), errors);
        }
        validate_policies(hook, &lenience, &at, errors);
        for (field, selector) in hook.selectors {
            if let Some(selector) = selector {
                errors.extend(labels::validate_label_selector(selector, &at.child(field)));
            }
        }
        validate_client(hook.client, &at.child("clientConfig"), errors);
        validate_conditions(hook.conditions, &at.child("matchConditions"), errors);
        let at_versions = at.child("admissionReviewVersions");
        validate_versions(hook.versions, &lenience, &at_versions, errors);
        if !lenience.names && !hook.name.is_empty() && !seen.insert(hook.name) {
            errors.duplicate(&at.child("name"), hook.name);
        }
    }
}

fn validate_name(name: &str, at: &Path, errors: &mut ErrorList) {
    let problems = names::is_dns1123_subdomain(name);
    if name.is_empty() {
        errors.required(at, "");
    } else if !problems.is_empty() {
        errors.invalid(at, name, problems.join(","));
    } else if name.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        errors.invalid(at, name, detail);
    }
}

fn validate_policies(hook: &Hook, lenience: &Lenience, at: &Path, errors: &mut ErrorList) {
    for (field, policy, known) in [
        ("failurePolicy", hook.failure_policy, FAILURE_POLICIES),
        ("matchPolicy", hook.match_policy, MATCH_POLICIES),
    ] {
        if let Some(policy) = policy.filter(|policy| !known.contains(policy)) {
            errors.not_supported(&at.child(field), policy, known);
        }
    }
    let allowed = if lenience.side_effects { SIDE_EFFECTS } else { NO_SIDE_EFFECTS };
    let at_effects = at.child("sideEffects");
    if hook.side_effects.is_empty() {
        errors.required(&at_effects, &format!("must specify one of {}", allowed.join(", ")));
    } else if !allowed.contains(&hook.side_effects) {
        errors.not_supported(&at_effects, hook.side_effects, allowed);
    }
    if let Some(seconds) = hook.timeout.filter(|seconds| !(1..=30).contains(seconds)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&at.child("timeoutSeconds"), seconds, detail);
    }
}

fn validate_client(client: &WebhookClientConfig, at: &Path, errors: &mut ErrorList) {
    match (&client.url, &client.service) {
        (Some(url), None) => validate_url(url, &at.child("url"), errors),
        (None, Some(service)) => validate_service(service, &at.child("service"), errors),
        _ => errors.required(at, "exactly one of url or service is required"),
    }
}

fn validate_url(url: &str, at: &Path, errors: &mut ErrorList) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if scheme != "https" {
        errors.invalid(at, scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        errors.invalid(at, host, format!("host must be specified{FORM}"));
    }
    for (part, detail) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            errors.invalid(at, part, detail);
        }
    }
}

fn validate_service(service: &ServiceReference, at: &Path, errors: &mut ErrorList) {
    // Kubernetes hands name and namespace over in the other order.
    errors.non_empty(&at.child("name"), &service.namespace);
    errors.non_empty(&at.child("namespace"), &service.name);
    let port = service.port.unwrap_or_default();
    let problems = names::is_valid_port_number(port.into());
    if !problems.is_empty() {
        let detail = format!("port is not valid: {}", problems.join(", "));
        errors.invalid(&at.child("port"), port, detail);
    }
    if let Some(path) = service.path.as_deref().filter(|path| !matches!(*path, "" | "/")) {
        validate_path(path, &at.child("path"), errors);
    }
}

fn validate_path(path: &str, at: &Path, errors: &mut ErrorList) {
    if path == "//" {
        return errors.invalid(at, path, "segment[0] may not be empty");
    }
    if !path.starts_with('/') {
        errors.invalid(at, path, "must start with a '/'");
    }
    let rest: String = path.chars().skip(1).collect();
    for (i, step) in rest.strip_suffix('/').unwrap_or(&rest).split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(at, path, format!("segment[{i}] may not be empty"));
            continue;
        }
        for problem in names::is_dns1123_subdomain(step) {
            errors.invalid(at, path, format!("segment[{i}]: {problem}"));
        }
    }
}

fn validate_conditions(conditions: &[MatchCondition], at: &Path, errors: &mut ErrorList) {
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(at, conditions.len(), MAX_CONDITIONS);
    }
    let mut seen = BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let (at, name) = (at.index(i), condition.name.as_str());
        errors.non_empty(&at.child("expression"), condition.expression.trim());
        if name.is_empty() {
            errors.required(&at.child("name"), "");
            continue;
        }
        errors.qualified_name(&at.child("name"), name);
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
    }
}

fn validate_versions(versions: &[String], lenience: &Lenience, at: &Path, errors: &mut ErrorList) {
    if versions.is_empty() {
        let detail = format!("must specify one of {}", REVIEW_VERSIONS.join(", "));
        return errors.required(at, &detail);
    }
    let mut seen = BTreeSet::new();
    for (i, version) in versions.iter().enumerate() {
        if !seen.insert(version) {
            errors.invalid(&at.index(i), version, "duplicate version");
            continue;
        }
        errors.invalid_all(&at.index(i), version, names::is_dns1035_label(version));
    }
    let known = versions.iter().any(|v| REVIEW_VERSIONS.contains(&v.as_str()));
    if !known && !lenience.versions {
        let detail = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errors.invalid(at, versions, detail);
    }
}
