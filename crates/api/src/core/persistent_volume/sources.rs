//! Where a volume's data lives: exactly one source. Most sources are those of pods, with a reference that names a namespace;
//! their rules are those of pods.
//!
//! Counterpart in Kubernetes: the sources in `ValidatePersistentVolumeSpec` of `pkg/apis/core/validation`.

use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::core::v1::{
    AzureFileVolumeSource, CSIPersistentVolumeSource, CephFSVolumeSource, CinderVolumeSource,
    FlexVolumeSource, GlusterfsVolumeSource, ISCSIPersistentVolumeSource, PersistentVolumeSpec,
    RBDVolumeSource, ScaleIOVolumeSource, SecretReference, StorageOSVolumeSource, Volume,
};

use crate::core::pod;
use crate::report::{Report, text};

const ONE_TYPE: &str = "may not specify more than 1 volume type";
/// What iSCSI allows for the name of a volume together with its portal.
const ISCSI_NAME_LIMIT: usize = 64;
const ISCSI_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
const FORMAT: &str = "must be valid format";

/// A source: its field, where what is wrong inside of it is told, and whether it is set.
type Source = (&'static str, &'static str, bool);

/// Every source, in the order in which Kubernetes looks at them.
fn sources(s: &PersistentVolumeSpec) -> [Source; 22] {
    [
        ("hostPath", "hostPath", s.host_path.is_some()),
        ("gcePersistentDisk", "persistentDisk", s.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", "awsElasticBlockStore", s.aws_elastic_block_store.is_some()),
        ("glusterfs", "glusterfs", s.glusterfs.is_some()),
        ("flocker", "flocker", s.flocker.is_some()),
        ("nfs", "nfs", s.nfs.is_some()),
        ("rbd", "rbd", s.rbd.is_some()),
        ("quobyte", "quobyte", s.quobyte.is_some()),
        ("cephFS", "cephfs", s.cephfs.is_some()),
        ("iscsi", "iscsi", s.iscsi.is_some()),
        ("cinder", "cinder", s.cinder.is_some()),
        ("fc", "fc", s.fc.is_some()),
        ("flexVolume", "flexVolume", s.flex_volume.is_some()),
        ("azureFile", "azureFile", s.azure_file.is_some()),
        ("vsphereVolume", "vsphereVolume", s.vsphere_volume.is_some()),
        ("photonPersistentDisk", "photonPersistentDisk", s.photon_persistent_disk.is_some()),
        ("portworxVolume", "portworxVolume", s.portworx_volume.is_some()),
        ("azureDisk", "azureDisk", s.azure_disk.is_some()),
        ("scaleIO", "scaleIO", s.scale_io.is_some()),
        ("local", "local", s.local.is_some()),
        ("storageos", "storageos", s.storageos.is_some()),
        ("csi", "csi", s.csi.is_some()),
    ]
}

/// There is one source, and it is complete.
pub(super) fn validate(spec: &PersistentVolumeSpec, name: &str, at: &Path, errors: &mut ErrorList) {
    let mut found = sources(spec).into_iter().filter(|(_, _, set)| *set);
    let Some((source, told, _)) = found.next() else {
        return errors.required(at, "must specify a volume type");
    };
    validate_source(spec, source, name, &at.child(told), errors);
    if source == "local" && spec.node_affinity.is_none() {
        errors.required(&at.child("nodeAffinity"), "Local volume requires node affinity");
    }
    for (other, ..) in found {
        errors.forbidden(&at.child(other), ONE_TYPE);
    }
}

fn validate_source(
    spec: &PersistentVolumeSpec,
    source: &str,
    name: &str,
    at: &Path,
    errors: &mut ErrorList,
) {
    match source {
        "csi" => spec.csi.iter().for_each(|csi| validate_csi(csi, at, errors)),
        "iscsi" => spec.iscsi.iter().for_each(|iscsi| validate_iscsi(iscsi, name, at, errors)),
        "local" => {
            if let Some(local) = &spec.local {
                errors.non_empty(&at.child("path"), &local.path);
                pod::no_backsteps(&local.path, &at.child("path"), errors);
            }
        }
        _ => {
            pod::validate_shared(&one(spec, source), at, errors);
            validate_namespaces(spec, source, at, errors);
        }
    }
}

/// What volumes have and pods have not: names of namespaces.
fn validate_namespaces(
    spec: &PersistentVolumeSpec,
    source: &str,
    at: &Path,
    errors: &mut ErrorList,
) {
    let at_secret = at.child("secretRef");
    let mut whole = |name: &Option<String>, namespace: &Option<String>| {
        errors.non_empty(&at_secret.child("name"), text(name));
        errors.non_empty(&at_secret.child("namespace"), text(namespace));
    };
    match source {
        "cinder" => {
            for secret in spec.cinder.iter().flat_map(|c| &c.secret_ref) {
                whole(&secret.name, &secret.namespace);
            }
        }
        "storageos" => {
            for secret in spec.storageos.iter().flat_map(|s| &s.secret_ref) {
                whole(&secret.name, &secret.namespace);
            }
        }
        "azureFile" => {
            for namespace in spec.azure_file.iter().flat_map(|a| &a.secret_namespace) {
                errors.non_empty(&at.child("secretNamespace"), namespace);
            }
        }
        "glusterfs" => {
            let at = at.child("endpointsNamespace");
            match spec.glusterfs.as_ref().and_then(|g| g.endpoints_namespace.as_deref()) {
                None => {}
                Some("") => {
                    let detail =
                        "if the endpointnamespace is set, it must be a valid namespace name";
                    errors.invalid(&at, "", detail);
                }
                Some(namespace) => errors.dns_label(&at, namespace),
            }
        }
        _ => {}
    }
}

/// A volume of a pod with this source alone.
fn one(spec: &PersistentVolumeSpec, source: &str) -> Volume {
    let all = as_volume(spec);
    let mut volume = Volume::default();
    match source {
        "hostPath" => volume.host_path = all.host_path,
        "gcePersistentDisk" => volume.gce_persistent_disk = all.gce_persistent_disk,
        "awsElasticBlockStore" => volume.aws_elastic_block_store = all.aws_elastic_block_store,
        "glusterfs" => volume.glusterfs = all.glusterfs,
        "flocker" => volume.flocker = all.flocker,
        "nfs" => volume.nfs = all.nfs,
        "rbd" => volume.rbd = all.rbd,
        "quobyte" => volume.quobyte = all.quobyte,
        "cephFS" => volume.cephfs = all.cephfs,
        "cinder" => volume.cinder = all.cinder,
        "fc" => volume.fc = all.fc,
        "flexVolume" => volume.flex_volume = all.flex_volume,
        "azureFile" => volume.azure_file = all.azure_file,
        "vsphereVolume" => volume.vsphere_volume = all.vsphere_volume,
        "photonPersistentDisk" => volume.photon_persistent_disk = all.photon_persistent_disk,
        "portworxVolume" => volume.portworx_volume = all.portworx_volume,
        "azureDisk" => volume.azure_disk = all.azure_disk,
        "scaleIO" => volume.scale_io = all.scale_io,
        _ => volume.storageos = all.storageos,
    }
    volume
}

/// The sources as pods have them; secrets are left out.
fn as_volume(spec: &PersistentVolumeSpec) -> Volume {
    let s = spec.clone();
    Volume {
        host_path: s.host_path,
        gce_persistent_disk: s.gce_persistent_disk,
        aws_elastic_block_store: s.aws_elastic_block_store,
        glusterfs: s.glusterfs.map(|g| GlusterfsVolumeSource {
            endpoints: g.endpoints,
            path: g.path,
            ..Default::default()
        }),
        flocker: s.flocker,
        nfs: s.nfs,
        rbd: s.rbd.map(|r| RBDVolumeSource {
            image: r.image,
            monitors: r.monitors,
            ..Default::default()
        }),
        quobyte: s.quobyte,
        cephfs: s.cephfs.map(|c| CephFSVolumeSource { monitors: c.monitors, ..Default::default() }),
        cinder: s
            .cinder
            .map(|c| CinderVolumeSource { volume_id: c.volume_id, ..Default::default() }),
        fc: s.fc,
        flex_volume: s.flex_volume.map(|f| FlexVolumeSource {
            driver: f.driver,
            options: f.options,
            ..Default::default()
        }),
        azure_file: s.azure_file.map(|a| AzureFileVolumeSource {
            secret_name: a.secret_name,
            share_name: a.share_name,
            ..Default::default()
        }),
        vsphere_volume: s.vsphere_volume,
        photon_persistent_disk: s.photon_persistent_disk,
        portworx_volume: s.portworx_volume,
        azure_disk: s.azure_disk,
        scale_io: s.scale_io.map(|s| ScaleIOVolumeSource {
            gateway: s.gateway,
            system: s.system,
            volume_name: s.volume_name,
            ..Default::default()
        }),
        storageos: s.storageos.map(|s| StorageOSVolumeSource {
            volume_name: s.volume_name,
            volume_namespace: s.volume_namespace,
            ..Default::default()
        }),
        ..Volume::default()
    }
}

fn validate_csi(csi: &CSIPersistentVolumeSource, at: &Path, errors: &mut ErrorList) {
    pod::validate_csi_driver_name(&csi.driver, &at.child("driver"), errors);
    errors.non_empty(&at.child("volumeHandle"), &csi.volume_handle);
    for (field, secret) in [
        ("controllerPublishSecretRef", &csi.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &csi.controller_expand_secret_ref),
        ("nodePublishSecretRef", &csi.node_publish_secret_ref),
        ("nodeExpandSecretRef", &csi.node_expand_secret_ref),
    ] {
        if let Some(secret) = secret {
            validate_secret(secret, &at.child(field), errors);
        }
    }
}

fn validate_secret(secret: &SecretReference, at: &Path, errors: &mut ErrorList) {
    match text(&secret.name) {
        "" => errors.required(&at.child("name"), ""),
        name => errors.dns_subdomain(&at.child("name"), name),
    }
    match text(&secret.namespace) {
        "" => errors.required(&at.child("namespace"), ""),
        namespace => errors.dns_label(&at.child("namespace"), namespace),
    }
}

fn validate_iscsi(
    iscsi: &ISCSIPersistentVolumeSource,
    name: &str,
    at: &Path,
    errors: &mut ErrorList,
) {
    errors.non_empty(&at.child("targetPortal"), &iscsi.target_portal);
    let initiator = iscsi.initiator_name.as_deref();
    if initiator.is_some() && name.len() + 1 + iscsi.target_portal.len() > ISCSI_NAME_LIMIT {
        errors.invalid(&at.child("targetportal"), &iscsi.target_portal, ISCSI_TOO_LONG);
    }
    let at_iqn = at.child("iqn");
    if iscsi.iqn.is_empty() {
        errors.required(&at_iqn, "");
    } else if !pod::is_iscsi_name(&iscsi.iqn) {
        errors.invalid(&at_iqn, &iscsi.iqn, FORMAT);
    }
    if !(0..=255).contains(&iscsi.lun) {
        errors.invalid(&at.child("lun"), iscsi.lun, "must be between 0 and 255, inclusive");
    }
    let asks = iscsi.chap_auth_discovery == Some(true) || iscsi.chap_auth_session == Some(true);
    match &iscsi.secret_ref {
        None if asks => errors.required(&at.child("secretRef"), ""),
        None => {}
        Some(secret) => {
            errors.non_empty(&at.child("secretRef").child("name"), text(&secret.name));
        }
    }
    if let Some(initiator) = initiator.filter(|name| !pod::is_iscsi_name(name)) {
        errors.invalid(&at.child("initiatorname"), initiator, FORMAT);
    }
}

/// What sources leave out; the values are those of pods.
pub(super) fn default(spec: &mut PersistentVolumeSpec) {
    let fill = |field: &mut Option<String>, value: &str| {
        if text(field).is_empty() {
            *field = Some(value.to_owned());
        }
    };
    if let Some(host_path) = &mut spec.host_path {
        host_path.type_.get_or_insert_default();
    }
    if let Some(iscsi) = &mut spec.iscsi {
        fill(&mut iscsi.iscsi_interface, "default");
    }
    if let Some(rbd) = &mut spec.rbd {
        fill(&mut rbd.pool, "rbd");
        fill(&mut rbd.user, "admin");
        fill(&mut rbd.keyring, "/etc/ceph/keyring");
    }
    if let Some(scale_io) = &mut spec.scale_io {
        fill(&mut scale_io.storage_mode, "ThinProvisioned");
        fill(&mut scale_io.fs_type, "xfs");
    }
    let mut volume = Volume { azure_disk: spec.azure_disk.take(), ..Volume::default() };
    pod::default_network_volume(&mut volume);
    spec.azure_disk = volume.azure_disk;
}

/// Sources that no longer do anything.
pub(super) fn warnings(spec: &PersistentVolumeSpec) -> Vec<String> {
    let old = [
        (spec.cephfs.is_some(), "cephfs: deprecated in v1.28, non-functional in v1.31+"),
        (
            spec.photon_persistent_disk.is_some(),
            "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+",
        ),
        (spec.scale_io.is_some(), "scaleIO: deprecated in v1.16, non-functional in v1.22+"),
        (spec.storageos.is_some(), "storageOS: deprecated in v1.22, non-functional in v1.25+"),
        (spec.glusterfs.is_some(), "glusterfs: deprecated in v1.25, non-functional in v1.26+"),
        (spec.rbd.is_some(), "rbd: deprecated in v1.28, non-functional in v1.31+"),
    ];
    old.into_iter().filter(|(set, _)| *set).map(|(_, told)| format!("spec.{told}")).collect()
}
