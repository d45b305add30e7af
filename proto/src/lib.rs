//! The language of A2A: what both sides of the mesh say, and nothing of how it gets there.
//!
//! # Invariants
//! - No I/O, no spawn, no clock.
//! - A foreign name (method, path, header, enum value) is matched once, here, and is a type afterwards.
//! - Bytes that need no change are never re-encoded: [`scan`] borrows, it does not build.

#[allow(
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::large_futures,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::needless_pass_by_value,
    clippy::or_fun_call,
    clippy::too_many_lines,
    clippy::use_self,
    clippy::wildcard_imports,
    deprecated,
    missing_docs,
    unused_qualifications,
    reason = "generated: the generators choose the style, and not every lint fires in every version"
)]
pub mod a2a {
    //! The messages of A2A 1.0.1 and its gRPC stubs, generated from `a2a/a2a.proto`.
    //! `Serialize` and `Deserialize` are ProtoJSON.

    include!("gen/a2a.rs");
    include!("gen/a2a_json.rs");
}
#[allow(
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::missing_errors_doc,
    clippy::use_self,
    clippy::wildcard_imports,
    missing_docs,
    unused_qualifications,
    reason = "generated: the generators choose the style, and not every lint fires in every version"
)]
pub mod a2a_v03 {
    //! The messages of A2A 0.3 as gRPC carries them, generated from `a2a/a2a_v03.proto`.
    //! `Serialize` and `Deserialize` are ProtoJSON, which is the JSON of 0.3 over HTTP+JSON.

    include!("gen/a2a_v03.rs");
    include!("gen/a2a_v03_json.rs");
}
pub mod card;
#[cfg(test)]
mod chance;
pub mod dialect;
pub mod error;
pub mod grpc;
pub mod ids;
pub mod json;
pub mod jsonrpc;
pub mod mesh;
pub mod operation;
pub mod pivot;
pub mod protojson;
pub mod rest;
pub mod rewrite;
pub mod scan;
pub mod sse;
pub mod v03;

pub use dialect::{Binding, Dialect, Version};
pub use error::{Fault, Problem};
pub use ids::{AgentName, ContextId, MessageId, TaskId, TenantId};
pub use operation::Operation;

/// The descriptors of the A2A service and all that it imports, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor.bin");

/// The same of the service of 0.3.
pub const FILE_DESCRIPTOR_SET_V03: &[u8] = include_bytes!("gen/descriptor_v03.bin");
