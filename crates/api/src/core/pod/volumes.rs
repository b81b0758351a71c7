//! Volumes of a pod: exactly one source each, and the rules of every source.
//!
//! Counterpart in Kubernetes: `ValidateVolumes` in `pkg/apis/core/validation`. What is wrong with a volume keeps it out of the
//! map that mounts are checked against, as there.

mod projected;
mod remote;

pub(crate) use remote::{is_iscsi_name, validate_csi_driver_name};

use std::collections::BTreeMap;

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EphemeralVolumeSource,
    GitRepoVolumeSource, HostPathVolumeSource, ImageVolumeSource, KeyToPath, PodSpec,
    SecretVolumeSource, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::env;
use super::validation::Context;
use crate::quantities;
use crate::report::{Report, list, text};

/// Volumes by name, as far as they are valid.
pub(crate) type Volumes<'a> = BTreeMap<&'a str, &'a Volume>;

const FILE_MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];
const ONE_TYPE: &str = "may not specify more than 1 volume type";

/// One kind of source: the name of the field, whether it is set, and the check that then runs.
type Source = (&'static str, bool, fn(&Volume, &Path, &Context, &mut ErrorList));

/// Every source there is, in the order in which Kubernetes looks at them.
fn sources(volume: &Volume) -> [Source; 30] {
    let v = volume;
    [
        ("emptyDir", v.empty_dir.is_some(), empty_dir),
        ("hostPath", v.host_path.is_some(), host_path),
        ("gitRepo", v.git_repo.is_some(), git_repo),
        ("gcePersistentDisk", v.gce_persistent_disk.is_some(), remote::gce_persistent_disk),
        (
            "awsElasticBlockStore",
            v.aws_elastic_block_store.is_some(),
            remote::aws_elastic_block_store,
        ),
        ("secret", v.secret.is_some(), secret),
        ("nfs", v.nfs.is_some(), remote::nfs),
        ("iscsi", v.iscsi.is_some(), remote::iscsi),
        ("glusterfs", v.glusterfs.is_some(), remote::glusterfs),
        ("flocker", v.flocker.is_some(), remote::flocker),
        ("persistentVolumeClaim", v.persistent_volume_claim.is_some(), persistent_volume_claim),
        ("rbd", v.rbd.is_some(), remote::rbd),
        ("cinder", v.cinder.is_some(), remote::cinder),
        ("cephfs", v.cephfs.is_some(), remote::cephfs),
        ("quobyte", v.quobyte.is_some(), remote::quobyte),
        ("downwardAPI", v.downward_api.is_some(), downward_api),
        ("fc", v.fc.is_some(), remote::fc),
        ("flexVolume", v.flex_volume.is_some(), remote::flex_volume),
        ("configMap", v.config_map.is_some(), config_map),
        ("azureFile", v.azure_file.is_some(), remote::azure_file),
        ("vsphereVolume", v.vsphere_volume.is_some(), remote::vsphere_volume),
        (
            "photonPersistentDisk",
            v.photon_persistent_disk.is_some(),
            remote::photon_persistent_disk,
        ),
        ("portworxVolume", v.portworx_volume.is_some(), remote::portworx_volume),
        ("azureDisk", v.azure_disk.is_some(), remote::azure_disk),
        ("storageos", v.storageos.is_some(), remote::storageos),
        ("projected", v.projected.is_some(), projected::validate),
        ("scaleIO", v.scale_io.is_some(), remote::scale_io),
        ("csi", v.csi.is_some(), remote::csi),
        ("ephemeral", v.ephemeral.is_some(), ephemeral),
        ("image", v.image.is_some(), image),
    ]
}

/// The rules of a source that persistent volumes have as well; `volume` holds nothing else.
pub(crate) fn validate_shared(volume: &Volume, at: &Path, errors: &mut ErrorList) {
    let spec = PodSpec::default();
    let context = Context::new(&spec, None, false);
    for (_, _, check) in sources(volume).into_iter().filter(|(_, set, _)| *set) {
        check(volume, at, &context, errors);
    }
}

/// How many sources the volume names.
pub(super) fn source_count(volume: &Volume) -> usize {
    sources(volume).iter().filter(|(_, set, _)| *set).count()
}

/// Checks all volumes and returns the valid ones.
pub(super) fn validate<'a>(
    volumes: &'a [Volume],
    context: &Context,
    at: &Path,
    errors: &mut ErrorList,
) -> Volumes<'a> {
    let mut valid = Volumes::new();
    for (i, volume) in volumes.iter().enumerate() {
        let at = at.index(i);
        let before = errors.len();
        validate_source(volume, context, &at, errors);
        validate_name(volume, &valid, context.meta, &at.child("name"), errors);
        if errors.len() == before {
            valid.insert(&volume.name, volume);
        }
        validate_claim(volume, volumes, context.meta, &at, errors);
    }
    valid
}

