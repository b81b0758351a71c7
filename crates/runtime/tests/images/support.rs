//! Stores, packed layers and looks at their files.

use runtime::images::{ImageStore, ImportOptions, Limits};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use testkit::images::{Blob, Image, Layer, digest};

/// A store without the embedded image in a directory of its own.
pub fn store() -> (TempDir, ImageStore) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = ImageStore::open_bare(dir.path().join("store")).expect("a store");
    (dir, store)
}

/// A store with small limits.
pub fn limited(layer_bytes: u64, layer_entries: u64) -> (TempDir, ImageStore) {
    let (dir, store) = store();
    (dir, store.with_limits(Limits { layer_bytes, layer_entries }))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).expect("memory");
    writer.finish().expect("memory")
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory")
}

/// A layer packed by `pack`.
pub fn packed(layer: Layer, pack: fn(&[u8]) -> Vec<u8>) -> Blob {
    let tar = layer.finish();
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip".to_owned();
    Blob { bytes: pack(&tar), diff_id: digest(&tar), media_type }
}

/// Writes an image as an OCI archive into `dir` and imports it.
pub fn import(
    dir: &Path,
    store: &ImageStore,
    image: &Image,
) -> Result<runtime::images::Image, String> {
    let path = dir.join("image.tar");
    image.write_oci_archive(&path).expect("an archive");
    store.import(&path, &ImportOptions::default()).map_err(|e| e.to_string())?;
    store.get(&image.name).map_err(|e| e.to_string())
}

/// The unpacked files of an image's layer `n`.
pub fn layer_fs(store: &ImageStore, image: &runtime::images::Image, n: usize) -> PathBuf {
    store.root().join("layers").join(image.chain_ids[n].hex()).join("fs")
}

/// Names in a directory of the store, in order.
pub fn names_in(store: &ImageStore, dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(store.root().join(dir)).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// That nothing is left of a failed import: no layer, blob, name or temporary file.
#[track_caller]
pub fn assert_untouched(store: &ImageStore) {
    for dir in ["layers", "blobs/sha256", "ingest", "locks"] {
        assert_eq!(names_in(store, dir), [""; 0], "{dir}");
    }
    assert!(store.list().expect("a list").is_empty());
}
