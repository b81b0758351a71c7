//! Tests of unpacking: what a container sees of stacked layers, and what hostile layers cannot do.

use super::*;
use crate::snapshots::{RootFs, overlay};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use tar::{EntryType, Header};
use tempfile::TempDir;

/// Builds tars that the `tar` crate refuses to build.
#[derive(Default)]
struct Maker(Vec<u8>);

impl Maker {
    fn raw(
        mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        content: &[u8],
        set: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        set(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.raw(EntryType::Regular, name, "", content.as_bytes(), |_| {})
    }

    fn dir(self, name: &str, mode: u32) -> Self {
        self.raw(EntryType::Directory, name, "", b"", |h| h.set_mode(mode))
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(EntryType::Symlink, name, target, b"", |_| {})
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.raw(EntryType::Link, name, target, b"", |_| {})
    }

    fn xattr(self, key: &str, value: &str) -> Self {
        let body = format!(" SCHILY.xattr.{key}={value}\n");
        let length = (1..).find(|n: &usize| n.to_string().len() + body.len() == *n).unwrap();
        let record = format!("{length}{body}");
        self.raw(EntryType::XHeader, "pax", "", record.as_bytes(), |_| {})
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn tar() -> Maker {
    Maker::default()
}

/// Layers unpacked on top of each other.
struct Stack {
    dir: TempDir,
    lowers: Vec<PathBuf>,
}

impl Stack {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), lowers: Vec::new() }
    }

    fn of(layers: impl IntoIterator<Item = Maker>) -> Self {
        let mut stack = Self::new();
        for layer in layers {
            stack.push(layer).unwrap();
        }
        stack
    }

    fn push(&mut self, layer: Maker) -> Result<Unpacked> {
        self.push_bytes(&layer.end(), Limits::default())
    }

    fn push_bytes(&mut self, tar: &[u8], limits: Limits) -> Result<Unpacked> {
        let target = self.dir.path().join(format!("layer{}", self.lowers.len()));
        fs::create_dir(&target).unwrap();
        let packed = Packed { blob: tar, expected: None, diff_id: &Digest::of(tar) };
        let unpacked = unpack(packed, &target, &self.lowers, limits)?;
        self.lowers.insert(0, target);
        Ok(unpacked)
    }

    fn top(&self, path: &str) -> PathBuf {
        self.lowers[0].join(path)
    }

    /// Calls `look` with a path under which the union can be seen.
    fn view<T>(&self, look: impl FnOnce(&Path) -> T) -> T {
        let scratch = TempDir::new_in(self.dir.path()).unwrap();
        let dir = |name: &str| {
            let path = scratch.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let rootfs = RootFs { lowers: self.lowers.clone(), upper: dir("upper"), work: dir("work") };
        // Detached: seen through its descriptor, in no mount table, gone with the descriptor.
        let mount = overlay(&rootfs).unwrap();
        look(Path::new(&format!("/proc/self/fd/{}", mount.as_raw_fd())))
    }

    /// Every path of the union.
    fn names(&self) -> Vec<String> {
        self.view(|root| {
            let mut names = Vec::new();
            collect(root, "", &mut names);
            names.sort();
            names
        })
    }
}

fn collect(root: &Path, under: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(under)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{under}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            collect(root, &format!("{name}/"), names);
        }
        names.push(name);
    }
}

/// The error of a layer that must not be accepted, after checking that nothing came to be beside it.
fn refused(layer: Maker) -> String {
    let mut stack = Stack::of([tar().file("etc/passwd", "root")]);
    let outside = stack.dir.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let error = stack.push(layer).expect_err("the layer must be refused");
    let mut beside: Vec<_> =
        fs::read_dir(stack.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["layer0", "layer1", "outside"]);
    assert_eq!(fs::read_to_string(outside).unwrap(), "untouched");
    error.to_string()
}

#[test]
fn files_keep_content_owner_mode_and_time() {
    let layer = tar().dir("d/", 0o1777).raw(EntryType::Regular, "d/f", "", b"hi", |h| {
        h.set_uid(1000);
        h.set_gid(2000);
        h.set_mode(0o4755);
    });
    let stack = Stack::of([layer]);
    let file = fs::metadata(stack.top("d/f")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (1000, 2000, 0o4755));
    let dir = fs::metadata(stack.top("d")).unwrap();
    assert_eq!(
        (dir.mode() & 0o7777, dir.mtime()),
        (0o1777, 1_000_000_000),
        "the file made later did not change it"
    );
    assert_eq!(
        (file.mtime(), fs::read_to_string(stack.top("d/f")).unwrap().as_str()),
        (1_000_000_000, "hi")
    );
}

