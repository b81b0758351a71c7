//! Volumes that live outside of the node: file servers, disks of clouds, drivers.
//!
//! Counterpart in Kubernetes: the `validate…VolumeSource` functions of `pkg/apis/core/validation`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::{meta, names};
use k8s_openapi::api::core::v1::{LocalObjectReference, PersistentVolumeClaimTemplate, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::validation::Context;
use crate::core::persistent_volume_claim::validate_claim_spec;
use crate::report::{Report, list, text};

const PARTITION: &str = "must be between 1 and 255, inclusive";
const LUN: &str = "must be between 0 and 255, inclusive";
const HOST_PORTS: &str = "must be a host:port pair or multiple pairs separated by commas";
/// Bytes in the name of a CSI driver: it is a directory name and a part of others.
const CSI_DRIVER_LIMIT: usize = 63;

fn partition(partition: Option<i32>, at: &Path, errors: &mut ErrorList) {
    if let Some(partition) = partition.filter(|p| !(0..=255).contains(p)) {
        errors.invalid(&at.child("partition"), partition, PARTITION);
    }
}

fn secret_name(secret: &Option<LocalObjectReference>, at: &Path, errors: &mut ErrorList) {
    if let Some(secret) = secret {
        errors.non_empty(&at.child("secretRef").child("name"), &secret.name);
    }
}

pub(super) fn gce_persistent_disk(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(disk) = &volume.gce_persistent_disk else { return };
    errors.non_empty(&at.child("pdName"), &disk.pd_name);
    partition(disk.partition, at, errors);
}

pub(super) fn aws_elastic_block_store(
    volume: &Volume,
    at: &Path,
    _: &Context,
    errors: &mut ErrorList,
) {
    let Some(disk) = &volume.aws_elastic_block_store else { return };
    errors.non_empty(&at.child("volumeID"), &disk.volume_id);
    partition(disk.partition, at, errors);
}

pub(super) fn nfs(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(nfs) = &volume.nfs else { return };
    errors.non_empty(&at.child("server"), &nfs.server);
    errors.non_empty(&at.child("path"), &nfs.path);
    if !nfs.path.starts_with('/') {
        errors.invalid(&at.child("path"), &nfs.path, "must be an absolute path");
    }
}

pub(super) fn iscsi(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(iscsi) = &volume.iscsi else { return };
    errors.non_empty(&at.child("targetPortal"), &iscsi.target_portal);
    if iscsi.iqn.is_empty() {
        errors.required(&at.child("iqn"), "");
    } else {
        iscsi_name(&iscsi.iqn, &at.child("iqn"), errors);
    }
    if !(0..=255).contains(&iscsi.lun) {
        errors.invalid(&at.child("lun"), iscsi.lun, LUN);
    }
    let authenticates =
        iscsi.chap_auth_discovery == Some(true) || iscsi.chap_auth_session == Some(true);
    if authenticates && iscsi.secret_ref.is_none() {
        errors.required(&at.child("secretRef"), "");
    }
    if let Some(initiator) = &iscsi.initiator_name {
        iscsi_name(initiator, &at.child("initiatorname"), errors);
    }
}

/// With an initiator of its own, the name of the volume becomes part of a name that iSCSI limits.
pub(super) fn validate_iscsi_length(volume: &Volume, at: &Path, errors: &mut ErrorList) {
    let Some(iscsi) = volume.iscsi.as_ref().filter(|i| i.initiator_name.is_some()) else { return };
    if volume.name.len() + 1 + iscsi.target_portal.len() > 64 {
        errors.invalid(
            at,
            &volume.name,
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.",
        );
    }
}

fn iscsi_name(name: &str, at: &Path, errors: &mut ErrorList) {
    if !["iqn", "eui", "naa"].iter().any(|prefix| name.starts_with(prefix)) {
        errors.invalid(at, name, "must be valid format starting with iqn, eui, or naa");
    } else if !is_iscsi_name(name) {
        errors.invalid(at, name, "must be valid format");
    }
}

/// `iqn.YYYY-MM.domain[:name]`, `eui.` with 16 hex digits, or `naa.` with 32.
pub(crate) fn is_iscsi_name(name: &str) -> bool {
    match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => name.strip_prefix("eui.").is_some_and(|id| is_hex(id, 16)),
        Some("naa") => name.strip_prefix("naa.").is_some_and(|id| is_hex(id, 32)),
        _ => false,
    }
}

