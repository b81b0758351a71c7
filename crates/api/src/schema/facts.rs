//! What the types themselves do not say: how lists and maps merge, and which values stand in for absent ones.
//!
//! Counterpart in Kubernetes: the `patchStrategy`, `patchMergeKey`, `+listType`, `+listMapKey`, `+mapType`,
//! `+structType` and `+default` marks on the Go types. One row per type, one entry per field; a test checks that
//! every row names a type and a field that exist. Adding a kind means adding the rows of the types it brings.

use super::fact::{ATOMIC, ATOMIC_MAP, Fact, MERGED_SET, RETAIN_KEYS, SET, keyed, merged};

/// Types whose values are replaced as a whole by server-side apply.
pub(super) const ATOMIC_TYPES: &[&str] = &[
    "core.v1.ConfigMapKeySelector",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector",
    "core.v1.SecretKeySelector",
    "core.v1.TypedLocalObjectReference",
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
];

/// Types whose `name` may be left out.
pub(super) const NAMELESS_TYPES: &[&str] = &[
    "core.v1.ConfigMapEnvSource",
    "core.v1.ConfigMapKeySelector",
    "core.v1.ConfigMapProjection",
    "core.v1.ConfigMapVolumeSource",
    "core.v1.LocalObjectReference",
    "core.v1.SecretEnvSource",
    "core.v1.SecretKeySelector",
    "core.v1.SecretProjection",
];

/// Type, field, and the value that stands in for an absent one, where it is not the zero value.
pub(super) const DEFAULTS: &[(&str, &str, &str)] = &[
    ("core.v1.AzureDiskVolumeSource", "cachingMode", "ReadWrite"),
    ("core.v1.AzureDiskVolumeSource", "fsType", "ext4"),
    ("core.v1.AzureDiskVolumeSource", "kind", "Shared"),
    ("core.v1.ContainerPort", "protocol", "TCP"),
    ("core.v1.ISCSIVolumeSource", "iscsiInterface", "default"),
    ("core.v1.RBDVolumeSource", "keyring", "/etc/ceph/keyring"),
    ("core.v1.RBDVolumeSource", "pool", "rbd"),
    ("core.v1.RBDVolumeSource", "user", "admin"),
    ("core.v1.ScaleIOVolumeSource", "fsType", "xfs"),
    ("core.v1.ScaleIOVolumeSource", "storageMode", "ThinProvisioned"),
    ("core.v1.ServicePort", "protocol", "TCP"),
];

