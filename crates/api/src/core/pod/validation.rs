//! The rules of a pod and of a pod template: every error at once, in Kubernetes' words.
//!
//! Counterpart in Kubernetes: `ValidatePodSpec` and its callers in `pkg/apis/core/validation`. Here stand the spec as a whole
//! and its simple fields; containers, volumes, scheduling and security have modules of their own.

mod annotations;
mod containers;
mod dns;
mod windows;

use std::collections::BTreeSet;

use apimachinery::field::{self, ErrorList, Path};
use apimachinery::{meta, names};
use k8s_openapi::api::core::v1::{
    Pod, PodResourceClaim, PodSpec, PodTemplateSpec, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::volumes::Volumes;
use super::{containers as walk, resources, scheduling, security, volumes};
use crate::net;
use crate::report::{Report, list, text};
pub(super) use annotations::APP_ARMOR;
pub(crate) use containers::PROTOCOLS;

pub(super) const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const RESTART_POLICIES: &[&str] = &["Always", "OnFailure", "Never"];
const PREEMPTION_POLICIES: &[&str] = &["PreemptLowerPriority", "Never"];
const OPERATING_SYSTEMS: &[&str] = &["linux", "windows"];
/// What `activeDeadlineSeconds` may be at most: seconds are kept in 32 bits.
pub(super) const MAX_DEADLINE_SECONDS: i64 = i32::MAX as i64;
/// Bytes of a host name: what the kernel holds.
const HOSTNAME_LIMIT: usize = 64;
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

/// What the parts of a spec need to know about the whole.
pub(super) struct Context<'a> {
    /// Metadata of the pod; a template has none that counts.
    pub(super) meta: Option<&'a ObjectMeta>,
    /// A pod, as against a template.
    pub(super) is_pod: bool,
    /// Seconds of grace.
    pub(super) grace: Option<i64>,
    /// Name of the operating system, if told.
    pub(super) os: Option<&'a str>,
    /// Restart policy of the pod.
    pub(super) restart_policy: &'a str,
    /// Whether the users of the pod are those of the host.
    pub(super) host_users: bool,
    /// Names of the resource claims.
    pub(super) claims: BTreeSet<&'a str>,
    /// Valid volumes.
    pub(super) volumes: Volumes<'a>,
}

impl<'a> Context<'a> {
    pub(super) fn new(spec: &'a PodSpec, meta: Option<&'a ObjectMeta>, is_pod: bool) -> Self {
        let claims = list(&spec.resource_claims).iter().map(|c| c.name.as_str());
        Self {
            meta,
            is_pod,
            grace: spec.termination_grace_period_seconds,
            os: spec.os.as_ref().map(|os| os.name.as_str()),
            restart_policy: text(&spec.restart_policy),
            host_users: spec.host_users != Some(false),
            claims: claims.filter(|name| !name.is_empty()).collect(),
            volumes: Volumes::new(),
        }
    }
}

/// Rules for a pod, on create and on update; its ObjectMeta is checked elsewhere.
pub(super) fn validate(pod: &Pod, errors: &mut ErrorList) {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let at = Path::new("spec");
    annotations::validate(&pod.metadata, spec, &Path::new("metadata").child("annotations"), errors);
    let context = Context::new(spec, Some(&pod.metadata), true);
    validate_spec(spec, context, &at, errors);
    if text(&spec.service_account_name).is_empty() {
        forbid_tokens(spec, &at.child("volumes"), errors);
    }
    validate_images(spec, &at, errors);
}

/// Further rules for a new pod.
pub(super) fn validate_create(pod: &Pod, errors: &mut ErrorList) {
    let Some(spec) = &pod.spec else { return };
    let at = Path::new("spec");
    if spec.ephemeral_containers.is_some() {
        errors.forbidden(&at.child("ephemeralContainers"), "cannot be set on create");
    }
    if !text(&spec.node_name).is_empty() && !list(&spec.scheduling_gates).is_empty() {
        errors.forbidden(
            &at.child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        );
    }
    annotations::validate_against_fields(&pod.metadata, spec, &at, errors);
}

