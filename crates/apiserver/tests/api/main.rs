//! The API in process, over the in-memory store: requests in, statuses and objects out.

mod applies;
mod deletes;
mod edge;
mod errors;
mod events;
mod kinds;
mod kubernetes_service;
mod lists;
mod namespaces;
mod node_ports;
mod nodes;
mod patches;
mod protobuf;
mod races;
mod support;
mod tokens;
mod versions;
mod watches;
mod writes;
