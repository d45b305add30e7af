//! Carries A2A calls between clients and agents; stateless, placed by consistent hash.
//!
//! The modules stand in the order in which a call meets them, and a module uses only modules below
//! it. `relay` tells a call's whole life; read it first.

pub mod app;
pub mod config;
pub mod listen;
pub mod binding;
pub mod relay;
pub mod stream;
pub mod gather;
pub mod push;
pub mod dispatch;
pub mod passage;
pub mod admission;
pub mod catalogue;
pub mod upstream;
pub mod promise;
pub mod refusal;
pub mod webhook;
pub mod journal;
pub mod meter;
pub mod call;

pub use app::Router;
pub use config::Settings;
