//! Frames on the wire.
//!
//! Every frame begins with eight bytes. Control: a set bit, 15 bits version (3), 16 bits type. Data: a clear bit, 31 bits stream.
//! Then 8 bits flags and 24 bits length.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::headers::{HeaderDecoder, HeaderEncoder, Headers};

/// The largest frame accepted. Clients send 32 KiB at a time; the protocol would allow 16 MiB.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

const VERSION: u16 = 3;
const CONTROL_BIT: u32 = 1 << 31;
const STREAM_MASK: u32 = CONTROL_BIT - 1;
const FLAG_FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// The setting that announces how much the peer is ready to receive on a stream.
const SETTINGS_INITIAL_WINDOW_SIZE: u32 = 7;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Another version.
    #[error("SPDY version {0}")]
    Version(u16),
    /// A frame over the limit.
    #[error("SPDY frame of {0} bytes")]
    TooLarge(usize),
    /// A frame whose length does not fit its type.
    #[error("malformed SPDY frame of type {0}")]
    Malformed(u16),
    /// A header block that does not decompress.
    #[error("malformed SPDY header block")]
    Headers,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A new stream.
    SynStream {
        /// Its number, odd when the client opens it.
        stream: u32,
        /// Its headers.
        headers: Headers,
        /// The opener will send nothing.
        fin: bool,
    },
    /// The stream is accepted.
    SynReply {
        /// Its number.
        stream: u32,
        /// Answering headers.
        headers: Headers,
    },
    /// The stream is broken off.
    RstStream {
        /// Its number.
        stream: u32,
        /// Why; 1 is a protocol error, 3 a refusal, 5 a cancellation.
        status: u32,
    },
    /// Settings; only the initial window is of interest.
    Settings {
        /// The window the peer announces for new streams.
        initial_window: Option<u32>,
    },
    /// Is anybody there?
    Ping(u32),
    /// No new streams.
    GoAway {
        /// The last stream that was accepted.
        last_stream: u32,
    },
    /// More headers.
    Headers {
        /// The stream.
        stream: u32,
        /// Nothing more will come.
        fin: bool,
    },
    /// The peer is ready for more.
    WindowUpdate {
        /// The stream; 0 is the connection.
        stream: u32,
        /// How much more.
        delta: u32,
    },
    /// Data.
    Data {
        /// The stream.
        stream: u32,
        /// The data.
        data: Bytes,
        /// Nothing more will come.
        fin: bool,
    },
    /// A type this server has no use for.
    Unknown(u16),
}

/// Reads the next frame; `None` at the end of the connection.
///
/// # Errors
/// When the connection breaks or the peer does not keep to the protocol.
pub async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    decoder: &mut HeaderDecoder,
) -> Result<Option<Frame>, FrameError> {
    let first = match reader.read_u32().await {
        Ok(first) => first,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let second = reader.read_u32().await?;
    let (flags, length) = ((second >> 24) as u8, (second & 0x00ff_ffff) as usize);
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge(length));
    }
    let mut payload = BytesMut::zeroed(length);
    reader.read_exact(&mut payload).await?;
    let (payload, fin) = (payload.freeze(), flags & FLAG_FIN != 0);
    if first & CONTROL_BIT == 0 {
        return Ok(Some(Frame::Data { stream: first, data: payload, fin }));
    }
    let (version, kind) = (((first & STREAM_MASK) >> 16) as u16, (first & 0xffff) as u16);
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    control(kind, fin, payload, decoder).map(Some)
}

