//! Messages of types that no definition describes, because they only show in discovery and in answers that hold metadata.
//!
//! Counterpart in Kubernetes: `apidiscovery.k8s.io` and the partial objects of `meta.k8s.io`. Behind each name stands what
//! the field holds: `text`, a message, or with `[]` in front a list of them.

use super::Row;

/// Group, version and kind of those that stand alone, and their message.
pub(in crate::schema) const KINDS: &[((&str, &str, &str), &str)] = &[
    (("meta.k8s.io", "v1", "PartialObjectMetadata"), "meta.v1.PartialObjectMetadata"),
    (("meta.k8s.io", "v1", "PartialObjectMetadataList"), "meta.v1.PartialObjectMetadataList"),
    (("meta.k8s.io", "v1beta1", "PartialObjectMetadata"), "meta.v1.PartialObjectMetadata"),
    (
        ("meta.k8s.io", "v1beta1", "PartialObjectMetadataList"),
        "meta.v1beta1.PartialObjectMetadataList",
    ),
    (
        ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList"),
        "apidiscovery.v2.APIGroupDiscoveryList",
    ),
    (
        ("apidiscovery.k8s.io", "v2beta1", "APIGroupDiscoveryList"),
        "apidiscovery.v2.APIGroupDiscoveryList",
    ),
];

pub(super) const ROWS: &[Row] = &[
    (
        "apidiscovery.v2.APIGroupDiscovery",
        "1 metadata=meta.v1.ObjectMeta 2 versions=[]apidiscovery.v2.APIVersionDiscovery",
    ),
    (
        "apidiscovery.v2.APIGroupDiscoveryList",
        "1 metadata=meta.v1.ListMeta 2 items=[]apidiscovery.v2.APIGroupDiscovery",
    ),
    (
        "apidiscovery.v2.APIResourceDiscovery",
        "1 resource=text 2 responseKind=meta.v1.GroupVersionKind? 3 scope=text 4 singularResource=text 5 verbs=[]text 6 shortNames=[]text 7 categories=[]text 8 subresources=[]apidiscovery.v2.APISubresourceDiscovery",
    ),
    (
        "apidiscovery.v2.APISubresourceDiscovery",
        "1 subresource=text 2 responseKind=meta.v1.GroupVersionKind? 3 acceptedTypes=[]meta.v1.GroupVersionKind 4 verbs=[]text",
    ),
    (
        "apidiscovery.v2.APIVersionDiscovery",
        "1 version=text 2 resources=[]apidiscovery.v2.APIResourceDiscovery 3 freshness=text",
    ),
    ("meta.v1.GroupVersionKind", "1 group=text 2 version=text 3 kind=text"),
    ("meta.v1.PartialObjectMetadata", "1 metadata=meta.v1.ObjectMeta"),
    (
        "meta.v1.PartialObjectMetadataList",
        "1 metadata=meta.v1.ListMeta 2 items=[]meta.v1.PartialObjectMetadata",
    ),
    (
        "meta.v1beta1.PartialObjectMetadataList",
        "1 items=[]meta.v1.PartialObjectMetadata 2 metadata=meta.v1.ListMeta",
    ),
];
