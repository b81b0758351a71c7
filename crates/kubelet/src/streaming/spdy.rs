//! SPDY/3.1, the server's half, as far as Kubernetes' clients speak it.
//!
//! Follows draft-mbelshe-httpbis-spdy-00 (SPDY/3) with 3.1's session window. The peers are `kubectl` and client-go, whose library
//! (spdystream) has no flow control at all: it neither announces windows nor updates them. So a send window is kept only for a peer
//! that has announced one in SETTINGS; others are slowed by TCP. Received data is acknowledged with WINDOW_UPDATE as soon as it was
//! handed on, which spdystream ignores. Invariants: header blocks are (de)compressed in the order of the wire, whatever becomes of
//! their stream; SYN_REPLY precedes any data; at the end everything queued is written before the connection is closed.

mod connection;
pub(super) mod frame;
mod headers;
mod window;

pub use connection::{Connection, Stream, StreamReader, StreamWriter, serve};
pub use frame::{Frame, FrameError, MAX_FRAME_BYTES};
pub use headers::{HeaderDecoder, HeaderEncoder, Headers};

/// The protocol's name in `Upgrade`.
pub const PROTOCOL: &str = "SPDY/3.1";

#[cfg(test)]
mod tests;
