//! Kinds of the group `rbac.authorization.k8s.io`: who may do what.
//!
//! Counterpart in Kubernetes: `pkg/apis/rbac` and `pkg/registry/rbac`. Here roles and bindings are only kept; the authorizer
//! reads them.

pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;
mod rules;
mod subjects;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

use crate::kinds::{ALL_VERBS, Resource, names, row};

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        row::<ClusterRoleBinding>(
            names("clusterrolebinding", &[], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.rbac.v1.ClusterRoleBinding",
        ),
        row::<ClusterRole>(
            names("clusterrole", &[], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.rbac.v1.ClusterRole",
        ),
        row::<RoleBinding>(
            names("rolebinding", &[], &[]),
            ALL_VERBS,
            &[],
            "io.k8s.api.rbac.v1.RoleBinding",
        ),
        row::<Role>(names("role", &[], &[]), ALL_VERBS, &[], "io.k8s.api.rbac.v1.Role"),
    ]
}

#[cfg(test)]
mod tests;
