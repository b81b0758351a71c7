//! The rules of a signing request.
//!
//! Counterpart in Kubernetes: `pkg/apis/certificates/validation`. What was accepted by older rules may stay.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};

use super::pem::{certificate_problem, request_problem};
use super::{APPROVED, DENIED, FAILED, all_conditions, conditions};
use crate::certificates::signers;
use crate::report::{Report, list};

const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";
const MIN_SECONDS: i32 = 600;
const STATUSES: &[&str] = &["False", "True", "Unknown"];
const TRUE_ONLY: &[&str] = &["True"];
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Which part of a request is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Neither of the others.
    Main,
    /// Who may set the certificate.
    Status,
    /// Who may approve and deny.
    Approval,
}

/// What an object that was accepted by older rules may keep.
struct Lenience {
    both_decisions: bool,
    legacy_signer: bool,
    same_types: bool,
    empty_types: bool,
    any_certificate: bool,
    same_usages: bool,
    unknown_usages: bool,
}

impl Lenience {
    const NONE: Self = Self {
        both_decisions: false,
        legacy_signer: false,
        same_types: false,
        empty_types: false,
        any_certificate: false,
        same_usages: false,
        unknown_usages: false,
    };

    fn of(new: &CertificateSigningRequest, old: &CertificateSigningRequest) -> Self {
        let is = |type_| conditions(old, type_).next().is_some();
        let types: Vec<_> = all_conditions(old).iter().map(|c| c.type_.as_str()).collect();
        let usages: Vec<_> = list(&old.spec.usages).iter().map(String::as_str).collect();
        let certificate = certificate(old);
        Self {
            both_decisions: is(APPROVED) && is(DENIED),
            legacy_signer: old.spec.signer_name == LEGACY_UNKNOWN,
            same_types: repeats(&types),
            empty_types: types.contains(&""),
            any_certificate: self::certificate(new) == certificate
                || certificate_problem(certificate).is_some(),
            same_usages: repeats(&usages),
            unknown_usages: usages.iter().any(|usage| !USAGES.contains(usage)),
        }
    }
}

fn repeats(items: &[&str]) -> bool {
    items.iter().collect::<BTreeSet<_>>().len() < items.len()
}

fn certificate(request: &CertificateSigningRequest) -> &[u8] {
    let certificate = request.status.as_ref().and_then(|s| s.certificate.as_ref());
    certificate.map(|c| c.0.as_slice()).unwrap_or_default()
}

/// Rules for a new request.
pub(super) fn validate_create(request: &CertificateSigningRequest, errors: &mut ErrorList) {
    validate(request, &Lenience::NONE, errors);
}

fn validate(request: &CertificateSigningRequest, lenience: &Lenience, errors: &mut ErrorList) {
    let (spec, at) = (&request.spec, Path::new("spec"));
    if let Some(problem) = request_problem(&spec.request.0) {
        errors.invalid(&at.child("request"), &spec.request, problem);
    }
    validate_usages(list(&spec.usages), lenience, &at.child("usages"), errors);
    let at_signer = at.child("signerName");
    if spec.signer_name == LEGACY_UNKNOWN && !lenience.legacy_signer {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.invalid(&at_signer, &spec.signer_name, detail);
    } else {
        signers::validate(&spec.signer_name, &at_signer, errors);
    }
    if let Some(seconds) = spec.expiration_seconds.filter(|seconds| *seconds < MIN_SECONDS) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(&at.child("expirationSeconds"), seconds, detail);
    }
    let at = Path::new("status");
    validate_conditions(all_conditions(request), lenience, &at.child("conditions"), errors);
    if !lenience.any_certificate
        && let Some(problem) = certificate_problem(certificate(request))
    {
        errors.invalid(&at.child("certificate"), "<certificate data>", problem);
    }
}

fn validate_usages(usages: &[String], lenience: &Lenience, at: &Path, errors: &mut ErrorList) {
    if usages.is_empty() {
        errors.required(at, "");
    }
    for (i, usage) in usages.iter().enumerate().filter(|_| !lenience.unknown_usages) {
        if !USAGES.contains(&usage.as_str()) {
            errors.not_supported(&at.index(i), usage, USAGES);
        }
    }
    let mut seen = BTreeSet::new();
    for (i, usage) in usages.iter().enumerate().filter(|_| !lenience.same_usages) {
        if !seen.insert(usage) {
            errors.duplicate(&at.index(i), usage);
        }
    }
}

fn validate_conditions(
    conditions: &[CertificateSigningRequestCondition],
    lenience: &Lenience,
    at: &Path,
    errors: &mut ErrorList,
) {
    let (mut seen, mut decisions) = (BTreeSet::new(), BTreeSet::new());
    for (i, condition) in conditions.iter().enumerate() {
        let (type_, at_item) = (condition.type_.as_str(), at.index(i));
        if type_.is_empty() && !lenience.empty_types {
            errors.required(&at_item.child("type"), "");
        }
        let only_true = [APPROVED, DENIED, FAILED].contains(&type_);
        let statuses = if only_true { TRUE_ONLY } else { STATUSES };
        errors.one_of(&at_item.child("status"), &condition.status, statuses);
        if [APPROVED, DENIED].contains(&type_) {
            decisions.insert(type_);
            if decisions.len() > 1 && !lenience.both_decisions {
                let detail = "Approved and Denied conditions are mutually exclusive";
                errors.invalid(at, type_, detail);
            }
        }
        if !seen.insert(type_) && !lenience.same_types {
            errors.duplicate(&at_item.child("type"), type_);
        }
    }
}

/// Rules for a change of one part.
pub(super) fn validate_update(
    new: &CertificateSigningRequest,
    old: &CertificateSigningRequest,
    part: Part,
    errors: &mut ErrorList,
) {
    validate(new, &Lenience::of(new, old), errors);
    let at = Path::new("status").child("conditions");
    let of = |request, type_| conditions(request, type_).cloned().collect::<Vec<_>>();
    for type_ in [APPROVED, DENIED, FAILED] {
        if of(new, type_).len() < of(old, type_).len() {
            let detail = format!("updates may not remove a condition of type \"{type_}\"");
            errors.forbidden(&at, detail);
        }
    }
    for type_ in [APPROVED, DENIED].into_iter().filter(|_| part != Part::Approval) {
        let (now, before) = (of(new, type_), of(old, type_));
        if now.len() > before.len() {
            errors.forbidden(&at, format!("updates may not add a condition of type \"{type_}\""));
        } else if now.len() == before.len() && now != before {
            let detail = format!("updates may not modify a condition of type \"{type_}\"");
            errors.forbidden(&at, detail);
        }
    }
    if certificate(new) == certificate(old) {
        return;
    }
    let at = Path::new("status").child("certificate");
    if part != Part::Status {
        errors.forbidden(&at, "updates may not set certificate content");
    } else if !certificate(old).is_empty() {
        errors.forbidden(&at, "updates may not modify existing certificate content");
    }
}
