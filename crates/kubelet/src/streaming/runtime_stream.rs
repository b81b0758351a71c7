//! The runtime's end of a session: `knarr-stream/1` over a unix socket.
//!
//! No counterpart in Kubernetes, whose runtimes speak SPDY here too. A frame is one byte channel, four bytes length in network
//! order, and the payload; an empty payload closes the channel in that direction. Invariant: a frame is never larger than
//! [`MAX_FRAME_BYTES`], whoever sends it.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// The protocol's name in `Upgrade`.
pub const PROTOCOL: &str = "knarr-stream/1";
/// The largest payload accepted.
pub const MAX_FRAME_BYTES: usize = 1 << 20;
/// The largest answer to the upgrade, and the longest error text read from it.
const MAX_HEAD_BYTES: usize = 16 << 10;
const HEADER_BYTES: usize = 5;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The channel's number.
    pub channel: u8,
    /// The data; empty closes the channel.
    pub payload: Bytes,
}

/// Reads frames.
pub struct FrameReader<R>(BufReader<R>);

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Frames from `reader`.
    pub fn new(reader: R) -> Self {
        Self(BufReader::new(reader))
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks or a frame is too large.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        let channel = match self.0.read_u8().await {
            Ok(channel) => channel,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = self.0.read_u32().await? as usize;
        if length > MAX_FRAME_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("frame of {length} bytes"),
            ));
        }
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await?;
        Ok(Some(Frame { channel, payload: payload.into() }))
    }
}

/// Writes frames.
pub struct FrameWriter<W>(W);

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Frames into `writer`.
    pub fn new(writer: W) -> Self {
        Self(writer)
    }

    /// Writes data; nothing is written for no data, because that would close the channel.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn data(&mut self, channel: u8, data: &[u8]) -> io::Result<()> {
        for piece in data.chunks(MAX_FRAME_BYTES) {
            self.frame(channel, piece).await?;
        }
        Ok(())
    }

    /// Closes a channel in this direction.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn close(&mut self, channel: u8) -> io::Result<()> {
        self.frame(channel, &[]).await
    }

    async fn frame(&mut self, channel: u8, payload: &[u8]) -> io::Result<()> {
        let mut buffer = BytesMut::with_capacity(HEADER_BYTES + payload.len());
        buffer.put_u8(channel);
        buffer.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        buffer.put_slice(payload);
        self.0.write_all(&buffer).await?;
        self.0.flush().await
    }

    /// Ends the connection in this direction.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

/// Both directions of a session with the runtime.
pub struct RuntimeStream {
    /// From the runtime.
    pub reader: FrameReader<OwnedReadHalf>,
    /// To the runtime.
    pub writer: FrameWriter<OwnedWriteHalf>,
}

/// Splits `unix://SOCKET/VERB/TOKEN` into the socket and the path asked for there.
fn parse_url(url: &str) -> Option<(PathBuf, String)> {
    let path = url.strip_prefix("unix://")?;
    let token = path.rfind('/')?;
    let verb = path[..token].rfind('/')?;
    Some((Path::new(&path[..verb]).to_owned(), path[verb..].to_owned()))
}

/// Opens the session the runtime has prepared under `url`.
///
/// # Errors
/// When the URL is not one of Knarr's runtime, or the runtime refuses.
pub async fn connect(url: &str) -> io::Result<RuntimeStream> {
    let unsupported = || {
        io::Error::new(
            io::ErrorKind::Unsupported,
            format!("streaming URL {url} of this runtime is not supported"),
        )
    };
    let (socket, path) = parse_url(url).ok_or_else(unsupported)?;
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let head = read_head(&mut stream).await?;
    if !head.starts_with("HTTP/1.1 101 ") {
        let mut text = Vec::new();
        (&mut stream).take(MAX_HEAD_BYTES as u64).read_to_end(&mut text).await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let status = head.lines().next().unwrap_or_default().to_owned();
        return Err(io::Error::other(format!("the runtime refuses the session: {status} {text}")));
    }
    let (reader, writer) = stream.into_split();
    Ok(RuntimeStream { reader: FrameReader::new(reader), writer: FrameWriter::new(writer) })
}

/// Reads to the end of the head and not one byte further, because frames follow.
async fn read_head(stream: &mut UnixStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "endless answer from the runtime",
            ));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_names_socket_and_path() {
        let parsed = parse_url("unix:///run/knarr/x/streaming.sock/exec/abc").expect("url");
        assert_eq!(parsed, (PathBuf::from("/run/knarr/x/streaming.sock"), "/exec/abc".to_owned()));
        assert_eq!(parse_url("http://127.0.0.1:1/exec/abc"), None);
    }

    #[tokio::test]
    async fn frames_survive_the_wire() {
        let (a, b) = tokio::io::duplex(64);
        let mut writer = FrameWriter::new(a);
        let mut reader = FrameReader::new(b);
        let sent = tokio::spawn(async move {
            writer.data(1, b"").await.expect("written");
            writer.data(1, &vec![7; 3 << 20]).await.expect("written");
            writer.close(0).await.expect("written");
        });
        let (mut size, mut last) = (0, None);
        while let Some(frame) = reader.next().await.expect("read") {
            size += frame.payload.len();
            last = Some(frame);
        }
        sent.await.expect("writer");
        assert_eq!((size, last), (3 << 20, Some(Frame { channel: 0, payload: Bytes::new() })));
    }
}
