//! runtime.

pub mod image_service;
pub mod images;
pub mod snapshots;
