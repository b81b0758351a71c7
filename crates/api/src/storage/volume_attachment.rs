//! VolumeAttachment: a volume is to be attached to a node.
//!
//! Counterpart in Kubernetes: `pkg/registry/storage/volumeattachment`.

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::storage::v1::{VolumeAttachment, VolumeAttachmentSource, VolumeError};
use serde_json::Value;

use super::bytes;
use crate::columns::{self, column};
use crate::core::{persistent_volume, pod};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, text};
use crate::strategy::{KindStrategy, keep_metadata, spec_and_status};

/// Bytes of what a driver notes about an attached volume.
const MAX_METADATA_BYTES: usize = 256 * 1024;
/// Bytes of what a driver says about a failure.
const MAX_MESSAGE_BYTES: usize = 1024;
const ONE_SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

impl KindStrategy for VolumeAttachment {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        Column {
            name: "Attacher",
            type_: "string",
            format: "name",
            description: "Driver that attaches the volume.",
            priority: 0,
        },
        column("PV", "string", "Volume that is attached."),
        column("Node", "string", "Node the volume is attached to."),
        column("Attached", "boolean", "Whether the volume is attached."),
        columns::AGE,
    ];
    const ALLOW_UNCONDITIONAL_UPDATE: bool = false;

    spec_and_status!();

    fn default_fields(&mut self) {
        if let Some(spec) = &mut self.spec.source.inline_volume_spec {
            persistent_volume::default_sources(spec);
        }
        self.status.get_or_insert_default();
    }

    fn on_status_update(&mut self, old: &Self) {
        keep_metadata(&mut self.metadata, &old.metadata);
    }

    fn validate(&self, errors: &mut ErrorList) {
        validate(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        errors.unchanged(&Path::new("spec"), &self.spec, &old.spec);
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut ErrorList) {
        validate(self, errors);
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        vec![
            columns::name(&self.metadata),
            self.spec.attacher.clone().into(),
            text(&self.spec.source.persistent_volume_name).into(),
            self.spec.node_name.clone().into(),
            self.status.as_ref().is_some_and(|s| s.attached).into(),
            columns::age(&self.metadata, now),
        ]
    }
}

fn validate(attachment: &VolumeAttachment, errors: &mut ErrorList) {
    let (spec, at) = (&attachment.spec, Path::new("spec"));
    pod::validate_csi_driver_name(&spec.attacher, &at.child("attacher"), errors);
    validate_source(&spec.source, &at.child("source"), errors);
    errors.dns_subdomain(&at.child("nodeName"), &spec.node_name);
    let Some(status) = &attachment.status else { return };
    let at = Path::new("status");
    if status.attachment_metadata.as_ref().is_some_and(|m| bytes(m) > MAX_METADATA_BYTES) {
        errors.too_long(&at.child("attachmentMetadata"), MAX_METADATA_BYTES);
    }
    validate_error(status.attach_error.as_ref(), &at.child("attachError"), errors);
    validate_error(status.detach_error.as_ref(), &at.child("detachError"), errors);
    if let Some(volume) = &spec.source.persistent_volume_name {
        errors.dns_subdomain(&Path::new("spec.source.persistentVolumeName"), volume);
    }
}

fn validate_source(source: &VolumeAttachmentSource, at: &Path, errors: &mut ErrorList) {
    match (&source.inline_volume_spec, &source.persistent_volume_name) {
        (None, None) => errors.required(at, ONE_SOURCE),
        (Some(_), Some(_)) => errors.forbidden(at, ONE_SOURCE),
        (None, Some(name)) if name.is_empty() => {
            let at = at.child("persistentVolumeName");
            errors.required(&at, "must specify non empty persistentVolumeName");
        }
        (None, Some(_)) => {}
        (Some(spec), None) => {
            persistent_volume::validate_inline(spec, &at.child("inlineVolumeSpec"), errors);
        }
    }
}

/// A message that is too long is told the limit of the metadata, as in Kubernetes.
fn validate_error(error: Option<&VolumeError>, at: &Path, errors: &mut ErrorList) {
    let Some(error) = error else { return };
    if text(&error.message).len() > MAX_MESSAGE_BYTES {
        errors.too_long(&at.child("message"), MAX_METADATA_BYTES);
    }
    if let Some(code) = error.error_code.filter(|code| *code < 0) {
        let detail = "must be between 0 and 2147483647, inclusive";
        errors.invalid(&at.child("errorCode"), code, detail);
    }
}
