//! Test clusters, fakes and builders shared by the tests of all crates.
