//! The files of a pod on the node: directories, `/etc/hosts`, termination messages, log links.
//!
//! Counterpart in Kubernetes: `makeHostsMount`, `makeMounts` and the legacy log symlinks. Invariant: everything made here lies
//! under paths of [`Paths`] that carry the pod's uid or the container's id, and [`remove_pod_files`] removes it all.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_cri::v1 as cri;
use k8s_openapi::api::core::v1::Pod;
use tokio::fs;

use crate::names::{self, Paths};
use crate::network_files;

/// Directories of pods are for root and for whoever may read logs.
const DIRECTORY_MODE: u32 = 0o755;
/// A container of any user must be able to write its last words.
const TERMINATION_LOG_MODE: u32 = 0o666;
const HOSTS_MODE: u32 = 0o644;

pub(super) async fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path).await?;
    fs::set_permissions(path, std::fs::Permissions::from_mode(DIRECTORY_MODE)).await
}

/// Makes what the container's configuration refers to.
pub(super) async fn prepare(
    paths: &Paths,
    pod: &Pod,
    domain: &str,
    ips: &[String],
    config: &cri::ContainerConfig,
) -> io::Result<()> {
    let logs = paths.pod_logs(names::namespace(pod), names::name(pod), names::uid(pod));
    let container =
        &config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
    make_directory(&logs.join(container)).await?;
    make_directory(&paths.pod(names::uid(pod))).await?;
    write_hosts(paths, pod, domain, ips).await?;
    let attempt = config.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
    let termination = paths.termination_log(names::uid(pod), container, attempt);
    make_directory(termination.parent().unwrap_or(paths.root())).await?;
    fs::write(&termination, b"").await?;
    fs::set_permissions(&termination, std::fs::Permissions::from_mode(TERMINATION_LOG_MODE)).await
}

async fn write_hosts(paths: &Paths, pod: &Pod, domain: &str, ips: &[String]) -> io::Result<()> {
    let spec = pod.spec.as_ref();
    let aliases = spec.and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    let text = if spec.and_then(|spec| spec.host_network).unwrap_or_default() {
        network_files::host_network_hosts_file(&fs::read_to_string("/etc/hosts").await?, aliases)
    } else {
        let (hostname, domain) = network_files::hostname_and_domain(pod, domain);
        network_files::hosts_file(ips, &hostname, &domain, aliases)
    };
    let path = paths.etc_hosts(names::uid(pod));
    // Written in place: running containers have this very file mounted.
    fs::write(&path, text).await?;
    fs::set_permissions(&path, std::fs::Permissions::from_mode(HOSTS_MODE)).await
}

/// Attempts that left logs behind although the runtime forgot them, as after a reboot.
pub(super) async fn restart_count_from_logs(paths: &Paths, pod: &Pod, container: &str) -> u32 {
    let directory =
        paths.pod_logs(names::namespace(pod), names::name(pod), names::uid(pod)).join(container);
    let Ok(mut entries) = fs::read_dir(directory).await else { return 0 };
    let mut next = 0;
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.split_once(".log"))
            .and_then(|(number, _)| number.parse::<u32>().ok());
        next = next.max(number.map_or(0, |number| number + 1));
    }
    next
}

/// Makes the link people and log collectors look for. Its absence harms nobody, so failing is only logged.
pub(super) async fn link_log(paths: &Paths, pod: &Pod, container: &str, id: &str, log: &Path) {
    let link = paths.container_link(names::namespace(pod), names::name(pod), container, id);
    let made = async {
        make_directory(&paths.container_links()).await?;
        fs::symlink(log, &link).await
    };
    if let Err(error) = made.await {
        tracing::warn!(link = %link.display(), %error, "no link to the container's log");
    }
}

/// Removes the links of these containers.
pub(crate) async fn remove_links(paths: &Paths, ids: &[String]) -> io::Result<()> {
    let mut entries = match fs::read_dir(paths.container_links()).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| ids.iter().any(|id| names::is_link_of(name, id))) {
            gone_is_done(fs::remove_file(entry.path()).await)?;
        }
    }
    Ok(())
}

/// Removes logs, links and everything else of a pod whose containers were `ids`.
///
/// # Errors
/// When the file system refuses; what is already gone is no error.
pub async fn remove_pod_files(paths: &Paths, pod: &Pod, ids: &[String]) -> io::Result<()> {
    remove_links(paths, ids).await?;
    let logs: PathBuf = paths.pod_logs(names::namespace(pod), names::name(pod), names::uid(pod));
    gone_is_done(fs::remove_dir_all(logs).await)?;
    gone_is_done(fs::remove_dir_all(paths.pod(names::uid(pod))).await)
}

fn gone_is_done(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
