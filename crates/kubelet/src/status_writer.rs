//! Brings a pod's status to the API server.
//!
//! Counterpart in Kubernetes: `status/status_manager.go`. Invariants: only the newest status is ever sent, and only if it differs
//! from what the server has; a slow or absent server never holds up the pod's worker.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::api::{ApiFailure, PodApi};
use crate::events::pod_reference;
use crate::names;

/// The first pause after a failed write.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// The longest pause; a restarted API server should see the truth within this time.
const RETRY_MAX: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Version {
    number: u64,
    pod: Arc<Pod>,
    status: PodStatus,
}

/// The writer of one pod's status. Its task ends when the writer is dropped.
pub struct StatusWriter {
    wanted: watch::Sender<Option<Version>>,
    written: watch::Receiver<u64>,
}

impl StatusWriter {
    /// Starts the task. Must be called inside a runtime.
    pub fn start(api: Arc<dyn PodApi>) -> Self {
        let (wanted, receiver) = watch::channel(None);
        let (sender, written) = watch::channel(0);
        tokio::spawn(write_all(api, receiver, sender));
        Self { wanted, written }
    }

    /// Makes `status` the newest; `pod` is the pod as last seen.
    pub fn set(&self, pod: Arc<Pod>, status: PodStatus) {
        self.wanted.send_modify(|slot| {
            let number = slot.as_ref().map_or(1, |version| version.number + 1);
            *slot = Some(Version { number, pod, status });
        });
    }

    /// Waits until everything set so far is on the server, or the pod is no longer there.
    pub async fn flush(&mut self) {
        let newest = self.wanted.borrow().as_ref().map_or(0, |version| version.number);
        // An error means that the task is gone, and then nothing is pending.
        let _ = self.written.wait_for(|written| *written >= newest).await;
    }
}

async fn write_all(
    api: Arc<dyn PodApi>,
    mut wanted: watch::Receiver<Option<Version>>,
    written: watch::Sender<u64>,
) {
    let mut known: Option<Pod> = None;
    let mut pause = RETRY_FIRST;
    while wanted.changed().await.is_ok() {
        loop {
            let Some(version) = wanted.borrow_and_update().clone() else { break };
            match write(api.as_ref(), &version, &mut known).await {
                Ok(()) => {
                    pause = RETRY_FIRST;
                    written.send_replace(version.number);
                    break;
                }
                Err(error) => {
                    tracing::warn!(pod = %names::display(&version.pod), %error, "status not written, will try again")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = wanted.changed() => if changed.is_err() { return },
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}

async fn write(
    api: &dyn PodApi,
    version: &Version,
    known: &mut Option<Pod>,
) -> Result<(), ApiFailure> {
    let base = newer(known.as_ref(), &version.pod);
    let empty = PodStatus::default();
    let Some(patch) = status_patch(
        names::uid(&version.pod),
        base.status.as_ref().unwrap_or(&empty),
        &version.status,
    ) else {
        return Ok(());
    };
    match api.patch_status(&version.pod, &patch).await {
        Ok(pod) => {
            *known = Some(pod);
            Ok(())
        }
        Err(error @ ApiFailure::Unavailable(_)) => Err(error),
        Err(ApiFailure::Gone(_)) => Ok(()),
        Err(ApiFailure::Refused(message)) => {
            tracing::error!(pod = ?pod_reference(&version.pod).name, message, "the server refuses the status");
            Ok(())
        }
    }
}

fn newer<'a>(known: Option<&'a Pod>, seen: &'a Pod) -> &'a Pod {
    let revision = |pod: &Pod| {
        pod.metadata.resource_version.as_ref().and_then(|version| version.parse::<u64>().ok())
    };
    match known {
        Some(known) if revision(known) >= revision(seen) => known,
        _ => seen,
    }
}

/// Lists the API merges by a key although a status replaces them whole.
const REPLACED_LISTS: [&str; 2] = ["hostIPs", "podIPs"];

/// The strategic merge patch that turns `base` into `new`; `None` when they are equal.
pub fn status_patch(uid: &str, base: &PodStatus, new: &PodStatus) -> Option<Value> {
    let (base, new) = (fields(base), fields(new));
    let mut patch = Map::new();
    for key in base.keys().chain(new.keys().filter(|key| !base.contains_key(*key))) {
        let (before, after) = (base.get(key), new.get(key));
        if before == after {
            continue;
        }
        match after {
            Some(after) if key == "conditions" => patch_conditions(&mut patch, before, after),
            Some(Value::Array(items))
                if REPLACED_LISTS.contains(&key.as_str()) && before.is_some() =>
            {
                let items =
                    std::iter::once(json!({"$patch": "replace"})).chain(items.iter().cloned());
                patch.insert(key.clone(), items.collect());
            }
            after => {
                patch.insert(key.clone(), after.cloned().unwrap_or_default());
            }
        }
    }
    (!patch.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": patch}))
}

fn fields(status: &PodStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// Sends the conditions that changed, and the order of all, and so leaves others' conditions alone.
fn patch_conditions(patch: &mut Map<String, Value>, before: Option<&Value>, after: &Value) {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let (before, after) = (list(before), list(Some(after)));
    let same_fields_gone = |old: &Value, new: &Value| {
        // A field that went away must be named, because merging keeps what is not.
        let gone = old
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| new.get(key.as_str()).is_none());
        gone.map(|(key, _)| (key.clone(), Value::Null)).collect::<Map<_, _>>()
    };
    let changed = after.iter().filter_map(|new| {
        let old = before.iter().find(|old| old["type"] == new["type"]);
        if old == Some(new) {
            return None;
        }
        let mut item = new.as_object().cloned().unwrap_or_default();
        item.extend(old.map(|old| same_fields_gone(old, new)).unwrap_or_default());
        Some(Value::Object(item))
    });
    let changed: Vec<_> = changed.collect();
    if !changed.is_empty() {
        patch.insert("conditions".into(), changed.into());
    }
    let order =
        |list: &[Value]| list.iter().map(|item| json!({"type": item["type"]})).collect::<Vec<_>>();
    patch.insert("$setElementOrder/conditions".into(), order(&after).into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PodCondition, PodIP};

    fn condition(type_: &str, status: &str, reason: Option<&str>) -> PodCondition {
        PodCondition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.map(str::to_owned),
            ..PodCondition::default()
        }
    }

    #[test]
    fn equal_status_needs_no_patch() {
        let status = PodStatus { phase: Some("Running".into()), ..PodStatus::default() };
        assert_eq!(status_patch("u", &status, &status), None);
    }

    #[test]
    fn patch_names_changes_removals_and_order() {
        let ips = |ip: &str| Some(vec![PodIP { ip: ip.into() }]);
        let base = PodStatus {
            phase: Some("Pending".into()),
            message: Some("old".into()),
            pod_ips: ips("1"),
            conditions: Some(vec![
                condition("PodScheduled", "True", None),
                condition("Ready", "False", Some("X")),
            ]),
            ..PodStatus::default()
        };
        let new = PodStatus {
            phase: Some("Running".into()),
            pod_ips: ips("2"),
            conditions: Some(vec![
                condition("Ready", "True", None),
                condition("PodScheduled", "True", None),
            ]),
            ..PodStatus::default()
        };
        let expected = json!({
            "metadata": {"uid": "u"},
            "status": {
                "phase": "Running",
                "message": null,
                "podIPs": [{"$patch": "replace"}, {"ip": "2"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null}],
                "$setElementOrder/conditions": [{"type": "Ready"}, {"type": "PodScheduled"}],
            },
        });
        assert_eq!(status_patch("u", &base, &new), Some(expected));
    }
}
