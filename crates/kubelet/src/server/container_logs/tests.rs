//! Tables: which attempt is meant, and what the options say.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
};

use super::*;
use crate::fixtures::at;

fn ended(id: &str) -> ContainerState {
    let terminated = ContainerStateTerminated {
        container_id: Some(id.into()),
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

fn waits(reason: &str) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.into()), message: None };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn of(state: ContainerState, last: Option<ContainerState>) -> PodStatus {
    let status = ContainerStatus {
        name: "app".into(),
        container_id: Some("knarr://now".into()),
        state: Some(state),
        last_state: last,
        ..ContainerStatus::default()
    };
    PodStatus { container_statuses: Some(vec![status]), ..PodStatus::default() }
}

#[test]
fn log_of_the_attempt_that_is_meant() {
    let running = || ContainerState {
        running: Some(ContainerStateRunning::default()),
        ..ContainerState::default()
    };
    let id = |status: &PodStatus, previous| container_id("web", status, "app", previous);
    assert_eq!(id(&of(running(), None), false).as_deref(), Ok("knarr://now"));
    assert_eq!(id(&of(running(), Some(ended("knarr://old"))), true).as_deref(), Ok("knarr://old"));
    assert_eq!(id(&of(ended("knarr://now"), None), false).as_deref(), Ok("knarr://now"));
    assert_eq!(
        id(&of(waits("CrashLoopBackOff"), Some(ended("knarr://old"))), false).as_deref(),
        Ok("knarr://old")
    );
    let refused = |status: &PodStatus, previous| id(status, previous).expect_err("refused");
    assert_eq!(
        refused(&of(running(), None), true),
        r#"previous terminated container "app" in pod "web" not found"#
    );
    assert_eq!(
        refused(&of(waits("ImagePullBackOff"), None), false),
        r#"container "app" in pod "web" is waiting to start: trying and failing to pull image"#
    );
    assert_eq!(
        refused(&of(waits("ContainerCreating"), None), false),
        r#"container "app" in pod "web" is waiting to start: ContainerCreating"#
    );
    assert_eq!(
        container_id("web", &PodStatus::default(), "app", false),
        Err(r#"container "app" in pod "web" is not available"#.to_owned())
    );
}

#[test]
fn options_are_read_as_the_api_server_sends_them() {
    let read = |query: &str| options(&Query::parse(query), at(1000));
    let all =
        read("follow=true&timestamps=true&sinceSeconds=10&tailLines=5&limitBytes=7&stream=All")
            .expect("options");
    let expected = LogOptions {
        tail_lines: Some(5),
        since: Some(at(990)),
        limit_bytes: Some(7),
        timestamps: true,
        follow: true,
        stream: None,
    };
    assert_eq!(all, expected);
    assert_eq!(
        read("sinceTime=1970-01-01T00:00:05Z&stream=Stderr").expect("options").since,
        Some(at(5))
    );
    assert_eq!(read("").expect("options"), LogOptions::default());
    for bad in ["tailLines=x", "tailLines=-1", "stream=Both", "sinceTime=yesterday"] {
        assert_eq!(read(bad), None, "{bad}");
    }
}
