//! An A2A client: three bindings in 1.0 and 0.3, streams, cards.
//!
//! [`Client::from_url`] reads an agent's card and talks to the first interface that both sides
//! speak; [`Client::direct`] skips the card. All eleven operations of A2A 1.0 are methods of
//! [`Client`]; the two that stream answer with [`Events`]. Towards an agent of 0.3 the same methods and
//! messages are written in its words. [`Client::follow`] follows a task over broken connections.
//!
//! # Invariants
//! - It knows A2A and nothing of our router: any agent of the protocol is served alike.
//! - No answer is read without a bound: [`options::Limits`].
//! - An error says which side it is on: [`Error::Problem`] is the agent's own word,
//!   [`Error::Transport`] tells whether the request may have reached it.

mod client;
pub mod discovery;
pub mod error;
mod events;
mod follow;
mod grpc;
pub mod options;
mod sse;
mod status;
mod transport;
mod wire;

pub use client::Client;
pub use error::{Broken, Cut, Error};
pub use events::Events;
pub use follow::{Follow, Followed, Resume};
pub use mesh_proto::{Binding, Dialect, Fault, Problem, Version, a2a};
pub use options::{Call, Limits, Options};