fn is_hex(id: &str, length: usize) -> bool {
    id.len() == length && id.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_iqn(name: &str) -> bool {
    let Some((date, rest)) = name.strip_prefix("iqn.").and_then(|n| n.split_once('.')) else {
        return false;
    };
    let digits =
        |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    let dated =
        date.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2));
    dated && !rest.is_empty() && !rest.contains(char::is_whitespace)
}

pub(super) fn glusterfs(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(glusterfs) = &volume.glusterfs else { return };
    errors.non_empty(&at.child("endpoints"), &glusterfs.endpoints);
    errors.non_empty(&at.child("path"), &glusterfs.path);
}

pub(super) fn flocker(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(flocker) = &volume.flocker else { return };
    let (name, uuid) = (text(&flocker.dataset_name), text(&flocker.dataset_uuid));
    if name.is_empty() && uuid.is_empty() {
        errors.required(at, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        errors.invalid(
            at,
            "resource",
            "datasetName and datasetUUID can not be specified simultaneously",
        );
    }
    if name.contains('/') {
        errors.invalid(&at.child("datasetName"), name, "must not contain '/'");
    }
}

pub(super) fn rbd(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(rbd) = &volume.rbd else { return };
    if rbd.monitors.is_empty() {
        errors.required(&at.child("monitors"), "");
    }
    errors.non_empty(&at.child("image"), &rbd.image);
}

pub(super) fn cinder(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(cinder) = &volume.cinder else { return };
    errors.non_empty(&at.child("volumeID"), &cinder.volume_id);
    secret_name(&cinder.secret_ref, at, errors);
}

pub(super) fn cephfs(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    if volume.cephfs.as_ref().is_some_and(|c| c.monitors.is_empty()) {
        errors.required(&at.child("monitors"), "");
    }
}

pub(super) fn quobyte(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(quobyte) = &volume.quobyte else { return };
    let pair = |p: &str| {
        p.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.starts_with('['))
    };
    if quobyte.registry.is_empty() {
        errors.required(&at.child("registry"), HOST_PORTS);
    } else if text(&quobyte.tenant).len() >= 65 {
        errors.required(
            &at.child("tenant"),
            "must be a UUID and may not exceed a length of 64 characters",
        );
    } else {
        for _ in quobyte.registry.split(',').filter(|p| !pair(p)) {
            errors.invalid(&at.child("registry"), &quobyte.registry, HOST_PORTS);
        }
    }
    errors.non_empty(&at.child("volume"), &quobyte.volume);
}

pub(super) fn fc(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(fc) = &volume.fc else { return };
    let at_targets = at.child("targetWWNs");
    let (targets, wwids) = (list(&fc.target_wwns), list(&fc.wwids));
    if targets.is_empty() && wwids.is_empty() {
        errors.required(&at_targets, "must specify either targetWWNs or wwids, but not both");
    }
    if !targets.is_empty() && !wwids.is_empty() {
        errors.invalid(
            &at_targets,
            targets,
            "targetWWNs and wwids can not be specified simultaneously",
        );
    }
    match fc.lun {
        None if !targets.is_empty() => {
            errors.required(&at.child("lun"), "lun is required if targetWWNs is specified")
        }
        Some(lun) if !targets.is_empty() && !(0..=255).contains(&lun) => {
            errors.invalid(&at.child("lun"), lun, LUN)
        }
        _ => {}
    }
}

pub(super) fn flex_volume(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(flex) = &volume.flex_volume else { return };
    errors.non_empty(&at.child("driver"), &flex.driver);
    for key in flex.options.iter().flatten().map(|(key, _)| key) {
        let domain = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            errors.invalid(
                &at.child("options").key(key),
                key,
                "kubernetes.io and k8s.io namespaces are reserved",
            );
        }
    }
}

pub(super) fn azure_file(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(azure) = &volume.azure_file else { return };
    errors.non_empty(&at.child("secretName"), &azure.secret_name);
    errors.non_empty(&at.child("shareName"), &azure.share_name);
}

pub(super) fn vsphere_volume(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(vsphere) = &volume.vsphere_volume else { return };
    errors.non_empty(&at.child("volumePath"), &vsphere.volume_path);
}