#[test]
fn special_files_and_links_are_made() {
    let device = |kind, name, major, minor| {
        tar().raw(kind, name, "", b"", move |h| {
            h.set_device_major(major).unwrap();
            h.set_device_minor(minor).unwrap();
        })
    };
    let stack = Stack::of([
        device(EntryType::Char, "null", 1, 3),
        device(EntryType::Block, "loop", 7, 0),
        tar()
            .raw(EntryType::Fifo, "pipe", "", b"", |_| {})
            .symlink("link", "/etc/passwd")
            .file("a", "x")
            .hard_link("b", "a"),
    ]);
    stack.view(|root| {
        let null = fs::symlink_metadata(root.join("null")).unwrap();
        assert!(null.file_type().is_char_device() && null.rdev() == rustix::fs::makedev(1, 3));
        assert!(fs::symlink_metadata(root.join("loop")).unwrap().file_type().is_block_device());
        assert!(fs::symlink_metadata(root.join("pipe")).unwrap().file_type().is_fifo());
        assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(
            fs::metadata(root.join("a")).unwrap().ino(),
            fs::metadata(root.join("b")).unwrap().ino()
        );
    });
}

#[test]
fn whiteouts_hide_files_and_directories_of_lower_layers_only() {
    let base = || {
        tar().file("a", "1").file("d/x", "1").file("d/y", "1").file("o/old", "1").file("keep", "1")
    };
    let second = tar()
        .file("new", "2")
        .file(".wh.a", "")
        .file("d/.wh.x", "")
        .file("o/.wh..wh..opq", "")
        .file("o/new", "2");
    assert_eq!(Stack::of([base(), second]).names(), ["d", "d/y", "keep", "new", "o", "o/new"]);
    let of_dir = tar().file(".wh.d", "");
    assert_eq!(Stack::of([base(), of_dir]).names(), ["a", "keep", "o", "o/old"]);
    let before_and_after =
        tar().file("o/new", "2").file("o/.wh..wh..opq", "").file("a", "2").file(".wh.a", "");
    let stack = Stack::of([base(), before_and_after]);
    assert_eq!(
        stack.names(),
        ["a", "d", "d/x", "d/y", "keep", "o", "o/new"],
        "a layer's own files stay"
    );
}

#[test]
fn whiteout_then_directory_of_the_same_name_starts_empty() {
    let base = tar().file("d/old", "1");
    let again = tar().file(".wh.d", "").file("d/new", "2");
    assert_eq!(Stack::of([base, again]).names(), ["d", "d/new"]);
    let base = tar().file("d/old", "1");
    let explicit = tar().file(".wh.d", "").dir("d/", 0o700).file("d/new", "2");
    let stack = Stack::of([base, explicit]);
    assert_eq!(fs::metadata(stack.top("d")).unwrap().mode() & 0o777, 0o700);
    assert_eq!(stack.names(), ["d", "d/new"]);
    // The whiteout is written after what replaces it.
    let base = tar().file("d/old", "1");
    let late = tar().file("d/new", "2").file(".wh.d", "");
    assert_eq!(Stack::of([base, late]).names(), ["d", "d/new"]);
}

#[test]
fn opaque_root_is_reported_for_the_stack_to_end_there() {
    let mut stack = Stack::new();
    assert!(!stack.push(tar().file("a", "1")).unwrap().opaque_root);
    assert!(stack.push(tar().file(".wh..wh..opq", "").file("b", "2")).unwrap().opaque_root);
}

