//! Benches of the hot path, each beside its baseline.
