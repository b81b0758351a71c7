//! The image inside the binary, so that a first run needs no registry: `knarr.local/hello:1.0`.
//!
//! One static program (`src/hello/hello.rs`, compiled by the build script), `/etc/passwd`, `/etc/group` and `/tmp`. Built in memory, the
//! same bytes every time; a binary with another program replaces the image under the same name.

use super::digest::Digest;
use super::manifest::{self, ImageSpec, Manifest};
use super::{ImageError, ImageStore, Reference};
use serde_json::json;
use std::collections::BTreeMap;
use tar::{EntryType, Header};

/// The name of the image inside the binary.
pub const HELLO_IMAGE: &str = "knarr.local/hello:1.0";

static HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/hello\nnobody:x:65534:65534:nobody:/:/hello\nhello:x:1000:1000:hello:/home/hello:/hello\n";
const GROUP: &[u8] = b"root:x:0:\nnogroup:x:65534:\nhello:x:1000:\n";

/// Imports the embedded image unless the store has this very one.
pub(super) fn ensure(store: &ImageStore) -> Result<(), ImageError> {
    let layer = layer().map_err(ImageError::io("pack the embedded image"))?;
    let (spec, manifest, config) = documents(&layer)?;
    if store.resolve(HELLO_IMAGE).is_some_and(|image| image.id == spec.config_digest.as_str()) {
        return Ok(());
    }
    let session = store.disk().session()?;
    store.put_documents(&session, &spec, &manifest, &config)?;
    let expected = (&spec.layers[0].blob, spec.layers[0].size);
    store.ensure_layer(&session, &spec.layers, 0, Some(expected), || Ok(layer.as_slice()))?;
    store
        .commit(session, &BTreeMap::from([(Reference::parse(HELLO_IMAGE)?, spec.manifest.clone())]))
}

fn layer() -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::with_capacity(HELLO.len() + (16 << 10)));
    for (name, mode) in [("etc/", 0o755), ("home/", 0o755), ("root/", 0o700), ("tmp/", 0o1777)] {
        append(&mut tar, EntryType::Directory, name, mode, 0, &[])?;
    }
    append(&mut tar, EntryType::Directory, "home/hello/", 0o755, 1000, &[])?;
    append(&mut tar, EntryType::Regular, "etc/passwd", 0o644, 0, PASSWD)?;
    append(&mut tar, EntryType::Regular, "etc/group", 0o644, 0, GROUP)?;
    append(&mut tar, EntryType::Regular, "hello", 0o755, 0, HELLO)?;
    tar.into_inner()
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    kind: EntryType,
    name: &str,
    mode: u32,
    owner: u64,
    content: &[u8],
) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content)
}

fn documents(layer: &[u8]) -> Result<(ImageSpec, Vec<u8>, Vec<u8>), ImageError> {
    let layer_digest = Digest::of(layer);
    let config = json!({
        "architecture": manifest::host_architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": ["/hello"],
            "Env": ["PATH=/"],
            "ExposedPorts": {"8080/tcp": {}},
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        "history": [{"created_by": "knarr"}],
    })
    .to_string()
    .into_bytes();
    let document = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(&config),
            "size": config.len(),
        },
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": layer.len()}],
    })
    .to_string()
    .into_bytes();
    let Manifest::Image(parsed) = manifest::parse_manifest(&document)? else {
        return Err(ImageError::malformed("manifest", "the embedded image is no image"));
    };
    let spec = manifest::image_spec(
        Digest::of(&document),
        document.len() as u64,
        &parsed,
        manifest::parse_config(&config)?,
    )?;
    Ok((spec, document, config))
}
