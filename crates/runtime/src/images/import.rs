//! Imports archives: `docker save`, OCI archives and OCI layout directories.
//!
//! The counterpart of containerd's `archive.ImportIndex`. An archive that is both (Docker 25 and later) is read as OCI. Invariant: names are
//! given after every image of the archive is complete, so a damaged archive changes nothing.

use super::ImageError;
use super::archive::Archive;
use super::digest::Digest;
use super::disk::{Session, verify};
use super::manifest::{self, ImageSpec, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Manifest};
use super::reference::Reference;
use super::store::ImageStore;
use oci_spec::image::{Descriptor, ImageIndex};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Most indexes inside indexes: Docker and buildx nest once.
const MAX_INDEX_DEPTH: usize = 4;
/// Where containerd writes the whole name of an image.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Where other tools write a whole name or only a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// How an archive is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name to give the only image in the archive, instead of what the archive says.
    pub name: Option<String>,
}

/// `manifest.json` of `docker save`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An image of an archive, before its layers are read.
struct Found {
    spec: ImageSpec,
    manifest: Vec<u8>,
    config: Vec<u8>,
    /// Names of the layers' files, base first.
    files: Vec<String>,
    /// Whether the files are the blobs the manifest means, to be checked by digest and size.
    blobs: bool,
    names: Vec<Reference>,
}

type Result<T> = std::result::Result<T, ImageError>;

impl ImageStore {
    /// Imports a file (tar, tar.gz, tar.zst) or an OCI layout directory and gives the images their names. Blocking.
    ///
    /// # Errors
    /// The archive is damaged or unnamed, an image is not for this machine, or a layer cannot be unpacked. The store is then unchanged.
    pub fn import(&self, path: &Path, options: &ImportOptions) -> Result<Vec<String>> {
        let wanted = options.name.as_deref().map(Reference::parse).transpose()?;
        let session = self.disk().session()?;
        match self.import_into(&session, path, wanted) {
            Ok(named) => {
                self.commit(session, &named)?;
                Ok(named.into_keys().map(|name| name.to_string()).collect())
            }
            Err(error) => {
                drop(session);
                self.collect_garbage()?;
                Err(error)
            }
        }
    }

    /// Everything but the names.
    fn import_into(
        &self,
        session: &Session,
        path: &Path,
        wanted: Option<Reference>,
    ) -> Result<BTreeMap<Reference, Digest>> {
        let archive = Archive::open(path, session, self.limits)?;
        let found = if archive.has("index.json") {
            oci_images(&archive, wanted)?
        } else if archive.has("manifest.json") {
            docker_images(&archive, wanted)?
        } else {
            return Err(archive.error(
                "neither index.json nor manifest.json is in it, so it is no image archive",
            ));
        };
        let mut named = BTreeMap::new();
        for image in &found {
            self.import_image(session, &archive, image)?;
            let names = image.names.iter().cloned();
            named.extend(names.map(|name| (name, image.spec.manifest.clone())));
        }
        Ok(named)
    }

    fn import_image(&self, session: &Session, archive: &Archive, image: &Found) -> Result<()> {
        self.put_documents(session, &image.spec, &image.manifest, &image.config)?;
        for (n, file) in image.files.iter().enumerate() {
            let layer = &image.spec.layers[n];
            let expected = image.blobs.then_some((&layer.blob, layer.size));
            self.ensure_layer(session, &image.spec.layers, n, expected, || {
                Ok(archive.open_member(file)?.0)
            })?;
        }
        Ok(())
    }
}

fn oci_images(archive: &Archive, wanted: Option<Reference>) -> Result<Vec<Found>> {
    let index = archive.read("index.json", MAX_MANIFEST_BYTES)?;
    let Manifest::Index(index) = manifest::parse_manifest(&index)? else {
        return Err(ImageError::malformed("index.json", "it is no index"));
    };
    choose(archive, &index, wanted)?
        .into_iter()
        .map(|(descriptor, name)| oci_image(archive, &descriptor, name))
        .collect()
}

/// Which entries of `index.json` to import, and under which names.
fn choose(
    archive: &Archive,
    index: &ImageIndex,
    wanted: Option<Reference>,
) -> Result<Vec<(Descriptor, Reference)>> {
    let mut named: Vec<(Descriptor, Reference)> = Vec::new();
    for descriptor in index.manifests() {
        if let Some(name) = name_of(descriptor)? {
            named.push((descriptor.clone(), name));
        }
    }
    match wanted {
        None if named.is_empty() => {
            Err(archive.error("the archive does not name its image: give it a name (--name)"))
        }
        None => Ok(named),
        Some(_) if named.len() > 1 => {
            let names: Vec<_> = named.iter().map(|(_, name)| name.to_string()).collect();
            Err(archive.error(format!(
                "one name cannot be given to {} images: {}",
                named.len(),
                names.join(", ")
            )))
        }
        Some(name) => match named.pop() {
            Some((descriptor, _)) => Ok(vec![(descriptor, name)]),
            None => Ok(vec![(
                manifest::choose_platform(index, manifest::host_architecture())?.clone(),
                name,
            )]),
        },
    }
}

