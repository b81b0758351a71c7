//! An API server in this process, a pretended runtime, and a kubelet between them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use apiserver::authn::{GROUP_MASTERS, StaticTokens, Union, UserInfo};
use apiserver::authz::FixedPolicy;
use apiserver::{ApiServer, DEFAULT_EVENT_TTL, DEFAULT_SERVICE_CIDR};
use client::kube::Api;
use client::kube::api::PostParams;
use client::{Cache, CancellationToken, Client, Informers, Kind};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kubelet::node::allocatable::{PodsCgroup, PodsLimits};
use kubelet::{Config, Error, Kubelet, ServingTls};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use crate::fake_cri::FakeCri;

/// Longest time one expectation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The administrator's token.
const TOKEN: &str = "test-token";

/// Everything a test needs.
pub struct Cluster {
    pub client: Client,
    pub informers: Informers,
    pub runtime: FakeCri,
    pub network_ready: watch::Sender<bool>,
    pub pod_cidrs: watch::Receiver<Vec<String>>,
    api: Arc<ApiServer>,
    directory: TempDir,
    address: SocketAddr,
    pki: Pki,
    shutdown: CancellationToken,
    kubelet: Option<(CancellationToken, JoinHandle<Result<(), Error>>)>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

struct Pki {
    ca: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        Self { ca: rcgen::CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    fn issue(
        &self,
        names: &[&str],
        organization: &str,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, "someone");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    fn authority(&self) -> CertificateDer<'static> {
        self.ca.der().clone()
    }
}

async fn start_api(pki: &Pki) -> Arc<ApiServer> {
    let (cert, key) = pki.issue(&[], GROUP_MASTERS);
    let kubelet_client = apiserver::KubeletTls { ca: vec![pki.authority()], cert, key };
    let mut tokens = StaticTokens::new();
    tokens.insert(TOKEN, UserInfo::authenticated("admin", [GROUP_MASTERS]));
    let config = apiserver::Config {
        store: Arc::new(store::Memory::default()),
        authenticator: Arc::new(Union::new(vec![Arc::new(tokens)])),
        authorizer: Arc::new(FixedPolicy),
        kubelet_client: Some(kubelet_client),
        version: k8s_openapi::apimachinery::pkg::version::Info::default(),
        event_ttl: DEFAULT_EVENT_TTL,
        token_issuer: None,
        service_cidr: DEFAULT_SERVICE_CIDR,
        advertised: None,
    };
    ApiServer::start(config).await.expect("the API server starts")
}

impl Cluster {
    /// Everything but the kubelet.
    pub async fn without_kubelet() -> Self {
        let pki = Pki::new();
        let api = start_api(&pki).await;
        let client = Client::new(
            api.transport(UserInfo::authenticated("admin", [GROUP_MASTERS])),
            "default",
        );
        let account = ServiceAccount { metadata: named("default"), ..ServiceAccount::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        accounts.create(&PostParams::default(), &account).await.expect("an account");
        let directory = tempfile::tempdir().expect("a directory");
        let shutdown = CancellationToken::new();
        let probe = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        Self {
            informers: Informers::new(client.clone(), shutdown.clone()),
            client,
            runtime: FakeCri::serve(directory.path()),
            network_ready: watch::channel(true).0,
            pod_cidrs: watch::channel(Vec::new()).1,
            api,
            directory,
            address: probe.local_addr().expect("an address"),
            pki,
            shutdown,
            kubelet: None,
        }
    }

    /// Everything, with the network there.
    pub async fn start() -> Self {
        let mut cluster = Self::without_kubelet().await;
        cluster.start_kubelet();
        cluster
    }

    pub fn start_kubelet(&mut self) {
        let (pod_cidrs, receiver) = watch::channel(Vec::new());
        self.pod_cidrs = receiver;
        let user = UserInfo::authenticated("system:node:n1", ["system:nodes"]);
        let (certificates, key) = self.pki.issue(&["127.0.0.1"], "system:nodes");
        let config = Config {
            node_name: "n1".into(),
            hostname: "n1".into(),
            node_ips: vec![Ipv4Addr::LOCALHOST.into()],
            listen: self.address,
            client: Client::new(self.api.transport(user), "default"),
            cri_socket: self.directory.path().join("cri.sock"),
            root_dir: self.directory.path().join("kubelet"),
            log_dir: self.directory.path().join("log"),
            serving: ServingTls { certificates, key, client_ca: vec![self.pki.authority()] },
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            max_pods: 110,
            kubelet_version: "v1.36.2".into(),
            pod_cidrs,
            pods_cgroup: Arc::new(AnyLimits),
            network_ready: self.network_ready.subscribe(),
        };
        let stop = self.shutdown.child_token();
        self.kubelet = Some((stop.clone(), tokio::spawn(Kubelet::run(config, stop))));
    }

    pub async fn stop_kubelet(&mut self) {
        let (stop, task) = self.kubelet.take().expect("it runs");
        stop.cancel();
        task.await.expect("no panic").expect("no error");
    }

    /// Waits until the objects of a kind satisfy `condition`.
    pub async fn expect<K: Kind>(&self, what: &str, condition: impl Fn(&Cache<K>) -> bool) {
        let cache = self.informers.store::<K>();
        if tokio::time::timeout(PATIENCE, cache.wait_for(condition)).await.is_err() {
            panic!("waited in vain: {what}; there is {:#?}", cache.list());
        }
    }

    /// Serves the API over HTTPS; answers the arguments that lead kubectl there.
    pub async fn serve_https(&self) -> Vec<String> {
        let (certificates, key) = self.pki.issue(&["127.0.0.1"], "");
        let none = rustls::RootCertStore::empty();
        let tls = apiserver::server::server_config(certificates, key, &none).expect("TLS");
        let listener =
            tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving =
            apiserver::server::serve(self.api.clone(), vec![listener], tls, self.shutdown.clone());
        tokio::spawn(serving);
        let cache = self.directory.path().join("kubectl-cache");
        vec![
            format!("--server=https://{address}"),
            "--insecure-skip-tls-verify".into(),
            format!("--token={TOKEN}"),
            "--kubeconfig=/dev/null".into(),
            format!("--cache-dir={}", cache.display()),
        ]
    }

    /// A pod on the node, with one container `app`.
    pub async fn create_pod(&self, name: &str, more: Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": name},
            "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "app:1"}]},
        });
        merge(&mut pod, more);
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        self.pods().create(&PostParams::default(), &pod).await.expect("created")
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Waits until the pod of this name satisfies `condition`.
    pub async fn expect_pod(
        &self,
        name: &str,
        what: &str,
        condition: impl Fn(Option<&Pod>) -> bool,
    ) {
        let key = client::ObjectKey::namespaced("default", name);
        self.expect::<Pod>(what, |pods| pods.has_synced() && condition(pods.get(&key).as_deref()))
            .await;
    }

    /// A connection to the kubelet by a member of `organization`; `None` shows no certificate.
    pub async fn connect(&self, organization: Option<&str>) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.pki.authority()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match organization {
            Some(organization) => {
                let (chain, key) = self.pki.issue(&[], organization);
                config.with_client_auth_cert(chain, key).expect("a certificate")
            }
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
    }

    /// Asks the kubelet for a path.
    pub async fn get(&self, organization: Option<&str>, path: &str) -> Response<Incoming> {
        let io = TokioIo::new(self.connect(organization).await);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.expect("a handshake");
        tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", "localhost")
            .body(Empty::<bytes::Bytes>::new())
            .expect("a request");
        sender.send_request(request).await.expect("an answer")
    }
}

fn named(name: &str) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        name: Some(name.into()),
        ..Default::default()
    }
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// The fake runtime has no cgroups, so every limit holds.
struct AnyLimits;

impl PodsCgroup for AnyLimits {
    fn name(&self) -> &str {
        "/pods"
    }

    fn limit(&self, _limits: PodsLimits) -> Result<(), String> {
        Ok(())
    }
}
