//! Builders for the tests of this crate: pods and what a runtime could say about them.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::names;
use crate::runtime_status::{ContainerRecord, ContainerState, PodRuntimeStatus, Sandbox};

/// The second `at` after the epoch.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

/// A pod `default/web` with uid `u1` and these containers, all of image `app:1`.
pub fn pod(containers: &[&str]) -> Pod {
    let container = |name: &&str| Container {
        name: (*name).to_owned(),
        image: Some("app:1".into()),
        image_pull_policy: Some("IfNotPresent".into()),
        ..Container::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: Some("web".into()),
            namespace: Some("default".into()),
            uid: Some("u1".into()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: containers.iter().map(container).collect(),
            restart_policy: Some("Always".into()),
            termination_grace_period_seconds: Some(30),
            node_name: Some("node".into()),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// The same pod with another restart policy.
pub fn with_policy(mut pod: Pod, policy: &str) -> Pod {
    pod.spec.as_mut().expect("has a spec").restart_policy = Some(policy.to_owned());
    pod
}

/// A ready sandbox with an address.
pub fn sandbox(attempt: u32, ready: bool) -> Sandbox {
    Sandbox {
        id: format!("s{attempt}"),
        attempt,
        ready,
        created_at: at(i64::from(attempt)),
        host_network: false,
        ips: vec!["10.42.0.5".into()],
    }
}

/// An attempt of container `name` of [`pod`].
pub fn container(
    name: &str,
    restart_count: u32,
    state: ContainerState,
    exit_code: i32,
) -> ContainerRecord {
    let of = Container { name: name.into(), image: Some("app:1".into()), ..Container::default() };
    let ended = state == ContainerState::Exited;
    ContainerRecord {
        id: format!("{name}-{restart_count}"),
        name: name.into(),
        state,
        created_at: at(100 * i64::from(restart_count)),
        started_at: (state != ContainerState::Created)
            .then(|| at(100 * i64::from(restart_count) + 1)),
        finished_at: ended.then(|| at(100 * i64::from(restart_count) + 2)),
        exit_code,
        reason: if ended { if exit_code == 0 { "Completed" } else { "Error" } } else { "" }.into(),
        message: String::new(),
        image: "app:1".into(),
        image_ref: "app@sha256:aa".into(),
        restart_count,
        hash: names::container_hash(&of),
        log_path: String::new(),
        annotations: HashMap::new(),
        mounts: Vec::new(),
    }
}

/// A pod with sandbox 0 ready and these containers, newest first.
pub fn observed(containers: Vec<ContainerRecord>) -> PodRuntimeStatus {
    PodRuntimeStatus { sandboxes: vec![sandbox(0, true)], containers }
}
