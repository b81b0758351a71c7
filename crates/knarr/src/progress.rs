//! What a person sees while something takes longer than a moment: steps, each with its time.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// A list of steps on standard error, so that standard output stays for answers.
pub struct Progress {
    terminal: bool,
    started: Instant,
}

impl Progress {
    /// Starts the clock.
    pub fn start() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), started: Instant::now() }
    }

    /// Runs a step and shows it with its time; a failed one is shown as such and its error is the caller's.
    pub async fn step<T, E>(
        &self,
        what: &str,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let started = Instant::now();
        if self.terminal {
            eprint!(" • {what} …");
            let _ = std::io::stderr().flush();
        }
        let result = step.await;
        let mark = if result.is_ok() { '✓' } else { '✗' };
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear} {mark} {what} ({})", seconds(started.elapsed()));
        result
    }

    /// A line of its own.
    pub fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// The time since the start, for a closing line.
    pub fn total(&self) -> String {
        seconds(self.started.elapsed())
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2}s", time.as_secs_f64())
}
