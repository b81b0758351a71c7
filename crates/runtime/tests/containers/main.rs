//! Real containers by the real shim, through the CRI socket: life, logs, exec, limits, attacks, leaks. Needs root.
//!
//! Every test has its own runtime with its own directories and cgroup, and takes all of it away again, also when it fails.

mod attacks;
mod harness;
mod isolation;
mod lifecycle;
mod limits;
mod oracle;
mod speed;
mod streams;
