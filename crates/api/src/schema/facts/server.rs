//! How the lists and maps of the groups by which the API server and its clients are arranged:
//! `admissionregistration.k8s.io`, `apiextensions.k8s.io`, `apiregistration.k8s.io`, `internal.apiserver.k8s.io`,
//! `coordination.k8s.io` and `flowcontrol.apiserver.k8s.io` merge.
//!
//! Counterpart in Kubernetes: the merge marks on the Go types of those groups.

use super::Row;
use crate::schema::fact::{ATOMIC, SET, keyed, merged};

pub(super) const ROWS: &[Row] = &[
    (
        "admissionregistration.v1.MatchResources",
        &[("excludeResourceRules", ATOMIC), ("resourceRules", ATOMIC)],
    ),
    (
        "admissionregistration.v1.MutatingAdmissionPolicySpec",
        &[
            ("matchConditions", merged("name").keyed(&["name"])),
            ("mutations", ATOMIC),
            ("variables", ATOMIC),
        ],
    ),
    (
        "admissionregistration.v1.MutatingWebhook",
        &[
            ("admissionReviewVersions", ATOMIC),
            ("matchConditions", merged("name").keyed(&["name"])),
            ("rules", ATOMIC),
        ],
    ),
    (
        "admissionregistration.v1.MutatingWebhookConfiguration",
        &[("webhooks", merged("name").keyed(&["name"]))],
    ),
    (
        "admissionregistration.v1.NamedRuleWithOperations",
        &[
            ("apiGroups", ATOMIC),
            ("apiVersions", ATOMIC),
            ("operations", ATOMIC),
            ("resourceNames", ATOMIC),
            ("resources", ATOMIC),
        ],
    ),
    (
        "admissionregistration.v1.RuleWithOperations",
        &[
            ("apiGroups", ATOMIC),
            ("apiVersions", ATOMIC),
            ("operations", ATOMIC),
            ("resources", ATOMIC),
        ],
    ),
    ("admissionregistration.v1.TypeChecking", &[("expressionWarnings", ATOMIC)]),
    (
        "admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec",
        &[("validationActions", SET)],
    ),
    (
        "admissionregistration.v1.ValidatingAdmissionPolicySpec",
        &[
            ("auditAnnotations", ATOMIC),
            ("matchConditions", merged("name").keyed(&["name"])),
            ("validations", ATOMIC),
            ("variables", merged("name").keyed(&["name"])),
        ],
    ),
    (
        "admissionregistration.v1.ValidatingAdmissionPolicyStatus",
        &[("conditions", keyed(&["type"]))],
    ),
    (
        "admissionregistration.v1.ValidatingWebhook",
        &[
            ("admissionReviewVersions", ATOMIC),
            ("matchConditions", merged("name").keyed(&["name"])),
            ("rules", ATOMIC),
        ],
    ),
    (
        "admissionregistration.v1.ValidatingWebhookConfiguration",
        &[("webhooks", merged("name").keyed(&["name"]))],
    ),
    (
        "admissionregistration.v1alpha1.MatchResources",
        &[("excludeResourceRules", ATOMIC), ("resourceRules", ATOMIC)],
    ),
    (
        "admissionregistration.v1alpha1.MutatingAdmissionPolicySpec",
        &[
            ("matchConditions", merged("name").keyed(&["name"])),
            ("mutations", ATOMIC),
            ("variables", ATOMIC),
        ],
    ),
    (
        "admissionregistration.v1alpha1.NamedRuleWithOperations",
        &[
            ("apiGroups", ATOMIC),
            ("apiVersions", ATOMIC),
            ("operations", ATOMIC),
            ("resourceNames", ATOMIC),
            ("resources", ATOMIC),
        ],
    ),
    (
        "admissionregistration.v1beta1.MatchResources",
        &[("excludeResourceRules", ATOMIC), ("resourceRules", ATOMIC)],
    ),
    (
        "admissionregistration.v1beta1.MutatingAdmissionPolicySpec",
        &[
            ("matchConditions", merged("name").keyed(&["name"])),
            ("mutations", ATOMIC),
            ("variables", ATOMIC),
        ],
    ),
    (
        "admissionregistration.v1beta1.NamedRuleWithOperations",
        &[
            ("apiGroups", ATOMIC),
            ("apiVersions", ATOMIC),
            ("operations", ATOMIC),
            ("resourceNames", ATOMIC),
            ("resources", ATOMIC),
        ],
    ),
    (
        "apiextensions.v1.CustomResourceDefinitionNames",
        &[("categories", ATOMIC), ("shortNames", ATOMIC)],
    ),
    ("apiextensions.v1.CustomResourceDefinitionSpec", &[("versions", ATOMIC)]),
    (
        "apiextensions.v1.CustomResourceDefinitionStatus",
        &[("conditions", keyed(&["type"])), ("storedVersions", ATOMIC)],
    ),
    (
        "apiextensions.v1.CustomResourceDefinitionVersion",
        &[("additionalPrinterColumns", ATOMIC), ("selectableFields", ATOMIC)],
    ),
    (
        "apiextensions.v1.JSONSchemaProps",
        &[
            ("allOf", ATOMIC),
            ("anyOf", ATOMIC),
            ("enum", ATOMIC),
            ("oneOf", ATOMIC),
            ("required", ATOMIC),
            ("x-kubernetes-list-map-keys", ATOMIC),
            ("x-kubernetes-validations", merged("rule").keyed(&["rule"])),
        ],
    ),
    ("apiextensions.v1.WebhookConversion", &[("conversionReviewVersions", ATOMIC)]),
    ("apiregistration.v1.APIServiceSpec", &[("caBundle", ATOMIC)]),
    ("apiregistration.v1.APIServiceStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    (
        "apiserverinternal.v1alpha1.ServerStorageVersion",
        &[("decodableVersions", SET), ("servedVersions", SET)],
    ),
    (
        "apiserverinternal.v1alpha1.StorageVersionStatus",
        &[("conditions", keyed(&["type"])), ("storageVersions", keyed(&["apiServerID"]))],
    ),
    ("flowcontrol.v1.FlowSchemaSpec", &[("rules", ATOMIC)]),
    ("flowcontrol.v1.FlowSchemaStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("flowcontrol.v1.NonResourcePolicyRule", &[("nonResourceURLs", SET), ("verbs", SET)]),
    (
        "flowcontrol.v1.PolicyRulesWithSubjects",
        &[("nonResourceRules", ATOMIC), ("resourceRules", ATOMIC), ("subjects", ATOMIC)],
    ),
    (
        "flowcontrol.v1.PriorityLevelConfigurationStatus",
        &[("conditions", merged("type").keyed(&["type"]))],
    ),
    (
        "flowcontrol.v1.ResourcePolicyRule",
        &[("apiGroups", SET), ("namespaces", SET), ("resources", SET), ("verbs", SET)],
    ),
];
