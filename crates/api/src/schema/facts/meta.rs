//! How the lists and maps of the types every group shares merge.
//!
//! Counterpart in Kubernetes: the merge marks on the Go types of those groups.

use super::Row;
use crate::schema::fact::{ATOMIC, MERGED_SET, merged};

pub(super) const ROWS: &[Row] = &[
    ("meta.v1.APIGroup", &[("serverAddressByClientCIDRs", ATOMIC), ("versions", ATOMIC)]),
    ("meta.v1.APIGroupList", &[("groups", ATOMIC)]),
    ("meta.v1.APIResource", &[("categories", ATOMIC), ("shortNames", ATOMIC)]),
    ("meta.v1.APIResourceList", &[("resources", ATOMIC)]),
    ("meta.v1.APIVersions", &[("serverAddressByClientCIDRs", ATOMIC), ("versions", ATOMIC)]),
    ("meta.v1.DeleteOptions", &[("dryRun", ATOMIC)]),
    ("meta.v1.FieldSelectorRequirement", &[("values", ATOMIC)]),
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
