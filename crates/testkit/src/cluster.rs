//! A cluster of the real binary in a network namespace of its own.
//!
//! Invariants:
//! - Name, data directory, kubeconfig and network are its own, so any number of clusters run side by side.
//! - It is taken down when dropped, and dropping fails the test when anything is left of it. When the test process is
//!   killed instead, the holder of the namespace takes the cluster down.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Method;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
pub use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

use crate::command::{self, LIMIT_SECONDS, Output};
use crate::http::{Access, Answer, Connection};
use crate::kubectl::{Kubectl, Version};
use crate::leftovers;
use crate::netns::Netns;

/// How a cluster is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes it has.
    pub nodes: u8,
    /// What server and agents log.
    pub log_level: &'static str,
    /// The binary; by default the one built beside this test.
    pub binary: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 1, log_level: "info", binary: None }
    }
}

/// One of a cluster's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The control plane.
    Server,
    /// The agent of a node.
    Agent(String),
    /// The process that holds a node's namespaces.
    Node(String),
}

/// A cluster, or the place for one.
#[derive(Debug)]
pub struct TestCluster {
    name: String,
    binary: PathBuf,
    options: Options,
    dir: TempDir,
    netns: Netns,
    before: Vec<String>,
    finished: bool,
}

impl TestCluster {
    /// Starts one and waits until its nodes are ready.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(options: Options) -> Self {
        let cluster = Self::prepare(options);
        cluster.up().ok();
        cluster
    }

    /// The place for a cluster, without one.
    ///
    /// # Panics
    /// When this is not root, or the binary is not built.
    pub fn prepare(options: Options) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t-{}-{count}", std::process::id());
        let binary = options.binary.clone().unwrap_or_else(built_binary);
        let dir = tempfile::Builder::new().prefix(&format!("{name}.")).tempdir();
        let dir = dir.expect("a temporary directory");
        let down = format!(
            "KUBECONFIG={dir}/kubeconfig {} down --name {name} --data-dir {dir}/data; rm -rf {dir}",
            binary.display(),
            dir = dir.path().display(),
        );
        let netns = Netns::new(&down);
        let before = leftovers::network(&netns);
        Self { name, binary, options, dir, netns, before, finished: false }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of its nodes.
    pub fn node_names(&self) -> Vec<String> {
        (1..=self.options.nodes).map(|n| format!("{}-{n}", self.name)).collect()
    }

    /// Where its state is.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// A directory for the test's own files; it goes with the cluster.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Its network.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// A command in its network and with its kubeconfig, ended after [`LIMIT_SECONDS`].
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.netns.command("timeout");
        command.args(["--foreground", "--kill-after=5", &LIMIT_SECONDS.to_string()]).arg(program);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.dir.path())
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs a command of the binary. `args` are separated by spaces; the cluster's name and data directory are added.
    pub fn knarr(&self, args: &str) -> Output {
        let mut command = self.command(&self.binary);
        let (before, after) = args.split_once(" -- ").unwrap_or((args, ""));
        command.args(before.split_whitespace()).args(["--name", &self.name]).arg("--data-dir");
        command.arg(self.data_dir());
        if !after.is_empty() {
            command.arg("--").args(after.split_whitespace());
        }
        command::run(command, &format!("knarr {args}"), b"")
    }

    /// Runs the binary with just these arguments.
    pub fn binary(&self, args: &[&str]) -> Output {
        let mut command = self.command(&self.binary);
        command.args(args);
        command::run(command, &format!("knarr {}", args.join(" ")), b"")
    }

    /// Starts it, or what is missing of it.
    pub fn up(&self) -> Output {
        let Options { nodes, log_level, .. } = &self.options;
        let output = self
            .knarr(&format!("up --nodes {nodes} --no-uplink --log-level {log_level} --wait 60s"));
        if output.code != Some(0) {
            eprintln!("{}", self.logs());
        }
        output
    }

    /// The stock client of this version.
    pub fn kubectl(&self, version: Version) -> Kubectl<'_> {
        Kubectl::new(self, version)
    }

    /// The administrator's way to the API.
    ///
    /// # Panics
    /// When there is no kubeconfig yet.
    pub fn access(&self) -> Access {
        Access::from_kubeconfig(&self.kubeconfig()).expect("up writes a kubeconfig")
    }

    /// Runs `work` in the cluster's network.
    pub fn block_on<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        self.netns.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(work())
        })
    }

    /// Runs `work` in the cluster's network with an administrator's client.
    ///
    /// # Panics
    /// When there is no kubeconfig yet.
    pub fn with_client<T: Send>(&self, work: impl AsyncFnOnce(kube::Client) -> T + Send) -> T {
        let kubeconfig = self.kubeconfig();
        self.block_on(async move || {
            let client = client::connect::connect_kubeconfig(&kubeconfig).await;
            work(client.expect("up writes a kubeconfig")).await
        })
    }

    /// One request to the API, as the administrator.
    ///
    /// # Panics
    /// When the API server cannot be reached.
    #[track_caller]
    pub fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        self.request_as(&self.access(), method, path, headers, body)
    }

    /// One request to the API, as somebody.
    ///
    /// # Panics
    /// When the API server cannot be reached.
    #[track_caller]
    pub fn request_as(
        &self,
        access: &Access,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let body = body.into();
        let answer = self.block_on(async || {
            Connection::open(access).await?.send(method.clone(), path, headers, body).await
        });
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error:#}"))
    }

    /// Asks a pod, from the machine that the nodes run on.
    ///
    /// # Errors
    /// When the connection is refused or breaks.
    pub fn http_get(&self, address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
        self.block_on(async || Connection::open_plain(address).await?.get(path).await)
    }

    /// The id of one of its processes, from its pid file.
    ///
    /// # Panics
    /// When it was never started.
    #[track_caller]
    pub fn pid(&self, role: &Role) -> i32 {
        let run_dir = Path::new("/run/knarr").join(&self.name);
        let file = match role {
            Role::Server => run_dir.join("server.pid"),
            Role::Agent(node) => run_dir.join("nodes").join(node).join("agent.pid"),
            Role::Node(node) => run_dir.join("nodes").join(node).join("node.pid"),
        };
        let text = std::fs::read_to_string(&file);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let process: serde_json::Value = serde_json::from_str(&text).expect("a pid file is JSON");
        process["pid"].as_i64().expect("a pid file has a pid") as i32
    }

    /// Kills one of its processes the hard way, and waits until the kernel has ended it.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn kill_9(&self, role: &Role) {
        let pid = Pid::from_raw(self.pid(role)).expect("a pid is positive");
        let process = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
        pidfd_send_signal(&process, Signal::KILL).expect("it is ours");
        let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience));
        assert_eq!(ended, Ok(1), "{role:?} does not die");
    }

    /// What its processes logged, the last lines of each.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.data_dir().join("logs"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.sort();
        for file in files {
            let log = std::fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            text.push_str(&format!("=== {}\n{}\n", file.display(), tail.join("\n")));
        }
        text
    }

    /// Takes it down and says what is left of it.
    pub fn finish(&mut self) -> Result<(), String> {
        self.finished = true;
        let output = self.knarr("down");
        if output.code != Some(0) {
            return Err(format!("{output}\n{}", self.logs()));
        }
        match self.leftovers() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("left behind by {}:\n{}", self.name, left.join("\n"))),
        }
    }

    /// What its network has now is nothing that is left behind.
    pub fn accept_network(&mut self) {
        self.before = leftovers::network(&self.netns);
    }

    /// What of it is there now.
    pub fn leftovers(&self) -> Vec<String> {
        leftovers::of(&self.name, &self.data_dir(), &self.netns, &self.before)
    }

    /// Every process in its nodes' cgroups whose command line is `wanted`, words separated by spaces.
    pub fn pod_processes(&self, wanted: impl Fn(&str) -> bool) -> BTreeSet<PodProcess> {
        let mut found = BTreeSet::new();
        for cgroup in leftovers::cgroups(&self.name) {
            collect_processes(&cgroup, &mut found);
        }
        let command = |pid: i32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            text.unwrap_or_default().replace('\0', " ")
        };
        found.retain(|process| wanted(&command(process.pid)));
        found
    }
}

