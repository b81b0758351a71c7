//! The stock `kubectl`, in the versions that Knarr is tested with.
//!
//! Invariant: what a test passes is what a person would type after `kubectl`, quotes included: a shell reads it.

use std::path::PathBuf;
use std::process::Command;

use crate::cluster::TestCluster;
use crate::command::{self, Output, Running};

/// A version of `kubectl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one on the `PATH`, 1.32 on the machines of the project.
    Current,
    /// 1.20, of Debian 12's package `kubernetes-client`.
    Old,
}

impl Version {
    /// The versions that are there.
    ///
    /// # Panics
    /// When none is.
    pub fn available() -> Vec<Self> {
        let found: Vec<Self> = [Self::Current, Self::Old]
            .into_iter()
            .filter(|version| version.binary().is_some())
            .collect();
        assert!(!found.is_empty(), "no kubectl: run scripts/install-test-tools");
        found
    }

    /// Where it is, if it is.
    pub fn binary(self) -> Option<PathBuf> {
        let old = test_tools().join("kubernetes-client/usr/bin/kubectl");
        match self {
            Self::Old => old.is_file().then_some(old),
            Self::Current => {
                let path = std::env::var_os("PATH")?;
                let found = std::env::split_paths(&path).map(|dir| dir.join("kubectl"));
                found.into_iter().find(|file| file.is_file())
            }
        }
    }

    /// How tests' names show it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Current => "kubectl",
            Self::Old => "kubectl_1_20",
        }
    }
}

/// Where `scripts/install-test-tools` unpacks what tests need and the machine does not have.
pub fn test_tools() -> PathBuf {
    match std::env::var_os("KNARR_TEST_TOOLS") {
        Some(dir) => dir.into(),
        None => concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/testtools").into(),
    }
}

/// A client of one cluster, in one namespace.
#[derive(Clone, Debug)]
pub struct Kubectl<'a> {
    cluster: &'a TestCluster,
    version: Version,
    binary: PathBuf,
    namespace: String,
}

impl<'a> Kubectl<'a> {
    /// A client in namespace `default`.
    ///
    /// # Panics
    /// When this version is not installed.
    pub fn new(cluster: &'a TestCluster, version: Version) -> Self {
        let binary = version.binary();
        let binary = binary.expect("no such kubectl: run scripts/install-test-tools");
        Self { cluster, version, binary, namespace: "default".into() }
    }

    /// The same client in another namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self { namespace: namespace.into(), ..self.clone() }
    }

    /// The cluster.
    pub fn cluster(&self) -> &'a TestCluster {
        self.cluster
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Which version it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether it is the old one.
    pub fn is_old(&self) -> bool {
        self.version == Version::Old
    }

    fn prepare(&self, script: String) -> Command {
        let mut command = self.cluster.command("/bin/sh");
        command
            .args(["-c", &script])
            .env("KUBECTL", &self.binary)
            .env("NAMESPACE", &self.namespace)
            .current_dir(self.cluster.scratch());
        command
    }

    fn script(args: &str) -> String {
        format!("exec \"$KUBECTL\" --namespace=\"$NAMESPACE\" {args}")
    }

    /// Runs it.
    #[track_caller]
    pub fn run(&self, args: &str) -> Output {
        self.run_with(args, "")
    }

    /// Runs it with something on its standard input.
    #[track_caller]
    pub fn run_with(&self, args: &str, input: &str) -> Output {
        let command = self.prepare(Self::script(args));
        command::run(command, &format!("{} {args}", self.version.label()), input.as_bytes())
    }

    /// What it prints, when it succeeds.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok(&self, args: &str) -> String {
        self.run(args).ok()
    }

    /// What it prints, when it succeeds with this input.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok_with(&self, args: &str, input: &str) -> String {
        self.run_with(args, input).ok()
    }

    /// What it complains of, when it fails.
    ///
    /// # Panics
    /// When it succeeds.
    #[track_caller]
    pub fn fails(&self, args: &str) -> String {
        self.run(args).failed()
    }

    /// What it complains of, when it fails with this input.
    ///
    /// # Panics
    /// When it succeeds.
    #[track_caller]
    pub fn fails_with(&self, args: &str, input: &str) -> String {
        self.run_with(args, input).failed()
    }

    /// Runs a script of a shell in which `kubectl` is this client.
    #[track_caller]
    pub fn shell(&self, script: &str) -> Output {
        let function = "kubectl() { \"$KUBECTL\" --namespace=\"$NAMESPACE\" \"$@\"; }";
        let command = self.prepare(format!("{function}\n{script}"));
        command::run(command, script, b"")
    }

    /// Starts it and goes on.
    #[track_caller]
    pub fn start(&self, args: &str) -> Running {
        Running::start(self.prepare(Self::script(args)), &format!("kubectl {args}"))
    }

    /// Runs it on a terminal of its own, as `script` of bsdutils makes one, and types `input` into it.
    #[track_caller]
    pub fn start_on_terminal(&self, args: &str) -> Running {
        let script = format!(
            "exec script --quiet --return --command '\"$KUBECTL\" --namespace=\"$NAMESPACE\" {args}' \
             /dev/null"
        );
        Running::start(self.prepare(script), &format!("kubectl {args}"))
    }

    /// An object as JSON.
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    pub fn json(&self, args: &str) -> serde_json::Value {
        let text = self.ok(&format!("get {args} -o json"));
        serde_json::from_str(&text).expect("-o json prints JSON")
    }

    /// One value of an object, as `-o jsonpath` prints it.
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    pub fn value(&self, object: &str, path: &str) -> String {
        self.ok(&format!("get {object} -o jsonpath='{{{path}}}'"))
    }

    /// The names of all objects of a kind.
    ///
    /// # Panics
    /// When they cannot be listed.
    #[track_caller]
    pub fn names(&self, args: &str) -> Vec<String> {
        let text = self.ok(&format!("get {args} -o name"));
        let name = |line: &str| line.split_once('/').map_or(line, |(_, name)| name).to_owned();
        text.lines().map(name).collect()
    }
}

/// The cells of a table as `kubectl` prints it: columns are three spaces apart.
pub fn cells(table: &str) -> Vec<Vec<String>> {
    let row = |line: &str| {
        let cells = line.split("   ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect()
    };
    table.lines().map(row).collect()
}

/// Whether `text` is an age as `kubectl` prints it, such as `6s`, `2m15s` or `13d`.
pub fn is_age(text: &str) -> bool {
    let digits = text.chars().any(|c| c.is_ascii_digit());
    digits && text.chars().all(|c| c.is_ascii_digit() || "smhdy".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_a_table_keep_single_spaces() {
        let table = "NAME    READY   RESTARTS      AGE\na       1/1     2 (5s ago)    9s\n";
        assert_eq!(cells(table)[1], ["a", "1/1", "2 (5s ago)", "9s"]);
    }

    #[test]
    fn ages_are_told_from_other_words() {
        for age in ["6s", "2m15s", "13d", "3y12d"] {
            assert!(is_age(age), "{age}");
        }
        for other in ["", "<unknown>", "soon", "1 s"] {
            assert!(!is_age(other), "{other}");
        }
    }
}
