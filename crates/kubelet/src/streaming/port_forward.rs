//! Forwarding of TCP connections to a pod's ports.
//!
//! Counterpart in Kubernetes: `cri/streaming/portforward`. A client opens two SPDY streams per connection, `error` and `data`, with
//! the same `requestid`; each pair becomes one session with the runtime. Invariant: one broken connection harms no other.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use super::Channel;
use super::runtime_stream::{FrameReader, FrameWriter, RuntimeStream};
use super::spdy::{self, Stream, StreamReader, StreamWriter};

/// The only version there is.
pub const PROTOCOL: &str = "portforward.k8s.io";
/// Pairs of which only one stream has come yet.
const MAX_HALF_PAIRS: usize = 256;

/// Opens connections to a pod's ports.
#[async_trait::async_trait]
pub trait Forwarder: Send + Sync + 'static {
    /// A session in which standard input and output are the connection.
    async fn open(&self, port: u16) -> io::Result<RuntimeStream>;
    /// The pod, for messages.
    fn pod(&self) -> String;
}

#[derive(Default)]
struct Pair {
    data: Option<Stream>,
    error: Option<Stream>,
}

/// Serves an upgraded connection until the client closes it.
pub async fn serve<T: AsyncRead + AsyncWrite + Send + 'static>(
    io: T,
    forwarder: Arc<dyn Forwarder>,
) {
    let mut connection = spdy::serve(io);
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    let mut running = JoinSet::new();
    while let Some(stream) = connection.accept().await {
        while running.try_join_next().is_some() {}
        let header = |name: &str| stream.headers.get(name).cloned().unwrap_or_default();
        let (id, kind, port) = (header("requestid"), header("streamtype"), header("port"));
        let pair = pairs.entry(id.clone()).or_default();
        match kind.as_str() {
            "data" => pair.data = Some(stream),
            "error" => pair.error = Some(stream),
            other => tracing::debug!(
                kind = other,
                "stream of a port-forward that is neither data nor error"
            ),
        }
        if let Pair { data: Some(_), error: Some(_) } = pair
            && let Some(Pair { data: Some(data), error: Some(error) }) = pairs.remove(&id)
        {
            running.spawn(forward(data, error, port, forwarder.clone()));
        }
        if pairs.len() > MAX_HALF_PAIRS {
            break;
        }
    }
    // Connections under way end with the client.
    running.shutdown().await;
    connection.close().await;
}

async fn forward(data: Stream, mut error: Stream, port: String, forwarder: Arc<dyn Forwarder>) {
    let Stream { reader, mut writer, .. } = data;
    let failure = connect_and_copy(reader, &mut writer, &port, forwarder.as_ref()).await.err();
    if let Some(failure) = failure {
        let text = format!("error forwarding port {port} to pod {}: {failure}", forwarder.pod());
        // The client may have closed its side, then nobody reads the message.
        let _ = error.writer.write(text.into()).await;
    }
    let _ = error.writer.finish().await;
    let _ = writer.finish().await;
}

async fn connect_and_copy(
    reader: StreamReader,
    writer: &mut StreamWriter,
    port: &str,
    forwarder: &dyn Forwarder,
) -> io::Result<()> {
    let invalid = || {
        io::Error::new(io::ErrorKind::InvalidInput, format!("unable to parse \"{port}\" as a port"))
    };
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(invalid)?;
    let runtime = forwarder.open(port).await?;
    let mut writer_to_pod = runtime.writer;
    let upward = carry_up(reader, &mut writer_to_pod);
    // The end of one direction is not the end of the other, and the runtime takes a closed socket for a client that is gone: so
    // what leads to the pod stays open until all that comes from it has been passed on.
    tokio::select! {
        result = carry_down(runtime.reader, writer) => result,
        result = async {
            upward.await?;
            std::future::pending().await
        } => result,
    }
}

async fn carry_up<W: AsyncWrite + Unpin>(
    mut reader: StreamReader,
    writer: &mut FrameWriter<W>,
) -> io::Result<()> {
    while let Some(data) = reader.next().await {
        writer.data(Channel::Stdin as u8, &data).await?;
    }
    writer.close(Channel::Stdin as u8).await
}

async fn carry_down<R: AsyncRead + Unpin>(
    mut reader: FrameReader<R>,
    writer: &mut StreamWriter,
) -> io::Result<()> {
    let mut failure: Option<Bytes> = None;
    while let Some(frame) = reader.next().await? {
        match Channel::from_number(frame.channel) {
            Some(Channel::Stdout) if !frame.payload.is_empty() => {
                writer.write(frame.payload).await?
            }
            Some(Channel::Stdout) => writer.finish().await?,
            Some(Channel::Error) if !frame.payload.is_empty() => failure = Some(frame.payload),
            _ => {}
        }
    }
    match failure.as_deref().and_then(failure_text) {
        Some(text) => Err(io::Error::other(text)),
        None => Ok(()),
    }
}

/// The message of a status that is a failure.
fn failure_text(status: &[u8]) -> Option<String> {
    match serde_json::from_slice::<serde_json::Value>(status) {
        Ok(status) if status["status"] == "Success" => None,
        Ok(status) => {
            Some(status["message"].as_str().map_or_else(|| status.to_string(), str::to_owned))
        }
        Err(_) => Some(String::from_utf8_lossy(status).into_owned()),
    }
}

#[cfg(test)]
mod tests;
