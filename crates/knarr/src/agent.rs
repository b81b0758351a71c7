//! `knarr agent`: what makes a machine a node — runtime, pod network, kubelet.
//!
//! Counterpart in Kubernetes: containerd, a CNI plugin and kubelet.
//!
//! Invariants:
//! - Its identity is `system:node:NAME`; its keys never leave the machine.
//! - Containers outlive it: it can be restarted or upgraded at any time.
//! - A wrong start ends with one line that says the way out, before anything is changed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use client::connect::{Credentials, Endpoint};
use cni::{Cidr, Network};
use kubelet::Kubelet;
use kubelet::node::allocatable::{PodsCgroup, PodsLimits};
use runtime::{Runtime, RuntimeConfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::join::{self, Joined};
use crate::pki::IdentityPaths;
use crate::pod_network::{Bridge, PodBridge};
use crate::process;
use crate::token::Token;

/// Rotation of container logs, as the kubelet does by default.
const LOGS: runtime::LogLimits = runtime::LogLimits { max_size_bytes: 10 << 20, max_files: 5 };

/// How an agent is started.
#[derive(Clone, Debug, clap::Args)]
pub struct AgentArgs {
    /// URL of the server, such as https://10.0.0.1:6443
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// Join token of the server (it keeps it in DATA-DIR/token)
    #[arg(long, required_unless_present = "token_file")]
    pub token: Option<String>,
    /// File with the join token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// Name of the node [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Address of the node [default: the one that leads to the server]
    #[arg(long, value_name = "IP")]
    pub node_ip: Option<IpAddr>,
    /// Where state is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/knarr/default/nodes/self")]
    pub data_dir: PathBuf,
    /// Where sockets are
    #[arg(long, value_name = "DIR", default_value = "/run/knarr/default/nodes/self")]
    pub run_dir: PathBuf,
    /// Where the logs of containers are, as pods/ and containers/
    #[arg(long, value_name = "DIR", default_value = "/var/log")]
    pub log_dir: PathBuf,
    /// Cgroup of everything the node runs
    #[arg(long, value_name = "PATH", default_value = "/knarr")]
    pub cgroup: String,
    /// Give pods no way out of the cluster
    #[arg(long)]
    pub no_uplink: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as kubelet=debug
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// Process whose network and mount namespaces to enter first
    #[arg(long, value_name = "PID", hide = true)]
    pub in_node: Option<i32>,
}

/// Runs a node until `shutdown`.
///
/// # Errors
/// When it cannot start; the message is for a person.
pub async fn run(args: AgentArgs, shutdown: CancellationToken) -> Result<()> {
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => Token::parse(token)?,
        (None, Some(file)) => Token::read(file)?,
        (None, None) => bail!("a token is needed: --token or --token-file"),
    };
    let node = args.node_name.clone().map_or_else(host_name, Ok)?;
    let ip = args.node_ip.map_or_else(|| address_toward(&args.server), Ok)?;
    check_machine()?;
    let _lock = lock(&args.data_dir)?;
    let joined = join::join(&args.server, &token, &node, vec![ip]).await?;
    keep(&args.data_dir, &joined)?;
    std::fs::create_dir_all(&args.run_dir)
        .with_context(|| format!("cannot create {}", args.run_dir.display()))?;

    let network = Arc::new(PodBridge::new());
    let bridge = bridge_config(&args, &joined)?;
    let known = PodRange::new(&args.data_dir);
    if let Some(range) = known.read() {
        network.set(open_network(bridge.config(range)).await?);
    }
    let socket = args.run_dir.join("cri.sock");
    let runtime = open_runtime(&args, network.clone()).await?;
    let pods_cgroup =
        Arc::new(NodeCgroup { path: args.cgroup.clone(), cgroup: runtime.pods_cgroup() });
    let stop = shutdown.clone();
    let cri = runtime.serve(&socket, async move { stop.cancelled().await });
    let (pod_cidrs, assigned) = watch::channel(Vec::new());
    let (connected, network_ready) = watch::channel(false);
    let shared = Shared { pods_cgroup, channels: Channels { pod_cidrs, network_ready } };
    let config = kubelet_config(&args, &node, ip, &joined, shared)?;
    let connect = Connect { network, bridge, known, connected };
    let connect = connect.run(assigned, shutdown.clone());
    let kubelet = Kubelet::run(config, shutdown.clone());
    process::say_ready();
    tracing::info!(node, %ip, version = crate::VERSION, "node started");
    let (cri, kubelet, connect) = tokio::join!(cri, kubelet, connect);
    cri.context("the container runtime ended")?;
    kubelet.context("the kubelet ended")?;
    connect
}

/// The node's pod range as it was last time: a restarted node has its network before the server answers.
struct PodRange(PathBuf);

impl PodRange {
    fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("network/pod-cidr"))
    }

    fn read(&self) -> Option<Cidr> {
        std::fs::read_to_string(&self.0).ok()?.trim().parse().ok()
    }

    fn write(&self, range: Cidr) -> Result<()> {
        crate::pki::write_private(&self.0, &format!("{range}\n"))
    }
}

async fn open_network(config: cni::Config) -> Result<Network> {
    let opened = tokio::task::spawn_blocking(move || Network::open(config)).await?;
    opened.context("cannot build the pod network")
}

/// Builds the pod network as soon as the node has its range.
struct Connect {
    network: Arc<PodBridge>,
    bridge: Bridge,
    known: PodRange,
    connected: watch::Sender<bool>,
}