/// How much of each log a failed test shows.
const LOG_LINES: usize = 60;

impl Drop for TestCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        if self.finished {
            return;
        }
        let result = self.finish();
        match result {
            Ok(()) => {}
            Err(problem) if std::thread::panicking() => eprintln!("{problem}"),
            Err(problem) => panic!("{problem}"),
        }
    }
}

/// A process of a pod, as the machine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodProcess {
    /// Its id.
    pub pid: i32,
    /// When it started, in clock ticks since boot: an id that is used anew is another process.
    pub started: u64,
}

impl PodProcess {
    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid).expect("a pid is positive");
        let process = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
        assert_eq!(started(self.pid), Some(self.started), "it runs");
        pidfd_send_signal(&process, signal).expect("it is ours");
    }
}

fn collect_processes(dir: &Path, found: &mut BTreeSet<PodProcess>) {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| line.parse::<i32>().ok()) {
        found.extend(started(pid).map(|started| PodProcess { pid, started }));
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect_processes(&entry.path(), found);
        }
    }
}

/// When a process started, in clock ticks since boot.
fn started(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The `knarr` that was built beside this test.
///
/// # Panics
/// When it was not.
pub fn built_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("KNARR_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test is a file");
    let found = test.ancestors().skip(1).take(2).map(|dir| dir.join("knarr"));
    let found = found.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no knarr beside {}; run cargo build -p knarr", test.display()))
}

/// How long a test waits for something to happen.
pub const PATIENCE: Duration = Duration::from_secs(90);
