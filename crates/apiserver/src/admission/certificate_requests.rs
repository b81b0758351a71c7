//! A signing request says who asks; the server knows that better than the one who asks.
//!
//! Counterpart in Kubernetes: what `pkg/registry/certificates/certificates` takes from the request's context on create.

use apimachinery::status::StatusError;
use async_trait::async_trait;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{Creation, Plugin};
use crate::authn::UserInfo;

pub(super) struct CertificateRequests;

#[async_trait]
impl Plugin for CertificateRequests {
    async fn create(&self, creation: &mut Creation<'_>) -> Result<(), StatusError> {
        let UserInfo { name, uid, groups, extra } = creation.user.clone();
        if let Some(request) = creation.typed::<CertificateSigningRequest>() {
            let spec = &mut request.spec;
            spec.username = Some(name).filter(|name| !name.is_empty());
            spec.uid = Some(uid).filter(|uid| !uid.is_empty());
            spec.groups = Some(groups).filter(|groups| !groups.is_empty());
            spec.extra = Some(extra).filter(|extra| !extra.is_empty());
        }
        Ok(())
    }
}
