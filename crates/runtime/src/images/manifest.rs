//! Manifests, indexes and configs: which blobs an image is made of, and whether they fit each other.
//!
//! The counterpart of containerd's `images` and `platforms` packages. Everything here is a pure function of bytes. Invariant: an
//! [`ImageSpec`] has as many layers as diff ids and chain ids, and at most [`MAX_LAYERS`].

use super::ImageError;
use super::digest::Digest;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, Os};

/// Most layers of one image: overlayfs stacks at most 500 directories (`OVL_MAX_STACK`).
pub const MAX_LAYERS: usize = 500;
/// Largest manifest or index taken: registries refuse to store more than 4 MiB.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// Largest config taken: labels and history are text written by people, 8 MiB is far above any seen.
pub const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Media types of manifests this store understands, most wanted first; the `Accept` header of a pull.
pub const ACCEPTED_MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A manifest as found: for one platform or a choice of them.
#[derive(Debug)]
pub enum Manifest {
    /// One image.
    Image(Box<ImageManifest>),
    /// Images by platform.
    Index(Box<ImageIndex>),
}

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A bare tar.
    None,
    /// gzip, of one or more members.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// Digest of the blob as distributed.
    pub blob: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Digest of the tar inside.
    pub diff_id: Digest,
    /// Digest over this layer and all below.
    pub chain_id: Digest,
    /// Chain id of the layer below; `None` for the base.
    pub parent: Option<Digest>,
}

/// Everything about an image but its layers' content.
#[derive(Debug, Clone)]
pub struct ImageSpec {
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the config: the image's id.
    pub config_digest: Digest,
    /// The config.
    pub config: ImageConfiguration,
    /// The layers, base first.
    pub layers: Vec<LayerSpec>,
    /// Bytes of manifest, config and layers as distributed.
    pub size: u64,
}

/// Parses a manifest or an index by what it contains, as older files have no `mediaType`.
///
/// # Errors
/// [`ImageError::Malformed`] for other documents, schema 1 manifests included.
pub fn parse_manifest(bytes: &[u8]) -> Result<Manifest, ImageError> {
    let bad = |source: serde_json::Error| ImageError::malformed("manifest", source);
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(bad)?;
    if value.get("manifests").is_some_and(serde_json::Value::is_array) {
        return serde_json::from_value(value).map(|i| Manifest::Index(Box::new(i))).map_err(bad);
    }
    if value.get("fsLayers").is_some() {
        return Err(ImageError::malformed(
            "manifest",
            "schema version 1 is not supported, rebuild or re-push the image",
        ));
    }
    serde_json::from_value(value).map(|m| Manifest::Image(Box::new(m))).map_err(bad)
}

/// Parses an image config.
///
/// # Errors
/// [`ImageError::Malformed`].
pub fn parse_config(bytes: &[u8]) -> Result<ImageConfiguration, ImageError> {
    serde_json::from_slice(bytes).map_err(|e| ImageError::malformed("config", e))
}

/// The host's architecture in Go's words.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// The manifest of an index for Linux on `architecture`; an entry without a platform is taken when no other fits.
///
/// # Errors
/// [`ImageError::NoPlatform`] naming what the index offers.
pub fn choose_platform<'a>(
    index: &'a ImageIndex,
    architecture: &str,
) -> Result<&'a Descriptor, ImageError> {
    let fits = |d: &&Descriptor| {
        let platform = d.platform().as_ref();
        platform
            .is_some_and(|p| *p.os() == Os::Linux && p.architecture().to_string() == architecture)
    };
    let bare = || index.manifests().iter().find(|d| d.platform().is_none());
    index.manifests().iter().find(fits).or_else(bare).ok_or_else(|| ImageError::NoPlatform {
        wanted: format!("linux/{architecture}"),
        offered: offered_platforms(index),
    })
}

