//! What a kubelet is told at its start.
//!
//! Counterpart in Kubernetes: the `KubeletConfiguration` and the command line of `kubelet`. Nothing in here changes while the
//! kubelet runs; the two channels are the only way the node's network speaks with it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use crate::node::allocatable::PodsCgroup;

/// The port every kubelet of Kubernetes serves on.
pub const KUBELET_PORT: u16 = 10250;
/// Pods a node accepts, Kubernetes' default.
pub const DEFAULT_MAX_PODS: u32 = 110;

/// Everything [`crate::Kubelet::run`] needs.
pub struct Config {
    /// The name of the Node object.
    pub node_name: String,
    /// The host name reported in the Node's addresses and in the label `kubernetes.io/hostname`.
    pub hostname: String,
    /// The node's addresses, the primary one first. Must not be empty.
    pub node_ips: Vec<IpAddr>,
    /// Where the HTTPS server listens; `node_ip:10250` on a usual node.
    pub listen: SocketAddr,
    /// The API server, as identity `system:node:NAME` of group `system:nodes`.
    pub client: kube::Client,
    /// The runtime's CRI socket.
    pub cri_socket: PathBuf,
    /// State of pods: `/etc/hosts` files, termination messages.
    pub root_dir: PathBuf,
    /// Logs of pods: `pods/` and `containers/` are made in it. `/var/log` on a usual node, where log collectors look.
    pub log_dir: PathBuf,
    /// Certificates of the HTTPS server.
    pub serving: ServingTls,
    /// Name servers given to pods with `dnsPolicy: ClusterFirst`; empty means the cluster has none and pods get the node's.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's DNS domain, such as `cluster.local`.
    pub cluster_domain: String,
    /// The node's own `resolv.conf`.
    pub resolv_conf: PathBuf,
    /// Further labels of the Node, beside the ones every kubelet sets.
    pub labels: BTreeMap<String, String>,
    /// Taints the Node is registered with.
    pub taints: Vec<Taint>,
    /// How many pods the node accepts.
    pub max_pods: u32,
    /// What `status.nodeInfo.kubeletVersion` says, such as `v1.36.2+knarr.0.1.0`.
    pub kubelet_version: String,
    /// Receives `spec.podCIDRs` as soon as the Node has them, so that the owner of the process can build the pod network.
    pub pod_cidrs: watch::Sender<Vec<String>>,
    /// Where all pods live, to hold them together to what the node has.
    pub pods_cgroup: Arc<dyn PodsCgroup>,
    /// Says whether the pod network is there. The node stays NotReady until it is `true`.
    pub network_ready: watch::Receiver<bool>,
}

/// The server's certificate and who may call it.
pub struct ServingTls {
    /// The serving certificate, leaf first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// Authorities whose client certificates are accepted.
    pub client_ca: Vec<CertificateDer<'static>>,
}
