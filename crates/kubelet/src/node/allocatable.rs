//! Holds all pods together to what the node can give them.
//!
//! Counterpart in Kubernetes: `enforceNodeAllocatableCgroups` of the container manager, with `--enforce-node-allocatable=pods` and
//! nothing reserved: the limit is the capacity, since the eviction threshold is kept free by eviction and not by the kernel.
//!
//! Invariant: the node says that the limits hold only after they were set; until then it tries again, and says why.

use std::sync::Arc;
use std::time::Duration;

use crate::events::{EventSink, EventType, node_reference};
use crate::node::Facts;

/// Pause between attempts, as in Kubernetes.
pub const RETRY: Duration = Duration::from_secs(60);
/// The weight of one CPU.
const SHARES_PER_CPU: u64 = 1024;

/// What all pods together may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodsLimits {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Weight of the CPU time, 1024 for each whole CPU.
    pub cpu_shares: u64,
    /// Processes and threads.
    pub processes: u64,
}

/// Where all pods live; whoever runs the kubelet knows which cgroup that is.
pub trait PodsCgroup: Send + Sync {
    /// Its path below the root of the hierarchy, such as `/knarr/default/knarr-1`.
    fn name(&self) -> &str;
    /// Sets the limits.
    ///
    /// # Errors
    /// What the kernel says.
    fn limit(&self, limits: PodsLimits) -> Result<(), String>;
}

/// What the node can give its pods.
pub fn limits(facts: &Facts) -> PodsLimits {
    PodsLimits {
        memory_bytes: facts.memory_bytes,
        cpu_shares: facts.cpus as u64 * SHARES_PER_CPU,
        processes: facts.max_processes,
    }
}

/// Sets the limits and says so, trying again every `retry`; returns when they hold.
pub async fn enforce(
    cgroup: &dyn PodsCgroup,
    limits: PodsLimits,
    events: &Arc<dyn EventSink>,
    node: &str,
    retry: Duration,
) {
    let reference = node_reference(node);
    while let Err(error) = cgroup.limit(limits) {
        let name = cgroup.name();
        let message = format!("Failed to update Node Allocatable Limits [{name:?}]: {error}");
        events.event(&reference, EventType::Warning, "FailedNodeAllocatableEnforcement", &message);
        tokio::time::sleep(retry).await;
    }
    let message = "Updated Node Allocatable limit across pods";
    events.event(&reference, EventType::Normal, "NodeAllocatableEnforced", message);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;

    /// Refuses at first, then takes the limits.
    struct Busy(Mutex<Vec<Result<(), String>>>, Mutex<Vec<PodsLimits>>);

    impl PodsCgroup for Busy {
        fn name(&self) -> &str {
            "/knarr/test"
        }

        fn limit(&self, limits: PodsLimits) -> Result<(), String> {
            self.1.lock().unwrap().push(limits);
            self.0.lock().unwrap().remove(0)
        }
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl EventSink for Heard {
        fn event(&self, about: &ObjectReference, kind: EventType, reason: &str, message: &str) {
            let name = about.name.as_deref().unwrap_or_default();
            self.0.lock().unwrap().push(format!("{name} {kind:?} {reason} {message}"));
        }
    }

    #[tokio::test]
    async fn node_16_refused_limits_are_told_and_tried_again_until_they_hold() {
        let facts =
            Facts { cpus: 2, memory_bytes: 1 << 30, max_processes: 4096, ..Facts::default() };
        let answers = vec![Err("device or resource busy".to_owned()), Ok(())];
        let cgroup = Busy(Mutex::new(answers), Mutex::default());
        let heard = Arc::new(Heard::default());
        let events: Arc<dyn EventSink> = heard.clone();
        enforce(&cgroup, limits(&facts), &events, "n1", Duration::ZERO).await;
        let wanted = PodsLimits { memory_bytes: 1 << 30, cpu_shares: 2048, processes: 4096 };
        assert_eq!(*cgroup.1.lock().unwrap(), [wanted, wanted]);
        assert_eq!(
            *heard.0.lock().unwrap(),
            [
                "n1 Warning FailedNodeAllocatableEnforcement Failed to update Node Allocatable Limits [\"/knarr/test\"]: device or resource busy",
                "n1 Normal NodeAllocatableEnforced Updated Node Allocatable limit across pods",
            ]
        );
    }
}
