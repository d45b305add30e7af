//! A small MCP server with real tools, so that a fresh machine has some.
//!
//! It owns the tools themselves and the two ways to serve them, stdio and streamable HTTP. It never
//! writes outside the notes file that it was given, never reads outside its root, and asks nothing of
//! the network.
//!
//! # Invariants
//! - Every input is bounded before it is worked on, and every output is bounded by its input or by a
//!   constant of its tool.
//! - What a caller got wrong is a tool error with a sentence in it, never a protocol error, so that
//!   the model sees it.
//! - The file tools exist only when a root was given.

mod serve;
mod server;

pub mod calculate;
pub mod clock;
pub mod files;
pub mod notes;
pub mod text;
pub mod zone;

pub use self::{
    serve::{Error, Hosts, serve_http, serve_stdio},
    server::{Server, Settings},
};
