//! Layers: what lands on disk, and that nothing lands elsewhere.

use crate::support::{assert_untouched, import, layer_fs, limited, packed, store, zstd};
use runtime::snapshots::{Snapshots, overlay};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tar::EntryType;
use testkit::images::{Image, Layer};

fn base() -> Layer {
    Layer::new()
        .dir("etc", 0o755)
        .file("etc/passwd", 0o644, b"root")
        .dir("data", 0o750)
        .file("data/old", 0o600, b"old")
}

/// Layers that try to write to or read from `victim`, a directory outside the store.
fn escapes(victim: &Path) -> Vec<(&'static str, Layer)> {
    let outside = victim.to_string_lossy().into_owned();
    let climb = format!("{}{outside}", "../".repeat(40));
    let file = |name: &str| Layer::new().file(name, 0o644, b"evil");
    let under =
        |target: &str| Layer::new().symlink("link", target).file("link/evil", 0o644, b"evil");
    vec![
        ("climbing name", file(&format!("{climb}/evil"))),
        ("climbing inside", file(&format!("a/../../{climb}/evil"))),
        ("absolute name", file(&format!("{outside}/evil"))),
        ("through an absolute link", under(&outside)),
        ("through a climbing link", under(&climb)),
        (
            "link to link",
            Layer::new().symlink("a", "b").symlink("b", &outside).file("a/evil", 0o644, b"evil"),
        ),
        (
            "over a link",
            Layer::new().symlink("evil", &format!("{outside}/evil")).file("evil", 0o644, b"evil"),
        ),
        (
            "directory over a link",
            Layer::new().symlink("d", &outside).dir("d", 0o777).file("d/evil", 0o644, b"evil"),
        ),
        ("hard link out", Layer::new().hard_link("evil", &format!("{climb}/secret"))),
        ("absolute hard link", Layer::new().hard_link("evil", &format!("{outside}/secret"))),
        (
            "hard link through a link",
            Layer::new().symlink("l", &outside).hard_link("evil", "l/secret"),
        ),
        (
            "write through a hard-linked link",
            Layer::new()
                .symlink("s", &format!("{outside}/secret"))
                .hard_link("h", "s")
                .file("h", 0o644, b"evil"),
        ),
        ("whiteout through a link", Layer::new().symlink("l", &outside).whiteout("l/secret")),
        ("opaque through a link", Layer::new().symlink("l", &outside).opaque("l")),
        ("whiteout of ..", file(".wh...")),
        ("whiteout of .", file("a/.wh..")),
    ]
}

#[test]
fn layer_that_leads_out_never_touches_the_outside() {
    let outside = tempfile::tempdir().expect("a directory");
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").expect("a file");
    for (what, _) in escapes(outside.path()) {
        for (n, base) in [None, Some(base())].into_iter().enumerate() {
            let (dir, store) = store();
            let image = base
                .into_iter()
                .chain([escape(outside.path(), what)])
                .fold(Image::new("x:1"), Image::layer);
            if let Ok(image) = import(dir.path(), &store, &image) {
                let fs = layer_fs(&store, &image, n);
                assert!(!holds(&fs, b"secret"), "{what}: the outside was read");
            }
            let names: Vec<_> = std::fs::read_dir(outside.path()).expect("it is there").collect();
            assert_eq!(names.len(), 1, "{what}: something was written outside");
            assert_eq!(std::fs::read(&secret).expect("it is there"), b"secret", "{what}");
            assert_eq!(std::fs::metadata(&secret).expect("it is there").nlink(), 1, "{what}");
        }
    }
}

fn escape(victim: &Path, wanted: &str) -> Layer {
    escapes(victim).into_iter().find(|(what, _)| *what == wanted).expect("it is in the list").1
}

fn holds(dir: &Path, content: &[u8]) -> bool {
    std::fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
        let metadata = entry.metadata().expect("metadata");
        match metadata.is_dir() {
            true => holds(&entry.path(), content),
            false => {
                metadata.is_file()
                    && std::fs::read(entry.path()).is_ok_and(|found| found == content)
            }
        }
    })
}

#[test]
fn layer_with_a_climbing_name_is_refused_by_name() {
    for (layer, message) in [
        (
            Layer::new().file("a/../../etc/x", 0o644, b""),
            r#"entry "a/../../etc/x" leads out of the image"#,
        ),
        (
            Layer::new().hard_link("x", "../../etc/shadow"),
            r#"entry "../../etc/shadow" leads out of the image"#,
        ),
    ] {
        let (dir, store) = store();
        let error =
            import(dir.path(), &store, &Image::new("x:1").layer(layer)).expect_err("it is refused");
        assert!(error.contains(message), "{error}");
        assert_untouched(&store);
    }
}

