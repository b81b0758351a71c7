//! Joins a client's session with the runtime's: exec and attach.
//!
//! Counterpart in Kubernetes: `cri/streaming/remotecommand`. Invariants: closing standard input ends nothing else; everything the
//! process has written reaches the client before its status does.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::runtime_stream::{FrameReader, FrameWriter, RuntimeStream};
use super::spdy;
use super::{Channel, Incoming, QUEUE};

/// How long a client may take to open the streams it has asked for, as in Kubernetes.
const STREAM_CREATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Sizes that wait for being complete; one is thirty bytes.
const MAX_RESIZE_BYTES: usize = 4 << 10;
/// The longest status the runtime may send.
const MAX_STATUS_BYTES: usize = 64 << 10;

/// SPDY's `X-Stream-Protocol-Version`s, the newest first.
pub const SPDY_PROTOCOLS: [&str; 4] =
    ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/// The parts of the conversation a client has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// It sends input.
    pub stdin: bool,
    /// It wants the output.
    pub stdout: bool,
    /// It wants the error output.
    pub stderr: bool,
    /// It has a terminal.
    pub tty: bool,
}

impl Streams {
    pub(super) fn takes(self, incoming: &Incoming) -> bool {
        match incoming {
            Incoming::Data(Channel::Stdin, _) | Incoming::Close(Channel::Stdin) => self.stdin,
            Incoming::Data(Channel::Resize, _) => self.tty,
            _ => false,
        }
    }
}

/// Takes what goes to the client.
#[async_trait::async_trait]
pub trait ClientOutput: Send {
    /// Sends data on a channel.
    async fn data(&mut self, channel: Channel, data: Bytes) -> io::Result<()>;
    /// Sends the status and closes the session.
    async fn finish(self: Box<Self>, status: &Value) -> io::Result<()>;
}

/// A client's end of a session.
pub struct ClientSession {
    /// What it sends; ends when it is gone.
    pub incoming: mpsc::Receiver<Incoming>,
    /// What it gets.
    pub output: Box<dyn ClientOutput>,
    /// Cancelled when it is gone.
    pub gone: CancellationToken,
}

/// What the last message on the error channel says: the status itself, or in old protocols its text if it is a failure.
pub fn final_text(status: &Value, json: bool) -> Option<String> {
    if json {
        return Some(status.to_string());
    }
    let failed = status["status"] != "Success";
    failed.then(|| status["message"].as_str().unwrap_or("command failed").to_owned())
}

/// The status of a session the runtime has broken off.
pub fn internal_error(message: &str) -> Value {
    let text = format!("Internal error occurred: {message}");
    json!({
        "metadata": {}, "status": "Failure", "message": text, "reason": "InternalError",
        "details": {"causes": [{"message": message}]}, "code": 500,
    })
}

/// The status of a session that ended well.
pub fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

/// Whether a session that ends without a status has ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutStatus {
    /// Exec: the exit code is missing.
    IsFailure,
    /// Attach: the container may have ended, or not.
    IsSuccess,
}

/// Carries everything between the two ends until the process has ended or the client is gone.
pub async fn run(client: ClientSession, runtime: RuntimeStream, without_status: WithoutStatus) {
    let ClientSession { incoming, mut output, gone } = client;
    let input = tokio::spawn(carry_input(incoming, runtime.writer));
    let ended = tokio::select! {
        ended = carry_output(runtime.reader, output.as_mut()) => Some(ended),
        () = gone.cancelled() => None,
    };
    match ended {
        Some(ended) => {
            let status = match ended {
                Ok(Some(status)) => status,
                Ok(None) if without_status == WithoutStatus::IsSuccess => success(),
                Ok(None) => internal_error("the runtime ended the session without an exit status"),
                Err(error) => internal_error(&error.to_string()),
            };
            if let Err(error) = output.finish(&status).await {
                tracing::debug!(%error, "the client left before it had the status");
            }
        }
        None => tracing::debug!("the client left before the process ended"),
    }
    // Input the process has not taken is of no use now; the runtime sees the closed socket.
    input.abort();
}

async fn carry_input<W: AsyncWrite + Unpin>(
    mut incoming: mpsc::Receiver<Incoming>,
    mut writer: FrameWriter<W>,
) -> io::Result<()> {
    let mut sizes = BytesMut::new();
    while let Some(message) = incoming.recv().await {
        match message {
            Incoming::Data(Channel::Resize, data) => {
                sizes.extend_from_slice(&data);
                for size in complete_sizes(&mut sizes) {
                    writer.data(Channel::Resize as u8, size.to_string().as_bytes()).await?;
                }
            }
            Incoming::Data(channel, data) => writer.data(channel as u8, &data).await?,
            Incoming::Close(channel) => writer.close(channel as u8).await?,
        }
    }
    writer.shutdown().await
}

/// Takes whole JSON values from the front of `buffer`; what is left is the start of the next.
fn complete_sizes(buffer: &mut BytesMut) -> Vec<Value> {
    let (sizes, consumed) = {
        let mut parser = serde_json::Deserializer::from_slice(buffer).into_iter::<Value>();
        let mut sizes = Vec::new();
        while let Some(Ok(size)) = parser.next() {
            sizes.push(size);
        }
        (sizes, parser.byte_offset())
    };
    let _ = buffer.split_to(consumed);
    if buffer.len() > MAX_RESIZE_BYTES {
        buffer.clear();
    }
    sizes
}

