//! Remote commands over WebSocket: `v5.channel.k8s.io`, `v4.channel.k8s.io`, their base64 form and the unversioned protocols.
//!
//! Counterpart in Kubernetes: `streaming/pkg/httpstream/wsstream` and `cri/streaming/remotecommand/websocket.go`. Every message
//! begins with its channel; in v5 the message `255 CHANNEL` closes one. Invariants: an unknown channel ends nothing, it is skipped;
//! the first message tells the client that the session is open.

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::remote_command::{ClientOutput, ClientSession, Streams, final_text};
use super::{CHUNK_BYTES, Channel, Incoming, QUEUE};

/// The largest message accepted; clients send 32 KiB at a time.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// How long to wait for the client to close after us.
const LINGER: Duration = Duration::from_secs(5);
/// The channel byte that closes a channel in v5.
const CLOSE_SIGNAL: u8 = 255;

/// A subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subprotocol {
    /// Its name in `Sec-WebSocket-Protocol`; empty when the client named none.
    pub name: &'static str,
    base64: bool,
    closes_channels: bool,
    json_status: bool,
}

const fn subprotocol(
    name: &'static str,
    base64: bool,
    closes_channels: bool,
    json_status: bool,
) -> Subprotocol {
    Subprotocol { name, base64, closes_channels, json_status }
}

/// All subprotocols of remote commands.
pub const SUBPROTOCOLS: [Subprotocol; 6] = [
    subprotocol("v5.channel.k8s.io", false, true, true),
    subprotocol("v4.channel.k8s.io", false, false, true),
    subprotocol("v4.base64.channel.k8s.io", true, false, true),
    subprotocol("base64.v4.channel.k8s.io", true, false, true),
    subprotocol("channel.k8s.io", false, false, false),
    subprotocol("base64.channel.k8s.io", true, false, false),
];

/// The first of the client's protocols that is known; one without a name when it names none.
pub fn negotiate(offered: &[String]) -> Option<Subprotocol> {
    if offered.is_empty() {
        return Some(subprotocol("", false, false, false));
    }
    offered.iter().find_map(|name| SUBPROTOCOLS.into_iter().find(|known| known.name == name))
}

impl Subprotocol {
    /// What a message means; `None` when it means nothing.
    fn decode(self, message: &[u8]) -> Option<Incoming> {
        let (&first, rest) = message.split_first()?;
        if self.closes_channels && first == CLOSE_SIGNAL {
            return rest.first().copied().and_then(Channel::from_number).map(Incoming::Close);
        }
        if self.base64 {
            let channel = Channel::from_number(first.checked_sub(b'0')?)?;
            return Some(Incoming::Data(channel, BASE64.decode(rest).ok()?.into()));
        }
        Some(Incoming::Data(Channel::from_number(first)?, Bytes::copy_from_slice(rest)))
    }

    fn encode(self, channel: Channel, data: &[u8]) -> Message {
        let mut message = BytesMut::with_capacity(data.len() + 1);
        if self.base64 {
            message.extend_from_slice(&[b'0' + channel as u8]);
            message.extend_from_slice(BASE64.encode(data).as_bytes());
            let text = String::from_utf8(message.to_vec()).unwrap_or_default();
            return Message::text(text);
        }
        message.extend_from_slice(&[channel as u8]);
        message.extend_from_slice(data);
        Message::Binary(message.freeze())
    }
}

/// A close with a status: clients of Go take one without for a broken connection.
pub(super) fn farewell() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() }))
}

