//! Runs agents: tasks, turns, models, MCP tools, delegation.
//!
//! The modules stand in the order in which a call meets them, and each uses only those below it.

pub mod app;
pub mod config;
pub mod serve;
pub mod desk;
pub mod task;
pub mod turn;
pub mod agent;
pub mod group;
pub mod model;
pub mod tools;
pub mod delegate;
pub mod push;
pub mod notify;
pub mod herald;
pub mod post;
pub mod view;
pub mod record;
pub mod session;
mod placeholder;
mod tls;
