//! Kinds of the group `flowcontrol.apiserver.k8s.io`.

pub mod flow_schema;
pub mod priority_level_configuration;

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};

use crate::kinds::{ALL_VERBS, PART_VERBS, Resource, Subresource, names, row, sub};

const SCHEMA_SUBRESOURCES: &[Subresource] = &[sub("status", "FlowSchema", PART_VERBS)];
const LEVEL_SUBRESOURCES: &[Subresource] =
    &[sub("status", "PriorityLevelConfiguration", PART_VERBS)];

/// The rows of the group.
pub(crate) fn rows() -> Vec<Resource> {
    vec![
        row::<FlowSchema>(
            names("flowschema", &[], &[]),
            ALL_VERBS,
            SCHEMA_SUBRESOURCES,
            "io.k8s.api.flowcontrol.v1.FlowSchema",
        ),
        row::<PriorityLevelConfiguration>(
            names("prioritylevelconfiguration", &[], &[]),
            ALL_VERBS,
            LEVEL_SUBRESOURCES,
            "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
        ),
    ]
}

#[cfg(test)]
mod tests;
