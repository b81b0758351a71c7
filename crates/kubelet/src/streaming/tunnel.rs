//! A byte stream inside a WebSocket: `SPDY/3.1+portforward.k8s.io`, how kubectl has forwarded ports since 1.31.
//!
//! Counterpart in Kubernetes: `client-go/tools/portforward/tunneling_*.go` and the API server's tunneling handler. Every binary
//! message carries the next bytes of the stream; message boundaries mean nothing.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::tungstenite::Message;

use super::CHUNK_BYTES;
use super::websocket::{accept, farewell};

/// The subprotocol that tunnels port-forward.
pub const SUBPROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

/// The first of the client's subprotocols that tunnels a known protocol.
pub fn negotiate(offered: &[String]) -> Option<&str> {
    offered.iter().map(String::as_str).find(|name| *name == SUBPROTOCOL)
}

/// The stream inside an upgraded connection.
pub async fn open<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: T) -> DuplexStream {
    let (mut sink, mut source) = accept(io).await.split();
    let (inner, outer) = tokio::io::duplex(CHUNK_BYTES * 2);
    let (mut reader, mut writer) = tokio::io::split(outer);
    tokio::spawn(async move {
        while let Some(Ok(message)) = source.next().await {
            match message {
                Message::Binary(data) if writer.write_all(&data).await.is_ok() => {}
                Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_) => {}
                Message::Binary(_) | Message::Close(_) => break,
            }
        }
        // The inner end may have been dropped already.
        let _ = writer.shutdown().await;
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(read) = reader.read(&mut buffer).await
            && read > 0
        {
            if sink.send(Message::binary(buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
        // The client may be gone already.
        let _ = sink.send(farewell()).await;
    });
    inner
}
