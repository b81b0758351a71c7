//! Field numbers of the groups by which the API server and its clients are arranged: `admissionregistration.k8s.io`,
//! `apiextensions.k8s.io`, `apiregistration.k8s.io`, `internal.apiserver.k8s.io`, `coordination.k8s.io` and
//! `flowcontrol.apiserver.k8s.io`.
//!
//! Counterpart in Kubernetes: the `protobuf` tags on the Go types of those groups.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("admissionregistration.v1.ApplyConfiguration", "1 expression"),
    ("admissionregistration.v1.AuditAnnotation", "1 key 2 valueExpression"),
    ("admissionregistration.v1.ExpressionWarning", "2 fieldRef 3 warning"),
    ("admissionregistration.v1.JSONPatch", "1 expression"),
    ("admissionregistration.v1.MatchCondition", "1 name 2 expression"),
    (
        "admissionregistration.v1.MatchResources",
        "1 namespaceSelector? 2 objectSelector? 3 resourceRules 4 excludeResourceRules 7 matchPolicy?",
    ),
    ("admissionregistration.v1.MutatingAdmissionPolicy", "1 metadata 2 spec"),
    ("admissionregistration.v1.MutatingAdmissionPolicyBinding", "1 metadata 2 spec"),
    (
        "admissionregistration.v1.MutatingAdmissionPolicyBindingSpec",
        "1 policyName 2 paramRef? 3 matchResources?",
    ),
    (
        "admissionregistration.v1.MutatingAdmissionPolicySpec",
        "1 paramKind? 2 matchConstraints? 3 variables 4 mutations 5 failurePolicy? 6 matchConditions 7 reinvocationPolicy",
    ),
    (
        "admissionregistration.v1.MutatingWebhook",
        "1 name 2 clientConfig 3 rules 4 failurePolicy? 5 namespaceSelector? 6 sideEffects? 7 timeoutSeconds? 8 admissionReviewVersions 9 matchPolicy? 10 reinvocationPolicy? 11 objectSelector? 12 matchConditions",
    ),
    ("admissionregistration.v1.MutatingWebhookConfiguration", "1 metadata 2 webhooks"),
    ("admissionregistration.v1.Mutation", "2 patchType 3 applyConfiguration? 4 jsonPatch?"),
    (
        "admissionregistration.v1.NamedRuleWithOperations",
        "1 resourceNames 2 >admissionregistration.v1.RuleWithOperations",
    ),
    ("admissionregistration.v1.ParamKind", "1 apiVersion 2 kind"),
    (
        "admissionregistration.v1.ParamRef",
        "1 name 2 namespace 3 selector? 4 parameterNotFoundAction?",
    ),
    ("admissionregistration.v1.Rule", "1 apiGroups 2 apiVersions 3 resources 4 scope?"),
    (
        "admissionregistration.v1.RuleWithOperations",
        "1 operations 2 >admissionregistration.v1.Rule",
    ),
    ("admissionregistration.v1.ServiceReference", "1 namespace 2 name 3 path? 4 port?"),
    ("admissionregistration.v1.TypeChecking", "1 expressionWarnings"),
    ("admissionregistration.v1.ValidatingAdmissionPolicy", "1 metadata 2 spec 3 status"),
    ("admissionregistration.v1.ValidatingAdmissionPolicyBinding", "1 metadata 2 spec"),
    (
        "admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec",
        "1 policyName 2 paramRef? 3 matchResources? 4 validationActions",
    ),
    (
        "admissionregistration.v1.ValidatingAdmissionPolicySpec",
        "1 paramKind? 2 matchConstraints? 3 validations 4 failurePolicy? 5 auditAnnotations 6 matchConditions 7 variables",
    ),
    (
        "admissionregistration.v1.ValidatingAdmissionPolicyStatus",
        "1 observedGeneration 2 typeChecking? 3 conditions",
    ),
    (
        "admissionregistration.v1.ValidatingWebhook",
        "1 name 2 clientConfig 3 rules 4 failurePolicy? 5 namespaceSelector? 6 sideEffects? 7 timeoutSeconds? 8 admissionReviewVersions 9 matchPolicy? 10 objectSelector? 11 matchConditions",
    ),
    ("admissionregistration.v1.ValidatingWebhookConfiguration", "1 metadata 2 webhooks"),
    ("admissionregistration.v1.Validation", "1 expression 2 message 3 reason? 4 messageExpression"),
    ("admissionregistration.v1.Variable", "1 name 2 expression"),
    ("admissionregistration.v1.WebhookClientConfig", "1 service? 2 caBundle 3 url?"),
    ("admissionregistration.v1alpha1.ApplyConfiguration", "1 expression"),
    ("admissionregistration.v1alpha1.JSONPatch", "1 expression"),
    ("admissionregistration.v1alpha1.MatchCondition", "1 name 2 expression"),
    (
        "admissionregistration.v1alpha1.MatchResources",
        "1 namespaceSelector? 2 objectSelector? 3 resourceRules 4 excludeResourceRules 7 matchPolicy?",
    ),
    ("admissionregistration.v1alpha1.MutatingAdmissionPolicy", "1 metadata 2 spec"),
    ("admissionregistration.v1alpha1.MutatingAdmissionPolicyBinding", "1 metadata 2 spec"),
    (
        "admissionregistration.v1alpha1.MutatingAdmissionPolicyBindingSpec",
        "1 policyName 2 paramRef? 3 matchResources?",
    ),
    (
        "admissionregistration.v1alpha1.MutatingAdmissionPolicySpec",
        "1 paramKind? 2 matchConstraints? 3 variables 4 mutations 5 failurePolicy? 6 matchConditions 7 reinvocationPolicy",
    ),
    ("admissionregistration.v1alpha1.Mutation", "2 patchType 3 applyConfiguration? 4 jsonPatch?"),
    (
        "admissionregistration.v1alpha1.NamedRuleWithOperations",
        "1 resourceNames 2 >admissionregistration.v1.RuleWithOperations",
    ),
    ("admissionregistration.v1alpha1.ParamKind", "1 apiVersion 2 kind"),
    (
        "admissionregistration.v1alpha1.ParamRef",
        "1 name 2 namespace 3 selector? 4 parameterNotFoundAction?",
    ),
    ("admissionregistration.v1alpha1.Variable", "1 name 2 expression"),
    ("admissionregistration.v1beta1.ApplyConfiguration", "1 expression"),
    ("admissionregistration.v1beta1.JSONPatch", "1 expression"),
    ("admissionregistration.v1beta1.MatchCondition", "1 name 2 expression"),
    (
        "admissionregistration.v1beta1.MatchResources",
        "1 namespaceSelector? 2 objectSelector? 3 resourceRules 4 excludeResourceRules 7 matchPolicy?",
    ),
    ("admissionregistration.v1beta1.MutatingAdmissionPolicy", "1 metadata 2 spec"),
    ("admissionregistration.v1beta1.MutatingAdmissionPolicyBinding", "1 metadata 2 spec"),
    (
        "admissionregistration.v1beta1.MutatingAdmissionPolicyBindingSpec",
        "1 policyName 2 paramRef? 3 matchResources?",
    ),
    (
        "admissionregistration.v1beta1.MutatingAdmissionPolicySpec",
        "1 paramKind? 2 matchConstraints? 3 variables 4 mutations 5 failurePolicy? 6 matchConditions 7 reinvocationPolicy",
    ),
    ("admissionregistration.v1beta1.Mutation", "2 patchType 3 applyConfiguration? 4 jsonPatch?"),
    (
        "admissionregistration.v1beta1.NamedRuleWithOperations",
        "1 resourceNames 2 >admissionregistration.v1.RuleWithOperations",
    ),
    ("admissionregistration.v1beta1.ParamKind", "1 apiVersion 2 kind"),
    (
        "admissionregistration.v1beta1.ParamRef",
        "1 name 2 namespace 3 selector? 4 parameterNotFoundAction?",
    ),
    ("admissionregistration.v1beta1.Variable", "1 name 2 expression"),
    (
        "apiextensions.v1.CustomResourceColumnDefinition",
        "1 name 2 type 3 format 4 description 5 priority 6 jsonPath",
    ),
    ("apiextensions.v1.CustomResourceConversion", "1 strategy 2 webhook?"),
    ("apiextensions.v1.CustomResourceDefinition", "1 metadata 2 spec 3 status"),
    (
        "apiextensions.v1.CustomResourceDefinitionCondition",
        "1 type 2 status 3 lastTransitionTime 4 reason 5 message 6 observedGeneration",
    ),
    (
        "apiextensions.v1.CustomResourceDefinitionNames",
        "1 plural 2 singular 3 shortNames 4 kind 5 listKind 6 categories",
    ),
    (
        "apiextensions.v1.CustomResourceDefinitionSpec",
        "1 group 3 names 4 scope 7 versions 9 conversion? 10 preserveUnknownFields",
    ),
    (
        "apiextensions.v1.CustomResourceDefinitionStatus",
        "1 conditions 2 acceptedNames 3 storedVersions 4 observedGeneration",
    ),
    (
        "apiextensions.v1.CustomResourceDefinitionVersion",
        "1 name 2 served 3 storage 4 schema? 5 subresources? 6 additionalPrinterColumns 7 deprecated 8 deprecationWarning? 9 selectableFields",
    ),
    (
        "apiextensions.v1.CustomResourceSubresourceScale",
        "1 specReplicasPath 2 statusReplicasPath 3 labelSelectorPath?",
    ),
    ("apiextensions.v1.CustomResourceSubresourceStatus", ""),
    ("apiextensions.v1.CustomResourceSubresources", "1 status? 2 scale?"),
    ("apiextensions.v1.CustomResourceValidation", "1 openAPIV3Schema?"),
    ("apiextensions.v1.ExternalDocumentation", "1 description 2 url"),
    (
        "apiextensions.v1.JSONSchemaProps",
        "1 id 2 $schema 3 $ref? 4 description 5 type 6 format 7 title 8 default? 9 maximum? 10 exclusiveMaximum 11 minimum? 12 exclusiveMinimum 13 maxLength? 14 minLength? 15 pattern 16 maxItems? 17 minItems? 18 uniqueItems 19 multipleOf? 20 enum 21 maxProperties? 22 minProperties? 23 required 24 items? 25 allOf 26 oneOf 27 anyOf 28 not? 29 properties 30 additionalProperties? 31 patternProperties 32 dependencies 33 additionalItems? 34 definitions 35 externalDocs? 36 example? 37 nullable 38 x-kubernetes-preserve-unknown-fields? 39 x-kubernetes-embedded-resource 40 x-kubernetes-int-or-string 41 x-kubernetes-list-map-keys 42 x-kubernetes-list-type? 43 x-kubernetes-map-type? 44 x-kubernetes-validations",
    ),
    ("apiextensions.v1.SelectableField", "1 jsonPath"),
    ("apiextensions.v1.ServiceReference", "1 namespace 2 name 3 path? 4 port?"),
    (
        "apiextensions.v1.ValidationRule",
        "1 rule 2 message 3 messageExpression 4 reason? 5 fieldPath 6 optionalOldSelf?",
    ),
    ("apiextensions.v1.WebhookClientConfig", "1 service? 2 caBundle 3 url?"),
    ("apiextensions.v1.WebhookConversion", "2 clientConfig? 3 conversionReviewVersions"),
    ("apiregistration.v1.APIService", "1 metadata 2 spec 3 status"),
    (
        "apiregistration.v1.APIServiceCondition",
        "1 type 2 status 3 lastTransitionTime 4 reason 5 message",
    ),
    (
        "apiregistration.v1.APIServiceSpec",
        "1 service? 2 group 3 version 4 insecureSkipTLSVerify 5 caBundle 7 groupPriorityMinimum 8 versionPriority",
    ),
    ("apiregistration.v1.APIServiceStatus", "1 conditions"),
    ("apiregistration.v1.ServiceReference", "1 namespace 2 name 3 port?"),
    (
        "apiserverinternal.v1alpha1.ServerStorageVersion",
        "1 apiServerID 2 encodingVersion 3 decodableVersions 4 servedVersions",
    ),
    ("apiserverinternal.v1alpha1.StorageVersion", "1 metadata 2 spec 3 status"),
    (
        "apiserverinternal.v1alpha1.StorageVersionCondition",
        "1 type 2 status 3 observedGeneration 4 lastTransitionTime 5 reason 6 message",
    ),
    ("apiserverinternal.v1alpha1.StorageVersionSpec", ""),
    (
        "apiserverinternal.v1alpha1.StorageVersionStatus",
        "1 storageVersions 2 commonEncodingVersion? 3 conditions",
    ),
    ("coordination.v1.Lease", "1 metadata 2 spec"),
    (
        "coordination.v1.LeaseSpec",
        "1 holderIdentity? 2 leaseDurationSeconds? 3 acquireTime? 4 renewTime? 5 leaseTransitions? 6 strategy? 7 preferredHolder?",
    ),
    ("coordination.v1alpha2.LeaseCandidate", "1 metadata 2 spec"),
    (
        "coordination.v1alpha2.LeaseCandidateSpec",
        "1 leaseName 2 pingTime? 3 renewTime? 4 binaryVersion 5 emulationVersion 6 strategy",
    ),
    ("coordination.v1beta1.LeaseCandidate", "1 metadata 2 spec"),
    (
        "coordination.v1beta1.LeaseCandidateSpec",
        "1 leaseName 2 pingTime? 3 renewTime? 4 binaryVersion 5 emulationVersion 6 strategy",
    ),
    (
        "flowcontrol.v1.ExemptPriorityLevelConfiguration",
        "1 nominalConcurrencyShares? 2 lendablePercent?",
    ),
    ("flowcontrol.v1.FlowDistinguisherMethod", "1 type"),
    ("flowcontrol.v1.FlowSchema", "1 metadata 2 spec 3 status"),
    (
        "flowcontrol.v1.FlowSchemaCondition",
        "1 type 2 status 3 lastTransitionTime 4 reason 5 message",
    ),
    (
        "flowcontrol.v1.FlowSchemaSpec",
        "1 priorityLevelConfiguration 2 matchingPrecedence 3 distinguisherMethod? 4 rules",
    ),
    ("flowcontrol.v1.FlowSchemaStatus", "1 conditions"),
    ("flowcontrol.v1.GroupSubject", "1 name"),
    ("flowcontrol.v1.LimitResponse", "1 type 2 queuing?"),
    (
        "flowcontrol.v1.LimitedPriorityLevelConfiguration",
        "1 nominalConcurrencyShares? 2 limitResponse 3 lendablePercent? 4 borrowingLimitPercent?",
    ),
    ("flowcontrol.v1.NonResourcePolicyRule", "1 verbs 6 nonResourceURLs"),
    ("flowcontrol.v1.PolicyRulesWithSubjects", "1 subjects 2 resourceRules 3 nonResourceRules"),
    ("flowcontrol.v1.PriorityLevelConfiguration", "1 metadata 2 spec 3 status"),
    (
        "flowcontrol.v1.PriorityLevelConfigurationCondition",
        "1 type 2 status 3 lastTransitionTime 4 reason 5 message",
    ),
    ("flowcontrol.v1.PriorityLevelConfigurationReference", "1 name"),
    ("flowcontrol.v1.PriorityLevelConfigurationSpec", "1 type 2 limited? 3 exempt?"),
    ("flowcontrol.v1.PriorityLevelConfigurationStatus", "1 conditions"),
    ("flowcontrol.v1.QueuingConfiguration", "1 queues 2 handSize 3 queueLengthLimit"),
    (
        "flowcontrol.v1.ResourcePolicyRule",
        "1 verbs 2 apiGroups 3 resources 4 clusterScope 5 namespaces",
    ),
    ("flowcontrol.v1.ServiceAccountSubject", "1 namespace 2 name"),
    ("flowcontrol.v1.Subject", "1 kind 2 user? 3 group? 4 serviceAccount?"),
    ("flowcontrol.v1.UserSubject", "1 name"),
];