fn offered_platforms(index: &ImageIndex) -> String {
    let platforms = index.manifests().iter().filter_map(|d| d.platform().as_ref());
    let mut names: Vec<String> =
        platforms.map(|p| format!("{}/{}", p.os(), p.architecture())).collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

/// Chain ids of a stack of diff ids, base first.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.clone(),
            Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

/// The compression of a layer by its first bytes; media types of old archives lie.
pub fn detect_compression(head: &[u8]) -> Compression {
    if head.starts_with(&[0x1f, 0x8b]) {
        Compression::Gzip
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable_zstd_frame(head) {
        Compression::Zstd
    } else {
        Compression::None
    }
}

fn is_skippable_zstd_frame(head: &[u8]) -> bool {
    head.len() >= 4 && (0x50..=0x5f).contains(&head[0]) && head[1..4] == [0x2a, 0x4d, 0x18]
}

/// Joins manifest and config into an [`ImageSpec`].
///
/// # Errors
/// [`ImageError::Malformed`] when they contradict each other, or the image is not for Linux.
pub fn image_spec(
    manifest_digest: Digest,
    manifest_bytes: u64,
    manifest: &ImageManifest,
    config: ImageConfiguration,
) -> Result<ImageSpec, ImageError> {
    let blobs = manifest.layers().iter().map(blob_of).collect::<Result<Vec<_>, _>>()?;
    let (config_digest, config_bytes) = blob_of(manifest.config())?;
    let layers = layer_specs(blobs, &config)?;
    let sizes = layers.iter().map(|l| l.size).chain([manifest_bytes, config_bytes]);
    let size = sizes.fold(0u64, u64::saturating_add);
    Ok(ImageSpec { manifest: manifest_digest, config_digest, config, layers, size })
}

/// Pairs layer blobs (digest and size, base first) with the diff ids of a config.
///
/// # Errors
/// [`ImageError::Malformed`] when their numbers differ or exceed [`MAX_LAYERS`].
pub fn layer_specs(
    blobs: Vec<(Digest, u64)>,
    config: &ImageConfiguration,
) -> Result<Vec<LayerSpec>, ImageError> {
    let bad = |detail: String| Err(ImageError::malformed("config", detail));
    if *config.os() != Os::Linux {
        return bad(format!("the image is for {:?}, not for linux", config.os().to_string()));
    }
    let diff_ids: Vec<Digest> =
        config.rootfs().diff_ids().iter().map(|d| Digest::parse(d)).collect::<Result<_, _>>()?;
    if diff_ids.len() != blobs.len() {
        return bad(format!("it has {} diff_ids for {} layers", diff_ids.len(), blobs.len()));
    }
    if blobs.len() > MAX_LAYERS {
        return bad(format!(
            "{} layers are more than the {MAX_LAYERS} that overlayfs can stack",
            blobs.len()
        ));
    }
    let chain = chain_ids(&diff_ids);
    let parents = std::iter::once(None).chain(chain.iter().cloned().map(Some));
    let rows = blobs.into_iter().zip(diff_ids).zip(chain.iter().cloned().zip(parents));
    Ok(rows
        .map(|(((blob, size), diff_id), (chain_id, parent))| LayerSpec {
            blob,
            size,
            diff_id,
            chain_id,
            parent,
        })
        .collect())
}

/// Digest and size of a descriptor.
///
/// # Errors
/// A digest of an algorithm this store does not use.
pub fn blob_of(descriptor: &Descriptor) -> Result<(Digest, u64), ImageError> {
    Ok((Digest::parse(descriptor.digest().as_ref())?, descriptor.size()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(n: u8) -> Digest {
        Digest::of(&[n])
    }

    fn index(platforms: &[Option<(&str, &str)>]) -> ImageIndex {
        let entries = platforms.iter().enumerate().map(|(i, platform)| {
            let mut d = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(i as u8), "size": 1});
            if let Some((os, arch)) = platform {
                d["platform"] = json!({"os": os, "architecture": arch});
            }
            d
        });
        serde_json::from_value(
            json!({"schemaVersion": 2, "manifests": entries.collect::<Vec<_>>()}),
        )
        .unwrap()
    }

    #[test]
    fn choose_platform_prefers_the_host_then_an_entry_without_platform() {
        let pick = |platforms: &[_]| {
            choose_platform(&index(platforms), "amd64").map(|d| d.digest().to_string()).ok()
        };
        let nth = |n: u8| Some(digest(n).to_string());
        assert_eq!(pick(&[Some(("linux", "arm64")), Some(("linux", "amd64"))]), nth(1));
        assert_eq!(pick(&[Some(("windows", "amd64")), Some(("linux", "amd64"))]), nth(1));
        assert_eq!(pick(&[Some(("linux", "arm64")), None]), nth(1));
        assert_eq!(pick(&[None, Some(("linux", "amd64"))]), nth(1));
        assert_eq!(pick(&[]), None);
        let error =
            choose_platform(&index(&[Some(("linux", "s390x")), Some(("linux", "arm64"))]), "amd64")
                .unwrap_err();
        assert_eq!(
            error.to_string(),
            "no image for linux/amd64, only for linux/arm64, linux/s390x"
        );
    }

    #[test]
    fn chain_ids_follow_the_image_specification() {
        let (a, b) = (digest(1), digest(2));
        assert_eq!(
            chain_ids(&[a.clone(), b.clone()]),
            [a.clone(), Digest::of(format!("{a} {b}").as_bytes())]
        );
        assert!(chain_ids(&[]).is_empty());
    }

    #[test]
    fn layer_specs_with_wrong_number_of_diff_ids_are_refused() {
        let config = parse_config(
            json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest(1)]}})
                .to_string()
                .as_bytes(),
        )
        .unwrap();
        assert!(layer_specs(vec![(digest(9), 1)], &config).is_ok());
        let error = layer_specs(vec![], &config).unwrap_err();
        assert_eq!(error.to_string(), "malformed config: it has 1 diff_ids for 0 layers");
    }

    #[test]
    fn parse_manifest_of_schema_1_is_refused() {
        let error = parse_manifest(br#"{"schemaVersion":1,"fsLayers":[]}"#).unwrap_err();
        assert!(error.to_string().contains("schema version 1"), "{error}");
        assert!(parse_manifest(b"[]").is_err());
        assert!(parse_manifest(b"not json").is_err());
    }

    #[test]
    fn detect_compression_goes_by_magic() {
        assert_eq!(detect_compression(&[0x1f, 0x8b, 8]), Compression::Gzip);
        assert_eq!(detect_compression(&[0x28, 0xb5, 0x2f, 0xfd]), Compression::Zstd);
        assert_eq!(detect_compression(b"etc/passwd"), Compression::None);
        assert_eq!(detect_compression(b""), Compression::None);
    }

    #[test]
    fn config_as_docker_writes_it_is_understood() {
        let config = parse_config(
            br#"{"architecture":"amd64","os":"linux","created":"2020-01-01T00:00:00Z","docker_version":"19.03","container":"x",
            "container_config":{"Cmd":null},"config":{"Hostname":"","User":"1000:1000","ExposedPorts":{"8080/tcp":{}},"Tty":false,
            "Env":["PATH=/bin"],"Cmd":["/bin/sh"],"ArgsEscaped":true,"Image":"","Volumes":{"/data":{}},"WorkingDir":"","Entrypoint":null,
            "OnBuild":null,"Labels":null,"StopSignal":"SIGTERM","Healthcheck":{"Test":["CMD","x"]}},"history":[{"created":"2020-01-01T00:00:00Z","created_by":"x"}],
            "rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .unwrap();
        assert_eq!(config.config().as_ref().and_then(|c| c.user().as_deref()), Some("1000:1000"));
    }
}
