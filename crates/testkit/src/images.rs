//! Small images for tests, made offline: busybox, or any program with the libraries it needs, as OCI or `docker save`
//! archives.
//!
//! Invariant: the same input gives the same bytes: entries are in order, owned by root, and from the epoch, and nothing
//! is compressed. Nothing is checked either, so that broken images can be made as well.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

/// The name of the image that [`busybox_image`] makes.
pub const BUSYBOX_IMAGE: &str = "test.local/busybox:1.0";
/// Where Debian's package `busybox-static` has its program.
const BUSYBOX: &str = "/bin/busybox";
/// Longest name that fits in a tar header; longer ones get an extended header.
const HEADER_NAME_BYTES: usize = 100;

/// Media type of a layer that is not compressed.
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The digest of `bytes` as images write it.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A layer being written: a tar, with whatever names the test wants.
#[derive(Default)]
pub struct Layer {
    tar: Vec<u8>,
}

impl Layer {
    /// An empty layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, name: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, name, "", mode, &[])
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, name: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", mode, content)
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, 0o777, &[])
    }

    /// Adds another name of a file.
    #[must_use]
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, 0o644, &[])
    }

    /// Hides a name of the layers below.
    #[must_use]
    pub fn whiteout(self, name: &str) -> Self {
        let (dir, base) = name.rsplit_once('/').map_or(("", name), |(dir, base)| (dir, base));
        let slash = if dir.is_empty() { "" } else { "/" };
        self.file(&format!("{dir}{slash}.wh.{base}"), 0o644, &[])
    }

    /// Hides all that the layers below have in a directory.
    #[must_use]
    pub fn opaque(self, dir: &str) -> Self {
        self.file(&format!("{dir}/.wh..wh..opq"), 0o644, &[])
    }

    /// Adds an entry as it is.
    #[must_use]
    pub fn entry(
        mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        mode: u32,
        content: &[u8],
    ) -> Self {
        self.long(EntryType::GNULongName, name);
        self.long(EntryType::GNULongLink, link);
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        self.push(header, name, link, content);
        self
    }

    fn long(&mut self, kind: EntryType, name: &str) {
        if name.len() > HEADER_NAME_BYTES {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0);
            self.push(header, "././@LongLink", "", name.as_bytes());
        }
    }

    fn push(&mut self, mut header: Header, name: &str, link: &str, content: &[u8]) {
        let fill = |field: &mut [u8], text: &str| {
            let end = text.len().min(field.len());
            field[..end].copy_from_slice(&text.as_bytes()[..end]);
        };
        fill(&mut header.as_old_mut().name, name);
        fill(&mut header.as_old_mut().linkname, link);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(content);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
    }

    /// The tar.
    pub fn finish(mut self) -> Vec<u8> {
        self.tar.resize(self.tar.len() + 1024, 0);
        self.tar
    }
}

/// A layer of an image: what is inside, and how it is distributed.
#[derive(Clone, Debug)]
pub struct Blob {
    /// As distributed, perhaps compressed.
    pub bytes: Vec<u8>,
    /// Digest of the tar inside.
    pub diff_id: String,
    /// What the manifest calls it.
    pub media_type: String,
}

/// An image: layers and how to run it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name, with a tag.
    pub name: String,
    /// Its layers, base first.
    pub layers: Vec<Blob>,
    /// The `config` object of its config: `Entrypoint`, `Cmd`, `Env`, `User`.
    pub run: Value,
    /// Its architecture, in Go's words.
    pub architecture: String,
}

impl Image {
    /// An image without layers for this machine.
    pub fn new(name: &str) -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            name: name.to_owned(),
            layers: Vec::new(),
            run: json!({"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}),
            architecture: architecture.to_owned(),
        }
    }

    /// Adds a layer that is not compressed.
    #[must_use]
    pub fn layer(self, layer: Layer) -> Self {
        let bytes = layer.finish();
        let diff_id = digest(&bytes);
        self.blob(Blob { bytes, diff_id, media_type: LAYER_TAR.to_owned() })
    }

    /// Adds a layer as distributed.
    #[must_use]
    pub fn blob(mut self, blob: Blob) -> Self {
        self.layers.push(blob);
        self
    }

