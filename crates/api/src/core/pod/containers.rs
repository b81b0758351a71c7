//! Walking over all containers of a pod, whatever their sort.
//!
//! Counterpart in Kubernetes: `VisitContainersWithPath` in `pkg/apis/core/pods`.

use std::borrow::Cow;

use apimachinery::field::Path;
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};

use crate::report::list;

/// All containers with their paths below the spec's: init containers, containers, ephemeral containers.
pub(crate) fn all<'a>(
    spec: &'a PodSpec,
    at: &'a Path,
) -> impl Iterator<Item = (Cow<'a, Container>, Path)> {
    let init = numbered(list(&spec.init_containers), at.child("initContainers"));
    let regular = numbered(&spec.containers, at.child("containers"));
    let at_ephemeral = at.child("ephemeralContainers");
    let ephemeral = list(&spec.ephemeral_containers).iter().enumerate();
    let ephemeral =
        ephemeral.map(move |(i, c)| (Cow::Owned(of_ephemeral(c)), at_ephemeral.index(i)));
    init.chain(regular).chain(ephemeral)
}

fn numbered(
    containers: &[Container],
    at: Path,
) -> impl Iterator<Item = (Cow<'_, Container>, Path)> {
    containers.iter().enumerate().map(move |(i, c)| (Cow::Borrowed(c), at.index(i)))
}

/// Names of all containers, ephemeral ones included.
pub(crate) fn names(spec: &PodSpec) -> impl Iterator<Item = &str> {
    let regular =
        spec.containers.iter().chain(list(&spec.init_containers)).map(|c| c.name.as_str());
    regular.chain(list(&spec.ephemeral_containers).iter().map(|c| c.name.as_str()))
}

/// An ephemeral container as the container it is, without its target.
pub(crate) fn of_ephemeral(container: &EphemeralContainer) -> Container {
    let c = container.clone();
    Container {
        args: c.args,
        command: c.command,
        env: c.env,
        env_from: c.env_from,
        image: c.image,
        image_pull_policy: c.image_pull_policy,
        lifecycle: c.lifecycle,
        liveness_probe: c.liveness_probe,
        name: c.name,
        ports: c.ports,
        readiness_probe: c.readiness_probe,
        resize_policy: c.resize_policy,
        resources: c.resources,
        restart_policy: c.restart_policy,
        restart_policy_rules: c.restart_policy_rules,
        security_context: c.security_context,
        startup_probe: c.startup_probe,
        stdin: c.stdin,
        stdin_once: c.stdin_once,
        termination_message_path: c.termination_message_path,
        termination_message_policy: c.termination_message_policy,
        tty: c.tty,
        volume_devices: c.volume_devices,
        volume_mounts: c.volume_mounts,
        working_dir: c.working_dir,
    }
}