/// Rules for a template.
pub(crate) fn validate_template(template: &PodTemplateSpec, at: &Path, errors: &mut ErrorList) {
    let (empty_meta, empty_spec) = (ObjectMeta::default(), PodSpec::default());
    let given = template.metadata.as_ref().unwrap_or(&empty_meta);
    let spec = template.spec.as_ref().unwrap_or(&empty_spec);
    errors.extend(meta::validate_labels(
        &given.labels.clone().unwrap_or_default(),
        &at.child("labels"),
    ));
    let at_annotations = at.child("annotations");
    errors.extend(meta::validate_annotations(
        &given.annotations.clone().unwrap_or_default(),
        &at_annotations,
    ));
    annotations::validate(given, spec, &at_annotations, errors);
    let at_spec = at.child("spec");
    validate_spec(spec, Context::new(spec, None, false), &at_spec, errors);
    annotations::validate_against_fields(given, spec, &at_spec, errors);
    if spec.ephemeral_containers.is_some() {
        errors.forbidden(
            &at_spec.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

fn validate_spec<'a>(
    spec: &'a PodSpec,
    mut context: Context<'a>,
    at: &Path,
    errors: &mut ErrorList,
) {
    if spec.termination_grace_period_seconds.is_none() {
        errors.required(&at.child("terminationGracePeriodSeconds"), "");
    }
    context.volumes =
        volumes::validate(list(&spec.volumes), &context, &at.child("volumes"), errors);
    validate_claims(list(&spec.resource_claims), context.meta, &at.child("resourceClaims"), errors);
    containers::validate_all(spec, &context, at, errors);
    resources::validate_pod_level(spec, at, errors);
    validate_host_network_ports(spec, &context, &at.child("containers"), errors);
    errors.one_of(&at.child("restartPolicy"), text(&spec.restart_policy), RESTART_POLICIES);
    dns::validate_policy(text(&spec.dns_policy), &at.child("dnsPolicy"), errors);
    if let Some(selector) = &spec.node_selector {
        errors.extend(meta::validate_labels(selector, &at.child("nodeSelector")));
    }
    if let Some(pod) = &spec.security_context {
        security::validate_pod(pod, spec, &at.child("securityContext"), errors);
    }
    if let Some(affinity) = &spec.affinity {
        scheduling::validate_affinity(affinity, &at.child("affinity"), errors);
    }
    dns::validate_config(
        spec.dns_config.as_ref(),
        text(&spec.dns_policy),
        &at.child("dnsConfig"),
        errors,
    );
    scheduling::validate_gates(spec, at, errors);
    scheduling::validate_spread(
        list(&spec.topology_spread_constraints),
        &at.child("topologySpreadConstraints"),
        errors,
    );
    windows::validate_host_process(spec, at, errors);
    validate_host_users(spec, at, errors);
    validate_names(spec, at, errors);
    validate_rest(spec, at, errors);
    windows::validate_os(spec, OPERATING_SYSTEMS, at, errors);
    validate_file_keys(spec, at, errors);
}

fn validate_claims(
    claims: &[PodResourceClaim],
    meta: Option<&ObjectMeta>,
    at: &Path,
    errors: &mut ErrorList,
) {
    let mirror = meta.and_then(|m| m.annotations.as_ref()).is_some_and(|a| a.contains_key(MIRROR));
    let mut seen = BTreeSet::new();
    for (i, claim) in claims.iter().enumerate() {
        if mirror {
            errors.forbidden(&Path::new(""), "static pods do not support resource claims");
            continue;
        }
        let at = at.index(i);
        if claim.name.is_empty() {
            errors.required(&at.child("name"), "");
        } else if seen.insert(&claim.name) {
            errors.dns_label(&at.child("name"), &claim.name);
        } else {
            errors.duplicate(&at.child("name"), &claim.name);
        }
        validate_claim_source(claim, &at, errors);
    }
}

fn validate_claim_source(claim: &PodResourceClaim, at: &Path, errors: &mut ErrorList) {
    match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
        (Some(_), Some(_)) => errors.invalid(
            at,
            claim,
            "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        ),
        (None, None) => {
            errors.invalid(
                at,
                claim,
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            );
        }
        _ => {}
    }
    if let Some(name) = &claim.resource_claim_name {
        errors.dns_subdomain(&at.child("resourceClaimName"), name);
    }
    if let Some(name) = &claim.resource_claim_template_name {
        errors.dns_subdomain(&at.child("resourceClaimTemplateName"), name);
    }
}

/// In the host's network a container's port is the host's.
fn validate_host_network_ports(
    spec: &PodSpec,
    context: &Context,
    at: &Path,
    errors: &mut ErrorList,
) {
    if spec.host_network != Some(true) {
        return;
    }
    for (i, container) in spec.containers.iter().enumerate() {
        for (j, port) in list(&container.ports).iter().enumerate() {
            let host = port.host_port.unwrap_or(0);
            if host != port.container_port && (context.is_pod || host != 0) {
                let at = at.index(i).child("ports").index(j).child("hostPort");
                errors.invalid(&at, host, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

/// Users of the pod's own need namespaces of the pod's own.
fn validate_host_users(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    if spec.host_users != Some(false) {
        return;
    }
    for (name, set) in
        [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)]
    {
        if set == Some(true) {
            errors.forbidden(&at.child(name), "when `hostUsers` is false");
        }
    }
    for (container, at) in walk::all(spec, at) {
        if !list(&container.volume_devices).is_empty() {
            errors.forbidden(&at.child("volumeDevices"), "when `hostUsers` is false");
        }
    }
}

/// Names the pod has, and names of other things it refers to.
fn validate_names(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    if let Some(name) = &spec.hostname_override {
        validate_hostname_override(name, spec, &at.child("hostnameOverride"), errors);
    }
    for (field, name) in [
        ("serviceAccountName", &spec.service_account_name),
        ("nodeName", &spec.node_name),
        ("priorityClassName", &spec.priority_class_name),
    ] {
        if !text(name).is_empty() {
            errors.dns_subdomain(&at.child(field), text(name));
        }
    }
    for (field, name) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if !text(name).is_empty() {
            errors.dns_label(&at.child(field), text(name));
        }
    }
    if let Some(name) = &spec.runtime_class_name {
        errors.dns_subdomain(&at.child("runtimeClassName"), name);
    }
    if let Some(group) = &spec.scheduling_group {
        let at = at.child("schedulingGroup").child("podGroupName");
        match &group.pod_group_name {
            Some(name) => errors.dns_subdomain(&at, name),
            None => errors.invalid(&at, (), "must specify one of: `podGroupName`"),
        }
    }
}

fn validate_hostname_override(name: &str, spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.forbidden(at, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.host_network == Some(true) {
        errors.forbidden(at, "may not be specified when hostNetwork is true");
    }
    if name.len() > HOSTNAME_LIMIT {
        errors.too_long(at, HOSTNAME_LIMIT);
    }
    errors.dns_subdomain(at, name);
}

fn validate_rest(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    if let Some(seconds) =
        spec.active_deadline_seconds.filter(|s| !(1..=MAX_DEADLINE_SECONDS).contains(s))
    {
        errors.invalid(
            &at.child("activeDeadlineSeconds"),
            seconds,
            names::range_error(1, MAX_DEADLINE_SECONDS),
        );
    }
    scheduling::validate_tolerations(list(&spec.tolerations), &at.child("tolerations"), errors);
    for (i, alias) in list(&spec.host_aliases).iter().enumerate() {
        let at = at.child("hostAliases").index(i);
        net::validate_ip(&alias.ip, &[], &at.child("ip"), errors);
        for (j, name) in list(&alias.hostnames).iter().enumerate() {
            errors.dns_subdomain(&at.child("hostnames").index(j), name);
        }
    }
    if let Some(policy) = &spec.preemption_policy {
        errors.one_of(&at.child("preemptionPolicy"), policy, PREEMPTION_POLICIES);
    }
    if spec.overhead.is_some() {
        let overhead = ResourceRequirements {
            limits: spec.overhead.clone(),
            ..ResourceRequirements::default()
        };
        resources::validate_container(&overhead, &BTreeSet::new(), &at.child("overhead"), errors);
    }
}

/// Variables from files come from `emptyDir` volumes, for only those are written by containers of the pod.
fn validate_file_keys(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    for (container, at) in walk::all(spec, at) {
        for (i, var) in list(&container.env).iter().enumerate() {
            let Some(file) = var.value_from.as_ref().and_then(|v| v.file_key_ref.as_ref()) else {
                continue;
            };
            let at =
                at.child("env").index(i).child("valueFrom").child("fileKeyRef").child("volumeName");
            match list(&spec.volumes).iter().find(|v| v.name == file.volume_name) {
                None => errors.push(field::not_found(&at, &file.volume_name)),
                Some(volume) if volume.empty_dir.is_none() => {
                    errors.invalid(
                        &at,
                        &file.volume_name,
                        "referenced volume must be of type emptyDir",
                    );
                }
                Some(_) => {}
            }
        }
    }
}

/// Without an account there is nobody a token could speak for.
fn forbid_tokens(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    for (i, volume) in list(&spec.volumes).iter().enumerate() {
        let sources = volume.projected.as_ref().map(|p| list(&p.sources)).unwrap_or_default();
        for (j, _) in sources.iter().enumerate().filter(|(_, s)| s.service_account_token.is_some())
        {
            let at = at
                .index(i)
                .child("projected")
                .child("sources")
                .index(j)
                .child("serviceAccountToken");
            errors.forbidden(&at, "must not be specified when serviceAccountName is not set");
        }
    }
}

/// An image is asked for as it is written; a template may still be filled in by its controller.
fn validate_images(spec: &PodSpec, at: &Path, errors: &mut ErrorList) {
    for (container, at) in walk::all(spec, at) {
        let image = text(&container.image);
        if image.trim() != image {
            errors.invalid(
                &at.child("image"),
                image,
                "must not have leading or trailing whitespace",
            );
        }
    }
}

#[cfg(test)]
mod tests;
