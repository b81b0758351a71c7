//! Kinds of the group `certificates.k8s.io`.

pub mod certificate_signing_request;
mod signers;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use crate::kinds::{ALL_VERBS, PART_VERBS, Resource, Subresource, names, row, sub};

const SUBRESOURCES: &[Subresource] = &[
    sub("approval", "CertificateSigningRequest", PART_VERBS),
    sub("status", "CertificateSigningRequest", PART_VERBS),
];

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![row::<CertificateSigningRequest>(
        names("certificatesigningrequest", &["csr"], &[]),
        ALL_VERBS,
        SUBRESOURCES,
        "io.k8s.api.certificates.v1.CertificateSigningRequest",
    )]
}

#[cfg(test)]
mod tests;