#[test]
fn layer_that_is_damaged_is_refused_and_leaves_nothing() {
    let deep = "d/".repeat(300) + "x";
    let long = "x".repeat(5000);
    let good = base().finish();
    let cut = testkit::images::Blob {
        bytes: good[..700].to_vec(),
        diff_id: testkit::images::digest(&good),
        media_type: testkit::images::LAYER_TAR.to_owned(),
    };
    let raw = |layer: Layer| Image::new("x:1").layer(base()).layer(layer);
    for (image, message) in [
        (raw(Layer::new().file(&deep, 0o644, b"")), "deeper than 255 directories"),
        (raw(Layer::new().file(&long, 0o644, b"")), "longer than 4096 bytes"),
        (raw(Layer::new().hard_link("x", "missing")), "No such file"),
        (raw(Layer::new().hard_link("x", "etc")), "entry \"x\""),
        (
            raw(Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", 0o644, b"")),
            "symbolic links",
        ),
        (raw(Layer::new().entry(EntryType::new(b'S'), "x", "", 0o644, b"")), "sparse"),
        (Image::new("x:1").blob(cut), "it ends inside a header"),
    ] {
        let (dir, store) = store();
        let error = import(dir.path(), &store, &image).expect_err(message);
        assert!(error.contains(message), "{message}: {error}");
        assert_untouched(&store);
    }
}

#[test]
fn file_of_a_layer_below_gives_way_to_a_directory() {
    let (dir, store) = store();
    let above = Layer::new().file("/", 0o644, b"").file("etc/passwd/x", 0o644, b"x");
    let image = Image::new("x:1").layer(base()).layer(above);
    let image = import(dir.path(), &store, &image).expect("an image");
    assert_eq!(View::new(&store, &image, "c1").list("etc/passwd"), ["x"]);
}

#[test]
fn layer_larger_than_allowed_is_refused() {
    let zeros = vec![0u8; 2 << 20];
    let bomb = || Layer::new().file("zeros", 0o644, &zeros);
    let many =
        |n: u32| (0..n).fold(Layer::new(), |layer, i| layer.file(&format!("f{i}"), 0o644, b""));
    let refused = |image: Image, message: &str| {
        let (dir, store) = limited(1 << 20, 100);
        let error = import(dir.path(), &store, &image).expect_err(message);
        assert!(error.contains(message), "{error}");
        assert_untouched(&store);
    };
    refused(
        Image::new("x:1").blob(packed(bomb(), zstd)),
        "larger than 1048576 bytes when unpacked",
    );
    refused(
        Image::new("x:1").blob(packed(bomb(), crate::support::gzip)),
        "larger than 1048576 bytes when unpacked",
    );
    refused(Image::new("x:1").layer(bomb()), "larger than 1048576 bytes when unpacked");
    refused(Image::new("x:1").layer(many(101)), "more than 100 entries");
}

/// The container's view of an image: a mount that is attached nowhere.
struct View {
    mount: std::os::fd::OwnedFd,
}

impl View {
    fn new(store: &runtime::images::ImageStore, image: &runtime::images::Image, id: &str) -> Self {
        let rootfs = Snapshots::new(store).prepare(image, id).expect("a snapshot");
        Self { mount: overlay(&rootfs).expect("an overlay") }
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.mount.as_raw_fd())).join(name)
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }

    fn list(&self, dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(dir)).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn img_02_whiteouts_and_opaque_directories_hide_what_is_below() {
    let (dir, store) = store();
    let below = base()
        .file("data/keep", 0o644, b"keep")
        .dir("gone", 0o755)
        .file("gone/x", 0o644, b"x")
        .file("top", 0o644, b"1");
    let above = Layer::new()
        .whiteout("data/old")
        .whiteout("top")
        .dir("gone", 0o755)
        .file("gone/new", 0o644, b"new")
        .opaque("gone")
        .whiteout("etc")
        .whiteout("never/was");
    let image =
        import(dir.path(), &store, &Image::new("x:1").layer(below).layer(above)).expect("an image");
    let view = View::new(&store, &image, "c1");
    assert_eq!(view.list("data"), ["keep"]);
    assert_eq!(view.list("gone"), ["new"]);
    assert_eq!(view.list("."), ["data", "gone", "never"]);
    let whiteout = std::fs::symlink_metadata(layer_fs(&store, &image, 1).join("data/old"))
        .expect("a whiteout");
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let data = std::fs::metadata(view.path("data")).expect("metadata");
    assert_eq!(
        data.mode() & 0o7777,
        0o750,
        "a directory the upper layer does not contain keeps its mode"
    );
}

#[test]
fn whiteout_then_the_same_name_again_shows_only_the_new() {
    let (dir, store) = store();
    let again = Layer::new().whiteout("data").dir("data", 0o700).file("data/new", 0o644, b"new");
    let file = Layer::new().file("data", 0o644, b"file");
    let image = Image::new("x:1").layer(base()).layer(again);
    let imported = import(dir.path(), &store, &image).expect("an image");
    assert_eq!(View::new(&store, &imported, "c1").list("data"), ["new"]);
    let imported =
        import(dir.path(), &store, &Image { name: "x:2".to_owned(), ..image.layer(file) })
            .expect("an image");
    assert_eq!(View::new(&store, &imported, "c2").read("data").as_deref(), Some("file"));
}

