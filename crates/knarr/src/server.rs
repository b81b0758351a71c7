//! `knarr server`: the control plane in one process — store, API server, controllers, scheduler.
//!
//! Counterpart in Kubernetes: etcd, kube-apiserver, kube-controller-manager and kube-scheduler.
//!
//! Invariants:
//! - Controllers and scheduler are clients with identities of their own, although they share the process.
//! - A wrong start ends with one line that says the way out, before anything is changed.
//! - SIGTERM ends it cleanly; kill -9 loses nothing that was acknowledged.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use apiserver::authn::{self, UserInfo};
use apiserver::authz::FixedPolicy;
use apiserver::service_account::{DEFAULT_ISSUER, TokenIssuer};
use apiserver::{ApiServer, KubeletTls};
use cni::Cidr;
use http::{Request, Response};
use store::{Fjall, StoreError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::join::Joiner;
use crate::kubeconfig::{self, Access};
use crate::pki::{Authority, Identity, Subject};
use crate::process;
use crate::token::Token;

/// The port of the API.
pub const PORT: u16 = 6443;
/// An address outside of every network of one's own, reserved for documentation.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// How many fixed bits a node's part of the pods' range has.
const NODE_CIDR_PREFIX: u8 = 24;

/// How a server is started.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// Where state is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/knarr/default/server")]
    pub data_dir: PathBuf,
    /// Addresses to listen on
    #[arg(long, value_name = "IP", default_values_t = [IpAddr::V4(Ipv4Addr::UNSPECIFIED)])]
    pub bind_address: Vec<IpAddr>,
    /// Port to listen on
    #[arg(long, default_value_t = PORT)]
    pub port: u16,
    /// Address by which pods reach the server, the kubernetes Service's endpoint; chosen among those it listens on if not given
    #[arg(long, value_name = "IP")]
    pub advertise_address: Option<Ipv4Addr>,
    /// Further names and addresses the server is reached by
    #[arg(long, value_name = "NAME")]
    pub tls_san: Vec<String>,
    /// Range of the pods' addresses
    #[arg(long, value_name = "CIDR", default_value = "10.42.0.0/16")]
    pub cluster_cidr: Cidr,
    /// Range of the services' addresses
    #[arg(long, value_name = "CIDR", default_value = "10.43.0.0/16")]
    pub service_cidr: Cidr,
    /// Name of the cluster in the administrator's kubeconfig
    #[arg(long, default_value = crate::cluster::DEFAULT_NAME, value_parser = crate::cluster::parse_name)]
    pub name: String,
    /// What to log: error, warn, info, debug, trace, or a filter such as apiserver=debug
    #[arg(long, default_value = "info")]
    pub log_level: String,
}

/// Runs the control plane until `shutdown`.
///
/// # Errors
/// When it cannot start; the message is for a person.
pub async fn run(args: ServerArgs, shutdown: CancellationToken) -> Result<()> {
    let listeners = bind(&args).await?;
    let store = open_store(&args.data_dir)?;
    let pki = Pki::open(&args)?;
    let issuer = token_issuer(&args, &pki);
    let api = ApiServer::start(config(&args, &pki, Arc::new(store), issuer)?)
        .await
        .context("the API server cannot start")?;
    pki.write_kubeconfig(&args)?;
    let front = Arc::new(Front { joiner: pki.joiner(&args)?, api: api.clone() });
    let roots = apiserver::server::root_store(&crate::pki::certificates(&pki.ca.certificate)?)?;
    let serving = (pki.serving.certificates()?, pki.serving.private_key()?);
    let tls = apiserver::server::server_config(serving.0, serving.1, &roots)?;
    let controllers = client(&api, "system:kube-controller-manager");
    let options = controller_manager::Options {
        root_ca_pem: Some(pki.ca.certificate.clone()),
        cluster_cidr: Some(args.cluster_cidr.to_string()),
        node_cidr_mask_size: Some(NODE_CIDR_PREFIX),
    };
    // One set of informers for all: the process holds one copy of a Pod. They read as the controllers do, who may read more.
    let informers = client::Informers::new(controllers.clone(), shutdown.clone());
    let scheduler = client(&api, "system:kube-scheduler");
    let scheduler = scheduler::run_with(scheduler, informers.clone(), shutdown.clone());
    let controllers =
        controller_manager::run_with(controllers, informers, options, shutdown.clone());
    let serving = apiserver::server::serve(front, listeners, tls, shutdown.clone());
    process::say_ready();
    tracing::info!(port = args.port, version = crate::VERSION, "serving");
    let (controllers, (), ()) = tokio::join!(controllers, scheduler, serving);
    controllers.context("the controllers cannot run")?;
    tracing::info!("stopped");
    Ok(())
}