fn validate_source(volume: &Volume, context: &Context, at: &Path, errors: &mut ErrorList) {
    let mut set = sources(volume).into_iter().filter(|(_, set, _)| *set);
    let Some((name, _, check)) = set.next() else {
        return errors.required(at, "must specify a volume type");
    };
    // What is wrong inside of this one is told under another name in Kubernetes.
    let told = if name == "gcePersistentDisk" { "persistentDisk" } else { name };
    check(volume, &at.child(told), context, errors);
    for (name, ..) in set {
        errors.forbidden(&at.child(name), ONE_TYPE);
    }
}

fn validate_name(
    volume: &Volume,
    valid: &Volumes,
    meta: Option<&ObjectMeta>,
    at: &Path,
    errors: &mut ErrorList,
) {
    remote::validate_iscsi_length(volume, at, errors);
    if volume.ephemeral.is_some() {
        validate_claim_name(volume, meta, at, errors);
    }
    if volume.name.is_empty() {
        errors.required(at, "");
    } else {
        errors.dns_label(at, &volume.name);
    }
    if valid.contains_key(volume.name.as_str()) {
        errors.duplicate(at, &volume.name);
    }
}

/// A volume must not name a claim that another volume of the pod makes.
fn validate_claim(
    volume: &Volume,
    all: &[Volume],
    meta: Option<&ObjectMeta>,
    at: &Path,
    errors: &mut ErrorList,
) {
    let Some(claim) = &volume.persistent_volume_claim else { return };
    let Some(pod) = meta.and_then(|m| m.name.as_deref()).filter(|n| !n.is_empty()) else { return };
    if all.iter().any(|v| v.ephemeral.is_some() && claim.claim_name == format!("{pod}-{}", v.name))
    {
        errors.invalid(
            &at.child("persistentVolumeClaim").child("claimName"),
            &claim.claim_name,
            "must not reference a PVC that gets created for an ephemeral volume",
        );
    }
}

fn empty_dir(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(limit) = volume.empty_dir.as_ref().and_then(|e| e.size_limit.as_ref()) else { return };
    if quantities::amount(limit).is_none_or(|l| l.signum() < 0) {
        errors
            .forbidden(&at.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

fn host_path(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(HostPathVolumeSource { path, type_ }) = &volume.host_path else { return };
    if path.is_empty() {
        return errors.required(&at.child("path"), "");
    }
    no_backsteps(path, &at.child("path"), errors);
    if !HOST_PATH_TYPES.contains(&text(type_)) {
        errors.not_supported(&at.child("type"), text(type_), HOST_PATH_TYPES);
    }
}

fn git_repo(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(GitRepoVolumeSource { directory, repository, .. }) = &volume.git_repo else { return };
    errors.non_empty(&at.child("repository"), repository);
    local_descending(text(directory), &at.child("directory"), errors);
}

fn secret(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(SecretVolumeSource { secret_name, default_mode, items, .. }) = &volume.secret else {
        return;
    };
    errors.non_empty(&at.child("secretName"), text(secret_name));
    file_mode(*default_mode, &at.child("defaultMode"), errors);
    keys_to_paths(list(items), &at.child("items"), errors);
}

fn config_map(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(ConfigMapVolumeSource { name, default_mode, items, .. }) = &volume.config_map else {
        return;
    };
    errors.non_empty(&at.child("name"), name);
    file_mode(*default_mode, &at.child("defaultMode"), errors);
    keys_to_paths(list(items), &at.child("items"), errors);
}

fn persistent_volume_claim(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(claim) = &volume.persistent_volume_claim else { return };
    errors.non_empty(&at.child("claimName"), &claim.claim_name);
}

fn downward_api(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(DownwardAPIVolumeSource { default_mode, items }) = &volume.downward_api else {
        return;
    };
    file_mode(*default_mode, &at.child("defaultMode"), errors);
    for file in list(items) {
        downward_file(file, at, errors);
    }
}

/// A file of the downward API shows a field of the pod or a resource of a container. Its path has no index, as in Kubernetes.
fn downward_file(file: &DownwardAPIVolumeFile, at: &Path, errors: &mut ErrorList) {
    errors.non_empty(&at.child("path"), &file.path);
    local_non_reserved(&file.path, &at.child("path"), errors);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), other) => {
            env::validate_field_ref(field, env::VOLUME_FIELDS, &at.child("fieldRef"), errors);
            if other.is_some() {
                errors.invalid(
                    at,
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                );
            }
        }
        (None, Some(resource)) => {
            let at = at.child("resourceFieldRef");
            if text(&resource.container_name).is_empty() {
                errors.required(&at.child("containerName"), "");
                env::validate_divisor(resource, &at, errors);
            } else {
                env::validate_resource_ref(resource, &at, errors);
            }
        }
        (None, None) => errors.required(at, "one of fieldRef and resourceFieldRef is required"),
    }
    file_mode(file.mode, &at.child("mode"), errors);
}

