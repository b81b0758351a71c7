//! How the lists and maps of `authentication.k8s.io`, `authorization.k8s.io`, `certificates.k8s.io` and
//! `rbac.authorization.k8s.io` merge.
//!
//! Counterpart in Kubernetes: the merge marks on the Go types of those groups.

use super::Row;
use crate::schema::fact::{ATOMIC, keyed, merged};

pub(super) const ROWS: &[Row] = &[
    ("authentication.v1.TokenRequestSpec", &[("audiences", ATOMIC)]),
    ("authentication.v1.TokenReviewSpec", &[("audiences", ATOMIC)]),
    ("authentication.v1.TokenReviewStatus", &[("audiences", ATOMIC)]),
    ("authentication.v1.UserInfo", &[("groups", ATOMIC)]),
    ("authorization.v1.FieldSelectorAttributes", &[("requirements", ATOMIC)]),
    ("authorization.v1.LabelSelectorAttributes", &[("requirements", ATOMIC)]),
    ("authorization.v1.NonResourceRule", &[("nonResourceURLs", ATOMIC), ("verbs", ATOMIC)]),
    (
        "authorization.v1.ResourceRule",
        &[
            ("apiGroups", ATOMIC),
            ("resourceNames", ATOMIC),
            ("resources", ATOMIC),
            ("verbs", ATOMIC),
        ],
    ),
    ("authorization.v1.SubjectAccessReviewSpec", &[("groups", ATOMIC)]),
    (
        "authorization.v1.SubjectRulesReviewStatus",
        &[("nonResourceRules", ATOMIC), ("resourceRules", ATOMIC)],
    ),
    ("certificates.v1.CertificateSigningRequestSpec", &[("groups", ATOMIC), ("usages", ATOMIC)]),
    ("certificates.v1.CertificateSigningRequestStatus", &[("conditions", keyed(&["type"]))]),
    (
        "certificates.v1beta1.PodCertificateRequestStatus",
        &[("conditions", merged("type").keyed(&["type"]))],
    ),
    ("rbac.v1.AggregationRule", &[("clusterRoleSelectors", ATOMIC)]),
    ("rbac.v1.ClusterRole", &[("rules", ATOMIC)]),
    ("rbac.v1.ClusterRoleBinding", &[("subjects", ATOMIC)]),
    (
        "rbac.v1.PolicyRule",
        &[
            ("apiGroups", ATOMIC),
            ("nonResourceURLs", ATOMIC),
            ("resourceNames", ATOMIC),
            ("resources", ATOMIC),
            ("verbs", ATOMIC),
        ],
    ),
    ("rbac.v1.Role", &[("rules", ATOMIC)]),
    ("rbac.v1.RoleBinding", &[("subjects", ATOMIC)]),
];
