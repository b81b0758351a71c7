//! The program of the image `knarr.local/hello:1.0`: a small web server, and the few tools needed to look around in a container.
//!
//! It is the only program in its image, so that everything a first tour does works without a registry: answer HTTP, log, fail, stop, and be
//! the target of `exec`. Only the standard library, as the build script compiles it by itself; no `getaddrinfo`, as it is static.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::exit;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

const USAGE: &str = "usage: hello [serve [PORT]] | get URL | sleep SECONDS|infinity | env | cat [FILE...] | echo [TEXT...] | ls [DIR...]
             | write FILE [TEXT...] | ps | hostname | id | true | false | exit CODE";

const DEFAULT_PORT: u16 = 8080;
/// Connections served at once; each costs a thread.
const MAX_CONNECTIONS: usize = 64;
/// A request line or header longer than this is not read further.
const MAX_LINE_BYTES: u64 = 8 << 10;
/// Most headers read of a request.
const MAX_HEADERS: usize = 100;
/// How long a silent peer is waited for.
const PEER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer `get` prints.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// Most redirects or name server tries.
const DNS_TIMEOUT: Duration = Duration::from_secs(3);

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
/// Exit code on SIGTERM: the server stops cleanly, the tools say that they were stopped.
static CODE_ON_SIGTERM: AtomicI32 = AtomicI32::new(0);
static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    fn signal(signum: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(code: i32) -> !;
    fn getuid() -> u32;
    fn getgid() -> u32;
}

extern "C" fn on_signal(signum: i32) {
    let code = CODE_ON_SIGTERM.load(Ordering::Relaxed);
    // SAFETY: `_exit` is async-signal-safe and takes no pointer.
    unsafe { _exit(if code == 0 { 0 } else { 128 + signum }) }
}

/// As a container's first process has no default signal actions, one must be set for it to stop at all.
fn stop_on_signals(code_on_sigterm: i32) {
    CODE_ON_SIGTERM.store(code_on_sigterm, Ordering::Relaxed);
    for signum in [SIGINT, SIGTERM] {
        // SAFETY: the handler only loads an atomic and calls `_exit`, both async-signal-safe.
        unsafe { signal(signum, on_signal) };
    }
}

fn main() {
    let args: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    stop_on_signals(i32::from(!matches!(words.first(), None | Some(&"serve"))));
    let result = match words.as_slice() {
        [] | ["serve"] => serve(port_from_environment()),
        ["serve", port] => port.parse().map_err(|_| format!("{port:?} is no port")).and_then(serve),
        ["get", url] => get(url),
        ["sleep", time] => sleep(time),
        ["env"] => print_all(std::env::vars_os().map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy()))),
        ["cat", files @ ..] => cat(files),
        ["echo", text @ ..] => print_all([text.join(" ")]),
        ["ls", dirs @ ..] => ls(dirs),
        ["write", file, text @ ..] => write_file(file, text),
        ["ps"] => ps(),
        ["hostname"] => print_all([hostname()]),
        ["id"] => print_all([ids()]),
        ["true"] => Ok(()),
        ["false"] => exit(1),
        ["exit", code] => exit(code.parse().unwrap_or(2)),
        ["help" | "--help" | "-h"] => print_all([USAGE.to_owned()]),
        _ => {
            eprintln!("{USAGE}");
            exit(2)
        }
    };
    if let Err(message) = result {
        eprintln!("hello: {message}");
        exit(1);
    }
}

type Outcome = Result<(), String>;

fn fail(what: &str) -> impl FnOnce(io::Error) -> String {
    move |e| format!("{what}: {e}")
}

fn print_all(lines: impl IntoIterator<Item = String>) -> Outcome {
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}").map_err(fail("stdout"))?;
    }
    out.flush().map_err(fail("stdout"))
}

/// A log line; a closed stdout must not stop the server.
fn log(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn port_from_environment() -> u16 {
    std::env::var("PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(DEFAULT_PORT)
}

fn hostname() -> String {
    let read = |path| fs::read_to_string(path).ok().map(|h| h.trim().to_owned()).filter(|h| !h.is_empty());
    let name = read("/proc/sys/kernel/hostname").or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| read("/etc/hostname"));
    name.unwrap_or_else(|| "localhost".to_owned())
}

fn serve(port: u16) -> Outcome {
    log("Hello server starting...");
    log(&format!("Local hostname is {}", hostname()));
    let any = |ip| TcpListener::bind(SocketAddr::new(ip, port));
    // `::` takes IPv4 as well where the kernel has IPv6.
    let listener = any(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        .or_else(|_| any(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
        .map_err(|e| format!("cannot listen on port {port}: {e}"))?;
    log(&format!("Listening on port {port}"));
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => accept(stream),
            Err(e) => log(&format!("Cannot accept a connection: {e}")),
        }
    }
    Ok(())
}

fn accept(stream: TcpStream) {
    if CONNECTIONS.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
        CONNECTIONS.fetch_sub(1, Ordering::Relaxed);
        let _ = answer(&stream, "503 Service Unavailable", "Too many connections.\n", true);
        return;
    }
    let spawned = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        let _ = converse(&stream);
        CONNECTIONS.fetch_sub(1, Ordering::Relaxed);
    });
    if spawned.is_err() {
        CONNECTIONS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers requests of one connection until the client has had enough.
fn converse(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PEER_TIMEOUT))?;
    stream.set_write_timeout(Some(PEER_TIMEOUT))?;
    let client = stream.peer_addr()?.ip().to_canonical();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        log(&format!("Received request for {} from {client}", request.path));
        let close = request.close || request.path == "/fail";
        let body = format!("Hey there, this is {}. Your IP is {client}.\n", hostname());
        match request.path.as_str() {
            "/fail" => {
                answer(stream, "500 Internal Server Error", "I was asked to fail.\n", true)?;
                let _ = stream.shutdown(std::net::Shutdown::Write);
                log("Failing as requested");
                exit(1);
            }
            _ if request.head => answer_head(stream, "200 OK", body.len(), close)?,
            _ => answer(stream, "200 OK", &body, close)?,
        }
        if close {
            break;
        }
    }
    Ok(())
}

