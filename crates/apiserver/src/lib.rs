//! The API server: authenticate → authorize → limit → decode → default → mutate → validate → admit → store → encode.
//!
//! Counterpart in Kubernetes: `kube-apiserver` (`k8s.io/apiserver` and `pkg/registry`).
//!
//! Invariants:
//! - [`ApiServer::handle`] is the only way to the objects, for the network and for in-process clients alike.
//! - Every endpoint is written once, generic over a row of the kind table ([`api::kinds`]).
//! - Reads are stored bytes from the [`watch_cache`]; they neither decode nor encode objects.
//! - Exactly one place ([`responses`]) turns an error into an HTTP response.

pub mod admission;
pub mod authn;
pub mod authz;
mod body;
mod bootstrap;
mod config;
pub mod discovery;
mod endpoints;
mod filters;
pub mod health;
pub mod in_process;
mod kubernetes_service;
mod loopback;
pub mod metrics;
pub mod negotiation;
mod node_port;
pub mod node_proxy;
pub mod openapi;
pub mod request_info;
mod reservations;
pub mod responses;
pub mod server;
pub mod service_account;
mod service_ip;
pub mod storage;
pub mod table;
pub mod watch_cache;

pub use body::{Body, BodyError};
pub use config::{Config, DEFAULT_EVENT_TTL, DEFAULT_SERVICE_CIDR, KubeletTls, ServiceCidr};
pub use filters::{ApiServer, StartError};
pub use kubernetes_service::Advertised;
