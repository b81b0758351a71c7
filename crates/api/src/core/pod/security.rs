//! Security contexts of pods and containers.