#[test]
fn opaque_root_hides_every_layer_below() {
    let (dir, store) = store();
    let above = Layer::new().file(".wh..wh..opq", 0o644, b"").file("only", 0o644, b"only");
    let image = import(dir.path(), &store, &Image::new("x:1").layer(base()).layer(above))
        .expect("an image");
    assert_eq!(View::new(&store, &image, "c1").list("."), ["only"]);
}

#[test]
fn hard_links_share_an_inode_also_with_a_file_of_a_layer_below() {
    let (dir, store) = store();
    let within =
        base().hard_link("etc/shadowed", "etc/passwd").hard_link("/etc/third", "/etc/passwd");
    let across = Layer::new().hard_link("etc/fourth", "etc/passwd");
    let image = import(dir.path(), &store, &Image::new("x:1").layer(within).layer(across))
        .expect("an image");
    let inode = |n: usize, name: &str| {
        std::fs::metadata(layer_fs(&store, &image, n).join(name)).expect("a file").ino()
    };
    assert_eq!(inode(0, "etc/passwd"), inode(0, "etc/shadowed"));
    assert_eq!(inode(0, "etc/passwd"), inode(0, "etc/third"));
    assert_eq!(inode(1, "etc/passwd"), inode(1, "etc/fourth"));
    assert_ne!(inode(0, "etc/passwd"), inode(1, "etc/passwd"), "the layer below is not written to");
    assert_eq!(View::new(&store, &image, "c1").read("etc/fourth").as_deref(), Some("root"));
}

#[test]
fn symlinked_directories_of_an_image_are_followed_inside_it() {
    let (dir, store) = store();
    let below = Layer::new()
        .dir("usr", 0o755)
        .dir("usr/lib", 0o755)
        .symlink("lib", "usr/lib")
        .symlink("abs", "/usr/lib");
    let above = Layer::new().file("lib/a", 0o644, b"a").file("abs/b", 0o644, b"b");
    let image =
        import(dir.path(), &store, &Image::new("x:1").layer(below).layer(above)).expect("an image");
    let view = View::new(&store, &image, "c1");
    assert_eq!(view.list("usr/lib"), ["a", "b"]);
    assert!(std::fs::symlink_metadata(view.path("lib")).expect("a link").is_symlink());
}

#[test]
fn metadata_of_entries_is_kept() {
    let (dir, store) = store();
    let layer = Layer::new()
        .file("suid", 0o4755, b"x")
        .dir("sticky", 0o1777)
        .entry(EntryType::Fifo, "pipe", "", 0o622, b"")
        .entry(EntryType::Char, "null", "", 0o666, b"");
    let image = import(dir.path(), &store, &Image::new("x:1").layer(layer)).expect("an image");
    let at = |name: &str| {
        std::fs::symlink_metadata(layer_fs(&store, &image, 0).join(name)).expect("an entry")
    };
    assert_eq!(at("suid").mode() & 0o7777, 0o4755);
    assert_eq!(at("sticky").mode() & 0o7777, 0o1777);
    assert!(at("pipe").file_type().is_fifo());
    assert_eq!((at("suid").mtime(), at("suid").uid()), (0, 0));
}

#[test]
fn img_02_writes_go_to_the_container_and_not_to_the_layer() {
    let (dir, store) = store();
    let image = import(dir.path(), &store, &Image::new("x:1").layer(base())).expect("an image");
    let (one, two) = (View::new(&store, &image, "c1"), View::new(&store, &image, "c2"));
    std::fs::write(one.path("data/old"), "changed").expect("a write");
    std::fs::remove_file(one.path("etc/passwd")).expect("a removal");
    assert_eq!(one.read("data/old").as_deref(), Some("changed"));
    assert_eq!(two.read("data/old").as_deref(), Some("old"));
    assert_eq!(two.read("etc/passwd").as_deref(), Some("root"));
    assert_eq!(
        std::fs::read(layer_fs(&store, &image, 0).join("data/old")).expect("a file"),
        b"old"
    );
}

#[test]
fn image_with_a_hundred_layers_is_mounted() {
    let (dir, store) = store();
    let add = |image: Image, n: u32| image.layer(Layer::new().file(&format!("f{n}"), 0o644, b""));
    let image = (0..100).fold(Image::new("x:1"), add);
    let image = import(dir.path(), &store, &image).expect("an image");
    assert_eq!(View::new(&store, &image, "c1").list(".").len(), 100);
}

#[test]
fn image_without_layers_has_an_empty_root() {
    let (dir, store) = store();
    let image = import(dir.path(), &store, &Image::new("x:1")).expect("an image");
    assert!(View::new(&store, &image, "c1").list(".").is_empty());
}
