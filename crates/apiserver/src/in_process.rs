//! The API without a network: a `tower` service over [`ApiServer::handle`], for `kube::Client` and tests.
//!
//! Counterpart in Kubernetes: the loopback client. Invariant: the same request path as over the network, authorization and
//! admission included; only authentication is replaced by the identity the transport was made with.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};

use crate::authn::UserInfo;
use crate::{ApiServer, Body, BodyError};

/// A transport to an API server in this process, with one identity.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<ApiServer>,
    user: UserInfo,
}

impl ApiServer {
    /// A transport whose requests are made by `user`.
    pub fn transport(self: &Arc<Self>, user: UserInfo) -> InProcess {
        InProcess { server: self.clone(), user }
    }
}

impl<B> tower_service::Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.server.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.user.clone());
        Box::pin(async move { Ok(server.handle(request).await) })
    }
}