#[test]
fn directories_not_in_a_layer_keep_what_they_have_below() {
    let base = tar().raw(EntryType::Directory, "d/", "", b"", |h| {
        h.set_mode(0o2750);
        h.set_uid(7);
        h.set_mtime(900_000_000);
    });
    let stack = Stack::of([base, tar().file("d/e/f", "x")]);
    let dir = fs::metadata(stack.top("d")).unwrap();
    assert_eq!((dir.mode() & 0o7777, dir.uid(), dir.mtime()), (0o2750, 7, 900_000_000));
    assert_eq!(fs::metadata(stack.top("d/e")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn root_metadata_comes_from_the_layer_or_from_below() {
    let stack = Stack::of([tar().dir("./", 0o711).file("a", "1"), tar().file("b", "2")]);
    assert_eq!(fs::metadata(&stack.lowers[0]).unwrap().mode() & 0o7777, 0o711);
    assert!(
        refused(tar().file("./", "x").symlink(".", "x"))
            .contains("root of an image must be a directory")
    );
}

#[test]
fn names_under_links_of_lower_layers_follow_them_inside_the_image() {
    let base = || {
        tar()
            .dir("usr/", 0o755)
            .dir("usr/bin/", 0o755)
            .symlink("bin", "usr/bin")
            .symlink("abs", "/usr/../usr")
    };
    let stack = Stack::of([base(), tar().file("bin/tool", "x").file("abs/y", "x")]);
    assert_eq!(stack.names(), ["abs", "bin", "usr", "usr/bin", "usr/bin/tool", "usr/y"]);
    stack.view(|root| assert_eq!(fs::read_link(root.join("bin")).unwrap(), Path::new("usr/bin")));
}

#[test]
fn files_replace_what_an_earlier_entry_made() {
    let layer = tar()
        .file("a", "1")
        .file("a", "22")
        .file("d/x", "1")
        .symlink("d", "elsewhere")
        .file("e", "1")
        .file("f/g", "1")
        .dir("f/", 0o700)
        .symlink("l", "a")
        .file("l", "own");
    let stack = Stack::of([layer]);
    assert_eq!(stack.names(), ["a", "d", "e", "f", "f/g", "l"]);
    assert_eq!(
        fs::read_to_string(stack.top("a")).unwrap(),
        "22",
        "the link was replaced, not followed"
    );
    assert_eq!(fs::read_to_string(stack.top("l")).unwrap(), "own");
    let over_lower = Stack::of([tar().file("p/q", "1"), tar().file("p", "now a file")]);
    assert_eq!(over_lower.names(), ["p"]);
}

#[test]
fn hard_link_to_a_file_of_a_lower_layer_copies_it_up() {
    let base = tar().raw(EntryType::Regular, "etc/a", "", b"content", |h| {
        h.set_mode(0o600);
        h.set_uid(5);
    });
    let stack = Stack::of([base, tar().hard_link("b", "/etc/a")]);
    stack.view(|root| {
        let (a, b) =
            (fs::metadata(root.join("etc/a")).unwrap(), fs::metadata(root.join("b")).unwrap());
        assert_eq!((a.ino(), a.uid(), b.mode() & 0o7777), (b.ino(), 5, 0o600));
        assert_eq!(fs::read_to_string(root.join("b")).unwrap(), "content");
    });
    assert!(refused(tar().hard_link("x", "missing")).contains("No such file"));
    assert!(
        refused(tar().file("etc/.wh.passwd", "").hard_link("x", "etc/passwd"))
            .contains("No such file")
    );
    assert!(refused(tar().hard_link("x", "/")).contains("cannot name a directory"));
}

#[test]
fn names_that_lead_out_of_the_image_are_refused() {
    for name in ["../outside", "a/../../outside", "..", "/../outside", "./../outside"] {
        assert!(refused(tar().file(name, "evil")).contains("leads out of the image"), "{name}");
        assert!(
            refused(tar().file("a", "x").hard_link("b", name)).contains("leads out of the image"),
            "{name}"
        );
    }
    let stack = Stack::of([tar().file("/abs", "x").file("a/../b", "x")]);
    assert_eq!(stack.names(), ["abs", "b"], "an absolute name is relative to the image");
}

#[test]
fn links_that_lead_out_of_the_image_stay_inside() {
    let mut stack = Stack::new();
    let outside = stack.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "host").unwrap();
    let absolute = outside.to_str().unwrap().to_owned();
    let layer = tar()
        .symlink("abs", &absolute)
        .file("abs/evil", "x")
        .symlink("rel", "../../../outside")
        .file("rel/evil", "x");
    stack.push(layer).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert!(
        stack.top(&absolute[1..]).join("evil").exists(),
        "the link's target is looked up inside the image"
    );
    assert!(stack.top("outside/evil").exists());
    // The same through links of the layer below, and for hard links, which would share the host's file.
    let second =
        tar().symlink("file", &format!("{absolute}/secret")).hard_link("steal", "abs/secret");
    assert!(stack.push(second).unwrap_err().to_string().contains("No such file"));
    assert_eq!(fs::metadata(outside.join("secret")).unwrap().nlink(), 1);
}

#[test]
fn writing_through_a_link_replaces_the_link() {
    let mut stack = Stack::new();
    let outside = stack.dir.path().join("victim");
    fs::write(&outside, "host").unwrap();
    let target = outside.to_str().unwrap().to_owned();
    let layer = tar()
        .symlink("l", &target)
        .file("l", "evil")
        .symlink("m", &target)
        .hard_link("n", "m")
        .file("n", "evil");
    stack.push(layer).unwrap();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "host");
    assert!(fs::symlink_metadata(stack.top("n")).unwrap().is_file());
}

#[test]
fn links_in_circles_end_with_an_error() {
    assert!(
        refused(tar().symlink("a", "b").symlink("b", "a").file("a/x", ""))
            .contains("symbolic link")
    );
}

#[test]
fn whiteouts_with_special_names_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh..."] {
        assert!(refused(tar().file(name, "")).contains("not a valid whiteout"), "{name}");
    }
}