fn name_of(descriptor: &Descriptor) -> Result<Option<Reference>> {
    let Some(annotations) = descriptor.annotations() else { return Ok(None) };
    if let Some(name) = annotations.get(CONTAINERD_NAME) {
        return Ok(Some(Reference::parse(name)?));
    }
    // A bare word there is a tag without its repository.
    match annotations.get(REF_NAME) {
        Some(name) if name.contains(['/', ':']) => Ok(Some(Reference::parse(name)?)),
        _ => Ok(None),
    }
}

fn blob_file(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn read_blob(archive: &Archive, descriptor: &Descriptor, limit: u64) -> Result<(Digest, Vec<u8>)> {
    let (digest, _) = manifest::blob_of(descriptor)?;
    let file = blob_file(&digest);
    let bytes = archive.read(&file, limit)?;
    verify(&format!("{file:?} in {}", archive.path().display()), &digest, &bytes)?;
    Ok((digest, bytes))
}

fn oci_image(archive: &Archive, descriptor: &Descriptor, name: Reference) -> Result<Found> {
    let mut descriptor = descriptor.clone();
    for _ in 0..MAX_INDEX_DEPTH {
        let (digest, bytes) = read_blob(archive, &descriptor, MAX_MANIFEST_BYTES)?;
        match manifest::parse_manifest(&bytes)? {
            Manifest::Index(index) => {
                descriptor =
                    manifest::choose_platform(&index, manifest::host_architecture())?.clone()
            }
            Manifest::Image(parsed) => {
                let (_, config) = read_blob(archive, parsed.config(), MAX_CONFIG_BYTES)?;
                let spec = manifest::image_spec(
                    digest,
                    bytes.len() as u64,
                    &parsed,
                    manifest::parse_config(&config)?,
                )?;
                let files = spec.layers.iter().map(|l| blob_file(&l.blob)).collect();
                return Ok(Found {
                    spec,
                    manifest: bytes,
                    config,
                    files,
                    blobs: true,
                    names: vec![name],
                });
            }
        }
    }
    Err(archive.error("indexes inside indexes without end"))
}

fn docker_images(archive: &Archive, wanted: Option<Reference>) -> Result<Vec<Found>> {
    let bytes = archive.read("manifest.json", MAX_MANIFEST_BYTES)?;
    let images: Vec<DockerImage> =
        serde_json::from_slice(&bytes).map_err(|e| ImageError::malformed("manifest.json", e))?;
    if wanted.is_some() && images.len() != 1 {
        return Err(archive.error(format!("one name cannot be given to {} images", images.len())));
    }
    images.into_iter().map(|image| docker_image(archive, image, wanted.clone())).collect()
}

fn docker_image(archive: &Archive, image: DockerImage, wanted: Option<Reference>) -> Result<Found> {
    let names = match wanted {
        Some(name) => vec![name],
        None => {
            let tags = image.repo_tags.unwrap_or_default();
            tags.iter().map(|tag| Reference::parse(tag)).collect::<std::result::Result<_, _>>()?
        }
    };
    if names.is_empty() {
        return Err(archive.error("the archive does not name its image: give it a name (--name)"));
    }
    let config = archive.read(&image.config, MAX_CONFIG_BYTES)?;
    let parsed = manifest::parse_config(&config)?;
    let manifest = docker_manifest(archive, &image.layers, &config, parsed.rootfs().diff_ids())?;
    let digest = Digest::of(&manifest);
    let Manifest::Image(document) = manifest::parse_manifest(&manifest)? else {
        return Err(ImageError::malformed("manifest.json", "it is an index"));
    };
    let spec = manifest::image_spec(digest, manifest.len() as u64, &document, parsed)?;
    Ok(Found { spec, manifest, config, files: image.layers, blobs: false, names })
}

/// The manifest that `docker save` leaves out. Layers are described by their diff ids, which the archive's files are checked against.
fn docker_manifest(
    archive: &Archive,
    files: &[String],
    config: &[u8],
    diff_ids: &[String],
) -> Result<Vec<u8>> {
    if files.len() != diff_ids.len() {
        let detail = format!("it has {} diff_ids for {} layers", diff_ids.len(), files.len());
        return Err(ImageError::malformed("config", detail));
    }
    let mut layers = Vec::with_capacity(files.len());
    for (file, diff_id) in files.iter().zip(diff_ids) {
        let (_, bytes) = archive.open_member(file)?;
        layers.push(json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": diff_id, "size": bytes}));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(config),
            "size": config.len(),
        },
        "layers": layers,
    });
    Ok(manifest.to_string().into_bytes())
}
