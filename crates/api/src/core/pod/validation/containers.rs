//! Containers of a pod, of all three sorts.
//!
//! Counterpart in Kubernetes: `validateContainers`, `validateInitContainers` and `validateEphemeralContainers` in
//! `pkg/apis/core/validation`.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerResizePolicy, ContainerRestartRule, EphemeralContainer,
    PodSpec, VolumeDevice, VolumeMount,
};

use super::super::columns::is_sidecar;
use super::super::containers::of_ephemeral;
use super::super::volumes::{has_backsteps, local_descending};
use super::super::{env, probes, resources, security};
use super::{Context, PULL_POLICIES};
use crate::report::{Report, list, text};

/// Protocols of ports.
pub(crate) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const MESSAGE_POLICIES: &[&str] = &["File", "FallbackToLogsOnError"];
const RESTART_POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const RULE_ACTIONS: &[&str] = &["Restart", "RestartAllContainers"];
const RULE_OPERATORS: &[&str] = &["In", "NotIn"];
const RESIZABLE: &[&str] = &["cpu", "memory"];
const RESIZE_POLICIES: &[&str] = &["NotRequired", "RestartContainer"];
const MOUNT_PROPAGATIONS: &[&str] = &["Bidirectional", "HostToContainer", "None"];
const RECURSIVE_READ_ONLY: &[&str] = &["Disabled", "Enabled", "IfPossible"];
/// Rules of restarting that a container can have, and exit codes in one rule: every code once.
const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";
const ONLY_SIDECARS: &str = "may not be set for init containers without restartPolicy=Always";

pub(super) fn validate_all(spec: &PodSpec, context: &Context, at: &Path, errors: &mut ErrorList) {
    validate_regular(&spec.containers, context, &at.child("containers"), errors);
    validate_init(spec, context, &at.child("initContainers"), errors);
    validate_ephemeral(spec, context, &at.child("ephemeralContainers"), errors);
}

fn validate_regular(
    containers: &[Container],
    context: &Context,
    at: &Path,
    errors: &mut ErrorList,
) {
    if containers.is_empty() {
        return errors.required(at, "");
    }
    let mut seen = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        let at = at.index(i);
        validate_common(container, context, &at, errors);
        if !seen.insert(&container.name) {
            errors.duplicate(&at.child("name"), &container.name);
        }
        probes::validate_all(container, context, &at, errors);
        validate_restart_policy(container, &at, errors);
    }
    validate_host_ports(containers, at, errors);
}

fn validate_init(spec: &PodSpec, context: &Context, at: &Path, errors: &mut ErrorList) {
    let mut seen: BTreeSet<_> = spec.containers.iter().map(|c| c.name.as_str()).collect();
    for (i, container) in list(&spec.init_containers).iter().enumerate() {
        let at_this = at.index(i);
        validate_common(container, context, &at_this, errors);
        validate_restart_policy(container, &at_this, errors);
        if !seen.insert(&container.name) {
            errors.duplicate(&at_this.child("name"), &container.name);
        }
        validate_host_ports(std::slice::from_ref(container), at, errors);
        if is_sidecar(container) {
            probes::validate_all(container, context, &at_this, errors);
        } else {
            forbid_for_plain_init(container, &at_this, errors);
        }
    }
}

/// An init container that ends has no time for hooks and probes.
fn forbid_for_plain_init(container: &Container, at: &Path, errors: &mut ErrorList) {
    for (name, set) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if set {
            errors.forbidden(&at.child(name), ONLY_SIDECARS);
        }
    }
    for (i, policy) in list(&container.resize_policy).iter().enumerate() {
        if policy.restart_policy == "RestartContainer" {
            errors.invalid(
                &at.child("resizePolicy").index(i).child("restartPolicy"),
                &policy.restart_policy,
                "must not be set to 'RestartContainer' for non-sidecar initContainers",
            );
        }
    }
}

fn validate_ephemeral(spec: &PodSpec, context: &Context, at: &Path, errors: &mut ErrorList) {
    let others: BTreeSet<_> = spec
        .containers
        .iter()
        .chain(list(&spec.init_containers))
        .map(|c| c.name.as_str())
        .collect();
    let mut seen = others.clone();
    for (i, container) in list(&spec.ephemeral_containers).iter().enumerate() {
        let at = at.index(i);
        validate_common(&of_ephemeral(container), context, &at, errors);
        if !seen.insert(&container.name) {
            errors.duplicate(&at.child("name"), &container.name);
        }
        let target = text(&container.target_container_name);
        if !target.is_empty() && !others.contains(target) {
            errors.missing(&at.child("targetContainerName"), target);
        }
        forbid_for_ephemeral(container, &at, errors);
    }
}

