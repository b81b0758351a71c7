//! Names of signers: a domain, a slash, and a name in it.
//!
//! Counterpart in Kubernetes: `ValidateSignerName` in `pkg/apis/core/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names::{self, LABEL_MAX_LENGTH, SUBDOMAIN_MAX_LENGTH};

use crate::report::Report;

/// The name must be `example.com/signer-name`.
pub(super) fn validate(name: &str, at: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    let parts = name.split_once('/').filter(|(_, path)| !path.contains('/'));
    let Some((domain, path)) = parts else {
        let detail =
            "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid(at, name, detail);
    };
    if domain.len() > SUBDOMAIN_MAX_LENGTH {
        errors.too_long(at, SUBDOMAIN_MAX_LENGTH);
    }
    validate_labels(domain, names::is_dns1123_label, at, errors);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.invalid(at, domain, detail);
    }
    validate_labels(path, names::is_dns1123_subdomain, at, errors);
    let most = SUBDOMAIN_MAX_LENGTH + 1 + SUBDOMAIN_MAX_LENGTH + LABEL_MAX_LENGTH + 1;
    if name.len() > most {
        errors.too_long(at, most);
    }
}

/// The first label that is wrong is told, with all that is wrong with it.
fn validate_labels(part: &str, rule: fn(&str) -> Vec<String>, at: &Path, errors: &mut ErrorList) {
    let mut bad = part.split('.').map(|label| (label, rule(label)));
    if let Some((label, problems)) = bad.find(|(_, problems)| !problems.is_empty()) {
        for problem in problems {
            errors.invalid(at, part, format!("validating label \"{label}\": {problem}"));
        }
    }
}
