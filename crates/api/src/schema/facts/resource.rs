//! How the lists and maps of `resource.k8s.io`, in each of its versions merge.
//!
//! Counterpart in Kubernetes: the merge marks on the Go types of those groups.

use super::Row;
use crate::schema::fact::{ATOMIC, keyed, merged};

pub(super) const ROWS: &[Row] = &[
    ("resource.v1.AllocatedDeviceStatus", &[("conditions", keyed(&["type"]))]),
    ("resource.v1.CapacityRequestPolicy", &[("validValues", ATOMIC)]),
    (
        "resource.v1.Device",
        &[
            ("bindingConditions", ATOMIC),
            ("bindingFailureConditions", ATOMIC),
            ("consumesCounters", ATOMIC),
            ("taints", ATOMIC),
        ],
    ),
    ("resource.v1.DeviceAllocationConfiguration", &[("requests", ATOMIC)]),
    ("resource.v1.DeviceAllocationResult", &[("config", ATOMIC), ("results", ATOMIC)]),
    (
        "resource.v1.DeviceAttribute",
        &[("bools", ATOMIC), ("ints", ATOMIC), ("strings", ATOMIC), ("versions", ATOMIC)],
    ),
    (
        "resource.v1.DeviceClaim",
        &[("config", ATOMIC), ("constraints", ATOMIC), ("requests", ATOMIC)],
    ),
    ("resource.v1.DeviceClaimConfiguration", &[("requests", ATOMIC)]),
    ("resource.v1.DeviceClassSpec", &[("config", ATOMIC), ("selectors", ATOMIC)]),
    ("resource.v1.DeviceConstraint", &[("requests", ATOMIC)]),
    ("resource.v1.DeviceRequest", &[("firstAvailable", ATOMIC)]),
    (
        "resource.v1.DeviceRequestAllocationResult",
        &[
            ("bindingConditions", ATOMIC),
            ("bindingFailureConditions", ATOMIC),
            ("tolerations", ATOMIC),
        ],
    ),
    ("resource.v1.DeviceSubRequest", &[("selectors", ATOMIC), ("tolerations", ATOMIC)]),
    ("resource.v1.ExactDeviceRequest", &[("selectors", ATOMIC), ("tolerations", ATOMIC)]),
    ("resource.v1.NetworkDeviceData", &[("ips", ATOMIC)]),
    (
        "resource.v1.ResourceClaimStatus",
        &[
            ("devices", keyed(&["driver", "device", "pool", "shareID"])),
            ("reservedFor", merged("uid").keyed(&["uid"])),
        ],
    ),
    ("resource.v1.ResourceSliceSpec", &[("devices", ATOMIC), ("sharedCounters", ATOMIC)]),
    ("resource.v1alpha3.DeviceTaintRuleStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    (
        "resource.v1alpha3.ResourcePoolStatusRequestStatus",
        &[("conditions", merged("type").keyed(&["type"])), ("pools", ATOMIC)],
    ),
    ("resource.v1beta1.AllocatedDeviceStatus", &[("conditions", keyed(&["type"]))]),
    (
        "resource.v1beta1.BasicDevice",
        &[
            ("bindingConditions", ATOMIC),
            ("bindingFailureConditions", ATOMIC),
            ("consumesCounters", ATOMIC),
            ("taints", ATOMIC),
        ],
    ),
    ("resource.v1beta1.CapacityRequestPolicy", &[("validValues", ATOMIC)]),
    ("resource.v1beta1.DeviceAllocationConfiguration", &[("requests", ATOMIC)]),
    ("resource.v1beta1.DeviceAllocationResult", &[("config", ATOMIC), ("results", ATOMIC)]),
    (
        "resource.v1beta1.DeviceAttribute",
        &[("bools", ATOMIC), ("ints", ATOMIC), ("strings", ATOMIC), ("versions", ATOMIC)],
    ),
    (
        "resource.v1beta1.DeviceClaim",
        &[("config", ATOMIC), ("constraints", ATOMIC), ("requests", ATOMIC)],
    ),
    ("resource.v1beta1.DeviceClaimConfiguration", &[("requests", ATOMIC)]),
    ("resource.v1beta1.DeviceClassSpec", &[("config", ATOMIC), ("selectors", ATOMIC)]),
    ("resource.v1beta1.DeviceConstraint", &[("requests", ATOMIC)]),
    (
        "resource.v1beta1.DeviceRequest",
        &[("firstAvailable", ATOMIC), ("selectors", ATOMIC), ("tolerations", ATOMIC)],
    ),
    (
        "resource.v1beta1.DeviceRequestAllocationResult",
        &[
            ("bindingConditions", ATOMIC),
            ("bindingFailureConditions", ATOMIC),
            ("tolerations", ATOMIC),
        ],
    ),
    ("resource.v1beta1.DeviceSubRequest", &[("selectors", ATOMIC), ("tolerations", ATOMIC)]),
    ("resource.v1beta1.NetworkDeviceData", &[("ips", ATOMIC)]),
    (
        "resource.v1beta1.ResourceClaimStatus",
        &[
            ("devices", keyed(&["driver", "device", "pool", "shareID"])),
            ("reservedFor", merged("uid").keyed(&["uid"])),
        ],
    ),
    ("resource.v1beta1.ResourceSliceSpec", &[("devices", ATOMIC), ("sharedCounters", ATOMIC)]),
    ("resource.v1beta2.AllocatedDeviceStatus", &[("conditions", keyed(&["type"]))]),
    ("resource.v1beta2.CapacityRequestPolicy", &[("validValues", ATOMIC)]),
    (
        "resource.v1beta2.Device",
        &[
            ("bindingConditions", ATOMIC),
            ("bindingFailureConditions", ATOMIC),
            ("consumesCounters", ATOMIC),
            ("taints", ATOMIC),
        ],
    ),
    ("resource.v1beta2.DeviceAllocationConfiguration", &[("requests", ATOMIC)]),
    ("resource.v1beta2.DeviceAllocationResult", &[("config", ATOMIC), ("results", ATOMIC)]),
    (
        "resource.v1beta2.DeviceAttribute",
        &[("bools", ATOMIC), ("ints", ATOMIC), ("strings", ATOMIC), ("versions", ATOMIC)],
    ),
    (
        "resource.v1beta2.DeviceClaim",
        &[("config", ATOMIC), ("constraints", ATOMIC), ("requests", ATOMIC)],
    ),
    ("resource.v1beta2.DeviceClaimConfiguration", &[("requests", ATOMIC)]),
    ("resource.v1beta2.DeviceClassSpec", &[("config", ATOMIC), ("selectors", ATOMIC)]),
    ("resource.v1beta2.DeviceConstraint", &[("requests", ATOMIC)]),
    ("resource.v1beta2.DeviceRequest", &[("firstAvailable", ATOMIC)]),
    (
        "resource.v1beta2.DeviceRequestAllocationResult",
        &[
            ("bindingConditions", ATOMIC),
            ("bindingFailureConditions", ATOMIC),
            ("tolerations", ATOMIC),
        ],
    ),
    ("resource.v1beta2.DeviceSubRequest", &[("selectors", ATOMIC), ("tolerations", ATOMIC)]),
    ("resource.v1beta2.DeviceTaintRuleStatus", &[("conditions", merged("type").keyed(&["type"]))]),
    ("resource.v1beta2.ExactDeviceRequest", &[("selectors", ATOMIC), ("tolerations", ATOMIC)]),
    ("resource.v1beta2.NetworkDeviceData", &[("ips", ATOMIC)]),
    (
        "resource.v1beta2.ResourceClaimStatus",
        &[
            ("devices", keyed(&["driver", "device", "pool", "shareID"])),
            ("reservedFor", merged("uid").keyed(&["uid"])),
        ],
    ),
    ("resource.v1beta2.ResourceSliceSpec", &[("devices", ATOMIC), ("sharedCounters", ATOMIC)]),
];
