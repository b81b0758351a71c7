//! One streaming session: the HTTP upgrade, then frames between the peer and the process's streams.

use super::Session;
use super::frames::{self, RESIZE, STATUS, STDERR, STDIN, STDOUT};
use crate::engine::{EngineError, ExecStreams, Runtime, Wanted, receiver, sender};
use http::{Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustix::fd::{AsFd, OwnedFd};
use std::convert::Infallible;
use std::io;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::UnixListener;
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
    let runtime = std::sync::Arc::new(runtime);
    let sessions = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_SESSIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let Ok(permit) = sessions.clone().acquire_owned().await else { return };
        let runtime = runtime.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let (sender, mut upgrades) = mpsc::channel(1);
            let service = hyper::service::service_fn(move |request| {
                let (runtime, sender) = (runtime.clone(), sender.clone());
                async move { Ok::<_, Infallible>(answer(&runtime, request, &sender).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a streaming connection");
            }
            if let Some(session) = upgrades.recv().await {
                Box::pin(session).await;
            }
        });
    }
}

type Running = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Checks the token and begins the upgrade.
async fn answer(
    runtime: &std::sync::Arc<Runtime>,
    request: Request<Incoming>,
    sessions: &mpsc::Sender<Running>,
) -> Response<Empty<Bytes>> {
    let refuse = |status: StatusCode| {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = status;
        response
    };
    let asked = request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes() == PROTOCOL.as_bytes());
    if !asked {
        return refuse(StatusCode::UPGRADE_REQUIRED);
    }
    let Some(session) = runtime.engine.tokens.redeem(request.uri().path()) else {
        return refuse(StatusCode::NOT_FOUND);
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    let runtime = runtime.clone();
    let running: Running = Box::pin(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => run(&runtime, session, &query, TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "a streaming upgrade"),
        }
    });
    if sessions.send(running).await.is_err() {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let mut response = refuse(StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static(PROTOCOL));
    response
}

async fn run(runtime: &Runtime, session: Session, query: &str, stream: Upgraded) {
    let (reader, mut writer) = tokio::io::split(stream);
    let status = match session {
        Session::Exec { container, command, wanted } => {
            exec(runtime, &container, command, wanted, reader, &mut writer).await
        }
        Session::Attach { container, wanted } => {
            attach(runtime, &container, wanted, reader, &mut writer).await
        }
        Session::PortForward { sandbox, ports } => {
            forward(runtime, &sandbox, &ports, query, reader, &mut writer).await
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

async fn exec(
    runtime: &Runtime,
    container: &str,
    command: Vec<String>,
    wanted: Wanted,
    reader: ReadHalf<Upgraded>,
    writer: &mut WriteHalf<Upgraded>,
) -> Result<i32, EngineError> {
    let mut exec = runtime.exec(container, command, wanted).await?;
    let streams = std::mem::take(&mut exec.streams);
    let (out, mut input) = connect(streams, wanted.stdin, reader)?;
    let exit = tokio::select! {
        exit = pump(out, writer, &mut exec.exit) => exit,
        // The peer has gone: its process has nobody left to talk to. Half-closes do not end this.
        () = &mut input.gone => {
            exec.kill().await;
            Err(io::ErrorKind::ConnectionReset.into())
        }
    };
    input.abort();
    Ok(exit?)
}

async fn attach(
    runtime: &Runtime,
    container: &str,
    wanted: Wanted,
    reader: ReadHalf<Upgraded>,
    writer: &mut WriteHalf<Upgraded>,
) -> Result<i32, EngineError> {
    let (container, streams) = runtime.attach(container, wanted).await?;
    let (out, mut input) = connect(streams, wanted.stdin, reader)?;
    let mut state = container.state.subscribe();
    let (sender, mut exit) = tokio::sync::oneshot::channel();
    let waiting = tokio::spawn(async move {
        if state.wait_for(|state| matches!(state, crate::engine::State::Exited(_))).await.is_ok() {
            let _gone = sender.send(0);
        }
    });
    let result = tokio::select! {
        exit = pump(out, writer, &mut exit) => exit,
        () = &mut input.gone => Ok(0),
    };
    waiting.abort();
    if container.config.stdin
        && container.config.stdin_once
        && wanted.stdin
        && !container.config.tty
    {
        runtime.close_stdin(&container).await.or_else(|error| match error {
            EngineError::FailedPrecondition(_) | EngineError::Shim(_) => Ok(()),
            other => Err(other),
        })?;
    }
    input.abort();
    Ok(result?)
}

async fn forward(
    runtime: &Runtime,
    sandbox: &str,
    ports: &[u16],
    query: &str,
    mut reader: ReadHalf<Upgraded>,
    writer: &mut WriteHalf<Upgraded>,
) -> Result<i32, EngineError> {
    let asked = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("port="))
        .and_then(|port| port.parse::<u16>().ok());
    let port = match (asked, ports) {
        (Some(port), []) => port,
        (Some(port), allowed) if allowed.contains(&port) => port,
        (None, [only]) => *only,
        _ => return Err(EngineError::Invalid("port: which one is meant?".into())),
    };
    let (mut from_pod, mut to_pod) = runtime.connect(sandbox, port).await?.into_split();
    let inward = async {
        while let Some((channel, payload)) = frames::read(&mut reader).await? {
            match channel {
                STDIN if payload.is_empty() => to_pod.shutdown().await?,
                STDIN => to_pod.write_all(&payload).await?,
                _ => {}
            }
        }
        // The peer is gone altogether, not only silent.
        io::Result::Err(io::ErrorKind::ConnectionReset.into())
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
        failed = inward => Ok(failed?),
    }
}

/// The tasks that carry the peer's frames to the process.
struct Input {
    task: tokio::task::JoinHandle<()>,
    /// Resolves when the peer's side of the connection is closed.
    gone: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Input {
    fn abort(&self) {
        self.task.abort();
    }
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
    let (closed, gone) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        if let Err(error) = feed(reader, sink, terminal).await {
            tracing::debug!(%error, "the input of a streaming session");
        }
        drop(closed);
    });
    let gone = Box::pin(async move {
        // Only ever dropped, never sent.
        let _dropped = gone.await;
    });
    Ok((sources, Input { task, gone }))
}

/// Carries the peer's frames to the process until the peer is gone.
async fn feed(
    mut reader: ReadHalf<Upgraded>,
    mut sink: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    terminal: Option<Terminal>,
) -> io::Result<()> {
    while let Some((channel, payload)) = frames::read(&mut reader).await? {
        match channel {
            STDIN if payload.is_empty() => {
                if let (Some(_), Some(sink)) = (&terminal, &mut sink) {
                    // A terminal cannot be half closed; the end of input is a character.
                    sink.write_all(&[4]).await?;
                }
                sink = None;
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
