//! `/containerLogs`: a container's output, as it was and as it comes.
//!
//! Counterpart in Kubernetes: `getContainerLogs`, `GetKubeletContainerLogs` and `validateContainerLogStatus`. Invariants: which
//! attempt is meant is decided purely from the pod's status; what fails before the first byte is an error of the request.

use std::convert::Infallible;
use std::path::PathBuf;

use bytes::Bytes;
use futures::StreamExt;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::route::{Query, Target};
use super::{Body, Server, text};
use crate::logs::line::Stream;
use crate::logs::{self, Liveness, LogOptions};

/// Chunks that wait for a slow client.
const QUEUE: usize = 8;

/// Reads the options; `None` when one is malformed.
fn options(query: &Query, now: Timestamp) -> Option<LogOptions> {
    let number = |key: &str| query.first(key).map(str::parse::<i64>).transpose();
    let size = |key: &str| number(key).ok()?.map(usize::try_from).transpose().ok();
    let seconds = number("sinceSeconds")
        .ok()?
        .map(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    let time = query.first("sinceTime").map(|time| time.parse::<Timestamp>()).transpose().ok()?;
    let stream = match query.first("stream") {
        None | Some("All") => None,
        Some("Stdout") => Some(Stream::Stdout),
        Some("Stderr") => Some(Stream::Stderr),
        Some(_) => return None,
    };
    Some(LogOptions {
        tail_lines: size("tailLines")?,
        limit_bytes: size("limitBytes")?,
        // A time before all times means everything.
        since: seconds.flatten().or(time),
        timestamps: query.flag("timestamps"),
        follow: query.flag("follow"),
        stream,
    })
}

/// The id of the attempt whose log is meant.
///
/// # Errors
/// In Kubernetes' words, when there is none.
fn container_id(
    pod: &str,
    status: &PodStatus,
    container: &str,
    previous: bool,
) -> Result<String, String> {
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let mut all = lists.into_iter().flat_map(|list| list.iter().flatten());
    let Some(status) = all.find(|status| status.name == container) else {
        return Err(format!("container \"{container}\" in pod \"{pod}\" is not available"));
    };
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let last_id = last.and_then(|last| last.container_id.clone()).filter(|id| !id.is_empty());
    if previous {
        return last_id.ok_or_else(|| {
            format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")
        });
    }
    let state = status.state.clone().unwrap_or_default();
    let ended = || format!("container \"{container}\" in pod \"{pod}\" is terminated");
    match (state.running, state.terminated) {
        (Some(_), _) => status.container_id.clone().ok_or_else(|| waiting(pod, container, status)),
        (None, Some(now)) => {
            now.container_id.filter(|id| !id.is_empty()).or(last_id).ok_or_else(ended)
        }
        (None, None) if last.is_some() => last_id.ok_or_else(ended),
        (None, None) => Err(waiting(pod, container, status)),
    }
}

fn waiting(pod: &str, container: &str, status: &ContainerStatus) -> String {
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let head = format!("container \"{container}\" in pod \"{pod}\" is waiting to start");
    match waiting.map(|waiting| waiting.reason.as_deref().unwrap_or_default()) {
        Some("ErrImagePull") => format!("{head}: image can't be pulled"),
        Some("ImagePullBackOff") => format!("{head}: trying and failing to pull image"),
        Some(reason) => format!("{head}: {reason}"),
        None => format!("{head} - no logs yet"),
    }
}

impl Server {
    pub(super) async fn container_logs(&self, target: &Target, query: &str) -> Response<Body> {
        let query = Query::parse(query);
        let Some(options) = options(&query, Timestamp::now()) else {
            return text(StatusCode::BAD_REQUEST, r#"{"message": "Unable to decode query."}"#);
        };
        let Some(handle) = self.pods.find(&target.ns, &target.pod, None) else {
            return text(StatusCode::NOT_FOUND, format!("pod \"{}\" does not exist", target.pod));
        };
        if !super::sessions::has_container(&handle.pod(), &target.container) {
            let message =
                format!("container \"{}\" not found in pod \"{}\"", target.container, target.pod);
            return text(StatusCode::NOT_FOUND, message);
        }
        let id = match container_id(
            &target.pod,
            &handle.status(),
            &target.container,
            query.flag("previous"),
        ) {
            Ok(id) => id,
            Err(message) => return text(StatusCode::BAD_REQUEST, message),
        };
        // Listening begins before the container is looked at, so that its end cannot be missed.
        let changed = self.containers.subscribe();
        let plain = id.split_once("://").map_or(id.as_str(), |(_, plain)| plain);
        let path = match self.log_path(plain).await {
            Ok(path) => path,
            Err(message) => {
                return text(
                    StatusCode::BAD_REQUEST,
                    format!("unable to retrieve container logs for {id}: {message}"),
                );
            }
        };
        let liveness = Liveness { cri: self.cri.clone(), container_id: plain.to_owned(), changed };
        self.send_log(path, options, liveness)
    }

    async fn log_path(&self, id: &str) -> Result<PathBuf, String> {
        let status = self.cri.container_status(id).await.map_err(|error| error.message)?;
        let path = PathBuf::from(status.log_path);
        tokio::fs::metadata(&path)
            .await
            .map_err(|error| format!("failed to open log file {}: {error}", path.display()))?;
        Ok(path)
    }

    fn send_log(&self, path: PathBuf, options: LogOptions, liveness: Liveness) -> Response<Body> {
        let (sender, receiver) = mpsc::channel::<Bytes>(QUEUE);
        let (watcher, shutdown) = (self.watcher.clone(), self.shutdown.clone());
        self.sessions.spawn(async move {
            let shown = path.display().to_string();
            let streaming = logs::stream(path, options, liveness, &watcher, sender);
            if let Some(Err(error)) = shutdown.run_until_cancelled(streaming).await {
                tracing::warn!(log = shown, %error, "a log breaks off");
            }
        });
        let frames =
            ReceiverStream::new(receiver).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
        response
    }
}

#[cfg(test)]
mod tests;
