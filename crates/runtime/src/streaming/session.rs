//! One streaming session: the HTTP upgrade, then frames between the peer and the process's streams.

use super::Session;
use super::frames::{self, RESIZE, STATUS, STDERR, STDIN, STDOUT};
use crate::engine::{
    Container, EngineError, ExecStreams, Runtime, State, Wanted, receiver, sender,
};
use http::{Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustix::fd::{AsFd, OwnedFd};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// The protocol's name in `Upgrade`.
const PROTOCOL: &str = "knarr-stream/1";
/// Bytes read from a stream at once.
const CHUNK: usize = 32 * 1024;
/// Frames that wait to be written: backpressure reaches the process through its pipes.
const QUEUE: usize = 8;
/// How long output is still read after the process has ended.
const DRAIN: Duration = Duration::from_secs(2);
/// Sessions at once on one node.
const MAX_SESSIONS: usize = 1024;

type Upgraded = TokioIo<hyper::upgrade::Upgraded>;
type Frame = (u8, Vec<u8>);

/// Serves the streaming socket for ever.
pub(crate) async fn serve(runtime: Runtime, listener: UnixListener) {
    let runtime = Arc::new(runtime);
    let sessions = Arc::new(tokio::sync::Semaphore::new(MAX_SESSIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let Ok(permit) = sessions.clone().acquire_owned().await else { return };
        let runtime = runtime.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = serve_connection(runtime, stream).await {
                tracing::debug!(%error, "a streaming connection");
            }
        });
    }
}

