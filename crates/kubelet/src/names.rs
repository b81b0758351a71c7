//! Labels, annotations and paths under which a pod's parts are found again by a kubelet that knows nothing else.
//!
//! Counterpart in Kubernetes: `kuberuntime/labels.go` and the path helpers of `kuberuntime/helpers.go`. Invariant: whatever the
//! kubelet makes on disk or in the runtime for a pod carries the pod's namespace, name and uid, so orphans can be removed.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

/// Label: the pod's name.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Label: the pod's namespace.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Label: the pod's uid.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Label: the container's name in the pod.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Annotation: [`container_hash`] of the container's definition when it was made.
pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
/// Annotation: how often the container had been restarted when it was made.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// Annotation: where the container may leave its last words.
pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// Annotation: what to do when it left none.
pub const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Annotation: the pod's grace period, needed when the pod itself is no longer known.
pub const POD_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
/// Annotation: JSON of the container's declared ports.
pub const CONTAINER_PORTS: &str = "io.kubernetes.container.ports";

/// The pod's name, or an empty string.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod's namespace, or an empty string.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// The pod's uid, or an empty string.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// `name_namespace(uid)`, the form Kubernetes uses in messages.
pub fn display(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// The grace period a pod ends with: the one of its deletion, else its own, else 30 seconds.
pub fn grace_period_seconds(pod: &Pod) -> i64 {
    let own = || {
        pod.spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds)
            .unwrap_or(DEFAULT_GRACE_SECONDS)
    };
    pod.metadata.deletion_grace_period_seconds.unwrap_or_else(own)
}

/// The API's default of `terminationGracePeriodSeconds`, for pods rebuilt from labels that lack it.
pub const DEFAULT_GRACE_SECONDS: i64 = 30;

/// A stable hash of what makes a running container stale when it changes: its name and its image.
pub fn container_hash(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    let bytes = container.name.bytes().chain([0]).chain(image.bytes());
    // FNV-1a, because the value is kept in the runtime and must be the same in every build of Knarr.
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:x}")
}

/// The files of this node's pods.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
    logs: PathBuf,
}

impl Paths {
    /// Logs lie under `logs`, which is `/var/log` on a usual node, everything else under `root`.
    pub fn new(root: impl Into<PathBuf>, logs: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), logs: logs.into() }
    }

    /// Logs of all pods: `pods/` among the logs.
    pub fn pod_logs_root(&self) -> PathBuf {
        self.logs.join("pods")
    }

    /// Logs of one pod: `pods/NS_NAME_UID` among the logs.
    pub fn pod_logs(&self, ns: &str, name: &str, uid: &str) -> PathBuf {
        self.pod_logs_root().join(format!("{ns}_{name}_{uid}"))
    }

    /// The directory of links named for people: `containers/` among the logs.
    pub fn container_links(&self) -> PathBuf {
        self.logs.join("containers")
    }

    /// The link to one container's log, `containers/POD_NS_CONTAINER-ID.log`.
    pub fn container_link(&self, ns: &str, pod: &str, container: &str, id: &str) -> PathBuf {
        self.container_links().join(format!("{pod}_{ns}_{container}-{id}.log"))
    }

    /// Everything else of one pod: `pods/UID`.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    /// The pod's managed `/etc/hosts`.
    pub fn etc_hosts(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("etc-hosts")
    }

    /// Where the termination message of one attempt of a container is kept.
    pub fn termination_log(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.pod(uid).join("containers").join(container).join(format!("termination-{attempt}"))
    }

    /// The state directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// The log file of an attempt, relative to the pod's log directory: `CONTAINER/N.log`.
pub fn log_path(container: &str, attempt: u32) -> String {
    format!("{container}/{attempt}.log")
}

/// The link of a container that no pod object tells about, found by the tail of its name.
pub fn is_link_of(file_name: &str, id: &str) -> bool {
    file_name.strip_suffix(".log").is_some_and(|stem| stem.ends_with(&format!("-{id}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_hash_changes_with_image_only() {
        let of = |name: &str, image: &str, arg: &str| {
            container_hash(&Container {
                name: name.into(),
                image: Some(image.into()),
                args: Some(vec![arg.into()]),
                ..Container::default()
            })
        };
        assert_eq!(of("a", "x:1", "p"), of("a", "x:1", "q"));
        assert_ne!(of("a", "x:1", "p"), of("a", "x:2", "p"));
        assert_ne!(of("ab", "c", ""), of("a", "bc", ""));
    }

    #[test]
    fn container_link_is_found_by_id() {
        let link = Paths::new("/r", "/l").container_link("default", "web", "app", "0123");
        assert_eq!(link.to_str(), Some("/l/containers/web_default_app-0123.log"));
        assert!(is_link_of("web_default_app-0123.log", "0123"));
        assert!(!is_link_of("web_default_app-90123.log", "0123"));
    }
}
