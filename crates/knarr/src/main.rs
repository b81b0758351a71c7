//! knarr.
fn main() {}