struct Request {
    path: String,
    head: bool,
    close: bool,
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let n = reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if n == 0 {
        return Ok(None);
    }
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

fn read_request<R: Read>(reader: &mut BufReader<R>) -> io::Result<Option<Request>> {
    let Some(line) = read_line(reader)? else { return Ok(None) };
    let mut words = line.split(' ');
    let (method, path, version) = (words.next().unwrap_or(""), words.next(), words.next());
    let mut request = Request {
        path: path.ok_or(io::ErrorKind::InvalidData)?.chars().filter(|c| !c.is_control()).collect(),
        head: method == "HEAD",
        close: version != Some("HTTP/1.1"),
    };
    let mut body = 0u64;
    for _ in 0..MAX_HEADERS {
        let header = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?.to_ascii_lowercase();
        if header.is_empty() {
            io::copy(&mut reader.take(body), &mut io::sink())?;
            return Ok(Some(request));
        }
        match header.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", length)) => body = length.parse().map_err(|_| io::ErrorKind::InvalidData)?,
            Some(("connection", "close")) | Some(("transfer-encoding", _)) => request.close = true,
            _ => {}
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn head(status: &str, length: usize, close: bool) -> String {
    let connection = if close { "close" } else { "keep-alive" };
    format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n")
}

fn answer_head(mut stream: &TcpStream, status: &str, length: usize, close: bool) -> io::Result<()> {
    stream.write_all(head(status, length, close).as_bytes())
}

fn answer(mut stream: &TcpStream, status: &str, body: &str, close: bool) -> io::Result<()> {
    stream.write_all((head(status, body.len(), close) + body).as_bytes())
}

fn sleep(time: &str) -> Outcome {
    if matches!(time, "infinity" | "inf") {
        loop {
            std::thread::park();
        }
    }
    let seconds: u64 = time.trim_end_matches('s').parse().map_err(|_| format!("{time:?} is no number of seconds"))?;
    std::thread::sleep(Duration::from_secs(seconds));
    Ok(())
}

fn cat(files: &[&str]) -> Outcome {
    let mut out = io::stdout().lock();
    if files.is_empty() {
        io::copy(&mut io::stdin().lock(), &mut out).map_err(fail("stdin"))?;
    }
    for file in files {
        let mut source = fs::File::open(file).map_err(fail(file))?;
        io::copy(&mut source, &mut out).map_err(fail(file))?;
    }
    out.flush().map_err(fail("stdout"))
}

fn write_file(file: &str, text: &[&str]) -> Outcome {
    fs::write(file, text.join(" ") + "\n").map_err(fail(file))
}

fn ls(dirs: &[&str]) -> Outcome {
    let dirs = if dirs.is_empty() { &["."] } else { dirs };
    for dir in dirs {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(fail(dir))? {
            names.push(entry.map_err(fail(dir))?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        print_all(names)?;
    }
    Ok(())
}

fn ids() -> String {
    // SAFETY: both calls always succeed and take no argument.
    let (uid, gid) = unsafe { (getuid(), getgid()) };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let groups = status.lines().find_map(|l| l.strip_prefix("Groups:")).map(str::trim).unwrap_or_default();
    format!("uid={uid} gid={gid} groups={}", groups.replace(' ', ","))
}

fn ps() -> Outcome {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc").map_err(fail("/proc"))?.flatten() {
        if let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() {
            processes.insert(pid, describe(pid));
        }
    }
    let lines = processes.into_iter().map(|(pid, (user, command))| format!("{pid:>5} {user:>6}  {command}"));
    print_all(std::iter::once("  PID    UID  COMMAND".to_owned()).chain(lines))
}

fn describe(pid: u32) -> (String, String) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).and_then(|l| l.split_whitespace().next());
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
    let name = || format!("[{}]", field("Name:").unwrap_or("?"));
    (field("Uid:").unwrap_or("?").to_owned(), if command.is_empty() { name() } else { command })
}

/// Prints the body of an answer to a GET; fails for a status of 400 and above.
fn get(url: &str) -> Outcome {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    if rest.contains("://") {
        return Err(format!("{url}: only http:// is understood"));
    }
    let (authority, path) = rest.split_once('/').map_or((rest, String::new()), |(a, p)| (a, p.to_owned()));
    let (host, port) = split_port(authority)?;
    let mut stream = connect(host, port)?;
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {authority}\r\nUser-Agent: hello/1.0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(fail(authority))?;
    let mut reader = BufReader::new(stream);
    let status = read_line(&mut reader).map_err(fail(authority))?.unwrap_or_default();
    while read_line(&mut reader).map_err(fail(authority))?.is_some_and(|line| !line.is_empty()) {}
    let mut out = io::stdout().lock();
    io::copy(&mut reader.take(MAX_ANSWER_BYTES), &mut out).map_err(fail(authority))?;
    out.flush().map_err(fail("stdout"))?;
    match status.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()) {
        Some(code) if code < 400 => Ok(()),
        _ => Err(format!("{url}: the server answered {status:?}")),
    }
}

fn split_port(authority: &str) -> Result<(&str, u16), String> {
    let bad = || format!("{authority:?} is no host and port");
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(bad)?;
        let port = port.strip_prefix(':').map_or(Ok(80), |p| p.parse().map_err(|_| bad()))?;
        return Ok((host, port));
    }
    match authority.split_once(':') {
        Some((host, port)) => Ok((host, port.parse().map_err(|_| bad())?)),
        None => Ok((authority, 80)),
    }
}

fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let mut last = format!("cannot resolve {host:?}");
    for address in resolve(host) {
        match TcpStream::connect_timeout(&SocketAddr::new(address, port), PEER_TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PEER_TIMEOUT)).map_err(fail(host))?;
                return Ok(stream);
            }
            Err(e) => last = format!("cannot connect to {host} ({address}) port {port}: {e}"),
        }
    }
    Err(last)
}

/// An address as it is, then `/etc/hosts`, then the name servers with the search list.
fn resolve(host: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let listed: Vec<IpAddr> = hosts.lines().filter_map(|line| address_in_hosts_line(line, host)).collect();
    if !listed.is_empty() {
        return listed;
    }
    if host == "localhost" {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let config = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<IpAddr> = config.lines().filter_map(|l| l.strip_prefix("nameserver")?.trim().parse().ok()).collect();
    for name in candidates(host, &config) {
        for server in &servers {
            match query(*server, &name) {
                Ok(addresses) if !addresses.is_empty() => return addresses,
                Ok(_) => break,
                Err(_) => {}
            }
        }
    }
    Vec::new()
}

fn address_in_hosts_line(line: &str, host: &str) -> Option<IpAddr> {
    let mut words = line.split('#').next()?.split_whitespace();
    let address = words.next()?.parse().ok()?;
    words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
}

/// Names to try, as the resolver of libc orders them: with fewer dots than `ndots` the search list comes first.
fn candidates(host: &str, config: &str) -> Vec<String> {
    if let Some(absolute) = host.strip_suffix('.') {
        return vec![absolute.to_owned()];
    }
    let search = config.lines().rev().find_map(|l| l.strip_prefix("search")).unwrap_or_default();
    let option = |l: &str| l.strip_prefix("options")?.split_whitespace().find_map(|o| o.strip_prefix("ndots:")?.parse().ok());
    let ndots: usize = config.lines().find_map(option).unwrap_or(1);
    let mut names: Vec<String> = search.split_whitespace().map(|domain| format!("{host}.{}", domain.trim_end_matches('.'))).collect();
    let at = if host.matches('.').count() >= ndots { 0 } else { names.len() };
    names.insert(at, host.to_owned());
    names
}

/// Asks one name server for the A records of a name.
fn query(server: IpAddr, name: &str) -> io::Result<Vec<IpAddr>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.set_read_timeout(Some(DNS_TIMEOUT))?;
    socket.connect(SocketAddr::new(server, 53))?;
    let id = (std::process::id() as u16).to_be_bytes();
    let mut message = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|n| (1..=63).contains(n)).ok_or(io::ErrorKind::InvalidInput)?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send(&message)?;
    let mut reply = [0u8; 1500];
    let n = socket.recv(&mut reply)?;
    let reply = &reply[..n];
    if n < 12 || reply[..2] != id {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(addresses(reply, message.len()).unwrap_or_default())
}

/// The IPv4 addresses in the answers that follow the question.
fn addresses(reply: &[u8], mut at: usize) -> Option<Vec<IpAddr>> {
    let answers = u16::from_be_bytes([reply[6], reply[7]]);
    let mut found = Vec::new();
    for _ in 0..answers {
        loop {
            match *reply.get(at)? {
                0 => {
                    at += 1;
                    break;
                }
                pointer if pointer >= 0xc0 => {
                    at += 2;
                    break;
                }
                label => at += usize::from(label) + 1,
            }
        }
        let record = reply.get(at..at + 10)?;
        let length = usize::from(u16::from_be_bytes([record[8], record[9]]));
        let data = reply.get(at + 10..at + 10 + length)?;
        if let (&[0, 1], &[a, b, c, d]) = (&record[..2], data) {
            found.push(IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
        }
        at += 10 + length;
    }
    Some(found)
}
