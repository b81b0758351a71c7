//! The connection: one task reads frames, one writes them, streams are ends of channels.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::frame::{self, Frame};
use super::headers::{HeaderDecoder, HeaderEncoder, Headers};
use super::window::SendWindows;
use crate::streaming::{CHUNK_BYTES, QUEUE};

/// Streams a client may have open at once; kubectl needs five for exec and two per forwarded connection.
const MAX_STREAMS: usize = 1024;
/// How long a closed connection waits for the peer to close too, so that the last data is not lost to a reset.
const LINGER: Duration = Duration::from_secs(5);
const STATUS_PROTOCOL_ERROR: u32 = 1;
const STATUS_INVALID_STREAM: u32 = 2;
const STATUS_REFUSED_STREAM: u32 = 3;
/// The peer broke the stream off: nothing more can be sent on it.
const RESET: &str = "the client has reset the stream";

#[derive(Default)]
struct Open {
    /// Where a stream's data goes; absent once the peer has finished.
    inbound: BTreeMap<u32, mpsc::Sender<Bytes>>,
    /// Streams of which this side has something to say, with their end.
    resets: BTreeMap<u32, CancellationToken>,
    last: u32,
}

struct Shared {
    open: Mutex<Open>,
    windows: SendWindows,
    outbound: mpsc::Sender<Frame>,
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Open) -> T) -> T {
        work(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn send(&self, frame: Frame) -> io::Result<()> {
        self.outbound.send(frame).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The server's end of a connection.
pub struct Connection {
    streams: mpsc::Receiver<Stream>,
    shared: Arc<Shared>,
    finish: CancellationToken,
    finished: mpsc::Receiver<()>,
}

/// A stream the client opened.
pub struct Stream {
    /// Its headers.
    pub headers: Headers,
    /// From the client.
    pub reader: StreamReader,
    /// To the client.
    pub writer: StreamWriter,
}

/// Data from the client.
pub struct StreamReader {
    stream: u32,
    data: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
}

/// Data to the client.
pub struct StreamWriter {
    stream: u32,
    shared: Arc<Shared>,
    reset: CancellationToken,
    closed: bool,
}

/// Serves an upgraded connection.
pub fn serve<T: AsyncRead + AsyncWrite + Send + 'static>(io: T) -> Connection {
    let (reader, writer) = tokio::io::split(io);
    let (outbound, frames) = mpsc::channel(QUEUE);
    let (accept, streams) = mpsc::channel(QUEUE);
    let (done, finished) = mpsc::channel(1);
    let shared =
        Arc::new(Shared { open: Mutex::default(), windows: SendWindows::default(), outbound });
    let finish = CancellationToken::new();
    let reading = tokio::spawn(read_all(reader, shared.clone(), accept));
    tokio::spawn(write_all(writer, frames, finish.clone(), shared.clone(), reading, done));
    Connection { streams, shared, finish, finished }
}

impl Connection {
    /// The next stream the client opens; `None` when it opens none any more.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }

    /// Writes what is queued, says good-bye and waits until the connection is closed.
    pub async fn close(mut self) {
        let last_stream = self.shared.with(|open| open.last);
        // When the peer is gone there is nobody to say good-bye to.
        let _ = self.shared.send(Frame::GoAway { last_stream }).await;
        self.streams.close();
        self.finish.cancel();
        let _ = self.finished.recv().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.finish.cancel();
    }
}

impl StreamReader {
    /// The next piece; `None` when the client has finished this stream.
    pub async fn next(&mut self) -> Option<Bytes> {
        let data = self.data.recv().await?;
        if let Ok(delta) = u32::try_from(data.len()) {
            for stream in [self.stream, 0] {
                // A broken connection shows with the next read.
                let _ = self.shared.send(Frame::WindowUpdate { stream, delta }).await;
            }
        }
        Some(data)
    }
}

impl StreamWriter {
    /// Sends data.
    ///
    /// # Errors
    /// When the client has reset the stream or is gone.
    pub async fn write(&mut self, mut data: Bytes) -> io::Result<()> {
        while !data.is_empty() {
            let wanted = data.len().min(CHUNK_BYTES);
            let reset = self.reset.clone();
            let taken = tokio::select! {
                taken = self.shared.windows.take(self.stream, wanted) => taken,
                () = reset.cancelled() => return Err(io::Error::new(io::ErrorKind::ConnectionReset, RESET)),
            };
            if reset.is_cancelled() {
                return Err(io::Error::new(io::ErrorKind::ConnectionReset, RESET));
            }
            let piece = data.split_to(taken);
            self.shared.send(Frame::Data { stream: self.stream, data: piece, fin: false }).await?;
        }
        Ok(())
    }

    /// Says that nothing more will come.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn finish(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.shared
            .send(Frame::Data { stream: self.stream, data: Bytes::new(), fin: true })
            .await?;
        self.shared.with(|open| open.resets.remove(&self.stream));
        self.shared.windows.forget(self.stream);
        Ok(())
    }

    /// Cancelled when the client breaks the stream off or is gone.
    pub fn broken_token(&self) -> CancellationToken {
        self.reset.clone()
    }
}

async fn read_all<R: AsyncRead + Unpin>(
    mut reader: R,
    shared: Arc<Shared>,
    accept: mpsc::Sender<Stream>,
) {
    let mut decoder = HeaderDecoder::default();
    loop {
        match frame::read(&mut reader, &mut decoder).await {
            Ok(Some(frame)) => {
                if handle(frame, &shared, &accept).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "SPDY connection ends");
                break;
            }
        }
    }
    shared.windows.close();
    shared.with(|open| {
        open.inbound.clear();
        open.resets.values().for_each(CancellationToken::cancel);
        open.resets.clear();
    });
    drop(accept);
    // Whatever else comes is thrown away, so that the peer's writes do not turn into a reset of what it has yet to read.
    let mut sink = vec![0; CHUNK_BYTES];
    while reader.read(&mut sink).await.is_ok_and(|read| read > 0) {}
}

