//! From a CRI container config to an OCI runtime spec: a pure function.
//!
//! The counterpart of containerd's `internal/cri/server/container_create_linux.go` and `pkg/oci`. Invariants: no file, clock or process is
//! consulted here; what the node cannot give (capabilities, limits, OOM scores) is cut to what it can; what is asked for and not implemented is refused,
//! naming the field.

mod environment;
mod mounts;
mod resources;
pub mod seccomp;
mod security;
mod syscalls;
mod user;

pub use resources::resources;
#[cfg(test)]
pub use security::device_rules;

use k8s_cri::v1::{ContainerConfig, LinuxContainerSecurityContext, NamespaceMode};
use oci_spec::image::Config as ImageConfig;
use oci_spec::runtime::{
    LinuxBuilder, LinuxDevice, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp,
    PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder,
};
use std::path::{Path, PathBuf};

/// Why a container config cannot become a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A field has a value that means nothing.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, as in the CRI.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A field asks for what this runtime does not do.
    #[error("{0} is not supported by this runtime")]
    Unsupported(&'static str),
    /// Neither the config nor the image says what to run.
    #[error("no command specified")]
    NoCommand,
}

/// An [`SpecError::Invalid`].
fn invalid(field: &'static str, reason: impl Into<String>) -> SpecError {
    SpecError::Invalid { field, reason: reason.into() }
}

/// What this node can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Capability bits in our bounding set.
    pub bounding: u64,
    /// Our own OOM score adjustment; a container cannot get less.
    pub oom_score_adj: i32,
    /// Our hard limit of open files.
    pub open_files: u64,
    /// Devices a privileged container sees.
    pub devices: Vec<LinuxDevice>,
}

/// What the sandbox gives its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxFacts {
    /// Hostname of the pod.
    pub hostname: String,
    /// Pid of the shim, whose namespaces are the pod's.
    pub shim_pid: i32,
    /// Network namespace of the node.
    pub host_network: bool,
    /// IPC namespace of the node.
    pub host_ipc: bool,
    /// Where the sandbox's `hostname`, `hosts` and `resolv.conf` are.
    pub etc: PathBuf,
}

/// Which filter a container runs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeccompChoice {
    /// The profile of [`seccomp::default_profile`].
    RuntimeDefault,
    /// None.
    Unconfined,
    /// One from a file of the node.
    Localhost(Box<LinuxSeccomp>),
}

/// Everything a spec is made of.
pub struct Input<'a> {
    /// What the kubelet wants.
    pub config: &'a ContainerConfig,
    /// What the image says.
    pub image: Option<&'a ImageConfig>,
    /// `/etc/passwd` of the image.
    pub passwd: &'a str,
    /// `/etc/group` of the image.
    pub group: &'a str,
    /// The pod.
    pub sandbox: &'a SandboxFacts,
    /// The node.
    pub node: &'a NodeFacts,
    /// Filter.
    pub seccomp: SeccompChoice,
    /// Devices asked for by the config, found on the node.
    pub devices: Vec<LinuxDevice>,
    /// cgroup of the container.
    pub cgroup: &'a str,
    /// Path of the pid namespace to join, if not its own.
    pub pid_namespace: Option<PathBuf>,
}

impl Input<'_> {
    fn security(&self) -> LinuxContainerSecurityContext {
        self.config
            .linux
            .as_ref()
            .and_then(|linux| linux.security_context.clone())
            .unwrap_or_default()
    }
}

/// The container's pid namespace mode.
pub fn pid_mode(security: &LinuxContainerSecurityContext) -> NamespaceMode {
    security.namespace_options.as_ref().map_or(NamespaceMode::Pod, |o| {
        NamespaceMode::try_from(o.pid).unwrap_or(NamespaceMode::Container)
    })
}

/// Makes the spec.
///
/// # Errors
/// A field that is wrong or not supported.
pub fn spec(input: &Input<'_>) -> Result<Spec, SpecError> {
    refuse_unsupported(input)?;
    let security = input.security();
    let linux_resources =
        input.config.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
    let mut resources = resources::resources(&linux_resources)?;
    resources.set_devices(Some(security::device_rules(security.privileged, &input.devices)));
    let (masked, read_only) = security::hidden_paths(&security);
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(input, &security))
        .resources(resources)
        .cgroups_path(input.cgroup)
        .devices(if security.privileged { merged_devices(input) } else { input.devices.clone() })
        .masked_paths(masked)
        .readonly_paths(read_only)
        .build()
        .map_err(|e| invalid("linux", e.to_string()))?;
    let capabilities = security::capability_bits(&security, input.node.bounding)?;
    linux.set_seccomp(security::seccomp(&security, &input.seccomp, capabilities));
    let process = process(input, &security, capabilities)?;
    let root = RootBuilder::default().path("rootfs").readonly(security.readonly_rootfs).build();
    let mut spec = SpecBuilder::default()
        .version("1.0.2")
        .root(root.map_err(|e| invalid("root", e.to_string()))?)
        .mounts(mounts::mounts(input, security.privileged)?)
        .process(process)
        .linux(linux)
        .build()
        .map_err(|e| invalid("config", e.to_string()))?;
    spec.set_hostname(None);
    Ok(spec)
}

