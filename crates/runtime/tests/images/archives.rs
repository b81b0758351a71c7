//! Archives: the forms that tools write, and broken ones.

use crate::support::{assert_untouched, gzip, import, layer_fs, names_in, packed, store, zstd};
use runtime::images::{ImageStore, ImportOptions};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use testkit::images::{Image, Layer, archive, blob_file};

type Files = BTreeMap<String, Vec<u8>>;

fn sample() -> Image {
    let second = packed(Layer::new().file("b", 0o644, b"b"), gzip);
    let third = packed(Layer::new().file("c", 0o644, b"c"), zstd);
    Image::new("quay.io/t/x:1").layer(Layer::new().file("a", 0o644, b"a")).blob(second).blob(third)
}

fn write_layout(dir: &Path, files: &Files) {
    for (name, content) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, content).expect("a file");
    }
}

fn import_bytes(
    dir: &Path,
    store: &ImageStore,
    bytes: &[u8],
    name: Option<&str>,
) -> Result<Vec<String>, String> {
    let path = dir.join("archive");
    std::fs::write(&path, bytes).expect("a file");
    store.import(&path, &ImportOptions { name: name.map(str::to_owned) }).map_err(|e| e.to_string())
}

#[test]
fn img_19_every_form_of_archive_gives_the_same_layers() {
    let image = sample();
    let (oci, docker) = (archive(&image.oci_files()), archive(&image.docker_files()));
    for bytes in [oci.clone(), gzip(&oci), zstd(&oci), docker.clone(), gzip(&docker), zstd(&docker)]
    {
        let (dir, store) = store();
        assert_eq!(
            import_bytes(dir.path(), &store, &bytes, None),
            Ok(vec!["quay.io/t/x:1".to_owned()])
        );
        let found = store.get("quay.io/t/x:1").expect("an image");
        assert_eq!(found.id, image.id());
        for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(
                std::fs::read_to_string(layer_fs(&store, &found, n).join(name)).expect("a file"),
                name
            );
        }
        assert_eq!(
            names_in(&store, "blobs/sha256").len(),
            2,
            "only manifest and config are kept as blobs"
        );
        assert!(names_in(&store, "ingest").is_empty() && names_in(&store, "locks").is_empty());
    }
}

#[test]
fn oci_layout_directory_is_imported() {
    let (dir, store) = store();
    let layout = dir.path().join("layout");
    write_layout(&layout, &sample().oci_files());
    let names = store.import(&layout, &ImportOptions::default()).expect("an import");
    assert_eq!(names, ["quay.io/t/x:1"]);
}

#[test]
fn archive_is_read_from_a_pipe() {
    let (dir, store) = store();
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("a pipe");
    let bytes = archive(&sample().oci_files());
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::write(pipe, bytes))
    };
    store.import(&pipe, &ImportOptions::default()).expect("an import");
    writer.join().expect("the writer").expect("a write");
}

#[test]
fn name_given_replaces_the_archives_name() {
    let (dir, store) = store();
    let bytes = archive(&sample().oci_files());
    let names = import_bytes(dir.path(), &store, &bytes, Some("busybox"));
    assert_eq!(names, Ok(vec!["docker.io/library/busybox:latest".to_owned()]));
    assert!(store.resolve("quay.io/t/x:1").is_none());
    let error = import_bytes(dir.path(), &store, &bytes, Some("Busybox")).expect_err("a bad name");
    assert!(error.contains("repository name must be lowercase"), "{error}");
}

#[test]
fn archive_with_several_images_gives_each_its_name_and_shares_layers() {
    let (dir, store) = store();
    let one = sample();
    let two = Image {
        name: "quay.io/t/y:2".to_owned(),
        ..sample().layer(Layer::new().file("d", 0o644, b"d"))
    };
    let mut files = one.oci_files();
    let mut index: Value = serde_json::from_slice(&files["index.json"]).expect("JSON");
    let other: Value = serde_json::from_slice(&two.oci_files()["index.json"]).expect("JSON");
    index["manifests"].as_array_mut().expect("a list").push(other["manifests"][0].clone());
    files.extend(two.oci_files());
    files.insert("index.json".to_owned(), index.to_string().into_bytes());
    let bytes = archive(&files);
    let names = import_bytes(dir.path(), &store, &bytes, None);
    assert_eq!(names, Ok(vec!["quay.io/t/x:1".to_owned(), "quay.io/t/y:2".to_owned()]));
    assert_eq!(names_in(&store, "layers").len(), 4);
    let error = import_bytes(dir.path(), &store, &bytes, Some("z:1")).expect_err("it is refused");
    assert!(error.contains("one name cannot be given to 2 images"), "{error}");
}

