//! What this node can give to containers, read once.

use crate::spec::NodeFacts;
use crate::sys;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// How deep `/dev` is searched for devices of privileged containers.
const MAX_DEPTH: usize = 4;

/// Whether containers can be run here at all; if not, why, and the way out.
pub fn check() -> Result<(), String> {
    use rustix::io::Errno;
    match rustix::mount::fsopen("overlay", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => Ok(()),
        Err(Errno::PERM) => Err("containers need root (CAP_SYS_ADMIN): run as root".into()),
        Err(Errno::NODEV) => Err("this kernel has no overlayfs: load it with `modprobe overlay`, or use a kernel that has it".into()),
        Err(Errno::NOSYS) => Err("this kernel is too old: containers need Linux 5.12 or later".into()),
        Err(error) => Err(format!("overlayfs cannot be used: {error}")),
    }
}

/// Reads the facts.
pub fn facts() -> io::Result<NodeFacts> {
    let score = std::fs::read_to_string("/proc/self/oom_score_adj")?;
    let mut devices = Vec::new();
    collect_devices(Path::new("/dev"), 0, &mut devices);
    Ok(NodeFacts {
        bounding: sys::bounding_set(),
        oom_score_adj: score.trim().parse().unwrap_or(0),
        open_files: sys::hard_limit(libc::RLIMIT_NOFILE)?,
        devices,
    })
}

/// A number that a restarted agent will not use again, small enough to count up from.
pub fn random_number() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    sys::random(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes) >> 16)
}

/// The device node at `path`, shown in the container as `name`.
pub fn device(path: &Path, name: &Path) -> io::Result<LinuxDevice> {
    let metadata = std::fs::metadata(path)?;
    let kind = if metadata.file_type().is_char_device() {
        LinuxDeviceType::C
    } else if metadata.file_type().is_block_device() {
        LinuxDeviceType::B
    } else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not a device", path.display()),
        ));
    };
    LinuxDeviceBuilder::default()
        .path(name)
        .typ(kind)
        .major(i64::from(rustix::fs::major(metadata.rdev())))
        .minor(i64::from(rustix::fs::minor(metadata.rdev())))
        .file_mode(metadata.mode() & 0o777)
        .uid(metadata.uid())
        .gid(metadata.gid())
        .build()
        .map_err(io::Error::other)
}

/// All devices below `directory` but terminals and what a container has of its own.
fn collect_devices(directory: &Path, depth: usize, devices: &mut Vec<LinuxDevice>) {
    const OWN: [&str; 7] = ["pts", "shm", "fd", "mqueue", "console", "ptmx", ".udev"];
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < MAX_DEPTH {
            collect_devices(&entry.path(), depth + 1, devices);
        } else if (kind.is_char_device() || kind.is_block_device())
            && let Ok(device) = device(&entry.path(), &entry.path())
        {
            devices.push(device);
        }
    }
}
