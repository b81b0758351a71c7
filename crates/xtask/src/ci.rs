//! Everything a change must pass, in the order in which it fails fastest.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

/// The steps; each is a cargo command.
const STEPS: &[(&str, &[&str])] = &[
    ("format", &["fmt", "--all", "--check"]),
    ("tidy", &["xtask", "tidy"]),
    ("lint", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    ("build", &["build", "--workspace", "--all-targets", "--locked"]),
    ("test", &["test", "--workspace", "--locked", "--no-fail-fast"]),
];

/// Runs them and says how long each took.
///
/// # Errors
/// When one fails; the later ones are not run.
pub fn run() -> Result<()> {
    for (name, args) in STEPS {
        let started = Instant::now();
        println!("== {name}: cargo {}", args.join(" "));
        let status = Command::new(env!("CARGO")).args(*args).current_dir(crate::root()).status()?;
        println!("== {name}: {:.0} s", started.elapsed().as_secs_f64());
        if !status.success() {
            bail!("{name} failed");
        }
    }
    Ok(())
}
