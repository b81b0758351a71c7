//! The program of the embedded image, as the first process of a namespace: what a first tour shows.

use runtime::images::{HELLO_IMAGE, ImageStore};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;
use testkit::netns::Netns;

/// A namespace with the program in it.
struct Tour {
    netns: Netns,
    program: PathBuf,
    _dir: TempDir,
}

/// The server, as process 1 of a namespace of its own.
struct Server {
    unshare: Child,
    log: Lines<BufReader<ChildStdout>>,
}

impl Tour {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = ImageStore::open(dir.path()).expect("a store");
        let image = store.get(HELLO_IMAGE).expect("the embedded image");
        let program = crate::support::layer_fs(&store, &image, 0).join("hello");
        Self { netns: Netns::new("true"), program, _dir: dir }
    }

    fn tool(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.netns.command(&self.program).args(args).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn serve(&self) -> Server {
        let mut command: Command = self.netns.command("unshare");
        command.args(["--pid", "--fork", "--kill-child"]).arg(&self.program);
        let mut unshare = command.stdout(Stdio::piped()).spawn().expect("unshare of util-linux");
        let log = BufReader::new(unshare.stdout.take().expect("it was piped")).lines();
        let mut server = Server { unshare, log };
        server.wait_for("Listening on port 8080");
        server
    }

    fn ask(&self, path: &str) -> String {
        self.netns.run(|| {
            let mut stream = TcpStream::connect("127.0.0.1:8080").expect("it listens");
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers");
            answer
        })
    }
}

impl Server {
    fn wait_for(&mut self, wanted: &str) {
        let said = self.log.by_ref().map(|line| line.expect("text"));
        assert!(said.into_iter().any(|line| line == wanted), "it never says {wanted:?}");
    }

    /// Asks process 1 of the namespace to end; its exit code.
    fn stop(&mut self) -> Option<i32> {
        let parent = self.unshare.id();
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let first: i32 = children.expect("its children").trim().parse().expect("one child");
        kill_process(Pid::from_raw(first).expect("a process"), Signal::TERM).expect("it runs");
        self.unshare.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

#[test]
fn hello_answers_logs_and_ends_cleanly_as_the_first_process() {
    let tour = Tour::new();
    let mut server = tour.serve();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let answer = tour.ask("/x");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let body = format!("\r\n\r\nHey there, this is {}. Your IP is 127.0.0.1.\n", hostname.trim());
    assert!(answer.to_ascii_lowercase().contains(&body.to_ascii_lowercase()), "{answer}");
    server.wait_for("Received request for /x from 127.0.0.1");
    assert_eq!(tour.tool(&["get", "http://localhost:8080/"]).0, Some(0));
    server.wait_for("Received request for / from 127.0.0.1");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn hello_fails_with_exit_code_1_after_it_has_answered() {
    let tour = Tour::new();
    let mut server = tour.serve();
    assert!(tour.ask("/fail").starts_with("HTTP/1.1 500 "));
    assert_eq!(server.unshare.wait().expect("it ends").code(), Some(1));
}

#[test]
fn hello_tools_do_what_their_names_say() {
    let tour = Tour::new();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    assert_eq!(tour.tool(&["hostname"]), (Some(0), hostname));
    assert_eq!(tour.tool(&["sleep", "0"]), (Some(0), String::new()));
    assert_eq!(tour.tool(&["cat", "/proc/sys/kernel/ostype"]), (Some(0), "Linux\n".to_owned()));
    assert!(tour.tool(&["env"]).1.contains("PATH="));
    assert!(tour.tool(&["ps"]).1.contains("hello ps"));
    assert_eq!(tour.tool(&["get", "http://127.0.0.1:1/"]).0, Some(1));
    assert_eq!(tour.tool(&["nonsense"]).0, Some(2));
}
