//! How a pod resolves names.
//!
//! Counterpart in Kubernetes: `validateDNSPolicy` and `validatePodDNSConfig` in `pkg/apis/core/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use k8s_openapi::api::core::v1::PodDNSConfig;

use crate::net;
use crate::report::{Report, list, text};

const POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
/// Name servers the C library asks.
const MAX_NAME_SERVERS: usize = 3;
/// Search domains the C library keeps, and their bytes with the spaces between.
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_BYTES: usize = 2048;
const SUBDOMAIN_WITH_UNDERSCORE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[_a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\.[_a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";

pub(super) fn validate_policy(policy: &str, at: &Path, errors: &mut ErrorList) {
    errors.one_of(at, policy, POLICIES);
}

pub(super) fn validate_config(
    config: Option<&PodDNSConfig>,
    policy: &str,
    at: &Path,
    errors: &mut ErrorList,
) {
    let Some(config) = config else {
        if policy == "None" {
            errors.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let servers = list(&config.nameservers);
    let at_servers = at.child("nameservers");
    if policy == "None" && servers.is_empty() {
        return errors.required(
            &at_servers,
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        );
    }
    if servers.len() > MAX_NAME_SERVERS {
        errors.invalid(
            &at_servers,
            servers,
            format!("must not have more than {MAX_NAME_SERVERS} nameservers"),
        );
    }
    for (i, server) in servers.iter().enumerate() {
        net::validate_ip(server, &[], &at_servers.index(i), errors);
    }
    validate_searches(list(&config.searches), &at.child("searches"), errors);
    for (i, option) in list(&config.options).iter().enumerate() {
        if text(&option.name).is_empty() {
            errors.required(&at.child("options").index(i), "must not be empty");
        }
    }
}

fn validate_searches(searches: &[String], at: &Path, errors: &mut ErrorList) {
    if searches.len() > MAX_SEARCHES {
        errors.invalid(
            at,
            searches,
            format!("must not have more than {MAX_SEARCHES} search paths"),
        );
    }
    if searches.join(" ").len() > MAX_SEARCH_BYTES {
        let detail = format!(
            "must not have more than {MAX_SEARCH_BYTES} characters (including spaces) in the search list"
        );
        errors.invalid(at, searches, detail);
    }
    for (i, search) in searches.iter().enumerate().filter(|(_, s)| *s != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        if search.len() > names::SUBDOMAIN_MAX_LENGTH {
            errors.invalid(
                &at.index(i),
                search,
                names::max_length_error(names::SUBDOMAIN_MAX_LENGTH),
            );
        }
        if !search.split('.').all(is_label_with_underscore) {
            errors.invalid(&at.index(i), search, SUBDOMAIN_WITH_UNDERSCORE);
        }
    }
}

fn is_label_with_underscore(label: &str) -> bool {
    let bytes = label.as_bytes();
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    match bytes {
        [] => false,
        [one] => word(*one) || *one == b'_',
        [first, middle @ .., last] => {
            (word(*first) || *first == b'_')
                && word(*last)
                && middle.iter().all(|b| word(*b) || *b == b'-' || *b == b'_')
        }
    }
}