fn merged_devices(input: &Input<'_>) -> Vec<LinuxDevice> {
    let mut devices = input.devices.clone();
    devices.extend(
        input
            .node
            .devices
            .iter()
            .filter(|d| !input.devices.iter().any(|own| own.path() == d.path()))
            .cloned(),
    );
    devices
}

fn refuse_unsupported(input: &Input<'_>) -> Result<(), SpecError> {
    let security = input.security();
    let user_namespace =
        security.namespace_options.as_ref().and_then(|o| o.userns_options.as_ref());
    let refused = [
        (!input.config.cdi_devices.is_empty(), "CDI_devices"),
        (input.config.windows.is_some(), "windows"),
        (user_namespace.is_some_and(|u| u.mode == NamespaceMode::Pod as i32), "userns_options"),
        (input.config.mounts.iter().any(|m| m.image.is_some()), "mounts.image"),
        (
            input
                .config
                .mounts
                .iter()
                .any(|m| !m.uid_mappings.is_empty() || !m.gid_mappings.is_empty()),
            "mounts.uidMappings",
        ),
    ];
    match refused.into_iter().find(|(found, _)| *found) {
        Some((_, field)) => Err(SpecError::Unsupported(field)),
        None => Ok(()),
    }
}

fn namespaces(input: &Input<'_>, security: &LinuxContainerSecurityContext) -> Vec<LinuxNamespace> {
    let namespace = |typ, path: Option<PathBuf>| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(typ);
        namespace.set_path(path);
        namespace
    };
    let of_shim = |name: &str| {
        Some(Path::new("/proc").join(input.sandbox.shim_pid.to_string()).join("ns").join(name))
    };
    let mut namespaces = vec![
        namespace(LinuxNamespaceType::Mount, None),
        namespace(LinuxNamespaceType::Cgroup, None),
    ];
    if pid_mode(security) != NamespaceMode::Node {
        namespaces.push(namespace(LinuxNamespaceType::Pid, input.pid_namespace.clone()));
    }
    if !input.sandbox.host_ipc {
        namespaces.push(namespace(LinuxNamespaceType::Ipc, of_shim("ipc")));
    }
    if !input.sandbox.host_network {
        namespaces.push(namespace(LinuxNamespaceType::Network, of_shim("net")));
        namespaces.push(namespace(LinuxNamespaceType::Uts, of_shim("uts")));
    }
    namespaces
}

fn process(
    input: &Input<'_>,
    security: &LinuxContainerSecurityContext,
    capabilities: u64,
) -> Result<Process, SpecError> {
    let identity = user::identity(
        security,
        input.image.and_then(|i| i.user().as_deref()),
        input.passwd,
        input.group,
    )?;
    let score = input
        .config
        .linux
        .as_ref()
        .and_then(|l| l.resources.as_ref())
        .map_or(0, |r| r.oom_score_adj);
    let score = i32::try_from(score)
        .map_err(|_| invalid("oom_score_adj", "out of range"))?
        .clamp(-1000, 1000);
    let open_files = PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(input.node.open_files)
        .hard(input.node.open_files)
        .build()
        .map_err(|e| invalid("rlimits", e.to_string()))?;
    let mut process = ProcessBuilder::default()
        .terminal(input.config.tty)
        .user(identity.user)
        .args(environment::args(input.config, input.image)?)
        .env(environment::env(input.config, input.image, &input.sandbox.hostname, &identity.home)?)
        .cwd(environment::working_directory(input.config, input.image)?)
        .no_new_privileges(security.no_new_privs)
        .oom_score_adj(score.max(input.node.oom_score_adj))
        .rlimits(vec![open_files])
        .build()
        .map_err(|e| invalid("process", e.to_string()))?;
    process.set_capabilities(Some(security::capabilities(capabilities, security)?));
    process.set_apparmor_profile(None);
    process.set_selinux_label(None);
    Ok(process)
}

/// The process of an exec in a container that runs `process`.
pub fn exec_process(process: &Process, command: Vec<String>, terminal: bool) -> Process {
    let mut exec = process.clone();
    exec.set_args(Some(command));
    exec.set_terminal(Some(terminal));
    let mut env = exec.env().clone().unwrap_or_default();
    if terminal && !env.iter().any(|v| v.starts_with("TERM=")) {
        env.push("TERM=xterm".into());
    }
    exec.set_env(Some(env));
    exec
}

#[cfg(test)]
mod tests;