pub(super) fn photon_persistent_disk(
    volume: &Volume,
    at: &Path,
    _: &Context,
    errors: &mut ErrorList,
) {
    let Some(photon) = &volume.photon_persistent_disk else { return };
    errors.non_empty(&at.child("pdID"), &photon.pd_id);
}

pub(super) fn portworx_volume(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(portworx) = &volume.portworx_volume else { return };
    errors.non_empty(&at.child("volumeID"), &portworx.volume_id);
}

pub(super) fn azure_disk(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    const CACHING_MODES: &[&str] = &["None", "ReadOnly", "ReadWrite"];
    const KINDS: &[&str] = &["Dedicated", "Managed", "Shared"];
    const MANAGED: &str = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str =
        "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let Some(disk) = &volume.azure_disk else { return };
    errors.non_empty(&at.child("diskName"), &disk.disk_name);
    errors.non_empty(&at.child("diskURI"), &disk.disk_uri);
    if let Some(mode) = disk.caching_mode.as_deref().filter(|m| !CACHING_MODES.contains(m)) {
        errors.not_supported(&at.child("cachingMode"), mode, CACHING_MODES);
    }
    let Some(kind) = disk.kind.as_deref() else { return };
    if !KINDS.contains(&kind) {
        errors.not_supported(&at.child("kind"), kind, KINDS);
    }
    let (prefix, example) =
        if kind == "Managed" { ("/subscriptions/", MANAGED) } else { ("https://", BLOB) };
    if !disk.disk_uri.starts_with(prefix) {
        errors.not_supported(&at.child("diskURI"), &disk.disk_uri, &[example]);
    }
}

pub(super) fn storageos(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(storageos) = &volume.storageos else { return };
    let (name, namespace) = (text(&storageos.volume_name), text(&storageos.volume_namespace));
    if name.is_empty() {
        errors.required(&at.child("volumeName"), "");
    } else {
        errors.dns_label(&at.child("volumeName"), name);
    }
    if !namespace.is_empty() {
        errors.dns_label(&at.child("volumeNamespace"), namespace);
    }
    secret_name(&storageos.secret_ref, at, errors);
}

pub(super) fn scale_io(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(scale_io) = &volume.scale_io else { return };
    errors.non_empty(&at.child("gateway"), &scale_io.gateway);
    errors.non_empty(&at.child("system"), &scale_io.system);
    errors.non_empty(&at.child("volumeName"), text(&scale_io.volume_name));
}

pub(super) fn csi(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(csi) = &volume.csi else { return };
    validate_csi_driver_name(&csi.driver, &at.child("driver"), errors);
    let Some(secret) = &csi.node_publish_secret_ref else { return };
    if secret.name.is_empty() {
        errors.required(&at.child("nodePublishSecretRef").child("name"), "");
    } else {
        errors.dns_subdomain(&at.child("name"), &secret.name);
    }
}

/// The claim that an ephemeral volume makes.
pub(super) fn claim_template(
    template: &PersistentVolumeClaimTemplate,
    at: &Path,
    errors: &mut ErrorList,
) {
    if let Some(meta) = &template.metadata {
        template_meta(meta, &at.child("metadata"), errors);
    }
    validate_claim_spec(&template.spec, &at.child("spec"), errors);
}

/// The name of a CSI driver, in whatever case.
pub(crate) fn validate_csi_driver_name(name: &str, at: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    if name.len() > CSI_DRIVER_LIMIT {
        errors.too_long(at, CSI_DRIVER_LIMIT);
    }
    errors.invalid_all(at, name, names::is_dns1123_subdomain(&name.to_lowercase()));
}

/// Of the metadata of a template only labels and annotations come into its objects.
fn template_meta(given: &ObjectMeta, at: &Path, errors: &mut ErrorList) {
    errors.extend(meta::validate_annotations(
        &given.annotations.clone().unwrap_or_default(),
        &at.child("annotations"),
    ));
    errors.extend(meta::validate_labels(
        &given.labels.clone().unwrap_or_default(),
        &at.child("labels"),
    ));
    for (name, set) in [
        ("name", given.name.is_some()),
        ("generateName", given.generate_name.is_some()),
        ("namespace", given.namespace.is_some()),
        ("finalizers", given.finalizers.is_some()),
        ("ownerReferences", given.owner_references.is_some()),
    ] {
        if set {
            errors.forbidden(&at.child(name), "cannot be set");
        }
    }
}