    /// Sets a field of the config's `config`.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.run[field] = value.into();
        self
    }

    /// The config.
    pub fn config(&self) -> Vec<u8> {
        let diff_ids: Vec<&str> = self.layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": self.run,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        config.to_string().into_bytes()
    }

    /// The id: the config's digest.
    pub fn id(&self) -> String {
        digest(&self.config())
    }

    /// The manifest.
    pub fn manifest(&self) -> Vec<u8> {
        let layers: Vec<Value> =
            self.layers.iter().map(|l| descriptor(&l.media_type, &l.bytes)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &self.config()),
            "layers": layers,
        });
        manifest.to_string().into_bytes()
    }

    /// The files of an OCI layout with this image.
    pub fn oci_files(&self) -> BTreeMap<String, Vec<u8>> {
        let manifest = self.manifest();
        let mut entry = descriptor(MANIFEST, &manifest);
        entry["annotations"] = json!({"io.containerd.image.name": self.name});
        entry["platform"] = json!({"os": "linux", "architecture": self.architecture});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
        let mut files = BTreeMap::from([
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), index.to_string().into_bytes()),
        ]);
        let layers = self.layers.iter().map(|layer| layer.bytes.clone());
        for blob in layers.chain([self.config(), manifest]) {
            files.insert(blob_file(&blob), blob);
        }
        files
    }

    /// The files of a `docker save` archive with this image.
    pub fn docker_files(&self) -> BTreeMap<String, Vec<u8>> {
        let config = self.config();
        let config_file = format!("{}.json", hex_of(&config));
        let layers: Vec<String> =
            (0..self.layers.len()).map(|n| format!("{n}/layer.tar")).collect();
        let manifest = json!([{"Config": config_file, "RepoTags": [self.name], "Layers": layers}]);
        let mut files =
            BTreeMap::from([("manifest.json".to_owned(), manifest.to_string().into_bytes())]);
        files.insert(config_file, config);
        files.extend(layers.into_iter().zip(self.layers.iter().map(|layer| layer.bytes.clone())));
        files
    }

    /// Writes a `docker save` archive into a directory and says where it is.
    ///
    /// # Errors
    /// The system's.
    pub fn save(&self, dir: &Path) -> io::Result<PathBuf> {
        let path = dir.join(format!("{}.tar", self.name.replace(['/', ':'], "_")));
        std::fs::write(&path, archive(&self.docker_files()))?;
        Ok(path)
    }

    /// Writes an OCI archive.
    ///
    /// # Errors
    /// The system's.
    pub fn write_oci_archive(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, archive(&self.oci_files()))
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

fn hex_of(bytes: &[u8]) -> String {
    digest(bytes)["sha256:".len()..].to_owned()
}

/// Where an OCI layout has a blob.
pub fn blob_file(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", hex_of(bytes))
}

/// A tar of files.
pub fn archive(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let add = |tar: Layer, (name, content): (&String, &Vec<u8>)| tar.file(name, 0o644, content);
    files.iter().fold(Layer::new(), add).finish()
}

/// Writes an OCI archive with [`BUSYBOX_IMAGE`]: Debian's static busybox with a link for each of its applets.
///
/// # Errors
/// busybox is not installed, or the system's.
pub fn busybox_image(path: &Path) -> io::Result<()> {
    busybox(BUSYBOX_IMAGE)?.write_oci_archive(path)
}

/// An image of Debian's static busybox.
///
/// # Errors
/// As for [`busybox_image`].
pub fn busybox(name: &str) -> io::Result<Image> {
    let program =
        std::fs::read(BUSYBOX).map_err(|e| explain(e, "busybox-static is not installed"))?;
    let listed = Command::new(BUSYBOX).arg("--list").output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut applets: Vec<&str> = listed.lines().filter(|applet| *applet != "busybox").collect();
    applets.sort_unstable();
    let mut layer = accounts(Layer::new()).dir("bin", 0o755).file("bin/busybox", 0o755, &program);
    for applet in applets {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    Ok(Image::new(name).layer(layer).with("Cmd", json!(["sh"])))
}

/// What programs expect of a root file system.
fn accounts(layer: Layer) -> Layer {
    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
user:x:1000:1000::/tmp:/bin/sh\n\
nobody:x:65534:65534:nobody:/:/bin/sh\n";
    layer
        .dir("etc", 0o755)
        .file("etc/group", 0o644, b"root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n")
        .file("etc/passwd", 0o644, PASSWD)
        .dir("root", 0o700)
        .dir("tmp", 0o1777)
}

/// An image of a program of this machine and the libraries it is linked to, which `ldd` names.
///
/// # Errors
/// The program or a library cannot be read.
pub fn program_image(name: &str, program: &Path) -> io::Result<Image> {
    let mut layer = accounts(Layer::new());
    for file in [vec![program.to_owned()], libraries(program)?].concat() {
        let content = std::fs::read(&file).map_err(|e| explain(e, &file.display().to_string()))?;
        layer = layer.file(&file.to_string_lossy(), 0o755, &content);
    }
    Ok(Image::new(name).layer(layer).with("Entrypoint", json!([program])))
}

/// The files a program is linked to, the loader included; none for a static one.
fn libraries(program: &Path) -> io::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path_in =
        |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        return Err(io::Error::other(format!("{}: {}", program.display(), missing.trim())));
    }
    let mut found: Vec<PathBuf> = text.lines().filter_map(path_in).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn explain(error: io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busybox_image_is_reproducible_and_has_its_applets() {
        let (first, second) = (busybox("x:1").expect("busybox"), busybox("x:1").expect("busybox"));
        assert_eq!(archive(&first.oci_files()), archive(&second.oci_files()));
        let mut tar = tar::Archive::new(first.layers[0].bytes.as_slice());
        let mut entries = tar.entries().expect("a tar").map(|e| e.expect("an entry"));
        let sh = entries.find(|e| e.path_bytes().as_ref() == b"bin/sh");
        assert_eq!(
            sh.and_then(|e| e.link_name_bytes().map(|l| l.into_owned())),
            Some(b"busybox".to_vec())
        );
    }

    #[test]
    fn program_image_has_the_loader_and_libraries() {
        let image = program_image("x:1", Path::new("/bin/cat")).expect("an image");
        let mut tar = tar::Archive::new(image.layers[0].bytes.as_slice());
        let names =
            tar.entries().expect("a tar").map(|e| e.expect("an entry").path_bytes().into_owned());
        let names: Vec<String> = names.map(|n| String::from_utf8_lossy(&n).into_owned()).collect();
        for part in ["/bin/cat", "libc.so", "ld-linux"] {
            assert!(names.iter().any(|name| name.contains(part)), "{part} in {names:?}");
        }
    }
}
