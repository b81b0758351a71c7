//! Registries for the tests: Debian's `docker-registry`, and one that misbehaves as told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use testkit::images::{Image, digest};
use testkit::netns::Netns;

/// Password `U*U` in bcrypt, from the test vectors of crypt_blowfish.
const HTPASSWD: &str = "user:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
pub const PASSWORD: &str = "U*U";

/// A running `docker-registry`.
pub struct Registry {
    child: Child,
    data: PathBuf,
}

/// How a registry is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Open,
    Password,
    Tls,
}

impl Registry {
    /// Starts one in a namespace and waits until it listens.
    pub fn start(netns: &Netns, dir: &Path, address: &str, access: Access) -> Self {
        let data = dir.join("data");
        let config = dir.join("config.yml");
        std::fs::write(dir.join("htpasswd"), HTPASSWD).expect("a file");
        std::fs::write(&config, configuration(dir, address, access)).expect("a file");
        let program =
            testkit::kubectl::test_tools().join("docker-registry/usr/bin/docker-registry");
        assert!(
            program.is_file(),
            "no {}: unpack Debian's package docker-registry there",
            program.display()
        );
        let mut command = netns.command(program);
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the registry starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it was piped")).lines();
        assert!(
            lines.any(|line| line.expect("text").contains("listening on")),
            "the registry does not listen"
        );
        // Read to the end, so that the registry never waits for its log to be read.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, data }
    }

    /// Puts an image into the registry's storage under a repository and tag.
    pub fn put(&self, repository: &str, tag: &str, image: &Image) {
        let root = self.data.join("docker/registry/v2");
        let repository = root.join("repositories").join(repository);
        let write = |path: PathBuf, content: &[u8]| {
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, content).expect("a file");
        };
        let blob = |content: &[u8]| {
            let name = digest(content);
            let hex = &name["sha256:".len()..];
            write(root.join("blobs/sha256").join(&hex[..2]).join(hex).join("data"), content);
            (name.clone(), hex.to_owned())
        };
        for content in image.layers.iter().map(|l| l.bytes.clone()).chain([image.config()]) {
            let (name, hex) = blob(&content);
            write(repository.join("_layers/sha256").join(hex).join("link"), name.as_bytes());
        }
        let (name, hex) = blob(&image.manifest());
        let manifests = repository.join("_manifests");
        write(manifests.join("revisions/sha256").join(&hex).join("link"), name.as_bytes());
        write(manifests.join("tags").join(tag).join("current/link"), name.as_bytes());
        write(
            manifests.join("tags").join(tag).join("index/sha256").join(hex).join("link"),
            name.as_bytes(),
        );
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(dir: &Path, address: &str, access: Access) -> String {
    let dir = dir.display();
    let auth = format!("auth: {{htpasswd: {{realm: test, path: {dir}/htpasswd}}}}\n");
    let tls = format!(", tls: {{certificate: {dir}/cert.pem, key: {dir}/key.pem}}");
    format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {dir}/data}}}}\nhttp: {{addr: '{address}', secret: x{}}}\n{}",
        if access == Access::Tls { &tls } else { "" },
        if access == Access::Password { &auth } else { "" },
    )
}

/// A request to the misbehaving registry.
#[derive(Clone, Debug)]
pub struct Ask {
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

/// What it answers.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Bytes of the body that are sent before the connection breaks.
    pub cut: Option<usize>,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), cut: None }
    }

    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(200) }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

type Handler = dyn Fn(&Ask) -> Reply + Send + Sync;

/// A registry on loopback that answers what the test wants, one request per connection.
pub struct Fake {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Ask>>>,
    stop: Arc<AtomicBool>,
}

impl Fake {
    pub fn start(handler: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let fake = Self { address, asked: asked.clone(), stop: stop.clone() };
        let handler: Arc<Handler> = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (handler, asked) = (handler.clone(), asked.clone());
                std::thread::spawn(move || serve(&stream, &*handler, &asked));
            }
        });
        fake
    }

    /// A reference to an image in it.
    pub fn reference(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Ask> {
        self.asked.lock().expect("no panic").clone()
    }

    /// Requests whose path contains `part`.
    pub fn count(&self, part: &str) -> usize {
        self.asked().iter().filter(|ask| ask.path.contains(part)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: &TcpStream, handler: &Handler, asked: &Mutex<Vec<Ask>>) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let pair = |line: String| {
        line.split_once(':').map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()))
    };
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(pair).collect();
    let ask = Ask { path, headers };
    asked.lock().expect("no panic").push(ask.clone());
    let reply = handler(&ask);
    let mut head = format!(
        "HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes()).ok()?;
    stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())]).ok()
}

/// Answers as a good registry that has `image` under every repository and tag.
pub fn good(image: &Image, ask: &Ask) -> Reply {
    let manifest = image.manifest();
    if ask.path.contains("/manifests/") {
        return Reply::ok(manifest)
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json");
    }
    let mut blobs = image.layers.iter().map(|l| l.bytes.clone()).chain([image.config()]);
    match blobs.find(|blob| ask.path.ends_with(&digest(blob))) {
        None => Reply::status(404),
        Some(blob) => match ask
            .headers
            .get("range")
            .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        {
            None => Reply::ok(blob),
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
                Reply { status: 206, ..Reply::ok(&blob[from..]) }.header("Content-Range", range)
            }
        },
    }
}
