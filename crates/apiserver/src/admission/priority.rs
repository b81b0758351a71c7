//! Every pod has a number for its priority: that of its class, or 0.
//!
//! Counterpart in Kubernetes: `plugin/pkg/admission/priority`. The two built-in classes are known; PriorityClass objects are not a
//! kind of this server, so any other name is refused as an unknown class.

use apimachinery::status::StatusError;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;

use super::{Creation, Plugin, Replacement};

const CLASSES: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
const DEFAULT_PRIORITY: i32 = 0;
const DEFAULT_PREEMPTION_POLICY: &str = "PreemptLowerPriority";

pub(super) struct Priority;

#[async_trait]
impl Plugin for Priority {
    async fn create(&self, creation: &mut Creation<'_>) -> Result<(), StatusError> {
        let refusal = creation.typed::<Pod>().and_then(|pod| establish(pod).err());
        refusal.map_or(Ok(()), |reason| Err(creation.forbidden(reason)))
    }

    fn update(&self, replacement: &mut Replacement<'_>) -> Result<(), StatusError> {
        let Some((new, old)) = replacement.whole::<Pod>() else {
            return Ok(());
        };
        if let (Some(new), Some(old)) = (&mut new.spec, &old.spec) {
            new.priority = new.priority.or(old.priority);
            new.preemption_policy =
                new.preemption_policy.take().or_else(|| old.preemption_policy.clone());
        }
        Ok(())
    }
}

/// Sets the priority and the preemption policy.
fn establish(pod: &mut Pod) -> Result<(), String> {
    let spec = pod.spec.get_or_insert_default();
    let class = spec.priority_class_name.as_deref().unwrap_or_default();
    let known = CLASSES.iter().find(|(name, _)| *name == class).map(|(_, value)| *value);
    let priority = match (class, known) {
        ("", _) => DEFAULT_PRIORITY,
        (_, Some(value)) => value,
        (unknown, None) => return Err(format!("no PriorityClass with name {unknown} was found")),
    };
    if let Some(given) = spec.priority.filter(|given| *given != priority) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed \
             {priority} from the given PriorityClass name"
        ));
    }
    let given =
        spec.preemption_policy.as_deref().filter(|given| *given != DEFAULT_PREEMPTION_POLICY);
    if let Some(given) = given {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller \
             computed {DEFAULT_PREEMPTION_POLICY} from the given PriorityClass name"
        ));
    }
    spec.priority = Some(priority);
    spec.preemption_policy = Some(DEFAULT_PREEMPTION_POLICY.to_owned());
    Ok(())
}
