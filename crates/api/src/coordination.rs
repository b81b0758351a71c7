//! Kinds of the group `coordination.k8s.io`.

pub mod lease;
pub mod lease_candidate;

use k8s_openapi::api::coordination::v1::Lease;

use k8s_openapi::api::coordination::{v1alpha2, v1beta1};

use crate::kinds::{ALL_VERBS, Names, Resource, names, row};
use crate::versions::renamed;

const CANDIDATE: Names = names("leasecandidate", &[], &[]);

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        row::<Lease>(names("lease", &[], &[]), ALL_VERBS, &[], "io.k8s.api.coordination.v1.Lease"),
        row::<v1beta1::LeaseCandidate>(
            CANDIDATE,
            ALL_VERBS,
            &[],
            "io.k8s.api.coordination.v1beta1.LeaseCandidate",
        ),
        renamed::<v1alpha2::LeaseCandidate, v1beta1::LeaseCandidate>(
            CANDIDATE,
            ALL_VERBS,
            &[],
            "io.k8s.api.coordination.v1alpha2.LeaseCandidate",
        ),
    ]
}

#[cfg(test)]
mod tests;
