//! The mounts of a container: the standard ones, the pod's files in `/etc`, and the kubelet's volumes.

use super::{Input, SpecError, invalid};
use crate::protocol::SHM_SOURCE;
use k8s_cri::v1::{Mount as CriMount, MountPropagation};
use oci_spec::runtime::Mount;
use std::path::{Component, Path};

/// Most volumes of one container: they travel as descriptors in one packet.
const MAX_MOUNTS: usize = 200;

fn mount(kind: &str, source: &Path, destination: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount.set_typ(Some(kind.to_owned()));
    mount.set_source(Some(source.to_owned()));
    mount.set_destination(destination.into());
    mount.set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    mount
}

/// All mounts, in the order in which they have to be made.
pub fn mounts(input: &Input<'_>, privileged: bool) -> Result<Vec<Mount>, SpecError> {
    let volumes = &input.config.mounts;
    if volumes.len() > MAX_MOUNTS {
        return Err(invalid("mounts", format!("more than {MAX_MOUNTS}")));
    }
    let taken = |destination: &Path| {
        volumes
            .iter()
            .map(|v| Path::new(&v.container_path))
            .any(|v| v == destination || (v == Path::new("/dev") && destination.starts_with(v)))
    };
    let mut mounts: Vec<Mount> =
        standard(input, privileged).into_iter().filter(|m| !taken(m.destination())).collect();
    mounts.extend(etc(input, taken));
    let mut volumes: Vec<&CriMount> = volumes.iter().collect();
    // A parent before what lies in it; otherwise as given.
    volumes.sort_by_key(|v| Path::new(&v.container_path).components().count());
    for volume in volumes {
        mounts.push(bind(volume)?);
    }
    Ok(mounts)
}

fn standard(input: &Input<'_>, privileged: bool) -> Vec<Mount> {
    let access = if privileged { "rw" } else { "ro" };
    let shm = if input.sandbox.host_ipc { Path::new("/dev/shm") } else { Path::new(SHM_SOURCE) };
    vec![
        mount("proc", "proc".as_ref(), "/proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "tmpfs",
            "tmpfs".as_ref(),
            "/dev",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "devpts",
            "devpts".as_ref(),
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("bind", shm, "/dev/shm", &["rbind", "rprivate", "nosuid", "nodev", "noexec", "rw"]),
        mount("mqueue", "mqueue".as_ref(), "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
        mount("sysfs", "sysfs".as_ref(), "/sys", &["nosuid", "noexec", "nodev", access]),
        mount(
            "cgroup",
            "cgroup".as_ref(),
            "/sys/fs/cgroup",
            &["nosuid", "noexec", "nodev", "relatime", access],
        ),
    ]
}

fn etc<'a>(
    input: &'a Input<'_>,
    taken: impl Fn(&Path) -> bool + 'a,
) -> impl Iterator<Item = Mount> + 'a {
    ["hostname", "hosts", "resolv.conf"]
        .into_iter()
        .map(|name| (name, format!("/etc/{name}")))
        .filter(move |(_, destination)| !taken(Path::new(destination)))
        .map(|(name, destination)| {
            mount("bind", &input.sandbox.etc.join(name), &destination, &["rbind", "rprivate", "rw"])
        })
}

fn bind(volume: &CriMount) -> Result<Mount, SpecError> {
    let destination = Path::new(&volume.container_path);
    if !destination.is_absolute() || destination.components().any(|c| c == Component::ParentDir) {
        return Err(invalid(
            "mounts.container_path",
            format!("{:?} is not an absolute path", volume.container_path),
        ));
    }
    if !Path::new(&volume.host_path).is_absolute() {
        return Err(invalid(
            "mounts.host_path",
            format!("{:?} is not an absolute path", volume.host_path),
        ));
    }
    let propagation = match volume.propagation() {
        MountPropagation::PropagationPrivate => "rprivate",
        MountPropagation::PropagationHostToContainer => "rslave",
        MountPropagation::PropagationBidirectional => "rshared",
    };
    if volume.recursive_read_only && (!volume.readonly || propagation != "rprivate") {
        return Err(invalid(
            "mounts.recursive_read_only",
            "needs readonly and private propagation",
        ));
    }
    let access = match (volume.readonly, volume.recursive_read_only) {
        (_, true) => "rro",
        (true, false) => "ro",
        (false, false) => "rw",
    };
    Ok(mount(
        "bind",
        Path::new(&volume.host_path),
        &volume.container_path,
        &["rbind", propagation, access],
    ))
}
