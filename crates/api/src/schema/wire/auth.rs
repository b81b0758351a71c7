//! Field numbers of `authentication.k8s.io`, `authorization.k8s.io`, `certificates.k8s.io` and
//! `rbac.authorization.k8s.io`.
//!
//! Counterpart in Kubernetes: the `protobuf` tags on the Go types of those groups.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("authentication.v1.BoundObjectReference", "1 kind 2 apiVersion 3 name 4 uid"),
    ("authentication.v1.SelfSubjectReview", "1 metadata 2 status"),
    ("authentication.v1.SelfSubjectReviewStatus", "1 userInfo"),
    ("authentication.v1.TokenRequest", "1 metadata 2 spec 3 status"),
    ("authentication.v1.TokenRequestSpec", "1 audiences 3 boundObjectRef? 4 expirationSeconds?"),
    ("authentication.v1.TokenRequestStatus", "1 token 2 expirationTimestamp"),
    ("authentication.v1.TokenReview", "1 metadata 2 spec 3 status"),
    ("authentication.v1.TokenReviewSpec", "1 token 2 audiences"),
    ("authentication.v1.TokenReviewStatus", "1 authenticated 2 user 3 error 4 audiences"),
    ("authentication.v1.UserInfo", "1 username 2 uid 3 groups 4 extra[]"),
    ("authorization.v1.FieldSelectorAttributes", "1 rawSelector 2 requirements"),
    ("authorization.v1.LabelSelectorAttributes", "1 rawSelector 2 requirements"),
    ("authorization.v1.LocalSubjectAccessReview", "1 metadata 2 spec 3 status"),
    ("authorization.v1.NonResourceAttributes", "1 path 2 verb"),
    ("authorization.v1.NonResourceRule", "1 verbs 2 nonResourceURLs"),
    (
        "authorization.v1.ResourceAttributes",
        "1 namespace 2 verb 3 group 4 version 5 resource 6 subresource 7 name 8 fieldSelector? 9 labelSelector?",
    ),
    ("authorization.v1.ResourceRule", "1 verbs 2 apiGroups 3 resources 4 resourceNames"),
    ("authorization.v1.SelfSubjectAccessReview", "1 metadata 2 spec 3 status"),
    (
        "authorization.v1.SelfSubjectAccessReviewSpec",
        "1 resourceAttributes? 2 nonResourceAttributes?",
    ),
    ("authorization.v1.SelfSubjectRulesReview", "1 metadata 2 spec 3 status"),
    ("authorization.v1.SelfSubjectRulesReviewSpec", "1 namespace"),
    ("authorization.v1.SubjectAccessReview", "1 metadata 2 spec 3 status"),
    (
        "authorization.v1.SubjectAccessReviewSpec",
        "1 resourceAttributes? 2 nonResourceAttributes? 3 user 4 groups 5 extra[] 6 uid",
    ),
    ("authorization.v1.SubjectAccessReviewStatus", "1 allowed 2 reason 3 evaluationError 4 denied"),
    (
        "authorization.v1.SubjectRulesReviewStatus",
        "1 resourceRules 2 nonResourceRules 3 incomplete 4 evaluationError",
    ),
    ("certificates.v1.CertificateSigningRequest", "1 metadata 2 spec 3 status"),
    (
        "certificates.v1.CertificateSigningRequestCondition",
        "1 type 2 reason 3 message 4 lastUpdateTime 5 lastTransitionTime 6 status",
    ),
    (
        "certificates.v1.CertificateSigningRequestSpec",
        "1 request 2 username 3 uid 4 groups 5 usages 6 extra[] 7 signerName 8 expirationSeconds?",
    ),
    ("certificates.v1.CertificateSigningRequestStatus", "1 conditions 2 certificate"),
    ("certificates.v1alpha1.ClusterTrustBundle", "1 metadata 2 spec"),
    ("certificates.v1alpha1.ClusterTrustBundleSpec", "1 signerName 2 trustBundle"),
    ("certificates.v1beta1.ClusterTrustBundle", "1 metadata 2 spec"),
    ("certificates.v1beta1.ClusterTrustBundleSpec", "1 signerName 2 trustBundle"),
    ("certificates.v1beta1.PodCertificateRequest", "1 metadata 2 spec 3 status"),
    (
        "certificates.v1beta1.PodCertificateRequestSpec",
        "1 signerName 2 podName 3 podUID 4 serviceAccountName 5 serviceAccountUID 6 nodeName 7 nodeUID 8 maxExpirationSeconds? 9 pkixPublicKey 10 proofOfPossession 11 unverifiedUserAnnotations 12 stubPKCS10Request",
    ),
    (
        "certificates.v1beta1.PodCertificateRequestStatus",
        "1 conditions 2 certificateChain 4 notBefore? 5 beginRefreshAt? 6 notAfter?",
    ),
    ("rbac.v1.AggregationRule", "1 clusterRoleSelectors"),
    ("rbac.v1.ClusterRole", "1 metadata 2 rules 3 aggregationRule?"),
    ("rbac.v1.ClusterRoleBinding", "1 metadata 2 subjects 3 roleRef"),
    ("rbac.v1.PolicyRule", "1 verbs 2 apiGroups 3 resources 4 resourceNames 5 nonResourceURLs"),
    ("rbac.v1.Role", "1 metadata 2 rules"),
    ("rbac.v1.RoleBinding", "1 metadata 2 subjects 3 roleRef"),
    ("rbac.v1.RoleRef", "1 apiGroup 2 kind 3 name"),
    ("rbac.v1.Subject", "1 kind 2 apiGroup 3 name 4 namespace"),
];
