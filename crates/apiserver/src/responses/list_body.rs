//! The body of a list, made of stored bytes while it is sent.
//!
//! Counterpart in Kubernetes: the streaming list encoders. Invariant: no more than one chunk of it is in memory besides the
//! objects of the watch cache.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use crate::storage::Encoded;

/// Items are copied into chunks of at least this size: large enough for TLS and HTTP/2 to be efficient, small enough for a
/// slow reader to hold little memory.
const CHUNK_BYTES: usize = 64 * 1024;

/// The body of a list.
pub(crate) struct ListBody {
    head: Bytes,
    items: std::vec::IntoIter<Arc<Encoded>>,
    first: bool,
    remaining: u64,
    done: bool,
}

const TAIL: &[u8] = b"]}\n";

impl ListBody {
    /// A list with this head, which ends with `"items":[`.
    pub(crate) fn new(head: Bytes, items: Vec<Arc<Encoded>>) -> Self {
        let commas = items.len().saturating_sub(1);
        let content: usize = items.iter().map(|item| 1 + item.item_tail().len()).sum();
        let remaining = (head.len() + content + commas + TAIL.len()) as u64;
        Self { head, items: items.into_iter(), first: true, remaining, done: false }
    }

    /// All of it at once.
    pub(crate) fn collect(mut self) -> Bytes {
        let mut all = BytesMut::with_capacity(usize::try_from(self.remaining).unwrap_or(0));
        while let Some(chunk) = self.chunk() {
            all.extend_from_slice(&chunk);
        }
        all.freeze()
    }

    fn chunk(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut chunk = BytesMut::with_capacity(wanted + CHUNK_BYTES / 16);
        chunk.extend_from_slice(&std::mem::take(&mut self.head));
        while chunk.len() < CHUNK_BYTES {
            let Some(item) = self.items.next() else {
                chunk.extend_from_slice(TAIL);
                self.done = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                chunk.extend_from_slice(b",");
            }
            chunk.extend_from_slice(b"{");
            chunk.extend_from_slice(item.item_tail());
        }
        self.remaining = self.remaining.saturating_sub(chunk.len() as u64);
        Some(chunk.freeze())
    }
}

impl http_body::Body for ListBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.chunk().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
