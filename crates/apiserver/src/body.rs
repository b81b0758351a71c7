//! Bodies of requests and responses: one boxed type for the network, for in-process callers and for tests.
//!
//! Counterpart in Kubernetes: `net/http` bodies. Invariant: a body is a stream of frames; nothing here buffers one.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or a response.
#[derive(Debug)]
pub struct Body(UnsyncBoxBody<Bytes, BodyError>);

impl Body {
    /// Wraps any body.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        Self(body.map_err(Into::into).boxed_unsync())
    }

    /// A body without content.
    pub fn empty() -> Self {
        Self::new(Empty::new())
    }

    /// A body whose frames come from a stream.
    pub fn from_stream<S>(stream: S) -> Self
    where
        S: futures::Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        use futures::StreamExt as _;
        Self::new(http_body_util::StreamBody::new(stream.map(|chunk| chunk.map(Frame::data))))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(content: T) -> Self {
        Self::new(Full::new(content.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
