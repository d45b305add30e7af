//! The language of A2A: what both sides of the mesh say, and nothing of how it gets there.
//!
//! # Invariants
//! - No I/O, no spawn, no clock.
//! - A foreign name (method, path, header, enum value) is matched once, here, and is a type afterwards.
//! - Bytes that need no change are never re-encoded: [`scan`] borrows, it does not build.

pub mod dialect;
pub mod error;
pub mod ids;
pub mod mesh;
pub mod operation;

pub use dialect::{Binding, Dialect, Version};
pub use error::{Fault, Problem};
pub use ids::{AgentName, ContextId, MessageId, TaskId, TenantId};
pub use operation::Operation;