#[test]
fn aufs_bookkeeping_is_left_out() {
    let layer = tar()
        .dir(".wh..wh.plnk/", 0o700)
        .file(".wh..wh.plnk/1.2", "x")
        .file(".wh..wh.aufs", "x")
        .file("a", "1");
    assert_eq!(Stack::of([layer]).names(), ["a"]);
}

#[test]
fn xattrs_are_kept_except_those_of_overlayfs() {
    let layer = tar()
        .xattr("user.note", "hello")
        .file("a", "1")
        .xattr("trusted.overlay.opaque", "y")
        .dir("d/", 0o755)
        .xattr("trusted.overlay.redirect", "/etc")
        .dir("r/", 0o755);
    let stack = Stack::of([tar().file("d/below", "1"), layer]);
    let mut value = [0u8; 16];
    let n = rustix::fs::getxattr(stack.top("a"), "user.note", &mut value).unwrap();
    assert_eq!(&value[..n], b"hello");
    assert_eq!(stack.names(), ["a", "d", "d/below", "r"]);
}

#[test]
fn capabilities_survive_the_change_of_owner() {
    // VFS_CAP_REVISION_2 with CAP_NET_BIND_SERVICE permitted and effective; no byte of it may be a newline in this simple maker.
    let cap: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let value = String::from_utf8(cap.to_vec()).unwrap();
    let file = |m: Maker| m.raw(EntryType::Regular, "ping", "", b"x", |h| h.set_uid(1000));
    let stack = Stack::of([file(tar().xattr("security.capability", &value))]);
    let mut found = [0u8; 32];
    let n = rustix::fs::getxattr(stack.top("ping"), "security.capability", &mut found).unwrap();
    assert_eq!(found[..n], cap);
}

#[test]
fn layers_larger_than_the_limits_are_refused() {
    let limits = Limits { layer_bytes: 64 << 10, layer_entries: 3 };
    let push = |maker: Maker| {
        Stack::new().push_bytes(&maker.end(), limits).map(|_| ()).map_err(|e| e.to_string())
    };
    let big = "x".repeat(60 << 10);
    assert_eq!(push(tar().file("a", &big)), Ok(()));
    let too_large = Err("the layer is larger than 65536 bytes when unpacked".to_owned());
    assert_eq!(push(tar().file("a", &big).file("b", &big)), too_large);
    // The header announces what does not come; nothing is written for it.
    assert_eq!(
        push(tar().raw(EntryType::Regular, "a", "", b"", |h| h.set_size(1 << 40))),
        too_large
    );
    let many = tar().file("1", "").file("2", "").file("3", "").file("4", "");
    assert_eq!(push(many), Err("the layer has more than 3 entries".to_owned()));
}

#[test]
fn compressed_bomb_is_stopped_at_the_limit() {
    let bomb = tar().file("zeros", &"\0".repeat(8 << 20)).end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&bomb).unwrap();
    let packed = gzip.finish().unwrap();
    assert!(packed.len() < 64 << 10);
    let target = tempfile::tempdir().unwrap();
    let packed = Packed { blob: packed.as_slice(), expected: None, diff_id: &Digest::of(&bomb) };
    let limits = Limits { layer_bytes: 1 << 20, ..Limits::default() };
    let error = unpack(packed, target.path(), &[], limits).unwrap_err();
    assert!(matches!(error, UnpackError::TooLarge { limit } if limit == 1 << 20), "{error}");
}