fn ephemeral(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(EphemeralVolumeSource { volume_claim_template }) = &volume.ephemeral else { return };
    let Some(template) = volume_claim_template else {
        return errors.required(&at.child("volumeClaimTemplate"), "");
    };
    remote::claim_template(template, &at.child("volumeClaimTemplate"), errors);
}

/// The claim of an ephemeral volume is called after the pod and the volume.
fn validate_claim_name(
    volume: &Volume,
    meta: Option<&ObjectMeta>,
    at: &Path,
    errors: &mut ErrorList,
) {
    let Some(pod) = meta.and_then(|m| m.name.as_deref()).filter(|n| !n.is_empty()) else { return };
    let claim = format!("{pod}-{}", volume.name);
    for message in names::is_dns1123_subdomain(&claim) {
        errors.invalid(at, &volume.name, format!("PVC name \"{claim}\": {message}"));
    }
}

fn image(volume: &Volume, at: &Path, context: &Context, errors: &mut ErrorList) {
    let Some(ImageVolumeSource { reference, pull_policy }) = &volume.image else { return };
    if context.is_pod {
        errors.non_empty(&at.child("reference"), text(reference));
    }
    errors.one_of(&at.child("pullPolicy"), text(pull_policy), super::validation::PULL_POLICIES);
}

fn keys_to_paths(items: &[KeyToPath], at: &Path, errors: &mut ErrorList) {
    for (i, item) in items.iter().enumerate() {
        key_to_path(item, &at.index(i), errors);
    }
}

fn key_to_path(item: &KeyToPath, at: &Path, errors: &mut ErrorList) {
    errors.non_empty(&at.child("key"), &item.key);
    errors.non_empty(&at.child("path"), &item.path);
    local_non_reserved(&item.path, &at.child("path"), errors);
    file_mode(item.mode, &at.child("mode"), errors);
}

fn file_mode(mode: Option<i32>, at: &Path, errors: &mut ErrorList) {
    if let Some(mode) = mode.filter(|m| !(0..=0o777).contains(m)) {
        errors.invalid(at, mode, FILE_MODE);
    }
}

/// A relative path that never climbs.
pub(super) fn local_descending(path: &str, at: &Path, errors: &mut ErrorList) {
    if path.starts_with('/') {
        errors.invalid(at, path, "must be a relative path");
    }
    no_backsteps(path, at, errors);
}

/// A path that never climbs.
pub(crate) fn no_backsteps(path: &str, at: &Path, errors: &mut ErrorList) {
    if has_backsteps(path) {
        errors.invalid(at, path, "must not contain '..'");
    }
}

/// Whether the path climbs somewhere.
pub(super) fn has_backsteps(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// A relative path that neither climbs nor has a name the kubelet keeps for itself.
fn local_non_reserved(path: &str, at: &Path, errors: &mut ErrorList) {
    local_descending(path, at, errors);
    if path.starts_with("..") && !path.starts_with("../") {
        errors.invalid(at, path, "must not start with '..'");
    }
}
