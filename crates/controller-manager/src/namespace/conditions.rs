//! The conditions that tell why a namespace is still there. Counterpart: `status_condition_utils.go`.
//!
//! Invariant: all five conditions are there once deletion began; each moves its time only with its status.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Counts;

/// What a look at a namespace found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Why discovery failed.
    pub discovery_error: Option<String>,
    /// Why a deletion failed.
    pub deletion_error: Option<String>,
    /// Objects by resource.
    pub remaining: Counts,
    /// Objects by finalizer.
    pub finalizers: Counts,
}

/// Condition, reason and message when all is well.
const WELL: [(&str, &str, &str); 5] = [
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    (
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
];

fn joined(counts: &Counts, describe: impl Fn(&str, usize) -> String) -> Option<String> {
    let parts: Vec<String> = counts.iter().map(|(name, count)| describe(name, *count)).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

impl Findings {
    /// Reason and message when the condition holds.
    fn trouble(&self, type_: &str) -> Option<(&'static str, String)> {
        match type_ {
            "NamespaceDeletionDiscoveryFailure" => {
                Some(("DiscoveryFailed", self.discovery_error.clone()?))
            }
            "NamespaceDeletionContentFailure" => {
                let error = self.deletion_error.as_ref()?;
                Some((
                    "ContentDeletionFailed",
                    format!("Failed to delete all resource types, 1 remaining: {error}"),
                ))
            }
            "NamespaceContentRemaining" => {
                let parts = joined(&self.remaining, |name, count| {
                    format!("{name} has {count} resource instances")
                })?;
                Some(("SomeResourcesRemain", format!("Some resources are remaining: {parts}")))
            }
            "NamespaceFinalizersRemaining" => {
                let parts = joined(&self.finalizers, |name, count| {
                    format!("{name} in {count} resource instances")
                })?;
                Some((
                    "SomeFinalizersRemain",
                    format!("Some content in the namespace has finalizers remaining: {parts}"),
                ))
            }
            _ => None,
        }
    }
}

/// Brings all conditions up to date.
pub fn update(conditions: &mut Vec<NamespaceCondition>, findings: &Findings, now: Timestamp) {
    for (type_, well, well_message) in WELL {
        let (status, reason, message) = match findings.trouble(type_) {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", well, well_message.to_owned()),
        };
        let index =
            conditions.iter().position(|condition| condition.type_ == type_).unwrap_or_else(|| {
                conditions.push(NamespaceCondition {
                    type_: type_.to_owned(),
                    ..NamespaceCondition::default()
                });
                conditions.len() - 1
            });
        let condition = &mut conditions[index];
        if condition.status != status {
            condition.last_transition_time = Some(Time(now));
        }
        condition.status = status.to_owned();
        condition.reason = Some(reason.to_owned());
        condition.message = Some(message);
    }
}
