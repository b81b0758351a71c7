//! Kinds of the group `coordination.k8s.io`.

pub mod lease;

use k8s_openapi::api::coordination::v1::Lease;

use crate::kinds::{ALL_VERBS, Resource, names, row};

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![row::<Lease>(names("lease", &[], &[]), ALL_VERBS, &[], "io.k8s.api.coordination.v1.Lease")]
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    #[test]
    fn rows_say_what_discovery_of_kubernetes_says() {
        expect!["leases lease  coordination.k8s.io/v1 namespaced Lease create,delete,deletecollection,get,list,patch,update,watch "]
            .assert_eq(&crate::testing::listing(&super::rows()));
    }
}