/// The server's end of an upgraded connection.
pub async fn accept<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> WebSocketStream<T> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// Turns an upgraded connection into a session.
///
/// # Errors
/// When the client is already gone.
pub async fn session<T>(io: T, protocol: Subprotocol, streams: Streams) -> io::Result<ClientSession>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, source) = accept(io).await.split();
    let (sender, incoming) = mpsc::channel(QUEUE);
    let (gone, over) = (CancellationToken::new(), CancellationToken::new());
    let reading = read_all(source, protocol, streams, sender, gone.clone());
    let ends = over.clone();
    tokio::spawn(async move { ends.run_until_cancelled(reading).await });
    let mut output = Output { sink, protocol, gone: gone.clone(), _over: over.drop_guard() };
    let first = if streams.stdout {
        Channel::Stdout
    } else if streams.stderr {
        Channel::Stderr
    } else {
        Channel::Error
    };
    output.send(protocol.encode(first, &[])).await?;
    Ok(ClientSession { incoming, output: Box::new(output), gone })
}

async fn read_all<T: AsyncRead + AsyncWrite + Unpin>(
    mut source: SplitStream<WebSocketStream<T>>,
    protocol: Subprotocol,
    streams: Streams,
    sender: mpsc::Sender<Incoming>,
    gone: CancellationToken,
) {
    while let Some(Ok(message)) = source.next().await {
        let data = match &message {
            Message::Binary(data) => data.as_ref(),
            Message::Text(text) => text.as_bytes(),
            Message::Close(_) => break,
            _ => continue,
        };
        let Some(incoming) = protocol.decode(data).filter(|incoming| streams.takes(incoming))
        else {
            continue;
        };
        // When the session is over the rest is only read to see the client's farewell.
        let _ = sender.send(incoming).await;
    }
    gone.cancel();
}

struct Output<T> {
    sink: SplitSink<WebSocketStream<T>, Message>,
    protocol: Subprotocol,
    gone: CancellationToken,
    /// Ends the reading task, so that a client that never closes holds no connection.
    _over: DropGuard,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Output<T> {
    async fn send(&mut self, message: Message) -> io::Result<()> {
        self.sink.send(message).await.map_err(to_io)
    }
}

pub(super) fn to_io(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[async_trait::async_trait]
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> ClientOutput for Output<T> {
    async fn data(&mut self, channel: Channel, data: Bytes) -> io::Result<()> {
        for piece in data.chunks(CHUNK_BYTES) {
            self.send(self.protocol.encode(channel, piece)).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>, status: &serde_json::Value) -> io::Result<()> {
        if let Some(text) = final_text(status, self.protocol.json_status) {
            self.send(self.protocol.encode(Channel::Error, text.as_bytes())).await?;
        }
        self.send(farewell()).await?;
        // Past the deadline the client loses nothing: it has had its time to read.
        let _ = tokio::time::timeout(LINGER, self.gone.cancelled()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Subprotocol {
        negotiate(&[name.to_owned()]).expect("known")
    }

    #[test]
    fn first_known_protocol_wins() {
        let offered =
            |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(
            negotiate(&offered(&["x", "v4.channel.k8s.io", "v5.channel.k8s.io"])).map(|it| it.name),
            Some("v4.channel.k8s.io")
        );
        assert_eq!(negotiate(&[]).map(|it| it.name), Some(""));
        assert_eq!(negotiate(&offered(&["x"])), None);
    }

    #[test]
    fn messages_begin_with_their_channel() {
        let v5 = named("v5.channel.k8s.io");
        assert_eq!(
            v5.decode(b"\0abc"),
            Some(Incoming::Data(Channel::Stdin, Bytes::from_static(b"abc")))
        );
        assert_eq!(v5.decode(&[255, 0]), Some(Incoming::Close(Channel::Stdin)));
        assert_eq!(v5.decode(&[9, 0]), None);
        assert_eq!(v5.decode(b""), None);
        assert_eq!(named("v4.channel.k8s.io").decode(&[255, 0]), None);
        assert_eq!(v5.encode(Channel::Stderr, b"x"), Message::Binary(Bytes::from_static(b"\x02x")));
        let base64 = named("base64.channel.k8s.io");
        assert_eq!(
            base64.decode(b"0Zm9vCg=="),
            Some(Incoming::Data(Channel::Stdin, Bytes::from_static(b"foo\n")))
        );
        assert_eq!(base64.encode(Channel::Stdout, b"\n"), Message::text("1Cg=="));
    }
}
