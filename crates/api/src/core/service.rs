//! Service.
use k8s_openapi::api::core::v1::Service;
use crate::strategy::{KindStrategy, spec_and_status};
impl KindStrategy for Service {
    const RETURNS_DELETED_OBJECT: bool = true;
    spec_and_status!();
}
