//! Projected volumes: several sources in one directory.
//!
//! Counterpart in Kubernetes: `validateProjectedVolumeSource` in `pkg/apis/core/validation`.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use apimachinery::{labels, names};
use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, KeyToPath, PodCertificateProjection,
    ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use super::super::validation::Context;
use super::{downward_file, file_mode, key_to_path, local_non_reserved};
use crate::report::{Report, list, text};

const KEY_TYPES: &[&str] =
    &["ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"];
/// Seconds that a token must live at least, and at most.
const TOKEN_SECONDS: std::ops::RangeInclusive<i64> = 600..=1 << 32;
/// Seconds that a pod certificate may live at most: 91 days, and one day when Kubernetes itself signs.
const CERTIFICATE_SECONDS: i32 = 91 * 86_400;
const KUBERNETES_CERTIFICATE_SECONDS: i32 = 86_400;
const CONFLICT: &str = "conflicting duplicate paths";

/// Paths that were seen in the volume so far.
struct Paths<'a>(BTreeSet<&'a str>);

impl<'a> Paths<'a> {
    /// Notes the path; what was there before conflicts, and the message shows `value`.
    fn add(&mut self, path: &'a str, value: &str, at: &Path, errors: &mut ErrorList) {
        if !path.is_empty() && !self.0.insert(path) {
            errors.invalid(at, value, CONFLICT);
        }
    }
}

pub(super) fn validate(volume: &Volume, at: &Path, _: &Context, errors: &mut ErrorList) {
    let Some(projected) = &volume.projected else { return };
    file_mode(projected.default_mode, &at.child("defaultMode"), errors);
    let mut paths = Paths(BTreeSet::new());
    for (i, source) in list(&projected.sources).iter().enumerate() {
        validate_source(source, &mut paths, at, &at.child("sources").index(i), errors);
    }
}

fn validate_source<'a>(
    source: &'a VolumeProjection,
    paths: &mut Paths<'a>,
    at_volume: &Path,
    at: &Path,
    errors: &mut ErrorList,
) {
    if let Some(secret) = &source.secret {
        keys(&secret.name, list(&secret.items), paths, at_volume, &at.child("secret"), errors);
    }
    if let Some(config_map) = &source.config_map {
        keys(
            &config_map.name,
            list(&config_map.items),
            paths,
            at_volume,
            &at.child("configMap"),
            errors,
        );
    }
    for file in source.downward_api.iter().flat_map(|d| list(&d.items)) {
        downward_file(file, &at.child("downwardAPI"), errors);
        paths.add(&file.path, &file.path, at_volume, errors);
    }
    if let Some(token) = &source.service_account_token {
        validate_token(token, at_volume, &at.child("serviceAccountToken"), errors);
    }
    if let Some(bundle) = &source.cluster_trust_bundle {
        validate_bundle(bundle, &at.child("clusterTrustBundle"), errors);
        paths.add(&bundle.path, &bundle.path, at_volume, errors);
    }
    if let Some(certificate) = &source.pod_certificate {
        validate_certificate(certificate, paths, at_volume, &at.child("podCertificate"), errors);
    }
    if source_count(source) > 1 {
        errors.forbidden(at, "may not specify more than 1 volume type per source");
    }
}

fn source_count(source: &VolumeProjection) -> usize {
    [
        source.secret.is_some(),
        source.config_map.is_some(),
        source.downward_api.is_some(),
        source.service_account_token.is_some(),
        source.cluster_trust_bundle.is_some(),
        source.pod_certificate.is_some(),
    ]
    .into_iter()
    .filter(|set| *set)
    .count()
}

fn keys<'a>(
    name: &str,
    items: &'a [KeyToPath],
    paths: &mut Paths<'a>,
    at_volume: &Path,
    at: &Path,
    errors: &mut ErrorList,
) {
    errors.non_empty(&at.child("name"), name);
    for (i, item) in items.iter().enumerate() {
        key_to_path(item, &at.child("items").index(i), errors);
        paths.add(&item.path, name, at_volume, errors);
    }
}

