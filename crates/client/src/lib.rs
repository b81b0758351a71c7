//! What every component that talks to the API server is made of: connecting, informers, the work queue, the controller
//! driver, events. Counterpart in Kubernetes: client-go and controller-runtime.
//!
//! Invariants:
//! * A component sees the cluster only through [`Client`]; in-process transport and HTTPS are the same code.
//! * One process holds one decoded `Arc<K>` per object revision, however many controllers read it.
//! * A subscriber hears of every change of a key; changes it was too slow for are merged per key, never dropped.
//! * A key runs in one worker at a time, and not again before the caches have seen what its last run wrote.

pub mod backoff;
pub mod connect;
pub mod controller;
pub mod discovery;
pub mod error;
pub mod events;
pub mod informer;
pub mod request;
pub mod resource;
pub mod retry;
pub mod work_queue;

pub use connect::{ConnectError, Credentials, Endpoint, connect, connect_kubeconfig};
pub use controller::{Action, Caches, Controller, Plan, Watches};
pub use error::ApiErrorExt;
pub use events::{EventRecorder, EventType};
pub use informer::{Cache, Change, Informers};
pub use kube::{self, Api, Client, Error};
pub use resource::{Kind, ObjectKey, ResourceType, object_reference};
pub use retry::{apply_status, retry_on_conflict};
pub use tokio_util::sync::CancellationToken;
pub use work_queue::WorkQueue;
