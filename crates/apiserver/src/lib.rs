//! The API server: authenticate → authorize → limit → decode → default → mutate → validate → admit → store → encode.
//!
//! Counterpart in Kubernetes: `kube-apiserver` (`k8s.io/apiserver` and `pkg/registry`).

pub mod authn;
pub mod authz;