/// Answers requests until one becomes a session, then runs that.
async fn serve_connection(
    runtime: Arc<Runtime>,
    stream: UnixStream,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let peer = Peer::new(stream.as_fd().try_clone_to_owned()?)?;
    let (sender, mut agreed) = mpsc::channel(1);
    let answering = runtime.clone();
    let service = hyper::service::service_fn(move |request| {
        let (runtime, sender) = (answering.clone(), sender.clone());
        async move { Ok::<_, Infallible>(answer(&runtime, request, &sender).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await?;
    if let Some((session, query, request)) = agreed.recv().await {
        let upgraded = hyper::upgrade::on(request).await?;
        run(&runtime, session, &query, TokioIo::new(upgraded), peer).await;
    }
    Ok(())
}

/// A second handle on the connection, which tells when the peer has closed it altogether: reading cannot, for it sees the same end when the
/// peer only has nothing more to say.
struct Peer {
    socket: AsyncFd<OwnedFd>,
}

impl Peer {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: crate::sys::async_fd(socket)? })
    }

    /// Resolves when the peer is gone. Only readiness to write is waited for: that to read stays for ever once the peer is silent.
    async fn gone(&self) {
        while let Ok(mut ready) = self.socket.ready(Interest::WRITABLE).await {
            if ready.ready().is_write_closed() {
                return;
            }
            ready.clear_ready();
        }
    }
}

/// A session to be, the query of its URL, and the request whose connection it gets.
type Agreed = (Session, String, Request<Incoming>);

/// Checks the token and begins the upgrade.
async fn answer(
    runtime: &Runtime,
    request: Request<Incoming>,
    sessions: &mpsc::Sender<Agreed>,
) -> Response<Empty<Bytes>> {
    let with_status = |status: StatusCode| {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = status;
        response
    };
    let asked = request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes() == PROTOCOL.as_bytes());
    if !asked {
        return with_status(StatusCode::UPGRADE_REQUIRED);
    }
    let Some(session) = runtime.engine.tokens.redeem(request.uri().path()) else {
        return with_status(StatusCode::NOT_FOUND);
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    if sessions.send((session, query, request)).await.is_err() {
        return with_status(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let mut response = with_status(StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static(PROTOCOL));
    response
}

async fn run(runtime: &Runtime, session: Session, query: &str, stream: Upgraded, peer: Peer) {
    let (reader, mut writer) = tokio::io::split(stream);
    let ends = Ends { reader, writer: &mut writer, peer };
    let status = match session {
        Session::Exec { container, command, wanted } => {
            exec(runtime, &container, command, wanted, ends).await
        }
        Session::Attach { container, wanted } => attach(runtime, &container, wanted, ends).await,
        Session::PortForward { sandbox, ports } => {
            forward(runtime, &sandbox, &ports, query, ends).await
        }
    };
    let status = match status {
        Ok(0) => success(),
        Ok(code) => exit_code(code),
        Err(error) => failure(&error.to_string()),
    };
    let ended = async {
        frames::write(&mut writer, STATUS, status.to_string().as_bytes()).await?;
        writer.shutdown().await
    };
    if let Err(error) = ended.await {
        tracing::debug!(%error, "ending a streaming session");
    }
}

fn success() -> serde_json::Value {
    serde_json::json!({ "metadata": {}, "status": "Success" })
}

fn failure(message: &str) -> serde_json::Value {
    serde_json::json!({ "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500,
        "details": { "causes": [{ "message": message }] } })
}

fn exit_code(code: i32) -> serde_json::Value {
    serde_json::json!({ "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] } })
}

/// The connection with the peer.
struct Ends<'a> {
    reader: ReadHalf<Upgraded>,
    writer: &'a mut WriteHalf<Upgraded>,
    peer: Peer,
}

async fn exec(
    runtime: &Runtime,
    container: &str,
    command: Vec<String>,
    wanted: Wanted,
    ends: Ends<'_>,
) -> Result<i32, EngineError> {
    let mut exec = runtime.exec(container, command, wanted).await?;
    let (out, input) = connect(std::mem::take(&mut exec.streams), wanted.stdin, ends.reader)?;
    let exit = tokio::select! {
        exit = pump(out, ends.writer, &mut exec.exit) => exit,
        // The process has nobody left to talk to.
        () = ends.peer.gone() => {
            exec.kill().await;
            Err(io::ErrorKind::ConnectionReset.into())
        }
    };
    input.task.abort();
    Ok(exit?)
}

async fn attach(
    runtime: &Runtime,
    container: &str,
    wanted: Wanted,
    ends: Ends<'_>,
) -> Result<i32, EngineError> {
    let (container, streams) = runtime.attach(container, wanted).await?;
    let (out, mut input) = connect(streams, wanted.stdin, ends.reader)?;
    let mut state = container.state.subscribe();
    let (sender, mut exit) = tokio::sync::oneshot::channel();
    let waiting = tokio::spawn(async move {
        if state.wait_for(|state| matches!(state, State::Exited(_))).await.is_ok() {
            // The session may be over already.
            let _over = sender.send(0);
        }
    });
    let config = &container.config;
    let mut closes_stdin = config.stdin && config.stdin_once && wanted.stdin && !config.tty;
    let mut pumping = std::pin::pin!(pump(out, ends.writer, &mut exit));
    let result = loop {
        tokio::select! {
            exit = &mut pumping => break exit,
            () = ends.peer.gone() => break Ok(0),
            _ = &mut input.finished, if closes_stdin => {
                closes_stdin = false;
                close_stdin(runtime, &container).await?;
            }
        }
    };
    waiting.abort();
    input.task.abort();
    if closes_stdin {
        close_stdin(runtime, &container).await?;
    }
    Ok(result?)
}

/// Closes stdin for good; a container that has ended has none.
async fn close_stdin(runtime: &Runtime, container: &Container) -> Result<(), EngineError> {
    match runtime.close_stdin(container).await {
        Err(EngineError::FailedPrecondition(_) | EngineError::Shim(_)) => Ok(()),
        other => other,
    }
}

/// The port a connection is for: the one asked for, if it is allowed, or the only one there is.
fn choose_port(query: &str, allowed: &[u16]) -> Option<u16> {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("port="));
    match (asked.map(str::parse::<u16>), allowed) {
        (Some(Ok(port)), allowed)
            if port > 0 && (allowed.is_empty() || allowed.contains(&port)) =>
        {
            Some(port)
        }
        (None, [only]) => Some(*only),
        _ => None,
    }
}

async fn forward(
    runtime: &Runtime,
    sandbox: &str,
    ports: &[u16],
    query: &str,
    ends: Ends<'_>,
) -> Result<i32, EngineError> {
    let Ends { mut reader, writer, peer } = ends;
    let port = choose_port(query, ports)
        .ok_or_else(|| EngineError::Invalid("port: which one is meant?".into()))?;
    let (mut from_pod, mut to_pod) = runtime.connect(sandbox, port).await?.into_split();
    let inward = async {
        while let Some((channel, payload)) = frames::read(&mut reader).await? {
            match channel {
                STDIN if payload.is_empty() => break,
                STDIN => to_pod.write_all(&payload).await?,
                _ => {}
            }
        }
        to_pod.shutdown().await?;
        // The pod may still have much to say.
        std::future::pending::<io::Result<Infallible>>().await
    };
    let outward = async {
        let mut buffer = vec![0u8; CHUNK];
        loop {
            let read = from_pod.read(&mut buffer).await?;
            frames::write(writer, STDOUT, &buffer[..read]).await?;
            if read == 0 {
                return io::Result::Ok(0);
            }
        }
    };
    tokio::select! {
        done = outward => Ok(done?),
        failed = inward => match failed? {},
        () = peer.gone() => Ok(0),
    }
}

/// The task that carries the peer's frames to the process.
struct Input {
    task: tokio::task::JoinHandle<()>,
    /// Resolves when the peer has no more input.
    finished: tokio::sync::oneshot::Receiver<()>,
}

/// A source of output and the channel it belongs to.
type Source = (u8, Box<dyn AsyncRead + Send + Unpin>);

/// Wires the streams: sources of output, and a running task for input and sizes.
fn connect(
    streams: ExecStreams,
    stdin: bool,
    reader: ReadHalf<Upgraded>,
) -> io::Result<(Vec<Source>, Input)> {
    let mut sources: Vec<Source> = Vec::new();
    for (channel, fd) in [(STDOUT, streams.stdout), (STDERR, streams.stderr)] {
        if let Some(fd) = fd {
            sources.push((channel, Box::new(receiver(fd)?)));
        }
    }
    let mut terminal = None;
    let mut sink: Option<Box<dyn AsyncWrite + Send + Unpin>> = None;
    if let Some(fd) = streams.terminal {
        let attached = !sources.is_empty();
        terminal = Some(Terminal::new(fd.try_clone()?)?);
        if !attached {
            sources.push((STDOUT, Box::new(Terminal::new(fd.try_clone()?)?)));
        }
        if stdin {
            sink = Some(Box::new(Terminal::new(fd)?));
        }
    } else if let Some(fd) = streams.stdin {
        sink = Some(Box::new(sender(fd)?));
    }
    let (sender, finished) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        if let Err(error) = feed(reader, sink, terminal, sender).await {
            tracing::debug!(%error, "the input of a streaming session");
        }
    });
    Ok((sources, Input { task, finished }))
}

/// Carries the peer's frames to the process; `finished` resolves when there is no more input for it.
async fn feed(
    mut reader: ReadHalf<Upgraded>,
    mut sink: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    terminal: Option<Terminal>,
    finished: tokio::sync::oneshot::Sender<()>,
) -> io::Result<()> {
    let mut finished = Some(finished);
    while let Some((channel, payload)) = frames::read(&mut reader).await? {
        match channel {
            STDIN if payload.is_empty() => {
                if let (Some(_), Some(sink)) = (&terminal, &mut sink) {
                    // A terminal cannot be half closed; the end of input is a character.
                    sink.write_all(&[4]).await?;
                }
                sink = None;
                if let Some(finished) = finished.take() {
                    // Only an attached session listens.
                    let _unheard = finished.send(());
                }
            }
            STDIN => {
                // A process that has closed its input is not an error of the session.
                if let Some(open) = &mut sink
                    && open.write_all(&payload).await.is_err()
                {
                    sink = None;
                }
            }
            RESIZE => {
                if let (Some(terminal), Ok(size)) =
                    (&terminal, serde_json::from_slice::<Size>(&payload))
                {
                    terminal.resize(&size)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes the output of all sources until the process has ended and they are empty; answers the exit code.
async fn pump(
    sources: Vec<Source>,
    writer: &mut WriteHalf<Upgraded>,
    exit: &mut tokio::sync::oneshot::Receiver<i32>,
) -> io::Result<i32> {
    let (sender, mut queue) = mpsc::channel::<Frame>(QUEUE);
    let mut readers = tokio::task::JoinSet::new();
    for (channel, mut source) in sources {
        let sender = sender.clone();
        readers.spawn(async move {
            let mut buffer = vec![0u8; CHUNK];
            // A terminal whose last user is gone answers EIO, which is its end.
            while let Ok(read @ 1..) = source.read(&mut buffer).await {
                if sender.send((channel, buffer[..read].to_vec())).await.is_err() {
                    return;
                }
            }
            // The other side may be gone already.
            let _gone = sender.send((channel, Vec::new())).await;
        });
    }
    drop(sender);
    let mut code = None;
    loop {
        tokio::select! {
            frame = queue.recv() => match frame {
                Some((channel, payload)) => frames::write(writer, channel, &payload).await?,
                None => break,
            },
            ended = &mut *exit, if code.is_none() => {
                code = Some(ended.map_err(|_| io::Error::other("the sandbox has ended"))?);
                break;
            }
        }
    }
    let drained = tokio::time::timeout(DRAIN, async {
        while let Some((channel, payload)) = queue.recv().await {
            frames::write(writer, channel, &payload).await?;
        }
        io::Result::Ok(())
    });
    // Something else may still hold the pipes; the process itself has ended.
    if let Ok(result) = drained.await {
        result?;
    }
    match code {
        Some(code) => Ok(code),
        None => exit.await.map_err(|_| io::Error::other("the sandbox has ended")),
    }
}

/// A terminal's size as clients send it.
#[derive(Debug, serde::Deserialize)]
struct Size {
    #[serde(rename = "Width")]
    width: u16,
    #[serde(rename = "Height")]
    height: u16,
}

/// The controlling side of a pseudo terminal.
struct Terminal {
    fd: AsyncFd<OwnedFd>,
}

impl Terminal {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd: crate::sys::async_fd(fd)? })
    }

    fn resize(&self, size: &Size) -> io::Result<()> {
        let size = rustix::termios::Winsize {
            ws_row: size.height,
            ws_col: size.width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(rustix::termios::tcsetwinsize(self.fd.get_ref().as_fd(), size)?)
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        loop {
            let mut ready = std::task::ready!(self.fd.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), unfilled)?)) {
                Ok(Ok(read)) => {
                    buffer.advance(read);
                    return std::task::Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return std::task::Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        data: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        loop {
            let mut ready = std::task::ready!(self.fd.poll_write_ready(context))?;
            match ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), data)?)) {
                Ok(result) => return std::task::Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