#[test]
fn index_inside_the_index_chooses_this_machine() {
    let image = sample();
    let mut files = image.oci_files();
    let outer: Value = serde_json::from_slice(&files["index.json"]).expect("JSON");
    let mut foreign = outer["manifests"][0].clone();
    foreign["platform"]["architecture"] = json!("s390x");
    foreign["digest"] = json!(testkit::images::digest(b"not in the archive"));
    let inner = json!({"schemaVersion": 2, "manifests": [foreign, outer["manifests"][0]]})
        .to_string()
        .into_bytes();
    let entry = json!({
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": testkit::images::digest(&inner),
        "size": inner.len(),
        "annotations": {"org.opencontainers.image.ref.name": "t/x:3"},
    });
    files.insert(blob_file(&inner), inner);
    files.insert(
        "index.json".to_owned(),
        json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes(),
    );
    let (dir, store) = store();
    assert_eq!(
        import_bytes(dir.path(), &store, &archive(&files), None),
        Ok(vec!["docker.io/t/x:3".to_owned()])
    );
    assert_eq!(store.get("t/x:3").expect("an image").id, image.id());
}

#[test]
fn broken_archive_is_refused_with_the_reason_and_changes_nothing() {
    let image = sample();
    let change = |edit: &dyn Fn(&mut Files)| {
        let mut files = image.oci_files();
        edit(&mut files);
        archive(&files)
    };
    let (config, layer) = (blob_file(&image.config()), blob_file(&image.layers[1].bytes));
    let whole = change(&|_| {});
    let docker = |edit: &dyn Fn(&mut Files)| {
        let mut files = image.docker_files();
        edit(&mut files);
        archive(&files)
    };
    for (bytes, message) in [
        (Vec::new(), "no files in the archive"),
        (vec![b'x'; 4096], "this is not a tar"),
        (
            archive(&BTreeMap::from([("x".to_owned(), b"x".to_vec())])),
            "neither index.json nor manifest.json",
        ),
        (whole[..whole.len() / 2].to_vec(), ""),
        (gzip(&whole)[..200].to_vec(), ""),
        (change(&|f| drop(f.insert("index.json".to_owned(), b"{".to_vec()))), "malformed manifest"),
        (change(&|f| drop(f.insert("index.json".to_owned(), b"{}".to_vec()))), "malformed"),
        (change(&|f| drop(f.remove(&layer))), "is missing in the archive"),
        (change(&|f| drop(f.insert(config.clone(), b"{}".to_vec()))), "has digest sha256:"),
        (change(&|f| drop(f.insert(layer.clone(), gzip(&Layer::new().finish())))), "expected"),
        (
            docker(&|f| drop(f.insert("1/layer.tar".to_owned(), Layer::new().finish()))),
            "the layer's tar has digest",
        ),
        (docker(&|f| drop(f.remove("1/layer.tar"))), "is missing in the archive"),
        (
            docker(&|f| drop(f.insert("manifest.json".to_owned(), b"[{}]".to_vec()))),
            "malformed manifest.json",
        ),
        (
            docker(&|f| drop(f.insert("manifest.json".to_owned(), no_tags(f)))),
            "does not name its image",
        ),
    ] {
        let (dir, store) = store();
        let error = import_bytes(dir.path(), &store, &bytes, None).expect_err(message);
        assert!(error.contains(message), "{message}: {error}");
        drop(store);
        let store = ImageStore::open_bare(dir.path().join("store")).expect("a store");
        assert_untouched(&store);
    }
}

fn no_tags(files: &Files) -> Vec<u8> {
    let mut manifest: Value = serde_json::from_slice(&files["manifest.json"]).expect("JSON");
    manifest[0]["RepoTags"] = Value::Null;
    manifest.to_string().into_bytes()
}

#[test]
fn archive_member_names_do_not_lead_out_of_the_archive() {
    let (dir, store) = store();
    std::fs::write(dir.path().join("secret.json"), "{}").expect("a file");
    let manifest = json!([{"Config": "../secret.json", "RepoTags": ["x:1"], "Layers": []}])
        .to_string()
        .into_bytes();
    let files = BTreeMap::from([("manifest.json".to_owned(), manifest)]);
    let layout = dir.path().join("layout");
    write_layout(&layout, &files);
    for result in [
        store.import(&layout, &ImportOptions::default()).map_err(|e| e.to_string()),
        import_bytes(dir.path(), &store, &archive(&files), None),
    ] {
        let error = result.expect_err("it is refused");
        assert!(error.contains("\"../secret.json\" is missing in the archive"), "{error}");
    }
}

#[test]
fn image_of_another_machine_is_refused() {
    let (dir, store) = store();
    let image = sample();
    let mut files = image.oci_files();
    let entry: Value = serde_json::from_slice(&files["index.json"]).expect("JSON");
    let mut foreign = entry["manifests"][0].clone();
    foreign["platform"]["architecture"] = json!("s390x");
    let inner = json!({"schemaVersion": 2, "manifests": [foreign]}).to_string().into_bytes();
    let outer = json!({"digest": testkit::images::digest(&inner), "size": inner.len(),
        "mediaType": "application/vnd.oci.image.index.v1+json", "annotations": {"io.containerd.image.name": "x:1"}});
    files.insert(blob_file(&inner), inner);
    files.insert(
        "index.json".to_owned(),
        json!({"schemaVersion": 2, "manifests": [outer]}).to_string().into_bytes(),
    );
    let error =
        import_bytes(dir.path(), &store, &archive(&files), None).expect_err("it is refused");
    assert!(error.contains("only for linux/s390x"), "{error}");
    assert!(import(dir.path(), &store, &image).is_ok());
}
