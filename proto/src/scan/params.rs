//! What the JSON of a request says about ids: the envelope of JSON-RPC, and the params of every operation.

use std::borrow::Cow;

use super::{
    Ids,
    json::{Cursor, Found, Malformed},
};
use crate::{
    dialect::Version,
    error::{Fault, Problem},
    operation::Operation,
};

/// The members of a JSON-RPC request.
pub(super) struct Call<'a> {
    pub(super) jsonrpc: Found<'a>,
    /// The id as it stands there.
    pub(super) id: &'a str,
    pub(super) method: Found<'a>,
    pub(super) params: Params<'a>,
}

impl<'a> Call<'a> {
    /// Reads the whole body; `None` where it is JSON, but no object.
    pub(super) fn read(body: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut cursor = Cursor::new(body)?;
        if cursor.peek() != Some(b'{') {
            cursor.skip()?;
            return cursor.end().map(|()| None);
        }
        let mut call = Self {
            jsonrpc: Found::Unset,
            id: "null",
            method: Found::Unset,
            params: Params::default(),
        };
        cursor.members(|cursor, key| {
            match &*key.decode() {
                "jsonrpc" => call.jsonrpc = cursor.text()?,
                "id" => {
                    let start = cursor.start();
                    cursor.skip()?;
                    call.id = cursor.since(start);
                }
                "method" => call.method = cursor.text()?,
                "params" => call.params = Params::read(cursor)?,
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        cursor.end().map(|()| Some(call))
    }
}

/// Whether an object is there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Shape {
    #[default]
    Unset,
    Object,
    Wrong,
}

/// All that could be an id in the params of any operation: which of them is one is known only when the
/// method is, and the method may come last.
#[derive(Default)]
pub(super) struct Params<'a> {
    shape: Shape,
    tenant: Found<'a>,
    id: Found<'a>,
    task_id: Found<'a>,
    context_id: Found<'a>,
    message: Message<'a>,
    /// What the proto file of 0.3 calls the message.
    request: Message<'a>,
}

#[derive(Default)]
struct Message<'a> {
    shape: Shape,
    message_id: Found<'a>,
    task_id: Found<'a>,
    context_id: Found<'a>,
}

impl<'a> Params<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let mut params = Self {
            shape: shape(cursor)?,
            ..Self::default()
        };
        if params.shape == Shape::Object {
            cursor.members(|cursor, key| {
                match &*key.decode() {
                    "tenant" => params.tenant = cursor.text()?,
                    "id" => params.id = cursor.text()?,
                    "taskId" | "task_id" => params.task_id = cursor.text()?,
                    "contextId" | "context_id" => params.context_id = cursor.text()?,
                    "message" => params.message = Message::read(cursor)?,
                    "request" => params.request = Message::read(cursor)?,
                    _ => cursor.skip()?,
                }
                Ok(())
            })?;
        }
        Ok(params)
    }

    /// Picks what is an id for the operation, and insists on its type.
    pub(super) fn ids(self, operation: Operation, version: Version) -> Result<Ids<'a>, Problem> {
        if self.shape == Shape::Wrong {
            return Err(wrong("the parameters", "an object"));
        }
        let mut ids = Ids {
            tenant: id(self.tenant, "tenant")?,
            ..Ids::default()
        };
        match operation {
            Operation::SendMessage | Operation::SendStreamingMessage => {
                let message = match version {
                    Version::V0_3 if self.message.shape == Shape::Unset => self.request,
                    Version::V0_3 | Version::V1_0 => self.message,
                };
                if message.shape == Shape::Wrong {
                    return Err(wrong("message", "an object"));
                }
                ids.task_id = id(message.task_id, "message.taskId")?;
                ids.context_id = id(message.context_id, "message.contextId")?;
                ids.message_id = id(message.message_id, "message.messageId")?;
            }
            Operation::GetTask | Operation::CancelTask | Operation::SubscribeToTask => {
                ids.task_id = id(self.id, "id")?;
            }
            Operation::ListTasks => ids.context_id = id(self.context_id, "contextId")?,
            // In 0.3 all but Create call the task's id just `id`.
            Operation::GetTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs
            | Operation::DeleteTaskPushNotificationConfig
                if version == Version::V0_3 =>
            {
                ids.task_id = id(self.id, "id")?;
            }
            Operation::CreateTaskPushNotificationConfig
            | Operation::GetTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs
            | Operation::DeleteTaskPushNotificationConfig => {
                ids.task_id = id(self.task_id, "taskId")?;
            }
            Operation::GetExtendedAgentCard => {}
        }
        Ok(ids)
    }
}

impl<'a> Message<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let mut message = Self {
            shape: shape(cursor)?,
            ..Self::default()
        };
        if message.shape == Shape::Object {
            cursor.members(|cursor, key| {
                match &*key.decode() {
                    "messageId" | "message_id" => message.message_id = cursor.text()?,
                    "taskId" | "task_id" => message.task_id = cursor.text()?,
                    "contextId" | "context_id" => message.context_id = cursor.text()?,
                    _ => cursor.skip()?,
                }
                Ok(())
            })?;
        }
        Ok(message)
    }
}

/// Says whether an object comes next; anything else is stepped over.
fn shape(cursor: &mut Cursor<'_>) -> Result<Shape, Malformed> {
    match cursor.peek() {
        Some(b'{') => Ok(Shape::Object),
        Some(b'n') => cursor.skip().map(|()| Shape::Unset),
        _ => cursor.skip().map(|()| Shape::Wrong),
    }
}

fn id<'a>(found: Found<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Problem> {
    match found {
        Found::Unset => Ok(None),
        Found::Text(text) => Ok(Some(text.decode())),
        Found::Wrong => Err(wrong(name, "a string")),
    }
}

fn wrong(name: &str, expected: &str) -> Problem {
    Problem::new(Fault::InvalidParams, format!("{name} must be {expected}"))
}
