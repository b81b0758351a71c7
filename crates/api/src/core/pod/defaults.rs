//! What a pod gets that its author left out.
//!
//! Counterpart in Kubernetes: `pkg/apis/core/v1/defaults.go`. Pods and pod templates share the defaults of the spec; a few
//! come only when a template has become a pod ([`pod`]), so that they never change the templates of existing workloads.

use k8s_openapi::api::core::v1::{
    Container, EphemeralContainer, HTTPGetAction, Lifecycle, Pod, PodIP, PodSpec, PodStatus,
    PodTemplateSpec, Probe, ResourceRequirements, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::images;
use crate::quantities::{ResourceList, round_list};
use crate::report::omit_empty;

/// Seconds a pod gets to end itself.
const GRACE_SECONDS: i64 = 30;
/// Seconds a projected token is good for.
const TOKEN_SECONDS: i64 = 3600;
/// Files from secrets, config maps and the downward API are read by everybody in the pod.
const FILE_MODE: i32 = 0o644;

fn set(field: &mut Option<String>, value: &str) {
    if field.as_deref().is_none_or(str::is_empty) {
        *field = Some(value.to_owned());
    }
}

fn set_number(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or(0) == 0 {
        *field = Some(value);
    }
}

/// Defaults of a pod.
pub fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        requests_from_limits(container.resources.get_or_insert_default());
    }
    super::resources::default_pod_level(spec);
    spec.enable_service_links.get_or_insert(true);
    if spec.host_network == Some(true) {
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten())
        {
            host_ports(container);
        }
    }
    pod_ips(pod.status.get_or_insert_default());
}

/// `podIP` is the first of `podIPs`; who knows only the old field is understood.
fn pod_ips(status: &mut PodStatus) {
    omit_empty!(status; pod_ip, pod_ips);
    if let Some(ip) = &status.pod_ip
        && status.pod_ips.as_ref().and_then(|ips| ips.first()).is_none_or(|first| first.ip != *ip)
    {
        status.pod_ips = Some(vec![PodIP { ip: ip.clone() }]);
    }
    status.pod_ip =
        status.pod_ips.as_ref().and_then(|ips| ips.first()).map(|first| first.ip.clone());
}

/// Defaults of a template.
pub fn template(template: &mut PodTemplateSpec) {
    if let Some(meta) = &mut template.metadata {
        omit_empty!(meta; labels, annotations);
    }
    template.metadata.get_or_insert_default();
    pod_spec(template.spec.get_or_insert_default());
}