/// Type, then its fields with their facts.
pub(super) const FIELDS: &[(&str, &[(&str, Fact)])] = &[
    ("apps.v1.DeploymentSpec", &[("strategy", RETAIN_KEYS)]),
    ("apps.v1.DeploymentStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("apps.v1.ReplicaSetStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("authentication.v1.TokenRequestSpec", &[("audiences", ATOMIC)]),
    ("core.v1.Capabilities", &[("add", ATOMIC), ("drop", ATOMIC)]),
    ("core.v1.CephFSVolumeSource", &[("monitors", ATOMIC)]),
    ("core.v1.ConfigMapProjection", &[("items", ATOMIC)]),
    ("core.v1.ConfigMapVolumeSource", &[("items", ATOMIC)]),
    (
        "core.v1.Container",
        &[
            ("args", ATOMIC),
            ("command", ATOMIC),
            ("env", merged("name").keyed(&["name"])),
            ("envFrom", ATOMIC),
            ("ports", merged("containerPort").keyed(&["containerPort", "protocol"])),
            ("resizePolicy", ATOMIC),
            ("restartPolicyRules", ATOMIC),
            ("volumeDevices", merged("devicePath").keyed(&["devicePath"])),
            ("volumeMounts", merged("mountPath").keyed(&["mountPath"])),
        ],
    ),
    ("core.v1.ContainerImage", &[("names", ATOMIC)]),
    ("core.v1.ContainerRestartRuleOnExitCodes", &[("values", SET)]),
    (
        "core.v1.ContainerStatus",
        &[
            ("allocatedResourcesStatus", merged("name").keyed(&["name"])),
            ("volumeMounts", merged("mountPath").keyed(&["mountPath"])),
        ],
    ),
    ("core.v1.DownwardAPIProjection", &[("items", ATOMIC)]),
    ("core.v1.DownwardAPIVolumeSource", &[("items", ATOMIC)]),
    (
        "core.v1.EphemeralContainer",
        &[
            ("args", ATOMIC),
            ("command", ATOMIC),
            ("env", merged("name").keyed(&["name"])),
            ("envFrom", ATOMIC),
            ("ports", merged("containerPort").keyed(&["containerPort", "protocol"])),
            ("resizePolicy", ATOMIC),
            ("restartPolicyRules", ATOMIC),
            ("volumeDevices", merged("devicePath").keyed(&["devicePath"])),
            ("volumeMounts", merged("mountPath").keyed(&["mountPath"])),
        ],
    ),
    ("core.v1.ExecAction", &[("command", ATOMIC)]),
    ("core.v1.FCVolumeSource", &[("targetWWNs", ATOMIC), ("wwids", ATOMIC)]),
    ("core.v1.HTTPGetAction", &[("httpHeaders", ATOMIC)]),
    ("core.v1.HostAlias", &[("hostnames", ATOMIC)]),
    ("core.v1.ISCSIVolumeSource", &[("portals", ATOMIC)]),
    ("core.v1.LinuxContainerUser", &[("supplementalGroups", ATOMIC)]),
    ("core.v1.LoadBalancerIngress", &[("ports", ATOMIC)]),
    ("core.v1.LoadBalancerStatus", &[("ingress", ATOMIC)]),
    ("core.v1.NamespaceSpec", &[("finalizers", ATOMIC)]),
    ("core.v1.NamespaceStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("core.v1.NodeAffinity", &[("preferredDuringSchedulingIgnoredDuringExecution", ATOMIC)]),
    ("core.v1.NodeAllocatableResourceClaimStatus", &[("containers", SET)]),
    ("core.v1.NodeSelector", &[("nodeSelectorTerms", ATOMIC)]),
    ("core.v1.NodeSelectorRequirement", &[("values", ATOMIC)]),
    ("core.v1.NodeSelectorTerm", &[("matchExpressions", ATOMIC), ("matchFields", ATOMIC)]),
    ("core.v1.NodeSpec", &[("podCIDRs", MERGED_SET), ("taints", ATOMIC)]),
    (
        "core.v1.NodeStatus",
        &[
            ("addresses", merged("type").keyed(&["type"])),
            ("conditions", merged("type").keyed(&["type"])),
            ("declaredFeatures", ATOMIC),
            ("images", ATOMIC),
            ("runtimeHandlers", ATOMIC),
            ("volumesAttached", ATOMIC),
            ("volumesInUse", ATOMIC),
        ],
    ),
    ("core.v1.PersistentVolumeClaimSpec", &[("accessModes", ATOMIC)]),
    (
        "core.v1.PodAffinity",
        &[
            ("preferredDuringSchedulingIgnoredDuringExecution", ATOMIC),
            ("requiredDuringSchedulingIgnoredDuringExecution", ATOMIC),
        ],
    ),
    (
        "core.v1.PodAffinityTerm",
        &[("matchLabelKeys", ATOMIC), ("mismatchLabelKeys", ATOMIC), ("namespaces", ATOMIC)],
    ),
    (
        "core.v1.PodAntiAffinity",
        &[
            ("preferredDuringSchedulingIgnoredDuringExecution", ATOMIC),
            ("requiredDuringSchedulingIgnoredDuringExecution", ATOMIC),
        ],
    ),
    ("core.v1.PodDNSConfig", &[("nameservers", ATOMIC), ("options", ATOMIC), ("searches", ATOMIC)]),
    ("core.v1.PodExtendedResourceClaimStatus", &[("requestMappings", ATOMIC)]),
    ("core.v1.PodSecurityContext", &[("supplementalGroups", ATOMIC), ("sysctls", ATOMIC)]),
    (
        "core.v1.PodSpec",
        &[
            ("containers", merged("name").keyed(&["name"])),
            ("ephemeralContainers", merged("name").keyed(&["name"])),
            ("hostAliases", merged("ip").keyed(&["ip"])),
            ("imagePullSecrets", merged("name").keyed(&["name"])),
            ("initContainers", merged("name").keyed(&["name"])),
            ("nodeSelector", ATOMIC_MAP),
            ("readinessGates", ATOMIC),
            ("resourceClaims", merged("name").keyed(&["name"]).retaining()),
            ("schedulingGates", merged("name").keyed(&["name"])),
            ("tolerations", ATOMIC),
            (
                "topologySpreadConstraints",
                merged("topologyKey").keyed(&["topologyKey", "whenUnsatisfiable"]),
            ),
            ("volumes", merged("name").keyed(&["name"]).retaining()),
        ],
    ),
    (
        "core.v1.PodStatus",
        &[
            ("conditions", merged("type").keyed(&["type"])),
            ("containerStatuses", ATOMIC),
            ("ephemeralContainerStatuses", ATOMIC),
            ("hostIPs", merged("ip").atomic()),
            ("initContainerStatuses", ATOMIC),
            ("nodeAllocatableResourceClaimStatuses", ATOMIC),
            ("podIPs", merged("ip").keyed(&["ip"])),
            ("resourceClaimStatuses", merged("name").keyed(&["name"]).retaining()),
        ],
    ),
    ("core.v1.ProjectedVolumeSource", &[("sources", ATOMIC)]),
    ("core.v1.RBDVolumeSource", &[("monitors", ATOMIC)]),
    ("core.v1.ResourceRequirements", &[("claims", keyed(&["name"]))]),
    ("core.v1.ResourceStatus", &[("resources", keyed(&["resourceID"]))]),
    ("core.v1.SecretProjection", &[("items", ATOMIC)]),
    ("core.v1.SecretVolumeSource", &[("items", ATOMIC)]),
    (
        "core.v1.ServiceAccount",
        &[("imagePullSecrets", ATOMIC), ("secrets", merged("name").keyed(&["name"]))],
    ),
    (
        "core.v1.ServiceSpec",
        &[
            ("clusterIPs", ATOMIC),
            ("externalIPs", ATOMIC),
            ("ipFamilies", ATOMIC),
            ("loadBalancerSourceRanges", ATOMIC),
            ("ports", merged("port").keyed(&["port", "protocol"])),
            ("selector", ATOMIC_MAP),
        ],
    ),
    ("core.v1.ServiceStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("core.v1.TopologySpreadConstraint", &[("matchLabelKeys", ATOMIC)]),
    ("meta.v1.APIResource", &[("categories", ATOMIC), ("shortNames", ATOMIC)]),
    ("meta.v1.APIResourceList", &[("resources", ATOMIC)]),
    ("meta.v1.DeleteOptions", &[("dryRun", ATOMIC)]),
    ("meta.v1.LabelSelector", &[("matchExpressions", ATOMIC)]),
    ("meta.v1.LabelSelectorRequirement", &[("values", ATOMIC)]),
    (
        "meta.v1.ObjectMeta",
        &[
            ("finalizers", MERGED_SET),
            ("managedFields", ATOMIC),
            ("ownerReferences", merged("uid").keyed(&["uid"])),
        ],
    ),
    ("meta.v1.StatusDetails", &[("causes", ATOMIC)]),
];