async fn carry_output<R: AsyncRead + Unpin>(
    mut reader: FrameReader<R>,
    output: &mut dyn ClientOutput,
) -> io::Result<Option<Value>> {
    let mut status = BytesMut::new();
    while let Some(frame) = reader.next().await? {
        match Channel::from_number(frame.channel) {
            Some(channel @ (Channel::Stdout | Channel::Stderr)) if !frame.payload.is_empty() => {
                output.data(channel, frame.payload).await?;
            }
            Some(Channel::Error) if status.len() + frame.payload.len() <= MAX_STATUS_BYTES => {
                status.extend_from_slice(&frame.payload)
            }
            _ => {}
        }
    }
    Ok(serde_json::from_slice(&status).ok())
}

/// The first of the client's SPDY protocols that is known; the oldest when it names none.
pub fn negotiate_spdy(offered: &[String]) -> Option<&'static str> {
    if offered.is_empty() {
        return Some(SPDY_PROTOCOLS[3]);
    }
    offered.iter().find_map(|name| SPDY_PROTOCOLS.into_iter().find(|known| known == name))
}

/// Turns an upgraded SPDY connection into a session, once the client has opened the streams it has asked for.
///
/// # Errors
/// When it does not open them in time.
pub async fn spdy_session<T>(io: T, protocol: &str, streams: Streams) -> io::Result<ClientSession>
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut connection = spdy::serve(io);
    let resizes = streams.tty && matches!(protocol, "v4.channel.k8s.io" | "v3.channel.k8s.io");
    let wanted = [
        (Channel::Error, true),
        (Channel::Stdin, streams.stdin),
        (Channel::Stdout, streams.stdout),
        (Channel::Stderr, streams.stderr && !streams.tty),
        (Channel::Resize, resizes),
    ];
    let wanted: Vec<_> =
        wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(channel, _)| channel).collect();
    let opened =
        tokio::time::timeout(STREAM_CREATION_TIMEOUT, open_streams(&mut connection, &wanted)).await;
    let timed_out = || {
        io::Error::new(io::ErrorKind::TimedOut, "timed out waiting for client to create streams")
    };
    let opened = opened.map_err(|_| timed_out())?;
    let Some(opened) = opened else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    let (sender, incoming) = mpsc::channel(QUEUE);
    // Of all streams this side is finished only at the end: a client that sees the end of its standard input stops sending.
    let mut writers = BTreeMap::new();
    for (channel, spdy::Stream { reader, writer, .. }) in opened {
        writers.insert(channel, writer);
        if matches!(channel, Channel::Stdin | Channel::Resize) {
            tokio::spawn(read_stream(channel, reader, sender.clone()));
        }
    }
    let gone = CancellationToken::new();
    if let Some(error) = writers.get(&Channel::Error) {
        let (broken, gone) = (error.broken_token(), gone.clone());
        tokio::spawn(async move {
            broken.cancelled().await;
            gone.cancel();
            drop(sender);
        });
    }
    let output = SpdyOutput { connection, writers, json_status: protocol == SPDY_PROTOCOLS[0] };
    Ok(ClientSession { incoming, output: Box::new(output), gone })
}

async fn open_streams(
    connection: &mut spdy::Connection,
    wanted: &[Channel],
) -> Option<BTreeMap<Channel, spdy::Stream>> {
    let mut opened = BTreeMap::new();
    while !wanted.iter().all(|channel| opened.contains_key(channel)) {
        let stream = connection.accept().await?;
        let kind = stream.headers.get("streamtype").map(String::as_str).unwrap_or_default();
        if let Some(channel) = Channel::from_stream_type(kind) {
            opened.insert(channel, stream);
        }
    }
    Some(opened)
}

async fn read_stream(
    channel: Channel,
    mut reader: spdy::StreamReader,
    sender: mpsc::Sender<Incoming>,
) {
    while let Some(data) = reader.next().await {
        if sender.send(Incoming::Data(channel, data)).await.is_err() {
            return;
        }
    }
    // Nobody listens when the session is over.
    let _ = sender.send(Incoming::Close(channel)).await;
}

struct SpdyOutput {
    connection: spdy::Connection,
    writers: BTreeMap<Channel, spdy::StreamWriter>,
    json_status: bool,
}

#[async_trait::async_trait]
impl ClientOutput for SpdyOutput {
    async fn data(&mut self, channel: Channel, data: Bytes) -> io::Result<()> {
        match self.writers.get_mut(&channel) {
            Some(writer) => writer.write(data).await,
            None => Ok(()),
        }
    }

    async fn finish(mut self: Box<Self>, status: &Value) -> io::Result<()> {
        if let (Some(text), Some(writer)) =
            (final_text(status, self.json_status), self.writers.get_mut(&Channel::Error))
        {
            writer.write(text.into()).await?;
        }
        for writer in self.writers.values_mut() {
            writer.finish().await?;
        }
        drop(self.writers);
        self.connection.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_come_in_pieces() {
        let mut buffer = BytesMut::from(&b"{\"Width\":80,\"Height\":24}\n{\"Width\":1"[..]);
        assert_eq!(complete_sizes(&mut buffer), [json!({"Width": 80, "Height": 24})]);
        buffer.extend_from_slice(b"00,\"Height\":9}");
        assert_eq!(complete_sizes(&mut buffer), [json!({"Width": 100, "Height": 9})]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn final_text_depends_on_protocol() {
        let failure = json!({"status": "Failure", "message": "no"});
        assert_eq!(final_text(&failure, false).as_deref(), Some("no"));
        assert_eq!(final_text(&success(), false), None);
        assert!(final_text(&success(), true).is_some_and(|text| text.contains("Success")));
    }
}
