//! What foreign bytes must never be able to do: the bodies of the fuzz targets, as plain functions.
//!
//! A target takes any bytes and says by panicking that a property does not hold. The properties are
//! more than "does not crash": where there is a second reader (serde_json, prost), both must agree;
//! what is written must be read back; what need not change must not change.
//!
//! `cargo test` replays the committed corpora without any sanitizer; `tests/fuzz/run` looks for new
//! inputs with libFuzzer, by the program in `driver/`. An input that broke something goes into
//! `corpus/<target>/` under a name that says what it broke, and stays there.
//!
//! # Invariants
//! - A target depends on its bytes alone: no clock, no chance, nothing kept between two calls.

mod cards;
mod ids;
mod input;
mod json;
mod jsonrpc;
mod protobuf;
mod rest;
mod sse;
mod token;
mod transcode;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: the folder of its corpus.
    pub name: &'static str,
    /// Its body.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("json_scan", json::scan),
    target("json_rewrite", json::rewrite),
    target("protobuf_scan", protobuf::scan),
    target("protobuf_rewrite", protobuf::rewrite),
    target("jsonrpc", jsonrpc::envelope),
    target("rest_path", rest::path),
    target("sse", sse::events),
    target("card", cards::card),
    target("token", token::open),
    target("pivot", transcode::from_1_0),
    target("v03", transcode::from_0_3),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// The target of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
