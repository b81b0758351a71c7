//! The store: names, sharing of layers, several processes, and what is left of operations that died.

use crate::support::{import, names_in, store};
use runtime::images::{HELLO_IMAGE, ImageError, ImageStore, ImageUser, ImportOptions};
use runtime::snapshots::Snapshots;
use std::path::Path;
use testkit::images::{Image, Layer};

fn layer(name: &str) -> Layer {
    Layer::new().file(name, 0o644, name.as_bytes())
}

#[test]
fn embedded_image_is_there_after_open_and_only_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = ImageStore::open(dir.path()).expect("a store");
    let image = store.resolve(HELLO_IMAGE).expect("the embedded image");
    assert_eq!(image.repo_tags, ["knarr.local/hello:1.0"]);
    let again = ImageStore::open(dir.path()).expect("a store");
    assert_eq!(again.list().expect("a list"), [image]);
    assert_eq!(names_in(&again, "layers").len(), 1);
}

#[test]
fn img_02_layers_are_stored_once_and_go_with_their_last_image() {
    let (dir, store) = store();
    let base = Image::new("t/x:1").layer(layer("a")).layer(layer("b"));
    let other = Image { name: "t/y:1".to_owned(), ..base.clone().layer(layer("c")) };
    let one = import(dir.path(), &store, &base).expect("an image");
    let two = import(dir.path(), &store, &other).expect("an image");
    assert_eq!(one.chain_ids[..], two.chain_ids[..2]);
    assert_eq!(names_in(&store, "layers").len(), 3);
    assert_eq!(store.remove("t/x:1").expect("a removal"), ["docker.io/t/x:1"]);
    assert_eq!(names_in(&store, "layers").len(), 3, "the other image needs them");
    store.remove("t/y:1").expect("a removal");
    crate::support::assert_untouched(&store);
}

#[test]
fn img_10_two_names_of_one_image_are_one_id_and_removed_one_by_one() {
    let (dir, store) = store();
    let image = Image::new("t/x:1").layer(layer("a"));
    let first = import(dir.path(), &store, &image).expect("an image");
    let second =
        import(dir.path(), &store, &Image { name: "t/x:2".to_owned(), ..image }).expect("an image");
    assert_eq!(first.id, second.id);
    assert_eq!(second.repo_tags, ["docker.io/t/x:1", "docker.io/t/x:2"]);
    assert_eq!(store.list().expect("a list").len(), 1);
    let short = &second.id["sha256:".len()..][..12];
    assert_eq!(store.get(short).expect("an image").id, second.id);
    store.remove("t/x:1").expect("a removal");
    assert_eq!(store.get("t/x:2").expect("an image").id, first.id);
    store.remove(&first.id).expect("a removal");
    assert!(matches!(store.get("t/x:2"), Err(ImageError::NotFound(_))));
    assert!(matches!(store.remove("t/x:2"), Err(ImageError::NotFound(_))));
}

#[test]
fn name_that_moves_leaves_no_garbage() {
    let (dir, store) = store();
    import(dir.path(), &store, &Image::new("t/x:1").layer(layer("a"))).expect("an image");
    let new = import(dir.path(), &store, &Image::new("t/x:1").layer(layer("b"))).expect("an image");
    assert_eq!(store.list().expect("a list"), [new]);
    assert_eq!((names_in(&store, "layers").len(), names_in(&store, "blobs/sha256").len()), (1, 2));
}

#[test]
fn removed_image_keeps_the_layers_that_containers_stand_on() {
    let (dir, store) = store();
    let image =
        import(dir.path(), &store, &Image::new("t/x:1").layer(layer("a")).layer(layer("b")))
            .expect("an image");
    let snapshots = Snapshots::new(&store);
    let rootfs = snapshots.prepare(&image, "container1").expect("a snapshot");
    store.remove("t/x:1").expect("a removal");
    assert_eq!(names_in(&store, "layers").len(), 2);
    assert!(rootfs.lowers.iter().all(|lower| lower.is_dir()));
    assert_eq!(snapshots.get("container1").expect("a snapshot"), Some(rootfs));
    assert!(snapshots.prepare(&image, "container2").is_ok(), "its layers are still there");
    for id in ["container1", "container2"] {
        snapshots.remove(id).expect("a removal");
        snapshots.remove(id).expect("a removal is idempotent");
    }
    assert!(matches!(snapshots.prepare(&image, "container3"), Err(ImageError::NotFound(_))));
    crate::support::assert_untouched(&store);
}

#[test]
fn snapshot_ids_that_are_paths_are_refused() {
    let (dir, store) = store();
    let image =
        import(dir.path(), &store, &Image::new("t/x:1").layer(layer("a"))).expect("an image");
    for id in ["", "..", "a/b", "../../x", "a\0b"] {
        assert!(Snapshots::new(&store).prepare(&image, id).is_err(), "{id:?}");
        assert!(Snapshots::new(&store).remove(id).is_err(), "{id:?}");
    }
}

/// Two handles of one directory have locks of their own, as two processes do.
#[test]
fn concurrent_imports_of_shared_layers_all_succeed_and_share() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("store");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (root, dir) = (&root, dir.path());
            scope.spawn(move || {
                let store = ImageStore::open_bare(root).expect("a store");
                let path = dir.join(format!("{n}.tar"));
                let image = Image::new(&format!("t/x:{n}"))
                    .layer(layer("a"))
                    .layer(layer("b"))
                    .layer(layer(&n.to_string()));
                image.write_oci_archive(&path).expect("an archive");
                store.import(&path, &ImportOptions::default()).expect("an import");
                assert_eq!(store.get(&image.name).expect("an image").id, image.id());
            });
        }
    });
    let store = ImageStore::open_bare(&root).expect("a store");
    assert_eq!(store.list().expect("a list").len(), 8);
    assert_eq!(names_in(&store, "layers").len(), 2 + 8);
    assert!(names_in(&store, "ingest").is_empty() && names_in(&store, "locks").is_empty());
}

