//! Replaces ids in bodies that pass, and no other byte.
//!
//! It owns the finding of every id by its place in the schema, and the cutting of bodies around them;
//! it never decides what an id becomes, that is an [`IdMap`]'s.
//!
//! # Invariants
//! - An id is what stands at an id's place: a `taskId` within metadata or a part is content.
//! - Bytes that are no id come out as they came in: space, order, escapes, unknown and repeated fields.
//!   In protobuf the lengths of the messages around a changed id change with it.
//! - An empty or absent id is never shown to the map.

mod events;
mod json;
mod path;
mod protobuf;
mod schema;
mod segments;

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    dialect::{Binding, Dialect, Version},
    error::Problem,
    operation::Operation,
    scan,
};
use schema::Style;
use segments::Edits;

pub use events::{Events, TooLong, event};
pub use path::path;
pub use segments::Segments;

/// What becomes of the ids of one body.
pub trait IdMap {
    /// The new text of a task's id; `None` leaves it.
    fn task<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>>;

    /// The new text of a conversation's id; `None` leaves it.
    fn context<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>>;

    /// The new address of a webhook; `None` leaves it, as it does by default.
    fn webhook<'a>(&mut self, url: &'a str) -> Option<Cow<'a, str>> {
        let _: &str = url;
        None
    }
}

/// What a body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// What the caller sends.
    Request,
    /// The one answer.
    Reply,
    /// One event of a stream: the data of a server-sent event, or one message of gRPC.
    Event,
}

/// Replaces the ids of one body: JSON-RPC object, HTTP+JSON body or protobuf message, uncompressed and
/// out of its frame. Ids in the path of HTTP+JSON are [`path()`]'s.
///
/// # Errors
/// [`crate::Fault::Parse`] for what is neither JSON nor protobuf of this operation, or nests deeper than
/// 127.
pub fn rewrite(
    dialect: Dialect,
    operation: Operation,
    direction: Direction,
    body: Bytes,
    map: &mut impl IdMap,
) -> Result<Segments, Problem> {
    let edits = edits(dialect, operation, direction, &body, map)?;
    Ok(edits.apply(body))
}

fn edits(
    dialect: Dialect,
    operation: Operation,
    direction: Direction,
    body: &[u8],
    map: &mut impl IdMap,
) -> Result<Edits, Problem> {
    let version = dialect.version;
    match dialect.binding {
        Binding::JsonRpc => {
            let (place, version) = match direction {
                Direction::Request => ("params", request_version(operation, body, version)),
                Direction::Reply | Direction::Event => ("result", version),
            };
            let root = schema::root(Style::Rpc(version), operation, direction);
            json::envelope(body, place, root, map).map_err(scan::parse_problem)
        }
        Binding::Rest if body.iter().all(u8::is_ascii_whitespace) => Ok(Edits::default()),
        Binding::Rest => {
            let root = schema::root(Style::Rest(version), operation, direction);
            json::message(body, root, map).map_err(scan::parse_problem)
        }
        Binding::Grpc => {
            let root = schema::root(Style::Rest(version), operation, direction);
            protobuf::message(body, root, map).map_err(|_| scan::no_protobuf())
        }
    }
}

/// The version whose names the params have. It is the method's, whatever a header says, as it is for
/// the scanner; only where the versions call an id differently is the method looked up.
fn request_version(operation: Operation, body: &[u8], stated: Version) -> Version {
    let differs = matches!(
        operation,
        Operation::GetTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs
            | Operation::DeleteTaskPushNotificationConfig
    );
    if !differs {
        return stated;
    }
    scan::json_rpc(body).map_or(stated, |envelope| envelope.version)
}

/// Replaces the task's id in a resource name: `tasks/{id}` and what may follow.
fn name<'a>(map: &mut impl IdMap, name: &'a str) -> Option<Cow<'a, str>> {
    let (id, tail) = scan::named::split(name)?;
    let new = map.task(id)?;
    Some(Cow::Owned(scan::named::join(&new, tail)))
}

#[cfg(test)]
mod tests;