async fn handle(
    frame: Frame,
    shared: &Arc<Shared>,
    accept: &mpsc::Sender<Stream>,
) -> io::Result<()> {
    match frame {
        Frame::SynStream { stream, headers, fin } => {
            open_stream(shared, accept, stream, headers, fin).await
        }
        Frame::Data { stream, data, fin } => receive(shared, stream, data, fin).await,
        Frame::Headers { stream, fin: true } => {
            shared.with(|open| open.inbound.remove(&stream));
            Ok(())
        }
        Frame::RstStream { stream, .. } => {
            shared.with(|open| {
                open.inbound.remove(&stream);
                open.resets.remove(&stream).iter().for_each(CancellationToken::cancel);
            });
            Ok(())
        }
        Frame::Settings { initial_window: Some(window) } => {
            shared.windows.announce(window);
            Ok(())
        }
        Frame::WindowUpdate { stream, delta } => {
            shared.windows.update(stream, delta);
            Ok(())
        }
        // Odd numbers are the client's; an even one answers a ping of ours, and we send none.
        Frame::Ping(id) if id % 2 == 1 => shared.send(Frame::Ping(id)).await,
        Frame::Ping(_)
        | Frame::GoAway { .. }
        | Frame::Headers { .. }
        | Frame::Settings { .. }
        | Frame::SynReply { .. }
        | Frame::Unknown(_) => Ok(()),
    }
}

async fn open_stream(
    shared: &Arc<Shared>,
    accept: &mpsc::Sender<Stream>,
    id: u32,
    headers: Headers,
    fin: bool,
) -> io::Result<()> {
    let (valid, full) =
        shared.with(|open| (id % 2 == 1 && id > open.last, open.resets.len() >= MAX_STREAMS));
    if !valid || full {
        let status = if full { STATUS_REFUSED_STREAM } else { STATUS_PROTOCOL_ERROR };
        return shared.send(Frame::RstStream { stream: id, status }).await;
    }
    let (sender, data) = mpsc::channel(QUEUE);
    let reset = CancellationToken::new();
    shared.with(|open| {
        open.last = id;
        open.resets.insert(id, reset.clone());
        if !fin {
            open.inbound.insert(id, sender);
        }
    });
    shared.send(Frame::SynReply { stream: id, headers: Headers::new() }).await?;
    let reader = StreamReader { stream: id, data, shared: shared.clone() };
    let writer = StreamWriter { stream: id, shared: shared.clone(), reset, closed: false };
    if accept.send(Stream { headers, reader, writer }).await.is_err() {
        return shared.send(Frame::RstStream { stream: id, status: STATUS_REFUSED_STREAM }).await;
    }
    Ok(())
}

async fn receive(shared: &Arc<Shared>, id: u32, data: Bytes, fin: bool) -> io::Result<()> {
    let (known, sender) = shared.with(|open| (id <= open.last, open.inbound.get(&id).cloned()));
    match sender {
        Some(sender) if !data.is_empty() => {
            // Nobody reads this stream any more: the data is of no interest.
            let _ = sender.send(data).await;
        }
        None if !known => {
            shared.send(Frame::RstStream { stream: id, status: STATUS_INVALID_STREAM }).await?
        }
        _ => {}
    }
    if fin {
        shared.with(|open| open.inbound.remove(&id));
    }
    Ok(())
}

async fn write_all<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut frames: mpsc::Receiver<Frame>,
    finish: CancellationToken,
    shared: Arc<Shared>,
    mut reading: tokio::task::JoinHandle<()>,
    done: mpsc::Sender<()>,
) {
    let mut encoder = HeaderEncoder::default();
    loop {
        let frame = tokio::select! {
            biased;
            frame = frames.recv() => frame,
            () = finish.cancelled() => None,
            _ = &mut reading => None,
        };
        let Some(frame) = frame else { break };
        if write_batch(&mut writer, frame, &mut frames, &mut encoder).await.is_err() {
            break;
        }
    }
    frames.close();
    while let Ok(frame) = frames.try_recv() {
        if writer.write_all(&frame::write(&frame, &mut encoder)).await.is_err() {
            break;
        }
    }
    // The peer may be gone already.
    let _ = writer.flush().await;
    let _ = writer.shutdown().await;
    shared.windows.close();
    if !reading.is_finished() && tokio::time::timeout(LINGER, &mut reading).await.is_err() {
        reading.abort();
    }
    drop(done);
}

/// Writes a frame and those that wait behind it, with one flush.
async fn write_batch<W: AsyncWrite + Unpin>(
    writer: &mut W,
    first: Frame,
    frames: &mut mpsc::Receiver<Frame>,
    encoder: &mut HeaderEncoder,
) -> io::Result<()> {
    writer.write_all(&frame::write(&first, encoder)).await?;
    while let Ok(frame) = frames.try_recv() {
        writer.write_all(&frame::write(&frame, encoder)).await?;
    }
    writer.flush().await
}
