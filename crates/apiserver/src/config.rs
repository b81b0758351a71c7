//! What an API server is started with.
//!
//! Counterpart in Kubernetes: `k8s.io/apiserver/pkg/server.Config`. Everything that comes from outside stands here;
//! nothing else in this crate reads the environment, files or the command line.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::version::Info;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use store::Store;

use crate::authn::Authenticator;
use crate::authz::Authorizer;
use crate::kubernetes_service::Advertised;
use crate::service_account::TokenIssuer;

/// How the API server proves itself to kubelets, and knows them.
#[derive(Debug)]
pub struct KubeletTls {
    /// Authorities that sign the kubelets' serving certificates.
    pub ca: Vec<CertificateDer<'static>>,
    /// The client certificate and its chain.
    pub cert: Vec<CertificateDer<'static>>,
    /// The key of the client certificate.
    pub key: PrivateKeyDer<'static>,
}

/// The range Services get their cluster addresses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceCidr {
    /// The first address of the range.
    pub base: IpAddr,
    /// How many leading bits are fixed.
    pub prefix_len: u8,
}

/// Everything an API server needs to start.
pub struct Config {
    /// Where objects live.
    pub store: Arc<dyn Store>,
    /// Who a request comes from.
    pub authenticator: Arc<dyn Authenticator>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// How to reach kubelets for logs and exec; `None` refuses those with `ServiceUnavailable`.
    pub kubelet_client: Option<KubeletTls>,
    /// What `/version` answers.
    pub version: Info,
    /// How long an Event object lives after its last write.
    pub event_ttl: Duration,
    /// The range Services get their cluster addresses from.
    pub service_cidr: ServiceCidr,
    /// Where pods reach this server: what the `kubernetes` Service leads to. `None` makes no such Service.
    pub advertised: Option<Advertised>,
    /// Who issues tokens of ServiceAccounts; `None` when nobody does.
    pub token_issuer: Option<TokenIssuer>,
}

/// Kubernetes' default of `--event-ttl`.
pub const DEFAULT_EVENT_TTL: Duration = Duration::from_secs(3600);

/// The cluster's service range unless another one is configured.
pub const DEFAULT_SERVICE_CIDR: ServiceCidr =
    ServiceCidr { base: IpAddr::V4(std::net::Ipv4Addr::new(10, 43, 0, 0)), prefix_len: 16 };