impl Connect {
    async fn run(
        self,
        mut assigned: watch::Receiver<Vec<String>>,
        shutdown: CancellationToken,
    ) -> Result<()> {
        if !self.network.is_set() {
            let range = assigned.wait_for(|ranges| !ranges.is_empty());
            let range: Cidr = match shutdown.run_until_cancelled(range).await {
                Some(Ok(ranges)) => ranges.first().map_or("", String::as_str).parse()?,
                Some(Err(_)) | None => return Ok(()),
            };
            self.network.set(open_network(self.bridge.config(range)).await?);
            self.known.write(range)?;
            tracing::info!(%range, "pod network is there");
        }
        self.connected.send_replace(true);
        shutdown.cancelled().await;
        Ok(())
    }
}

fn bridge_config(args: &AgentArgs, joined: &Joined) -> Result<Bridge> {
    Ok(Bridge {
        state_dir: args.data_dir.join("network"),
        masquerade: !args.no_uplink,
        cluster_cidrs: vec![
            joined.answer.cluster_cidr.parse()?,
            joined.answer.service_cidr.parse()?,
        ],
    })
}

async fn open_runtime(args: &AgentArgs, network: Arc<PodBridge>) -> Result<Runtime> {
    let config = RuntimeConfig {
        root: args.data_dir.join("runtime"),
        state: args.run_dir.join("runtime"),
        cgroup_parent: args.cgroup.clone(),
        network,
        log_limits: Some(LOGS),
    };
    Runtime::open(config).await.context("the container runtime cannot start")
}

/// The runtime's cgroup of all pods, as the kubelet wants to see it.
struct NodeCgroup {
    path: String,
    cgroup: runtime::PodsCgroup,
}

impl PodsCgroup for NodeCgroup {
    fn name(&self) -> &str {
        &self.path
    }

    fn limit(&self, limits: PodsLimits) -> Result<(), String> {
        let PodsLimits { memory_bytes, cpu_shares, processes } = limits;
        let limits = runtime::PodsLimits { memory_bytes, cpu_shares, processes };
        self.cgroup.limit(limits).map_err(|error| error.to_string())
    }
}

/// What the kubelet shares with the rest of the agent.
struct Shared {
    pods_cgroup: Arc<dyn PodsCgroup>,
    channels: Channels,
}

struct Channels {
    pod_cidrs: watch::Sender<Vec<String>>,
    network_ready: watch::Receiver<bool>,
}

fn kubelet_config(
    args: &AgentArgs,
    node: &str,
    ip: IpAddr,
    joined: &Joined,
    Shared { pods_cgroup, channels }: Shared,
) -> Result<kubelet::Config> {
    let endpoint = Endpoint { url: args.server.clone(), ca_pem: joined.ca.clone().into() };
    let credentials = Credentials::Certificate {
        certificate_pem: joined.client.certificate.clone().into(),
        key_pem: joined.client.key.clone().into(),
    };
    Ok(kubelet::Config {
        node_name: node.to_owned(),
        hostname: node.to_owned(),
        node_ips: vec![ip],
        listen: SocketAddr::new(ip, kubelet::config::KUBELET_PORT),
        client: client::connect::connect(&endpoint, &credentials)?,
        cri_socket: args.run_dir.join("cri.sock"),
        root_dir: args.data_dir.join("kubelet"),
        log_dir: args.log_dir.clone(),
        serving: kubelet::ServingTls {
            certificates: joined.serving.certificates()?,
            key: joined.serving.private_key()?,
            client_ca: crate::pki::certificates(&joined.ca)?,
        },
        cluster_dns: vec![],
        cluster_domain: "cluster.local".into(),
        resolv_conf: "/etc/resolv.conf".into(),
        labels: Default::default(),
        taints: vec![],
        max_pods: kubelet::config::DEFAULT_MAX_PODS,
        kubelet_version: crate::VERSION.into(),
        pod_cidrs: channels.pod_cidrs,
        pods_cgroup,
        network_ready: channels.network_ready,
    })
}

/// Keeps the certificates where an operator finds them.
fn keep(data_dir: &Path, joined: &Joined) -> Result<()> {
    let dir = data_dir.join("pki");
    IdentityPaths::new(&dir, "client").write(&joined.client)?;
    IdentityPaths::new(&dir, "serving").write(&joined.serving)?;
    crate::pki::write_private(&dir.join("ca.crt"), &joined.ca)
}

/// Refuses a machine that cannot run containers.
fn check_machine() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a node needs root; run it with sudo");
    }
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        bail!("this kernel has no overlayfs; load it with `modprobe overlay`");
    }
    if !Path::new("/sys/fs/cgroup").read_dir().is_ok_and(|mut dir| dir.next().is_some()) {
        bail!("no cgroups at /sys/fs/cgroup; mount them, as systemd does");
    }
    Ok(())
}

/// Keeps a second agent from the same directory for as long as the file is open.
fn lock(data_dir: &Path) -> Result<std::fs::File> {
    let show = data_dir.display();
    std::fs::create_dir_all(data_dir).with_context(|| format!("cannot create {show}"))?;
    let mut options = std::fs::File::options();
    let file = options.create(true).append(true).mode(0o600).open(data_dir.join("lock"));
    let file = file.with_context(|| format!("cannot write {show}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!("another agent uses {show}; stop it, or choose another --data-dir"),
    }
}

fn host_name() -> Result<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    match name.is_empty() {
        true => bail!("this host has no name; give the node one with --node-name"),
        false => Ok(name),
    }
}

/// This machine's address on the way to the server. No packet is sent.
fn address_toward(server: &str) -> Result<IpAddr> {
    let uri: http::Uri = server.parse().context("--server is not a URL")?;
    let host = uri.host().context("--server has no host")?.trim_matches(['[', ']']).to_owned();
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let way = || format!("no way to {host}; say this node's address with --node-ip");
    socket
        .connect((host.as_str(), uri.port_u16().unwrap_or(crate::server::PORT)))
        .with_context(way)?;
    Ok(socket.local_addr()?.ip())
}