fn pod_spec(spec: &mut PodSpec) {
    set(&mut spec.dns_policy, "ClusterFirst");
    set(&mut spec.restart_policy, "Always");
    set(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_default();
    spec.termination_grace_period_seconds.get_or_insert(GRACE_SECONDS);
    service_account(spec);
    round_list(&mut spec.overhead);
    if let Some(resources) = &mut spec.resources {
        requirements(resources);
    }
    omit_empty!(spec; ephemeral_containers, host_aliases, image_pull_secrets, init_containers, node_selector,
        readiness_gates, resource_claims, scheduling_gates, tolerations, topology_spread_constraints, volumes);
    omit_false(spec);
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(container);
    spec.ephemeral_containers.iter_mut().flatten().for_each(ephemeral_container);
    spec.volumes.iter_mut().flatten().for_each(volume);
}

/// The two names of one field.
fn service_account(spec: &mut PodSpec) {
    let name = [&spec.service_account_name, &spec.service_account]
        .into_iter()
        .flatten()
        .find(|n| !n.is_empty());
    let name = name.cloned();
    spec.service_account_name.clone_from(&name);
    spec.service_account = name;
}

/// Flags that are absent when false.
fn omit_false(spec: &mut PodSpec) {
    for flag in [&mut spec.host_network, &mut spec.host_pid, &mut spec.host_ipc] {
        *flag = flag.filter(|set| *set);
    }
}

fn container(container: &mut Container) {
    let latest = images::is_latest(container.image.as_deref().unwrap_or_default());
    set(&mut container.image_pull_policy, if latest { "Always" } else { "IfNotPresent" });
    set(&mut container.termination_message_path, "/dev/termination-log");
    set(&mut container.termination_message_policy, "File");
    requirements(container.resources.get_or_insert_default());
    omit_empty!(container; args, command, env, env_from, ports, resize_policy, restart_policy_rules, volume_devices,
        volume_mounts);
    for flag in [&mut container.stdin, &mut container.stdin_once, &mut container.tty] {
        *flag = flag.filter(|set| *set);
    }
    for mount in container.volume_mounts.iter_mut().flatten() {
        mount.read_only = mount.read_only.filter(|set| *set);
    }
    for port in container.ports.iter_mut().flatten() {
        set(&mut port.protocol, "TCP");
    }
    for source in container.env.iter_mut().flatten().filter_map(|e| e.value_from.as_mut()) {
        if let Some(field) = &mut source.field_ref {
            set(&mut field.api_version, "v1");
        }
        if let Some(resource) = &mut source.resource_field_ref {
            divisor(&mut resource.divisor);
        }
        if let Some(file) = &mut source.file_key_ref {
            file.optional.get_or_insert(false);
        }
    }
    for probe in [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ] {
        probe.iter_mut().for_each(self::probe);
    }
    container.lifecycle.iter_mut().for_each(lifecycle);
}

fn ephemeral_container(container: &mut EphemeralContainer) {
    let latest = images::is_latest(container.image.as_deref().unwrap_or_default());
    set(&mut container.image_pull_policy, if latest { "Always" } else { "IfNotPresent" });
    set(&mut container.termination_message_path, "/dev/termination-log");
    set(&mut container.termination_message_policy, "File");
    requirements(container.resources.get_or_insert_default());
    for port in container.ports.iter_mut().flatten() {
        set(&mut port.protocol, "TCP");
    }
    for field in
        container.env.iter_mut().flatten().filter_map(|e| e.value_from.as_mut()?.field_ref.as_mut())
    {
        set(&mut field.api_version, "v1");
    }
}

fn divisor(divisor: &mut Option<Quantity>) {
    divisor.get_or_insert_with(|| Quantity("0".to_owned()));
}

fn probe(probe: &mut Probe) {
    set_number(&mut probe.timeout_seconds, 1);
    set_number(&mut probe.period_seconds, 10);
    set_number(&mut probe.success_threshold, 1);
    set_number(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn lifecycle(lifecycle: &mut Lifecycle) {
    for hook in [&mut lifecycle.post_start, &mut lifecycle.pre_stop] {
        hook.iter_mut().filter_map(|h| h.http_get.as_mut()).for_each(http_get);
    }
}

fn http_get(action: &mut HTTPGetAction) {
    set(&mut action.path, "/");
    set(&mut action.scheme, "HTTP");
}

fn requirements(resources: &mut ResourceRequirements) {
    round_list(&mut resources.limits);
    round_list(&mut resources.requests);
    omit_empty!(resources; claims);
}

/// Who limits a resource and does not request it requests as much as the limit.
fn requests_from_limits(resources: &mut ResourceRequirements) {
    let Some(limits) = &resources.limits else { return };
    let requests: &mut ResourceList = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// In the host's network a port of the container is a port of the host.
fn host_ports(container: &mut Container) {
    for port in container.ports.iter_mut().flatten() {
        set_number(&mut port.host_port, port.container_port);
    }
}

fn volume(volume: &mut Volume) {
    if super::volumes::source_count(volume) == 0 {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(config_map) = &mut volume.config_map {
        config_map.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        downward.default_mode.get_or_insert(FILE_MODE);
        for file in downward.items.iter_mut().flatten() {
            downward_file(file);
        }
    }
    if let Some(projected) = &mut volume.projected {
        projected.default_mode.get_or_insert(FILE_MODE);
        projected.sources.iter_mut().flatten().for_each(projection);
    }
    local_volume(volume);
    network_volume(volume);
}

fn local_volume(volume: &mut Volume) {
    if let Some(host_path) = &mut volume.host_path {
        host_path.type_.get_or_insert_default();
    }
    if let Some(image) = &mut volume.image {
        let latest = images::is_latest(image.reference.as_deref().unwrap_or_default());
        set(&mut image.pull_policy, if latest { "Always" } else { "IfNotPresent" });
    }
    if let Some(claim) = volume.ephemeral.as_mut().and_then(|e| e.volume_claim_template.as_mut()) {
        set(&mut claim.spec.volume_mode, "Filesystem");
    }
}

/// Volumes that live outside of the node.
pub(crate) fn network_volume(volume: &mut Volume) {
    if let Some(iscsi) = &mut volume.iscsi {
        set(&mut iscsi.iscsi_interface, "default");
    }
    if let Some(rbd) = &mut volume.rbd {
        set(&mut rbd.pool, "rbd");
        set(&mut rbd.user, "admin");
        set(&mut rbd.keyring, "/etc/ceph/keyring");
    }
    if let Some(scale_io) = &mut volume.scale_io {
        set(&mut scale_io.storage_mode, "ThinProvisioned");
        set(&mut scale_io.fs_type, "xfs");
    }
    if let Some(disk) = &mut volume.azure_disk {
        disk.caching_mode.get_or_insert_with(|| "ReadWrite".to_owned());
        disk.kind.get_or_insert_with(|| "Shared".to_owned());
        disk.fs_type.get_or_insert_with(|| "ext4".to_owned());
        disk.read_only.get_or_insert(false);
    }
}

fn projection(source: &mut VolumeProjection) {
    if let Some(token) = &mut source.service_account_token {
        token.expiration_seconds.get_or_insert(TOKEN_SECONDS);
    }
    for file in source.downward_api.iter_mut().flat_map(|d| d.items.iter_mut().flatten()) {
        downward_file(file);
    }
}

fn downward_file(file: &mut k8s_openapi::api::core::v1::DownwardAPIVolumeFile) {
    if let Some(field) = &mut file.field_ref {
        set(&mut field.api_version, "v1");
    }
    if let Some(resource) = &mut file.resource_field_ref {
        divisor(&mut resource.divisor);
    }
}