fn validate_token(
    token: &ServiceAccountTokenProjection,
    at_volume: &Path,
    at: &Path,
    errors: &mut ErrorList,
) {
    let seconds = token.expiration_seconds.unwrap_or(0);
    let at_seconds = at.child("expirationSeconds");
    if seconds < *TOKEN_SECONDS.start() {
        errors.invalid(&at_seconds, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > *TOKEN_SECONDS.end() {
        errors.invalid(&at_seconds, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    errors.non_empty(&at_volume.child("path"), &token.path);
    local_non_reserved(&token.path, &at_volume.child("path"), errors);
}

fn validate_bundle(bundle: &ClusterTrustBundleProjection, at: &Path, errors: &mut ErrorList) {
    match (&bundle.name, &bundle.signer_name) {
        (Some(_), Some(_)) => {
            errors.invalid(at, bundle, "only one of name and signerName may be used")
        }
        (Some(name), None) => validate_bundle_name(name, bundle, at, errors),
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.required(&at.child("signerName"), "must be a valid signer name");
            }
            validate_signer(signer, &at.child("signerName"), errors);
            if let Some(selector) = &bundle.label_selector {
                errors
                    .extend(labels::validate_label_selector(selector, &at.child("labelSelector")));
            }
        }
        (None, None) => errors.required(at, "either name or signerName must be specified"),
    }
    errors.non_empty(&at.child("path"), &bundle.path);
    local_non_reserved(&bundle.path, &at.child("path"), errors);
}

/// Bundles of a signer are called `domain:path:name`, others by a plain name.
fn validate_bundle_name(
    name: &str,
    bundle: &ClusterTrustBundleProjection,
    at: &Path,
    errors: &mut ErrorList,
) {
    let at_name = at.child("name");
    if name.is_empty() {
        errors.required(&at_name, "must be a valid object name");
    }
    let own = name.rsplit(':').next().unwrap_or_default();
    for message in names::is_dns1123_subdomain(own) {
        errors.invalid(&at_name, name, format!("not a valid clustertrustbundlename: {message}"));
    }
    if let Some(selector) = &bundle.label_selector {
        errors.invalid(
            &at.child("labelSelector"),
            selector,
            "labelSelector must be unset if name is specified",
        );
    }
}

/// A signer's name is `domain/path`, the domain with at least two labels.
fn validate_signer(signer: &str, at: &Path, errors: &mut ErrorList) {
    if signer.is_empty() {
        return errors.required(at, "");
    }
    match signer.split_once('/') {
        Some((domain, path)) if !path.contains('/') => {
            errors.invalid_all(at, signer, names::is_dns1123_subdomain(domain));
            if !domain.contains('.') {
                errors.invalid(
                    at,
                    signer,
                    "should be a domain with at least two segments separated by dots",
                );
            }
            if path.is_empty() {
                errors.invalid(at, signer, "validating path part: must not be empty");
            }
        }
        _ => errors.invalid(
            at,
            signer,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ),
    }
}

fn validate_certificate<'a>(
    certificate: &'a PodCertificateProjection,
    paths: &mut Paths<'a>,
    at_volume: &Path,
    at: &Path,
    errors: &mut ErrorList,
) {
    validate_signer(&certificate.signer_name, &at.child("signerName"), errors);
    if !KEY_TYPES.contains(&certificate.key_type.as_str()) {
        errors.not_supported(&at.child("keyType"), &certificate.key_type, KEY_TYPES);
    }
    validate_lifetime(certificate, &at.child("maxExpirationSeconds"), errors);
    let files = [
        ("credentialBundlePath", &certificate.credential_bundle_path),
        ("keyPath", &certificate.key_path),
        ("certificateChainPath", &certificate.certificate_chain_path),
    ];
    for (name, path) in files.iter().filter(|(_, path)| !text(path).is_empty()) {
        local_non_reserved(text(path), &at.child(name), errors);
        paths.add(text(path), text(path), at_volume, errors);
    }
    if files.iter().all(|(_, path)| text(path).is_empty()) {
        errors.required(
            at,
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        );
    }
}

fn validate_lifetime(certificate: &PodCertificateProjection, at: &Path, errors: &mut ErrorList) {
    let Some(seconds) = certificate.max_expiration_seconds else { return };
    if seconds < 3600 {
        errors.invalid(at, seconds, "if provided, maxExpirationSeconds must be >= 3600");
    }
    let domain = certificate.signer_name.split('/').next().unwrap_or_default();
    let of_kubernetes = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    let most = if of_kubernetes { KUBERNETES_CERTIFICATE_SECONDS } else { CERTIFICATE_SECONDS };
    if seconds > most {
        errors.invalid(at, seconds, format!("if provided, maxExpirationSeconds must be <= {most}"));
    }
}