fn control(
    kind: u16,
    fin: bool,
    mut payload: Bytes,
    decoder: &mut HeaderDecoder,
) -> Result<Frame, FrameError> {
    let minimum = match kind {
        SYN_STREAM => 10,
        SYN_REPLY | HEADERS | SETTINGS | PING => 4,
        RST_STREAM | GOAWAY | WINDOW_UPDATE => 8,
        _ => 0,
    };
    if payload.len() < minimum {
        return Err(FrameError::Malformed(kind));
    }
    Ok(match kind {
        SYN_STREAM => {
            let stream = payload.get_u32() & STREAM_MASK;
            // The associated stream, the priority and the credential slot mean nothing here.
            payload.advance(6);
            Frame::SynStream { stream, headers: decoder.decode(&payload)?, fin }
        }
        SYN_REPLY => {
            let stream = payload.get_u32() & STREAM_MASK;
            Frame::SynReply { stream, headers: decoder.decode(&payload)? }
        }
        RST_STREAM => {
            Frame::RstStream { stream: payload.get_u32() & STREAM_MASK, status: payload.get_u32() }
        }
        SETTINGS => Frame::Settings { initial_window: initial_window(payload)? },
        PING => Frame::Ping(payload.get_u32()),
        GOAWAY => Frame::GoAway { last_stream: payload.get_u32() & STREAM_MASK },
        HEADERS => {
            let stream = payload.get_u32() & STREAM_MASK;
            decoder.decode(&payload)?;
            Frame::Headers { stream, fin }
        }
        WINDOW_UPDATE => Frame::WindowUpdate {
            stream: payload.get_u32() & STREAM_MASK,
            delta: payload.get_u32() & STREAM_MASK,
        },
        other => Frame::Unknown(other),
    })
}

fn initial_window(mut payload: Bytes) -> Result<Option<u32>, FrameError> {
    let count = payload.get_u32();
    let mut window = None;
    for _ in 0..count {
        let id = payload.try_get_u32().map_err(|_| FrameError::Malformed(SETTINGS))? & 0x00ff_ffff;
        let value = payload.try_get_u32().map_err(|_| FrameError::Malformed(SETTINGS))?;
        if id == SETTINGS_INITIAL_WINDOW_SIZE {
            window = Some(value);
        }
    }
    Ok(window)
}

/// The bytes of a frame.
pub fn write(frame: &Frame, encoder: &mut HeaderEncoder) -> BytesMut {
    match frame {
        Frame::SynStream { stream, headers, fin } => {
            let block = encoder.encode(headers);
            control_bytes(SYN_STREAM, *fin, |out| {
                out.put_u32(*stream);
                out.put_u32(0);
                out.put_u16(0);
                out.put_slice(&block);
            })
        }
        Frame::SynReply { stream, headers } => {
            let block = encoder.encode(headers);
            control_bytes(SYN_REPLY, false, |out| {
                out.put_u32(*stream);
                out.put_slice(&block);
            })
        }
        Frame::RstStream { stream, status } => pair(RST_STREAM, *stream, *status),
        Frame::Settings { initial_window } => control_bytes(SETTINGS, false, |out| {
            out.put_u32(u32::from(initial_window.is_some()));
            if let Some(window) = initial_window {
                out.put_u32(SETTINGS_INITIAL_WINDOW_SIZE);
                out.put_u32(*window);
            }
        }),
        Frame::Ping(id) => control_bytes(PING, false, |out| out.put_u32(*id)),
        Frame::GoAway { last_stream } => pair(GOAWAY, *last_stream, 0),
        Frame::Headers { stream, fin } => {
            let block = encoder.encode(&Headers::new());
            control_bytes(HEADERS, *fin, |out| {
                out.put_u32(*stream);
                out.put_slice(&block);
            })
        }
        Frame::WindowUpdate { stream, delta } => pair(WINDOW_UPDATE, *stream, *delta),
        Frame::Data { stream, data, fin } => {
            let mut out = BytesMut::with_capacity(8 + data.len());
            out.put_u32(*stream);
            out.put_u32(u32::from(*fin) << 24 | u32::try_from(data.len()).unwrap_or(0));
            out.put_slice(data);
            out
        }
        Frame::Unknown(kind) => control_bytes(*kind, false, |_| {}),
    }
}

fn pair(kind: u16, first: u32, second: u32) -> BytesMut {
    control_bytes(kind, false, |out| {
        out.put_u32(first);
        out.put_u32(second);
    })
}

fn control_bytes(kind: u16, fin: bool, body: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u32(CONTROL_BIT | u32::from(VERSION) << 16 | u32::from(kind));
    out.put_u32(0);
    body(&mut out);
    let length = u32::try_from(out.len() - 8).unwrap_or(0);
    out[4..8].copy_from_slice(&(u32::from(fin) << 24 | length).to_be_bytes());
    out
}
