//! The image store from outside: hostile layers, broken archives, sharing, crashes, pulls from a real registry, the CRI.
//!
//! Needs root, as layers have owners, devices and overlayfs' xattrs.

mod archives;
mod hello;
mod layers;
mod pulls;
mod registries;
mod service;
mod store;
mod support;