/// The API, and beside it the two paths by which machines join.
struct Front {
    joiner: Joiner,
    api: Arc<ApiServer>,
}

impl apiserver::server::Handler for Front {
    async fn handle(
        self: Arc<Self>,
        request: Request<apiserver::Body>,
    ) -> Response<apiserver::Body> {
        match Joiner::serves(request.uri().path()) {
            true => self.joiner.handle(request).await,
            false => ApiServer::handle(&self.api, request).await,
        }
    }
}

fn client(api: &Arc<ApiServer>, user: &str) -> client::Client {
    let groups = vec!["system:authenticated".into()];
    let user = UserInfo { name: user.into(), groups, ..UserInfo::default() };
    client::Client::new(api.transport(user), "default")
}

async fn bind(args: &ServerArgs) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for ip in &args.bind_address {
        let address = SocketAddr::new(*ip, args.port);
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                anyhow::anyhow!("port {} is taken; choose another with --port", args.port)
            }
            _ => anyhow::anyhow!("cannot listen on {address}: {error}"),
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn open_store(data_dir: &Path) -> Result<Fjall> {
    let dir = data_dir.join("db");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let dir_text = data_dir.display();
    Fjall::open(&dir).map_err(|error| match error {
        StoreError::Locked { .. } => {
            anyhow::anyhow!("another server uses {dir_text}; stop it, or choose another --data-dir")
        }
        StoreError::Format { found, supported, .. } => anyhow::anyhow!(
            "{dir_text} was written by a newer version of knarr (format {found}, this one knows \
             {supported}); upgrade knarr, or choose another --data-dir"
        ),
        error => anyhow::anyhow!("cannot open {dir_text}: {error}"),
    })
}

struct Pki {
    ca: Authority,
    serving: Identity,
    kubelet_client: Identity,
    admin: Identity,
}

impl Pki {
    fn open(args: &ServerArgs) -> Result<Self> {
        let dir = args.data_dir.join("pki");
        let ca = Authority::open(&dir)?;
        let admin = Subject::client("kubernetes-admin", &["system:masters"]);
        let kubelet = Subject::client("kube-apiserver-kubelet-client", &["system:masters"]);
        Ok(Self {
            serving: ca.leaf(&dir, "apiserver", &serving_subject(args))?,
            kubelet_client: ca.leaf(&dir, "apiserver-kubelet-client", &kubelet)?,
            admin: ca.leaf(&dir, "admin", &admin)?,
            ca,
        })
    }

    fn joiner(&self, args: &ServerArgs) -> Result<Joiner> {
        let authority = Authority::open(&args.data_dir.join("pki"))?;
        Ok(Joiner {
            token: Token::open(&args.data_dir.join("token"), &authority)?,
            authority,
            cluster_cidr: args.cluster_cidr.to_string(),
            service_cidr: args.service_cidr.to_string(),
        })
    }

    fn write_kubeconfig(&self, args: &ServerArgs) -> Result<()> {
        let access = self.access(args);
        kubeconfig::write(&args.data_dir.join("admin.kubeconfig"), &access.to_value())
    }

