//! Roles of the re-executed binary.

/// Runs the shim if this process was started as one, and then never returns. Call it first in `main`, before any thread exists.
pub fn reexec() {}
