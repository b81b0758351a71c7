//! PriorityClass: a name for how important a pod is.
//!
//! Counterpart in Kubernetes: `pkg/registry/scheduling/priorityclass` and `pkg/apis/scheduling`.

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use crate::columns::{self, column, wide};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, omit_empty, text};
use crate::strategy::KindStrategy;

/// Names with this prefix belong to Kubernetes.
const SYSTEM_PREFIX: &str = "system-";
/// The greatest value of a class of somebody else.
const HIGHEST_USER_DEFINABLE: i32 = 1_000_000_000;
/// Values of the classes that every cluster has.
pub const SYSTEM_CLASSES: [(&str, i32); 2] = [
    ("system-node-critical", 2 * HIGHEST_USER_DEFINABLE + 1000),
    ("system-cluster-critical", 2 * HIGHEST_USER_DEFINABLE),
];
const POLICIES: &[&str] = &[PREEMPT, "Never"];
const PREEMPT: &str = "PreemptLowerPriority";

impl KindStrategy for PriorityClass {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Value", "integer", "Priority of the pods of this class."),
        column("Global-Default", "boolean", "Whether pods without a class are of this one."),
        columns::AGE,
        wide("PreemptionPolicy", "string", "Whether pods of this class displace others."),
    ];
    const GENERATION: bool = true;

    fn default_fields(&mut self) {
        self.preemption_policy.get_or_insert_with(|| PREEMPT.to_owned());
        self.value.get_or_insert_default();
        self.global_default = self.global_default.filter(|set| *set);
        omit_empty!(self; description);
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        let (name, value) = (text(&self.metadata.name), self.value.unwrap_or_default());
        if name.starts_with(SYSTEM_PREFIX) {
            if let Some(problem) = system_problem(name, value, self.global_default == Some(true)) {
                let detail = format!(
                    "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {problem}"
                );
                errors.forbidden(&Path::new("metadata").child("name"), detail);
            }
        } else if value > HIGHEST_USER_DEFINABLE {
            let detail = format!(
                "maximum allowed value of a user defined priority is {HIGHEST_USER_DEFINABLE}"
            );
            errors.forbidden(&Path::new("value"), detail);
        }
        let at = Path::new("preemptionPolicy");
        let policy = text(&self.preemption_policy);
        errors.one_of(&at, policy, POLICIES);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        if self.value != old.value {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        let at = Path::new("preemptionPolicy");
        errors.unchanged(&at, &self.preemption_policy, &old.preemption_policy);
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        vec![
            columns::name(&self.metadata),
            self.value.unwrap_or_default().into(),
            self.global_default.unwrap_or_default().into(),
            columns::age(&self.metadata, now),
            text(&self.preemption_policy).into(),
        ]
    }
}

/// What is wrong with a class whose name is Kubernetes'.
fn system_problem(name: &str, value: i32, global_default: bool) -> Option<String> {
    match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, wanted)) if *wanted != value => {
            Some(format!("value of {name} PriorityClass must be {wanted}"))
        }
        Some(_) if global_default => {
            Some(format!("globalDefault of {name} PriorityClass must be false"))
        }
        Some(_) => None,
    }
}
