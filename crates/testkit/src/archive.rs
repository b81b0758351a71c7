//! Small images for test pods, as `docker save` would write them.
//!
//! Their one layer is the machine's static `busybox` with a link for each of its commands.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// Where Debian's `busybox-static` puts it.
const BUSYBOX: &str = "/bin/busybox";

/// An image with a shell.
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    config: Value,
    files: Vec<(String, Vec<u8>)>,
}

impl Image {
    /// An image by this name whose default command is a shell.
    pub fn named(name: &str) -> Self {
        let config = json!({ "Cmd": ["/bin/sh"], "Env": ["PATH=/bin"] });
        Self { name: name.into(), config, files: vec![] }
    }

    /// Sets a field of the image's configuration, such as `Entrypoint`, `Cmd`, `Env`, `User` or `WorkingDir`.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.config[field] = value;
        self
    }

    /// Adds a file to the layer.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.push((path.into(), bytes.into()));
        self
    }

    /// Writes the archive into a directory and says where it is.
    ///
    /// # Panics
    /// When there is no busybox, or the directory cannot be written.
    pub fn save(&self, dir: &Path) -> PathBuf {
        let layer = layer(&self.files);
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))] },
            "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "testkit" }],
        });
        let config = config.to_string().into_bytes();
        let config_name = format!("{}.json", hex(&config));
        let manifest = json!([
            { "Config": config_name, "RepoTags": [self.name], "Layers": ["layer.tar"] }
        ]);
        let mut archive = Builder::new(Vec::new());
        add(&mut archive, "layer.tar", 0o644, &layer);
        add(&mut archive, &config_name, 0o644, &config);
        add(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes());
        let path = dir.join(format!("{}.tar", self.name.replace(['/', ':'], "_")));
        let bytes = archive.into_inner().expect("memory can be written");
        std::fs::write(&path, bytes).expect("the directory can be written");
        path
    }
}

fn layer(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let busybox = std::fs::read(BUSYBOX).expect("busybox-static is installed");
    let mut layer = Builder::new(Vec::new());
    for (dir, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)] {
        let mut header = header(EntryType::Directory, mode, 0);
        layer.append_data(&mut header, format!("{dir}/"), &[][..]).expect("memory can be written");
    }
    add(&mut layer, "bin/busybox", 0o755, &busybox);
    add(
        &mut layer,
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
    );
    add(&mut layer, "etc/group", 0o644, b"root:x:0:\nuser:x:1000:\n");
    for (path, bytes) in files {
        add(&mut layer, path, 0o644, bytes);
    }
    for command in commands() {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        let linked = layer.append_link(&mut header, format!("bin/{command}"), "busybox");
        linked.expect("memory can be written");
    }
    layer.into_inner().expect("memory can be written")
}

fn commands() -> Vec<String> {
    let output = Command::new(BUSYBOX).arg("--list").output().expect("busybox-static is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|name| *name != "busybox").map(str::to_owned).collect()
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn add(archive: &mut Builder<Vec<u8>>, name: &str, mode: u32, bytes: &[u8]) {
    let mut header = header(EntryType::Regular, mode, bytes.len() as u64);
    archive.append_data(&mut header, name, bytes).expect("memory can be written");
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The machine's architecture in the words of images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