/// A container that comes late and for people gets no part in how the pod runs.
fn forbid_for_ephemeral(container: &EphemeralContainer, at: &Path, errors: &mut ErrorList) {
    let resources = container.resources.as_ref();
    let has_resources =
        resources.is_some_and(|r| r.limits.is_some() || r.requests.is_some() || r.claims.is_some());
    for (name, set) in [
        ("ports", container.ports.is_some()),
        ("resources", has_resources),
        ("resizePolicy", container.resize_policy.is_some()),
        ("restartPolicy", container.restart_policy.is_some()),
        ("restartPolicyRules", container.restart_policy_rules.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ] {
        if set {
            errors.forbidden(&at.child(name), NOT_EPHEMERAL);
        }
    }
    for (i, mount) in list(&container.volume_mounts).iter().enumerate() {
        for (name, path) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if !text(path).is_empty() {
                errors.forbidden(&at.child("volumeMounts").index(i).child(name), NOT_EPHEMERAL);
            }
        }
    }
}

/// What holds for containers of every sort.
fn validate_common(container: &Container, context: &Context, at: &Path, errors: &mut ErrorList) {
    if container.name.is_empty() {
        errors.required(&at.child("name"), "");
    } else {
        errors.dns_label(&at.child("name"), &container.name);
    }
    errors.non_empty(&at.child("image"), text(&container.image));
    let message_policy = text(&container.termination_message_policy);
    errors.one_of(&at.child("terminationMessagePolicy"), message_policy, MESSAGE_POLICIES);
    validate_ports(list(&container.ports), &at.child("ports"), errors);
    env::validate(list(&container.env), &at.child("env"), errors);
    env::validate_from(list(&container.env_from), &at.child("envFrom"), errors);
    validate_mounts(container, context, &at.child("volumeMounts"), errors);
    validate_devices(container, context, &at.child("volumeDevices"), errors);
    errors.one_of(&at.child("imagePullPolicy"), text(&container.image_pull_policy), PULL_POLICIES);
    if let Some(wanted) = &container.resources {
        resources::validate_container(wanted, &context.claims, &at.child("resources"), errors);
    }
    validate_resize_policies(
        list(&container.resize_policy),
        context,
        &at.child("resizePolicy"),
        errors,
    );
    if let Some(security) = &container.security_context {
        security::validate_container(
            security,
            context.host_users,
            &at.child("securityContext"),
            errors,
        );
    }
}

fn validate_ports(ports: &[ContainerPort], at: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = at.index(i);
        let name = text(&port.name);
        if !name.is_empty() {
            let messages = names::is_valid_port_name(name);
            if messages.is_empty() && !seen.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
            errors.invalid_all(&at.child("name"), name, messages);
        }
        if port.container_port == 0 {
            errors.required(&at.child("containerPort"), "");
        } else {
            let messages = names::is_valid_port_number(port.container_port.into());
            errors.invalid_all(&at.child("containerPort"), port.container_port, messages);
        }
        if let Some(host) = port.host_port.filter(|p| *p != 0) {
            errors.invalid_all(
                &at.child("hostPort"),
                host,
                names::is_valid_port_number(host.into()),
            );
        }
        errors.one_of(&at.child("protocol"), text(&port.protocol), PROTOCOLS);
    }
}

/// No two containers can have the same port of the host.
fn validate_host_ports(containers: &[Container], at: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        for (j, port) in list(&container.ports).iter().enumerate() {
            let Some(host) = port.host_port.filter(|p| *p != 0) else { continue };
            let key = format!("{}/{}/{host}", text(&port.protocol), text(&port.host_ip));
            if !seen.insert(key.clone()) {
                errors.duplicate(&at.index(i).child("ports").index(j).child("hostPort"), key);
            }
        }
    }
}

fn validate_mounts(container: &Container, context: &Context, at: &Path, errors: &mut ErrorList) {
    let devices: BTreeMap<_, _> = list(&container.volume_devices)
        .iter()
        .map(|d| (d.name.as_str(), d.device_path.as_str()))
        .collect();
    let mut seen = BTreeSet::new();
    for (i, mount) in list(&container.volume_mounts).iter().enumerate() {
        let at_this = at.index(i);
        errors.non_empty(&at_this.child("name"), &mount.name);
        if !context.volumes.contains_key(mount.name.as_str()) {
            errors.missing(&at_this.child("name"), &mount.name);
        }
        errors.non_empty(&at_this.child("mountPath"), &mount.mount_path);
        if !seen.insert(&mount.mount_path) {
            errors.invalid(&at_this.child("mountPath"), &mount.mount_path, "must be unique");
        }
        if devices.contains_key(mount.name.as_str()) {
            errors.invalid(
                &at_this.child("name"),
                &mount.name,
                "must not already exist in volumeDevices",
            );
        }
        if devices.values().any(|path| *path == mount.mount_path) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid(&at_this.child("mountPath"), &mount.mount_path, detail);
        }
        validate_sub_path(mount, &at_this, at, errors);
        validate_propagation(mount, container, at, errors);
        validate_recursive_read_only(mount, &at.child("recursiveReadOnly"), errors);
    }
}