#[test]
fn deep_and_long_names_are_refused() {
    let deep = "d/".repeat(MAX_PATH_DEPTH) + "f";
    let named = |name: &str| {
        tar()
            .raw(EntryType::GNULongName, "././@LongLink", "", name.as_bytes(), |_| {})
            .file("short", "x")
    };
    assert!(refused(named(&deep)).contains("deeper than"));
    assert!(refused(named(&"x".repeat(MAX_PATH_BYTES + 1))).contains("longer than"));
    let long = format!("{}/{}", "y".repeat(200), "z".repeat(200));
    assert_eq!(Stack::of([named(&long)]).names().last(), Some(&long));
}

#[test]
fn damaged_tars_are_refused() {
    let whole = tar().file("a", &"x".repeat(2000)).end();
    let push = |bytes: &[u8]| {
        Stack::new().push_bytes(bytes, Limits::default()).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(
        push(&whole[..1024]),
        Err("malformed tar: it ends 1488 bytes before the end of a file".to_owned())
    );
    assert_eq!(push(&whole[..100]), Err("malformed tar: it ends inside a header".to_owned()));
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    assert_eq!(push(&flipped), Err("malformed tar: a header with a wrong checksum".to_owned()));
    let sparse = tar().raw(EntryType::GNUSparse, "s", "", b"", |_| {}).end();
    assert_eq!(
        push(&sparse),
        Err("malformed tar: \"s\" is a sparse file, which is not supported".to_owned())
    );
}

/// umoci 0.4 writes such layers. containerd takes them, and the digest covers all content, so they are taken here too.
#[test]
fn tar_without_final_padding_is_accepted() {
    let maker = tar().file("a", "unpadded");
    let cut = 512 + "unpadded".len();
    let mut stack = Stack::new();
    stack.push_bytes(&maker.0[..cut], Limits::default()).unwrap();
    assert_eq!(fs::read_to_string(stack.top("a")).unwrap(), "unpadded");
    stack.push_bytes(&tar().file("b", "no end marker").0, Limits::default()).unwrap();
    stack.push_bytes(&[], Limits::default()).unwrap();
}

#[test]
fn wrong_digests_and_sizes_are_refused() {
    let bytes = tar().file("a", "x").end();
    let (right, wrong) = (Digest::of(&bytes), Digest::of(b"other"));
    let size = bytes.len() as u64;
    let unpack_as = |expected: (&Digest, u64), diff_id: &Digest| {
        let target = tempfile::tempdir().unwrap();
        let packed = Packed { blob: bytes.as_slice(), expected: Some(expected), diff_id };
        unpack(packed, target.path(), &[], Limits::default()).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(unpack_as((&right, size), &right), Ok(()));
    let blob = format!("the layer blob has digest {right}, expected {wrong}");
    assert_eq!(unpack_as((&wrong, size), &right), Err(blob));
    let tar = format!("the layer's tar has digest {right}, expected {wrong}");
    assert_eq!(unpack_as((&right, size), &wrong), Err(tar));
    assert!(unpack_as((&right, size - 100), &right).is_err());
    let short = format!("the layer blob has {size} bytes, expected {}", size + 1);
    assert_eq!(unpack_as((&right, size + 1), &right), Err(short));
}

#[test]
fn zstd_and_multi_member_gzip_are_unpacked() {
    let bytes = tar().file("a", "x").file("b", "y").end();
    let half = bytes.len() / 2;
    let gzip = |part: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    let members = [gzip(&bytes[..half]), gzip(&bytes[half..])].concat();
    let zstd = zstd::encode_all(bytes.as_slice(), 3).unwrap();
    for blob in [members, zstd] {
        let target = tempfile::tempdir().unwrap();
        let digest = Digest::of(&blob);
        let expected = Some((&digest, blob.len() as u64));
        unpack(
            Packed { blob: blob.as_slice(), expected, diff_id: &Digest::of(&bytes) },
            target.path(),
            &[],
            Limits::default(),
        )
        .unwrap();
        assert_eq!(fs::read_to_string(target.path().join("b")).unwrap(), "y");
    }
}

#[test]
fn copied_up_directory_metadata_does_not_depend_on_umask() {
    let stack = Stack::of([tar().file("x/y", "1")]);
    assert_eq!(fs::metadata(stack.top("x")).unwrap().permissions().mode() & 0o7777, 0o755);
}