#[test]
fn concurrent_imports_and_removals_never_break_an_image() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("store");
    let open = || ImageStore::open_bare(&root).expect("a store");
    let write = |n: usize| {
        let path = dir.path().join(format!("{n}.tar"));
        Image::new(&format!("t/x:{n}"))
            .layer(layer("a"))
            .layer(layer("b"))
            .write_oci_archive(&path)
            .expect("an archive");
        path
    };
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (path, store) = (write(n), open());
            scope.spawn(move || {
                for _ in 0..10 {
                    store.import(&path, &ImportOptions::default()).expect("an import");
                    store.get(&format!("t/x:{n}")).expect("it is whole");
                    store.remove(&format!("t/x:{n}")).expect("a removal");
                }
            });
        }
    });
    crate::support::assert_untouched(&open());
}

#[test]
fn store_of_another_process_shows_its_changes_here() {
    let (dir, store) = store();
    let other = ImageStore::open_bare(store.root()).expect("a store");
    assert!(other.list().expect("a list").is_empty());
    import(dir.path(), &store, &Image::new("t/x:1").layer(layer("a"))).expect("an image");
    assert!(other.resolve("t/x:1").is_some());
    other.remove("t/x:1").expect("a removal");
    assert!(store.resolve("t/x:1").is_none());
}

#[test]
fn leftovers_of_dead_operations_are_removed_and_their_leases_end() {
    let (dir, store) = store();
    let image =
        import(dir.path(), &store, &Image::new("t/x:1").layer(layer("a"))).expect("an image");
    let dead = store.root().join("ingest/dead");
    std::fs::create_dir_all(dead.join("leases")).expect("a directory");
    std::fs::create_dir_all(dead.join("layer-half/fs")).expect("a directory");
    std::fs::write(dead.join("leases").join(format!("layer-{}", image.chain_ids[0].hex())), "")
        .expect("a file");
    std::fs::write(store.root().join("locks/blob-x"), "").expect("a file");
    store.remove("t/x:1").expect("a removal");
    let store = ImageStore::open_bare(store.root()).expect("a store");
    assert!(names_in(&store, "ingest").is_empty());
    assert!(names_in(&store, "locks").is_empty());
    assert!(names_in(&store, "layers").is_empty(), "a dead operation's lease keeps nothing");
}

#[test]
fn running_operation_of_another_process_is_left_alone() {
    let (_dir, store) = store();
    let alive = store.root().join("ingest/alive");
    std::fs::create_dir_all(alive.join("leases")).expect("a directory");
    let lock = std::fs::File::open(&alive).expect("a directory");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    let again = ImageStore::open_bare(store.root()).expect("a store");
    assert_eq!(names_in(&again, "ingest"), ["alive"]);
    drop(lock);
    again.collect_garbage().expect("a sweep");
    assert!(names_in(&again, "ingest").is_empty());
}

#[test]
fn damaged_image_is_left_out_and_repaired_by_the_next_import() {
    let (dir, store) = store();
    let image = Image::new("t/x:1").layer(layer("a"));
    let whole = import(dir.path(), &store, &image).expect("an image");
    for blob in names_in(&store, "blobs/sha256") {
        damage(&store.root().join("blobs/sha256").join(blob));
    }
    let fresh = ImageStore::open_bare(store.root()).expect("a store");
    assert!(fresh.list().expect("a list").is_empty() && fresh.resolve("t/x:1").is_none());
    assert_eq!(import(dir.path(), &fresh, &image).expect("an image"), whole);
}

fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a blob");
    bytes[0] ^= 1;
    std::fs::write(path, bytes).expect("a write");
}

#[test]
fn store_of_a_newer_version_is_refused() {
    let (_dir, store) = store();
    std::fs::write(store.root().join("format"), "2\n").expect("a write");
    let error = ImageStore::open_bare(store.root()).err().expect("it is refused");
    assert!(error.to_string().contains("has format \"2\", this version knows \"1\""), "{error}");
}

#[test]
fn user_of_an_image_is_told_as_the_cri_wants_it() {
    let (dir, store) = store();
    for (text, user) in [
        ("", None),
        ("1000", Some(ImageUser::Uid(1000))),
        ("1000:1000", Some(ImageUser::Uid(1000))),
        ("web", Some(ImageUser::Name("web".to_owned()))),
        ("web:web", Some(ImageUser::Name("web".to_owned()))),
    ] {
        let image = Image::new("t/x:1").layer(layer("a")).with("User", text);
        assert_eq!(import(dir.path(), &store, &image).expect("an image").user(), user);
    }
}

#[test]
fn usage_counts_layers_once() {
    let (dir, store) = store();
    let big = Layer::new().file("big", 0o644, &vec![7; 1 << 20]);
    let image = Image::new("t/x:1").layer(big);
    import(dir.path(), &store, &image).expect("an image");
    let one = store.usage().expect("usage");
    assert!((1 << 20..1 << 21).contains(&one.bytes) && one.inodes >= 3, "{one:?}");
    import(dir.path(), &store, &Image { name: "t/y:1".to_owned(), ..image }).expect("an image");
    assert_eq!(store.usage().expect("usage"), one);
}