/// The paths of these messages have no index, as in Kubernetes.
fn validate_sub_path(mount: &VolumeMount, at_this: &Path, at: &Path, errors: &mut ErrorList) {
    let (path, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    if !path.is_empty() {
        local_descending(path, &at.child("subPath"), errors);
    }
    if expression.is_empty() {
        return;
    }
    if !path.is_empty() {
        let detail = "subPathExpr and subPath are mutually exclusive";
        errors.invalid(&at_this.child("subPathExpr"), expression, detail);
    }
    local_descending(expression, &at.child("subPathExpr"), errors);
}

fn validate_propagation(
    mount: &VolumeMount,
    container: &Container,
    at: &Path,
    errors: &mut ErrorList,
) {
    let Some(propagation) = &mount.mount_propagation else { return };
    let at = at.child("mountPropagation");
    if !MOUNT_PROPAGATIONS.contains(&propagation.as_str()) {
        errors.not_supported(&at, propagation, MOUNT_PROPAGATIONS);
    }
    let privileged = container.security_context.as_ref().and_then(|s| s.privileged) == Some(true);
    if propagation == "Bidirectional" && !privileged {
        errors.forbidden(
            &at,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
}

fn validate_recursive_read_only(mount: &VolumeMount, at: &Path, errors: &mut ErrorList) {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.forbidden(at, "may only be specified when readOnly is true");
            }
            if mount.mount_propagation.as_ref().is_some_and(|p| p != "None") {
                errors.forbidden(
                    at,
                    "may only be specified when mountPropagation is None or not specified",
                );
            }
        }
        Some(other) => errors.not_supported(at, other, RECURSIVE_READ_ONLY),
    }
}

fn validate_devices(container: &Container, context: &Context, at: &Path, errors: &mut ErrorList) {
    let mounts: BTreeMap<_, _> = list(&container.volume_mounts)
        .iter()
        .map(|m| (m.name.as_str(), m.mount_path.as_str()))
        .collect();
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (i, VolumeDevice { name, device_path }) in
        list(&container.volume_devices).iter().enumerate()
    {
        let (at_name, at_path) = (at.index(i).child("name"), at.index(i).child("devicePath"));
        errors.non_empty(&at_name, name);
        if !name.is_empty() && !names.insert(name) {
            errors.invalid(&at_name, name, "must be unique");
        }
        match context.volumes.get(name.as_str()) {
            Some(volume)
                if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() =>
            {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&at_name, name, detail);
            }
            Some(_) => {}
            None => errors.missing(&at_name, name),
        }
        errors.non_empty(&at_path, device_path);
        if paths.contains(device_path) {
            errors.invalid(&at_path, device_path, "must be unique");
        }
        if has_backsteps(device_path) {
            errors.invalid(&at_path, device_path, "can not contain backsteps ('..')");
        } else {
            paths.insert(device_path);
        }
        if mounts.contains_key(name.as_str()) {
            errors.invalid(&at_name, name, "must not already exist in volumeMounts");
        }
        if mounts.values().any(|path| path == device_path) {
            errors.invalid(
                &at_path,
                device_path,
                "must not already exist as a path in volumeMounts",
            );
        }
    }
}

fn validate_resize_policies(
    policies: &[ContainerResizePolicy],
    context: &Context,
    at: &Path,
    errors: &mut ErrorList,
) {
    let mut seen = BTreeSet::new();
    for (i, policy) in policies.iter().enumerate() {
        if !seen.insert(&policy.resource_name) {
            errors.duplicate(&at.index(i), &policy.resource_name);
        }
        errors.one_of(at, &policy.resource_name, RESIZABLE);
        errors.one_of(at, &policy.restart_policy, RESIZE_POLICIES);
        if context.restart_policy == "Never" && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.invalid(at, &policy.restart_policy, detail);
        }
    }
}

/// A container's own policy of restarting, and its rules by exit code.
fn validate_restart_policy(container: &Container, at: &Path, errors: &mut ErrorList) {
    let rules = list(&container.restart_policy_rules);
    let at_policy = at.child("restartPolicy");
    match container.restart_policy.as_deref() {
        None if rules.is_empty() => return,
        None => {
            errors.required(&at_policy, "must specify restartPolicy when restart rules are used")
        }
        Some(policy) if !RESTART_POLICIES.contains(&policy) => {
            errors.not_supported(&at_policy, policy, RESTART_POLICIES);
        }
        Some(_) => {}
    }
    let at = at.child("restartPolicyRules");
    if rules.len() > MAX_RULES {
        errors.too_many(&at, rules.len(), MAX_RULES);
    }
    for (i, rule) in rules.iter().enumerate() {
        validate_rule(rule, &at.index(i), errors);
    }
}

fn validate_rule(rule: &ContainerRestartRule, at: &Path, errors: &mut ErrorList) {
    if !RULE_ACTIONS.contains(&rule.action.as_str()) {
        errors.not_supported(&at.child("action"), &rule.action, RULE_ACTIONS);
    }
    let at = at.child("exitCodes");
    let Some(codes) = &rule.exit_codes else { return errors.required(&at, "must be specified") };
    if !RULE_OPERATORS.contains(&codes.operator.as_str()) {
        errors.not_supported(&at.child("operator"), &codes.operator, RULE_OPERATORS);
    }
    let count = list(&codes.values).len();
    if count > MAX_EXIT_CODES {
        errors.too_many(&at.child("values"), count, MAX_EXIT_CODES);
    }
}
