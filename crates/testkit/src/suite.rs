//! Acceptance tests that share one cluster: each gets a namespace of its own and a `kubectl`.
//!
//! Invariants: the cluster is started by the first test that runs and taken down, and looked after, when the last has
//! ended; a test that fails shows its namespace.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::cluster::{Options, TestCluster};
use crate::kubectl::{Kubectl, Version};

/// Tests at a time unless `--test-threads` says otherwise: they wait more than they work.
const TEST_THREADS: usize = 6;

/// An acceptance test.
#[derive(Clone, Copy)]
pub struct Test {
    /// Its name, which begins with the id of a requirement.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&Kubectl<'_>),
    /// Whether what `kubectl` prints matters, so that it runs with every version.
    pub every_version: bool,
}

impl std::fmt::Debug for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Lists tests that run with every version of `kubectl` (`every`) or only with one (`once`).
#[macro_export]
macro_rules! tests {
    (every: [$($every:ident),* $(,)?], once: [$($once:ident),* $(,)?] $(,)?) => {
        &[
            $($crate::suite::Test { name: stringify!($every), run: $every, every_version: true },)*
            $($crate::suite::Test { name: stringify!($once), run: $once, every_version: false },)*
        ]
    };
}

/// Runs them, as `main` of a test without libtest's harness. `prepare` is run once on the fresh cluster.
pub fn run(options: Options, prepare: fn(&TestCluster), tests: &[&[Test]]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TEST_THREADS);
    let cluster = Arc::new(OnceLock::new());
    let start = move || {
        let start = || {
            let cluster = TestCluster::start(options.clone());
            prepare(&cluster);
            cluster
        };
        catch_unwind(AssertUnwindSafe(start)).map_err(words)
    };
    let start = Arc::new(start);
    let mut trials = Vec::new();
    for test in tests.iter().copied().flatten() {
        let versions = Version::available();
        let versions = if test.every_version { &versions[..] } else { &versions[..1] };
        for version in versions {
            let (cluster, start) = (cluster.clone(), start.clone());
            let (test, version) = (*test, *version);
            let name = match test.every_version {
                true => format!("{}::{}", test.name, version.label()),
                false => test.name.to_owned(),
            };
            let trial = Trial::test(name, move || {
                one(cluster.get_or_init(|| start()).as_ref()?, test, version)
            });
            trials.push(trial);
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let finished = match Arc::into_inner(cluster).and_then(OnceLock::into_inner) {
        Some(Ok(mut cluster)) => cluster.finish(),
        Some(Err(_)) | None => Ok(()),
    };
    if let Err(problem) = &finished {
        eprintln!("the cluster of the tests was not taken down cleanly\n{problem}");
    }
    match conclusion.has_failed() || finished.is_err() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn one(cluster: &TestCluster, test: Test, version: Version) -> Result<(), Failed> {
    let kubectl = cluster.kubectl(version);
    let namespace = namespace(test.name, version);
    kubectl.ok(&format!("create namespace {namespace}"));
    let kubectl = kubectl.within(&namespace);
    let result = catch_unwind(AssertUnwindSafe(|| (test.run)(&kubectl)));
    let shown = result.as_ref().err().map(|_| show(&kubectl));
    kubectl.run(&format!("delete namespace {namespace} --wait=false"));
    result.map_err(|panic| Failed::from(format!("{}\n{}", words(panic), shown.unwrap_or_default())))
}

/// What a panic said.
fn words(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_default()
}

/// What a test's namespace looks like, for whoever must find out why it failed.
fn show(kubectl: &Kubectl<'_>) -> String {
    let commands = ["get all -o wide", "get events --sort-by=.lastTimestamp"];
    commands.map(|command| kubectl.run(command).to_string()).join("\n")
}

/// A name of a namespace that tells which test it is of.
fn namespace(test: &str, version: Version) -> String {
    let mut name = test.replace('_', "-");
    name.truncate(55);
    let suffix = if version == Version::Old { "-old" } else { "" };
    format!("{}{suffix}", name.trim_end_matches('-'))
}