    fn access(&self, args: &ServerArgs) -> Access {
        let ip = match args.bind_address.first() {
            Some(ip) if !ip.is_unspecified() => *ip,
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        Access {
            cluster: args.name.clone(),
            server: format!("https://{}", SocketAddr::new(ip, args.port)),
            ca: self.ca.certificate.clone(),
            admin: self.admin.clone(),
        }
    }
}

fn serving_subject(args: &ServerArgs) -> Subject {
    let service = ["", ".default", ".default.svc", ".default.svc.cluster.local"];
    let mut dns: Vec<String> = service.iter().map(|rest| format!("kubernetes{rest}")).collect();
    dns.push("localhost".into());
    let mut ips = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    ips.extend(args.service_cidr.nth(1).map(IpAddr::V4));
    ips.extend(args.bind_address.iter().filter(|ip| !ip.is_unspecified()));
    for san in &args.tls_san {
        match san.parse() {
            Ok(ip) => ips.push(ip),
            Err(_) => dns.push(san.clone()),
        }
    }
    ips.sort_unstable();
    ips.dedup();
    Subject::server("kube-apiserver", dns, ips)
}

/// The issuer of tokens. Its key is made beside everything else at the first start, since that takes longer than the start.
fn token_issuer(args: &ServerArgs, pki: &Pki) -> TokenIssuer {
    let jwks_uri = format!("{}/openid/v1/jwks", pki.access(args).server);
    let (issuer, slot) = TokenIssuer::new(DEFAULT_ISSUER, jwks_uri);
    let dir = args.data_dir.join("pki");
    tokio::task::spawn_blocking(move || match crate::pki::service_account_key(&dir) {
        Ok(key) => slot.set(key),
        Err(error) => tracing::error!(%error, "tokens of service accounts cannot be issued"),
    });
    issuer
}

fn config(
    args: &ServerArgs,
    pki: &Pki,
    store: Arc<Fjall>,
    token_issuer: TokenIssuer,
) -> Result<apiserver::Config> {
    if args.cluster_cidr.prefix > NODE_CIDR_PREFIX {
        bail!("--cluster-cidr {} is too small for a node's /{NODE_CIDR_PREFIX}", args.cluster_cidr);
    }
    let ca = crate::pki::certificates(&pki.ca.certificate)?;
    let x509 = authn::X509::new(apiserver::server::root_store(&ca)?)?;
    let (cert, key) = (pki.kubelet_client.certificates()?, pki.kubelet_client.private_key()?);
    Ok(apiserver::Config {
        store,
        authenticator: Arc::new(x509),
        authorizer: Arc::new(FixedPolicy),
        kubelet_client: Some(KubeletTls { ca, cert, key }),
        version: crate::version::info(),
        event_ttl: apiserver::DEFAULT_EVENT_TTL,
        service_cidr: apiserver::ServiceCidr {
            base: IpAddr::V4(args.service_cidr.address),
            prefix_len: args.service_cidr.prefix,
        },
        advertised: Some(apiserver::Advertised {
            address: args.advertise_address.or_else(|| advertised(&args.bind_address)),
            port: args.port,
        }),
        token_issuer: Some(token_issuer),
    })
}

/// The address by which others reach a server that listens on these: a certain one, else that of the way out.
fn advertised(listening: &[IpAddr]) -> Option<Ipv4Addr> {
    let certain = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(*ip),
        _ => None,
    };
    let everywhere = listening.iter().any(IpAddr::is_unspecified);
    let way_out = || if everywhere { outgoing_address() } else { None };
    listening.iter().find_map(certain).or_else(way_out)
}

/// The address of this machine that packets to elsewhere carry. Nothing is sent: connecting such a socket only chooses a route.
fn outgoing_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((ELSEWHERE, 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_address_is_one_that_others_can_reach() {
        let table: [(&[&str], Option<[u8; 4]>); 4] = [
            (&["127.0.0.1", "10.41.0.1"], Some([10, 41, 0, 1])),
            (&["0.0.0.0", "192.0.2.5"], Some([192, 0, 2, 5])),
            (&["127.0.0.1"], None),
            (&["2001:db8::1"], None),
        ];
        for (listening, expected) in table {
            let listening: Vec<IpAddr> =
                listening.iter().map(|ip| ip.parse().expect("an address")).collect();
            assert_eq!(advertised(&listening), expected.map(Ipv4Addr::from), "{listening:?}");
        }
    }
}
