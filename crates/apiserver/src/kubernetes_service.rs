//! The Service by which pods reach the API: `kubernetes` in namespace `default`, with its Endpoints and EndpointSlice.
//!
//! Counterpart in Kubernetes: `pkg/controlplane/controller/kubernetesservice` and `pkg/controlplane/reconcilers`.
//!
//! Invariants:
//! - The Service exists before the server serves, and again moments after somebody deleted it; what else somebody made of it
//!   stays.
//! - Endpoints and EndpointSlice name this server and nothing else: it is the only one over its store.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use api::kinds;
use apimachinery::object::KubeObject;
use apimachinery::status::StatusError;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointPort as SlicePort, EndpointSlice,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::de::DeserializeOwned;

use crate::config::ServiceCidr;
use crate::watch_cache::{Feed, Predicate};
use crate::{ApiServer, loopback};

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
const PORT: i32 = 443;
const PORT_NAME: &str = "https";
const PROTOCOL: &str = "TCP";
/// Tells that no EndpointSlice is to be made of these Endpoints.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
/// The Service an EndpointSlice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The pause after a failure, which doubles up to [`LONGEST_PAUSE`]. A deletion is seen before the address is free again,
/// so the first attempt after it may fail.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Kubernetes looks every 10 s.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where pods reach the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The address; without one the Service has no endpoints.
    pub address: Option<Ipv4Addr>,
    /// The port.
    pub port: u16,
}

/// Creates what is missing, and keeps it from then on, for as long as the server is.
pub(crate) async fn start(server: &Arc<ApiServer>, advertised: Advertised) {
    let wanted = Arc::new(Wanted::new(advertised, server.config().service_cidr));
    let feeds = Feeds::open(server);
    let first = wanted.ensure(server).await;
    tokio::spawn(keep(Arc::downgrade(server), wanted, feeds, first));
}

async fn keep(
    server: Weak<ApiServer>,
    wanted: Arc<Wanted>,
    mut feeds: Feeds,
    mut ensured: Result<(), StatusError>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        match &ensured {
            Ok(()) => {
                pause = FIRST_PAUSE;
                feeds.changed().await;
            }
            Err(error) => {
                tracing::warn!(%error, "the kubernetes Service is not as it should be");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        let Some(server) = server.upgrade() else { return };
        feeds = Feeds::open(&server);
        ensured = wanted.ensure(&server).await;
    }
}

/// The changes of the three objects.
struct Feeds(Vec<Feed>);

impl Feeds {
    fn open(server: &ApiServer) -> Self {
        let rows = [kinds::of::<Service>(), kinds::of::<Endpoints>(), kinds::of::<EndpointSlice>()];
        let feed = |row| {
            let predicate = Predicate::named(row, NAMESPACE, NAME);
            let cache = server.cache();
            Some(cache.of(row)?.subscribe_now(predicate, cache.applied()).1)
        };
        Self(rows.into_iter().filter_map(feed).collect())
    }

    /// Waits until one of the objects may have changed.
    async fn changed(&mut self) {
        let next = self.0.iter_mut().map(|feed| Box::pin(feed.next()));
        futures::future::select_all(next).await;
    }
}

/// The objects as they should be.
struct Wanted {
    service: Service,
    endpoints: Endpoints,
    slice: EndpointSlice,
}

impl Wanted {
    fn new(advertised: Advertised, cidr: ServiceCidr) -> Self {
        Self {
            service: service(advertised, cidr),
            endpoints: endpoints(advertised),
            slice: slice(advertised),
        }
    }

    async fn ensure(&self, server: &Arc<ApiServer>) -> Result<(), StatusError> {
        ensure(server, &self.service, |_| true).await?;
        ensure(server, &self.endpoints, |current| self.endpoints_are(current)).await?;
        ensure(server, &self.slice, |current| self.slice_is(current)).await
    }

    fn endpoints_are(&self, current: &Endpoints) -> bool {
        let wanted = &self.endpoints;
        current.subsets == wanted.subsets && current.metadata.labels == wanted.metadata.labels
    }

    fn slice_is(&self, current: &EndpointSlice) -> bool {
        let wanted = &self.slice;
        current.endpoints == wanted.endpoints
            && current.ports == wanted.ports
            && current.metadata.labels == wanted.metadata.labels
    }
}

/// Creates an object that is absent, and replaces one that is not `right`.
async fn ensure<K: KubeObject + Resource + DeserializeOwned>(
    server: &Arc<ApiServer>,
    wanted: &K,
    right: impl Fn(&K) -> bool,
) -> Result<(), StatusError> {
    match server.get_json(kinds::of::<K>(), NAMESPACE, NAME).await {
        Ok(json) => {
            let current: K = serde_json::from_slice(&json).map_err(StatusError::internal)?;
            if right(&current) { Ok(()) } else { loopback::update(server, wanted).await }
        }
        Err(error) if error.code() == http::StatusCode::NOT_FOUND.as_u16() => {
            loopback::create(server, wanted).await
        }
        Err(error) => Err(error),
    }
}

fn metadata(labels: &[(&str, &str)]) -> ObjectMeta {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ObjectMeta {
        name: Some(NAME.to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

fn service(advertised: Advertised, cidr: ServiceCidr) -> Service {
    let port = ServicePort {
        name: Some(PORT_NAME.to_owned()),
        port: PORT,
        protocol: Some(PROTOCOL.to_owned()),
        target_port: Some(IntOrString::Int(advertised.port.into())),
        ..ServicePort::default()
    };
    let spec = ServiceSpec {
        cluster_ip: first_address(cidr).map(|address| address.to_string()),
        ip_family_policy: Some("SingleStack".to_owned()),
        ports: Some(vec![port]),
        session_affinity: Some("None".to_owned()),
        type_: Some("ClusterIP".to_owned()),
        ..ServiceSpec::default()
    };
    let metadata = metadata(&[("component", "apiserver"), ("provider", NAME)]);
    Service { metadata, spec: Some(spec), ..Service::default() }
}

/// The first address of the range that a Service can have.
fn first_address(cidr: ServiceCidr) -> Option<IpAddr> {
    match cidr.base {
        IpAddr::V4(base) => Some(Ipv4Addr::from(u32::from(base) + 1).into()),
        IpAddr::V6(_) => None,
    }
}

fn endpoints(advertised: Advertised) -> Endpoints {
    let subset = |address: Ipv4Addr| EndpointSubset {
        addresses: Some(vec![EndpointAddress {
            ip: address.to_string(),
            ..EndpointAddress::default()
        }]),
        ports: Some(vec![EndpointPort {
            name: Some(PORT_NAME.to_owned()),
            port: advertised.port.into(),
            protocol: Some(PROTOCOL.to_owned()),
            ..EndpointPort::default()
        }]),
        ..EndpointSubset::default()
    };
    let subsets = advertised.address.map(|address| vec![subset(address)]);
    Endpoints { metadata: metadata(&[(SKIP_MIRROR, "true")]), subsets }
}

fn slice(advertised: Advertised) -> EndpointSlice {
    let endpoint = |address: Ipv4Addr| Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
        ..Endpoint::default()
    };
    let port = SlicePort {
        name: Some(PORT_NAME.to_owned()),
        port: Some(advertised.port.into()),
        protocol: Some(PROTOCOL.to_owned()),
        ..SlicePort::default()
    };
    EndpointSlice {
        metadata: metadata(&[(SERVICE_NAME, NAME)]),
        address_type: "IPv4".to_owned(),
        endpoints: Some(advertised.address.map(endpoint).into_iter().collect()),
        ports: Some(vec![port]),
    }
}
