//! Interactive sessions: exec, attach and port-forward.
//!
//! Counterpart in Kubernetes: `cri-client`'s and `kubelet/pkg/cri/streaming` with `streaming/pkg/httpstream`. A session has two
//! ends. Toward the client it speaks WebSocket channels ([`websocket`]) or SPDY/3.1 ([`spdy`]); toward the runtime the framed
//! stream of [`runtime_stream`]. [`remote_command`] and [`port_forward`] join the two. Invariants: both directions have bounded
//! buffers, so a slow end slows the other; the end of one direction never ends the other; the exit status is the last thing sent.

pub mod port_forward;
pub mod remote_command;
pub mod runtime_stream;
pub mod spdy;
pub mod tunnel;
pub mod websocket;

use bytes::Bytes;

/// Pieces of data a session holds per direction before the sender has to wait.
pub const QUEUE: usize = 16;
/// The largest piece of output sent at once, as in Kubernetes.
pub const CHUNK_BYTES: usize = 32 << 10;

/// The parts of a remote command's conversation, with their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Channel {
    /// To the process.
    Stdin = 0,
    /// From the process.
    Stdout = 1,
    /// From the process.
    Stderr = 2,
    /// How it ended, as `metav1.Status`.
    Error = 3,
    /// Sizes of the terminal, as JSON `{"Width","Height"}`.
    Resize = 4,
}

impl Channel {
    /// The channel with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Channel::Stdin, Channel::Stdout, Channel::Stderr, Channel::Error, Channel::Resize]
            .into_iter()
            .find(|it| *it as u8 == number)
    }

    /// The channel with this SPDY `streamtype`.
    pub fn from_stream_type(name: &str) -> Option<Self> {
        match name {
            "stdin" => Some(Channel::Stdin),
            "stdout" => Some(Channel::Stdout),
            "stderr" => Some(Channel::Stderr),
            "error" => Some(Channel::Error),
            "resize" => Some(Channel::Resize),
            _ => None,
        }
    }
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Data for a channel.
    Data(Channel, Bytes),
    /// No more data will come for it.
    Close(Channel),
}
