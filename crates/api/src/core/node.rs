//! Node.
use k8s_openapi::api::core::v1::Node;
use crate::strategy::{KindStrategy, spec_and_status};
impl KindStrategy for Node {
    const SCOPE: crate::kinds::Scope = crate::kinds::Scope::Cluster;
    const SELECTABLE: &[&str] = crate::fields::CLUSTER_METADATA;
    spec_and_status!();
}
