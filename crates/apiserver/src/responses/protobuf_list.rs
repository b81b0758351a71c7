//! The body of a list in protobuf, written item by item while it is sent.
//!
//! Counterpart in Kubernetes: the streaming encoder of collections. Protobuf says how long a list is before it begins, so
//! every item is measured first; items remember their length. Invariant: no more than one chunk is in memory besides
//! the objects of the watch cache.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::schema::protobuf::{self, ListFrame};
use apimachinery::status::StatusError;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};

use super::{unencodable, with_body};
use crate::Body;
use crate::body::BodyError;
use crate::negotiation::MetaVersion;
use crate::storage::Encoded;
use crate::table;

/// As large as the chunks of JSON lists, for the same reasons.
const CHUNK_BYTES: usize = 64 * 1024;
/// So many items are measured before other requests get their turn; each takes some ten microseconds.
const MEASURED_AT_ONCE: usize = 64;

/// What is shown of each item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Items {
    /// All of it.
    Whole,
    /// Its metadata.
    Metadata,
}

impl Items {
    fn write(self, item: &Encoded) -> Result<Vec<u8>, StatusError> {
        match self {
            Self::Whole => item.protobuf_item(),
            // An item does not say its type, so the version does not matter.
            Self::Metadata => protobuf::encode_item(&table::partial(item, MetaVersion::V1)?),
        }
        .map_err(|error| unencodable(&error))
    }

    fn measure(self, item: &Encoded) -> Result<usize, StatusError> {
        match self {
            Self::Whole => item.protobuf_bytes().map_err(|error| unencodable(&error)),
            Self::Metadata => self.write(item).map(|bytes| bytes.len()),
        }
    }
}

/// The body of a list in protobuf.
pub(crate) struct ProtobufList {
    frame: ListFrame,
    shown: Items,
    items: std::vec::IntoIter<Arc<Encoded>>,
    remaining: u64,
}

impl ProtobufList {
    /// A list with this head, the beginning of its JSON up to the items.
    ///
    /// # Errors
    /// `NotAcceptable` for a list that has no protobuf form; `InternalError` for an object that is not of its kind's types.
    pub(crate) async fn respond(
        head: &[u8],
        items: Vec<Arc<Encoded>>,
        shown: Items,
    ) -> Result<Response<Body>, StatusError> {
        let list = Self::measured(head, items, shown).await?;
        Ok(with_body(StatusCode::OK, protobuf::MEDIA_TYPE, Body::new(list)))
    }

    async fn measured(
        head: &[u8],
        items: Vec<Arc<Encoded>>,
        shown: Items,
    ) -> Result<Self, StatusError> {
        let mut lengths = Vec::with_capacity(items.len());
        for some in items.chunks(MEASURED_AT_ONCE) {
            for item in some {
                lengths.push(shown.measure(item)?);
            }
            tokio::task::yield_now().await;
        }
        let head = [head, b"]}"].concat();
        let frame =
            ListFrame::new(&head, lengths.into_iter()).map_err(|error| unencodable(&error))?;
        let remaining = frame.total_bytes();
        Ok(Self { frame, shown, items: items.into_iter(), remaining })
    }

    fn chunk(&mut self) -> Result<Option<Bytes>, StatusError> {
        let mut chunk = std::mem::take(&mut self.frame.before);
        while chunk.len() < CHUNK_BYTES {
            let Some(item) = self.items.next() else {
                chunk.append(&mut self.frame.after);
                break;
            };
            self.frame.item(&mut chunk, &self.shown.write(&item)?);
        }
        self.remaining = self.remaining.saturating_sub(chunk.len() as u64);
        Ok((!chunk.is_empty()).then(|| chunk.into()))
    }
}

impl http_body::Body for ProtobufList {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let chunk = self.chunk().map_err(BodyError::from);
        Poll::Ready(chunk.transpose().map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
