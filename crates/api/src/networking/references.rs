//! References and paths that several kinds of the group hold.
//!
//! Counterpart in Kubernetes: the reference parts of `pkg/apis/networking/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;

use crate::report::Report;

const PATH_FMT: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";
const PATH_MARKS: &str = "/-._~%!$&'()*+,;=:";

/// A reference by group, kind and name.
pub(super) fn validate_reference(
    group: Option<&str>,
    kind: &str,
    name: &str,
    at: &Path,
    errors: &mut ErrorList,
) {
    if let Some(group) = group {
        errors.dns_subdomain(&at.child("apiGroup"), group);
    }
    validate_segment(kind, &at.child("kind"), errors);
    validate_segment(name, &at.child("name"), errors);
}

/// Something that must be there and can stand in a path.
pub(super) fn validate_segment(value: &str, at: &Path, errors: &mut ErrorList) {
    if value.is_empty() {
        errors.required(at, "");
    } else {
        errors.invalid_all(at, value, names::is_path_segment_name(value));
    }
}

/// `example.com/controller`: a domain, and a path below it.
pub(crate) fn validate_domain_prefixed_path(value: &str, at: &Path, errors: &mut ErrorList) {
    if value.is_empty() {
        return errors.required(at, "");
    }
    let parts = value.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty());
    let Some((host, path)) = parts else {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        return errors.invalid(at, value, detail);
    };
    errors.dns_subdomain(at, host);
    if !path.chars().all(|c| c.is_ascii_alphanumeric() || PATH_MARKS.contains(c)) {
        errors.invalid(at, path, names::regex_error("Invalid path", PATH_FMT, &[]));
    }
}
